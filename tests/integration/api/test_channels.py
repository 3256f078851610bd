"""Events of workitems on real websockets: who hears what, in which order, and what a restart or a slow reader does.

W-66, W-67, W-68.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.dicomweb import channels
from storage.archive import Archive, utc_now
from storage.catalog import event_reports, jobs
from storage.catalog.jobs import ModelRef
from storage.database import Database
from storage.errors import CatalogueUnavailable
from storage.records import JobState, StudyUid
from storage.workitems.records import uid_of_job
from tests import builders
from tests.integration.api.worklist_site import Site, another, opened, read, serving, told, until, value
from tests.workitems import code, data_set, performed, state, workitem

UID, LOCK = "2.25.4711", "2.25.1001"
ALL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
S, P, D, C = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
ALONE = {"ScheduledStationNameCodeSequence": None}
"""A workitem for nobody in particular: no event tells of its assignment."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with opened(f"sqlite:///{tmp_path / 'catalogue.sqlite'}", tmp_path) as made:
        yield made


@pytest.fixture
def site(archive: Archive) -> Iterator[Site]:
    with serving(archive) as made:
        yield made


def create(site: Site, uid: str = UID, **changed: object) -> None:
    assert site.ask("POST", f"?{uid}", workitem(**{**ALONE, **changed}))[0] == 201


def nothing_waits(archive: Archive) -> bool:
    with archive.database.read() as tx:
        return not event_reports.waiting(tx)


def test_a_subscriber_hears_the_whole_life_of_a_workitem(site: Site) -> None:
    create(site)
    with site.channel("WATCHER") as channel:
        assert site.ask("POST", f"/{UID}/subscribers/WATCHER")[0] == 201
        first = read(channel)
        assert told(first) == (UID, 1, S)
        assert value(first, "InputReadinessState") == "READY"
        assert value(first, "AffectedSOPClassUID") == "1.2.840.10008.5.1.4.34.6.1"
        assert first["00000100"] == {"vr": "US", "Value": [256]}
        assert list(first) == sorted(first)
        site.ask("PUT", f"/{UID}/state", state(P, LOCK))
        assert told(read(channel)) == (UID, 1, P)
        progress = data_set(ProcedureStepProgressInformationSequence=[data_set(ProcedureStepProgress="50")])
        site.ask("POST", f"/{UID}?{LOCK}", progress)
        event = read(channel)
        assert told(event) == (UID, 3, None)
        assert value(value(event, "ProcedureStepProgressInformationSequence"), "ProcedureStepProgress") == "50"
        site.ask("POST", f"/{UID}?{LOCK}", data_set(InputReadinessState="INCOMPLETE"))
        assert value(read(channel), "InputReadinessState") == "INCOMPLETE"
        site.ask("POST", f"/{UID}?{LOCK}", data_set(ScheduledStationNameCodeSequence=[code("N2", "Second", "99X")]))
        event = read(channel)
        assert told(event) == (UID, 5, None)
        assert value(value(event, "ScheduledStationNameCodeSequence"), "CodeValue") == "N2"
        assert site.ask("POST", f"/{UID}/cancelrequest/ASKER", data_set(ReasonForCancellation="late"))[0] == 202
        event = read(channel)
        assert told(event) == (UID, 2, None)
        assert (value(event, "RequestingAE"), value(event, "ReasonForCancellation")) == ("ASKER", "late")
        site.ask("POST", f"/{UID}?{LOCK}", performed())
        site.ask("PUT", f"/{UID}/state", state(D, LOCK))
        assert told(read(channel)) == (UID, 1, D)


def test_events_carry_no_lock_and_no_patient(site: Site) -> None:
    create(site)
    site.ask("POST", f"/{UID}/subscribers/WATCHER")
    site.ask("PUT", f"/{UID}/state", state(P, LOCK))
    with site.channel("WATCHER") as channel:
        for _ in range(2):
            assert {tag for tag in read(channel) if tag > "00010000"} == {"00404041", "00741000"}


def test_a_request_to_cancel_what_nobody_claimed_tells_both_steps(site: Site) -> None:
    create(site)
    with site.channel("WATCHER") as channel:
        site.ask("POST", f"/{UID}/subscribers/WATCHER")
        site.ask("POST", f"/{UID}/cancelrequest", data_set(ReasonForCancellation="sent twice"))
        events = [read(channel) for _ in range(3)]
    assert [told(event) for event in events] == [(UID, 1, S), (UID, 1, P), (UID, 1, C)]
    assert value(events[-1], "ReasonForCancellation") == "sent twice"


def test_a_watcher_of_the_worklist_hears_of_each_new_workitem_and_whom_it_is_for(site: Site) -> None:
    site.ask("POST", f"/{ALL}/subscribers/WATCHER")
    with site.channel("WATCHER") as channel:
        site.ask("POST", f"?{UID}", workitem())
        assert told(read(channel)) == (UID, 1, S)
        assert told(read(channel)) == (UID, 5, None)


def test_a_lock_on_the_worklist_tells_of_what_is_there_already(site: Site) -> None:
    create(site, "2.25.1")
    create(site, "2.25.2")
    site.ask("POST", "/2.25.1/subscribers/WATCHER")
    with site.channel("WATCHER") as channel:
        assert told(read(channel)) == ("2.25.1", 1, S)
        site.ask("POST", f"/{ALL}/subscribers/WATCHER?deletionlock=true")
        assert told(read(channel)) == ("2.25.2", 1, S)  # of the first it heard before
        site.ask("PUT", "/2.25.1/state", state(P, LOCK))
        assert told(read(channel)) == ("2.25.1", 1, P)


def test_a_filter_lets_only_matching_workitems_through(site: Site) -> None:
    create(site, "2.25.1", WorklistLabel="A")
    create(site, "2.25.2", WorklistLabel="B")
    assert site.ask("POST", f"/{FILTERED}/subscribers/W?deletionlock=true&filter=WorklistLabel=A")[0] == 201
    create(site, "2.25.3", WorklistLabel="B")
    create(site, "2.25.4", WorklistLabel="A")
    site.ask("PUT", "/2.25.2/state", state(P, LOCK))
    site.ask("PUT", "/2.25.1/state", state(P, LOCK))
    with site.channel("W") as channel:
        assert [told(read(channel)) for _ in range(3)] == [("2.25.1", 1, S), ("2.25.4", 1, S), ("2.25.1", 1, P)]


def test_a_suspended_watcher_still_hears_of_what_it_knows(site: Site) -> None:
    site.ask("POST", f"/{ALL}/subscribers/WATCHER")
    create(site, "2.25.1")
    assert site.ask("POST", f"/{ALL}/subscribers/WATCHER/suspend")[0] == 200
    create(site, "2.25.2")
    site.ask("PUT", "/2.25.1/state", state(P, LOCK))
    with site.channel("WATCHER") as channel:
        assert [told(read(channel)) for _ in range(2)] == [("2.25.1", 1, S), ("2.25.1", 1, P)]


def test_whoever_unsubscribes_hears_nothing_that_still_waits(site: Site) -> None:
    create(site, "2.25.1")
    create(site, "2.25.2")
    for uid in ("2.25.1", "2.25.2"):
        site.ask("POST", f"/{uid}/subscribers/WATCHER")
    site.ask("DELETE", "/2.25.1/subscribers/WATCHER")
    with site.channel("WATCHER") as channel:
        assert told(read(channel)) == ("2.25.2", 1, S)
        site.ask("DELETE", f"/{ALL}/subscribers/WATCHER")
        site.ask("PUT", "/2.25.2/state", state(P, LOCK))
        with pytest.raises(TimeoutError):
            read(channel, timeout=1.5)


def test_events_wait_for_a_channel_and_are_sent_once(site: Site) -> None:
    create(site)
    site.ask("POST", f"/{UID}/subscribers/WATCHER")
    site.ask("PUT", f"/{UID}/state", state(P, LOCK))
    with site.channel("WATCHER") as channel:
        assert [told(read(channel)) for _ in range(2)] == [(UID, 1, S), (UID, 1, P)]
        until(lambda: nothing_waits(site.archive))
    with site.channel("WATCHER") as channel:
        site.ask("PUT", f"/{UID}/state", state(C, LOCK))
        assert told(read(channel)) == (UID, 1, C)


def test_two_channels_of_one_title_hear_both(site: Site) -> None:
    create(site)
    with site.channel("WATCHER") as one, site.channel("WATCHER") as other:
        site.ask("POST", f"/{UID}/subscribers/WATCHER")
        assert told(read(one)) == told(read(other)) == (UID, 1, S)


def test_another_process_sends_what_this_one_changed(site: Site, archive: Archive) -> None:
    create(site)
    with another(archive) as other, other.channel("WATCHER") as channel:
        site.ask("POST", f"/{UID}/subscribers/WATCHER")
        assert told(read(channel)) == (UID, 1, S)


def test_a_restarted_server_says_so_and_has_lost_nothing(archive: Archive) -> None:
    with serving(archive) as site:
        create(site)
        with site.channel("WATCHER") as channel:
            site.ask("POST", f"/{UID}/subscribers/WATCHER")
            read(channel)
            until(lambda: nothing_waits(archive))
    with serving(archive) as site:
        site.ask("PUT", f"/{UID}/state", state(P, LOCK))
        with site.channel("WATCHER") as channel:
            restarted = read(channel)
            assert told(restarted) == (ALL, 4, None)
            assert value(restarted, "SCPStatus") == "RESTARTED"
            assert value(restarted, "SubscriptionListStatus") == "WARM START"
            assert told(read(channel)) == (UID, 1, P)


# ------------------------------------------------------------------------------------------------------- triage jobs
LEASE = timedelta(seconds=30)
MODEL = ModelRef(id="m", version="1", digest="a" * 64)


def make_job(database: Database, study: str) -> str:
    with database.write() as tx:
        (job,) = jobs.create(tx, StudyUid(study), 1, [MODEL], due_at=utc_now(), now=utc_now())
    return uid_of_job(job)


def test_a_watcher_of_the_worklist_hears_of_triage_jobs_step_by_step(site: Site, archive: Archive) -> None:
    builders.keep(archive, builders.header())
    site.ask("POST", f"/{ALL}/subscribers/WATCHER")
    with site.channel("WATCHER") as channel:
        uid = make_job(archive.database, "2.25.1")
        assert told(read(channel)) == (uid, 1, S)
        event = read(channel)
        assert told(event) == (uid, 5, None)
        assert value(value(event, "ScheduledStationNameCodeSequence"), "CodeMeaning") == f"{MODEL.id} {MODEL.version}"
        with archive.database.write() as tx:
            job = jobs.claim(tx, owner="w", lease=LEASE, now=utc_now())
            assert job is not None
        assert told(read(channel)) == (uid, 1, P)
        with archive.database.write() as tx:
            jobs.end(tx, job.id, owner="w", state=JobState.FAILED, reason="timeout", now=utc_now())
        event = read(channel)
        assert told(event) == (uid, 1, C)
        assert value(event, "ReasonForCancellation") == "timeout"


def test_steps_of_a_job_that_nobody_listened_to_are_told_later(site: Site, archive: Archive) -> None:
    builders.keep(archive, builders.header())
    site.ask("POST", f"/{ALL}/subscribers/WATCHER")
    uid = make_job(archive.database, "2.25.1")
    with archive.database.write() as tx:
        job = jobs.claim(tx, owner="w", lease=LEASE, now=utc_now())
        assert job is not None
        jobs.end(tx, job.id, owner="w", state=JobState.DONE, reason=None, now=utc_now())
    with site.channel("WATCHER") as channel:
        steps = [(uid, 1, S), (uid, 5, None), (uid, 1, P), (uid, 1, D)]
        assert [told(read(channel)) for _ in steps] == steps


def test_two_processes_tell_a_jobs_step_once(site: Site, archive: Archive) -> None:
    builders.keep(archive, builders.header())
    uid = make_job(archive.database, "2.25.1")
    with another(archive) as other, site.channel("WATCHER") as one, other.channel("WATCHER") as two:
        site.ask("POST", f"/{uid}/subscribers/WATCHER")
        assert told(read(one)) == told(read(two)) == (uid, 1, S)
        with archive.database.write() as tx:
            jobs.claim(tx, owner="w", lease=LEASE, now=utc_now())
        assert told(read(one)) == told(read(two)) == (uid, 1, P)
        for channel in (one, two):
            with pytest.raises(TimeoutError):
                read(channel, timeout=1.5)


# ------------------------------------------------------------------------------------------------------ the handshake
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
def test_another_sites_page_opens_no_channel(site: Site, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, site.channel("WATCHER", origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_our_own_page_and_an_allowed_site_may(archive: Archive) -> None:
    with serving(archive, cors_origins=frozenset({"https://viewer.example"})) as site:
        for origin in (f"http://127.0.0.1:{site.port}", "http://127.0.0.1", "https://viewer.example", None):
            with site.channel("WATCHER", origin=origin):
                pass


def test_a_foreign_host_opens_no_channel(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as raw:
        raw.sendall(
            b"GET /dicom-web/subscribers/A HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 421")


def test_what_is_no_ae_title_opens_no_channel(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused, site.channel("A" * 17):
        pass
    assert refused.value.response.status_code == 400
    assert b"AE title" in (refused.value.response.body or b"")


def test_no_more_channels_open_than_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_OPEN", 1)
    with site.channel("A"):
        with pytest.raises(InvalidStatus) as refused, site.channel("B"):
            pass
        assert refused.value.response.status_code == 503
    until(lambda: site.channels.open == 0)
    with site.channel("B"):
        pass


def test_what_a_subscriber_says_is_not_looked_at_and_much_of_it_ends_the_channel(site: Site) -> None:
    create(site)
    with site.channel("WATCHER") as channel:
        channel.send("hello")
        channel.send(b"\0" * 100)
        site.ask("POST", f"/{UID}/subscribers/WATCHER")
        assert told(read(channel)) == (UID, 1, S)
        channel.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            read(channel)


def test_a_channel_is_refused_while_the_catalogue_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise CatalogueUnavailable("host db.internal refused")

    monkeypatch.setattr(site.archive.database, "write", away)
    with pytest.raises(InvalidStatus) as refused, site.channel("WATCHER"):
        pass
    assert refused.value.response.status_code == 503
    assert b"db.internal" not in (refused.value.response.body or b"")


# -------------------------------------------------------------------------------------------------------- slow and lost
SERVER = """
import sys
import time
from pathlib import Path
from api.dicomweb.channels import _Channel
from tests.integration.api.worklist_site import opened, serving

note = _Channel._note

def hang(channel):
    if sys.argv[2] == "after its note":
        note(channel)
    time.sleep(3600)

if sys.argv[2] != "as usual":
    _Channel._note = hang
folder = Path(sys.argv[1])
with opened(f"sqlite:///{folder / 'catalogue.sqlite'}", folder) as archive, serving(archive) as site:
    print(site.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def in_a_process(folder: Path, manner: str) -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    command = [sys.executable, "-c", SERVER, str(folder), manner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Site(None, int(process.stdout.readline()), None), process  # type: ignore[arg-type]
        finally:
            process.kill()


@pytest.mark.parametrize(("hangs", "again"), [("before its note", [(UID, 1, S)]), ("after its note", [])])
def test_a_process_that_is_killed_between_change_and_event_loses_none(
    tmp_path: Path, hangs: str, again: list[tuple[str, int, str]]
) -> None:
    """What was sent is sent again where nobody had noted that; what was not sent yet comes in any case."""
    with in_a_process(tmp_path, hangs) as (site, process):
        create(site)
        site.ask("POST", f"/{UID}/subscribers/WATCHER")
        with site.channel("WATCHER") as channel:
            assert told(read(channel)) == (UID, 1, S)
            if not again:
                with opened(f"sqlite:///{tmp_path / 'catalogue.sqlite'}", tmp_path) as beside:
                    until(lambda: nothing_waits(beside))
            assert site.ask("PUT", f"/{UID}/state", state(P, LOCK))[0] == 200
            process.kill()
            with pytest.raises(ConnectionClosed):
                read(channel)
    with in_a_process(tmp_path, "as usual") as (site, _), site.channel("WATCHER") as channel:
        heard = [told(read(channel)) for _ in range(2 + len(again))]
    assert heard == [(ALL, 4, None), *again, (UID, 1, P)]


def test_of_many_performers_one_claims_a_workitem(site: Site) -> None:
    create(site)
    site.ask("POST", f"/{UID}/subscribers/WATCHER")
    with ThreadPoolExecutor(50) as pool:
        locks = [f"2.25.{number}" for number in range(1, 51)]
        answers = list(pool.map(lambda lock: site.ask("PUT", f"/{UID}/state", state(P, lock))[0], locks))
    assert sorted(answers) == [200] + [409] * 49
    (winner,) = [lock for lock, status in zip(locks, answers, strict=True) if status == 200]
    assert site.ask("PUT", f"/{UID}/state", state(C, winner))[0] == 200
    with site.channel("WATCHER") as channel:
        assert [told(read(channel)) for _ in range(3)] == [(UID, 1, S), (UID, 1, P), (UID, 1, C)]


def test_events_of_many_at_once_come_each_once_and_in_order(site: Site) -> None:
    site.ask("POST", f"/{ALL}/subscribers/WATCHER")
    uids = [f"2.25.{number}" for number in range(1, 31)]

    def live(uid: str) -> None:
        create(site, uid)
        site.ask("PUT", f"/{uid}/state", state(P, LOCK))
        site.ask("PUT", f"/{uid}/state", state(C, LOCK))

    with site.channel("WATCHER") as channel, ThreadPoolExecutor(8) as pool:
        list(pool.map(live, uids))
        heard = [told(read(channel)) for _ in range(3 * len(uids))]
    assert {uid: [state for of, _, state in heard if of == uid] for uid in uids} == {uid: [S, P, C] for uid in uids}


def test_a_reader_that_reads_nothing_is_cut_and_hears_the_rest_later(
    site: Site, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SEND_S", 0.5)
    create(site)
    site.ask("POST", f"/{UID}/subscribers/SLOW")
    site.ask("PUT", f"/{UID}/state", state(P, LOCK))
    long = "x" * 100_000
    for number in range(60):
        step = data_set(ProcedureStepProgress=str(number), ProcedureStepProgressDescription=long)
        assert site.ask("POST", f"/{UID}?{LOCK}", data_set(ProcedureStepProgressInformationSequence=[step]))[0] == 200
    with socket.create_connection(("127.0.0.1", site.port)) as raw:
        raw.sendall(
            b"GET /dicom-web/subscribers/SLOW HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        until(lambda: site.channels.open == 1)
        until(lambda: site.channels.open == 0)
    heard = []
    with site.channel("SLOW", max_size=None) as channel:
        while not heard or heard[-1] != "59":
            event = read(channel)
            progress = value(event, "ProcedureStepProgressInformationSequence")
            heard.append(value(progress, "ProcedureStepProgress") if progress else None)
    assert heard[-5:] == ["55", "56", "57", "58", "59"]
