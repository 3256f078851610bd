"""A catalogue made anew from the object store is the old one, but for what only the catalogue knew."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pacs_gateway.ingest import Ingest
from pacs_gateway.rejection_note import read_note
from pacs_gateway.reread import read_object
from storage import hiding, rejection, schema
from storage.adapters import open_store
from storage.archive import Archive
from storage.catalog import studies
from storage.catalog.deletions import Target
from storage.database import Database
from storage.hiding import Word
from storage.migrate import migrate
from storage.ports import ObjectStore
from storage.rebuild import Figures, NotEmpty, rebuild
from storage.records import InstanceUid, ObjectKey, Origin, Rejection, StudyUid, Verdict
from storage.removal import remove
from storage.scrub import Manner, scrub
from storage.tombstones import Buried, Kind, Tombstone
from storage.tombstones import put as put_tombstone
from storage.verify import verify
from tests.builders import START, Clock, ct_slice, part10, radiograph
from tests.notes import key_objects

_FROM = Origin(via="dimse", calling_aet="CT1", called_aet="ROI", address="10.0.0.5")
_LOST: dict[str, set[str]] = {
    "studies": {"id", "released_at", "longest_gap_s", "pauses", "quiet_until", "ready_at", "revision", "state"},
    "series": {"id", "study_pk"},
    "instances": {"id", "study_pk", "series_pk", "address", "revision", "checksum"},
    "quarantine": {"id", "address"},
    "hidden": {"id", "address", "checksum"},
    "rejection_notes": {"received_at", "reason", "figures"},
    "tombstones": set(),
}
"""What cannot be rebuilt, or is numbered anew."""
_ORDER = {"studies": "study_instance_uid", "series": "series_instance_uid", "instances": "sop_instance_uid"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _on_disk(request: pytest.FixtureRequest, folder: Path) -> tuple[ObjectStore, Callable[[], Database]]:
    def open_database() -> Database:
        database = Database(f"sqlite:///{folder / f'{secrets.token_hex(4)}.sqlite'}")
        migrate(database)
        return database

    return open_store(f"dir://{folder}/store"), open_database


def _on_servers(request: pytest.FixtureRequest, folder: Path) -> tuple[ObjectStore, Callable[[], Database]]:
    postgres, minio = request.getfixturevalue("postgres_server"), request.getfixturevalue("minio_server")

    def open_database() -> Database:
        database = Database(postgres.make_database(f"t{secrets.token_hex(6)}"))
        migrate(database)
        return database

    url = minio.bucket_url(f"t{secrets.token_hex(6)}")
    return open_store(url, access_key=minio.access_key, secret_key=minio.secret_key), open_database


class Site:
    """An archive whose catalogue may be lost."""

    def __init__(self, store: ObjectStore, open_database: Callable[[], Database], folder: Path, clock: Clock) -> None:
        self.clock = clock
        self._open_database = open_database
        self._folder = folder
        self._archives: list[Archive] = []
        self.archive = self._open(store)

    def _open(self, store: ObjectStore) -> Archive:
        spool = getattr(store, "incoming", self._folder)
        made = Archive(objects=store, database=self._open_database(), spool_folder=spool, clock=self.clock)
        self._archives.append(made)
        return made

    def take(self, data_set: Any) -> Verdict:
        """Take in an instance, one second after the last."""
        self.clock.go(1)
        return Ingest(self.archive, clock=self.clock).part10(io.BytesIO(part10(data_set)), _FROM)[0]

    def remove(self, study: str, instance: str | None = None) -> None:
        remove(self.archive, _target(study, instance), reason="test", actor="anna", clock=self.clock)

    def hide(self, study: str, *instances: str, code: Rejection | None = None) -> None:
        word = Word(actor="anna", reason="wrong side", code=code)
        for instance in instances or (None,):
            hiding.hide(self.archive, _target(study, instance), word, read_object, clock=self.clock)

    def restore(self, study: str, instance: str | None = None) -> None:
        told = {"actor": "binh", "reason": "was right", "clock": self.clock}
        hiding.restore(self.archive, _target(study, instance), read_object, **told)

    def hear_notes(self) -> int:
        return rejection.apply_waiting(self.archive, read_note, read_object, clock=self.clock)

    def in_sight(self) -> list[str]:
        with self.archive.database.read() as tx:
            found = tx.execute(sa.select(schema.instances.c.sop_instance_uid)).scalars()
            return sorted(found)

    def lose_catalogue(self) -> None:
        self.clock.go(3600)
        self.archive = self._open(self.archive.objects)

    def rebuild(self, **how: Any) -> Figures:
        return rebuild(self.archive, read_object, clock=self.clock, **how)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every row, but for what is lost."""
        return {name: self._rows(name) for name in _LOST}

    def _rows(self, name: str) -> list[dict[str, Any]]:
        table = schema.metadata.tables[name]
        with self.archive.database.read() as tx:
            rows = tx.execute(sa.select(table).order_by(_ORDER.get(name, "object_key"))).all()
        return [{column: value for column, value in row._mapping.items() if column not in _LOST[name]} for row in rows]

    def checksums(self) -> dict[str, bytes | None]:
        query = sa.select(schema.instances.c.sop_instance_uid, schema.instances.c.checksum)
        with self.archive.database.read() as tx:
            return {row.sop_instance_uid: row.checksum for row in tx.execute(query)}

    def kept_key(self, uid: str) -> ObjectKey:
        query = sa.select(schema.instances.c.object_key).where(schema.instances.c.sop_instance_uid == uid)
        with self.archive.database.read() as tx:
            return ObjectKey(tx.execute(query).scalar_one())

    def close(self) -> None:
        for archive in self._archives:
            archive.close()


def _target(study: str, instance: str | None) -> Target:
    return Target(study=StudyUid(study), instance=InstanceUid(instance) if instance else None)


@pytest.fixture(params=[_on_disk, pytest.param(_on_servers, marks=pytest.mark.servers)])
def site(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Site]:
    store, open_database = request.param(request, tmp_path)
    made = Site(store, open_database, tmp_path, clock)
    yield made
    made.close()


def _fill(site: Site) -> None:
    """Take in two studies with a conflict, a removed one, one removed and sent again, one half removed."""
    for number in range(1, 6):
        assert site.take(ct_slice(number, PatientName="Nguyễn^Thị Đào", SpecificCharacterSet="ISO_IR 192")) == "stored"
    assert site.take(ct_slice(2, value_hu=70.0)) is Verdict.CONFLICT
    assert site.take(ct_slice(3, PatientID="P2", PatientName="Other")) is Verdict.CONFLICT
    assert site.take(radiograph(AccessionNumber="A1", RequestedProcedurePriority="HIGH")) is Verdict.STORED
    for study in ("2.25.7", "2.25.8", "2.25.9"):
        for number in (1, 2):
            uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
            site.take(ct_slice(number, SOPInstanceUID=f"{study}.1.{number}", **uids))
    site.take(ct_slice(1, value_hu=99.0, SOPInstanceUID="2.25.7.1.1", StudyInstanceUID="2.25.7"))  # put aside, removed
    site.remove("2.25.7")
    site.remove("2.25.8")
    site.take(ct_slice(1, SOPInstanceUID="2.25.8.1.1", StudyInstanceUID="2.25.8", SeriesInstanceUID="2.25.8.1"))
    site.remove("2.25.9", "2.25.9.1.2")


def test_a_rebuilt_catalogue_is_the_old_one(site: Site) -> None:
    _fill(site)
    # An object whose removal was killed before the object itself went, and one that a crash left behind:
    removed = next(key for key in site.archive.objects.keys() if key == site.kept_key("2.25.9.1.1"))  # noqa: SIM118
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("storage.removal.remove_object", lambda *_, **__: False)
        site.remove("2.25.9", "2.25.9.1.1")
    before, checksums = site.tables(), site.checksums()
    assert None not in checksums.values()
    site.lose_catalogue()
    found = site.rebuild()
    assert site.tables() == before
    assert set(site.checksums().values()) == {None}
    assert (found.entered, found.quarantined, found.tombstones, found.unreadable) == (7, 2, 5, 0)
    assert found.without_time == 0
    assert [row["received_at"] for row in before["instances"]][:2] == [START + timedelta(seconds=s) for s in (1, 2)]
    assert removed in set(site.archive.objects.keys())
    assert scrub(site.archive, Manner(rate_mb_s=0, clock=site.clock), actor="test").removed == 1
    assert removed not in set(site.archive.objects.keys())
    assert site.checksums() == checksums  # the scrub has read every object
    assert verify(site.archive).clean
    with site.archive.database.read() as tx:
        study = studies.get(tx, StudyUid("2.25.1"))
    assert (study.ready_at, study.patient_name) == (study.received_last, "Nguyễn^Thị Đào")


def test_a_removal_after_a_rebuild_is_met_by_who_sends_again(site: Site) -> None:
    site.take(ct_slice())
    site.remove("2.25.1")
    site.lose_catalogue()
    assert site.rebuild().buried == 1
    assert site.take(ct_slice()) is Verdict.STORED
    site.lose_catalogue()
    assert site.rebuild().entered == 1
    site.remove("2.25.1")
    site.lose_catalogue()
    assert site.rebuild().entered == 0
    assert verify(site.archive).clean


def test_the_first_received_is_kept_whatever_the_listing_says(site: Site) -> None:
    kept = []
    for number in range(1, 9):
        site.take(ct_slice(number, value_hu=1.0))
        kept.append(site.kept_key(f"2.25.1.1.{number}"))
        site.take(ct_slice(number, value_hu=2.0, SeriesInstanceUID="2.25.1.2"))
    site.lose_catalogue()
    assert site.rebuild().quarantined == 8
    assert [site.kept_key(f"2.25.1.1.{number}") for number in range(1, 9)] == kept
    assert len(site.tables()["series"]) == 1


def test_what_a_person_preferred_is_kept(site: Site) -> None:
    site.take(ct_slice(value_hu=1.0))
    first = site.kept_key("2.25.1.1.1")
    site.take(ct_slice(value_hu=2.0))
    (second,) = set(site.archive.objects.keys()) - {first}
    choice = Buried(sop_instance_uid=InstanceUid("2.25.1.1.1"), object_key=second)
    put_tombstone(
        site.archive.objects,
        Tombstone(
            kind=Kind.PREFERRED,
            study_instance_uid=StudyUid("2.25.1"),
            at=site.clock.now,
            actor="anna",
            reason="corrected",
            objects=(choice,),
        ),
    )
    site.lose_catalogue()
    site.rebuild()
    assert site.kept_key("2.25.1.1.1") == second
    assert [row["object_key"] for row in site.tables()["quarantine"]] == [first]


def test_a_reencoded_copy_is_left_without_a_row(site: Site) -> None:
    site.take(ct_slice())
    first = site.kept_key("2.25.1.1.1")
    again = ct_slice()
    again.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    assert site.take(again) is Verdict.OTHER_SYNTAX
    site.lose_catalogue()
    found = site.rebuild()
    assert (found.entered, found.reencoded, found.quarantined) == (1, 1, 0)
    assert site.kept_key("2.25.1.1.1") == first


def test_a_killed_rebuild_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(site)
    before = site.tables()
    site.lose_catalogue()
    monkeypatch.setattr("storage.rebuild._BATCH", 3)
    for patience in (2, 4, 4):
        reads = iter(range(patience))

        def read(objects: ObjectStore, key: ObjectKey, reads: Iterator[int] = reads) -> Any:
            if next(reads, None) is None:
                raise KeyboardInterrupt
            return read_object(objects, key)

        with pytest.raises(KeyboardInterrupt):
            rebuild(site.archive, read, clock=site.clock)
    site.rebuild()
    assert site.tables() == before


def test_a_catalogue_with_rows_is_replaced_only_on_demand_and_after_a_copy(site: Site, tmp_path: Path) -> None:
    _fill(site)
    before = site.tables()
    with pytest.raises(NotEmpty):
        site.rebuild()
    site.clock.go(3600)
    site.rebuild(replace_it=True)
    assert site.tables() == before
    database = site.archive.database
    if database.is_sqlite:
        (copy,) = tmp_path.glob("*.sqlite.before_*")
        old = Database(f"sqlite:///{copy}")
        with old.read() as tx:
            count = tx.execute(sa.text("SELECT count(*) FROM instances")).scalar_one()
        old.close()
    else:
        with database.read() as tx:
            (name,) = [each for each in sa.inspect(tx).get_schema_names() if each.startswith("before_")]
            count = tx.execute(sa.text(f"SELECT count(*) FROM {name}.instances")).scalar_one()
    assert count == len(before["instances"])


def test_what_is_no_dicom_file_is_counted_and_left_alone(site: Site) -> None:
    site.take(ct_slice())
    site.archive.objects.put(ObjectKey("e" * 64), io.BytesIO(b"left by somebody else"))
    site.lose_catalogue()
    found = site.rebuild()
    assert (found.entered, found.unreadable) == (1, 1)


# ------------------------------------------------------------------------------------------------------ what is hidden
def _fill_with_hidden(site: Site) -> None:
    """Take in a study of which some is hidden, some restored, some rejected by a note, also before it came."""
    for number in range(1, 9):
        site.take(ct_slice(number))
    site.hide("2.25.1", "2.25.1.1.1", "2.25.1.1.2")
    site.restore("2.25.1", "2.25.1.1.2")
    site.hide("2.25.1", "2.25.1.1.3", code=Rejection.RETENTION_EXPIRED)
    site.hide("2.25.1", "2.25.1.1.8", code=Rejection.RETENTION_EXPIRED)
    assert site.take(ct_slice(8)) is Verdict.STORED
    refers = [f"2.25.1.1.{number}" for number in (4, 5, 11, 12)]
    site.take(key_objects("113037", refers))
    assert site.hear_notes() == 1
    site.restore("2.25.1", "2.25.1.1.5")
    site.restore("2.25.1", "2.25.1.1.12")
    assert site.take(ct_slice(11)) is Verdict.HIDDEN
    assert site.take(ct_slice(12)) is Verdict.STORED
    assert site.take(ct_slice(4, value_hu=70.0)) is Verdict.CONFLICT


def test_a_rebuilt_catalogue_hides_what_was_hidden(site: Site) -> None:
    _fill_with_hidden(site)
    before, in_sight = site.tables(), site.in_sight()
    assert in_sight == sorted(["2.25.1.9.1", *(f"2.25.1.1.{number}" for number in (2, 5, 6, 7, 8, 12))])
    site.lose_catalogue()
    found = site.rebuild()
    assert (found.hidden, found.quarantined, found.unreadable) == (4, 1, 0)
    assert site.tables() == before
    assert site.hear_notes() == 0
    assert site.take(ct_slice(1)) is Verdict.HIDDEN
    assert site.take(ct_slice(3)) is Verdict.STORED
    site.restore("2.25.1")
    assert verify(site.archive).clean
    site.lose_catalogue()
    assert site.rebuild().hidden == 0
    assert len(site.in_sight()) == 11


def test_a_note_that_nobody_had_heard_is_heard_after_a_rebuild(site: Site) -> None:
    site.take(ct_slice(1))
    site.take(ct_slice(2))
    site.take(key_objects("113001", ["2.25.1.1.1"]))
    site.lose_catalogue()
    site.rebuild()
    assert site.hear_notes() == 1
    assert site.in_sight() == ["2.25.1.1.2", "2.25.1.9.1"]


def test_what_was_hidden_and_removed_is_remembered_as_long_as_it_was_before(site: Site) -> None:
    for number in (1, 2, 3):
        site.take(ct_slice(number))
    site.hide("2.25.1", "2.25.1.1.1")
    site.hide("2.25.1", "2.25.1.1.2", code=Rejection.QUALITY)
    site.clock.go(86400 * 3)
    assert hiding.purge(site.archive, timedelta(days=2), actor="schedule", clock=site.clock) == 2
    before = site.tables()
    site.lose_catalogue()
    assert site.rebuild().buried == 2
    assert site.tables() == before
    assert [site.take(ct_slice(number)) for number in (1, 2)] == [Verdict.STORED, Verdict.HIDDEN]
    before = site.tables()
    site.lose_catalogue()
    site.rebuild()
    assert site.tables() == before


def test_a_killed_rebuild_hides_when_it_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_with_hidden(site)
    before = site.tables()
    site.lose_catalogue()
    monkeypatch.setattr("storage.rebuild._BATCH", 3)
    reads = iter(range(6))

    def read(objects: ObjectStore, key: ObjectKey) -> Any:
        if next(reads, None) is None:
            raise KeyboardInterrupt
        return read_object(objects, key)

    with pytest.raises(KeyboardInterrupt):
        rebuild(site.archive, read, clock=site.clock)
    site.rebuild()
    assert site.tables() == before


def test_a_sender_and_a_hiding_in_any_order_leave_nothing_in_sight(site: Site) -> None:
    """Senders of one study in threads, and somebody who hides it while they send."""
    numbers = range(1, 21)
    site.take(ct_slice(99))

    def send(number: int) -> Verdict:
        return Ingest(site.archive, clock=site.clock).part10(io.BytesIO(part10(ct_slice(number))), _FROM)[0]

    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(send, number) for number in numbers]
        site.hide("2.25.1")
        assert {each.result() for each in sent} == {Verdict.STORED}
        again = [pool.submit(send, number) for number in (99, *numbers)]
        verdicts = {each.result() for each in again}
    assert verdicts <= {Verdict.HIDDEN, Verdict.DUPLICATE}
    with site.archive.database.read() as tx:
        gone = set(tx.execute(sa.select(schema.hidden.c.sop_instance_uid)).scalars())
    assert gone
    assert gone | set(site.in_sight()) == {f"2.25.1.1.{number}" for number in (99, *numbers)}
    assert not gone & set(site.in_sight())
    assert verify(site.archive).clean
