"""What flags would do at a site: who gains, who loses, and when there is no answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from inference.errors import NothingToExpect
from inference.expectation import expect, found_among_all
from inference.queueing import Detector
from inference.site import Site, hourly_means
from storage.catalog.flow import Ready

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def site(**other):
    usual = {
        "readers": 1,
        "reading_min": 10.0,
        "hourly": (4.8,) * 168,
        "eligible": 1.0,
        "prevalence": 0.1,
        "head_start_min": 220.0,
    }
    return Site(**{**usual, **other})


def test_the_ill_that_are_found_gain_and_everybody_else_loses():
    found = expect(site(), sensitivity=0.9, specificity=0.9)
    change = {line.group: line.change for line in found.lines}
    assert change["ill and flagged"] < -20
    assert change["ill and missed"] > 0
    assert change["all others"] > 0
    assert abs(change["all"]) < 1
    assert sum(line.share for line in found.lines if line.group not in {"all", "ill"}) == pytest.approx(1)


def test_predictive_values_are_those_of_the_studies_the_model_looks_at():
    found = expect(site(eligible=0.2), sensitivity=0.9, specificity=0.9)
    assert found.ppv == pytest.approx(0.5)
    assert found.flags_a_week == pytest.approx(4.8 * 168 * 0.2 * 0.18)
    assert found.false_flags_a_week == pytest.approx(4.8 * 168 * 0.2 * 0.09)
    assert found.missed_a_week == pytest.approx(4.8 * 168 * 0.2 * 0.01)


def test_a_model_that_looks_at_a_share_raises_as_many_alarms_among_all():
    whole = found_among_all(Detector(prevalence=0.1, sensitivity=0.9, specificity=0.8), eligible=0.25)
    assert whole.prevalence == pytest.approx(0.025)
    assert (1 - whole.prevalence) * (1 - whole.specificity) == pytest.approx(0.25 * 0.9 * 0.2)


def test_a_model_that_flags_nothing_changes_nothing():
    found = expect(site(), sensitivity=0.0, specificity=1.0)
    assert {line.group: line.change for line in found.lines} == {
        "all": 0.0,
        "ill": 0.0,
        "ill and missed": 0.0,
        "all others": 0.0,
    }


def test_an_empty_desk_gains_nothing():
    found = expect(site(hourly=(0.3,) * 168), sensitivity=0.9, specificity=0.9)
    assert all(abs(line.change) < 1 for line in found.lines if line.group != "ill and missed")


def test_more_than_can_be_read_has_no_answer():
    with pytest.raises(NothingToExpect, match="the list only grows"):
        expect(site(hourly=(7.0,) * 168), sensitivity=0.9, specificity=0.9)
    with pytest.raises(NothingToExpect, match="no study arrived"):
        expect(site(hourly=(0.0,) * 168), sensitivity=0.9, specificity=0.9)


def test_arrivals_are_counted_by_the_hours_of_the_site_s_own_week():
    ready = [Ready(at=MONDAY + timedelta(days=7 * week, hours=1), modalities="CT") for week in range(4)]
    hanoi = timezone(timedelta(hours=7))
    means = hourly_means(ready, since=MONDAY, until=MONDAY + timedelta(days=28), zone=hanoi)
    assert {hour: mean for hour, mean in enumerate(means) if mean} == {8: 1.0}
