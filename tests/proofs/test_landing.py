"""Killed at every step between arrival and the object store, a landing zone loses nothing and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.adapters.directory import DirectoryStore
from storage.catalog import landings, studies
from storage.records import StudyUid
from storage.spool import Spool
from storage.verify import verify
from tests.builders import ct_slice, part10
from tests.landed import close_all, landed_archive, upload
from tests.proofs.landing import INSTANCES, STEPS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.mark.parametrize("times", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_nothing_acknowledged_is_lost(tmp_path: Path, step: str, times: int) -> None:
    command = [sys.executable, "-m", "tests.proofs.landing", str(tmp_path), step, str(times)]
    dead = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    acknowledged = set(dead.stdout.split())
    assert len(acknowledged) == {"landed": times - 1, "indexed": times - 1}.get(step, INSTANCES)

    store = DirectoryStore(tmp_path / "store")
    kept = landed_archive(tmp_path, store)
    assert kept.landing is not None
    for folder in (store.incoming, kept.landing.objects.incoming):
        Spool.sweep(folder)
    for _ in range(3):
        upload(kept)
    with kept.database.read() as tx:
        instances = studies.instances_of(tx, StudyUid("2.25.1"))
        assert landings.pending(tx) == frozenset()
    assert {instance.sop_instance_uid for instance in instances} >= acknowledged
    sent = {f"2.25.1.1.{number}": part10(ct_slice(number)) for number in range(1, INSTANCES + 1)}
    for instance in instances:
        assert b"".join(kept.chunks(instance)) == sent[instance.sop_instance_uid]
        with store.open(instance.object_key) as copy:
            assert copy.read() == sent[instance.sop_instance_uid]
    assert list(kept.landing.objects.keys()) == []
    assert [*store.incoming.iterdir(), *kept.landing.objects.incoming.iterdir()] == []
    assert verify(kept).clean
