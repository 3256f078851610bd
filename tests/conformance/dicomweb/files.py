"""Real files as data sets in the DICOM JSON Model, and how two such models differ."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from api.dicomweb.explicit import is_signed, value_pieces
from api.dicomweb.model import DataSet, as_model, find
from api.dicomweb.source import Source
from api.dicomweb.walk import Kind, walk
from api.dicomweb.written import Bulk
from api.errors import DataSetUnreadable
from pacs_gateway.elements import Encoding, encoding_of
from pacs_gateway.errors import Part10Rejected
from pacs_gateway.part10 import MAX_META_BYTES, read_meta

FOLDERS = ("modality", "transfer_syntax", "charset", "derived")
BULK = "bulk"
_PIXELS = 0x7FE00010


@dataclass(frozen=True, kw_only=True, slots=True)
class RealFile:
    """A file's meta information, its data set's bytes, inflated, and how those are encoded."""

    path: Path
    meta: bytes
    data_set: bytes
    encoding: Encoding

    def _read(self, offset: int, length: int) -> bytes:
        return self.data_set[offset : offset + length]

    def source(self) -> Source:
        return Source(self._read, len(self.data_set))

    def model(self) -> DataSet:
        return as_model(self.source(), self.encoding, bulk_url=BULK, signed=self.signed())

    def signed(self) -> bool:
        return is_signed(self._read, self.encoding)

    def bulk(self, _: str, uri: str) -> Bulk:
        """The value that a BulkDataURI of `model` names, as one of a body's parts."""
        step = find(walk(self.source(), self.encoding, signed=self.signed()), tuple(uri.split("/")[1:]))
        assert step is not None
        if step.kind is Kind.ENCAPSULATED:
            value = self._read(step.start, step.length)
            return Bulk(len(value), lambda: iter([value]), encapsulated=True)
        value = b"".join(value_pieces(self.source(), step))
        return Bulk(len(value), lambda: iter([value]))

    def without_encapsulated_pixels(self) -> bytes:
        """The file for programs that cannot say such pixels in JSON."""
        steps = [
            step
            for step in walk(self.source(), self.encoding, signed=self.signed())
            if step.kind is Kind.ENCAPSULATED and step.tag == _PIXELS
        ]
        if not steps:
            return self.path.read_bytes()
        last = steps[-1]
        return self.meta + self.data_set[: last.start - 12] + self.data_set[last.start + last.length :]


def real_files(shared_data: Path) -> Iterator[RealFile]:
    """Files of the corpus, and of pydicom's own, that are DICOM files with a data set that parses to its end."""
    folders = [shared_data / "dicom" / folder for folder in FOLDERS]
    for folder in (*folders, Path(pydicom.__file__).parent / "data" / "test_files"):
        for path in sorted(folder.iterdir()):
            made = _real_file(path) if path.is_file() else None
            if made is not None:
                yield made


def _real_file(path: Path) -> RealFile | None:
    content = path.read_bytes()
    try:
        meta = read_meta(content[:MAX_META_BYTES])
        encoding = encoding_of(meta.transfer_syntax_uid)
        data_set = content[meta.length :]
        if encoding is Encoding.DEFLATED:
            data_set = zlib.decompress(data_set, -zlib.MAX_WBITS)
        made = RealFile(path=path, meta=content[: meta.length], data_set=data_set, encoding=encoding)
        made.model()
    except (Part10Rejected, DataSetUnreadable):
        return None
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """An attribute that two models tell otherwise; None where one of them does not tell it."""

    place: str
    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None

    @property
    def tag(self) -> str:
        return self.place.rpartition("/")[2]


def differences(ours: DataSet, theirs: DataSet, place: str) -> Iterator[Difference]:
    """Yield where two models differ, items of sequences one by one."""
    for tag in sorted({*ours, *theirs}):
        one, other = ours.get(tag), theirs.get(tag)
        if one == other:
            continue
        here = f"{place}/{tag}"
        if one is None or other is None or not (one["vr"] == other["vr"] == "SQ"):
            yield Difference(place=here, ours=one, theirs=other)
            continue
        items, others = one.get("Value", []), other.get("Value", [])
        if len(items) != len(others):
            yield Difference(place=here, ours=one, theirs=other)
        for number, (item, another) in enumerate(zip(items, others, strict=False)):
            yield from differences(item, another or {}, f"{here}/{number}")
