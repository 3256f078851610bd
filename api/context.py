"""What the HTTP side works with: handed to it once, by whoever composes the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from api.dicomweb.atlas import Atlas
from api.showing import Showing
from imaging import Decoders
from inference.calculator import Calculator
from storage.archive import Archive, utc_now
from storage.buffers import Buffers
from web.viewer import Shelf

if TYPE_CHECKING:
    from models.contract import ModelCard
    from pacs_gateway.ingest import Ingest


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiContext:
    """Collaborators of the HTTP side.

    `public_base_url` is the address that browsers use, without a trailing slash; the links in answers start with it,
    never with a request's own Host.  `pings` names a call per adapter that returns if the adapter answers.
    `qido_empty` is the status of a search without a match: 204, or 200 with an empty list for clients that need one.
    `cors_origins` are the other sites whose pages may use DICOMweb here.  `viewers` is where the image viewer lies, if
    one is installed.  `decoders` start at the first picture; whoever makes a context closes them, and the `calculator`.
    `flag_targets` are the seconds from a study's last image to its flag that the site sets for a model, by its id.
    """

    archive: Archive
    ingest: Ingest
    public_base_url: str
    cards: tuple[ModelCard, ...] = ()
    pings: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    clock: Callable[[], datetime] = utc_now
    server_name: str = "Rọi"
    server_version: str = ""
    cors_origins: frozenset[str] = frozenset()
    qido_empty: int = 204
    viewers: Shelf = field(default_factory=lambda: Shelf(None))
    decoders: Decoders = field(default_factory=Decoders)
    calculator: Calculator = field(default_factory=Calculator)
    showing: Showing = field(default_factory=Showing)
    flag_targets: Mapping[str, float] = field(default_factory=dict)
    atlas: Atlas = field(default_factory=Atlas)
    buffers: Buffers = field(default_factory=Buffers)

    @property
    def dicomweb_url(self) -> str:
        """Where DICOMweb begins."""
        return f"{self.public_base_url}/dicom-web"

    @property
    def host_names(self) -> frozenset[str]:
        """The names by which a browser may call us."""
        named = urlsplit(self.public_base_url).hostname
        return frozenset({"127.0.0.1", "localhost", "::1"} | ({named} if named else set()))

    def card(self, model_id: str) -> ModelCard | None:
        """Return the card of a model, None where this installation no longer has it."""
        return next((card for card in self.cards if card.id == model_id), None)


async def of_request(request: Request) -> ApiContext:
    """Return the context that the application was created with.  A coroutine: it needs no thread."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(of_request)]
"""The parameter of an endpoint that needs collaborators."""
