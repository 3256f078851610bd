"""Key Object Selection documents built in code, as another vendor's archive might send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage


def key_objects(
    title: str,
    references: Iterable[str],
    *,
    uid: str = "2.25.1.9.1",
    study: str = "2.25.1",
    evidence: Mapping[str, Iterable[str]] | None = None,
    **attributes: Any,
) -> Dataset:
    """A document with this title code that refers to instances; `evidence` says where they belong: its own study."""
    references = list(references)
    document = Dataset()
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.SOPClassUID, document.SOPInstanceUID = KeyObjectSelectionDocumentStorage, uid
    document.StudyInstanceUID, document.SeriesInstanceUID = study, f"{study}.9"
    document.Modality, document.PatientID, document.PatientName = "KO", "P1", "Nguyen^Van"
    document.ValueType, document.ContinuityOfContent = "CONTAINER", "SEPARATE"
    document.ConceptNameCodeSequence = [_code(title)]
    document.ContentSequence = [_item(each) for each in references]
    document.CurrentRequestedProcedureEvidenceSequence = [
        _evidence(*each) for each in (evidence if evidence is not None else {study: references}).items()
    ]
    for keyword, value in attributes.items():
        setattr(document, keyword, value)
    return document


def _code(value: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", "title"
    return code


def _reference(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, uid
    return reference


def _item(uid: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    item.ReferencedSOPSequence = [_reference(uid)]
    return item


def _evidence(study: str, uids: Iterable[str]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = f"{study}.1"
    series.ReferencedSOPSequence = [_reference(uid) for uid in uids]
    listed = Dataset()
    listed.StudyInstanceUID, listed.ReferencedSeriesSequence = study, [series]
    return listed
