"""The sender against our gateway and against a peer that is not ours (PS3.4 Annex B)."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from pacs_gateway.errors import SendFailed
from pacs_gateway.part10 import MAX_META_BYTES, read_meta, write_meta
from pacs_gateway.scu import NotSent, Progress, SendReport, send
from pacs_gateway.sop_classes import STORAGE
from storage.records import Origin
from tests.integration.pacs_gateway.conftest import Site
from tests.servers.dcmtk import NO_DELAY, dcmtk
from tests.servers.process import free_port
from tests.unit.pacs_gateway.datasets import data_set

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""pynetdicom leaves its socket open where an association is refused or lost."""

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


def _write(path: Path, uid: str, sop_class: str = CT, syntax: str = EXPLICIT, study: str = "1.2.3") -> bytes:
    """Write a file and return its data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sent = data_set(
        {"SOPInstanceUID": uid.encode(), "SOPClassUID": sop_class.encode(), "StudyInstanceUID": study.encode()}
    )
    path.write_bytes(write_meta(syntax, sop_class, uid, Origin(via="self")) + sent)
    return sent


def test_files_arrive_as_they_are_and_the_rest_is_named_with_its_reason(site: Site, tmp_path: Path) -> None:
    sent = {f"1.5.{number}": _write(tmp_path / f"in/a/{number}.dcm", f"1.5.{number}") for number in range(5)}
    (tmp_path / "in/a/notes.txt").write_text("no DICOM")
    _write(tmp_path / "in/b/refused.dcm", "1.6")
    (tmp_path / "in/b/refused.dcm").write_bytes(
        (tmp_path / "in/b/refused.dcm").read_bytes().replace(b"1.2.3.4\0", b"1..3.4\0\0")
    )
    _write(tmp_path / "in/b/unknown.dcm", "1.7", sop_class="1.2.3")
    progress: list[Progress] = []
    report = send([tmp_path / "in"], "127.0.0.1", site.port, on_progress=progress.append)
    assert report == SendReport(
        sent=5,
        sent_bytes=sum((tmp_path / f"in/a/{number}.dcm").stat().st_size for number in range(5)),
        skipped=0,
        not_sent=(
            NotSent(path=tmp_path / "in/a/notes.txt", reason="no DICM prefix after a preamble of 128 bytes"),
            NotSent(path=tmp_path / "in/b/refused.dcm", reason="peer answered status C000", status=0xC000),
            NotSent(
                path=tmp_path / "in/b/unknown.dcm",
                reason=f"peer takes no SOP class 1.2.3 in transfer syntax {EXPLICIT}",
            ),
        ),
    )
    assert {uid: site.archive.data_set(uid) for uid in site.archive.kept} == sent
    assert [step.done for step in progress] == list(range(1, 9))
    assert progress[-1] == Progress(done=8, total=8, sent_bytes=report.sent_bytes)
    assert site.archive.released == [frozenset({"1.2.3"})]


def test_folders_are_dealt_out_and_kept_together(site: Site, tmp_path: Path) -> None:
    for study in range(4):
        for number in range(3):
            _write(tmp_path / f"study{study}/{number}", f"1.5.{study}.{number}", study=f"1.4.{study}")
    report = send([tmp_path], "127.0.0.1", site.port, associations=2)
    assert (report.sent, report.not_sent, len(site.archive.kept)) == (12, (), 12)
    # One association each; pynetdicom now and then loses an answer, and what it had begun then ends in another one.
    dealt = {"1.4.0", "1.4.2"}, {"1.4.1", "1.4.3"}
    assert len(site.archive.released) == 2
    assert all(any(studies <= hand for hand in dealt) for studies in site.archive.released)


def test_transfer_that_was_cut_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    for number in range(3):
        _write(tmp_path / f"in/{number}", f"1.5.{number}")
    state = tmp_path / "state"
    assert send([tmp_path / "in/0"], "127.0.0.1", site.port, state=state).sent == 1
    assert send([tmp_path / "in"], "127.0.0.1", site.port, state=state) == SendReport(
        sent=2, sent_bytes=sum((tmp_path / f"in/{n}").stat().st_size for n in (1, 2)), skipped=1, not_sent=()
    )
    _write(tmp_path / "in/1", "1.5.77")
    assert send([tmp_path / "in"], "127.0.0.1", site.port, state=state).sent == 1
    assert send([tmp_path / "in"], "127.0.0.1", site.port, state=state).skipped == 3


def test_more_contexts_than_an_association_has_take_another(site: Site, tmp_path: Path) -> None:
    for number, sop_class in enumerate(sorted(STORAGE)[:150]):
        _write(tmp_path / f"{number:03}", f"1.5.{number}", sop_class=sop_class)
    report = send([tmp_path], "127.0.0.1", site.port)
    assert (report.sent, report.not_sent) == (150, ())
    assert len(site.archive.released) == 2


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        ({"called_aet": "OTHER"}, "OTHER at 127.0.0.1 port {} takes no association from ROI_SEND: called AE title"),
        ({"calling_aet": "SPY"}, "ROI at 127.0.0.1 port {} takes no association from SPY: calling AE title"),
    ],
)
def test_peer_that_rejects_is_one_clear_error(
    open_site: object, tmp_path: Path, titles: dict[str, str], message: str
) -> None:
    site = open_site(may_call=lambda aet, _: aet == "ROI_SEND")  # type: ignore[operator]
    _write(tmp_path / "a", "1.5")
    for _ in range(20):  # the connection closes right behind the answer: pynetdicom may see that first
        with pytest.raises(SendFailed, match=message.format(site.port)):
            send([tmp_path], "127.0.0.1", site.port, **titles)


def test_nobody_there_is_one_clear_error(tmp_path: Path) -> None:
    _write(tmp_path / "a", "1.5")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SendFailed, match=f"^ROI at 127.0.0.1 port {port} cannot be reached"):
        send([tmp_path], "127.0.0.1", port)


def test_peer_that_goes_away_leaves_the_rest_not_sent(site: Site, tmp_path: Path) -> None:
    for number in range(3):
        _write(tmp_path / f"{number}", f"1.5.{number}")

    def stop(_: Progress) -> None:
        site.gateway.stop(0.1)

    report = send([tmp_path], "127.0.0.1", site.port, on_progress=stop)
    assert (report.sent, len(report.not_sent)) == (1, 2)


def test_an_association_that_is_lost_is_followed_by_another(site: Site, tmp_path: Path) -> None:
    for number in range(6):
        _write(tmp_path / f"{number}", f"1.5.{number}")

    def cut(progress: Progress) -> None:
        if progress.done == 2:
            for association in site.gateway._hall.present():
                association.interrupt(at_once=True)

    report = send([tmp_path], "127.0.0.1", site.port, on_progress=cut)
    assert (report.sent, report.not_sent) == (6, ())


def test_nothing_to_send_is_no_error(tmp_path: Path) -> None:
    assert send([tmp_path], "127.0.0.1", 1) == SendReport(sent=0, sent_bytes=0, skipped=0, not_sent=())


def test_real_files_arrive_bit_for_bit(site: Site, shared_data: Path) -> None:
    folder = shared_data / "dicom" / "transfer_syntax"
    report = send([folder], "127.0.0.1", site.port)
    refused = {item.path for item in report.not_sent}
    contents = [path.read_bytes() for path in folder.iterdir() if path not in refused]
    expected = {hashlib.sha256(c[read_meta(c[:MAX_META_BYTES]).length :]).hexdigest() for c in contents}
    assert {arrival.key for arrival, _ in site.archive.kept.values()} == expected
    assert len(expected) == 30
    assert {item.status for item in report.not_sent} == {None, 0x0111, 0xC000}


@pytest.mark.servers
def test_foreign_peer_takes_what_is_sent(tmp_path: Path) -> None:
    for number in range(60):
        _write(tmp_path / f"in/{number:02}", f"1.5.{number}")
    received = tmp_path / "out"
    received.mkdir()
    port = free_port()
    command = [dcmtk("storescp"), "+B", "+xa", "-aet", "PEER", "-od", received, str(port)]
    with subprocess.Popen(command, env={**os.environ, **NO_DELAY}) as peer:
        try:
            _wait_for(port)
            report = send([tmp_path / "in"], "127.0.0.1", port, called_aet="PEER")
        finally:
            peer.terminate()
    assert (report.sent, report.not_sent) == (60, ())
    sent = {hashlib.sha256(data).digest() for data in map(_data_set, (tmp_path / "in").iterdir())}
    assert {hashlib.sha256(data).digest() for data in map(_data_set, received.iterdir())} == sent


def _data_set(path: Path) -> bytes:
    content = path.read_bytes()
    return content[read_meta(content[:MAX_META_BYTES]).length :]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
