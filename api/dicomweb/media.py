"""Accept: which of the forms that we can give a client wants (PS3.18 8.7, RFC 9110 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from api.errors import NotAcceptable

if TYPE_CHECKING:
    from fastapi import Request

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
JSON: Final = "application/json"
ZIP: Final = "application/zip"
OCTETS: Final = "application/octet-stream"
MULTIPART: Final = "multipart/related"

_PART: Final = re.compile(r'\s*;\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,"\s]*)')
_RANGE: Final = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)")
_PLUS: Final = re.compile(r"(?<=\w) (?=(json|xml)\b)")
MAX_ACCEPT: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaType:
    """A media type or range with its parameters, names and types in lower case."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The type of a multipart's parts, or the type itself."""
        return self.parameters.get("type", "").lower() if self.name == MULTIPART else self.name

    @property
    def quality(self) -> float:
        """How much it is wanted, 0 to 1."""
        return weight(self.parameters.get("q", "1"))


_ANYTHING: Final = "*/*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What is given: one of the offers, in which transfer syntaxes, the most wanted first (empty: whichever)."""

    offer: str
    transfer_syntaxes: tuple[str, ...] = ("",)


def weight(text: str) -> float:
    """Return a q-value; a malformed one counts as 0."""
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text.strip()) else 0.0


def parse(text: str) -> list[MediaType]:
    """Return the media types of an Accept or Content-Type value; what is malformed is passed over."""
    found: list[MediaType] = []
    position = 0
    while (start := _RANGE.search(text, position)) is not None:
        position = start.end()
        parameters: dict[str, str] = {}
        while (part := _PART.match(text, position)) is not None:
            parameters[part[1].lower()] = _unquoted(part[2])
            position = part.end()
        found.append(MediaType(name=start[1].lower(), parameters=parameters))
        comma = text.find(",", position)
        position = len(text) if comma < 0 else comma + 1
    return found


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def wanted(request: Request) -> list[MediaType]:
    """Return what a request accepts, the most wanted first: what ``?accept=`` names, then what the header does."""
    return [media for text in _named(request) for media in preferred(text)]


def choose(request: Request, offers: Sequence[str]) -> Choice:
    """Return what a request gets of `offers`: media types, ``multipart/related; type=...`` for a multipart.

    ``?accept=`` goes before the header, which counts where nothing that it names is offered (PS3.18 8.7.8.1); neither
    means the first offer, as ``*/*`` does.  Of several ranges that hold an offer, the closest gives it its weight
    (RFC 9110 12.5.1).

    Raises
    ------
    NotAcceptable
        Nothing that is accepted is offered.
    """
    for text in _named(request):
        choice = _chosen(text, tuple(offers))
        if choice is not None:
            return choice
    raise NotAcceptable(f"this resource can be given as {', '.join(offers)}")


def _named(request: Request) -> list[str]:
    """Return the media ranges of ``?accept=``, where it is given, and of the header."""
    query, header = request.query_params.get("accept"), ", ".join(request.headers.getlist("accept"))
    # A bare plus of a query string arrives as a space, and no media type has one.
    queried = [_PLUS.sub("+", query)[:MAX_ACCEPT]] if query else []
    return [*queried, header[:MAX_ACCEPT] or _ANYTHING]


def _ranked(text: str) -> list[MediaType]:
    return sorted(parse(text[:MAX_ACCEPT]), key=lambda media: -media.quality)


@lru_cache(maxsize=128)  # clients are of a few kinds
def _chosen(text: str, offers: tuple[str, ...]) -> Choice | None:
    named = _ranked(text)
    ranks = {}
    for offer in offers:
        covering = [(_closeness(media), -rank) for rank, media in enumerate(named) if covers(media, parse(offer)[0])]
        rank = -max(covering)[1] if covering else len(named)
        if rank < len(named) and named[rank].quality > 0:
            ranks[offer] = rank
    if not ranks:
        return None
    offer = min(ranks, key=lambda offer: ranks[offer])
    return Choice(offer=offer, transfer_syntaxes=_syntaxes(named, parse(offer)[0]))


def _syntaxes(named: Sequence[MediaType], offered: MediaType) -> tuple[str, ...]:
    """Return every transfer syntax in which an offer is accepted."""
    taken = (media for media in named if media.quality > 0 and covers(media, offered))
    return tuple(media.parameters.get("transfer-syntax", "") for media in taken)


def _closeness(media: MediaType) -> int:
    """Return how closely a range names a media type: the closer of two counts."""
    if media.name.endswith("/*"):
        return 0 if media.name == "*/*" else 1
    return 2 if media.root in {"", "*/*"} else 3 if media.root.endswith("/*") else 4


def accepted(request: Request) -> list[MediaType]:
    """Return what the header of a request accepts, the most wanted first; no header accepts anything."""
    return preferred(", ".join(request.headers.getlist("accept")) or _ANYTHING)


def preferred(text: str) -> list[MediaType]:
    """Return the media types of a list that are wanted at all, the most wanted first."""
    return [media for media in _ranked(text) if media.quality > 0]


def covers(wanted: MediaType, offered: MediaType) -> bool:
    """Tell whether a media range holds a media type."""
    if wanted.name in {"*/*", f"{offered.name.partition('/')[0]}/*"}:
        return True
    kinds = {"", "*/*", f"{offered.root.partition('/')[0]}/*", offered.root}
    return wanted.name == offered.name and wanted.root in kinds
