"""Rendered forms of what is no image: reports as pages and text, encapsulated documents as they are (PS3.18 8.7.4).

What a sender put into a document is never shown as part of this site: a document leaves as a file to keep, in a sandbox
(R-35), and of a report only its words are written, each escaped (R-40).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response

from api.answers import unchanged
from api.context import ApiContext
from api.dicomweb import media
from api.dicomweb.explicit import is_for_web, value_pieces
from api.dicomweb.kept import signed
from api.dicomweb.model import DataSet, Element, as_model, find
from api.dicomweb.native import as_xml
from api.dicomweb.source import stored
from api.dicomweb.streams import gathered, stream, strong_tag
from api.dicomweb.walk import walk
from api.errors import NotAcceptable
from pacs_gateway.elements import encoding_of

if TYPE_CHECKING:
    from storage.records import InstanceRecord

HTML: Final = "text/html"
PLAIN: Final = "text/plain"
XML: Final = "text/xml"
MAX_REPORT_BYTES: Final = 16 * 1024 * 1024
"""A report's data set: a longer one is retrieved, not read to people."""

_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
"""The root of the structured report classes, key object selections among them."""

_ENCAPSULATED: Final = {
    "1.2.840.10008.5.1.4.1.1.104.1": ("application/pdf", "pdf"),
    "1.2.840.10008.5.1.4.1.1.104.2": ("text/xml", "xml"),
}
"""SOP Class -> media type and ending: Encapsulated PDF and Encapsulated CDA."""

_DOCUMENT: Final = "00420011"
_SANDBOX: Final = "sandbox; default-src 'none'"
DOCUMENT_TYPES: Final = (HTML, PLAIN, XML, "application/pdf")


def types_of(one: InstanceRecord) -> tuple[str, ...]:
    """Return the media types that an object which is no image is read in, none where people do not read it."""
    if one.sop_class_uid in _ENCAPSULATED:
        return (_ENCAPSULATED[one.sop_class_uid][0],)
    return (HTML, PLAIN, XML) if one.sop_class_uid.startswith(_REPORTS) else ()


def rendered_document(context: ApiContext, request: Request, one: InstanceRecord) -> Response:
    """Answer with an object that is no image, as people read it.

    Raises
    ------
    NotAcceptable
        It has no form that people read, or not the one that is asked for.
    """
    offers = types_of(one)
    if not offers:
        sentence = "the instance is neither an image, a report nor a document, and no other object is rendered"
        raise NotAcceptable(sentence)
    return document(context, request, one, media.choose(request, offers).offer)


def document(context: ApiContext, request: Request, one: InstanceRecord, offer: str) -> Response:
    """Answer with a report or a document in one of `types_of`; raises as `rendered_document` does."""
    if one.sop_class_uid in _ENCAPSULATED:
        return _encapsulated(context, request, one, *_ENCAPSULATED[one.sop_class_uid])
    return _report(context, request, one, offer)


def _encapsulated(context: ApiContext, request: Request, one: InstanceRecord, name: str, ending: str) -> Response:
    tag = strong_tag(context, name, [one], "document")
    held = unchanged(request, tag)
    if held is not None:
        return held
    source = stored(context.archive, one)
    step = find(walk(source, encoding_of(one.transfer_syntax_uid)), (_DOCUMENT,))
    if step is None or not step.length:
        raise NotAcceptable("the instance holds no document")
    headers = {
        "ETag": tag,
        "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.{ending}"',
        "Content-Security-Policy": _SANDBOX,
    }
    return stream(request, gathered(value_pieces(source, step)), name, headers)


# ---------------------------------------------------------------------------------------------------------- reports
def _report(context: ApiContext, request: Request, one: InstanceRecord, offer: str) -> Response:
    if one.size_bytes > MAX_REPORT_BYTES:
        raise NotAcceptable(f"the report is longer than the {MAX_REPORT_BYTES} bytes that are rendered")
    tag = strong_tag(context, offer, [one], "report")
    held = unchanged(request, tag)
    if held is not None:
        return held
    encoding = encoding_of(one.transfer_syntax_uid)
    is_signed = not is_for_web(one.transfer_syntax_uid) and signed(context.archive, one)
    source = stored(context.archive, one)
    model = as_model(source, encoding, bulk_url="", signed=is_signed, longest=MAX_REPORT_BYTES)
    if offer == XML:
        content = as_xml(model)
    else:
        content = "".join(as_page(model) if offer == HTML else as_text(model)).encode("utf-8", "replace")
    headers = {"ETag": tag, "Content-Security-Policy": _SANDBOX}
    return stream(request, [content], f"{offer}; charset=utf-8", headers)


def as_page(model: DataSet) -> Iterator[str]:
    """Yield a report as HTML: headings and nested lists, every word of it escaped."""
    title = html.escape(_name_of(model) or "Report")
    yield f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head><body>\n'
    yield f"<h1>{title}</h1>\n<dl>\n"
    for label, text in _facts(model):
        yield f"<dt>{html.escape(label)}</dt><dd><bdi>{html.escape(text)}</bdi></dd>\n"
    yield "</dl>\n"
    yield from _listed(_items(model, "0040A730"))
    yield "</body></html>\n"


def _listed(items: list[DataSet]) -> Iterator[str]:
    if not items:
        return
    yield "<ul>\n"
    for item in items:
        name, text = html.escape(_name_of(item)), "<br>\n".join(html.escape(_text_of(item)).splitlines())
        parts = [f"<b><bdi>{name}</bdi></b>" if name else "", f"<bdi>{text}</bdi>" if text else ""]
        yield f"<li>{': '.join(filter(None, parts))}"
        yield from _listed(_items(item, "0040A730"))
        yield "</li>\n"
    yield "</ul>\n"


def as_text(model: DataSet) -> Iterator[str]:
    """Yield a report as text, indented by its depth."""
    yield f"{_name_of(model) or 'Report'}\n\n"
    yield from (f"{label}: {_one_line(text)}\n" for label, text in _facts(model))
    yield "\n"
    yield from _indented(_items(model, "0040A730"), 0)


def _indented(items: Iterable[DataSet], depth: int) -> Iterator[str]:
    for item in items:
        said = ": ".join(filter(None, (_name_of(item), _text_of(item))))
        yield f"{'  ' * depth}{said}\n" if said else ""
        yield from _indented(_items(item, "0040A730"), depth + 1)


def _one_line(text: str) -> str:
    return " ".join(text.split())


_FACTS: Final = {
    "00100010": "Patient / Bệnh nhân",
    "00100020": "Patient ID / Mã bệnh nhân",
    "00100030": "Date of birth / Ngày sinh",
    "00080020": "Study date / Ngày chụp",
    "00080050": "Accession number / Số phiếu",
    "0040A491": "Completion / Hoàn tất",
    "0040A493": "Verification / Xác nhận",
}


def _facts(model: DataSet) -> Iterator[tuple[str, str]]:
    return ((label, text) for tag, label in _FACTS.items() if (text := _said(model.get(tag, {}))))


_VALUES: Final = ("0040A160", "0040A123", "0040A121", "0040A122", "0040A120", "0040A124")
"""Text, person name, date, time, date and time, and UID of a content item (PS3.3 C.17.3)."""


def _text_of(item: DataSet) -> str:
    """Return what a content item says, beside its name and its children."""
    said = [_said(item[tag]) for tag in _VALUES if tag in item]
    said += [_said(code.get("00080104", {})) for code in _items(item, "0040A168")]
    for measured in _items(item, "0040A300"):
        unit = next((_said(code.get("00080100", {})) for code in _items(measured, "004008EA")), "")
        said.append(" ".join(filter(None, (_said(measured.get("0040A30A", {})), unit))))
    said += [_said(referenced.get("00081155", {})) for referenced in _items(item, "00081199")]
    return ", ".join(filter(None, said))


def _name_of(item: DataSet) -> str:
    return next((_said(code.get("00080104", {})) for code in _items(item, "0040A043")), "")


def _items(item: DataSet, tag: str) -> list[DataSet]:
    made = item.get(tag, {})
    return [one for one in made.get("Value", []) if isinstance(one, dict)] if made.get("vr") == "SQ" else []


def _said(made: Element) -> str:
    return "\\".join(_as_words(value) for value in made.get("Value", []) if value is not None)


def _as_words(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return "=".join(map(str, value.values())) if isinstance(value, dict) else str(value)
