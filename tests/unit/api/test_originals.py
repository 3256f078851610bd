"""Files leave as they are kept, one after the other: at once what lies in memory, and to the end what is whole."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from api import ApiContext
from api.dicomweb.originals import Originals
from api.dicomweb.streams import Batches, Piece, _leaving
from storage.adapters.directory import open_store
from storage.archive import Archive
from storage.catalog import studies
from storage.errors import ObjectCorrupt, ObjectMissing
from storage.reading import PIECE
from storage.records import InstanceRecord, StudyUid
from tests.builders import header, keep

SIZES = (10, 300_000, PIECE * 2 + 5, 20, 30, 600_000, PIECE, 40, 50, 60, 70, 400_000)


@pytest.fixture
def on_disk(context: ApiContext, tmp_path: Path) -> ApiContext:
    objects = open_store(f"dir://{tmp_path / 'objects'}")
    archive = Archive(objects=objects, database=context.archive.database, spool_folder=tmp_path)
    return replace(context, archive=archive)


def fill(context: ApiContext) -> list[InstanceRecord]:
    for number, size in enumerate(SIZES, start=1):
        keep(context.archive, header(number), bytes([number]) * size)
    with context.archive.database.read() as tx:
        return studies.instances_of(tx, StudyUid("2.25.1"))


def whole(found: list[InstanceRecord]) -> bytes:
    files = (b"\0" * 132 + bytes([number]) * size for number, size in enumerate(SIZES, start=1))
    return b"".join(text(place) + file for place, file in enumerate(files)) + b"end"


def text(place: int) -> bytes:
    return b"<%d>" % place


def originals(context: ApiContext, found: list[InstanceRecord]) -> Originals:
    return Originals(context, ((text(place), one) for place, one in enumerate(found)), b"end")


def path_of(context: ApiContext, one: InstanceRecord) -> Path:
    store = context.archive.objects
    return Path(f"{store._objects}/{one.object_key[:2]}/{one.object_key}")  # type: ignore[attr-defined]


def leave(batches: Batches) -> list[bytes]:
    async def all_of_it() -> list[bytes]:
        return [bytes(piece) async for piece in _leaving(batches, await asyncio.to_thread(batches.next))]

    return asyncio.run(all_of_it())


def open_files(context: ApiContext) -> list[str]:
    folder = str(context.archive.objects._objects)  # type: ignore[attr-defined]
    here = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return [path for path in here if path.startswith(folder) and not Path(path).is_dir()]


def drain(batches: Batches, given: bytearray) -> None:
    while batch := batches.at_once() or batches.next():
        given += b"".join(batch)


def test_a_body_is_texts_files_and_the_end_in_their_order(on_disk: ApiContext) -> None:
    found = fill(on_disk)
    assert b"".join(leave(originals(on_disk, found))) == whole(found)
    assert open_files(on_disk) == []


def test_a_body_from_a_store_without_files_is_the_same(context: ApiContext) -> None:
    found = fill(context)
    assert b"".join(leave(originals(context, found))) == whole(found)


def test_a_body_from_files_that_are_not_in_memory_is_the_same(
    on_disk: ApiContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, asked = fill(on_disk), []
    real = os.preadv

    def at_times(file: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        asked.append(offset)
        if len(asked) % 3:
            raise BlockingIOError
        return real(file, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", at_times)
    assert b"".join(leave(originals(on_disk, found))) == whole(found)


def test_what_lies_in_memory_is_read_where_it_is_sent(on_disk: ApiContext) -> None:
    batches = originals(on_disk, fill(on_disk))
    batches.next()
    assert not batches.waits
    read = 0
    while batch := batches.at_once():
        read += sum(map(len, batch))
    assert read > sum(SIZES) - PIECE  # what the thread read besides looking at the files
    assert batch == []


def test_what_has_to_be_waited_for_is_read_ahead_in_a_thread(context: ApiContext) -> None:
    batches = originals(context, fill(context))
    batches.next()
    assert batches.waits
    assert batches.at_once() is None


@pytest.mark.parametrize("place", [0, 1, 2, 5])
def test_a_damaged_file_comes_after_the_whole_ones_before_it(on_disk: ApiContext, place: int) -> None:
    found = fill(on_disk)
    path = path_of(on_disk, found[place])
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    batches, given = originals(on_disk, found), bytearray()
    with pytest.raises(ObjectCorrupt):
        drain(batches, given)
    batches.close()
    before = whole(found).index(text(place))
    assert given[:before] == whole(found)[:before]
    assert len(given) - before <= (2 * PIECE + len(text(place)) if SIZES[place] > PIECE else 0)
    assert open_files(on_disk) == []


def test_a_missing_file_comes_after_the_ones_before_it(on_disk: ApiContext) -> None:
    found = fill(on_disk)
    path_of(on_disk, found[3]).unlink()
    batches, given = originals(on_disk, found), bytearray()
    with pytest.raises(ObjectMissing):
        drain(batches, given)
    assert given == whole(found)[: whole(found).index(text(3))]


class Trial:
    """Batches that tell which thread read them, and whether they were closed."""

    def __init__(self, ways: str) -> None:
        self._ways = list(ways)
        self.waits = False
        self.read_in: list[bool] = []
        self.is_closed = False
        self._reading = threading.Lock()

    def next(self) -> list[Piece]:
        return self._read()

    def at_once(self) -> list[Piece] | None:
        return self._read() if not self._ways or self._ways[0] == "m" else None

    def close(self) -> None:
        self.is_closed = True

    def _read(self) -> list[Piece]:
        assert self._reading.acquire(blocking=False), "two threads at once"
        try:
            self.read_in.append(threading.current_thread() is threading.main_thread())
            way = self._ways.pop(0) if self._ways else ""
            self.waits = way == "d"
            return [way.encode()] if way else []
        finally:
            self._reading.release()


def test_threads_read_what_is_waited_for_and_nothing_else() -> None:
    batches = Trial("dmmdmm")  # disk, memory
    assert b"".join(leave(batches)) == b"dmmdmm"
    # behind what was waited for the next is read ahead, in a thread too
    assert batches.read_in == [False, False, True, False, False, True, True]
    assert batches.is_closed


@pytest.mark.parametrize("ways", ["mm", "dd"])
def test_who_goes_away_early_leaves_nothing_open(ways: str) -> None:
    batches = Trial(ways)

    async def look_and_go() -> None:
        leaving = _leaving(batches, batches.next())
        assert await anext(leaving) == ways[:1].encode()
        await leaving.aclose()  # type: ignore[attr-defined]  # it is a generator
        for _ in range(100):
            await asyncio.sleep(0.01)
            if batches.is_closed:
                return

    asyncio.run(look_and_go())
    assert batches.is_closed


def test_others_get_their_turn_while_a_fast_client_reads() -> None:
    turns: list[str] = []

    async def both() -> None:
        async def other() -> None:
            for _ in range(3):
                turns.append("other")
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(other())
        batches = Trial("mmmm")
        async for _ in _leaving(batches, batches.next()):
            turns.append("client")  # noqa: PERF401 - as they come
        await beside

    asyncio.run(both())
    assert turns.index("other") < 3
