"""A kept instance is read from start to end, and nothing that was not received leaves as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from xxhash import xxh3_128

from storage import reading, schema
from storage.adapters.directory import open_store
from storage.archive import Archive
from storage.buffers import Buffers
from storage.catalog import studies
from storage.errors import ObjectCorrupt
from storage.reading import PIECE, Reading
from storage.records import InstanceRecord, ObjectKey, StudyUid
from tests.builders import archive, header, keep

LONG = bytes(range(256)) * (10 * PIECE // 4 // 256)
META = b"\0" * 132


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    memory = archive(tmp_path)
    objects = open_store(f"dir://{tmp_path / 'objects'}")
    yield Archive(objects=objects, database=memory.database, spool_folder=tmp_path)
    memory.close()


def _instance(kept: Archive, content: bytes, *, quick: bool = True) -> InstanceRecord:
    keep(kept, header(), content)
    if not quick:
        with kept.database.write() as tx:
            tx.execute(sa.update(schema.instances).values(checksum=None))
    with kept.database.read() as tx:
        (instance,) = studies.instances_of(tx, StudyUid("2.25.1"))
    return instance


def _path(kept: Archive, key: ObjectKey) -> Path:
    return Path(f"{kept.objects._objects}/{key[:2]}/{key}")


def _at_once(read: Reading) -> Iterator[bytes]:
    buffers = Buffers()
    while not read.is_over:
        piece = read.read_at_once(buffers)
        yield read.read() if piece is None else bytes(piece)


def _waiting(read: Reading) -> Iterator[bytes]:
    return iter(read.read, b"")


def test_the_checksum_is_noted_with_the_row(kept: Archive) -> None:
    instance = _instance(kept, b"data set")
    assert instance.checksum == xxh3_128(b"data set").digest()


@pytest.mark.parametrize("way", [_at_once, _waiting])
@pytest.mark.parametrize("content", [b"data set", LONG, LONG[: PIECE - len(META)], LONG[:PIECE]])
def test_pieces_are_the_file(kept: Archive, way: Any, content: bytes) -> None:
    with closing(kept.reading(_instance(kept, content))) as read:
        given = list(way(read))
    assert b"".join(given) == META + content
    assert {len(piece) for piece in given[:-1]} <= {PIECE}


def test_what_lies_in_memory_is_read_at_once(kept: Archive) -> None:
    with closing(kept.reading(_instance(kept, LONG))) as read:
        piece = read.read_at_once(Buffers())
        assert piece is not None
        assert piece == (META + LONG)[:PIECE]


def test_text_that_stands_before_comes_with_the_first_piece(kept: Archive) -> None:
    read = kept.reading(_instance(kept, b"data set"))
    assert read.read_at_once(Buffers(), b"before ") == b"before " + META + b"data set"
    assert read.is_over
    read.close()


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _shorten(path: Path, _: int) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path, _: int) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("way", "quick"), [(_at_once, True), (_waiting, True), (_waiting, False)], ids=["at once", "waiting", "by SHA-256"]
)
@pytest.mark.parametrize("content", [b"data set", LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    ("damage", "place"),
    [(_flip, len(META)), (_flip, -1), (_shorten, 0), (_lengthen, 0)],
    ids=["first byte", "last byte", "shorter", "longer"],
)
def test_the_last_piece_of_what_was_not_received_never_comes(
    kept: Archive, way: Any, content: bytes, damage: Any, place: int, *, quick: bool
) -> None:
    instance = _instance(kept, content, quick=quick)
    path = _path(kept, instance.object_key)
    path.chmod(0o600)
    damage(path, place)
    given: list[bytes] = []
    with closing(kept.reading(instance)) as read, pytest.raises(ObjectCorrupt):
        given.extend(way(read))
    assert sum(map(len, given)) <= len(content) - len(content) % PIECE
    with pytest.raises(ObjectCorrupt):
        list(kept.chunks(instance))


def test_without_a_checksum_nothing_is_read_at_once(kept: Archive) -> None:
    read = kept.reading(_instance(kept, b"data set", quick=False))
    assert read.read_at_once(Buffers()) is None
    assert read.read() == META + b"data set"
    read.close()


@pytest.mark.parametrize("some", [0, 5])
def test_what_is_not_in_memory_is_not_waited_for(kept: Archive, monkeypatch: pytest.MonkeyPatch, some: int) -> None:
    def preadv(*_: object) -> int:
        if some:
            return some
        raise BlockingIOError

    read = kept.reading(_instance(kept, b"data set"))
    monkeypatch.setattr(os, "preadv", preadv)
    assert read.read_at_once(Buffers()) is None
    assert read.read() == META + b"data set"
    read.close()


def test_where_the_system_cannot_tell_nothing_is_read_at_once(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read = kept.reading(_instance(kept, b"data set"))
    monkeypatch.setattr(reading, "_AT_ONCE", None)
    assert read.read_at_once(Buffers()) is None
    read.close()
