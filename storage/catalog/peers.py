"""Peers: the remote AEs we know by title and address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_peers = schema.peers


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A remote AE: title (case-sensitive, PS3.5 6.2), host as given, port where we may call it."""

    aet: str
    host: str
    port: int | None = None


def add(tx: Transaction, peer: Peer, *, now: datetime) -> bool:
    """Add a peer; False where it is known already."""
    return insert_new(tx, _peers, {"aet": peer.aet, "host": peer.host, "port": peer.port, "added_at": now})


def remove(tx: Transaction, peer: Peer) -> bool:
    """Forget a peer; False where it was not known."""
    gone = tx.execute(sa.delete(_peers).where(_peers.c.aet == peer.aet, _peers.c.host == peer.host))
    return gone.rowcount == 1


def all_peers(tx: Transaction) -> list[Peer]:
    """Return every peer, by title."""
    rows = tx.execute(sa.select(_peers.c.aet, _peers.c.host, _peers.c.port).order_by(_peers.c.aet, _peers.c.host))
    return [Peer(aet=row.aet, host=row.host, port=row.port) for row in rows]
