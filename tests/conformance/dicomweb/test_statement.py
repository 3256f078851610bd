"""The conformance statement against the code."""

from __future__ import annotations

import re
from pathlib import Path

from api.dicomweb import frames, qido, rendered, stow, uri
from api.dicomweb.model import BULK_BYTES
from imaging.decoders import Limits
from imaging.jobs import MAX_FRAME_BYTES
from storage.search import KEYS, MAX_WILDCARDS, Level

STATEMENT = (Path(__file__).parents[3] / "docs" / "conformance" / "dicomweb.md").read_text(encoding="utf-8")
TEXT = " ".join(STATEMENT.split())


def test_the_keys_of_each_level_are_those_that_match() -> None:
    for level in Level:
        (line,) = re.findall(rf"^\| {level.name.lower()} \| ([^|]+) \|$", STATEMENT, re.MULTILINE)
        named = [key for key in line.split(", ") if key != "those above"]
        assert named == [keyword for keyword, (own, _) in KEYS.items() if own is level]


def test_the_numbers_are_those_of_the_code() -> None:
    words = {8: "eight"}
    for said in (
        f"An answer holds at most {qido.MAX_RESULTS} matches",
        f"{words[MAX_WILDCARDS]} at most",
        f"At most {stow.AT_ONCE} bodies",
        f"silent for {stow.SILENCE_S} s",
        f"less than {stow.LEAST_BYTES_PER_S // 1024} KiB a second",
        f"longer than {BULK_BYTES // 1024} KiB",
        f"`{stow.STUDY_MISMATCH:X}`",
        f"holds {frames.MAX_LISTED} at most",
        f"{rendered.MAX_VIEWPORT} pixels a side",
        f"At most {rendered.MAX_PICTURES} pictures",
        f"{rendered.THUMBNAIL} pixels wide or high",
        f"{rendered.QUALITY} where it is not given",
        f"{Limits().memory_bytes // 1024**3} GiB, {Limits().cpu_s} s of processor time and {Limits().wall_s:g} s",
        f"of {MAX_FRAME_BYTES // 1024**2} MiB at most",
        f"At most {Limits().waiting} requests wait for a decoder",
    ):
        assert said in TEXT


def test_every_route_is_named() -> None:
    for route in (*qido.router.routes, *stow.router.routes, *uri.router.routes):
        path = route.path.replace("{study}", "{s}").replace("{series}", "{e}")  # type: ignore[attr-defined]
        assert f"{path}`" in STATEMENT.replace("{study}", "{s}")
