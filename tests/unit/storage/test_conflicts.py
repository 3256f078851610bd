"""Two copies of one instance: the same but for their encoding, or not."""

from __future__ import annotations

import io
import zlib

import psutil
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from pacs_gateway.part10 import write_meta
from storage import conflicts
from storage.conflicts import same_but_for_syntax
from storage.records import Origin
from tests import builders
from tests.raw_scu import EXPLICIT
from tests.unit.pacs_gateway.datasets import data_set, element, sop_uids

DEFLATED = "1.2.840.10008.1.2.1.99"


class _FromTheNetwork(io.RawIOBase):
    """A stream that cannot seek, as that of an object in S3."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._content.read(min(len(buffer), 1000))
        buffer[: len(part)] = part
        return len(part)


_LONG: dict[str, object] = {"ImageComments": "x" * 10_000, "AdditionalPatientHistory": "y" * 10_000}


def _stream(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(_FromTheNetwork(content))


def _implicit(**attributes: object) -> bytes:
    data_set = builders.ct_slice(1, **attributes)
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return builders.part10(data_set)


def test_a_copy_in_another_syntax_is_the_same_also_from_a_store_that_cannot_seek() -> None:
    first = builders.part10(builders.ct_slice(1))
    assert same_but_for_syntax(_stream(first), _stream(_implicit()))
    assert not same_but_for_syntax(_stream(first), _stream(_implicit(PatientID="ANOTHER")))


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that were cut
def test_a_header_that_is_longer_than_what_is_looked_at_is_not_told_to_be_the_same() -> None:
    first = builders.part10(builders.ct_slice(1))
    header = len(first) - 16 * 16 * 2
    for length in range(140, header - 12, 17):
        assert conflicts._compare([first[:length]] * 2, length) is None, length
    assert conflicts._compare([first[: header + 1]] * 2, header + 1) is True


@pytest.mark.parametrize(("other", "same"), [(_LONG, True), (_LONG | {"PatientID": "ANOTHER"}, False)])
def test_a_long_header_is_compared_in_a_child(other: dict[str, object], same: bool) -> None:
    first = builders.part10(builders.ct_slice(1, **_LONG))
    assert same_but_for_syntax(_stream(first), _stream(_implicit(**other))) is same


def _instance(syntax: str, before_pixels: bytes) -> bytes:
    """A CT with something between header and pixels; deflated where the syntax says so."""
    sent, pixels = data_set({"PixelData": None}), element("PixelData", bytes(16))
    meta = write_meta(syntax, *sop_uids(), Origin(via="test"))
    if syntax != DEFLATED:
        return meta + sent + before_pixels + pixels
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return meta + deflate.compress(sent) + deflate.flush(zlib.Z_FULL_FLUSH) + before_pixels


def _bomb(size_mb: int) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)) * size_mb


SEQUENCE = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff"
ITEM = b"\xfe\xff\0\xe0\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("syntax", "hostile"),
    [
        pytest.param(EXPLICIT, (SEQUENCE + ITEM) * 680, id="R-20 nested as deep as fits in place"),
        pytest.param(EXPLICIT, (SEQUENCE + ITEM) * 100_000, id="R-20 nested 100,000 deep"),
        pytest.param(EXPLICIT, SEQUENCE + b"\xfe\xff\0\xe0\0\0\0\0" * 500_000, id="R-34 500,000 items"),
        pytest.param(DEFLATED, _bomb(4096), id="R-21 4 MiB that inflate to 4 GiB"),
    ],
)
def test_a_hostile_header_is_different_and_costs_this_process_nothing(
    syntax: str, hostile: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflicts, "_CHILD_S", 2)
    content = _instance(syntax, hostile)
    before = psutil.Process().memory_info().rss
    assert not same_but_for_syntax(_stream(content), _stream(content))
    assert psutil.Process().memory_info().rss - before < 128 << 20
