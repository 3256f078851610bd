"""What a model said here, and what readers made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.archive import Archive
from storage.catalog import cases
from tests.builders import Clock, archive
from tests.unit.inference.test_deployment import PHANTOM, _arrive, _work

CODE = "trial-finding"
TABLE = (
    "CREATE TABLE IF NOT EXISTS feedback (id INTEGER PRIMARY KEY AUTOINCREMENT, result_id TEXT NOT NULL, "
    "finding_code TEXT NOT NULL, verdict TEXT, actor TEXT NOT NULL, at INTEGER NOT NULL)"
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    made = archive(tmp_path, clock)
    _arrive(made, clock, 1, PHANTOM)
    _work(made, clock)
    return made


def test_a_case_is_what_was_said_of_a_study_with_what_tells_it_apart(kept: Archive, clock: Clock) -> None:
    with kept.database.read() as tx:
        (case,) = cases.of_model(tx, PHANTOM.digest)
        assert cases.of_model(tx, PHANTOM.digest, since=clock.go(60)) == []
        assert cases.of_model(tx, "0" * 64) == []
    assert (case.study_instance_uid, case.analysed, case.scores, case.flagged) == (
        "2.25.1",
        True,
        {CODE: 0.9},
        {CODE: True},
    )


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        ([("agree", "A")], True),
        ([("disagree", "A")], False),
        ([("missed", "A")], False),
        ([("not relevant", "A")], None),
        ([("agree", "A"), ("disagree", "A")], False),
        ([("agree", "A"), (None, "A")], None),  # taken back
        ([("disagree", "B"), ("agree", "A"), (None, "A")], False),
        ([("agree", "A"), ("disagree", "B")], False),
    ],
)
def test_of_each_reader_the_last_word_counts_and_of_these_the_last(
    kept: Archive, said: list[tuple[str | None, str]], agrees: bool | None
) -> None:
    with kept.database.write() as tx:
        tx.execute(sa.text(TABLE))
        (case,) = cases.of_model(tx, PHANTOM.digest)
        for verdict, actor in said:
            row = {"result": case.result_id, "code": CODE, "verdict": verdict, "actor": actor}
            tx.execute(
                sa.text(
                    "INSERT INTO feedback (result_id, finding_code, verdict, actor, at) "
                    "VALUES (:result, :code, :verdict, :actor, 0)"
                ),
                row,
            )
        found = [verdict.agrees for verdict in cases.verdicts(tx, PHANTOM.digest)]
    assert found == ([] if agrees is None else [agrees])
