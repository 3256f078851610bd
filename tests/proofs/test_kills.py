"""Kill -9 at any moment, a few times; `python -m tests.proofs.kills` does it as often as one likes."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.reference.dicom import head_ct_study
from pacs_gateway import scu
from storage import schema
from tests.acceptance.site import Site, embedded
from tests.acceptance.studies import small_ct, write
from tests.proofs.kills import prove, running
from tests.proofs.ledger import judge
from tests.proofs.senders import Sent
from tests.servers import minio, postgres, redis

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # see below
]


@pytest.fixture(autouse=True)
def _no_socket_is_left() -> Iterator[None]:
    """Collect the sockets of associations that were cut: pynetdicom leaves them open."""
    yield
    gc.collect()


def test_what_is_lost_damaged_or_doubled_is_noticed(tmp_path: Path) -> None:
    with embedded(tmp_path / "site") as site:
        files = write(small_ct(1), tmp_path / "files")
        site.send(files)
        site.settled(files[0].study)
        site.told()
        sent = Sent(files={file.instance: file for file in files}, acknowledged={file.instance for file in files})
        followed = [change["seq"] for change in site.changes()]
        assert judge(site, sent, followed).violations == []
        lost, damaged = files[0], files[1]
        folder = site.settings.data / "store" / "objects"
        (folder / lost.digest[:2] / lost.digest).unlink()
        path = folder / damaged.digest[:2] / damaged.digest
        path.write_bytes(path.read_bytes()[:-2])
        sent.files["2.25.404"] = replace(lost, instance="2.25.404")
        sent.acknowledged.add("2.25.404")
        with site.servers["serve"].program.folder.joinpath("log.txt").open("a") as log:
            log.writelines(line + "\n" for line in _lines(site, "prediction-made") + _lines(site, "result-committed"))
        found = judge(site, sent, [*followed, followed[-1]]).violations
    [job] = {line["job"] for line in site.log_lines("prediction-made")}
    assert set(found) == {
        "acknowledged and lost: 2.25.404",
        f"not the bytes that were sent: {lost.instance}",
        f"not the bytes that were sent: {damaged.instance}",
        f"WADO-RS gives other bytes: {lost.instance}",
        f"WADO-RS gives other bytes: {damaged.instance}",
        f"half an object: {damaged.digest}",
        f"roi verify: missing ['{lost.digest}']",
        f"roi verify: corrupt ['{damaged.digest}']",
        "a reader with a cursor missed or doubled a fact",
        f"2 predictions in 1 attempts: {job}",
        f"2 results committed: {job}",
    }


def _lines(site: Site, action: str) -> list[str]:
    return [json.dumps(line) for line in site.log_lines(action)]


@pytest.mark.parametrize("moment", ["a provisional run is under way", "its flag stands"])
def test_a_worker_killed_around_a_provisional_flag_leaves_no_flag_without_its_final_result(
    tmp_path: Path, moment: str
) -> None:
    jobs, results = schema.jobs, schema.results
    under_way = sa.select(jobs.c.id).where(jobs.c.provisional > 0, jobs.c.state == "RUNNING")
    stands = sa.select(results.c.id).where(results.c.provisional.is_not(None), results.c.superseded_by.is_(None))
    struck: list[bool] = []
    with embedded(tmp_path / "site") as site:
        warm = write(small_ct(1, slices=20), tmp_path / "warm")
        site.send(warm)
        site.settled(warm[0].study)
        files = write(head_ct_study(40, haemorrhage=True, plain=True), tmp_path / "files")

        def strike(progress: scu.Progress) -> None:
            deadline = time.monotonic() + 4.0
            while 24 <= progress.done < progress.total and not struck and time.monotonic() < deadline:
                if site.rows_of(under_way if "run" in moment else stands):
                    struck.append(site.kill("worker"))
                time.sleep(0.01)

        paths = sorted((file.path for file in files), key=lambda path: int(path.stem.rpartition(".")[2]))
        assert scu.send(paths, "127.0.0.1", site.settings.dicom_port, on_progress=strike).not_sent == ()
        assert struck == [True], "nothing to kill came in time"
        row = site.settled(files[0].study)
        site.told()
        told = {change["kind"] for change in site.changes(files[0].study) if change["kind"].startswith("provisional")}
        sent = Sent(
            files={file.instance: file for file in [*warm, *files]},
            acknowledged={file.instance for file in [*warm, *files]},
        )
        assert judge(site, sent, [change["seq"] for change in site.changes()]).violations == []
    assert ([finding["provisional"] for finding in row["findings"]], row["priority"]["ai"]) == ([None], "critical")
    assert told in (set(), {"provisional-flagged", "provisional-confirmed"})


def test_ten_kills_of_the_embedded_set_up_lose_and_double_nothing(tmp_path: Path) -> None:
    with running("embedded", tmp_path, "redis") as topology:
        ledger, kills = prove(topology, tmp_path, kills=10, seed=1, heads=1, on_kill=lambda _kill: None)
    assert ledger.violations == []
    assert len(kills) == 10
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0


@pytest.mark.servers
def test_four_kills_of_roles_apart_and_their_servers_lose_and_double_nothing(tmp_path: Path) -> None:
    for server in (postgres, minio, redis):
        if reason := server.available():
            pytest.skip(reason)
    with running("distributed", tmp_path, "redis") as topology:
        ledger, kills = prove(topology, tmp_path, kills=4, seed=1, heads=1, on_kill=lambda _kill: None)
    assert ledger.violations == []
    assert len(kills) == 4
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0
