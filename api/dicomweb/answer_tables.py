"""What a search tells of each match: the tables of PS3.18 10.6.3.3, laid out once, as a page of answers is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from api.dicomweb.kept import leaves_as
from api.dicomweb.model import DataSet, element, name_groups, place_of
from storage import search

if TYPE_CHECKING:
    from storage.records import InstanceRecord, SeriesRecord

_Values = Callable[[Any], Sequence[object]]
"""Reads a record's values, in the order of a table."""
_Make = Callable[[Any], Iterable[object]]
"""Makes the values of one attribute from the whole record."""

_URL: Final = place_of("RetrieveURL")
_CONSTANT: Final = {"SpecificCharacterSet": "ISO_IR 192", "InstanceAvailability": "ONLINE"}


class AnswerTable:
    """The attributes that an answer of one level carries; those without a value go out empty."""

    def __init__(
        self,
        plain: Mapping[str, str],
        values: Callable[..., _Values],
        *,
        made: Mapping[str, _Make],
        always: Sequence[str] = (),
        never_empty: Sequence[str] = (),
    ) -> None:
        """Take which field of a record holds each attribute, and how such `values` are read all at once.

        `made` are attributes of several values, or of such as no single field holds; `always` carry what is the same
        of every record.  Of those `never_empty` nothing goes out where there is no value.
        """
        self._plain = [place_of(keyword) for keyword in plain]
        self._values = values(*plain.values())
        self._made = [(*place_of(keyword), make, keyword in never_empty) for keyword, make in made.items()]
        constants = (element(keyword, _CONSTANT.get(keyword)) for keyword in always)
        empty = (element(keyword, None) for keyword in (*plain, *made, "RetrieveURL"))
        self._empty: DataSet = dict(sorted([*constants, *empty]))

    def of(self, record: object, url: str = "") -> DataSet:
        """Return an answer, with its (0008,1190) Retrieve URL where it has one."""
        answer: DataSet = self._empty.copy()
        for (tag, vr), value in zip(self._plain, self._values(record), strict=True):
            if value or value == 0:
                answer[tag] = {"vr": vr, "Value": [value]}
        for tag, vr, make, is_never_empty in self._made:
            if values := list(make(record)):
                answer[tag] = {"vr": vr, "Value": values}
            elif is_never_empty:
                del answer[tag]
        tag, vr = _URL
        if url:
            answer[tag] = {"vr": vr, "Value": [url]}
        else:
            del answer[tag]
        return answer


# ------------------------------------------------------------------------------------------------ how values are read
def _columns(*names: str) -> _Values:
    """Read a row of `search.FACTS`."""
    return itemgetter(*(search.FACTS.index(name) for name in names))


def _name(column: str) -> _Make:
    place = search.FACTS.index(column)
    return lambda row: [name_groups(row[place])] if row[place] else ()


def _modalities(row: Sequence[Any]) -> Iterable[str]:
    return filter(None, row[_MODALITIES].split("\\"))


_MODALITIES: Final = search.FACTS.index("modalities")


def _requests(one: SeriesRecord) -> Iterable[DataSet]:
    """Return the items of a series' Request Attributes Sequence."""
    steps, procedures = (
        (ids or "").split("\\") for ids in (one.scheduled_procedure_step_ids, one.requested_procedure_ids)
    )
    return [
        dict([element("ScheduledProcedureStepID", step), element("RequestedProcedureID", procedure)])
        for step, procedure in zip_longest(steps, procedures, fillvalue="")
        if step or procedure
    ]


def _image_type(one: InstanceRecord) -> Iterable[str]:
    return one.image_type


def _leaves_as(one: InstanceRecord) -> Iterable[str]:
    return (leaves_as(one),)


# ------------------------------------------------------------------------------------------------ the tables
STUDY: Final = AnswerTable(
    {
        "StudyDate": "study_date",
        "StudyTime": "study_time",
        "AccessionNumber": "accession_number",
        "StudyDescription": "study_description",
        "PatientID": "patient_id",
        "IssuerOfPatientID": "issuer_of_patient_id",
        "PatientBirthDate": "patient_birth_date",
        "PatientSex": "patient_sex",
        "StudyInstanceUID": "study_instance_uid",
        "StudyID": "study_id",
        "NumberOfStudyRelatedSeries": "series_count",
        "NumberOfStudyRelatedInstances": "instance_count",
    },
    _columns,
    made={
        "ModalitiesInStudy": _modalities,
        "ReferringPhysicianName": _name("referring_physician_name"),
        "PatientName": _name("patient_name"),
    },
    always=("SpecificCharacterSet", "InstanceAvailability", "TimezoneOffsetFromUTC"),
    never_empty=("ModalitiesInStudy",),  # once empty, a viewer lists nothing at all
)

SERIES: Final = AnswerTable(
    {
        "Modality": "modality",
        "Manufacturer": "manufacturer",
        "StationName": "station_name",
        "SeriesDescription": "series_description",
        "BodyPartExamined": "body_part_examined",
        "ProtocolName": "protocol_name",
        "StudyInstanceUID": "study_instance_uid",
        "SeriesInstanceUID": "series_instance_uid",
        "SeriesNumber": "series_number",
        "NumberOfSeriesRelatedInstances": "instance_count",
        "PerformedProcedureStepStartDate": "pps_start_date",
        "PerformedProcedureStepStartTime": "pps_start_time",
    },
    attrgetter,
    made={"RequestAttributesSequence": _requests},
    always=("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
)

INSTANCE: Final = AnswerTable(
    {
        "SOPClassUID": "sop_class_uid",
        "SOPInstanceUID": "sop_instance_uid",
        "Modality": "modality",
        "StudyInstanceUID": "study_instance_uid",
        "SeriesInstanceUID": "series_instance_uid",
        "InstanceNumber": "instance_number",
        "NumberOfFrames": "number_of_frames",
        "Rows": "rows",
        "Columns": "columns",
        "BitsAllocated": "bits_allocated",
    },
    attrgetter,
    made={"ImageType": _image_type, "AvailableTransferSyntaxUID": _leaves_as},
    always=("SpecificCharacterSet", "InstanceAvailability", "TimezoneOffsetFromUTC"),
)
