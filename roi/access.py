"""Which peers may call the gateway once it can be reached from another machine (D-3)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

from storage.archive import utc_now
from storage.catalog import audit, peers
from storage.errors import Unavailable
from storage.records import OnConflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacs_gateway.negotiation import Refusal
    from storage.database import Database
    from storage.records import Origin

logger = logging.getLogger(__name__)

_FRESH_S = 5.0
_STRICTEST_FIRST = (OnConflict.REFUSE, OnConflict.WARN, OnConflict.ACCEPT)


class KnownPeers:
    """The peers of the catalogue, looked up again every few seconds: title and address must both match."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], OnConflict] = {}
        self._stale_at = 0.0
        self._lock = threading.Lock()

    def may_call(self, calling_aet: str, address: str) -> bool:
        """Tell whether a peer of this title may call from this address; the last known list serves where needed."""
        return (calling_aet, address) in self._fresh()

    def on_conflict(self, origin: Origin) -> OnConflict:
        """Return what this sender hears of a copy in quarantine; who is not listed is refused.

        A sender of the web has no title: it is known by its address, and where several peers share that, the
        strictest of their answers counts.
        """
        known = self._fresh()
        if origin.via != "stow":
            return known.get((origin.calling_aet, origin.address), OnConflict.REFUSE)
        there = {answer for (_, address), answer in known.items() if address == origin.address}
        return next((answer for answer in _STRICTEST_FIRST if answer in there), OnConflict.REFUSE)

    def _fresh(self) -> Mapping[tuple[str, str], OnConflict]:
        with self._lock:
            if time.monotonic() >= self._stale_at:
                self._known = self._look_up()
                self._stale_at = time.monotonic() + _FRESH_S
            return self._known

    def _look_up(self) -> dict[tuple[str, str], OnConflict]:
        try:
            with self._database.read() as tx:
                listed = peers.all_peers(tx)
        except Unavailable:
            logger.warning("peers cannot be read", extra={"action": "peers-away"})
            return self._known
        return {(peer.aet, address): peer.on_conflict for peer in listed for address in _addresses(peer.host)}


def audit_refusal(database: Database, refusal: Refusal) -> None:
    """Log and audit an association that was not accepted."""
    facts = {"calling_aet": refusal.calling_aet, "address": refusal.address, "reason": refusal.reason}
    logger.warning("association refused", extra={"action": "association-refused", **facts})
    try:
        with database.write() as tx:
            audit.append(
                tx,
                actor=refusal.calling_aet,
                action="association-refused",
                subject=refusal.called_aet,
                at=utc_now(),
                detail=facts,
            )
    except Unavailable:
        logger.warning("audit not written", extra={"action": "audit-away"})


def _addresses(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        logger.warning("peer's host has no address", extra={"action": "peer-unknown-host"})
        return set()
