"""The conformance statement against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from api import serve
from api.crossorigin import ROOT
from api.dicomweb import channels, frames, qido, rendered, stow, ups, uri
from api.dicomweb.model import BULK_BYTES
from imaging.decoders import Limits
from imaging.jobs import MAX_FRAME_BYTES
from roi.settings import Settings
from storage.matching import KEYS, MAX_LETTERS, MAX_LISTED, MAX_WILDCARDS, Level
from storage.workitems import attributes, worklist
from storage.workitems import keys as workitem_keys

STATEMENT = (Path(__file__).parents[3] / "docs" / "conformance" / "dicomweb.md").read_text(encoding="utf-8")
TEXT = " ".join(STATEMENT.split())
WORDS = {timedelta(days=7): "seven days", timedelta(days=365): "a year"}


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
        f"Pages begin at {qido.MAX_OFFSET} matches at most",
        f"A query has {qido.MAX_KEYS} parameters, a key {MAX_LETTERS} letters and {MAX_LISTED} UIDs at most",
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
        f"with {ups.MAX_RESULTS} matches an answer",
        f"{worklist.MAX_BYTES // 1024} KiB at most",
        f"{worklist.MAX_WORKITEMS:,} workitems are kept at most",
        f"more than {worklist.MAX_SUBSCRIBERS} AE titles",
        f"{worklist.JOBS_AT_ONCE} at once",
        f"{worklist.MAX_WAITING:,} for an AE title",
        f"A process has {channels.MAX_OPEN} channels at most",
        f"takes nothing for {channels.SEND_S} s",
        f"beyond {serve.MOST_SAID // 1024} KiB",
        f"first {workitem_keys.MAX_KEY_LENGTH} characters",
        f"becomes `{worklist.LABEL}`",
        f"`{workitem_keys.JOB_WORKLIST}`",
        f"`{workitem_keys.STATION_SCHEME}`",
        '({}, {}, "{}")'.format(*workitem_keys.JOB_CODE),
    ):
        assert said in TEXT


def test_every_route_is_named() -> None:
    routers = (qido, stow, uri, ups, channels)
    for route in (route for module in routers for route in module.router.routes):
        path = route.path.removeprefix(ROOT).replace("{study}", "{s}").replace("{series}", "{e}")  # type: ignore[attr-defined]
        path = path.replace("{workitem}", "{u}").removesuffix("/{requester}")
        assert f"{path}`" in STATEMENT.replace("{study}", "{s}")


def test_the_keys_of_workitems_are_those_that_match() -> None:
    said = STATEMENT.partition("attribute that it does not have matches nothing. Keys:")[2].partition(
        " Dates with times"
    )[0]
    named = {word.strip(".,;") for word in said.split()}
    assert {step for path in workitem_keys.MATCHED for step in path.split(".")} == {
        word for word in named if tag_for_keyword(word) is not None
    }


def test_times_of_workitems_are_those_of_the_code() -> None:
    assert f"channel for {WORDS[worklist.KEPT_EVENTS]}" in TEXT
    assert f"for {WORDS[worklist.KEPT_UIDS]}" in TEXT
    assert f"goes {Settings.model_fields['workitem_days'].default:g} days after its end" in TEXT


def test_every_conditional_attribute_of_workitems_is_told_of() -> None:
    told = STATEMENT.partition("**Conditional attributes**")[2].partition("**States.**")[0]
    named = set(re.findall(r"\w+", " ".join(line.split("|")[1] for line in told.splitlines() if line.startswith("|"))))
    conditional = {row.keyword for row in _rows(attributes.TABLE) if "C" in row.create + row.change + row.final}
    assert conditional <= named


def _rows(table: tuple[attributes.Row, ...]) -> Iterator[attributes.Row]:
    for row in table:
        yield row
        yield from _rows(row.items)
