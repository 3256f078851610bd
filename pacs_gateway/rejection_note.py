"""Rejection notes as documents: read within bounds, and written (PS3.3 A.35.4, PS3.16 TID 2010; IHE RAD TF, IOCM).

How long a document takes to parse is its sender's choice (R-34), so that it is parsed in a child, which ends when it
takes too much.  Its content is one level deep (TID 2010): what lies below is not looked at, so that no cycle or depth
matters.
"""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import orjson
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacs_gateway.header import is_uid
from pacs_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.catalog.rejections import KEY_OBJECT_SELECTION
from storage.errors import Rejected
from storage.records import InstanceUid, Rejection
from storage.rejection import MEANINGS, NoteUnreadable, Told

if TYPE_CHECKING:
    from datetime import datetime

    from storage.archive import Archive
    from storage.catalog.rejections import Note
    from storage.records import InstanceRecord, StudyRecord

MAX_BYTES: Final = 64 << 20
MAX_REFERENCES: Final = 100_000
_CHILD_S: Final = 60
"""Processor time: a hundred thousand references take twenty seconds."""
_WAIT_S: Final = 600
_CHILD_BYTES: Final = 2 << 30
_MAX_WORDS: Final = 1024
_DCM: Final = "DCM"
_DESCRIPTION: Final = "113012"
"""(113012, DCM, "Key Object Description")"""
_UNREADABLE: Final = (
    *(InvalidDicomError, BytesLengthException, ValueError, KeyError, AttributeError, NotImplementedError, TypeError),
    *(OSError, EOFError, RecursionError, MemoryError, struct.error, zlib.error),
)
"""What pydicom raises for what it cannot read, and what the limits of a child raise."""
_child = threading.Lock()
"""However many notes come, one processor at most is busy with them."""


# ----------------------------------------------------------------------------------------------------------- reading
def read_note(archive: Archive, note: Note) -> Told:
    """Read a kept Key Object Selection document.

    Raises
    ------
    NoteUnreadable
        It does not parse, is longer than any note need be, or takes too long.
    storage.errors.Damaged, storage.errors.Unavailable
        Its object is not there, or cannot be read for now.
    """
    if archive.objects.size(note.object_key) > MAX_BYTES:
        raise NoteUnreadable(f"a document of more than {MAX_BYTES} bytes is not read")
    with archive.objects.open(note.object_key) as stream:
        content = stream.read()
    command = [sys.executable, "-W", "ignore", "-m", "pacs_gateway.rejection_note"]
    try:
        with _child:
            done = subprocess.run(command, input=content, capture_output=True, timeout=_WAIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise NoteUnreadable(f"it takes longer than {_WAIT_S} s to read") from None
    if done.returncode:
        raise NoteUnreadable(f"it cannot be read: exit code {done.returncode}")
    told = orjson.loads(done.stdout)
    return Told(**{**told, "instances": tuple(InstanceUid(uid) for uid in told["instances"])})


def told_by(document: Dataset) -> Told:
    """Return what a Key Object Selection document says.

    A reference counts where the evidence (0040,A375) names it in the document's own study: a note speaks of no other.
    """
    refers = list(_references(document))
    if len(refers) > MAX_REFERENCES:
        raise ValueError(f"more than {MAX_REFERENCES} references")
    own = _evidence(document)
    chosen = dict.fromkeys(InstanceUid(uid) for uid in refers if uid in own)
    return Told(
        title=_code(document.get("ConceptNameCodeSequence")),
        instances=tuple(chosen),
        passed_over=len(set(refers)) - len(chosen),
        words=_words(document),
    )


def _references(document: Dataset) -> Iterator[str]:
    for item in document.get("ContentSequence") or ():
        for reference in item.get("ReferencedSOPSequence") or ():
            yield str(reference.get("ReferencedSOPInstanceUID", ""))


def _evidence(document: Dataset) -> set[str]:
    """Return the instances that are listed as the document's own study's, but for itself."""
    own = {
        str(reference.get("ReferencedSOPInstanceUID", ""))
        for study in document.get("CurrentRequestedProcedureEvidenceSequence") or ()
        if study.get("StudyInstanceUID") == document.StudyInstanceUID
        for series in study.get("ReferencedSeriesSequence") or ()
        for reference in series.get("ReferencedSOPSequence") or ()
    }
    return {uid for uid in own if is_uid(uid)} - {str(document.SOPInstanceUID)}


def _code(sequence: Sequence[Dataset] | None) -> str:
    code = sequence[0] if sequence else Dataset()
    return str(code.get("CodeValue", "")) if code.get("CodingSchemeDesignator") == _DCM else ""


def _words(document: Dataset) -> str:
    """Return the description on one line: it goes into the audit."""
    for item in document.get("ContentSequence") or ():
        if item.get("ValueType") == "TEXT" and _code(item.get("ConceptNameCodeSequence")) == _DESCRIPTION:
            return " ".join(str(item.get("TextValue", "")).split())[:_MAX_WORDS]
    return ""


def _main() -> int:
    """Read the document on standard input within bounds, and say on standard output what it says."""
    resource.setrlimit(resource.RLIMIT_AS, (_CHILD_BYTES, _CHILD_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CHILD_S, _CHILD_S))
    try:
        told = told_by(pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read())))
    except _UNREADABLE:
        return 1
    sys.stdout.buffer.write(orjson.dumps(told))
    return 0


# ----------------------------------------------------------------------------------------------------------- writing
_PATIENT: Final = {
    "PatientName": "patient_name",
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer_of_patient_id",
    "PatientBirthDate": "patient_birth_date",
    "PatientSex": "patient_sex",
}
_STUDY: Final = {
    "StudyInstanceUID": "study_instance_uid",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession_number",
    "StudyID": "study_id",
    "StudyDescription": "study_description",
    "ReferringPhysicianName": "referring_physician_name",
}
_OPTIONAL: Final = ("IssuerOfPatientID", "StudyDescription")
_NO_COMPONENTS: Final = str.maketrans("\\^=", "   ")
"""A person's name as it was typed is one component."""
_WAVEFORM: Final = "1.2.840.10008.5.1.4.1.1.9."


def write_note(
    study: StudyRecord,
    instances: Sequence[InstanceRecord],
    code: Rejection,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> bytes:
    """Return a rejection note of these instances as a DICOM file, so that other archives can be told.

    Raises
    ------
    storage.errors.Rejected
        They are more than we would read in a note ourselves.
    """
    if len(instances) > MAX_REFERENCES:
        raise Rejected(f"a rejection note refers to {MAX_REFERENCES} instances at most; hide series by series")
    note = Dataset()
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    note.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    note.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    note.SpecificCharacterSet = "ISO_IR 192"
    for keyword, name in (_PATIENT | _STUDY).items():
        value = getattr(study, name)
        if value is not None or keyword not in _OPTIONAL:
            setattr(note, keyword, value)
    note.SOPClassUID = UID(KEY_OBJECT_SELECTION)
    note.SOPInstanceUID, note.SeriesInstanceUID = _new_uid(), _new_uid()
    note.Modality, note.SeriesNumber, note.InstanceNumber = "KO", 1, 1
    note.Manufacturer = "Rọi"
    note.ReferencedPerformedProcedureStepSequence = []
    note.ContentDate, note.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    note.TimezoneOffsetFromUTC = "+0000"
    note.CurrentRequestedProcedureEvidenceSequence = [_as_evidence(study, instances)]
    note.ValueType, note.ContinuityOfContent = "CONTAINER", "SEPARATE"
    note.ConceptNameCodeSequence = [_concept(code, MEANINGS[code])]
    note.ContentTemplateSequence = [_data_set(MappingResource="DCMR", TemplateIdentifier="2010")]
    note.ContentSequence = [*_observer(actor), _description(reason), *map(_as_item, instances)]
    file = io.BytesIO()
    note.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _as_evidence(study: StudyRecord, instances: Iterable[InstanceRecord]) -> Dataset:
    series: dict[str, list[InstanceRecord]] = {}
    for instance in instances:
        series.setdefault(instance.series_instance_uid, []).append(instance)
    listed = [
        _data_set(SeriesInstanceUID=uid, ReferencedSOPSequence=[_reference(each) for each in members])
        for uid, members in series.items()
    ]
    return _data_set(StudyInstanceUID=study.study_instance_uid, ReferencedSeriesSequence=listed)


def _observer(actor: str) -> tuple[Dataset, Dataset]:
    """Say who observed it (TID 1002)."""
    person = _data_set(
        RelationshipType="HAS OBS CONTEXT",
        ValueType="CODE",
        ConceptNameCodeSequence=[_concept("121005", "Observer Type")],
        ConceptCodeSequence=[_concept("121006", "Person")],
    )
    name = _data_set(
        RelationshipType="HAS OBS CONTEXT",
        ValueType="PNAME",
        ConceptNameCodeSequence=[_concept("121008", "Person Observer Name")],
        PersonName=f"{actor.translate(_NO_COMPONENTS)[:63]}^",
    )
    return person, name


def _description(reason: str) -> Dataset:
    return _data_set(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=[_concept(_DESCRIPTION, "Key Object Description")],
        TextValue=reason,
    )


def _as_item(instance: InstanceRecord) -> Dataset:
    is_wave = instance.sop_class_uid.startswith(_WAVEFORM)
    kind = "WAVEFORM" if is_wave else "IMAGE" if instance.rows else "COMPOSITE"
    return _data_set(RelationshipType="CONTAINS", ValueType=kind, ReferencedSOPSequence=[_reference(instance)])


def _reference(instance: InstanceRecord) -> Dataset:
    return _data_set(ReferencedSOPClassUID=instance.sop_class_uid, ReferencedSOPInstanceUID=instance.sop_instance_uid)


def _concept(value: str, meaning: str) -> Dataset:
    return _data_set(CodeValue=str(value), CodingSchemeDesignator=_DCM, CodeMeaning=meaning)


def _data_set(**attributes: object) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def _new_uid() -> UID:
    return UID(f"2.25.{uuid.uuid4().int}")


if __name__ == "__main__":
    sys.exit(_main())
