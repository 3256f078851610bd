"""What a search tells of each match: the tables of PS3.18 10.6.3.3, laid out once, as a page of answers is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.dicomweb.kept import leaves_as
from api.dicomweb.model import DataSet, element, name_groups, place_of
from storage import search

if TYPE_CHECKING:
    from storage.records import InstanceRecord, SeriesRecord

Answer = Sequence[bytes]
"""A data set's attributes, each as its JSON stands in the text, tag first, in the order of the tags."""

_Values = Callable[[Any], Sequence[object]]
"""Reads a record's values, in the order of a table."""
_Make = Callable[[Sequence[Any]], Iterable[Sequence[object]]]
"""Makes the values of one attribute of each record."""

_CONSTANT: Final = {"SpecificCharacterSet": "ISO_IR 192", "InstanceAvailability": "ONLINE"}


class AnswerTable:
    """The attributes that an answer of one level carries; those without a value go out empty.

    A page is written attribute by attribute, as text at once: to make data sets first takes half as long again.
    """

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
        self._values = values(*plain.values())
        self._plain = [_Attribute(keyword) for keyword in plain]
        self._made = [(_Attribute(keyword, is_left_out=keyword in never_empty), make) for keyword, make in made.items()]
        self._always = [(_Attribute(keyword), _CONSTANT.get(keyword)) for keyword in always]
        self._url = _Attribute("RetrieveURL")

    def page(self, records: Sequence[Any], urls: Sequence[str] = ()) -> list[Answer]:
        """Return an answer for each record, each with its (0008,1190) Retrieve URL where there are `urls`."""
        if not records:
            return []
        fields = zip(*map(self._values, records), strict=True)
        columns = {attribute.tag: attribute.of(values) for attribute, values in zip(self._plain, fields, strict=True)}
        columns |= {attribute.tag: attribute.of_several(make(records)) for attribute, make in self._made}
        columns |= {attribute.tag: attribute.of([value]) * len(records) for attribute, value in self._always}
        columns |= {self._url.tag: self._url.of(urls)} if urls else {}
        rows = zip(*(columns[tag] for tag in sorted(columns)), strict=True)
        return [tuple(filter(None, row)) for row in rows]


class _Attribute:
    """How an attribute is written."""

    def __init__(self, keyword: str, *, is_left_out: bool = False) -> None:
        self.tag, vr = place_of(keyword)
        self._empty = b"" if is_left_out else f'"{self.tag}":{{"vr":"{vr}"}}'.encode()
        self._filled = f'"{self.tag}":{{"vr":"{vr}","Value":[%b]}}'.encode()

    def of(self, values: Iterable[object]) -> list[bytes]:
        """Write it once with each of these values."""
        filled, empty, dumps = self._filled, self._empty, orjson.dumps
        return [filled % dumps(value) if value or value == 0 else empty for value in values]

    def of_several(self, values: Iterable[Sequence[object]]) -> list[bytes]:
        """Write it once with all of each of these."""
        return [self._filled % orjson.dumps(each)[1:-1] if each else self._empty for each in values]


# ------------------------------------------------------------------------------------------------ how values are read
def _columns(*names: str) -> _Values:
    """Read a row of `search.FACTS`."""
    return itemgetter(*(search.FACTS.index(name) for name in names))


def _name(column: str) -> _Make:
    place = search.FACTS.index(column)
    return lambda rows: [[name_groups(row[place])] if row[place] else [] for row in rows]


def _modalities(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [list(filter(None, row[_MODALITIES].split("\\"))) for row in rows]


_MODALITIES: Final = search.FACTS.index("modalities")


def _requests(series: Sequence[SeriesRecord]) -> list[list[DataSet]]:
    """Return the items of each series' Request Attributes Sequence."""
    return [_requests_of(one) for one in series]


def _requests_of(one: SeriesRecord) -> list[DataSet]:
    steps, procedures = (
        (ids or "").split("\\") for ids in (one.scheduled_procedure_step_ids, one.requested_procedure_ids)
    )
    return [
        dict([element("ScheduledProcedureStepID", step), element("RequestedProcedureID", procedure)])
        for step, procedure in zip_longest(steps, procedures, fillvalue="")
        if step or procedure
    ]


def _image_types(instances: Sequence[InstanceRecord]) -> list[tuple[str, ...]]:
    return [one.image_type for one in instances]


def _syntaxes(instances: Sequence[InstanceRecord]) -> list[list[str]]:
    """Return the transfer syntax in which each instance leaves."""
    return [[leaves_as(one)] for one in instances]


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
    made={"ImageType": _image_types, "AvailableTransferSyntaxUID": _syntaxes},
    always=("SpecificCharacterSet", "InstanceAvailability", "TimezoneOffsetFromUTC"),
)
