"""Final workitems go in time, unless somebody locks them; events that nobody came for go too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from storage.archive import Archive
from storage.catalog import event_reports, subscriptions, workitems
from storage.errors import CatalogueUnknown
from storage.search import Match
from storage.workitems import worklist
from storage.workitems.errors import WorkitemExists, WorkitemGone
from storage.workitems.records import WORKLIST_UID, WorkitemUid
from storage.workitems.states import WorkitemState
from tests.builders import START
from tests.builders import archive as make_archive
from tests.workitems import workitem

UID, LOCK = WorkitemUid("2.25.1"), "2.25.1001"
KEPT = timedelta(days=30)
LATER = START + KEPT + timedelta(seconds=1)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = make_archive(tmp_path)
    yield made
    made.close()


def end(archive: Archive, uid: WorkitemUid = UID) -> None:
    with archive.database.write() as tx:
        worklist.create(tx, uid, workitem(), now=START)
        worklist.change_state(tx, uid, WorkitemState.IN_PROGRESS, transaction=LOCK, now=START)
        worklist.change_state(tx, uid, WorkitemState.CANCELED, transaction=LOCK, now=START)


def test_a_final_workitem_goes_when_its_time_is_over_and_its_uid_is_remembered(archive: Archive) -> None:
    end(archive)
    with archive.database.write() as tx:
        assert worklist.tidy(tx, kept=KEPT, now=START + KEPT) == 0
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 1
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 0
        with pytest.raises(WorkitemGone):
            workitems.find(tx, UID)
        with pytest.raises(WorkitemExists):
            worklist.create(tx, UID, workitem(), now=LATER)
        assert workitems.count_matches(tx, [Match(keyword="PatientID", value="P1")]) == 0


def test_after_a_year_nothing_is_known_of_it(archive: Archive) -> None:
    end(archive)
    with archive.database.write() as tx:
        worklist.tidy(tx, kept=KEPT, now=LATER)
        worklist.tidy(tx, kept=KEPT, now=LATER + worklist.KEPT_UIDS + timedelta(seconds=1))
        with pytest.raises(CatalogueUnknown):
            workitems.find(tx, UID)
        worklist.create(tx, UID, workitem(), now=LATER)


def test_a_deletion_lock_holds_a_workitem_until_it_is_taken_away(archive: Archive) -> None:
    end(archive)
    with archive.database.write() as tx:
        assert worklist.subscribe(tx, UID, "WATCHER", deletion_lock=True, now=START)
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 0
        worklist.subscribe(tx, UID, "WATCHER", deletion_lock=False, now=LATER)
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 1
        assert subscriptions.of_workitem(tx, UID) == []


def test_a_lock_on_the_worklist_holds_each_workitem(archive: Archive) -> None:
    with archive.database.write() as tx:
        worklist.subscribe_to_worklist(tx, WORKLIST_UID, "WATCHER", (), deletion_lock=True, now=START)
    end(archive)
    with archive.database.write() as tx:
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 0
        worklist.unsubscribe(tx, WORKLIST_UID, "WATCHER")
        assert worklist.tidy(tx, kept=KEPT, now=LATER) == 1


def test_what_is_not_final_stays_however_old(archive: Archive) -> None:
    with archive.database.write() as tx:
        worklist.create(tx, UID, workitem(), now=START)
        assert worklist.tidy(tx, kept=KEPT, now=LATER + timedelta(days=3650)) == 0


def test_events_that_nobody_came_for_go_after_a_week(archive: Archive) -> None:
    end(archive)
    with archive.database.write() as tx:
        worklist.subscribe(tx, UID, "WATCHER", deletion_lock=False, now=START)
        worklist.tidy(tx, kept=KEPT, now=START + worklist.KEPT_EVENTS)
        assert len(event_reports.after(tx, "WATCHER", 0, limit=10)) == 1
        worklist.tidy(tx, kept=KEPT, now=START + worklist.KEPT_EVENTS + timedelta(seconds=1))
        assert event_reports.after(tx, "WATCHER", 0, limit=10) == []


def test_events_that_were_sent_go_soon(archive: Archive) -> None:
    end(archive)
    with archive.database.write() as tx:
        worklist.subscribe(tx, UID, "WATCHER", deletion_lock=False, now=START)
        worklist.subscribe(tx, UID, "OTHER", deletion_lock=False, now=START)
        event_reports.open_channel(tx, "WATCHER", now=START)
        (sent,) = event_reports.after(tx, "WATCHER", 0, limit=10)
        event_reports.note_delivered(tx, "WATCHER", sent.seq)
        worklist.tidy(tx, kept=KEPT, now=START + worklist.KEPT_SENT_EVENTS + timedelta(seconds=1))
        assert event_reports.after(tx, "WATCHER", 0, limit=10) == []
        assert len(event_reports.after(tx, "OTHER", 0, limit=10)) == 1


def test_no_more_events_wait_for_a_title_than_may(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worklist, "MAX_WAITING", 3)
    end(archive)
    with archive.database.write() as tx:
        for _ in range(5):
            worklist.subscribe(tx, UID, "WATCHER", deletion_lock=False, now=START)
        everything = event_reports.after(tx, "WATCHER", 0, limit=10)
        worklist.tidy(tx, kept=KEPT, now=START)
        assert event_reports.after(tx, "WATCHER", 0, limit=10) == everything[-3:]
