"""DCMTK's programs, the foreign peer that is on every Debian."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.process import find_program

NO_DELAY = {"TCP_NODELAY": "1"}
"""Debian's DCMTK leaves Nagle's algorithm on, which costs each small message 40 ms."""


def available() -> str | None:
    """Return why DCMTK cannot be run here, or None."""
    return None if _find("storescu") else "DCMTK is not installed"


def dcmtk(name: str) -> Path:
    """Return the path of one of DCMTK's programs."""
    path = _find(name)
    if path is None:
        raise FileNotFoundError(f"DCMTK's {name} is not installed")
    return path


def _find(name: str) -> Path | None:
    """Look for a compiled program: pynetdicom installs Python scripts of the same names."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder) / name
        if path.is_file() and path.read_bytes()[:4] == b"\x7fELF":
            return path
    return find_program(f"dcmtk-{name}")
