"""Workitems as other systems send them: DICOM JSON made by hand."""

from __future__ import annotations

from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

Model = dict[str, dict[str, Any]]


def attribute(keyword: str, *values: Any) -> Model:
    """One attribute; without values it is empty."""
    vr = dictionary_VR(keyword)
    return {f"{tag_for_keyword(keyword):08X}": {"vr": vr, "Value": list(values)} if values else {"vr": vr}}


def data_set(**values: Any) -> Model:
    """A data set of keywords; None makes an attribute without value, a list one of several values or items."""
    made: Model = {}
    for keyword, value in values.items():
        given = value if isinstance(value, list) else [] if value is None else [value]
        made |= attribute(keyword, *given)
    return made


def code(value: str, meaning: str, scheme: str = "DCM") -> Model:
    """The item of a code."""
    return data_set(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def workitem(**changed: Any) -> Model:
    """A workitem that may be created; `changed` replaces what it names."""
    told: dict[str, Any] = {
        "TransactionUID": None,
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Lung nodule detection",
        "WorklistLabel": "AI",
        "ScheduledProcessingParametersSequence": None,
        "ScheduledStationNameCodeSequence": [code("NODE1", "First node", "99SITE")],
        "ScheduledStationClassCodeSequence": None,
        "ScheduledStationGeographicLocationCodeSequence": None,
        "ScheduledProcedureStepStartDateTime": "20260301080000",
        "ScheduledWorkitemCodeSequence": [code("110004", "Computer Aided Detection")],
        "CommentsOnTheScheduledProcedureStep": None,
        "InputReadinessState": "READY",
        "InputInformationSequence": None,
        "StudyInstanceUID": "2.25.77",
        "PatientName": {"Alphabetic": "Nguyễn^Văn Đạt"},
        "PatientID": "P1",
        "IssuerOfPatientID": None,
        "IssuerOfPatientIDQualifiersSequence": None,
        "OtherPatientIDsSequence": None,
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "AdmissionID": None,
        "IssuerOfAdmissionIDSequence": None,
        "AdmittingDiagnosesDescription": None,
        "AdmittingDiagnosesCodeSequence": None,
        "ReferencedRequestSequence": None,
        "ProcedureStepState": "SCHEDULED",
        "ProcedureStepProgressInformationSequence": None,
        "UnifiedProcedureStepPerformedProcedureSequence": None,
    }
    return data_set(**{**told, **changed})


def request(accession: str = "A1", **changed: Any) -> Model:
    """An item of the Referenced Request Sequence."""
    told: dict[str, Any] = {
        "StudyInstanceUID": "2.25.77",
        "AccessionNumber": accession,
        "IssuerOfAccessionNumberSequence": None,
        "OrderPlacerIdentifierSequence": None,
        "OrderFillerIdentifierSequence": None,
        "RequestedProcedureID": "R1",
        "RequestedProcedureDescription": None,
        "RequestedProcedureCodeSequence": None,
    }
    return data_set(**{**told, **changed})


def performed(**changed: Any) -> Model:
    """What a performer sets before a workitem is completed."""
    told: dict[str, Any] = {
        "PerformedStationNameCodeSequence": [code("NODE1", "First node", "99SITE")],
        "PerformedProcedureStepStartDateTime": "20260301080000",
        "PerformedWorkitemCodeSequence": [code("110004", "Computer Aided Detection")],
        "PerformedProcedureStepEndDateTime": "20260301080100",
        "OutputInformationSequence": None,
    }
    return data_set(UnifiedProcedureStepPerformedProcedureSequence=[data_set(**{**told, **changed})])


def content(value_type: str, **values: Any) -> Model:
    """A content item that names a parameter."""
    return data_set(ValueType=value_type, ConceptNameCodeSequence=[code("1", "Parameter", "99SITE")], **values)


def instances(sop_class_uid: str = "1.2.840.10008.5.1.4.1.1.2", **changed: Any) -> Model:
    """An item that refers to one instance; `changed` replaces what it names, of the reference what belongs there."""
    beside = {key: changed.pop(key) for key in list(changed) if key.startswith(("HL7", "ReferencedF", "ReferencedSe"))}
    reference = data_set(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID="2.25.77.1.1", **beside)
    told: dict[str, Any] = {
        "TypeOfInstances": "DICOM",
        "StudyInstanceUID": "2.25.77",
        "SeriesInstanceUID": "2.25.77.1",
        "ReferencedSOPSequence": [reference],
        "WADORSRetrievalSequence": [data_set(RetrieveURL="https://archive.example/dicom-web/studies/2.25.77")],
    }
    return data_set(**{**told, **changed})


def state(asked: str, transaction: str | None = None) -> Model:
    """The body of a change of state."""
    return data_set(ProcedureStepState=asked, TransactionUID=transaction)
