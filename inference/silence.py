"""How likely it is that nothing more comes to a study that is silent, from how its sender's studies ended before.

For each sender, and each situation that a silence may be met in, the archive counts its studies by the longest silence
that was broken again.  Every study falls silent for `t` seconds for a first time, and that silence is the end unless
the study's longest broken one was longer: so the share of studies whose longest was not longer than `t` *is* the
probability that a study which is silent for `t` seconds has ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Situation(StrEnum):
    """What speaks for completion while a study is silent."""

    WHOLE = "whole"
    """Released, and what is here looks whole."""
    DOUBTFUL = "doubtful"
    """Released, and what is here looks unfinished."""
    OPEN = "open"
    """Not released; what is here looks whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What has to be reached in a situation.

    `assumed_s` is the silence that is taken for the end as long as a sender gave no reason to think otherwise; below
    it only what was seen of the sender counts, and never less than `earliest_s`.
    """

    enough: float
    earliest_s: float
    assumed_s: float


BARS: Final[Mapping[Situation, Bar]] = {
    Situation.WHOLE: Bar(enough=0.995, earliest_s=0.4, assumed_s=0.4),
    Situation.DOUBTFUL: Bar(enough=0.999, earliest_s=0.4, assumed_s=5.0),
    Situation.OPEN: Bar(enough=0.999, earliest_s=2.0, assumed_s=30.0),
}
"""A performed procedure step that says COMPLETED (PS3.4 F.7) will be one situation more, with a bar of its own."""

_SHORTEST_S: Final = 0.05
_PER_OCTAVE: Final = 2
LONGEST_S: Final = 600.0
"""What comes later than this was not waited for by anybody, and teaches nothing."""
_DOUBT: Final = 0.5
"""Studies that broke a silence, by assumption, beside those that did: none seen does not mean none."""
_MARGIN: Final = 0.8

Sketch = Mapping[int, float]
"""Bucket -> studies whose longest broken silence fell into it; 0 holds those with none."""


def bucket_of(seconds: float) -> int:
    """Return the bucket of a silence; two for each doubling."""
    if seconds <= _SHORTEST_S:
        return 0
    return math.ceil(_PER_OCTAVE * math.log2(min(seconds, LONGEST_S) / _SHORTEST_S))


def longest_in(bucket: int) -> float:
    """Return the longest silence that falls into a bucket, seconds."""
    return float(_SHORTEST_S * 2 ** (bucket / _PER_OCTAVE)) if bucket else 0.0


def outlasted_s(bucket: int) -> float:
    """Return the silence from which on a bucket counts as shorter: the length of the next one.

    Without that, each new longest silence of a sender would come as a surprise.
    """
    return longest_in(bucket + 1) if bucket else 0.0


def ended(situation: Situation, silent_s: float, seen: Sketch, *, assume: bool = True) -> float:
    """Return the probability that nothing more comes after `silent_s` seconds of silence.

    A broken silence never seen still counts a little: the estimate errs to the side of waiting.  Without `assume` only
    what was seen of the sender counts.
    """
    bar = BARS[situation]
    studies = sum(seen.values())
    longer = sum(count for bucket, count in seen.items() if outlasted_s(bucket) > silent_s)
    if silent_s < bar.assumed_s or not assume:
        return 1.0 - (1.0 + longer) / (1.0 + studies)
    assumed = _DOUBT / (_MARGIN * (1.0 - bar.enough))
    return 1.0 - (_DOUBT + longer) / (assumed + studies)


def enough_after_s(situation: Situation, seen: Sketch, *, most_s: float, assume: bool = True) -> float:
    """Return the shortest silence after which a study has ended with enough probability; `most_s` where none is."""
    bar = BARS[situation]
    moments = {bar.earliest_s, bar.assumed_s, *(outlasted_s(bucket) for bucket in seen)}
    for moment in sorted(moments):
        if bar.earliest_s <= moment < most_s and ended(situation, moment, seen, assume=assume) >= bar.enough:
            return moment
    return most_s
