"""Whether a model has seen the like of an input: how far its pooled features lie from those of accepted inputs.

The distance is Mahalanobis' on the principal components of the features, under a covariance that is shrunk after
Ledoit and Wolf (2004).  It costs one small product, because the features come out of the pass that scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import WeightsCorrupt
from models.weights import verify

if TYPE_CHECKING:
    from pathlib import Path

    from models.contract import KnownInputs

Table = npt.NDArray[np.float64]

COMPONENTS = 64
"""Principal components kept at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFeatures:
    """What accepted inputs look like to a network.

    `middle` is their mean feature, (features,) float64.  `whitening`, (components, features) float64, turns the
    difference from it into components of unit spread.
    """

    middle: Table
    whitening: Table

    def distance(self, features: npt.NDArray[np.floating]) -> float:
        """Give the median over items of the squared distance of (items, features) from what is known."""
        off = (np.asarray(features, dtype=np.float64) - self.middle) @ self.whitening.T
        return float(np.median((off**2).sum(axis=1)))


def fit_known(features: npt.NDArray[np.floating], *, components: int = COMPONENTS) -> KnownFeatures:
    """Give what inputs with these features, (items, features), look like."""
    seen = np.asarray(features, dtype=np.float64)
    middle = seen.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(seen, rowvar=False, bias=True))
    kept = vectors[:, ::-1][:, : min(components, len(values))].T
    spread = _shrunk((seen - middle) @ kept.T)
    return KnownFeatures(middle=middle, whitening=kept / np.sqrt(spread)[:, None])


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
        return KnownFeatures(middle=read["middle"].astype(np.float64), whitening=read["whitening"].astype(np.float64))
    except (SafetensorError, KeyError) as error:
        raise WeightsCorrupt(f"{path.name} holds no known features: {error}") from error
