"""The same bytes to DCMTK's storescp and to our gateway: the same answers, or a difference with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.dimse.corpus import running_site
from tests.raw_scu import (
    ABORT,
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    RawScu,
    aborted,
    associate_rq,
    c_echo,
    c_store,
    context,
    p_data,
    pdu,
    pdv,
    rejected,
)
from tests.servers import dcmtk
from tests.servers.dcmtk import NO_DELAY
from tests.servers.process import Program, Server, connects, free_port
from tests.unit.pacs_gateway.datasets import data_set, sop_uids

pytestmark = pytest.mark.servers

CONTEXTS = (context(1, VERIFICATION, IMPLICIT), context(3, CT, EXPLICIT))
COMMAND = pdv(3, c_store(*sop_uids()), command=True, last=True)
WHOLE = pdv(3, data_set(), command=False, last=True)
RQ = associate_rq(*CONTEXTS)
BARE = "it aborts as service user, source 0, where PS3.8 9.2 has the provider abort and say why"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Bytes that a peer sends, before or within an association, and the first PDU that it hears."""

    name: str
    sent: bytes
    associated: bool = True
    ours: bytes
    theirs: bytes | None = None
    """Where storescp answers otherwise."""
    reason: str = ""


TABLE = (
    Row(name="released", sent=RELEASE_RQ, ours=RELEASE_RP),
    Row(name="aborted", sent=ABORT, ours=b""),
    Row(name="echo", sent=p_data(pdv(1, c_echo(), command=True, last=True)), ours=b"\4"),
    Row(name="stored", sent=p_data(COMMAND, WHOLE), ours=b"\4"),
    Row(name="no PDU", sent=pdu(9, b"1234"), ours=aborted(1), theirs=ABORT, reason=BARE),
    Row(name="second request", sent=RQ, ours=aborted(2)),
    Row(name="response", sent=pdu(6, bytes(4)), ours=aborted(2)),
    Row(
        name="other context",
        sent=p_data(pdv(5, c_echo(), command=True, last=True)),
        ours=aborted(2),
        theirs=ABORT,
        reason=BARE,
    ),
    Row(name="no command", sent=p_data(WHOLE), ours=aborted(2), theirs=ABORT, reason=BARE),
    Row(name="abort within a store", sent=p_data(COMMAND) + ABORT, ours=b""),
    Row(name="accepted", sent=RQ, associated=False, ours=b"\2"),
    Row(name="context", sent=associate_rq(*CONTEXTS, application="1.2.3"), associated=False, ours=rejected(1, 1, 2)),
    Row(name="version", sent=associate_rq(*CONTEXTS, version=2), associated=False, ours=rejected(1, 2, 2)),
    Row(name="early data", sent=p_data(COMMAND), associated=False, ours=aborted(2), theirs=ABORT, reason=BARE),
    Row(name="early release", sent=RELEASE_RQ, associated=False, ours=aborted(2), theirs=ABORT, reason=BARE),
    Row(name="early abort", sent=ABORT, associated=False, ours=b""),
    Row(
        name="no PDU first",
        sent=pdu(9, b"1234"),
        associated=False,
        ours=aborted(1),
        theirs=b"",
        reason="it closes without a word",
    ),
)


def _answer(port: int, row: Row) -> bytes:
    with RawScu(port) as scu:
        if row.associated:
            scu.associate(*CONTEXTS)
        scu.send(row.sent)
        try:
            return scu.receive()
        except ConnectionResetError:
            return b""


@pytest.fixture(scope="module")
def storescp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if why := dcmtk.available():
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("storescp")
    port = free_port()
    program = Program(
        name="storescp",
        command=[str(dcmtk.dcmtk("storescp")), "--ignore", "-aet", "ROI", str(port)],
        folder=folder,
        is_ready=lambda: connects(port),
        env=NO_DELAY,
    )
    with Server(program, ""):
        yield port


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_gateway_answers_as_the_table_says(row: Row) -> None:
    with running_site() as site:
        answer = _answer(site.port, row)
    assert answer[: len(row.ours) or None] == row.ours


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_storescp_answers_alike_or_the_table_says_why_not(storescp: int, row: Row) -> None:
    expected = row.ours if row.theirs is None else row.theirs
    answer = _answer(storescp, row)
    assert answer[: len(expected) or None] == expected
    assert bool(row.reason) == (row.theirs is not None)
