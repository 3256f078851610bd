"""Associations as bytes on the wire: negotiation, PDUs, timers (PS3.8; checklist D-1 to D-17)."""

from __future__ import annotations

import struct
import time

import pytest

from pacs_gateway.errors import ListenFailed
from pacs_gateway.limits import Limits
from pacs_gateway.negotiation import Refusal
from storage.errors import CatalogueUnavailable
from tests.integration.pacs_gateway.conftest import SHORT, Site
from tests.raw_scu import (
    ABORT,
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    aborted,
    associate_rq,
    c_echo,
    c_store,
    context,
    item,
    p_data,
    pdu,
    pdv,
    rejected,
    us,
)
from tests.unit.pacs_gateway.datasets import data_set, sop_uids

ECHO = context(1, VERIFICATION, IMPLICIT)
STORE = context(3, CT, EXPLICIT)
JPEG = "1.2.840.10008.1.2.4.50"
JPIP = "1.2.840.10008.1.2.4.94"


def test_echo_is_answered_and_the_release_too(site: Site) -> None:  # D-1
    with site.scu() as scu:
        scu.associate(ECHO)
        response = scu.echo(1)
        assert response.values == {
            0x0: struct.pack("<I", 66),
            0x2: b"1.2.840.10008.1.1\0",
            0x100: us(0x8030),
            0x120: us(1),
            0x800: us(0x101),
            0x900: us(0),
        }
        assert scu.release() == RELEASE_RP
        assert scu.ended()


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        ({"application": "1.2.3"}, rejected(1, 1, 2), "application context not supported"),  # D-2
        ({"called": b"OTHER"}, rejected(1, 1, 7), "called AE title not recognised"),  # D-3
        ({"called": b"roi"}, rejected(1, 1, 7), "called AE title not recognised"),
        ({"calling": b""}, rejected(1, 1, 3), "calling AE title not recognised"),
        ({"calling": b"a\nb"}, rejected(1, 1, 3), "calling AE title not recognised"),
        ({"calling": b"\x1b[31mred"}, rejected(1, 1, 3), "calling AE title not recognised"),
        ({"calling": b"A\0B"}, rejected(1, 1, 3), "calling AE title not recognised"),
        ({"calling": b"..\\x"}, rejected(1, 1, 3), "calling AE title not recognised"),
        ({"version": 2}, rejected(1, 2, 2), "protocol version not supported"),
        ({"max_pdu": 7}, rejected(1, 1, 1), "nothing proposed, or a maximum PDU length too small to answer in"),
    ],
)
def test_association_is_rejected_with_its_reason(
    site: Site, options: dict[str, object], answer: bytes, reason: str
) -> None:
    with site.scu() as scu:
        scu.send(associate_rq(ECHO, **options))  # type: ignore[arg-type]
        assert scu.receive() == answer
    assert [refusal.reason for refusal in site.refusals] == [reason]
    assert all(title.isprintable() for r in site.refusals for title in (r.calling_aet, r.called_aet))


def test_association_without_contexts_is_rejected(site: Site) -> None:
    with site.scu() as scu:
        scu.send(associate_rq())
        assert scu.receive() == rejected(1, 1, 1)


def test_who_may_call_decides_by_title_and_address(open_site: object) -> None:  # D-3
    site = open_site(may_call=lambda aet, address: (aet, address) == ("CT 1", "127.0.0.1"))  # type: ignore[operator]
    with site.scu() as scu:
        scu.associate(ECHO, calling=b"CT 1 ")
        assert scu.echo(1).status == 0
    with site.scu() as scu:
        scu.send(associate_rq(ECHO, calling=b"ct 1"))
        assert scu.receive() == rejected(1, 1, 3)
    assert site.refusals == [
        Refusal(calling_aet="ct 1", called_aet="ROI", address="127.0.0.1", reason="calling AE title not recognised")
    ]


def test_caller_that_cannot_be_looked_up_is_asked_to_come_back(open_site: object) -> None:
    def may_call(aet: str, address: str) -> bool:
        raise CatalogueUnavailable

    site = open_site(may_call=may_call)  # type: ignore[operator]
    with site.scu() as scu:
        scu.send(associate_rq(ECHO))
        assert scu.receive() == rejected(2, 3, 1)
    assert [refusal.reason for refusal in site.refusals] == ["who may call cannot be looked up at the moment"]


def test_error_of_ours_aborts_one_association_and_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(site.archive, "keep", keep)
    with site.scu() as other, site.scu() as scu:
        other.associate(ECHO)
        scu.associate(STORE)
        scu.send(p_data(COMMAND), p_data(pdv(3, data_set(), command=False, last=True)))
        assert scu.receive() == aborted(0)
        assert other.echo(1).status == 0
    _until(lambda: [r.levelname for r in caplog.records if r.message == "association failed"] == ["ERROR"])


def test_no_more_threads_cost_one_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", start)
        with site.scu() as scu:
            assert scu.ended()
    assert site.is_well()


def test_any_called_title_is_served_where_it_is_not_checked(open_site: object) -> None:
    site = open_site(check_called=False)  # type: ignore[operator]
    with site.scu() as scu:
        accepted = scu.associate(ECHO, called=b"ANY-SCP", calling=b"SIXTEEN LETTERS!")
        assert (accepted.called, accepted.calling) == (b"ANY-SCP".ljust(16), b"SIXTEEN LETTERS!")
        assert scu.echo(1).status == 0


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_associations=1, artim_s=1, idle_s=5, pdu_s=1),
        Limits(max_associations_per_aet=1, artim_s=1, idle_s=5, pdu_s=1),
    ],
)
def test_one_association_too_many_is_rejected_as_transient(open_site: object, limits: Limits) -> None:  # D-4
    site = open_site(limits=limits)  # type: ignore[operator]
    with site.scu() as first:
        first.associate(ECHO)
        with site.scu() as second:
            second.send(associate_rq(ECHO))
            assert second.receive() == rejected(2, 3, 2)
        assert first.echo(1).status == 0
        assert first.release() == RELEASE_RP
        assert site.is_well()


def test_each_context_is_answered_by_itself(site: Site) -> None:  # D-5, D-6
    with site.scu() as scu:
        accepted = scu.associate(
            context(0, CT, EXPLICIT),
            context(1, VERIFICATION, IMPLICIT),
            context(3, CT, JPEG, EXPLICIT, IMPLICIT),
            context(5, CT, JPIP, IMPLICIT),
            context(7, CT, JPIP),
            context(9, "1.2.840.10008.5.1.4.1.2.1.1", IMPLICIT),
            context(11, CT, "1.2.3.4.5.6.7"),
            context(13, CT),
            context(14, CT, EXPLICIT),
            context(15, "1.2.840.10008.5.1.4.1.1.6", IMPLICIT),
            context(17, CT, "no uid"),
            context(19, VERIFICATION, JPEG),
            context(255, "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.1.2.4.112"),
        )
        assert accepted.contexts == {
            0: (2, EXPLICIT),
            1: (0, IMPLICIT),
            3: (0, JPEG),
            5: (0, IMPLICIT),
            7: (4, JPIP),
            9: (3, IMPLICIT),
            11: (0, "1.2.3.4.5.6.7"),
            13: (4, IMPLICIT),
            14: (2, EXPLICIT),
            15: (0, IMPLICIT),
            17: (4, "no uid"),
            19: (4, JPEG),
            255: (0, "1.2.840.10008.1.2.4.112"),
        }
        assert scu.echo(1).status == 0


def test_private_storage_class_is_taken_where_it_is_configured(open_site: object) -> None:  # D-5, D-12
    proposals = (context(1, "1.3.46.670589.5.0.1", EXPLICIT), context(3, "1.2.3.9", EXPLICIT))
    site = open_site(extra_storage_classes=["1.2.3.9"])  # type: ignore[operator]
    with site.scu() as scu:
        assert scu.associate(*proposals).contexts == {1: (3, EXPLICIT), 3: (0, EXPLICIT)}


def test_accept_names_our_implementation_and_our_maximum(site: Site) -> None:  # D-7, D-8
    with site.scu() as scu:
        user = scu.associate(ECHO).user
    assert user == {
        0x51: struct.pack(">I", SHORT.max_pdu),
        0x52: b"2.25.295046347112508906133218404117652039712",
        0x55: b"ROI_0.1",
    }


def test_asynchronous_window_is_answered_with_one(site: Site) -> None:  # D-9
    with site.scu() as scu:
        user = scu.associate(ECHO, user=item(0x53, struct.pack(">HH", 8, 8))).user
        assert user[0x53] == struct.pack(">HH", 1, 1)
        assert scu.echo(1).status == 0


def _role(uid: str, scu: int, scp: int) -> bytes:
    return item(0x54, struct.pack(">H", len(uid)) + uid.encode() + bytes([scu, scp]))


def test_requestor_may_be_scu_and_never_scp(site: Site) -> None:  # D-10
    with site.scu() as scu:
        accepted = scu.associate(ECHO, STORE, user=_role(CT, 1, 1))
        assert accepted.user[0x54] == struct.pack(">H", len(CT)) + CT.encode() + b"\1\0"
        assert accepted.contexts == {1: (0, IMPLICIT), 3: (0, EXPLICIT)}
    with site.scu() as scu:
        accepted = scu.associate(ECHO, STORE, user=_role(CT, 0, 1))
        assert accepted.contexts == {1: (0, IMPLICIT), 3: (1, EXPLICIT)}


@pytest.mark.parametrize(
    "user",
    [
        item(0x58, b"\2\1" + struct.pack(">H", 4) + b"user" + struct.pack(">H", 6) + b"secret"),  # D-13
        item(0x56, struct.pack(">H", 17) + VERIFICATION.encode() + b"\2\0\0"),  # D-11
        item(0x57, b"anything"),
        item(0x99, b"unknown"),
        item(0x58, b""),  # D-16
        item(0x99, bytes(60_000)),
    ],
)
def test_user_items_we_do_not_heed_break_nothing(site: Site, user: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with site.scu() as scu:
        accepted = scu.associate(ECHO, user=user)
        assert set(accepted.user) == {0x51, 0x52, 0x55}
        assert scu.echo(1).status == 0
    assert "secret" not in caplog.text
    assert site.is_well()


def test_128_contexts_of_40_syntaxes_are_answered(site: Site) -> None:  # D-16, R-5
    syntaxes = [f"1.2.840.10008.1.2.4.{number}" for number in range(1000, 1039)] + [EXPLICIT]
    with site.scu() as scu:
        accepted = scu.associate(*(context(number, CT, *syntaxes) for number in range(1, 256, 2)))
        assert accepted.contexts == dict.fromkeys(range(1, 256, 2), (0, syntaxes[0]))


@pytest.mark.parametrize("max_pdu", [64, 4096, 16384, 131072, 0])
def test_no_pdu_is_longer_than_the_peer_takes(site: Site, max_pdu: int) -> None:  # D-7
    with site.scu() as scu:
        scu.associate(ECHO, max_pdu=max_pdu)
        scu.send(p_data(pdv(1, c_echo(), command=True, last=True)))
        lengths, last = [], False
        while not last:
            answer = scu.receive()
            lengths.append(len(answer) - 6)
            last = bool(answer[11] & 2)
        assert max(lengths) <= (max_pdu or 2**32)
        assert len(lengths) == (2 if max_pdu == 64 else 1)


def test_pdu_longer_than_ours_aborts(site: Site) -> None:  # D-7
    with site.scu() as scu:
        scu.associate(STORE)
        scu.send(struct.pack(">BxI", 4, SHORT.max_pdu + 1))
        assert scu.receive() == aborted(6)
        assert scu.ended()
    assert site.is_well()


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, SHORT.max_pdu])
@pytest.mark.parametrize("established", [False, True])
def test_promised_length_is_neither_believed_nor_waited_for(site: Site, length: int, established: bool) -> None:
    with site.scu() as scu:
        if established:
            scu.associate(STORE)
        began = time.monotonic()
        scu.send(struct.pack(">BxI", 4 if established else 1, length))
        assert scu.receive() == aborted(6 if length > 1024 * 1024 else 0)
        assert time.monotonic() - began < 2.0
    assert site.is_well()


@pytest.mark.parametrize(
    ("pdus", "answer"),
    [
        (pdu(9, b"1234"), aborted(1)),  # D-15
        (pdu(0, b""), aborted(1)),
        (pdu(4, b""), aborted(2)),  # P-DATA before an association
        (RELEASE_RQ, aborted(2)),
        (pdu(2, b"1234"), aborted(2)),
        (ABORT, b""),
        (pdu(1, b""), aborted(6)),
        (pdu(1, bytes(68)), rejected(1, 2, 2)),
        (associate_rq(ECHO, ECHO), aborted(6)),
        (associate_rq(item(0x20, b"\1")), aborted(6)),
        (associate_rq(item(0x20, b"\1\0\0\0\x30\0\xff\xff1.2")), aborted(6)),
        (associate_rq(ECHO, user=b"\x54\0\0\1\0"), aborted(6)),
        (associate_rq(ECHO, user=item(0x54, b"\0\x40")), aborted(6)),
        (associate_rq(ECHO, user=b"\x51"), aborted(6)),
        (associate_rq(ECHO)[:-3], aborted(0)),
    ],
)
def test_what_is_out_of_place_before_the_association_ends_it(site: Site, pdus: bytes, answer: bytes) -> None:
    with site.scu() as scu:
        scu.send(pdus)
        assert scu.receive() == answer
    assert site.is_well()


COMMAND = pdv(3, c_store(*sop_uids()), command=True, last=True)


@pytest.mark.parametrize(
    ("pdus", "answer"),
    [
        (pdu(9, b""), aborted(1)),
        (associate_rq(ECHO), aborted(2)),  # a second request
        (pdu(6, bytes(4)), aborted(2)),
        (pdu(4, b""), aborted(6)),
        (pdu(4, b"\0\0\0"), aborted(6)),
        (p_data(struct.pack(">IBB", 1, 3, 3)), aborted(6)),
        (p_data(struct.pack(">IBB", 500, 3, 3)), aborted(6)),
        (p_data(struct.pack(">IBB", 0xFFFFFFFF, 3, 3)), aborted(6)),
        (p_data(pdv(5, c_echo(), command=True, last=True)), aborted(2)),  # context never accepted
        (p_data(pdv(3, b"data", command=False, last=True)), aborted(2)),  # data without a command
        (p_data(COMMAND, COMMAND), aborted(2)),
        (p_data(COMMAND, pdv(1, c_echo(), command=True, last=True)), aborted(2)),
        (p_data(COMMAND, pdv(1, b"data", command=False, last=True)), aborted(2)),
        (p_data(pdv(3, b"\0", command=True, last=True)), aborted(6)),
        (p_data(pdv(3, b"\0\0\0\0UL\4\0\x42\0\0\0", command=True, last=True)), aborted(6)),
        (p_data(pdv(3, b"", command=True, last=True)), aborted(6)),
        (p_data(pdv(3, c_store(*sop_uids(), x0100=None), command=True, last=True)), aborted(6)),
        (p_data(pdv(3, c_store(*sop_uids(), x0800=None), command=True, last=True)), aborted(6)),
        (p_data(pdv(3, c_store(*sop_uids(), x0100=us(0x8001)), command=True, last=True)), aborted(2)),
        (b"".join(p_data(pdv(3, bytes(32000), command=True, last=False)) for _ in range(3)), aborted(6)),
        (ABORT, b""),
        (p_data(COMMAND) + ABORT, b""),  # abort during a store
        (p_data(COMMAND) + RELEASE_RQ, RELEASE_RP),  # D-15: a release is answered
        (p_data(COMMAND), aborted(0)),  # the data set never comes
        (p_data(COMMAND, pdv(3, data_set(), command=False, last=False)), aborted(0)),
    ],
)
def test_what_is_out_of_place_within_the_association_ends_it(site: Site, pdus: bytes, answer: bytes) -> None:
    with site.scu() as scu:
        scu.associate(ECHO, STORE)
        scu.send(pdus)
        assert scu.receive() == answer
    assert site.is_well()
    assert (site.archive.kept, site.archive.released) == ({}, [])


@pytest.mark.parametrize("told", [0, 1, 0xFFFFFFFF])
def test_wrong_group_length_of_a_command_is_not_believed(site: Site, told: int) -> None:
    command = c_echo(7)
    with site.scu() as scu:
        scu.associate(ECHO)
        wrong = command[:8] + struct.pack("<I", told) + command[12:]
        scu.send(p_data(pdv(1, wrong, command=True, last=True)))
        response = scu.response()
        assert (response.status, response.values[0x120]) == (0, us(7))
        assert scu.release() == RELEASE_RP


def test_message_id_may_be_used_again_once_it_is_answered(site: Site) -> None:  # D-17
    with site.scu() as scu:
        scu.associate(ECHO, STORE)
        assert [scu.echo(1).status, scu.echo(1).status] == [0, 0]
        assert [scu.store(3, c_store(*sop_uids(), 1), data_set()).status for _ in range(2)] == [0, 0]


def test_association_left_idle_is_aborted(open_site: object) -> None:  # D-14
    site = open_site(limits=Limits(idle_s=0.3, artim_s=0.3, pdu_s=0.3))  # type: ignore[operator]
    with site.scu() as scu:
        scu.associate(ECHO)
        assert scu.receive() == aborted(0)
    with site.scu() as scu:
        assert scu.receive() == aborted(0)
    _until(lambda: site.gateway.associations == 0)


@pytest.mark.parametrize("established", [False, True])
def test_connection_of_a_peer_that_aborts_is_closed_at_once(open_site: object, established: bool) -> None:  # D-15
    site = open_site(limits=Limits(artim_s=60))  # type: ignore[operator]
    with site.scu() as scu:  # which waits for ten seconds
        if established:
            scu.associate(ECHO)
        scu.send(ABORT)
        assert scu.ended()
    _until(lambda: site.gateway.associations == 0)


@pytest.mark.parametrize("start", [b"", associate_rq(ECHO)[:1], associate_rq(ECHO)[:40]])
def test_request_that_trickles_is_cut_by_the_timer(site: Site, start: bytes) -> None:
    rest = associate_rq(ECHO)[len(start) :]
    with site.scu() as scu:
        scu.send(start)
        began = time.monotonic()
        _trickle(scu, rest, 4.0)
        assert time.monotonic() - began < 3.0
    assert site.is_well()


def test_data_set_that_trickles_is_cut_by_the_timer(site: Site) -> None:
    with site.scu() as scu:
        scu.associate(STORE)
        scu.send(p_data(COMMAND))
        began = time.monotonic()
        _trickle(scu, p_data(pdv(3, data_set(), command=False, last=True)), 4.0)
        assert time.monotonic() - began < 3.0
    assert site.is_well()
    assert site.archive.kept == {}


def _trickle(scu: object, data: bytes, seconds: float) -> None:
    """Send a byte now and then until the peer has had enough."""
    deadline = time.monotonic() + seconds
    try:
        for position in range(len(data)):
            scu.send(data[position : position + 1])  # type: ignore[attr-defined]
            time.sleep(0.1)
            if time.monotonic() > deadline:
                return
    except OSError:
        return


def test_connections_that_ask_for_nothing_give_way_to_an_honest_peer(open_site: object) -> None:
    site = open_site(limits=Limits(max_pending=20, artim_s=20))  # type: ignore[operator]
    idle = [site.scu() for _ in range(60)]
    began = time.monotonic()
    assert site.is_well()
    assert time.monotonic() - began < 2.0
    assert idle[0].ended()
    for scu in idle:
        scu.socket.close()


@pytest.mark.slow
def test_thousand_trickling_connections_do_not_stop_an_honest_peer(open_site: object) -> None:
    site = open_site(limits=Limits(artim_s=30, pdu_s=30))  # type: ignore[operator]
    trickling = [site.scu() for _ in range(1000)]
    for scu in trickling:
        scu.send(associate_rq(ECHO)[:20])
    began = time.monotonic()
    assert site.is_well()
    assert time.monotonic() - began < 2.0
    for scu in trickling:
        scu.socket.close()
    _until(lambda: site.gateway.associations == 0, 30)


@pytest.mark.slow
def test_memory_is_flat_over_thousands_of_associations(site: Site) -> None:
    import resource

    def open_and_drop(times: int) -> int:
        for _ in range(times):
            with site.scu() as scu:
                scu.associate(ECHO)
        _until(lambda: site.gateway.associations == 0, 30)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    warm = open_and_drop(500)
    assert open_and_drop(5000) - warm < 16 * 1024


def test_connections_opened_and_dropped_leave_nothing(site: Site) -> None:
    for _ in range(200):
        with site.scu() as scu:
            scu.send(associate_rq(ECHO)[:30])
    _until(lambda: site.gateway.associations == 0)
    assert site.is_well()


def test_taken_port_is_one_clear_error(site: Site, open_site: object) -> None:
    with pytest.raises(ListenFailed, match=rf"^cannot listen on 127.0.0.1 port {site.port}: Address already in use$"):
        _gateway_on(site, reuse_port=False).start()


def test_two_gateways_may_share_a_port(open_site: object) -> None:
    site = open_site(reuse_port=True)  # type: ignore[operator]
    twin = _gateway_on(site, reuse_port=True)
    twin.start()
    assert [site.is_well() for _ in range(8)] == [True] * 8
    site.gateway.stop(1.0)
    assert site.gateway.associations == 0
    from tests.raw_scu import echo_status

    assert echo_status(twin.port) == 0
    twin.stop(1.0)


def _gateway_on(site: Site, *, reuse_port: bool) -> object:
    from pacs_gateway.ae import Gateway
    from pacs_gateway.ingest import Ingest

    return Gateway(
        ingest=Ingest(site.archive),
        aet="ROI",
        host="127.0.0.1",
        port=site.port,
        may_call=lambda *_: True,
        limits=SHORT,
        reuse_port=reuse_port,
    )


def test_stop_lets_a_store_end_and_cuts_the_idle(site: Site) -> None:
    from threading import Thread

    with site.scu() as idle, site.scu() as busy:
        idle.associate(ECHO)
        busy.associate(STORE)
        busy.send(p_data(COMMAND))
        time.sleep(0.1)
        stopping = Thread(target=site.gateway.stop, args=(3.0,))
        stopping.start()
        assert idle.receive() == aborted(0)
        assert idle.ended()
        busy.send(p_data(pdv(3, data_set(), command=False, last=True)))
        assert busy.response().status == 0
        assert busy.receive() == aborted(0)
        stopping.join()
    assert len(site.archive.kept) == 1
    with pytest.raises(ConnectionRefusedError):
        site.scu()


def _until(condition: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
