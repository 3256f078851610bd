"""Real files, damaged at random: each is stored as sent or refused with a status, and the gateway lives (R-1)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_gateway.errors import HeaderRejected
from pacs_gateway.ingest import Ingest
from pacs_gateway.part10 import read_meta
from storage.records import Origin
from tests.conformance.dimse.corpus import GOOD, files, running_site
from tests.raw_scu import RawScu, c_store, context, echo_status
from tests.unit.pacs_gateway.archive import MemoryArchive

ROUNDS = 8
DEFINED = {0x0000, 0xA900, 0xC000}


def _flip(data: bytearray, choose: random.Random) -> None:
    for _ in range(choose.randint(1, 8)):
        data[choose.randrange(len(data))] = choose.randrange(256)


def _cut(data: bytearray, choose: random.Random) -> None:
    del data[choose.randrange(len(data)) :]


def _repeat(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data))
    data[start:start] = data[start : start + choose.randint(1, 200)]


def _lose(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data))
    del data[start : start + choose.randint(1, 50)]


def _lengthen(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(max(1, len(data) - 4))
    data[start : start + 4] = choose.choice([b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"])


DAMAGES = (_flip, _cut, _repeat, _lose, _lengthen)


def _mutations(data: bytes, seed: str) -> Iterator[bytes]:
    """Damage mostly the header, where it hurts."""
    choose = random.Random(seed)
    for _ in range(ROUNDS):
        head, rest = bytearray(data[:4000]), data[4000:]
        choose.choice(DAMAGES)(head, choose)
        yield bytes(head) + rest


@pytest.fixture(scope="module")
def small(shared_data: Path) -> dict[str, bytes]:
    found = {name: path.read_bytes() for name, path in files(shared_data, GOOD).items()}
    return {name: data for name, data in found.items() if len(data) < 100_000 and data[128:132] == b"DICM"}


def test_damaged_data_sets_are_stored_as_sent_or_refused(small: dict[str, bytes]) -> None:
    statuses = []
    with running_site() as site:
        for name, content in small.items():
            meta = read_meta(content)
            with RawScu(site.port) as scu:
                accepted = scu.associate(context(1, meta.sop_class_uid, meta.transfer_syntax_uid))
                if accepted.contexts[1][0]:  # not a storage class
                    continue
                for sent in _mutations(content[meta.length :], name):
                    status = scu.store(1, c_store(meta.sop_class_uid, meta.sop_instance_uid), sent).status
                    statuses.append(status)
                    assert site.take() == ([sent] if status == 0 else [])
            assert echo_status(site.port) == 0
        assert site.archive.leftovers() == []
    assert len(statuses) >= 500
    assert set(statuses) == DEFINED


def test_damaged_files_are_kept_or_rejected(small: dict[str, bytes], tmp_path: Path) -> None:
    archive, kept, rejected = MemoryArchive(tmp_path), 0, 0
    for name, content in small.items():
        for damaged in _mutations(content, name):
            try:
                Ingest(archive).part10([damaged], Origin(via="import"))
                kept += 1
            except HeaderRejected:
                rejected += 1
    assert kept + rejected >= 500
    assert min(kept, rejected) > 0
    assert archive.leftovers() == []
