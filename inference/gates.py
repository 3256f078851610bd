"""Whether a decoded input can be what the model was made for; a refusal names a stable reason code."""

from __future__ import annotations

import numpy as np

from inference.errors import NotSuitable
from models.contract import Prediction, Radiograph, Volume

_AIR_HU = (-1100.0, -850.0)
_SOFT_HU = (0.0, 90.0)
_LEAST_SHARE = 0.02


def check_input(image: Volume | Radiograph) -> None:
    """Check intensities.

    Raises
    ------
    NotSuitable
        ``not_finite``, ``hu_implausible`` or ``flat_image``.
    """
    pixels = image.voxels if isinstance(image, Volume) else image.pixels
    if not np.isfinite(pixels).all():
        raise NotSuitable("not_finite")
    if isinstance(image, Volume):
        _check_hounsfield(image)
    elif float(pixels.std()) < 1e-3:
        raise NotSuitable("flat_image")


def _check_hounsfield(volume: Volume) -> None:
    """Check for air and for soft tissue: a head in air has both, values on another scale lack one."""
    sample = volume.voxels[:, ::4, ::4]
    for name, (low, high) in {"air": _AIR_HU, "soft tissue": _SOFT_HU}.items():
        share = float(((sample >= low) & (sample <= high)).mean())
        if share < _LEAST_SHARE:
            raise NotSuitable("hu_implausible", f"{share:.1%} of voxels look like {name}")


def check_scores(prediction: Prediction) -> None:
    """Check that every score is a number in 0..1.

    Raises
    ------
    NotSuitable
        ``score_implausible``.
    """
    if not all(np.isfinite(score) and 0.0 <= score <= 1.0 for score in prediction.scores.values()):
        raise NotSuitable("score_implausible")
