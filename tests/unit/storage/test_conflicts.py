"""Two copies of one instance: the same but for their encoding, or not."""

from __future__ import annotations

import io

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from storage import conflicts
from storage.conflicts import same_but_for_syntax
from tests import builders


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
def test_a_header_that_is_longer_than_what_is_looked_at_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = builders.part10(builders.ct_slice(1))
    header = len(first) - 16 * 16 * 2
    for length in range(140, header - 12, 17):
        monkeypatch.setattr(conflicts, "_HEADER_BYTES", length)
        assert not same_but_for_syntax(_stream(first), _stream(first)), length
