"""What a DICOM service is: a record that a file of `pacs_gateway.services` calls ``SERVICE``.

To add one, write that file: its SOP classes, and for each command a function from `Request` to `Operation`.  The
association does the rest: negotiation, fragments, refusals, responses.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Protocol

from pacs_gateway import services
from pacs_gateway.command import Command
from pacs_gateway.ingest import Ingest
from pacs_gateway.status import Status
from storage.records import Origin, StudyUid


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A DIMSE request, where it came from, and what may be needed to serve it."""

    command: Command
    sop_class_uid: str
    """The abstract syntax of the presentation context."""
    transfer_syntax_uid: str
    origin: Origin
    ingest: Ingest
    studies: set[StudyUid]
    """Studies this association brought instances of; an operation adds to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One response: pending ones carry a data set, the last one a final status."""

    status: Status
    data_set: bytes | None = None
    extra: Mapping[int, bytes] = field(default_factory=dict)
    """Further command elements, by number in group 0000."""


class Operation(Protocol):
    """One request being served: `write` for each fragment of its data set, `finish` once, `close` always.

    `write` and `finish` may raise `HeaderRejected`, `RequestRejected` or a `StorageError`: the rest of the data set is
    then received and dropped, and the peer hears the error's status.  A fragment is valid only during the call.
    """

    def write(self, fragment: memoryview) -> None:
        """Take a part of the data set."""
        ...

    def finish(self) -> Iterable[Reply]:
        """Yield the responses; each is sent before the next is asked for."""
        ...

    def close(self) -> None:
        """Free what the operation holds; it may not have finished."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """An operation whose one reply is known from the start; a data set, if there is one, is dropped."""

    reply: Reply

    def write(self, fragment: memoryview) -> None:
        """Drop the fragment."""

    def finish(self) -> Iterable[Reply]:
        """Yield the reply."""
        return (self.reply,)

    def close(self) -> None:
        """Hold nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """How one command is served."""

    begin: Callable[[Request], Operation]
    takes_data_set: bool


@dataclass(frozen=True, kw_only=True)
class DicomService:
    """What is offered for a set of SOP classes (PS3.4)."""

    name: str
    sop_classes: frozenset[str]
    accepts_syntax: Callable[[str], bool]
    """Whether a transfer syntax may be negotiated for them."""
    offers: Mapping[int, Offer]
    """(0000,0100) Command Field -> how it is served."""


@dataclass(frozen=True)
class Services:
    """The services of a gateway, found by SOP class."""

    records: tuple[DicomService, ...]

    @cached_property
    def _by_sop_class(self) -> dict[str, DicomService]:
        return {uid: service for service in self.records for uid in service.sop_classes}

    def offering(self, sop_class_uid: str) -> DicomService | None:
        """Return the service for a SOP class, None where there is none."""
        return self._by_sop_class.get(sop_class_uid)


def find_services(extra_storage_classes: Iterable[str] = ()) -> Services:
    """Import every file of `pacs_gateway.services` and collect its ``SERVICE``.

    `extra_storage_classes` are private or unknown SOP classes that are stored like those of the standard (D-12).
    """
    extra = frozenset(extra_storage_classes)
    names = sorted(module.name for module in pkgutil.iter_modules(services.__path__))
    found: list[DicomService] = [import_module(f"{services.__name__}.{name}").SERVICE for name in names]
    return Services(
        tuple(
            replace(service, sop_classes=service.sop_classes | extra) if service.name == "store" else service
            for service in found
        )
    )
