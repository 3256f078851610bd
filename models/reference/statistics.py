"""The few statistics a model card needs, with 95 % intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from models.shares import Interval, Z

Scores = npt.NDArray[np.floating]


def auc(truth: Scores, scores: Scores) -> float:
    """Give the area under the ROC curve: the chance that a positive outscores a negative, ties counting half."""
    return _placements(truth, scores)[0]


def auc_interval(truth: Scores, scores: Scores) -> Interval:
    """Give DeLong's interval of the AUC, on the logit scale so that it stays below 1."""
    area, variance = _placements(truth, scores)
    if area in {0.0, 1.0}:
        return (area, area)
    centre, spread = np.log(area / (1 - area)), Z * np.sqrt(variance) / (area * (1 - area))
    low, high = 1 / (1 + np.exp(-(centre - spread))), 1 / (1 + np.exp(-(centre + spread)))
    return (float(low), float(high))


def _placements(truth: Scores, scores: Scores) -> tuple[float, float]:
    """Give the AUC and its DeLong variance."""
    positive, negative = scores[truth > 0], scores[truth <= 0]
    n, m = len(positive), len(negative)
    if not n or not m:
        raise ValueError("an AUC needs at least one positive and one negative")
    every = rankdata(np.concatenate([positive, negative]))
    of_positive = (every[:n] - rankdata(positive)) / m
    of_negative = 1 - (every[n:] - rankdata(negative)) / n
    variance = _variance(of_positive) / n + _variance(of_negative) / m
    return float(of_positive.mean()), variance


def _variance(values: Scores) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def balanced_threshold(truth: Scores, scores: Scores) -> float:
    """Give the threshold with the highest sensitivity + specificity, midway between the scores around it."""
    order = np.sort(np.unique(scores))
    between = (order[:-1] + order[1:]) / 2 if len(order) > 1 else order
    positive, negative = np.sort(scores[truth > 0]), np.sort(scores[truth <= 0])
    sensitivity = 1 - np.searchsorted(positive, between) / len(positive)
    specificity = np.searchsorted(negative, between) / len(negative)
    return float(between[int(np.argmax(sensitivity + specificity))])


def fit_logistic(features: Scores, truth: Scores, *, ridge: float = 1e-2, rounds: int = 30) -> Scores:
    """Give the weights (intercept last) of a ridge logistic regression, by Newton's method."""
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(design.shape[1])
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (truth - chance) - ridge * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(design.shape[1])
        weights = weights + np.linalg.solve(curve, slope)
    return weights


def apply_logistic(features: Scores, weights: Scores) -> Scores:
    """Give the log odds of each row of features."""
    odds: Scores = np.column_stack([features, np.ones(len(features))]) @ weights
    return odds
