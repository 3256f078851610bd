"""Real files, damaged: each is stored as sent or refused with a status, and gateway and API live (R-1).

What is sent stands in `tests.conformance.dimse.mutations`.  At least half of it passes the header check, and is then
kept, indexed and read by others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pacs_gateway.errors import HeaderRejected
from pacs_gateway.ingest import Ingest
from storage.records import Origin
from tests.acceptance.site import Site, receivers
from tests.conformance.dimse.corpus import running_site
from tests.conformance.dimse.mutations import Mutation, mutations
from tests.raw_scu import VERIFICATION, RawScu, c_store, context, echo_status
from tests.unit.pacs_gateway.archive import MemoryArchive

IMPLICIT = "1.2.840.10008.1.2"
COUNT = 501
KEPT = {0x0000, 0x0111}
"""Success, and a duplicate with other content: the header check was passed."""
REFUSED = {0xA900, 0xC000}
GROWTH_BYTES = 64 << 20


def _sent(port: int, mutation: Mutation) -> int:
    with RawScu(port) as scu:
        scu.associate(context(1, mutation.sop_class_uid, mutation.transfer_syntax_uid))
        return scu.store(1, c_store(mutation.sop_class_uid, mutation.sop_instance_uid), mutation.data_set).status


def test_damaged_data_sets_are_stored_as_sent_or_refused(shared_data: Path) -> None:
    statuses: Counter[int] = Counter()
    with running_site() as site:
        for mutation in mutations(shared_data, COUNT, seed="C-STORE"):
            status = _sent(site.port, mutation)
            statuses[status] += 1
            assert site.take() == ([mutation.data_set] if status == 0 else []), mutation.name
        assert echo_status(site.port) == 0
        assert site.archive.leftovers() == []
    assert statuses.total() == COUNT
    assert {0x0000, 0xC000} <= set(statuses) <= {0x0000, *REFUSED}
    assert statuses[0] >= COUNT / 2


def test_damaged_files_are_kept_or_rejected(shared_data: Path, tmp_path: Path) -> None:
    archive, told = MemoryArchive(tmp_path), Counter[str]()
    for mutation in mutations(shared_data, COUNT, seed="import"):
        try:
            Ingest(archive).part10([mutation.start + mutation.data_set], Origin(via="import"))
            told["kept"] += 1
        except HeaderRejected:
            told["rejected"] += 1
    assert told.total() == COUNT
    assert told["kept"] >= COUNT / 2
    assert archive.leftovers() == []


# ------------------------------------------------------------------------------------------ through real processes
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with receivers(tmp_path_factory.mktemp("mutations")) as site:
        yield site


@contextmanager
def _unharmed(site: Site, role: str) -> Iterator[RawScu]:
    """Hold a process to its life and its memory; yields an association of an honest peer."""
    process = site.processes()[role]
    with RawScu(site.settings.dicom_port, timeout_s=5.0) as honest:
        honest.associate(context(1, VERIFICATION, IMPLICIT))
        before = process.memory_info().rss
        yield honest
        assert honest.echo(1).status == 0
    assert process.status() != psutil.STATUS_ZOMBIE
    assert process.memory_info().rss - before < GROWTH_BYTES
    assert list(Path(site.settings.data).rglob("*.part")) == []
    assert site.log_lines("association-failed") == []


@pytest.mark.slow
def test_real_gateway_lives_through_damaged_data_sets(site: Site, shared_data: Path) -> None:
    statuses: Counter[int] = Counter()
    port = site.settings.dicom_port
    with _unharmed(site, "gateway") as honest:
        for mutation in mutations(shared_data, COUNT, seed="C-STORE, process"):
            statuses[_sent(port, mutation)] += 1
            assert honest.echo(1).status == 0, mutation.name
    assert statuses.total() == COUNT
    assert set(statuses) <= KEPT | REFUSED
    assert sum(statuses[status] for status in KEPT) >= COUNT / 2


@pytest.mark.slow
def test_real_api_lives_through_damaged_files(site: Site, shared_data: Path) -> None:
    answers: Counter[int] = Counter()
    with _unharmed(site, "api") as honest:
        for mutation in mutations(shared_data, COUNT, seed="STOW-RS, process"):
            answer = site.post("/dicom-web/studies", mutation.start + mutation.data_set, "application/dicom")
            answers[answer.status] += 1
            assert honest.echo(1).status == 0, mutation.name
            assert site.call("GET", "/health/ready").status == 200
    assert answers.total() == COUNT
    assert set(answers) <= {200, 400, 409}  # stored, not a DICOM file that can be understood, in conflict
    assert answers[200] >= COUNT / 2
