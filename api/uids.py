"""UIDs in paths: digits and dots, 64 characters at most, before anything else sees them (PS3.5 9.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import StringConstraints

from storage.records import InstanceUid, SeriesUid, StudyUid
from storage.workitems.records import WorkitemUid

_PATTERN = r"^[0-9]+(\.[0-9]+)*$"
_FORM = Path(pattern=_PATTERN, max_length=64)

StudyPath = Annotated[StudyUid, _FORM]
SeriesPath = Annotated[SeriesUid, _FORM]
InstancePath = Annotated[InstanceUid, _FORM]

QueryUid = Annotated[str, StringConstraints(pattern=_PATTERN, max_length=64)]
WorkitemPath = Annotated[WorkitemUid, _FORM]
