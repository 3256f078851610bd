"""What is asked: the queries that a reading room's programs send, and what a right answer to each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.patients import Listed, nth
from storage.names import fold

Answer = Sequence[Mapping[str, Any]]
"""DICOM JSON."""

_VARIANTS = 12
"""Values that each question is asked with, in turn: no answer is one that was just given."""

_ENOUGH = 10_000
"""Studies among which everything that is asked for occurs."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One query with its values, and the check of its answer."""

    target: str
    right: Callable[[Answer], bool]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A row of the table: questions of one kind, made for an archive of so many studies."""

    name: str
    make: Callable[[int], list[Question]]
    with_goal: bool = True


def _ask(keys: Mapping[str, str], right: Callable[[Answer], bool], path: str = "/studies") -> Question:
    # a star as it is: Orthanc decodes no value
    return Question(target=f"/dicom-web{path}?{urlencode(keys, quote_via=quote, safe='*')}", right=right)


def value(item: Mapping[str, Any], tag: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return an attribute's first value, None where it has none."""
    told = item.get(tag, {}).get("Value", [None])[0]
    return told.get("Alphabetic", "") if isinstance(told, dict) else told


def _some(studies: int) -> list[Listed]:
    """Choose studies all over the archive."""
    return [nth((number * 7919 + 13) % studies) for number in range(_VARIANTS)]


def _exactly(one: Listed) -> Callable[[Answer], bool]:
    return lambda answer: [value(item, "0020000D") for item in answer] == [one.study_instance_uid]


def _all(test: Callable[[Mapping[str, Any]], bool], most: int, least: int = 1) -> Callable[[Answer], bool]:
    """Accept some, not more than the page holds, and nothing that was not asked for."""
    return lambda answer: least <= len(answer) <= most and all(map(test, answer))


def _least(studies: int) -> int:
    """Return how many a question for something rare finds at least: in a small run perhaps none."""
    return 1 if studies >= _ENOUGH else 0


def _full(test: Callable[[Mapping[str, Any]], bool], size: int) -> Callable[[Answer], bool]:
    return lambda answer: len(answer) == size and all(map(test, answer))


def _by_patient(studies: int) -> list[Question]:
    def right(one: Listed) -> Callable[[Answer], bool]:
        return _all(lambda item: value(item, "00100020") == one.patient_id, 3)

    return [_ask({"PatientID": one.patient_id}, right(one)) for one in _some(studies)]


def _by_accession(studies: int) -> list[Question]:
    return [_ask({"AccessionNumber": one.accession_number}, _exactly(one)) for one in _some(studies)]


def _by_uid(studies: int) -> list[Question]:
    return [_ask({"StudyInstanceUID": one.study_instance_uid}, _exactly(one)) for one in _some(studies)]


def _by_day(studies: int) -> list[Question]:
    def right(day: str) -> Callable[[Answer], bool]:
        return _all(lambda item: value(item, "00080020") == day, 5)

    days = [one.study_date for one in _some(studies)]
    return [_ask({"StudyDate": day, "limit": "5"}, right(day)) for day in days]


_MONTHS = [f"{year}{month:02d}" for year in (2024, 2025) for month in range(1, 13)][:_VARIANTS]


def _by_month(studies: int) -> list[Question]:
    def right(month: str) -> Callable[[Answer], bool]:
        accept = _full if studies >= _ENOUGH else _all
        return accept(lambda item: value(item, "00080020")[:6] == month, 100)

    return [_ask({"StudyDate": f"{month}01-{month}31", "limit": "100"}, right(month)) for month in _MONTHS]


def _by_modality(studies: int) -> list[Question]:
    def right(month: str) -> Callable[[Answer], bool]:
        def is_right(item: Mapping[str, Any]) -> bool:
            return value(item, "00080020")[:6] == month and "CT" in item["00080061"].get("Value", [])

        return _all(is_right, 100, _least(studies))

    return [
        _ask({"StudyDate": f"{month}01-{month}31", "ModalitiesInStudy": "CT", "limit": "100"}, right(month))
        for month in _MONTHS
    ]


def _page(offset: int) -> list[Question]:
    return [_ask({"limit": "50", "offset": str(offset)}, _full(lambda _: True, 50))]


def _no_match(_: int) -> list[Question]:
    return [_ask({"PatientID": f"NOBODY{number}"}, lambda answer: not answer) for number in range(_VARIANTS)]


def _series(studies: int) -> list[Question]:
    def right(one: Listed) -> Callable[[Answer], bool]:
        return lambda answer: sorted(value(item, "00080060") for item in answer) == sorted(one.modalities)

    return [_ask({"limit": "50"}, right(one), f"/studies/{one.study_instance_uid}/series") for one in _some(studies)]


def _by_name(keys: Sequence[str], test: Callable[[str, str], bool], limit: int = 50) -> Callable[[int], list[Question]]:
    def right(key: str, studies: int) -> Callable[[Answer], bool]:
        return _all(lambda item: test(fold(value(item, "00100010")), fold(key).strip("*")), limit, _least(studies))

    return lambda studies: [_ask({"PatientName": key, "limit": str(limit)}, right(key, studies)) for key in keys]


def _holds(name: str, part: str) -> bool:
    return part in name


KINDS: Sequence[Kind] = (
    Kind(name="PatientID", make=_by_patient),
    Kind(name="AccessionNumber", make=_by_accession),
    Kind(name="StudyInstanceUID", make=_by_uid),
    Kind(name="StudyDate, one day, limit 5", make=_by_day),
    Kind(name="StudyDate, one month, limit 100", make=_by_month),
    Kind(name="ModalitiesInStudy + month, limit 100", make=_by_modality),
    Kind(name="first page of 50", make=lambda _: _page(0)),
    Kind(name="last page of 50 of 10,000", make=lambda studies: _page(min(studies, 10_000) - 50)),
    Kind(name="no match", make=_no_match),
    Kind(name="series of a study", make=_series),
    Kind(
        name="PatientName, ASCII letter*, limit 50",
        make=_by_name(["N*", "T*", "L*", "P*", "H*", "V*", "B*"], str.startswith),
    ),
    Kind(
        name="PatientName, *three ASCII letters*, limit 50",
        make=_by_name(["*ANH*", "*KIM*", "*MIN*", "*LAN*", "*LIN*", "*MAI*", "*TRA*", "*NGA*"], _holds),
    ),
    Kind(
        name="PatientName, Vietnamese beginning, limit 50",
        make=_by_name(["Nguyễn*", "Phạm*", "Đặng*", "Huỳnh*", "Trần Thị*", "Bùi*"], str.startswith),
    ),
    Kind(
        name="PatientName, rare Vietnamese beginning, limit 5",
        make=_by_name(["Ksor*", "Đoàn*", "Tôn Nữ*", "Trịnh*", "Lý*"], str.startswith, 5),
    ),
    Kind(
        name="PatientName, *Vietnamese given name*, limit 50",
        make=_by_name(["*Tuyết*", "*Diễm*", "*Ánh*", "*Đức*", "*Quỳnh*", "*Hương*"], _holds),
    ),
    Kind(name="deepest page of 50", make=lambda studies: _page(min(studies - 50, 99_950)), with_goal=False),
)  # fmt: skip
