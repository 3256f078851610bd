"""The time of day where the archive stands."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Final

LOCAL_TIME: Final = timezone(timedelta(hours=7))
"""Viet Nam: UTC+7 all year.  Days on pages, deadlines and permits are days there."""
