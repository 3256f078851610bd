"""How often a worker looks and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often a worker looks, and how long it waits, in seconds."""

    complete_s: float = 0.05
    """Between two looks for studies that may be complete."""
    jobs_s: float = 1.0
    """Between two looks for jobs where no ring comes: a lost ring costs no more."""
    lease_s: float = 15.0
    beat_s: float = 3.0
    """Between two heartbeats of a running job."""
    run_limit_s: float = 120.0
    """A run that takes longer is killed, whatever its card expects."""
    load_again_s: float = 30.0
    """Before models that could not be loaded are tried again."""
    rest_s: float = 600.0
    """Without a large job, before the process that runs them gives its memory back."""
    gather_s: float = 0.02
    """How long a radiograph waits for others to share a forward pass, on a device where that pays."""


USUAL = Pace()
