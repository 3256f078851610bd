"""Peers: the remote AEs we know by title and address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new
from storage.records import OnConflict

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
    on_conflict: OnConflict = OnConflict.REFUSE


def add(tx: Transaction, peer: Peer, *, now: datetime) -> bool:
    """Add a peer; False where it is known already."""
    told = {"aet": peer.aet, "host": peer.host, "port": peer.port, "on_conflict": peer.on_conflict}
    return insert_new(tx, _peers, {**told, "added_at": now})


def set_on_conflict(tx: Transaction, peer: Peer) -> None:
    """Change what a known peer hears of a conflicting copy."""
    this = (_peers.c.aet == peer.aet, _peers.c.host == peer.host)
    tx.execute(sa.update(_peers).where(*this).values(on_conflict=peer.on_conflict))


def remove(tx: Transaction, peer: Peer) -> bool:
    """Forget a peer; False where it was not known."""
    gone = tx.execute(sa.delete(_peers).where(_peers.c.aet == peer.aet, _peers.c.host == peer.host))
    return gone.rowcount == 1


def all_peers(tx: Transaction) -> list[Peer]:
    """Return every peer, by title."""
    rows = tx.execute(sa.select(_peers).order_by(_peers.c.aet, _peers.c.host))
    return [Peer(aet=row.aet, host=row.host, port=row.port, on_conflict=OnConflict(row.on_conflict)) for row in rows]
