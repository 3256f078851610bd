"""Room below the high-water mark: how a mark is written, when it is reached, and that few looks are taken."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage.errors import HighWaterReached, Misconfigured, ObjectStoreUnavailable
from storage.room import LOOK_S, Mark, Room

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "total", "kept"),
    [
        ("0", GIB, 0),
        ("2%", 100 * GIB, 2 * GIB),
        ("0.5%", 1000, 5),
        ("500MiB", 100 * GIB, 500 * 2**20),
        ("1.5 GiB", 100 * GIB, 3 * 2**29),
        ("1000000", GIB, 1_000_000),
        ("1TiB", GIB, GIB),
        ("auto", 10 * GIB, int(10 * GIB * 0.02)),
        ("auto", 4000 * GIB, 2 * GIB),
    ],
)
def test_mark_is_a_share_or_a_size(text: str, total: int, kept: int) -> None:
    assert Mark.parse(text).of(total) == kept


@pytest.mark.parametrize("text", ["", "much", "100%", "-1", "2 %%", "1e9", "5MB", "1GiB 2%"])
def test_anything_else_is_one_sentence(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"expected auto, a share as 2%, or a size as 500MiB$"):
        Mark.parse(text)


class Disk:
    """A file system whose free blocks a test sets, on a clock that a test moves."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.now = 0.0
        self.looks = 0

    def clock(self) -> float:
        return self.now

    def statvfs(self, _: object) -> SimpleNamespace:
        self.looks += 1
        return SimpleNamespace(f_bavail=self.free, f_blocks=1000, f_frsize=1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(1000)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


def test_mark_is_reached_and_left_again_and_each_is_said_once(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    room = Room([Path("/objects"), Path("/catalogue")], Mark.parse("100"), clock=disk.clock)
    room.check()
    for free, reached in ((100, False), (99, True), (0, True), (100, False), (99, True)):
        disk.free, disk.now = free, disk.now + LOOK_S
        assert _is_reached(room) == reached
    said = [record.__dict__["action"] for record in caplog.records]
    assert said == ["room-short", "room-again", "room-short"]
    assert caplog.records[0].__dict__["reason"] == "99 bytes are free, 100 stay free"


def test_file_system_is_looked_at_once_a_second(disk: Disk) -> None:
    room = Room([Path("/objects")], Mark.parse("100"), clock=disk.clock)
    for _ in range(1000):
        room.check()
    disk.free = 0
    room.check()
    assert disk.looks == 1
    disk.now += LOOK_S
    assert _is_reached(room)
    assert disk.looks == 2


def test_without_a_mark_a_full_disk_is_left_to_the_write(disk: Disk) -> None:
    disk.free = 0
    Room([Path("/objects")], Mark.parse("0"), clock=disk.clock).check()


def test_folder_that_is_gone_is_a_store_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreUnavailable, match=r"cannot be looked at: No such file or directory$"):
        Room([tmp_path / "gone"], Mark.parse("0")).check()


def _is_reached(room: Room) -> bool:
    try:
        room.check()
    except HighWaterReached:
        return True
    return False
