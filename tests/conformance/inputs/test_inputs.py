"""Every real file against the reviewed table of what the models make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.records import Outcome
from tests.conformance.inputs.table import read_table, rows_of

pytest.importorskip("torch", reason="running a network needs the extra `ai`")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MONAI and torch warn of their own futures on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SCORED = {Outcome.FLAGGED, Outcome.NOT_FLAGGED}


def test_no_real_file_is_scored_by_a_model_of_drawings() -> None:
    assert [row for row in read_table() if row.outcome in SCORED] == []


def test_no_real_file_breaks_a_model() -> None:
    assert [row for row in read_table() if row.outcome == Outcome.FAILED] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_real_file_gets_the_outcome_that_was_reviewed(shared_data: Path) -> None:
    assert rows_of(shared_data) == read_table()
