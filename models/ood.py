"""Whether a model has seen the like of an input: how far its pooled features lie from those of accepted inputs.

The distance is Mahalanobis' on the principal components of the features, under a covariance that is shrunk after
Ledoit and Wolf (2004).  Where items are of several kinds, as slices at the base of a skull and at its top are, each
kind has its own, and an item is as far off as from the kind that it lies nearest to.  It costs a few small products,
because the features come out of the pass that scores.

Of a stack the nearest quarter of its items counts.  A good one may hold many that are strange, as where the gantry was
tilted, where the series reaches beyond the head, or where two slabs are all that has arrived; of a stack of something
else every item is strange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import WeightsCorrupt
from models.weights import verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.contract import KnownInputs

Table = npt.NDArray[np.float64]

COMPONENTS = 64
"""Principal components kept at most."""

NEAREST = 0.25
"""This share of a stack's items lies nearer than what the stack is said to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFeatures:
    """What accepted inputs look like to a network, by kind of item.

    `middle` holds the mean feature of each kind, (kinds, features) float64.  `whitening`, (kinds, components, features)
    float64, turns the difference from it into components of unit spread.
    """

    middle: Table
    whitening: Table

    def distance(self, features: npt.NDArray[np.floating]) -> float:
        """Give the lower quartile over items of the squared distance of (items, features) from the nearest kind."""
        off = (np.asarray(features, dtype=np.float64) - self.middle[:, None]) @ self.whitening.swapaxes(1, 2)
        return float(np.quantile((off**2).sum(axis=2).min(axis=0), NEAREST))


def fit_known(kinds: Sequence[npt.NDArray[np.floating]], *, components: int = COMPONENTS) -> KnownFeatures:
    """Give what inputs look like whose items have these features, (items, features) for each kind of item."""
    fitted = [_fit_kind(np.asarray(features, dtype=np.float64), components) for features in kinds]
    return KnownFeatures(
        middle=np.stack([middle for middle, _ in fitted]), whitening=np.stack([whitening for _, whitening in fitted])
    )


def _fit_kind(seen: Table, components: int) -> tuple[Table, Table]:
    middle = seen.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(seen, rowvar=False, bias=True))
    kept = vectors[:, ::-1][:, : min(components, len(values))].T
    spread = _shrunk((seen - middle) @ kept.T)
    return middle, kept / np.sqrt(spread)[:, None]


def _shrunk(centred: Table) -> Table:
    """Give the variances of principal components, drawn towards their mean as far as chance alone would spread them."""
    count, dimensions = centred.shape
    covariance = centred.T @ centred / count
    mean = float(np.trace(covariance)) / dimensions
    spread = float(((covariance - mean * np.eye(dimensions)) ** 2).sum())
    chance = (float(((centred**2).sum(axis=1) ** 2).sum()) / count - float((covariance**2).sum())) / count
    share = min(1.0, chance / spread) if spread else 1.0
    variances: Table = (1 - share) * np.diag(covariance) + share * mean
    return variances


# ------------------------------------------------------------------ files


def save_known(known: KnownFeatures, path: Path) -> None:
    """Write what is known as safetensors, in single precision."""
    from safetensors.numpy import save_file  # noqa: PLC0415 - comes with the extra `ai`

    single = {"middle": known.middle, "whitening": known.whitening}
    save_file({name: np.ascontiguousarray(table, dtype=np.float32) for name, table in single.items()}, path)


def load_known(path: Path, said: KnownInputs) -> KnownFeatures:
    """Read what `save_known` wrote, the file a card names.

    Raises
    ------
    WeightsMissing, WeightsCorrupt
        The file is absent, or not the one the card was written for.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with the extra `ai`
    from safetensors.numpy import load_file  # noqa: PLC0415 - comes with the extra `ai`

    verify(path, said.sha256)
    try:
        read = load_file(path)
        middle, whitening = (read[name].astype(np.float64) for name in ("middle", "whitening"))
    except (SafetensorError, KeyError) as error:
        raise WeightsCorrupt(f"{path.name} holds no known features: {error}") from error
    if middle.ndim == 1:  # of one kind of item, as files without kinds were written
        middle, whitening = middle[None], whitening[None]
    return KnownFeatures(middle=middle, whitening=whitening)
