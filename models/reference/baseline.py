"""A plain baseline beside the networks: logistic regression on hand-made features of the same inputs.

A phantom that this solves is too easy, and a network's figure on it says little.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.reference.cases import Samples
from models.reference.statistics import apply_logistic, fit_logistic

PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9, 100)
GRID = 4

Features = npt.NDArray[np.float64]


def features_of(samples: Samples) -> Features:
    """Give per item: percentiles and spread of each channel, bright areas, block means, left-right contrast."""
    return np.stack([_features(item) for item in samples.inputs])


def _features(item: npt.NDArray[np.uint8]) -> Features:
    grey = item.astype(np.float64) / 255
    main = grey[len(grey) // 3] if len(grey) > 1 else grey[0]
    channels = [_distribution(channel) for channel in grey]
    bright = [float((main > level).mean()) for level in (0.5, 0.6, 0.7, 0.8, 0.9)]
    side = main.shape[0] // GRID
    blocks = main.reshape(GRID, side, GRID, side).mean(axis=(1, 3))
    contrast = np.abs(blocks - blocks[:, ::-1])[:, : GRID // 2]
    return np.concatenate([*channels, bright, blocks.ravel(), contrast.ravel()])


def _distribution(channel: Features) -> Features:
    tissue = channel[(channel > 0) & (channel < 1)]
    inner = np.percentile(tissue, PERCENTILES) if tissue.size else np.zeros(len(PERCENTILES))
    return np.concatenate([inner, np.percentile(channel, PERCENTILES), [channel.mean(), channel.std()]])


def baseline_scores(training: Samples, held_out: Samples) -> Features:
    """Give the baseline's log odds, (items, findings), fitted on the training samples."""
    known, asked = features_of(training), features_of(held_out)
    middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
    known, asked = (known - middle) / spread, (asked - middle) / spread
    columns = [apply_logistic(asked, fit_logistic(known, truth.astype(float), ridge=1.0)) for truth in training.truth.T]
    return np.column_stack(columns)
