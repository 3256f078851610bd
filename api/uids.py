"""UIDs in paths: digits and dots, 64 characters at most, before anything else sees them (PS3.5 9.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from storage.records import InstanceUid, SeriesUid, StudyUid

_FORM = Path(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)

StudyPath = Annotated[StudyUid, _FORM]
SeriesPath = Annotated[SeriesUid, _FORM]
InstancePath = Annotated[InstanceUid, _FORM]
