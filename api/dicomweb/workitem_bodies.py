"""Bodies of UPS-RS: one data set, read whole and strictly (PS3.18 11.1.3, F.2; R-46)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

from anyio import fail_after
from fastapi import Depends, Request
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from starlette.requests import ClientDisconnect

from api.dicomweb import media
from api.dicomweb.composed import read_json
from api.dicomweb.forms import XML_PARTS
from api.dicomweb.multipart import Part, boundary_of, parts
from api.dicomweb.native import from_xml
from api.dicomweb.written import write
from api.errors import BodyIncomplete, BodyRejected, BodyTooLarge, MediaTypeUnsupported
from pacs_gateway.elements import MAX_DEPTH
from pacs_gateway.errors import HeaderUnreadable
from storage.workitems.worklist import MAX_BYTES

if TYPE_CHECKING:
    from api.dicomweb.model import DataSet, Element
    from api.dicomweb.written import Bulk

SILENCE_S: Final = 30
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
TAKEN: Final = (media.DICOM_JSON, media.JSON, media.DICOM_XML, XML_PARTS)


async def whole_body(request: Request) -> bytes:
    """Return the body; it is small, and a sender that stops within it is not waited for."""
    held = bytearray()
    try:
        with fail_after(SILENCE_S):
            async for piece in request.stream():
                held += piece
                if len(held) > MAX_BYTES:
                    raise BodyTooLarge(f"longer than the {MAX_BYTES} bytes this resource takes")
    except ClientDisconnect:
        raise BodyIncomplete("the connection ended before the body did") from None
    except TimeoutError:
        raise BodyIncomplete(f"the body did not end within {SILENCE_S} s") from None
    return bytes(held)


Body = Annotated[bytes, Depends(whole_body)]
"""The parameter of an endpoint that takes a data set."""


def read_data_set(request: Request, content: bytes) -> DataSet:
    """Return the data set of a body, its tags in upper case and ascending, no value that its VR does not allow.

    Raises
    ------
    MediaTypeUnsupported
        It is neither DICOM JSON nor DICOM XML.
    BodyRejected
        It cannot be read, or holds more than one data set, an attribute twice, or one with another VR than its own.
    HeaderUnreadable
        A value is none of its VR, or comes apart from the data set.
    """
    form = _media_type(request.headers.get("content-type", ""))
    is_taken = any(form.name == one.name and form.root == one.root for one in map(_media_type, TAKEN))
    if not is_taken or request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeUnsupported(f"send one data set as {', '.join(TAKEN)}")
    models = _read(form, content)
    if len(models) != 1:
        raise BodyRejected("the body does not hold one data set")
    model = _normal(models[0])
    for _ in write(model, _no_bulk):
        pass  # every value is looked at on its way
    return model


def _media_type(text: str) -> media.MediaType:
    declared = media.parse(text)
    return declared[0] if declared else media.MediaType(name="")


def _read(form: media.MediaType, content: bytes) -> list[DataSet]:
    if form.name == media.MULTIPART:
        return [_of_part(part) for part in parts([content], boundary_of(form))]
    return [from_xml([content])] if form.name == media.DICOM_XML else read_json(content)


def _of_part(part: Part) -> DataSet:
    if _media_type(part.headers.get("content-type", media.DICOM_XML)).name != media.DICOM_XML:
        raise BodyRejected(f"the part is not {media.DICOM_XML}")
    return from_xml(map(bytes, part.pieces))


def _no_bulk(_tag: str, uri: str) -> Bulk:
    raise HeaderUnreadable(f"no bulk data came as {uri}")


def _normal(model: DataSet, above: tuple[str, ...] = ()) -> DataSet:
    if len(above) > MAX_DEPTH:
        raise BodyRejected(f"sequences nest deeper than {MAX_DEPTH}")
    made: DataSet = {}
    for key, element in model.items():
        tag = key.upper()
        if tag in made:
            raise BodyRejected("an attribute is there twice")
        made[tag] = _element(tag, element, above)
    return dict(sorted(made.items()))


def _element(tag: str, element: Element, above: tuple[str, ...]) -> Element:
    """Return an attribute with its VR and its values alone; one without value has none of either."""
    vr = element.get("vr") if isinstance(element, dict) else None
    path = ".".join((*above, _shown(tag)))
    if not isinstance(vr, str) or not _is_own(tag, vr):
        raise BodyRejected(f"{path} has no VR, or another one than its own")
    values = element.get("Value", [])
    if not isinstance(values, list):
        raise BodyRejected(f"the values of {path} are no array")
    if vr == "SQ":
        values = [_item(item, (*above, _shown(tag))) for item in values]
    elif any(map(_has_nul, values)):
        raise BodyRejected(f"a value of {path} holds a NUL")
    if "BulkDataURI" in element:
        raise HeaderUnreadable(f"{path} comes as bulk data: a workitem holds its values itself")
    made: Element = {"vr": vr}
    if "InlineBinary" in element:
        if vr not in _BINARY or not isinstance(element["InlineBinary"], str) or values:
            raise BodyRejected(f"{path} comes as InlineBinary, which its VR has not, or not alone")
        return {**made, "InlineBinary": element["InlineBinary"]}
    if values and (vr == "SQ" or any(value is not None for value in values)):
        made["Value"] = values
    return made


def _item(item: Any, path: tuple[str, ...]) -> DataSet:  # noqa: ANN401 - whatever a client sent
    if not isinstance(item, dict | None):
        raise BodyRejected(f"an item of {'.'.join(path)} is no data set")
    return _normal(item or {}, path)


def _is_own(tag: str, vr: str) -> bool:
    try:
        number = int(tag, 16)
    except ValueError:
        _not_a_tag()
    return not dictionary_has_tag(number) or vr in dictionary_VR(number).split(" or ")


def _not_a_tag() -> NoReturn:
    raise BodyRejected("an attribute has no tag")


def _has_nul(value: object) -> bool:
    texts = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(text, str) and "\0" in text for text in texts)


def _shown(tag: str) -> str:
    """Return an attribute's keyword, or that it is a private or unknown one: what was sent is not repeated."""
    known = keyword_for_tag(int(tag, 16)) if len(tag) == 8 and tag.isalnum() and tag.isascii() and _is_hex(tag) else ""
    return known or "an attribute"


def _is_hex(tag: str) -> bool:
    return all(letter in "0123456789ABCDEF" for letter in tag)
