"""How much a peer may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much, and for how long, a gateway lets peers take."""

    max_associations: int = 256
    """Accepted associations at a time; one more is rejected (2,3,2)."""
    max_associations_per_aet: int = 64
    max_pending: int = 1024
    """Connections that have no association yet, or had one and linger; one more drops the oldest."""
    max_pdu: int = 256 * 1024
    """The longest P-DATA-TF variable field we take, and advertise."""
    artim_s: float = 30.0
    """From the connection to the whole A-ASSOCIATE-RQ, and from our last word to the peer's close (PS3.8 9.1.5)."""
    idle_s: float = 300.0
    """Between messages."""
    message_s: float = 60.0
    """Between the PDUs of one message."""
    pdu_s: float = 30.0
    """From a PDU's first byte to its last, and for the peer to take what we send."""
