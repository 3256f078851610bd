"""What is hidden is kept, found by nobody, and comes back whole; what is sent again stays hidden."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inference import completion, priority
from pacs_gateway.ingest import Ingest
from pacs_gateway.reread import read_object
from storage import decisions, hiding, schema, search
from storage.archive import Archive
from storage.catalog import changes, hidden, jobs, landings, quarantine, results, studies, worklist
from storage.catalog.deletions import Target
from storage.errors import CatalogueGone, CatalogueUnknown
from storage.hiding import Word
from storage.records import (
    Coverage,
    InstanceUid,
    JobState,
    Origin,
    Outcome,
    Rejection,
    SeriesUid,
    StudyState,
    StudyUid,
    TriageResult,
    Verdict,
)
from storage.removal import remove
from storage.scrub import Manner, scrub
from storage.search import Level, Match
from storage.verify import verify
from tests import landed
from tests.builders import Clock, archive, card, ct_slice, part10

STUDY = StudyUid("2.25.1")
FIRST, SECOND = InstanceUid("2.25.1.1.1"), InstanceUid("2.25.1.1.2")
_FROM = Origin(via="dimse", calling_aet="CT1", called_aet="ROI", address="10.0.0.5")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[Archive]:
    made = archive(tmp_path, clock)
    yield made
    made.close()


def take(into: Archive, number: int = 1, **attributes: Any) -> Verdict:
    """Take in slice `number`, one second after the last."""
    clock: Any = into._clock
    clock.go(1)
    return Ingest(into, clock=clock).part10(io.BytesIO(part10(ct_slice(number, **attributes))), _FROM)[0]


def hide(kept: Archive, *, code: Rejection | None = None, **target: Any) -> hiding.OutOfSight:
    word = Word(actor="anna", reason="wrong side", code=code)
    return hiding.hide(kept, Target(**{"study": STUDY, **target}), word, read_object, clock=kept._clock)


def restore(kept: Archive, **target: Any) -> hiding.Restored:
    told = {"actor": "binh", "reason": "was right", "clock": kept._clock}
    return hiding.restore(kept, Target(**{"study": STUDY, **target}), read_object, **told)


def complete(kept: Archive, clock: Clock) -> list[Any]:
    clock.go(60)
    return completion.close_quiet(kept.database, [card(slices=1)], now=clock.now, seen={})


def in_sight(kept: Archive) -> list[str]:
    with kept.database.read() as tx:
        return [each.sop_instance_uid for each in studies.instances_of(tx, STUDY)]


def kinds(kept: Archive, after: int = 0) -> list[str]:
    with kept.database.read() as tx:
        return [change.kind for change in changes.since(tx, after)]


# ---------------------------------------------------------------------------------------------------- out of sight
def test_a_hidden_instance_is_kept_and_counted_no_more(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    take(kept, 2)
    complete(kept, clock)
    hide(kept, instance=FIRST)
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
        (series,) = studies.series_of(tx, [STUDY])[STUDY]
        (row,) = hidden.listed(tx)
        (line,) = tx.execute(sa.select(schema.audit)).all()
        assert landings.in_store(tx, [row.object_key]) == {row.object_key}  # type: ignore[list-item]
    assert in_sight(kept) == [SECOND]
    assert (study.instance_count, series.instance_count) == (1, 1)
    assert (study.state, study.revision) == (StudyState.RECEIVING, 2)
    assert (row.sop_instance_uid, row.hidden_by, row.hidden_why, row.code) == (FIRST, "anna", "wrong side", "")
    assert (line.actor, line.action, line.subject) == ("anna", "hidden", FIRST)
    assert kinds(kept)[-2:] == ["instance-hidden", "study-reopened"]
    assert verify(kept).clean


@pytest.mark.parametrize("by_name", [False, True])
def test_pages_far_in_count_no_study_of_which_all_is_hidden(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    for number in range(6):
        fields = {"StudyInstanceUID": f"2.25.{number}", "StudyDate": f"2026010{number % 3 + 1}"}
        take(kept, 1, SOPInstanceUID=f"2.25.{number}.1", PatientName=f"NGUYEN^{9 - number}", **fields)
    for number in (1, 4):
        hide(kept, study=StudyUid(f"2.25.{number}"))
    keys = [] if by_name else [Match(keyword="StudyDate", value="20260101-20260102")]
    with kept.database.read() as tx:
        near = search.study_rows(tx, keys, limit=9, by_name=by_name)
        monkeypatch.setattr(search, "_SHORT", -1)
        far = [search.study_rows(tx, keys, limit=2, offset=offset, by_name=by_name) for offset in (0, 2, 4)]
    assert [row for page in far for row in page] == near
    assert len(near) == (4 if by_name else 2)


def test_a_study_of_which_all_is_hidden_is_nowhere(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    take(kept, 2)
    hide(kept, series=SeriesUid("2.25.1.1"))
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
        with pytest.raises(CatalogueUnknown):
            studies.get(tx, STUDY)
        assert search.studies(tx, [], limit=9) == []
        assert search.count(tx, [], Level.STUDY) == 0
        assert search.studies(tx, [Match(keyword="PatientID", value="P1")], limit=9) == []
        assert worklist.page(tx, targets=priority.TARGETS, limit=9) == []
        assert worklist.count(tx) == 0
        assert studies.receiving(tx, now=clock.now) == []
        assert not studies.anything_receiving(tx)
    assert complete(kept, clock) == []
    assert verify(kept).clean
    with pytest.raises(CatalogueUnknown):
        hide(kept)


def test_what_came_first_tells_nothing_of_the_study_once_it_is_hidden(kept: Archive) -> None:
    take(kept, 1, PatientID="WRONG", PatientName="Wrong^Patient", AccessionNumber="A9")
    take(kept, 2)
    hide(kept, instance=FIRST)
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    assert (study.patient_id, study.patient_name, study.accession_number) == ("P1", "Nguyen^Van", None)
    hide(kept)
    take(kept, 3, PatientID="P3", PatientName="Third")
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    assert (study.patient_id, study.patient_name, study.identity_conflict) == ("P3", "Third", False)


@pytest.mark.parametrize("everything", [True, False])
def test_results_on_what_is_hidden_hold_no_longer(kept: Archive, clock: Clock, *, everything: bool) -> None:
    take(kept, 1)
    take(kept, 2, Modality="OT", SeriesInstanceUID="2.25.1.2")
    (job,) = complete(kept, clock)
    flagged = TriageResult(outcome=Outcome.FLAGGED, urgency="critical", raises=True)
    with kept.database.write() as tx:
        claimed = jobs.claim(tx, owner="w", lease=timedelta(minutes=1), now=clock.now)
        assert claimed is not None
        jobs.end(tx, job, owner="w", state=JobState.DONE, reason=None, now=clock.now)
        results.add(tx, claimed, flagged, now=clock.now)
        priority.refresh(tx, STUDY, now=clock.now, cause="result")
        studies.settle(tx, STUDY, now=clock.now)
    if everything:
        hide(kept)
        restore(kept)
    else:
        hide(kept, series=SeriesUid("2.25.1.1"))
    with kept.database.read() as tx:
        entry = worklist.entry(tx, STUDY)
    assert [(line.model_id, line.coverage) for line in entry.coverage] == [("", Coverage.WAITING)]
    assert [result.superseded_by for result in entry.results] == [2]
    assert len(complete(kept, clock)) == int(everything)
    with kept.database.read() as tx:
        entry = worklist.entry(tx, STUDY)
    assert [line.coverage for line in entry.coverage] == [Coverage.WAITING if everything else Coverage.NO_MODEL_APPLIES]
    assert (entry.study.ai_urgency, entry.study.revision) == (None, 2)


def test_a_run_under_way_on_what_is_hidden_ends_in_nothing(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    (job,) = complete(kept, clock)
    with kept.database.write() as tx:
        jobs.claim(tx, owner="w", lease=timedelta(minutes=1), now=clock.now)
    hide(kept)
    with kept.database.write() as tx:
        assert not jobs.heartbeat(tx, job, owner="w", lease=timedelta(minutes=1), now=clock.now)
        assert not jobs.end(tx, job, owner="w", state=JobState.DONE, reason=None, now=clock.now)


def test_an_instance_that_arrives_meanwhile_is_hidden_too(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    take(kept, 1)
    put = hiding.tombstones.put

    def put_late(*told: Any) -> Any:
        take(kept, 2)
        return put(*told)

    monkeypatch.setattr("storage.tombstones.put", put_late)
    assert hide(kept).instances == 2
    assert in_sight(kept) == []
    assert verify(kept).clean  # no tombstone but the one that holds


# -------------------------------------------------------------------------------------------------------- sent again
def test_what_is_hidden_stays_so_when_it_is_sent_again(kept: Archive) -> None:
    take(kept, 1)
    hide(kept, code=Rejection.PATIENT_SAFETY)
    assert take(kept, 1) is Verdict.HIDDEN
    assert in_sight(kept) == []
    assert take(kept, 2) is Verdict.STORED
    assert in_sight(kept) == [SECOND]
    assert verify(kept).clean


def test_another_copy_of_what_is_hidden_is_judged_as_of_what_is_kept(kept: Archive) -> None:
    take(kept, 1)
    hide(kept)
    assert take(kept, 1, value_hu=70.0) is Verdict.CONFLICT
    assert take(kept, 1, StudyInstanceUID="2.25.5") is Verdict.CONFLICT
    again = ct_slice(1)
    again.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    assert Ingest(kept).part10(io.BytesIO(part10(again)), _FROM)[0] is Verdict.OTHER_SYNTAX
    assert in_sight(kept) == []
    with kept.database.read() as tx:
        copy, _ = quarantine.listed(tx, waiting=True)
    with pytest.raises(decisions.KeptIsHidden):
        decisions.release(kept, copy.id, read_object, actor="anna", reason="test")
    restore(kept)
    decisions.release(kept, copy.id, read_object, actor="anna", reason="test")


def test_what_is_hidden_because_its_retention_expired_comes_back_when_it_is_sent_again(kept: Archive) -> None:
    take(kept, 1)
    hide(kept, code=Rejection.RETENTION_EXPIRED)
    assert take(kept, 1) is Verdict.STORED
    assert in_sight(kept) == [FIRST]
    with kept.database.read() as tx:
        assert hidden.count(tx) == 0
    assert verify(kept).clean


def test_what_is_hidden_as_it_comes_reaches_the_object_store_from_a_landing_zone(tmp_path: Path) -> None:
    store = landed.MoodyStore()
    kept = landed.landed_archive(tmp_path, store)
    try:
        take(kept, 1)
        hide(kept, code=Rejection.QUALITY)
        landed.upload(kept)
        remove(kept, Target(study=STUDY), reason="test", actor="anna", clock=kept._clock)
        assert take(kept, 1) is Verdict.HIDDEN
        landed.upload(kept)
        with kept.database.read() as tx:
            (row,) = hidden.listed(tx)
            assert landings.pending(tx) == frozenset()
        assert row.object_key in set(store.keys())
        assert verify(kept).clean
    finally:
        landed.close_all()


# ---------------------------------------------------------------------------------------------------------- and back
def test_what_is_restored_is_as_it_was_and_judged_anew(kept: Archive, clock: Clock) -> None:
    for number in (1, 2):
        take(kept, number)
    complete(kept, clock)

    def rows() -> list[Any]:
        left_out = {"id", "series_pk", "revision"}
        with kept.database.read() as tx:
            found = tx.execute(sa.select(schema.instances).order_by(schema.instances.c.sop_instance_uid)).all()
        return [{name: value for name, value in row._mapping.items() if name not in left_out} for row in found]

    before = rows()
    with kept.database.read() as tx:
        study_before = studies.get(tx, STUDY)
    hide(kept)
    clock.go(100)
    assert restore(kept).instances == 2
    assert rows() == before
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
        assert hidden.count(tx) == 0
    facts = (
        "patient_id",
        "patient_name",
        "modalities",
        "instance_count",
        "ready_at",
        "received_first",
        "received_last",
    )
    assert [getattr(study, name) for name in facts] == [getattr(study_before, name) for name in facts]
    assert len(complete(kept, clock)) == 1
    assert verify(kept).clean
    with pytest.raises(CatalogueUnknown):
        restore(kept)


def test_part_of_what_is_hidden_is_restored(kept: Archive) -> None:
    for number in (1, 2, 3):
        take(kept, number)
    hide(kept)
    restore(kept, instance=SECOND)
    assert in_sight(kept) == [SECOND]


# --------------------------------------------------------------------------------------------------------- for good
def test_what_has_been_hidden_long_enough_is_removed_for_good(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    take(kept, 2)
    hide(kept, instance=FIRST)
    clock.go(86400 * 5)
    hide(kept)
    assert hiding.purge(kept, timedelta(days=6), actor="schedule", clock=clock) == 0
    clock.go(86400 * 2)
    assert hiding.purge(kept, timedelta(days=6), actor="schedule", clock=clock) == 1
    with kept.database.read() as tx:
        assert [row.sop_instance_uid for row in hidden.listed(tx)] == [SECOND]
    assert verify(kept).clean
    restore(kept)
    assert in_sight(kept) == [SECOND]


@pytest.mark.parametrize(("code", "again"), [(None, Verdict.STORED), (Rejection.QUALITY, Verdict.HIDDEN)])
def test_a_rejection_outlives_the_bytes_and_a_plain_hiding_does_not(
    kept: Archive, clock: Clock, code: Rejection | None, again: Verdict
) -> None:
    take(kept, 1)
    hide(kept, code=code)
    gone = remove(kept, Target(study=STUDY), reason="test", actor="anna", clock=clock)
    assert gone.instances == 1
    scrub(kept, Manner(rate_mb_s=0, after=timedelta(0), clock=clock), actor="test")
    assert verify(kept).clean
    assert take(kept, 1) is again
    assert in_sight(kept) == ([FIRST] if again is Verdict.STORED else [])
    assert verify(kept).clean
    restored = restore(kept) if code else None
    assert restored is None or restored.instances == 1


def test_removing_a_study_removes_what_is_hidden_of_it(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    take(kept, 2)
    hide(kept, instance=FIRST)
    assert remove(kept, Target(study=STUDY), reason="test", actor="anna", clock=clock).instances == 2
    with kept.database.read() as tx:
        assert tx.execute(sa.select(schema.studies)).all() == []
        assert hidden.count(tx) == 0
    with pytest.raises(CatalogueGone):
        remove(kept, Target(study=STUDY), reason="test", actor="anna", clock=clock)


def test_removing_what_is_hidden_leaves_what_is_in_sight_alone(kept: Archive, clock: Clock) -> None:
    take(kept, 1)
    take(kept, 2)
    hide(kept, instance=FIRST)
    (job,) = complete(kept, clock)
    remove(kept, Target(study=STUDY, instance=FIRST), reason="test", actor="anna", clock=clock)
    assert in_sight(kept) == [SECOND]
    with kept.database.read() as tx:
        assert jobs.get(tx, job).state is JobState.WAITING
    remove(kept, Target(study=STUDY, instance=SECOND), reason="test", actor="anna", clock=clock)
    with kept.database.read() as tx:
        assert tx.execute(sa.select(schema.studies)).all() == []


# ------------------------------------------------------------------------------------------------------------ killed
@pytest.mark.parametrize("act", ["hide", "restore"])
def test_what_was_killed_half_way_was_not_done(kept: Archive, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    take(kept, 1)
    if act == "restore":
        hide(kept)
    before = in_sight(kept)
    with monkeypatch.context() as patched:
        patched.setattr("storage.hiding.tombstone_rows.add", _no_power)
        with pytest.raises(OSError, match="no power"):
            hide(kept) if act == "hide" else restore(kept)
    assert in_sight(kept) == before
    hide(kept) if act == "hide" else restore(kept)
    assert in_sight(kept) != before


def _no_power(*_: object) -> None:
    raise OSError("no power")
