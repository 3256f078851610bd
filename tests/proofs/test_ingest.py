"""Whatever happens, a few times, and the judge that must notice; `python -m tests.proofs.ingest` does more of it."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from roi import compose
from storage import schema
from storage.database import Database
from storage.records import ObjectKey
from tests.acceptance.site import Site, embedded
from tests.acceptance.studies import SentFile, small_ct, write
from tests.proofs.faults import FAULTS
from tests.proofs.ingest import prove, scrub
from tests.proofs.ledger import Ledger, judge, judge_copies, judge_orphans
from tests.proofs.rig import missing, running_rig
from tests.proofs.rivals import Copies
from tests.proofs.senders import Sent

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


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, list[SentFile]]]:
    """A site that has judged one study, and the study's files."""
    folder = tmp_path_factory.mktemp("settled")
    with embedded(folder / "site") as site:
        files = write(small_ct(1), folder / "files")
        site.send(files)
        site.settled(files[0].study)
        site.told()
        yield site, files


def _sent(files: list[SentFile]) -> Sent:
    return Sent(files={file.instance: file for file in files}, acknowledged={file.instance for file in files})


def _violations(site: Site, sent: Sent) -> list[str]:
    return judge(site, sent, [change["seq"] for change in site.changes()]).violations


def test_the_judge_is_content_with_what_is_right(settled: tuple[Site, list[SentFile]]) -> None:
    site, files = settled
    assert _violations(site, _sent(files)) == []


def test_an_instance_that_is_lost_is_noticed(settled: tuple[Site, list[SentFile]]) -> None:
    site, files = settled
    sent = _sent([*files, replace(files[0], instance="2.25.404")])
    assert _violations(site, sent) == ["acknowledged and lost: 2.25.404"]


def test_a_wrong_digest_is_noticed(settled: tuple[Site, list[SentFile]]) -> None:
    site, files = settled
    wrong = replace(files[0], digest="0" * 64)
    assert set(_violations(site, _sent([wrong, *files[1:]]))) == {
        f"kept under another digest: {wrong.instance}",
        f"not the bytes that were sent: {wrong.instance}",
        f"WADO-RS gives other bytes: {wrong.instance}",
    }


def test_a_second_trigger_of_a_revision_is_noticed(settled: tuple[Site, list[SentFile]]) -> None:
    site, files = settled
    database = Database(site.settings.catalogue_url)
    [job] = site.rows_of(sa.select(schema.jobs))
    [result] = site.rows_of(sa.select(schema.results))
    second = {"id": "second", "model_digest": "0" * 64}
    with database.write() as tx:
        tx.execute(sa.insert(schema.jobs).values({**job._mapping, **second}))
        tx.execute(sa.insert(schema.results).values({**result._mapping, **second, "job_id": "second"}))
    try:
        key = (files[0].study, 1, job.model_id)
        assert set(_violations(site, _sent(files))) == {
            f"job: {key} 2 times",
            f"result that stands: {(files[0].study, job.model_id)} 2 times",
            "a result without a prediction: second",
            *(f"object of a result: {each['sop_instance_uid']} 2 times" for each in result.objects),
        }
    finally:
        with database.write() as tx:
            tx.execute(sa.delete(schema.results).where(schema.results.c.id == "second"))
            tx.execute(sa.delete(schema.jobs).where(schema.jobs.c.id == "second"))
        database.close()


def test_an_orphan_is_noticed_and_a_scrub_takes_it(settled: tuple[Site, list[SentFile]]) -> None:
    site, _ = settled
    compose.open_objects(site.settings).put(ObjectKey("ab" * 32), io.BytesIO(b"nobody's"))
    before, after = Ledger(), Ledger()
    judge_orphans(before, site)
    assert before.violations == [f"orphan: {'ab' * 32}"]
    scrub(site)
    judge_orphans(after, site)
    assert after.violations == []


def test_a_conflicting_copy_that_is_lost_or_called_stored_is_noticed(settled: tuple[Site, list[SentFile]]) -> None:
    site, _ = settled
    lost, wrong = ("2.25.1", "0" * 64), ("2.25.2", "0" * 64)
    ledger = Ledger()
    judge_copies(ledger, site, Copies(tried={lost, wrong}, refused={lost}, taken={wrong}))
    assert ledger.violations == [f"refused and not in quarantine: {lost}", f"other content called stored: {wrong}"]


def test_fifteen_faults_of_the_embedded_set_up_lose_and_double_nothing(tmp_path: Path) -> None:
    with running_rig("embedded", tmp_path, seed=1) as rig:
        if rig.lacks:
            pytest.skip(", ".join(rig.lacks))
        ledger, faults = prove(rig, tmp_path, faults=list(FAULTS), kills=15, seed=1, on_fault=lambda _name: None)
    assert ledger.violations == []
    assert len(faults) == 15
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0


@pytest.mark.servers
@pytest.mark.parametrize("topology", ["distributed", "landing"])
def test_six_faults_of_roles_apart_lose_and_double_nothing(tmp_path: Path, topology: str) -> None:
    if reason := missing(topology):
        pytest.skip(reason)
    with running_rig(topology, tmp_path, seed=2) as rig:
        if rig.lacks:
            pytest.skip(", ".join(rig.lacks))
        ledger, faults = prove(rig, tmp_path, faults=list(FAULTS), kills=6, seed=2, on_fault=lambda _name: None)
    assert ledger.violations == []
    assert len(faults) == 6
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0
