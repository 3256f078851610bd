"""The lifecycle is the table, and only the table."""

from __future__ import annotations

import pytest

from storage.records import STUDY_TRANSITIONS, StudyEvent, StudyState

R, C, T = StudyState.RECEIVING, StudyState.COMPLETE, StudyState.TRIAGED


@pytest.mark.parametrize("state", StudyState)
@pytest.mark.parametrize("event", StudyEvent)
def test_every_pair_is_listed_or_refused(state: StudyState, event: StudyEvent) -> None:
    expected = {
        (R, StudyEvent.INSTANCE): (R, 0),
        (R, StudyEvent.EVIDENCE): (C, 0),
        (C, StudyEvent.INSTANCE): (R, 1),
        (C, StudyEvent.SETTLED): (T, 0),
        (T, StudyEvent.INSTANCE): (R, 1),
    }
    assert STUDY_TRANSITIONS.get((state, event)) == expected.get((state, event))
