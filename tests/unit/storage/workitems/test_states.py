"""Every pair of the standard's table, and every way to be without the lock (PS3.4 Table CC.1.1-2)."""

from __future__ import annotations

import itertools

import pytest

from storage.records import JobState
from storage.workitems.errors import Refusal, WorkitemRefused
from storage.workitems.records import job_of_uid, state_of_job, uid_of_job
from storage.workitems.states import CANCELLATIONS, CHANGES, FINAL, WAY, WorkitemState, check_update, next_state

S, P, D, C = WorkitemState
LOCK = "2.25.1"

TABLE = {
    P: {S: P, P: 0xC302, D: 0xC300, C: 0xC300},
    S: {S: 0xC303, P: 0xC303, D: 0xC303, C: 0xC303},
    D: {S: 0xC310, P: D, D: D, C: 0xC300},
    C: {S: 0xC310, P: C, D: 0xC300, C: C},
}
"""Rows and columns as the standard prints them, with the correct Transaction UID."""


@pytest.mark.parametrize(("asked", "found"), list(itertools.product(WorkitemState, WorkitemState)))
def test_each_pair_of_the_table_is_as_printed(asked: WorkitemState, found: WorkitemState) -> None:
    expected = TABLE[asked][found]
    holder = None if found is S else LOCK
    if isinstance(expected, WorkitemState):
        assert next_state(asked, found, transaction=LOCK, holder=holder) is expected
        return
    with pytest.raises(WorkitemRefused) as refused:
        next_state(asked, found, transaction=LOCK, holder=holder)
    assert refused.value.refusal == expected


@pytest.mark.parametrize(("asked", "found"), list(itertools.product(WorkitemState, WorkitemState)))
def test_without_a_transaction_uid_nothing_changes(asked: WorkitemState, found: WorkitemState) -> None:
    with pytest.raises(WorkitemRefused, match="missing") as refused:
        next_state(asked, found, transaction=None, holder=None if found is S else LOCK)
    assert refused.value.refusal is Refusal.TRANSACTION


@pytest.mark.parametrize(("asked", "found"), list(itertools.product((D, C), (P, D, C))))
def test_with_another_transaction_uid_nothing_ends(asked: WorkitemState, found: WorkitemState) -> None:
    with pytest.raises(WorkitemRefused, match="incorrect"):
        next_state(asked, found, transaction="2.25.2", holder=LOCK)


def test_the_tables_are_whole_and_lead_nowhere_back() -> None:
    assert set(CHANGES) == set(itertools.product(WorkitemState, WorkitemState))
    assert set(CANCELLATIONS) == set(WorkitemState)
    for state, way in WAY.items():
        assert way[-1] is state
        assert all(CHANGES[after, before] is after for before, after in itertools.pairwise(way))
    for found in FINAL:
        assert {following for (_, of), following in CHANGES.items() if of is found} & set(WorkitemState) <= {found}


@pytest.mark.parametrize(
    ("found", "transaction", "holder", "refusal"),
    [
        (S, LOCK, None, Refusal.NOT_CLAIMED),
        (P, None, LOCK, Refusal.TRANSACTION),
        (P, "2.25.2", LOCK, Refusal.TRANSACTION),
        (D, LOCK, LOCK, Refusal.FINAL),
        (C, None, None, Refusal.FINAL),
    ],
)
def test_attributes_are_set_by_the_holder_only(
    found: WorkitemState, transaction: str | None, holder: str | None, refusal: Refusal
) -> None:
    with pytest.raises(WorkitemRefused) as refused:
        check_update(found, transaction=transaction, holder=holder)
    assert refused.value.refusal is refusal
    check_update(S, transaction=None, holder=None)
    check_update(P, transaction=LOCK, holder=LOCK)


def test_a_job_goes_through_the_states_in_order_however_often_it_is_tried() -> None:
    assert state_of_job(JobState.WAITING, claimed=False) is S
    assert state_of_job(JobState.RUNNING, claimed=True) is P
    assert state_of_job(JobState.WAITING, claimed=True) is P
    assert state_of_job(JobState.DONE, claimed=True) is D
    assert state_of_job(JobState.FAILED, claimed=True) is C


@pytest.mark.parametrize("job", ["0" * 32, "f" * 32, "0" * 31 + "1", "0123456789abcdef" * 2])
def test_a_jobs_id_and_its_uid_are_one(job: str) -> None:
    uid = uid_of_job(job)  # type: ignore[arg-type]
    assert len(uid) <= 64
    assert job_of_uid(uid) == job


@pytest.mark.parametrize("uid", ["1.2.3", "2.25.", "2.25.01", f"2.25.{16**32}", "2.25.1.2", "2.25.x", "2.25.-1"])
def test_a_uid_that_names_no_job_is_told(uid: str) -> None:
    assert job_of_uid(uid) is None
