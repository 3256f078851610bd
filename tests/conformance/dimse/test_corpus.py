"""Real files through C-STORE: the pinned table says what becomes of each, and it still does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.dimse.corpus import BAD, GOOD, TABLE, Row, Site, files, running_site, send_dcmtk, send_raw
from tests.raw_scu import echo_status


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(scope="module")
def table() -> dict[str, Row]:
    return json.loads(TABLE.read_text())


def _part(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def test_every_file_has_its_row(shared_data: Path, table: dict[str, Row]) -> None:
    assert set(table) == set(files(shared_data, GOOD + BAD))


def test_every_file_has_its_status_and_what_is_stored_is_what_was_sent(
    site: Site, shared_data: Path, table: dict[str, Row]
) -> None:
    seen = {name: send_raw(site, path.read_bytes()) for name, path in files(shared_data, GOOD).items()}
    assert seen == {name: _part(table[name], "status", "stored") for name in seen}
    assert {row["stored"] for row in seen.values() if row["status"] == "0000"} == {"identical"}


def test_bad_files_have_a_defined_status_and_the_gateway_lives(
    site: Site, shared_data: Path, table: dict[str, Row]
) -> None:
    seen = {}
    for name, path in files(shared_data, BAD).items():
        seen[name] = send_raw(site, path.read_bytes())
        assert echo_status(site.port) == 0
    assert seen == {name: _part(table[name], "status", "stored") for name in seen}
    assert {row["status"] for row in seen.values()} <= {"0000", "0117", "0122", "A900", "C000"}


@pytest.mark.servers
def test_dcmsend_sends_what_it_can(site: Site, shared_data: Path, table: dict[str, Row]) -> None:  # T-1b
    seen = {name: send_dcmtk(site, path) for name, path in files(shared_data, GOOD).items()}
    assert seen == {name: _part(table[name], "dcmsend", "stored by dcmsend") for name in seen}
