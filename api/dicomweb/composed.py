"""STOW-RS with metadata and bulk data apart: instances put together from the parts of a body (PS3.18 10.5.1)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from api.dicomweb import media
from api.dicomweb.explicit import EXPLICIT_LITTLE_UID
from api.dicomweb.macro import ROWS, description
from api.dicomweb.model import DataSet
from api.dicomweb.multipart import Part
from api.dicomweb.native import from_xml
from api.dicomweb.written import Bulk, write
from api.errors import BodyRejected, BodyTooLarge
from imaging.codestream import jpeg2000_transfer_syntax, jpeg_transfer_syntax
from pacs_gateway.errors import HeaderUnreadable, SyntaxRefused, UidRejected
from pacs_gateway.header import is_uid
from pacs_gateway.part10 import Piece, write_meta
from storage.errors import ObjectStoreUnavailable
from storage.records import Origin

MAX_METADATA_BYTES: Final = 16 * 1024 * 1024
MAX_BULK_BYTES: Final = 16 * 1024**3
_CHUNK: Final = 1024 * 1024
_PIXELS: Final = "7FE00010"
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_NATIVE: Final = frozenset({"", EXPLICIT_LITTLE_UID})
_UNKNOWN_TO_THE_WEB: Final = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})

_JPEG: Final = "image/jpeg"
SYNTAXES: Final = {
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    _JPEG: "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}
"""Media type of pixel data -> its transfer syntax where neither part nor pixels tell (PS3.18 Table 8.7.3-2 and -5)."""
_TELLING: Final = {
    _JPEG: jpeg_transfer_syntax,
    "image/jls": jpeg_transfer_syntax,
    "image/jp2": jpeg2000_transfer_syntax,
}
"""Media types whose octets say what they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Value:
    """A bulk value: where in the file its parts lie, one a frame if there are several."""

    content: media.MediaType
    spans: list[tuple[int, int]] = field(default_factory=list)


class Composition:
    """The metadata and the bulk values of one body; used as a context manager by one thread."""

    def __init__(self, file: IO[bytes]) -> None:
        self.models: list[DataSet] = []
        self._file = file
        self._values: dict[str, _Value] = {}
        self._size = 0

    def add(self, part: Part) -> None:
        """Take in a part.

        Raises
        ------
        BodyRejected
            Metadata that cannot be read, or a bulk value without a place.
        BodyTooLarge
            More metadata, or more bulk data, than is taken.
        """
        declared = media.parse(part.headers.get("content-type", media.OCTETS))
        content = declared[0] if declared else media.MediaType(name="")
        if content.name == media.DICOM_JSON:
            self.models += read_json(_all(part.pieces))
        elif content.name == media.DICOM_XML:
            self.models.append(from_xml([_all(part.pieces)]))
        elif content.name in {media.OCTETS, *SYNTAXES} and part.headers.get("content-location"):
            self._keep(part, content)
        else:
            raise BodyRejected("a part is neither metadata nor a value of a known media type with a Content-Location")

    def _keep(self, part: Part, content: media.MediaType) -> None:
        value = self._values.setdefault(part.headers["content-location"], _Value(content=content))
        start = self._size
        for piece in part.pieces:
            self._size += len(piece)
            if self._size > MAX_BULK_BYTES:
                raise BodyTooLarge(f"more than {MAX_BULK_BYTES} bytes of bulk data")
            with _disk_errors():
                self._file.write(piece)
        value.spans.append((start, self._size - start))

    def instance(self, model: DataSet) -> Iterator[Piece]:
        """Yield the DICOM file that a data set and its bulk values make.

        Raises
        ------
        HeaderUnreadable
            As `write`; a value that is named and did not come among them: no address is ever followed (R-41).
        SyntaxRefused
            Its pixels came in a transfer syntax that web services do not know.
        UidRejected
            It names no SOP Class and Instance.
        """
        uids = named(model)
        if uids is None:
            raise UidRejected("the metadata names no SOP Class or Instance UID")
        yield write_meta(self._syntax(model), *uids, Origin(via="stow"))
        yield from write(self._described(model), self._found)

    def _syntax(self, model: DataSet) -> str:
        value = self._pixels(model)
        syntax = EXPLICIT_LITTLE_UID if value is None else self._syntax_of(value)
        if not is_uid(syntax) or syntax in _UNKNOWN_TO_THE_WEB:
            raise SyntaxRefused("pixel data in a transfer syntax that web services do not know (PS3.18 8.7.3)")
        return syntax

    def _syntax_of(self, value: _Value) -> str:
        """Return what pixels are in: what their part names, else what a JPEG is by itself, else the type's own."""
        named = value.content.parameters.get("transfer-syntax", "")
        if not named and value.content.name in _TELLING:
            named = _TELLING[value.content.name](self._head(value))
        return named or SYNTAXES.get(value.content.name, EXPLICIT_LITTLE_UID)

    def _head(self, value: _Value) -> bytes:
        start, length = value.spans[0]
        return b"".join(self._pieces([(start, min(length, _CHUNK))]))

    def _described(self, model: DataSet) -> DataSet:
        """Return a data set with what its metadata leave to the pixels themselves (PS3.18 10.5.2)."""
        value = self._pixels(model)
        if value is None or value.content.name not in _TELLING or ROWS in model:
            return model
        return {**description(self._head(value), self._syntax_of(value)), **model}

    def _pixels(self, model: DataSet) -> _Value | None:
        uri = model.get(_PIXELS, {}).get("BulkDataURI")
        return self._values.get(uri) if isinstance(uri, str) else None

    def _found(self, tag: str, uri: str) -> Bulk:
        value = self._values.get(uri)
        if value is None:
            raise HeaderUnreadable("a BulkDataURI names no part of the body")
        if tag == _PIXELS and self._syntax_of(value) not in _NATIVE:
            return Bulk(0, lambda: self._encapsulated(value), encapsulated=True)
        length = sum(length for _, length in value.spans)
        return Bulk(length, lambda: self._pieces(value.spans))

    def _encapsulated(self, value: _Value) -> Iterator[bytes]:
        """Yield fragments: those that came as such, else one for each part, after an empty offset table (PS3.5 A.4)."""
        if value.content.name == media.OCTETS and next(self._pieces([(value.spans[0][0], 4)])) == _ITEM:
            yield from self._pieces(value.spans)
            return
        yield _ITEM + bytes(4)
        for start, length in value.spans:
            yield _ITEM + (length + length % 2).to_bytes(4, "little")
            yield from self._pieces([(start, length)])
            yield bytes(length % 2)
        yield _END

    def _pieces(self, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        for start, length in spans:
            for offset in range(0, length, _CHUNK):
                with _disk_errors():
                    self._file.seek(start + offset)
                    piece = self._file.read(min(_CHUNK, length - offset))
                yield piece


def named(model: DataSet) -> tuple[str, str] | None:
    """Return the SOP Class and SOP Instance UID that metadata names, None where it names none."""
    uids = _first(model, "00080016"), _first(model, "00080018")
    return uids if all(map(is_uid, uids)) else None


@contextmanager
def composition(folder: Path) -> Iterator[Composition]:
    """Open a composition whose bulk values wait in `folder`, under no name."""
    with _disk_errors():
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed right below
    with file:
        yield Composition(file)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectStoreUnavailable(f"the spool folder cannot be written: {error.strerror}") from error


def _all(pieces: Iterable[memoryview]) -> bytes:
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) > MAX_METADATA_BYTES:
            raise BodyTooLarge(f"more than {MAX_METADATA_BYTES} bytes of metadata")
    return bytes(held)


def read_json(content: bytes) -> list[DataSet]:
    """Read metadata strictly: UTF-8 without mark, no key twice, no NaN, no number without end (R-46)."""
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BodyRejected("the metadata is not JSON") from None
    models = found if isinstance(found, list) else [found]
    if not models or not all(isinstance(model, dict) and _is_model(model) for model in models):
        raise BodyRejected("the metadata is no array of data sets (PS3.18 F.2)")
    return models


def _is_model(model: dict[str, Any]) -> bool:
    return all(isinstance(made, dict) for made in model.values())


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is given twice")
    return made


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _first(model: DataSet, tag: str) -> str:
    values = model.get(tag, {}).get("Value")
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""
