"""The silences that new instances broke, as a study's row keeps them: what completion learns from.

The column holds the longest few, each as ``instances:seconds:released``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from storage.records import Pause

SHORTEST_PAUSE_S = 0.4
"""Nothing is complete before it was silent for so long: what is broken sooner is not noted."""
_PAUSES_KEPT = 16


def noted(study: Any, gap_s: float, *, anew: bool) -> str | None:  # noqa: ANN401 - a row
    """Return the study's pauses with the one that ends now, if it may have looked like the end; `anew`, that alone."""
    known = study.pauses if not anew else None
    if gap_s < SHORTEST_PAUSE_S or not (study.released_at or anew):
        return known
    ended = Pause(instances=study.instance_count, seconds=round(gap_s, 3), released=bool(study.released_at))
    longest = sorted([*read(known), ended], key=attrgetter("seconds"))[-_PAUSES_KEPT:]
    return "\\".join(f"{each.instances}:{each.seconds}:{each.released:d}" for each in longest)


def read(written: str | None) -> tuple[Pause, ...]:
    """Return what the column `pauses` of a study says."""
    parts = (part.split(":") for part in (written or "").split("\\") if part)
    return tuple(
        Pause(instances=int(count), seconds=float(seconds), released=released == "1")
        for count, seconds, released in parts
    )
