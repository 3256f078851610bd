"""An incident's three due dates, and what is overdue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.catalog import incidents
from storage.catalog.incidents import DutyUnknown, working_days_after
from storage.errors import CatalogueUnknown
from tests.builders import archive


@pytest.mark.parametrize(
    ("known", "end"),
    [
        ("2026-03-02T01:00+00:00", "2026-03-09T17:00+00:00"),  # Monday in Viet Nam: the Monday after
        ("2026-03-06T10:00+00:00", "2026-03-13T17:00+00:00"),  # Friday: the Friday after
        ("2026-03-07T10:00+00:00", "2026-03-13T17:00+00:00"),  # Saturday
        ("2026-03-06T18:00+00:00", "2026-03-13T17:00+00:00"),  # Friday evening in UTC is Saturday in Viet Nam
    ],
)
def test_five_working_days_end_with_a_day_in_viet_nam(known: str, end: str) -> None:
    assert working_days_after(datetime.fromisoformat(known), 5) == datetime.fromisoformat(end)


def test_an_incident_tells_three_due_dates_and_what_is_overdue(tmp_path: Path) -> None:
    known = datetime(2026, 3, 2, 1, tzinfo=UTC)
    made = archive(tmp_path)
    with made.database.write() as tx:
        incident = incidents.record(
            tx,
            model_id="trial",
            model_digest="0" * 64,
            result_id=None,
            what="flag on another patient's images",
            frozen={},
            known_at=known,
            by="BS. Lan",
            now=known,
        )
        due = {duty.name: duty.due_at - known for duty in incident.duties(now=known)}
        assert due == {
            "first notice": timedelta(hours=72),
            "notice": timedelta(days=7, hours=16),
            "full report": timedelta(days=15),
        }
        incidents.note_done(tx, incident.id, "first notice", by="BS. Hoa", now=known + timedelta(hours=72))
        incidents.note_done(tx, incident.id, "first notice", by="BS. Mai", now=known + timedelta(hours=80))
        kept = incidents.one(tx, incident.id)
        states = {duty.name: (duty.done_by, duty.overdue) for duty in kept.duties(now=known + timedelta(days=8))}
        assert states == {"first notice": ("BS. Hoa", False), "notice": (None, True), "full report": (None, False)}
        late = incidents.note_done(tx, incident.id, "notice", by="BS. Hoa", now=known + timedelta(days=9))
        assert late.duties(now=known + timedelta(days=9))[1].overdue
        with pytest.raises(DutyUnknown):
            incidents.note_done(tx, incident.id, "nothing", by="BS. Hoa", now=known)
        with pytest.raises(CatalogueUnknown):
            incidents.one(tx, "0" * 32)
