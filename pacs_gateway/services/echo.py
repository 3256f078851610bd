"""C-ECHO: the Verification service (PS3.4 Annex A, PS3.7 9.1.5)."""

from __future__ import annotations

from pacs_gateway.command import CommandField
from pacs_gateway.service import Answered, DicomService, Offer, Operation, Reply, Request
from pacs_gateway.sop_classes import UNCOMPRESSED, VERIFICATION
from pacs_gateway.status import SUCCESS


def _echo(_: Request) -> Operation:
    return Answered(Reply(status=SUCCESS))


SERVICE = DicomService(
    name="echo",
    sop_classes=frozenset({VERIFICATION}),
    accepts_syntax=UNCOMPRESSED.__contains__,
    offers={CommandField.C_ECHO_RQ: Offer(begin=_echo, takes_data_set=False)},
)
