"""This release opens what every earlier one left behind, and goes on with it."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import ApiContext
from api.service import create_app
from roi import compose
from roi.settings import read_settings
from storage.catalog import identity, jobs, peers, studies
from storage.migrate import migrate
from storage.records import JobState, OnConflict, Origin, StudyUid, Verdict
from storage.verify import verify
from tests.releases import scene
from tests.releases.make import DUMP, SEEN
from tests.servers.postgres import PostgresServer, restore

FOLDER = Path(__file__).parent
RELEASES = sorted(FOLDER.glob("*.tar.xz"))

_LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""After every wait that a release noted, whatever the clock says where the test runs."""

_STUDY = (
    "study_instance_uid",
    "urgency",
    "patient",
    "identity_conflict",
    "study",
    "series_count",
    "instance_count",
    "received_first",
    "received_last",
    "completed_at",
    "completion_reason",
    "ready_at",
    "due_at",
    "state",
    "revision",
)
_PRIORITY = ("order", "ai", "manual", "manual_by")
_COVERAGE = ("model_id", "coverage", "reason", "outcome", "revision")
_RESULT = (
    "result_id",
    "model_id",
    "model_version",
    "model_digest",
    "revision",
    "superseded_by",
    "outcome",
    "created_at",
)
_FINDING = ("code", "score", "threshold", "positive", "urgency", "key_instance_uid")
_CHANGE = ("seq", "kind", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "revision", "at", "detail")


class Opened:
    """A data folder of an earlier release, opened by this one."""

    def __init__(self, context: ApiContext, seen: Mapping[str, Any]) -> None:
        self.context = context
        self.seen = seen
        self.client = TestClient(create_app(context), base_url=context.public_base_url)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def worklist(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get("/api/worklist?limit=500")["entries"]
        return rows


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def unpacked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        # the filter that later Pythons want, where this one has it
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def opened(request: pytest.FixtureRequest, unpacked: Path) -> Iterator[Opened]:
    data = unpacked / request.param
    settings = {}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings = {"catalogue": server.make_database(f"release_{secrets.token_hex(6)}")}
        restore(settings["catalogue"], data / DUMP)
    seen = json.loads((data / SEEN).read_text(encoding="utf-8"))
    with compose.api_context(read_settings(data=data, **settings)) as context:
        yield Opened(context, seen)


def _some(record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: record[name] for name in names}


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_some(row, _STUDY),
        "priority": _some(row["priority"], _PRIORITY),
        "series": [(each["series_instance_uid"], each["instance_count"]) for each in row["series"]],
        "coverage": [_some(line, _COVERAGE) for line in row["coverage"]],
        "findings": [_some(finding, _FINDING) for finding in row["findings"]],
    }


def test_a_release_is_kept() -> None:
    assert RELEASES[0].name == "0.1.0.tar.xz"
    assert all(path.stat().st_size < 300_000 for path in RELEASES)


def test_it_opens_at_this_releases_schema_with_nothing_lost(opened: Opened) -> None:
    assert not migrate(opened.context.archive.database)
    report = verify(opened.context.archive)
    assert report.clean
    assert report.checked == len({change["sop_instance_uid"] for change in opened.seen["changes"]} - {None}) + 1


def test_the_worklist_is_as_it_was(opened: Opened) -> None:
    assert [_facts(row) for row in opened.worklist()] == [_facts(row) for row in opened.seen["worklist"]]


def test_the_results_are_as_they_were(opened: Opened) -> None:
    for study, kept in opened.seen["results"].items():
        found = opened.get(f"/api/studies/{study}/results")["results"]
        assert [_some(result, _RESULT) for result in found] == [_some(result, _RESULT) for result in kept]
    (flagged,) = opened.seen["results"][opened.seen["triaged"]]
    assert flagged["outcome"] == "FLAGGED"


def test_a_cursor_held_by_a_reader_goes_on(opened: Opened) -> None:
    kept = opened.seen["changes"]
    assert [_some(change, _CHANGE) for change in opened.get("/api/changes?since=0")["changes"]] == kept
    _take_in(opened, scene.another_slice())
    assert [change["kind"] for change in opened.get(f"/api/changes?since={kept[-1]['seq']}")["changes"]] == [
        "study-reopened",
        "instance-stored",
    ]


def test_a_waiting_job_still_waits_to_be_claimed(opened: Opened) -> None:
    with opened.context.archive.database.write() as tx:
        claimed = jobs.claim(tx, owner="this release", now=_LATER, lease=timedelta(minutes=1))
    assert claimed is not None
    assert (claimed.study_instance_uid, claimed.state) == (opened.seen["waiting"], JobState.RUNNING)


def test_the_peer_is_known(opened: Opened) -> None:
    with opened.context.archive.database.read() as tx:
        (peer,) = peers.all_peers(tx)
    assert (peer.aet, peer.host, peer.port) == scene.PEER
    assert peer.on_conflict is OnConflict.REFUSE


def test_the_copy_in_quarantine_can_be_decided_on(opened: Opened) -> None:
    (copy,) = opened.get("/api/quarantine")["copies"]
    assert (copy["sop_instance_uid"], copy["state"]) == (scene.conflicting_slice().SOPInstanceUID, "WAITING")
    told = {"by": scene.BY, "reason": "corrected"}
    assert opened.client.post(f"/api/quarantine/{copy['id']}/release", json=told).status_code == 200
    (other,) = opened.get("/api/quarantine")["copies"]
    assert (other["object_key"], other["id"] > copy["id"]) == (copy["kept_object_key"], True)
    assert verify(opened.context.archive).clean


def test_the_conflict_of_identity_can_be_cleared(opened: Opened) -> None:
    assert opened.get("/api/identity-conflicts")["studies"] == [scene.CT_STUDY]
    told = {"by": scene.BY, "reason": "one person"}
    assert opened.client.post(f"/api/identity-conflicts/{scene.CT_STUDY}/clear", json=told).status_code == 200
    assert opened.get("/api/identity-conflicts")["studies"] == []
    with opened.context.archive.database.read() as tx:
        assert identity.shared_ids(tx) == []


def test_a_new_instance_of_an_old_study_is_taken_in(opened: Opened) -> None:
    assert _take_in(opened, scene.another_slice()) is Verdict.STORED
    (before,) = (row for row in opened.seen["worklist"] if row["study_instance_uid"] == scene.CT_STUDY)
    after = opened.get(f"/api/worklist/{scene.CT_STUDY}")
    assert (after["instance_count"], after["revision"]) == (before["instance_count"] + 1, before["revision"] + 1)


def test_an_instance_that_is_kept_is_known_again(opened: Opened) -> None:
    archive = opened.context.archive
    with archive.database.read() as tx:
        (first, *_) = studies.instances_of(tx, StudyUid(scene.CT_STUDY))
    assert _take_in(opened, b"".join(archive.chunks(first))) is Verdict.DUPLICATE


def _take_in(opened: Opened, file: bytes) -> Verdict:
    verdict, _ = opened.context.ingest.part10(io.BytesIO(file), Origin(via="import"))
    return verdict
