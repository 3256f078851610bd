"""A result's objects, whole files in the order in which they are to be kept.  Loads what writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from inference.reports import ko, sc, seg, sr
from inference.reports.told import as_part10
from storage.records import InstanceUid, ResultObject, SeriesUid, StudyUid

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    from inference.reports.told import Told

_BUILDERS: Final[Mapping[str, Callable[[Told], Dataset | None]]] = {each.FORM: each.build for each in (sr, ko, sc, seg)}
_OF_A_RETRACTION: Final = frozenset({sr.FORM})
"""What was shown of a result stays; that it was taken back is the new report's to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One object, as a file and by its names."""

    content: bytes
    named: ResultObject


def make(told: Told, forms: Sequence[str]) -> list[Made]:
    """Return the objects of a result in those of `forms` that there is something to tell in.

    The same result gives the same bytes, whenever and wherever they are made.
    """
    wanted = [form for form in forms if not told.is_retracted or form in _OF_A_RETRACTION]
    built = ((form, _BUILDERS[form](told)) for form in wanted)
    return [_made(form, dataset) for form, dataset in built if dataset is not None]


def _made(form: str, dataset: Dataset) -> Made:
    named = ResultObject(
        form=form,
        sop_class_uid=str(dataset.SOPClassUID),
        study_instance_uid=StudyUid(dataset.StudyInstanceUID),
        series_instance_uid=SeriesUid(dataset.SeriesInstanceUID),
        sop_instance_uid=InstanceUid(dataset.SOPInstanceUID),
    )
    return Made(content=as_part10(dataset), named=named)
