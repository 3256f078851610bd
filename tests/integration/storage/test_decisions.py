"""A copy in quarantine is released or rejected, once, and a rebuilt catalogue remembers which (D-24)."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pytest
import sqlalchemy as sa

from inference.completion import close_quiet
from pacs_gateway.reread import read_object
from storage import schema
from storage.catalog import changes, quarantine, studies
from storage.catalog.quarantine import Decision, PutAside
from storage.decisions import DecidedOtherwise, KeptItself, Overtaken, reject, release
from storage.errors import CatalogueUnknown, ObjectCorrupt
from storage.records import StudyState, StudyUid, Verdict
from storage.scrub import Manner, scrub
from storage.verify import verify
from tests.builders import card, ct_slice
from tests.integration.storage.test_rebuild import Site, clock, site  # noqa: F401 - fixtures

STUDY = StudyUid("2.25.1")
UID = "2.25.1.1.2"


def _copies(site: Site, *, every: bool = False) -> list[PutAside]:  # noqa: F811
    with site.archive.database.read() as tx:
        return quarantine.listed(tx, waiting=not every)


def _release(site: Site, row_id: int) -> PutAside:  # noqa: F811
    site.clock.go(1)
    return release(site.archive, row_id, read_object, actor="anna", reason="corrected", clock=site.clock)


def _reject(site: Site, row_id: int) -> PutAside:  # noqa: F811
    site.clock.go(1)
    return reject(site.archive, row_id, actor="anna", reason="wrong", clock=site.clock)


def _study(site: Site, uid: StudyUid = STUDY) -> Any:  # noqa: F811
    with site.archive.database.read() as tx:
        return studies.get(tx, uid)


def _conflict(site: Site, **attributes: Any) -> PutAside:  # noqa: F811
    """Take in four slices, complete their study, and send the second again with other content."""
    for number in range(1, 5):
        site.take(ct_slice(number))
    site.archive.release([STUDY])
    site.clock.go(60)
    close_quiet(site.archive.database, [card()], now=site.clock.now, seen={})
    assert site.take(ct_slice(2, **({"value_hu": 70.0} | attributes))) is Verdict.CONFLICT
    (copy,) = _copies(site)
    return copy


def _audited(site: Site) -> list[tuple[str, str, str]]:  # noqa: F811
    with site.archive.database.read() as tx:
        rows = tx.execute(sa.select(schema.audit).order_by(schema.audit.c.seq)).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def test_a_released_copy_is_kept_and_the_kept_one_put_aside(site: Site) -> None:  # noqa: F811
    copy = _conflict(site)
    was = site.kept_key(UID)
    assert _study(site).state is StudyState.COMPLETE
    done = _release(site, copy.id)
    assert (done.state, done.decided_by, done.decided_why) == (Decision.RELEASED, "anna", "corrected")
    assert site.kept_key(UID) == copy.object_key
    (aside,) = _copies(site)
    assert (aside.object_key, aside.kept_object_key, aside.id > copy.id) == (was, copy.object_key, True)
    assert (_study(site).state, _study(site).revision, _study(site).instance_count) == (StudyState.RECEIVING, 2, 4)
    assert _audited(site) == [("CT1", "quarantined", UID), ("anna", "quarantine-released", UID)]
    assert verify(site.archive).clean
    (created,) = close_quiet(site.archive.database, [card()], now=site.clock.go(60), seen={})
    with site.archive.database.read() as tx:
        query = sa.select(schema.jobs.c.revision).where(schema.jobs.c.id == created)
        assert tx.execute(query).scalar_one() == 2


def test_a_decision_said_twice_is_taken_once(site: Site) -> None:  # noqa: F811
    copy = _conflict(site)
    first = _release(site, copy.id)
    before = site.tables()
    assert _release(site, copy.id) == first
    with pytest.raises(DecidedOtherwise):
        _reject(site, copy.id)
    assert site.tables() == before
    assert len(_audited(site)) == 2
    (aside,) = _copies(site)
    rejected = _reject(site, aside.id)
    assert _reject(site, aside.id) == rejected
    with pytest.raises(DecidedOtherwise):
        _release(site, aside.id)
    with pytest.raises(CatalogueUnknown):
        _release(site, aside.id + 1)


def test_a_rejected_copy_goes_and_may_come_again_as_another(site: Site) -> None:  # noqa: F811
    copy = _conflict(site)
    kept = site.kept_key(UID)
    _reject(site, copy.id)
    assert copy.object_key not in set(site.archive.objects.keys())
    assert (_copies(site), site.kept_key(UID), _study(site).revision) == ([], kept, 1)
    assert verify(site.archive).clean
    assert site.take(ct_slice(2, value_hu=70.0)) is Verdict.CONFLICT
    (again,) = _copies(site)
    assert (again.object_key, again.id > copy.id) == (copy.object_key, True)
    assert _reject(site, copy.id).state is Decision.REJECTED  # the earlier decision, said again, does not meet it
    assert _copies(site) == [again]
    assert verify(site.archive).clean
    assert [each.state for each in _copies(site, every=True)] == [Decision.REJECTED, Decision.WAITING]


@pytest.mark.parametrize("steps", ["release", "release, release", "reject", "release, reject", "reject, again"])
def test_a_rebuilt_catalogue_keeps_what_was_decided(site: Site, steps: str) -> None:  # noqa: F811
    _conflict(site)
    for step in steps.split(", "):
        if step == "again":
            site.take(ct_slice(2, value_hu=70.0))
        else:
            {"release": _release, "reject": _reject}[step](site, _copies(site)[-1].id)
    names = ("sop_instance_uid", "object_key", "study_instance_uid", "received_at")
    before = (site.tables()["instances"], [[getattr(each, name) for name in names] for each in _copies(site)])
    site.lose_catalogue()
    site.rebuild()
    assert (site.tables()["instances"], [[getattr(each, name) for name in names] for each in _copies(site)]) == before
    scrub(site.archive, Manner(rate_mb_s=0, clock=site.clock), actor="test")
    assert verify(site.archive).clean


def test_a_copy_of_another_study_takes_the_instance_there(site: Site) -> None:  # noqa: F811
    copy = _conflict(site, StudyInstanceUID="2.25.5", SeriesInstanceUID="2.25.5.1")
    _release(site, copy.id)
    assert (_study(site).instance_count, _study(site).revision) == (3, 2)
    assert _study(site, StudyUid("2.25.5")).instance_count == 1
    assert [each.study_instance_uid for each in _copies(site)] == [STUDY]
    assert verify(site.archive).clean
    with site.archive.database.read() as tx:
        kinds = [change.kind for change in changes.since(tx, 0)]
    assert kinds[-4:] == ["instance-removed", "study-reopened", "instance-stored", "instance-replaced"]


def test_a_corrected_patient_is_told_by_the_copy(site: Site) -> None:  # noqa: F811
    wrong = {"PatientID": "P9", "PatientName": "Wrong^Name", "AccessionNumber": "A9"}
    site.take(ct_slice(2, **wrong))
    site.take(ct_slice(2, PatientID="P1", PatientName="Right^Name"))
    (copy,) = _copies(site)
    _release(site, copy.id)
    study = _study(site)
    assert (study.patient_id, study.patient_name, study.accession_number) == ("P1", "Right^Name", None)
    assert not study.identity_conflict


def test_a_damaged_copy_is_not_released(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    copy = _conflict(site)
    before = site.tables()
    real = site.archive.objects

    class Damaged:
        """The store, whose bytes are others by now."""

        def open(self, *_: object, **__: object) -> BinaryIO:
            return io.BytesIO(b"other bytes")

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    with monkeypatch.context() as patched:
        patched.setattr(site.archive, "objects", Damaged())
        with pytest.raises(ObjectCorrupt):
            _release(site, copy.id)
    assert site.tables() == before
    assert verify(site.archive).clean


def test_a_copy_that_is_the_kept_one_by_now_is_never_removed(site: Site) -> None:  # noqa: F811
    """A sender that had looked before a release enters its copy after it."""
    copy = _conflict(site)
    _release(site, copy.id)
    row = {name: getattr(copy, name) for name in PutAside.__slots__ if name != "id"}
    with site.archive.database.write() as tx:
        tx.execute(sa.insert(schema.quarantine).values(**row))
    late = _copies(site)[-1]
    with pytest.raises(KeptItself):
        _reject(site, late.id)
    assert _release(site, late.id).state is Decision.RELEASED
    assert site.kept_key(UID) == copy.object_key
    assert verify(site.archive).clean


def test_of_two_decisions_at_once_one_is_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    copy = _conflict(site)
    with monkeypatch.context() as patched:
        patched.setattr("storage.decisions._check_digest", lambda *_: _reject(site, copy.id))
        patched.setattr("storage.decisions.remove_object", lambda *_, **__: False)
        with pytest.raises(Overtaken):
            _release(site, copy.id)
    scrub(site.archive, Manner(rate_mb_s=0, clock=site.clock), actor="test")
    assert [each.state for each in _copies(site, every=True)] == [Decision.REJECTED]
    assert verify(site.archive).clean  # nor is the second decision's tombstone left
