"""The parameters of a search, and the bodies of STOW-RS, as the OpenAPI document tells them.

Reading them is the work of `qido` and `stow`: the standard's keys are far more than a route can list (PS3.18 8.3.4).
"""

from __future__ import annotations

from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from api.dicomweb import media
from storage.matching import MAX_WILDCARDS, Level, supported

_LETTER: Final = r"[^*?\u0000-\u001f\u007f]"
_WORD: Final = rf"^({_LETTER}*(\*+|\?)){{0,{MAX_WILDCARDS}}}{_LETTER}*$"
_DATE: Final = "[0-9]{8}"
_TIME: Final = r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?"
_PATTERNS: Final = {
    "DA": rf"^({_DATE}(-({_DATE})?)?|-{_DATE}|\**)$",
    "TM": rf"^({_TIME}(-({_TIME})?)?|-{_TIME}|\**)$",
    "IS": "^([+-]?[0-9]{1,12})?$",
    "US": "^([+-]?[0-9]{1,12})?$",
    "UI": r"^[^\u0000-\u001f\u007f]*$",
}
_NAMED: Final = {Level.SERIES: {"StudyInstanceUID"}, Level.INSTANCE: {"StudyInstanceUID", "SeriesInstanceUID"}}


def search_parameters(level: Level, path: str) -> dict[str, Any]:
    """Return what a search at a level takes beside what its path names."""
    keys = sorted(supported(level) - {name for name in _NAMED.get(level, ()) if _placeholder(name) in path})
    return {"parameters": [*_PAGING, *({"name": key, "in": "query", "schema": _schema(key)} for key in keys)]}


def _placeholder(keyword: str) -> str:
    return {"StudyInstanceUID": "{study}", "SeriesInstanceUID": "{series}"}[keyword]


def _schema(keyword: str) -> dict[str, Any]:
    """Return the values that a key takes; some of them match nothing."""
    tag = tag_for_keyword(keyword.rpartition(".")[2])
    if tag is None:
        raise LookupError(keyword)
    return {"type": "string", "pattern": _PATTERNS.get(dictionary_VR(tag), _WORD)}


_UNSIGNED: Final = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999}
_YES: Final = {"type": "boolean"}
_FLAGS: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_FIELD: Final = "(all|00080020|00100010|00100020|[0-9A-Fa-f]{3}[13579bdfBDF][0-9A-Fa-f]{4})?"
_PAGING: Final = (
    {"name": "limit", "in": "query", "schema": _UNSIGNED},
    {"name": "offset", "in": "query", "schema": _UNSIGNED},
    {
        "name": "includefield",
        "in": "query",
        "description": "all, or attributes by keyword or tag",
        "schema": {"type": "string", "pattern": f"^{_FIELD}(,{_FIELD}){{0,50}}$"},
    },
    *({"name": name, "in": "query", "schema": _YES} for name in _FLAGS),
)

_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}
STORED: Final = {
    "requestBody": {
        "required": True,
        "content": {
            media.DICOM: _BYTES,
            **{
                f'{media.MULTIPART}; type="{root}"': _BYTES for root in (media.DICOM, media.DICOM_JSON, media.DICOM_XML)
            },
        },
    }
}
"""A DICOM file, files, or metadata and bulk data apart."""
