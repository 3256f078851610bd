"""Which series of a study a model looks at, with a reason for every other one.

Header text cannot be trusted alone (BodyPartExamined is wrong in about one in seven), so geometry decides where it
can; what the catalogue does not hold is read from the headers of the series that are left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from inference.ages import age_years
from inference.errors import NotSuitable
from inference.marks import marks_of
from inference.radiographs import Upright, consider_image
from inference.signs import DERIVED_TEXT, is_derived, is_localizer
from inference.slices import Slice, first_text, read_slices
from inference.stacks import Stack, split, stack_in_order, stacks_of, weigh

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from models.contract import InputRules
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

USED = "used"
NOT_PREFERRED = "not_preferred"
OTHER_MODALITY = "other_modality"
_SAYS_LITTLE = frozenset({OTHER_MODALITY, "localizer_only", "derived"})
"""What is true of some series of nearly every study, and no reason why none could be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Considered:
    """What was thought of one series, or of one part of a mixed one.

    `code` is ``used``, ``not_preferred``, ``other_modality`` or a reason code.  `weights` says what each rule added to
    the score of a part that fits.
    """

    series_instance_uid: str
    series_number: int | None
    code: str
    detail: str = ""
    images: int = 0
    step_mm: float | None = None
    kernel: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The sum of its weights."""
        return sum(self.weights.values())

    def as_json(self) -> dict[str, object]:
        """Give it as kept in a result's provenance."""
        return {
            "series_instance_uid": self.series_instance_uid,
            "series_number": self.series_number,
            "code": self.code,
            "detail": self.detail,
            "images": self.images,
            "step_mm": self.step_mm,
            "kernel": self.kernel,
            "weights": {rule: round(weight, 4) for rule, weight in self.weights.items()},
            "score": round(self.score, 4),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """An input that a model may be shown: images in order, and for a radiograph how it is turned upright."""

    images: tuple[Slice, ...]
    weights: Mapping[str, float]
    step_mm: float | None = None
    filled: tuple[int, ...] = ()
    resent: int = 0
    upright: Upright | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The input that a model will see, and what was thought of every series.

    `ranking` has the used one first, then by score, then what did not fit.  `marks` say what a reader should know of
    an input that is used all the same.
    """

    series_instance_uid: str
    images: tuple[Slice, ...]
    ranking: tuple[Considered, ...]
    marks: tuple[str, ...] = ()
    filled: tuple[int, ...] = ()
    upright: Upright | None = None
    burned_in: bool = False

    @property
    def instances(self) -> tuple[InstanceRecord, ...]:
        """Each instance once, in the order of its first image."""
        return tuple({image.instance.sop_instance_uid: image.instance for image in self.images}.values())

    @property
    def series_reasons(self) -> dict[str, str]:
        """Per series ``used``, or why not."""
        return reasons_of(self.ranking)


def select(instances: Sequence[InstanceRecord], rules: InputRules, objects: ObjectStore) -> Selected:
    """Choose the input for a model.

    Raises
    ------
    NotSuitable
        No series fits; the reason is the series' own where they share one, else ``no_eligible_series``.  Or the one
        that fits is of a patient too young for the model: ``age_out_of_range``.
    """
    by_series: dict[str, list[InstanceRecord]] = defaultdict(list)
    for instance in instances:
        by_series[instance.series_instance_uid].append(instance)
    fitting: list[tuple[Considered, Fit]] = []
    rejected: list[Considered] = []
    for members in by_series.values():
        for considered, fit in _consider(members, rules, objects):
            if fit is None:
                rejected.append(considered)
            else:
                fitting.append((considered, fit))
    if not fitting:
        raise NotSuitable(*_shared_reason(rejected), ranking=tuple(rejected))
    fitting.sort(key=lambda pair: (pair[0].score, pair[0].images, pair[0].series_instance_uid), reverse=True)
    (first, best), *others = fitting
    ranking = (first, *(_not_preferred(one, first) for one, _ in others), *rejected)
    age = _checked_age(best.images[0].head, rules, ranking)
    return Selected(
        series_instance_uid=first.series_instance_uid,
        images=best.images,
        ranking=ranking,
        marks=marks_of(best, rules, age),
        filled=best.filled,
        upright=best.upright,
        burned_in=first_text(best.images[0].head, "BurnedInAnnotation").upper() == "YES",
    )


def reasons_of(ranking: Iterable[Considered]) -> dict[str, str]:
    """Give per series ``used``, or why not; several reasons where its parts differ."""
    by_series: dict[str, list[str]] = defaultdict(list)
    for one in ranking:
        said = f"{one.code}: {one.detail}" if one.detail else one.code
        if said not in by_series[one.series_instance_uid]:
            by_series[one.series_instance_uid].append(said)
    return {uid: USED if USED in said else "; ".join(said) for uid, said in by_series.items()}


def _shared_reason(rejected: Sequence[Considered]) -> tuple[str, str]:
    """Give the reason code that says why no series is left, and its detail where only one series has it."""
    codes = {one.code for one in rejected} - {OTHER_MODALITY}
    telling = codes - _SAYS_LITTLE or codes
    if len(telling) != 1:
        return "no_eligible_series", ""
    (code,) = telling
    details = [one.detail for one in rejected if one.code == code]
    return code, details[0] if len(details) == 1 else ""


def _checked_age(head: Dataset, rules: InputRules, ranking: tuple[Considered, ...]) -> int | None:
    age = age_years(head)
    if age is not None and age < rules.min_age_years:
        raise NotSuitable("age_out_of_range", f"under {rules.min_age_years} years", ranking=ranking)
    return age


# ------------------------------------------------------------------------------------------------ one series
def _consider(
    members: Sequence[InstanceRecord], rules: InputRules, objects: ObjectStore
) -> Iterator[tuple[Considered, Fit | None]]:
    """Give each part of a series with what fits of it, or with the reason why it does not."""
    about = members[0]
    fitting = [each for each in members if rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid)]
    if not fitting:
        yield _rejected(about, NotSuitable(OTHER_MODALITY), len(members)), None
        return
    try:
        parts = _PARTS[rules.kind](fitting, rules, objects)
    except NotSuitable as error:
        yield _rejected(about, error, len(fitting)), None
        return
    for images, make in parts:
        try:
            fit = make()
        except NotSuitable as error:
            yield _rejected(about, error, images), None
            continue
        yield _fits(about, fit), fit


Part = tuple[int, Callable[[], Fit]]
"""How many images it has, and what makes it an input or tells why not."""


def _stack_parts(members: Sequence[InstanceRecord], rules: InputRules, objects: ObjectStore) -> list[Part]:
    """Give the stacks that a series holds.

    Raises
    ------
    NotSuitable
        ``localizer_only``, ``derived``, ``too_few_slices`` or, where only a split makes them too few,
        ``mixed_orientation``, ``mixed_series`` or ``duplicate_positions``.
    """
    slices = read_slices(_promising(members, rules), objects)
    kept = [one for one in slices if not is_derived(one.image_type) and not _says_derived(one)]
    if not kept:
        raise NotSuitable("derived")
    parts = split(kept)
    stacks = [found for part in parts for found in stacks_of(part, objects)]
    if len(stacks) > 1 and max(len(stack) for stack, _ in stacks) < rules.min_slices <= len(kept):
        raise _why_split(kept, parts)
    return [(len(stack), partial(_as_fit, stack, resent, rules)) for stack, resent in stacks]


def _promising(members: Sequence[InstanceRecord], rules: InputRules) -> list[InstanceRecord]:
    """Drop what the catalogue alone rules out, so that no header is read in vain."""
    slices = [each for each in members if not is_localizer(each.image_type)]
    if not slices:
        raise NotSuitable("localizer_only")
    original = [each for each in slices if (each.number_of_frames or 1) > 1 or not is_derived(each.image_type)]
    if not original:
        raise NotSuitable("derived")
    count = sum(each.number_of_frames or 1 for each in original)
    if count < rules.min_slices:
        raise NotSuitable("too_few_slices", f"{count}, at least {rules.min_slices} needed")
    return original


def _says_derived(one: Slice) -> bool:
    return bool(DERIVED_TEXT.search(first_text(one.head, "SeriesDescription").upper()))


def _why_split(slices: Sequence[Slice], parts: Sequence[Sequence[Slice]]) -> NotSuitable:
    if len(parts) == 1:
        return NotSuitable("duplicate_positions")
    if len({(one.kernel, one.energy, one.phase) for one in slices}) > 1:
        return NotSuitable("mixed_series")
    return NotSuitable("mixed_orientation")


def _as_fit(slices: Sequence[Slice], resent: int, rules: InputRules) -> Fit:
    stack: Stack = stack_in_order(slices, resent, rules)
    return Fit(
        images=stack.slices,
        weights=weigh(stack, rules),
        step_mm=stack.step_mm,
        filled=stack.filled,
        resent=stack.resent,
    )


def _image_parts(members: Sequence[InstanceRecord], rules: InputRules, objects: ObjectStore) -> list[Part]:  # noqa: ARG001 - the common form
    """Give the newest image of a series that is a frontal chest, as one part."""
    return [(len(members), partial(_newest_frontal, members, objects))]


def _newest_frontal(members: Sequence[InstanceRecord], objects: ObjectStore) -> Fit:
    last: NotSuitable | None = None
    for instance in reversed(members):
        try:
            image, weight, upright = consider_image(instance, objects)
        except NotSuitable as error:
            last = error
            continue
        return Fit(images=(image,), weights={"view": weight}, upright=upright)
    raise last or NotSuitable("no_eligible_series")


_PARTS: Mapping[str, Callable[[Sequence[InstanceRecord], InputRules, ObjectStore], list[Part]]] = {
    "volume": _stack_parts,
    "radiograph": _image_parts,
}


# ------------------------------------------------------------------------------------------------ what is said of it
def _fits(about: InstanceRecord, fit: Fit) -> Considered:
    return Considered(
        series_instance_uid=about.series_instance_uid,
        series_number=about.series_number,
        code=USED,
        images=len(fit.images),
        step_mm=round(fit.step_mm, 3) if fit.step_mm is not None else None,
        kernel=fit.images[0].kernel,
        weights=fit.weights,
    )


def _not_preferred(one: Considered, best: Considered) -> Considered:
    return replace(one, code=NOT_PREFERRED, detail=f"score {one.score:.2f} against {best.score:.2f}")


def _rejected(about: InstanceRecord, error: NotSuitable, images: int) -> Considered:
    return Considered(
        series_instance_uid=about.series_instance_uid,
        series_number=about.series_number,
        code=error.reason,
        detail=error.detail,
        images=images,
    )
