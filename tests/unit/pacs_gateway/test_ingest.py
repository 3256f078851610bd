"""The way in: what is spooled, what is kept, what is refused, and that nothing stays behind."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_gateway.errors import (
    CommandContradicted,
    CommandUidRejected,
    HeaderUnreadable,
    InstanceTooLarge,
    Part10Rejected,
    UidRejected,
)
from pacs_gateway.ingest import Ingest
from pacs_gateway.part10 import MAX_META_BYTES, read_meta, write_meta
from storage.errors import ObjectStoreUnavailable, OutOfSpace
from storage.records import InstanceUid, Origin, Verdict
from storage.spool import Spool
from tests.builders import START, Clock
from tests.unit.pacs_gateway.archive import MemoryArchive
from tests.unit.pacs_gateway.datasets import data_set, sop_uids

EXPLICIT = "1.2.840.10008.1.2.1"
STOW = Origin(via="stow", user="anna", address="127.0.0.1")
CT, UID = sop_uids()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[MemoryArchive]:
    archive = MemoryArchive(tmp_path)
    yield archive
    assert archive.leftovers() == []


def part10(data: bytes | None = None, meta: bytes | None = None) -> bytes:
    theirs = write_meta(EXPLICIT, CT, UID, Origin(via="self", calling_aet="ELSEWHERE"))
    return (theirs if meta is None else meta) + (data_set() if data is None else data)


def _meta(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(
        b"\2\0" + number.to_bytes(2, "little") + b"UI" + len(value).to_bytes(2, "little") + value
        for number, value in elements
    )
    return b"TIFF" + bytes(124) + b"DICM" + body


def _long_header(uid: bytes = UID.encode()) -> bytes:
    """A data set whose header is longer than what is looked at first."""
    return data_set({"SOPInstanceUID": uid, "RetrieveURL": b"x" * 40_000})


def test_long_header_is_read_to_its_end(archive: MemoryArchive) -> None:
    assert Ingest(archive).part10([part10(_long_header())], STOW)[0] is Verdict.STORED


@pytest.mark.parametrize("size", [1, 7, 1000, 10**9])
def test_file_is_kept_with_our_meta_and_its_own_data_set(archive: MemoryArchive, size: int) -> None:
    file = part10()
    chunks = [file[start : start + size] for start in range(0, len(file), size)]
    verdict, header = Ingest(archive, clock=Clock()).part10(chunks, STOW)
    arrival, content = archive.kept[InstanceUid(UID)]
    assert (verdict, header, arrival.origin) == (Verdict.STORED, arrival.header, STOW)
    assert content == write_meta(EXPLICIT, CT, UID, STOW, START) + data_set()
    assert b"ELSEWHERE" not in content


def test_stream_is_taken_like_its_chunks(archive: MemoryArchive) -> None:
    assert Ingest(archive).part10(io.BytesIO(part10()), STOW)[0] is Verdict.STORED
    assert Ingest(archive).part10([part10()], STOW)[0] is Verdict.DUPLICATE
    assert archive.data_set(UID) == data_set()


def test_their_preamble_is_not_kept(archive: MemoryArchive) -> None:
    file = b"MZ" + bytes(126) + part10()[128:]
    Ingest(archive).part10([file], STOW)
    assert archive.kept[InstanceUid(UID)][1][:132] == bytes(128) + b"DICM"


@pytest.mark.parametrize(
    "meta",
    [
        _meta((0x10, b"1.2.840.10008.1.2.1\0")),
        _meta((0x2, b""), (0x3, b""), (0x10, b"1.2.840.10008.1.2.1\0")),
        _meta(
            (0x0, b"wron"), (0x2, CT.encode() + b"\0"), (0x3, UID.encode() + b"\0"), (0x10, EXPLICIT.encode() + b"\0")
        ),
    ],
)
def test_poor_or_wrong_meta_is_made_good_from_the_data_set(archive: MemoryArchive, meta: bytes) -> None:
    assert Ingest(archive, clock=Clock()).part10([part10(meta=meta)], STOW)[0] is Verdict.STORED
    assert archive.kept[InstanceUid(UID)][1] == write_meta(EXPLICIT, CT, UID, STOW, START) + data_set()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "no DICM prefix after a preamble of 128 bytes"),
        (data_set(), "no DICM prefix after a preamble of 128 bytes"),
        (b"DICM" + data_set(), "no DICM prefix after a preamble of 128 bytes"),
        (_meta() + data_set(), "no file meta information follows the preamble"),
        (part10(meta=_meta((0x2, b"1.2 "))), "the file meta information names no transfer syntax"),
        (part10(meta=_meta((0x10, b"../x"))), "the file meta information's transfer syntax is not a UID"),
        (part10()[:140], "the file ends inside its file meta information"),
        (_meta()[:132] + b"\2\0\1\0\4\0\0\0abcd", "file meta element (0002,0001) is not explicit VR little endian"),
        (
            _meta()[:132] + b"\2\0\2\1OB\0\0\xff\xff\xff\xff" + bytes(MAX_META_BYTES),
            "file meta element (0002,0102) is longer than its file, or than is taken",
        ),
    ],
)
def test_file_that_is_not_part_10_is_rejected_with_the_reason(
    archive: MemoryArchive, file: bytes, message: str
) -> None:
    with pytest.raises(Part10Rejected) as caught:
        Ingest(archive).part10([file], STOW)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (part10(_long_header(b"1.9")), CommandContradicted),
        (part10(data_set({"StudyInstanceUID": None})), UidRejected),
        (part10(data_set()[:99]), HeaderUnreadable),
        (part10(b""), UidRejected),
        (part10(_long_header(), meta=write_meta(EXPLICIT, "x", "y", STOW)), CommandUidRejected),
    ],
)
def test_file_with_a_bad_data_set_is_rejected(archive: MemoryArchive, file: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        Ingest(archive).part10([file], STOW)
    assert archive.kept == {}


def test_longer_instance_than_allowed_is_rejected(archive: MemoryArchive) -> None:
    with pytest.raises(InstanceTooLarge):
        Ingest(archive, max_instance_bytes=1000).part10([part10(), bytes(1000)], STOW)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace), (errno.EIO, ObjectStoreUnavailable)],
)
def test_disk_that_fails_is_told_in_the_words_of_the_archive(
    archive: MemoryArchive, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(spool: Spool, part: bytes) -> None:
        raise OSError(number, "from the disk")

    monkeypatch.setattr(Spool, "write", fail)
    with pytest.raises(error):
        Ingest(archive).part10([part10()], STOW)


def test_reception_that_is_not_finished_leaves_nothing(archive: MemoryArchive) -> None:
    ingest = Ingest(archive)
    with ingest.begin(transfer_syntax_uid=EXPLICIT, origin=STOW, sop_class_uid=CT, sop_instance_uid=UID) as reception:
        reception.write(data_set()[:50])
        assert len(archive.leftovers()) == 1
    assert archive.kept == {}


def test_meta_written_is_meta_read() -> None:
    origin = Origin(via="dimse", calling_aet="ODD", called_aet="EVEN")
    meta = write_meta(EXPLICIT, CT, UID, origin, START)
    found = read_meta(meta + data_set())
    assert (found.transfer_syntax_uid, found.sop_class_uid, found.sop_instance_uid) == (EXPLICIT, CT, UID)
    assert (found.calling_aet, found.called_aet, found.via, found.received) == ("ODD", "EVEN", "dimse", START)
    assert found.length == len(meta)


@pytest.mark.parametrize("damage", [(b"2026-03", b"2026+03"), (b"dimse", b"dims\xff"), (b"2.25.2950", b"2.25.3950")])
def test_private_information_that_is_not_ours_or_not_whole_refuses_nothing(damage: tuple[bytes, bytes]) -> None:
    meta = write_meta(EXPLICIT, CT, UID, Origin(via="dimse"), START)
    at = meta.rindex(damage[0])
    found = read_meta(meta[:at] + damage[1] + meta[at + len(damage[0]) :] + data_set())
    assert (found.sop_instance_uid, found.length) == (UID, len(meta))
    assert found.received in {None, START}
