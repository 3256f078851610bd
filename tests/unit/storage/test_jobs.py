"""Jobs: due first, held by a lease, tried a few times, parked where they fail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from storage.archive import Archive
from storage.catalog import jobs, results, studies
from storage.catalog.jobs import MAX_ATTEMPTS, ModelRef
from storage.records import JobSize, JobState, Outcome, StudyUid, TriageResult
from tests.builders import START, archive, header, keep

STUDY = StudyUid("2.25.1")
LEASE = timedelta(seconds=10)
A, B = (ModelRef(id=name, version="1", digest=name * 64) for name in "ab")


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    made = archive(tmp_path)
    keep(made, header())
    return made


def test_a_model_has_one_job_per_revision(kept: Archive) -> None:
    with kept.database.write() as tx:
        assert len(jobs.create(tx, STUDY, 1, [A, B], due_at=START, now=START)) == 2
        assert jobs.create(tx, STUDY, 1, [A, B], due_at=START, now=START) == []
        assert len(jobs.create(tx, STUDY, 2, [A], due_at=START, now=START)) == 1


def test_the_job_due_first_is_claimed_first(kept: Archive) -> None:
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A], due_at=START + timedelta(hours=1), now=START)
        (urgent,) = jobs.create(tx, STUDY, 1, [B], due_at=START, now=START)
        first = jobs.claim(tx, owner="w1", lease=LEASE, now=START)
        second = jobs.claim(tx, owner="w2", lease=LEASE, now=START)
        assert first is not None
        assert second is not None
        assert (first.id, first.attempts, second.model_id) == (urgent, 1, "a")
        assert jobs.claim(tx, owner="w3", lease=LEASE, now=START) is None


def test_a_lost_lease_commits_nothing(kept: Archive) -> None:
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A], due_at=START, now=START)
        job = jobs.claim(tx, owner="dead", lease=LEASE, now=START)
        assert job is not None
        jobs.release_expired(tx, now=START + LEASE * 2)
        again = jobs.claim(tx, owner="alive", lease=LEASE, now=START + LEASE * 2)
        assert again is not None
        assert (again.id, again.attempts) == (job.id, 2)
        now = START + LEASE * 2
        assert not jobs.heartbeat(tx, job.id, owner="dead", lease=LEASE, now=now)
        assert not jobs.end(tx, job.id, owner="dead", state=JobState.DONE, reason=None, now=now)
        assert jobs.end(tx, job.id, owner="alive", state=JobState.DONE, reason=None, now=now)


def test_a_heartbeat_keeps_the_lease(kept: Archive) -> None:
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A], due_at=START, now=START)
        job = jobs.claim(tx, owner="w", lease=LEASE, now=START)
        assert job is not None
        assert jobs.heartbeat(tx, job.id, owner="w", lease=LEASE, now=START + LEASE)
        jobs.release_expired(tx, now=START + LEASE * 1.5)
        assert jobs.get(tx, job.id).state is JobState.RUNNING


def test_a_job_that_kills_its_worker_is_parked(kept: Archive) -> None:
    now = START
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A], due_at=START, now=START)
        for _ in range(MAX_ATTEMPTS):
            assert jobs.claim(tx, owner="dying", lease=LEASE, now=now) is not None
            now += LEASE * 2
            jobs.release_expired(tx, now=now)
        assert jobs.claim(tx, owner="dying", lease=LEASE, now=now) is None
        (spent,) = jobs.take_over_spent(tx, owner="next", lease=LEASE, now=now)
        assert spent.attempts == MAX_ATTEMPTS
        assert jobs.end(tx, spent.id, owner="next", state=JobState.FAILED, reason="process_died", now=now)


def test_a_failed_run_is_tried_again_a_little_later(kept: Archive) -> None:
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A], due_at=START, now=START)
        job = jobs.claim(tx, owner="w", lease=LEASE, now=START)
        assert job is not None
        assert jobs.retry(tx, job.id, owner="w", reason="model_error", now=START)
        assert jobs.claim(tx, owner="w", lease=LEASE, now=START) is None
        assert jobs.claim(tx, owner="w", lease=LEASE, now=START + jobs.RETRY_WAIT) is not None


def test_a_later_result_supersedes_and_a_slow_early_one_is_born_superseded(kept: Archive) -> None:
    with kept.database.write() as tx:
        for revision in (1, 2, 3):
            jobs.create(tx, STUDY, revision, [A], due_at=START, now=START)
        first, second, third = (jobs.claim(tx, owner="w", lease=LEASE, now=START) for _ in range(3))
        for job in (first, third, second):
            assert job is not None
            results.add(tx, job, TriageResult(outcome=Outcome.NOT_FLAGGED), now=START)
        found = {record.revision: record.superseded_by for record in results.of_studies(tx, [STUDY])[STUDY]}
    assert found == {1: 3, 2: 3, 3: None}


def test_a_study_is_triaged_once_all_its_jobs_have_ended(kept: Archive) -> None:
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, STUDY), reason="test", now=START)
        jobs.create(tx, STUDY, 1, [A, B], due_at=START, now=START)
        for expected in (False, True):
            job = jobs.claim(tx, owner="w", lease=LEASE, now=START)
            assert job is not None
            jobs.end(tx, job.id, owner="w", state=JobState.DONE, reason=None, now=START)
            assert studies.settle(tx, STUDY, now=START) is expected
        assert not studies.settle(tx, STUDY, now=START)


def test_a_clock_that_is_set_back_by_hours_holds_no_job_for_hours(kept: Archive) -> None:
    ahead = START + timedelta(hours=3)
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [A, B], due_at=START, now=START)
        held = jobs.claim(tx, owner="dead", lease=LEASE, now=ahead)
        failed = jobs.claim(tx, owner="w", lease=LEASE, now=ahead)
        assert held is not None
        assert failed is not None
        assert jobs.retry(tx, failed.id, owner="w", reason="error", now=ahead)
        jobs.pull_back(tx, lease=LEASE, now=START)
        assert jobs.heartbeat(tx, held.id, owner="dead", lease=LEASE, now=START)  # its owner may live all the same
        jobs.release_expired(tx, now=START + LEASE + timedelta(seconds=1))
        assert set(jobs.waiting(tx, now=START + LEASE + timedelta(seconds=1))) == {held.id, failed.id}


def test_a_claimant_gets_what_is_due_first_among_the_sizes_that_it_takes(kept: Archive) -> None:
    large = ModelRef(id="large", version="1", digest="l")
    with kept.database.write() as tx:
        jobs.create(tx, STUDY, 1, [large], due_at=START, now=START, sizes={large.digest: JobSize.LARGE})
        jobs.create(tx, STUDY, 1, [A], due_at=START + timedelta(hours=2), now=START)
        jobs.create(tx, STUDY, 1, [B], due_at=START + timedelta(hours=1), now=START)
        assert jobs.models_wanted(tx, now=START) == ["large", B.id, A.id]
        assert jobs.models_wanted(tx, now=START, sizes={JobSize.SMALL}) == [B.id, A.id]
        taken = [jobs.claim(tx, owner="w", lease=LEASE, now=START, sizes={JobSize.SMALL}) for _ in range(3)]
        assert [job and job.model_id for job in taken] == [B.id, A.id, None]
        last = jobs.claim(tx, owner="w", lease=LEASE, now=START, sizes={JobSize.LARGE})
        assert last is not None
        assert (last.model_id, last.size) == ("large", JobSize.LARGE)


def test_what_joins_a_job_is_of_its_model_alone(kept: Archive) -> None:
    with kept.database.write() as tx:
        for revision in (1, 2):
            jobs.create(tx, STUDY, revision, [A, B], due_at=START, now=START)
        first = jobs.claim(tx, owner="w", lease=LEASE, now=START)
        assert first is not None
        mates = [jobs.claim(tx, owner="w", lease=LEASE, now=START, like=first) for _ in range(2)]
        assert [mate and mate.model_digest for mate in mates] == [first.model_digest, None]
