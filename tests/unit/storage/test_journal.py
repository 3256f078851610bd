"""The journal of a folder of objects: what it holds survives a power cut, and nothing else comes back.

A power cut is a copy: of the journal's files as they are, and of those objects alone that had been synced.  Nobody
holds a lock on a copy, as nobody holds one on the files of a process that is dead.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage import journal, sync
from storage.adapters import directory
from storage.adapters.directory import DirectoryStore, open_store
from storage.errors import ObjectMissing, OutOfSpace
from storage.records import ObjectKey
from storage.segment import BLOCK, MOST_BYTES, SUFFIX, Segment, records
from storage.spool import Spool
from storage.sync import Syncer


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a store lies whose objects are not settled while a test looks."""
    monkeypatch.setattr(journal, "SETTLE_S", 3600.0)
    return tmp_path / "store"


def _meta(length: int = 20) -> bytes:
    """File meta information of some length, which says so itself."""
    return b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + length.to_bytes(4, "little") + b"m" * length


def _put(store: DirectoryStore, data_set: bytes, *, meta: bytes | None = None) -> tuple[ObjectKey, int]:
    with Spool(store.incoming) as spool:
        spool.write_meta(_meta() if meta is None else meta)
        spool.write(data_set)
        return spool.key, store.put(spool.key, spool.reader())


def _read(store: DirectoryStore, key: ObjectKey) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def _segments(root: Path) -> list[Path]:
    return sorted((root / "journal").glob(f"*{SUFFIX}"))


def _held(root: Path) -> list[ObjectKey]:
    return [record.key for path in _segments(root) for record in records(path) if record.is_whole]


def _path(root: Path, key: ObjectKey) -> Path:
    return root / "objects" / key[:2] / key


def _cut(root: Path, to: Path, *, synced: tuple[ObjectKey, ...] = ()) -> Path:
    """Return what a power cut leaves of a store."""
    shutil.copytree(root / "journal", to / "journal")
    for key in synced:
        _path(to, key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_path(root, key), _path(to, key))
    return to


def _opened(root: Path) -> DirectoryStore:
    return DirectoryStore(root, journaled=True)


# ------------------------------------------------------------------------------------------------- what it holds
def test_an_object_that_was_put_is_in_the_journal_and_readable_at_once(root: Path) -> None:
    store = _opened(root)
    key, size = _put(store, b"data set")
    assert (_held(root), _read(store, key), size) == ([key], _meta() + b"data set", len(_meta()) + 8)
    assert list(store.keys()) == [key]


@pytest.mark.parametrize("size", [1, BLOCK, 300_001, (1 << 20) + 7, MOST_BYTES - 200])
def test_what_was_lost_comes_back_byte_for_byte(root: Path, tmp_path: Path, size: int) -> None:
    store, content = _opened(root), os.urandom(size)
    key, _ = _put(store, content)
    after = _opened(_cut(root, tmp_path / "after"))
    assert _read(after, key) == _meta() + content
    assert list(after.keys()) == [key]
    assert _segments(tmp_path / "after") == []


@pytest.mark.parametrize("left", ["nothing", "half", "zeros"])
def test_an_object_of_which_a_power_cut_left_a_part_is_made_anew(root: Path, tmp_path: Path, left: str) -> None:
    key, size = _put(_keep := _opened(root), b"d" * 10_000)
    after = _cut(root, tmp_path / "after", synced=(key,))
    content = {"nothing": b"", "half": (_meta() + b"d" * 10_000)[: size // 2], "zeros": bytes(size)}[left]
    _path(after, key).write_bytes(content)
    assert _read(_opened(after), key) == _meta() + b"d" * 10_000


def test_every_one_of_many_that_were_put_at_once_comes_back(root: Path, tmp_path: Path) -> None:
    store, contents = _opened(root), [os.urandom(50_000 + at) for at in range(60)]
    with ThreadPoolExecutor(12) as pool:
        keys = [key for key, _ in pool.map(lambda content: _put(store, content), contents)]
    after = _opened(_cut(root, tmp_path / "after"))
    assert sorted(after.keys()) == sorted(keys)
    assert [_read(after, key) for key in keys] == [_meta() + content for content in contents]


def test_a_long_object_and_what_is_no_part_10_file_take_the_long_way(root: Path, tmp_path: Path) -> None:
    store = _opened(root)
    long, _ = _put(store, os.urandom(MOST_BYTES))
    bare, _ = _put(store, b"no file meta before it", meta=b"")
    store.put(other := ObjectKey(hashlib.sha256(b"other").hexdigest()), io.BytesIO(b"other"))
    assert _held(root) == []
    assert sorted(store.keys()) == sorted([long, bare, other])


# --------------------------------------------------------------------------------------------- what it does not
@pytest.mark.parametrize("place", [0, 1, 2], ids=["its header", "its first block", "its last block"])
def test_a_record_that_a_power_cut_tore_is_none(root: Path, tmp_path: Path, place: int) -> None:
    store = _opened(root)
    (first, _), (torn, _), (last, _) = (_put(store, bytes([at]) * 5_000) for at in range(1, 4))
    after = _cut(root, tmp_path / "after")
    [path] = _segments(after)
    begin = path.read_bytes().index(bytes.fromhex(torn)) // BLOCK * BLOCK
    with path.open("r+b") as file:
        file.seek(begin + place * BLOCK)
        file.write(b"\xee" * 600)
    store = _opened(after)
    assert sorted(store.keys()) == sorted([first, last])
    with pytest.raises(ObjectMissing):
        store.size(torn)


def test_what_an_earlier_use_of_a_segment_left_behind_newer_records_is_none(root: Path, tmp_path: Path) -> None:
    store = _opened(root)
    old = [_put(store, bytes([at]) * 20_000)[0] for at in range(1, 6)]
    _settle(store)
    new, _ = _put(store, b"new")
    [path] = _segments(root)
    assert all(bytes.fromhex(key) in path.read_bytes() for key in old[1:])
    assert list(_opened(_cut(root, tmp_path / "after")).keys()) == [new]


def test_an_object_cannot_look_like_records(root: Path, tmp_path: Path) -> None:
    store = _opened(root)
    _put(store, b"first")
    [path] = _segments(root)
    forged = path.read_bytes()[2 * BLOCK :]  # with a header of its own, were it not for the place
    meta = _meta(BLOCK - 144)
    key, _ = _put(store, path.read_bytes()[BLOCK : 3 * BLOCK] + forged, meta=meta)
    assert key in list(_opened(_cut(root, tmp_path / "after")).keys())
    assert len(list(_opened(tmp_path / "after").keys())) == 2


# -------------------------------------------------------------------------------------------------- what was removed
def test_a_removed_object_does_not_come_back(root: Path, tmp_path: Path) -> None:
    store = _opened(root)
    (gone, _), (kept, _) = _put(store, b"gone"), _put(store, b"kept")
    store.remove(gone)
    assert list(_opened(_cut(root, tmp_path / "after")).keys()) == [kept]


def test_an_object_that_another_process_removed_does_not_come_back(root: Path, tmp_path: Path) -> None:
    gone, _ = _put(_keep := _opened(root), b"gone")
    _opened(root).remove(gone)
    assert list(_opened(_cut(root, tmp_path / "after")).keys()) == []


def test_an_object_that_is_put_again_after_its_removal_is_synced_by_then(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _opened(root)
    key, _ = _put(store, b"data set")
    store.remove(key)
    synced: list[str] = []
    monkeypatch.setattr(directory, "sync_file", lambda path: synced.append(str(path)))
    _put(store, b"data set")
    assert synced == [str(_path(root, key))]
    after = _opened(_cut(root, tmp_path / "after", synced=(key,)))
    assert list(after.keys()) == [key]


def test_a_removal_while_the_same_object_is_put_costs_it_no_durability(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _opened(root)
    _put(store, b"first")  # a removal is noted for those who have a journal
    synced: list[str] = []
    write = Segment.write

    def write_and_remove(self: Segment, offset: int, key: ObjectKey, *rest: object) -> bool:
        store.remove(key)
        return write(self, offset, key, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Segment, "write", write_and_remove)
    monkeypatch.setattr(directory, "sync_file", lambda path: synced.append(str(path)))
    key, _ = _put(store, b"second")
    assert synced == [str(_path(root, key))]


def test_notes_on_removals_go_with_the_records_they_are_about(root: Path) -> None:
    store = _opened(root)
    key, _ = _put(store, b"data set")
    store.remove(key)
    notes = root / "journal" / "removed"
    assert [path.name for path in notes.iterdir()] == [key]
    _settle(store)
    assert list(notes.iterdir()) == []


def test_a_store_without_a_journal_notes_nothing(root: Path) -> None:
    store = DirectoryStore(root)
    key, _ = _put(store, b"data set")
    store.remove(key)
    assert not (root / "journal").exists()


# ------------------------------------------------------------------------------------------------------ several owners
def test_the_journal_of_a_living_process_is_left_alone(root: Path) -> None:
    first = _opened(root)
    one, _ = _put(first, b"one")
    second = _opened(root)
    two, _ = _put(second, b"two")
    assert sorted(_held(root)) == sorted([one, two])
    assert sorted(second.keys()) == sorted([one, two])


def test_two_copies_with_other_file_meta_leave_one_record(root: Path, tmp_path: Path) -> None:
    first, second = _opened(root), _opened(root)
    key, size = _put(first, b"data set", meta=_meta(20))
    assert _put(second, b"data set", meta=_meta(60)) == (key, size)
    assert _held(root) == [key]
    assert _read(_opened(_cut(root, tmp_path / "after")), key) == _meta(20) + b"data set"


def test_racing_copies_with_other_file_meta_agree_on_one(root: Path, tmp_path: Path) -> None:
    stores, contents = [_opened(root) for _ in range(3)], [os.urandom(40_000) for _ in range(8)]
    sends = [(store, content, _meta(20 + 8 * at)) for content in contents for at, store in enumerate(stores)]
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda send: _put(send[0], send[1], meta=send[2]), sends))
    assert len(set(answers)) == len(contents)
    assert sorted(_held(root)) == sorted({key for key, _ in answers})
    after = _opened(_cut(root, tmp_path / "after"))
    assert {(key, after.size(key)) for key in list(after.keys())} == set(answers)


def test_whoever_opens_a_store_waits_for_a_recovery_under_way(root: Path, tmp_path: Path) -> None:
    key, _ = _put(_keep := _opened(root), b"data set")
    after = _cut(root, tmp_path / "after")
    with (after / "journal" / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        opened: list[DirectoryStore] = []
        opener = threading.Thread(target=lambda: opened.append(_opened(after)))
        opener.start()
        opener.join(0.3)
        assert not opened
    opener.join()
    assert list(opened[0].keys()) == [key]


def test_a_recovery_that_finds_no_room_says_so_and_is_done_by_the_next(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = _put(_keep := _opened(root), b"data set")
    after = _cut(root, tmp_path / "after")
    monkeypatch.setattr(directory, "Spool", _full)
    with pytest.raises(OutOfSpace, match="journal"):
        _opened(after)
    monkeypatch.undo()
    assert list(_opened(after).keys()) == [key]


# ----------------------------------------------------------------------------------------------------------- settling
def test_objects_are_settled_in_time_and_the_journal_goes_with_its_store(tmp_path: Path) -> None:
    store = _opened(tmp_path / "store")
    key, _ = _put(store, b"data set")
    _settle(store)
    assert journal.unsettled(tmp_path / "store/journal") == 0
    del store
    gc.collect()
    assert _segments(tmp_path / "store") == []
    assert _path(tmp_path / "store", key).exists()


def test_a_journal_that_is_full_is_settled_and_used_again(root: Path) -> None:
    store, content = _opened(root), os.urandom(MOST_BYTES - 4 * BLOCK)
    keys = [_put(store, bytes([at]) + content)[0] for at in range(3 * journal.MOST_SEGMENTS)]
    assert sorted(store.keys()) == sorted(keys)
    assert 1 <= len(_segments(root)) <= journal.MOST_SEGMENTS


def test_a_put_that_finds_the_journal_full_for_long_syncs_the_object_itself(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Syncer, "sync", _raise_io_error)
    monkeypatch.setattr(journal, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(journal, "_AGAIN_S", 0.1)
    monkeypatch.setattr(journal, "MOST_SEGMENTS", 1)
    store, content = _opened(root), os.urandom(MOST_BYTES - 4 * BLOCK)
    synced: list[int] = []
    sync_own = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), sync_own(descriptor))
    )
    held = [_put(store, bytes([at]) + content)[0] for at in range(2)]
    last, _ = _put(store, b"2" + content)
    assert _path(root, last).stat().st_ino in synced
    assert (_held(root), sorted(store.keys())) == (held, sorted([*held, last]))


def test_an_object_whose_sync_failed_is_written_anew_from_the_journal(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_AGAIN_S", 0.0)
    store = _opened(root)
    key, _ = _put(store, b"data set")
    before = _path(root, key).stat().st_ino
    failures = iter([OSError(errno.EIO, "Input/output error")])
    whole = Syncer.sync

    def fail_once(self: Syncer, paths: list[str]) -> None:
        for error in failures:
            raise error
        whole(self, paths)

    monkeypatch.setattr(Syncer, "sync", fail_once)
    _settle(store)
    assert _held(root) == [key]
    _settle(store)
    assert _held(root) == []
    assert _path(root, key).stat().st_ino != before
    assert _read(store, key) == _meta() + b"data set"


def test_a_journal_that_cannot_grow_is_in_nobodys_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segment, "make", _full)
    store = _opened(root)
    key, _ = _put(store, b"data set")
    assert (list(store.keys()), _segments(root)) == ([key], [])


def test_a_file_system_that_knows_no_direct_writes_has_a_journal_all_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_DIRECT", 0x7F000000)  # no such flags: refused with EINVAL, or not heeded
    key, _ = _put(_keep := _opened(root), b"data set")
    assert list(_opened(_cut(root, tmp_path / "after")).keys()) == [key]


@pytest.mark.parametrize(("kind", "journaled"), [("ext4", True), ("xfs", True), ("nfs4", False), ("", False)])
def test_only_file_systems_that_overwrite_in_place_have_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, journaled: bool
) -> None:
    monkeypatch.setattr(directory, "file_system", lambda _: kind)
    _put(_keep := open_store(f"dir://{tmp_path}/store"), b"data set")
    assert (tmp_path / "store/journal").exists() == journaled


@pytest.mark.parametrize("many", [0, 1000], ids=["all at once", "one by one"])
def test_files_and_the_folders_that_name_them_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(sync, "_MANY", many)
    monkeypatch.setattr(sync, "sync_all", _raise_io_error)
    (tmp_path / "file").write_bytes(b"content")
    syncer = Syncer(tmp_path)
    if many:
        syncer.sync([str(tmp_path / "file"), str(tmp_path / "gone")])
    else:
        with pytest.raises(OSError, match="Input/output"):
            syncer.sync([str(tmp_path / "file")])
    syncer.close()


# ------------------------------------------------------------------------------------------------------------ helpers
def _settle(store: DirectoryStore) -> None:
    """Have the journal settled now."""
    kept = store._journal
    assert kept is not None
    with kept._changed:
        kept._fill_up()
        kept._closing = True
        kept._see_to_settling()
        settling = kept._settling
        kept._changed.notify_all()
    if settling is not None:
        settling.join(30)
        assert not settling.is_alive()
    kept._closing = False


def _raise_io_error(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def _full(*_: object) -> Iterator[None]:
    raise OSError(errno.ENOSPC, "No space left on device")
