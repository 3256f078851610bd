"""How urgent the findings of a result are together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.records import Finding

_MOST_URGENT_FIRST: Final = ("critical", "urgent", "routine")


def most_urgent(findings: Sequence[Finding]) -> str | None:
    """Return the urgency of the most urgent positive finding, None where nothing is positive."""
    urgencies = {finding.urgency for finding in findings if finding.positive}
    return next((urgency for urgency in _MOST_URGENT_FIRST if urgency in urgencies), None)
