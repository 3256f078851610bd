"""Whether a decoded input can be what the model was made for; a refusal names a stable reason code.

The gates come in this order: structure and geometry (`inference.selection`), intensity, whether the model knows the
like, then the model's score, then whether the score makes sense.  Features and score are of one pass, and the score of
what the model does not know is never looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inference.errors import NotSuitable
from models.contract import Prediction, Radiograph, Volume

if TYPE_CHECKING:
    from models.contract import InputRules, ModelCard

_AIR_HU = (-1100.0, -850.0)
_SOFT_HU = (0.0, 90.0)
_LEAST_SHARE = 0.02
_AIR_MODE_HU = (-1100.0, -900.0)
_NOT_TISSUE_HU = -500.0
_TISSUE_HU = (-150.0, 150.0)
_BIN_HU = 5.0
_SAMPLED_SLICES = 64
"""About so many slices are looked at, evenly over the stack."""
_CORNER = 0.15
"""How much of each side a corner takes where burned-in text is masked."""
_MOST_SHIFT = 0.1
"""By how much masked corners may change a score."""


def check_input(image: Volume | Radiograph, rules: InputRules) -> None:
    """Check intensities.

    Raises
    ------
    NotSuitable
        ``not_finite``, ``hu_implausible`` or ``flat_image``.
    """
    pixels = image.voxels if isinstance(image, Volume) else image.pixels
    if not np.isfinite(pixels.min()) or not np.isfinite(pixels.max()):  # both are not a number where one pixel is not
        raise NotSuitable("not_finite")
    if isinstance(image, Volume):
        _check_hounsfield(image, rules)
    elif float(pixels.std()) < 1e-3:
        raise NotSuitable("flat_image")


def _check_hounsfield(volume: Volume, rules: InputRules) -> None:
    """Check for air and for soft tissue: a head in air has both, values on another scale lack one."""
    sample = volume.voxels[:: max(1, len(volume.voxels) // _SAMPLED_SLICES), ::4, ::4].ravel()
    for name, (low, high) in {"air": _AIR_HU, "soft tissue": _SOFT_HU}.items():
        share = float(((sample >= low) & (sample <= high)).mean())
        if share < _LEAST_SHARE:
            raise NotSuitable("hu_implausible", f"{share:.1%} of voxels look like {name}")
    _check_mode("air", _mode(sample[sample < _NOT_TISSUE_HU]), _AIR_MODE_HU)
    if any(rules.tissue_mode_hu):
        low, high = _TISSUE_HU
        _check_mode("soft tissue", _mode(sample[(sample > low) & (sample < high)]), rules.tissue_mode_hu)


def _mode(values: npt.NDArray[np.float32]) -> float:
    """Give the commonest value, to `_BIN_HU`."""
    bins = np.round(values / _BIN_HU).astype(np.int64)
    return float((np.bincount(bins - bins.min()).argmax() + bins.min()) * _BIN_HU)


def _check_mode(name: str, mode: float, wanted: tuple[float, float]) -> None:
    low, high = wanted
    if not low <= mode <= high:
        raise NotSuitable("hu_implausible", f"most {name} at {mode:.0f} HU, {low:.0f} to {high:.0f} expected")


def check_known(card: ModelCard, prediction: Prediction) -> None:
    """Check that the model knows the like of the input.

    Raises
    ------
    NotSuitable
        ``ood``, with the squared distance.
    """
    known, distance = card.known_inputs, prediction.distance
    if known is None:
        return
    if distance is None or not distance <= known.threshold:
        told = "unknown" if distance is None else f"{distance:.0f}"
        raise NotSuitable("ood", f"distance {told}, at most {known.threshold:.0f} known")


def check_scores(prediction: Prediction) -> None:
    """Check that every score is a number in 0..1, and that not all of several are at an end of it.

    Raises
    ------
    NotSuitable
        ``score_implausible``.
    """
    scores = list(prediction.scores.values())
    if not all(np.isfinite(score) and 0.0 <= score <= 1.0 for score in scores):
        raise NotSuitable("score_implausible")
    if len(scores) > 1 and all(score == 1.0 for score in scores):
        raise NotSuitable("score_implausible", "every finding at its highest")


def without_corners(image: Radiograph) -> Radiograph:
    """Give a radiograph whose corners, where text is burned in, hold its middle shade."""
    pixels = image.pixels.copy()
    rows, columns = (max(1, round(side * _CORNER)) for side in pixels.shape)
    middle = np.float32(np.median(pixels))
    for vertical in (slice(None, rows), slice(-rows, None)):
        for horizontal in (slice(None, columns), slice(-columns, None)):
            pixels[vertical, horizontal] = middle
    return Radiograph(pixels=pixels, instance_uid=image.instance_uid, view=image.view)


def check_shortcut(shown: Prediction, masked: Prediction) -> None:
    """Check that no score hangs on what is burned into the corners.

    Raises
    ------
    NotSuitable
        ``burned_in``.
    """
    shift = max(abs(score - masked.scores[code]) for code, score in shown.scores.items())
    if shift > _MOST_SHIFT:
        raise NotSuitable("burned_in", f"a score changes by {shift:.2f} with the corners masked")
