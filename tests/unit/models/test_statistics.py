"""The statistics of the model cards, against published values and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from models.reference.statistics import (
    apply_logistic,
    auc,
    auc_interval,
    balanced_threshold,
    fit_logistic,
)
from models.shares import needed, share_interval


def test_the_area_counts_pairs_and_halves_ties():
    truth, scores = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.5, 0.5, 0.1, 0.7])
    assert auc(truth, scores) == pytest.approx((3 + 1.5) / 6)


def test_delongs_interval_covers_the_true_area_about_95_times_in_100():
    rng = np.random.default_rng(3)
    truth = np.repeat([1, 0], 60)
    area = 0.76024993890652  # of two unit normals one apart: the normal integral of 1/sqrt(2)
    covered = 0
    for _ in range(400):
        low, high = auc_interval(truth, rng.standard_normal(120) + truth)
        covered += low < area < high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_perfect_separation_has_area_one():
    truth, scores = np.array([1, 1, 0]), np.array([3.0, 2.0, 1.0])
    assert (auc(truth, scores), auc_interval(truth, scores)) == (1.0, (1.0, 1.0))


def test_an_area_of_one_class_is_refused():
    with pytest.raises(ValueError, match="at least one positive and one negative"):
        auc(np.array([1, 1]), np.array([0.1, 0.2]))


def test_wilsons_interval_is_newcombes_published_one():
    assert share_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_as_many_cases_as_are_needed_bring_the_interval_down_to_the_width_asked_for():
    for share, half_width in ((0.9, 0.1), (0.5, 0.05), (1.0, 0.1), (0.0, 0.02)):
        enough = needed(share, half_width)
        widths = []
        for of in (enough, enough - 1):
            low, high = share_interval(share * of, of)
            widths.append((high - low) / 2)
        assert widths[0] <= half_width < widths[1]


def test_the_balanced_threshold_lies_between_the_classes():
    truth, scores = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.6, 0.7, 0.9])
    assert balanced_threshold(truth, scores) == pytest.approx(0.45)


def test_logistic_regression_finds_the_weights_that_made_the_data():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20_000, 2))
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-(2 * features[:, 0] - features[:, 1] + 0.5)))).astype(float)
    weights = fit_logistic(features, truth)
    assert weights == pytest.approx([2.0, -1.0, 0.5], abs=0.08)
    assert apply_logistic(np.zeros((1, 2)), weights) == pytest.approx([0.5], abs=0.08)
