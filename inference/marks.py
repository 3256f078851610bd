"""What a reader should know of an input that was used all the same: degraded, filled, turned, perhaps enhanced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.slices import first_text
from inference.vessels import shows_contrast
from models.contract import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from inference.selection import Fit
    from models.contract import InputRules, Radiograph

DEGRADED = "lossy_high"
FILLED = "slice_filled"
RESENT = "slices_resent"
AGE_UNKNOWN = "age_unknown"
VIEW_FROM_PIXELS = "view_from_pixels"
TURNED = "turned_upright"
CONTRAST_UNCERTAIN = "contrast_uncertain"

_RATIO = {"volume": 8.0, "radiograph": 15.0}
"""Lossy compression beyond this ratio degrades an input."""


def marks_of(fit: Fit, rules: InputRules, age: int | None) -> tuple[str, ...]:
    """Give the marks of an input, in a fixed order."""
    said = {
        DEGRADED: any(_lossy_beyond(image.head, _RATIO[rules.kind]) for image in fit.images),
        FILLED: bool(fit.filled),
        RESENT: fit.resent > 0,
        AGE_UNKNOWN: rules.min_age_years > 0 and age is None,
        VIEW_FROM_PIXELS: fit.upright is not None,
        TURNED: fit.upright is not None and fit.upright.is_turned,
    }
    return tuple(mark for mark, holds in said.items() if holds)


def marks_of_pixels(image: Volume | Radiograph, rules: InputRules) -> tuple[str, ...]:
    """Give the marks that only the pixels tell: of a brain, that vessels shine although no header tells of contrast."""
    if isinstance(image, Volume) and any(rules.tissue_mode_hu) and shows_contrast(image):
        return (CONTRAST_UNCERTAIN,)
    return ()


def _lossy_beyond(head: Dataset, most: float) -> bool:
    """Tell whether (0028,2110) says lossy and (0028,2112) more than `most`; a ratio that is not told may be any."""
    if first_text(head, "LossyImageCompression") != "01":
        return False
    told = head.get("LossyImageCompressionRatio")
    if told in {None, ""}:
        return True
    ratios = [told] if isinstance(told, int | float) else list(told)
    return max(map(float, ratios), default=most) > most
