"""The kinds of slices that a network tells apart: base of the skull and its top, with blood and without."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2

AXES = 8
"""Principal components on which slices are told apart."""

Table = npt.NDArray[np.float64]


def split_kinds(features: npt.NDArray[np.floating], kinds: int) -> list[Table]:
    """Give (items, features) as so many tables, the items that lie near to one another together.

    k-means from groups of equal size along the first principal component, so that nothing is left to chance.
    """
    seen = np.asarray(features, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov(seen, rowvar=False, bias=True))
    places = (seen - seen.mean(axis=0)) @ vectors[:, ::-1][:, :AXES]
    groups = np.array_split(np.argsort(places[:, 0], kind="stable"), kinds)
    start = np.stack([places[group].mean(axis=0) for group in groups])
    _, nearest = kmeans2(places, start, iter=100, minit="matrix", missing="raise")
    return [seen[nearest == kind] for kind in range(kinds)]
