"""The probability that nothing more comes is what the sender's studies did before, and it keeps its promise."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.evidence import settle_s
from inference.silence import BARS, Situation, bucket_of, ended, enough_after_s, longest_in, outlasted_s

WHOLE, DOUBTFUL, OPEN = Situation.WHOLE, Situation.DOUBTFUL, Situation.OPEN
MOST_S = 15.0
STUDIES = 1500

Pauses = list[tuple[Situation, float]]
"""The silences of a study that were broken again, and what they were met in."""


@given(st.floats(0.0, 600.0))
def test_a_silence_lies_in_its_bucket(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert seconds <= longest_in(bucket) * 1.000001 or bucket == 0
    assert seconds >= longest_in(bucket - 1) * 0.999999 or bucket <= 1


@given(st.dictionaries(st.integers(0, 27), st.floats(0.0, 5000.0)), st.floats(0.0, 60.0), st.floats(0.0, 60.0))
def test_the_longer_it_is_silent_the_likelier_it_has_ended(seen: dict[int, float], one: float, other: float) -> None:
    for situation in Situation:
        earlier, later = (ended(situation, moment, seen) for moment in sorted((one, other)))
        assert 0.0 <= earlier <= later <= 1.0


@pytest.mark.parametrize(("situation", "after_s"), [(WHOLE, 0.4), (DOUBTFUL, 5.0)])
def test_of_an_unknown_sender_todays_waits_are_assumed(situation: Situation, after_s: float) -> None:
    assert enough_after_s(situation, {}, most_s=MOST_S) == after_s
    assert BARS[situation].enough <= ended(situation, after_s, {}) < 1.0


def test_one_broken_silence_is_reason_enough_to_wait_longer_until_it_is_one_of_many() -> None:
    once = bucket_of(2.0)
    assert enough_after_s(WHOLE, {0: 10, once: 1}, most_s=MOST_S) == outlasted_s(once)
    assert enough_after_s(WHOLE, {0: 1000, once: 1}, most_s=MOST_S) == 0.4


def test_an_open_association_is_cut_short_only_where_a_thousand_studies_speak_for_it() -> None:
    usual = bucket_of(0.6)
    assert enough_after_s(OPEN, {usual: 900}, most_s=30.0, assume=False) == 30.0
    assert enough_after_s(OPEN, {usual: 1100}, most_s=30.0, assume=False) == 2.0


# ------------------------------------------------------------------------------------------- simulated senders
def steady(_: random.Random) -> Pauses:
    return []


def bursty(rng: random.Random) -> Pauses:
    """A slice an association, in bursts."""
    return [(WHOLE, rng.lognormvariate(math.log(0.15), 0.8)) for _ in range(30)]


def two_associations(rng: random.Random) -> Pauses:
    return [(WHOLE, rng.lognormvariate(math.log(2.0), 0.5))] if rng.random() < 0.3 else []


def stalled_console(rng: random.Random) -> Pauses:
    return [(DOUBTFUL, rng.uniform(3.0, 12.0))] if rng.random() < 0.1 else []


def rare_addition(rng: random.Random) -> Pauses:
    return [(WHOLE, rng.uniform(1.0, 60.0))] if rng.random() < 0.002 else []


@dataclass
class Record:
    """What came of a sender's studies; `promised` is how many were told to be completed too early, by probability."""

    early: int = 0
    promised: float = 0.0
    waits_s: list[float] = field(default_factory=list)


def live(sender: Callable[[random.Random], Pauses], seed: int) -> Record:
    """Let a sender's studies come one after the other, each completed by what those before it taught."""
    rng, record = random.Random(seed), Record()
    seen: dict[Situation, Counter[int]] = defaultdict(Counter)
    for _ in range(STUDIES):
        pauses, longest_gap_s = sender(rng), rng.uniform(0.0, 0.05)
        end: Pauses = [(WHOLE, math.inf)]
        for situation, silence_s in pauses + end:
            after_s = settle_s(situation, seen[situation], longest_gap_s=longest_gap_s)
            longest_gap_s = max(longest_gap_s, silence_s)
            if silence_s > after_s:
                record.promised += 1 - ended(situation, after_s, seen[situation])
                record.early += silence_s < math.inf
                record.waits_s.append(after_s)
                break
        longest = {WHOLE: 0.0}
        for situation, silence_s in pauses:
            longest[situation] = max(longest.get(situation, 0.0), silence_s)
        for situation, silence_s in longest.items():
            seen[situation][bucket_of(silence_s)] += 1
    return record


def test_the_share_of_studies_completed_too_early_is_at_most_what_the_probability_says() -> None:
    senders = (steady, bursty, two_associations, stalled_console, rare_addition)
    records = {f"{sender.__name__} {seed}": live(sender, seed) for sender in senders for seed in range(2)}
    for name, record in records.items():
        chance = 3 * math.sqrt(record.promised)
        assert record.early <= record.promised + chance, (name, record.early, record.promised)
    early, promised = (sum(getattr(record, of) for record in records.values()) for of in ("early", "promised"))
    assert early > 0, "senders that never surprise prove nothing"
    assert early <= promised
    assert early / (len(records) * STUDIES) <= 1 - BARS[WHOLE].enough


def test_senders_that_end_when_they_release_are_not_made_to_wait() -> None:
    assert max(live(steady, 0).waits_s) <= 1.0
    assert sorted(live(rare_addition, 0).waits_s)[STUDIES // 2] <= 1.0
