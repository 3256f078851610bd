"""What is made ready after ingest: whatever happens to it, answers are those that would be made from the objects."""

from __future__ import annotations

import gzip
import hashlib
import logging
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, BinaryIO

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset

from api import ApiContext, create_app, extractor
from api.dicomweb import extraction, ready
from api.dicomweb.atlas import FORM, Atlas, as_note, from_note
from api.dicomweb.places import locate
from api.dicomweb.source import reader
from api.extractor import Extractor
from pacs_gateway.reread import read_object
from storage import schema
from storage.archive import Archive
from storage.catalog import extracts, quarantine, studies, upkeep
from storage.catalog.deletions import Target
from storage.catalog.following import Position
from storage.decisions import release
from storage.errors import ObjectOnItsWay, ObjectStoreUnavailable, Unavailable
from storage.rebuild import rebuild
from storage.records import InstanceRecord, InstanceUid, ObjectKey, SeriesUid, StudyUid
from storage.removal import remove
from storage.turn import UnderWay
from storage.verify import verify
from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import store

STUDY = StudyUid("2.25.1")
OF_STUDY = f"/dicom-web/studies/{STUDY}"
SERIES = f"{OF_STUDY}/series/2.25.1.1"
METADATA = f"{OF_STUDY}/metadata"
PLAIN, SQUEEZED = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}
OTHER_BASE = "https://pacs.example/viewer"


# --------------------------------------------------------------------------------------------------------- helpers
class Watched:
    """An object store that counts what is read of it, and may be away."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects
        self.asked: list[tuple[int, int | None]] = []
        self.error: Exception | None = None

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        self.asked.append((offset, length))
        if self.error is not None:
            raise self.error
        stream: BinaryIO = self._objects.open(key, offset=offset, length=length)
        return stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


@pytest.fixture
def watched(archive: Archive) -> Watched:
    archive.objects = Watched(archive.objects)  # type: ignore[assignment]
    return archive.objects  # type: ignore[return-value]


@pytest.fixture
def fresh(context: ApiContext) -> Iterator[TestClient]:
    """The same archive, asked by a process that has seen nothing yet."""
    with TestClient(create_app(replace(context, atlas=Atlas())), base_url=BASE) as made:
        yield made


def complete(archive: Archive, study: StudyUid = STUDY) -> None:
    with archive.database.write() as tx:
        studies.complete(tx, studies.get(tx, study), reason="test", now=builders.START)


def extract(archive: Archive, **told: Any) -> int:
    given = {"clock": lambda: builders.START, "rest": lambda _seconds: None, **told}
    return Extractor(archive, f"{BASE}/dicom-web", **given).run()


def kept(archive: Archive, study: StudyUid = STUDY) -> list[InstanceRecord]:
    with archive.database.read() as tx:
        return studies.instances_of(tx, study)


def rows(archive: Archive, table: sa.Table) -> int:
    with archive.database.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def members(archive: Archive, study: StudyUid = STUDY) -> list[int]:
    with archive.database.read() as tx:
        return [len(one.members) for one in extracts.known(tx, study, form=FORM)]


def forget(archive: Archive) -> None:
    with archive.database.write() as tx:
        tx.execute(sa.delete(schema.extracts))
        tx.execute(sa.delete(schema.places))


def plain(client: TestClient, path: str = METADATA) -> bytes:
    answer = client.get(path, headers=PLAIN)
    assert answer.status_code == 200, answer.text
    assert "content-encoding" not in answer.headers
    return answer.content


def squeezed(client: TestClient, path: str = METADATA) -> bytes:
    """An answer's bytes as they came: one gzip member and nothing behind it, which is all that browsers read."""
    with client.stream("GET", path, headers=SQUEEZED) as answer:
        raw = b"".join(answer.iter_raw())
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
    once = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = once.decompress(raw)
    assert (once.eof, once.unused_data, text) == (True, b"", gzip.decompress(raw))
    return raw


def check(client: TestClient, archive: Archive, *paths: str) -> None:
    """What is answered now is what the objects say."""
    asked = paths or (METADATA, f"{SERIES}/metadata", f"{SERIES}/instances/2.25.1.1.1/metadata")
    answers = {path: (plain(client, path), gzip.decompress(squeezed(client, path))) for path in asked}
    forget(archive)
    for path, (as_text, unpacked) in answers.items():
        made_now = plain(client, path)
        assert as_text == unpacked == made_now


@pytest.fixture
def slices(client: TestClient, archive: Archive) -> list[Dataset]:
    """A complete study of a series of five slices and one of two."""
    made = [
        builders.ct_slice(number, PatientName="Nguyễn^Văn", SpecificCharacterSet="ISO_IR 192") for number in range(1, 6)
    ]
    made += [
        builders.ct_slice(number, SeriesInstanceUID="2.25.1.2", SOPInstanceUID=f"2.25.1.2.{number}", SeriesNumber=2)
        for number in (1, 2)
    ]
    assert store(client, *made).status_code == 200
    complete(archive)
    return made


# ------------------------------------------------------------------------------------------------------ the same
def test_what_was_made_is_what_would_be_made_now(client: TestClient, archive: Archive, slices: list[Dataset]) -> None:
    assert extract(archive) == 1
    assert members(archive) == [5, 2]
    check(client, archive)


def test_a_first_screen_reads_no_object(
    client: TestClient, slices: list[Dataset], archive: Archive, watched: Watched
) -> None:
    extract(archive)
    watched.asked.clear()
    for path in (METADATA, f"{SERIES}/metadata", f"{SERIES}/instances/2.25.1.1.3/metadata"):
        plain(client, path)
        squeezed(client, path)
    assert watched.asked == []


def test_a_first_frame_reads_the_frame_alone(
    fresh: TestClient, slices: list[Dataset], archive: Archive, watched: Watched
) -> None:
    extract(archive)
    watched.asked.clear()
    answer = fresh.get(f"{SERIES}/instances/2.25.1.1.3/frames/1", headers={"Accept": "application/octet-stream"})
    assert answer.content == slices[2].PixelData
    assert [length for _, length in watched.asked] == [len(slices[2].PixelData)]


def test_long_series_are_in_several_extracts_and_every_instance_is_in_one(client: TestClient, archive: Archive) -> None:
    store(client, *(builders.ct_slice(number, size=2) for number in range(1, 131)))
    complete(archive)
    extract(archive)
    assert members(archive) == [64, 64, 2]
    assert plain(client, f"{SERIES}/instances/2.25.1.1.100/metadata").count(b'"00080018"') == 1
    check(client, archive)


@pytest.mark.parametrize("base", [OTHER_BASE, "http://x"])
def test_another_public_address_is_filled_in_and_only_where_it_belongs(
    context: ApiContext, client: TestClient, archive: Archive, base: str
) -> None:
    told = f"{BASE}/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.2/bulkdata/7FE00010"
    item = Dataset()
    item.ICCProfile = b"x" * 2000  # bulk data below the first level
    store(client, *(builders.ct_slice(number, RetrieveURL=told, IconImageSequence=[item]) for number in (1, 2, 3)))
    complete(archive)
    extract(archive)
    with TestClient(create_app(replace(context, public_base_url=base)), base_url=BASE) as moved:
        answer = plain(moved)
        assert answer.count(told.encode()) == 3
        assert answer.count(f'"{base}/dicom-web/'.encode()) == 6
        check(moved, archive)


def test_what_cannot_be_read_ahead_is_left_to_who_asks(client: TestClient, archive: Archive) -> None:
    deflated = builders.ct_slice(2)
    deflated.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    store(client, builders.ct_slice(1), deflated, builders.ct_slice(3))
    complete(archive)
    extract(archive)
    assert members(archive) == [2]
    check(client, archive)


def test_what_does_not_parse_is_refused_as_before(client: TestClient, archive: Archive) -> None:
    store(client, builders.ct_slice(1))
    cut = builders.part10(builders.ct_slice(2))[:-10]
    client.post("/dicom-web/studies", content=cut, headers={"Content-Type": "application/dicom"})
    complete(archive)
    extract(archive)
    assert members(archive) == [1]
    assert client.get(METADATA).status_code == 406
    assert client.get(f"{SERIES}/instances/2.25.1.1.1/metadata").status_code == 200


def test_long_attributes_are_not_read_ahead(
    client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "LONGEST", 2000)
    store(client, builders.ct_slice(1), builders.ct_slice(2, PatientComments="x" * 3000))
    complete(archive)
    extract(archive)
    assert members(archive) == [1]
    check(client, archive)


def test_equal_tags_are_equal_bytes(client: TestClient, archive: Archive, slices: list[Dataset]) -> None:
    def answers() -> list[tuple[str, bytes]]:
        told = [(client.get(METADATA, headers=PLAIN).headers["etag"], plain(client))]
        return [*told, (client.head(METADATA, headers=SQUEEZED).headers["etag"], squeezed(client))]

    before = answers()
    extract(archive)
    after = answers()
    assert before[0] == after[0]
    assert before[1][0] != after[1][0]
    assert before[1][1] != after[1][1]
    assert after == answers()
    held = {**SQUEEZED, "If-None-Match": after[1][0]}
    assert client.get(METADATA, headers=held).status_code == 304


# --------------------------------------------------------------------------------------------------- what changes
def test_a_late_instance_is_told_at_once_and_made_once_complete(
    client: TestClient, archive: Archive, slices: list[Dataset], watched: Watched
) -> None:
    extract(archive)
    store(client, builders.ct_slice(3, SOPInstanceUID="2.25.1.1.99"))
    watched.asked.clear()
    assert plain(client).count(b'"00080018"') == 8
    assert len(watched.asked) > 0
    check(client, archive)
    complete(archive)
    assert extract(archive) == 1
    assert members(archive) == [6, 2]
    assert extract(archive) == 0
    check(client, archive)


def test_a_removed_instance_takes_what_was_made_of_it_along(
    client: TestClient, archive: Archive, slices: list[Dataset]
) -> None:
    extract(archive)
    remove(archive, Target(study=STUDY, instance=InstanceUid("2.25.1.1.3")), reason="test", actor="test")
    assert members(archive) == [2]
    assert rows(archive, schema.places) == 6
    assert plain(client).count(b'"00080018"') == 6
    complete(archive)
    extract(archive)
    assert members(archive) == [4, 2]
    check(client, archive)


@pytest.mark.parametrize("series", [None, SeriesUid("2.25.1.1")])
def test_a_removed_study_or_series_leaves_nothing_behind(
    client: TestClient, archive: Archive, slices: list[Dataset], series: SeriesUid | None
) -> None:
    extract(archive)
    remove(archive, Target(study=STUDY, series=series), reason="test", actor="test")
    assert (members(archive), rows(archive, schema.places)) == (([], 0) if series is None else ([2], 2))


def test_a_released_copy_is_told_in_place_of_the_kept_one(
    client: TestClient, archive: Archive, slices: list[Dataset]
) -> None:
    extract(archive)
    store(client, builders.ct_slice(2, PatientComments="another"))
    with archive.database.read() as tx:
        (copy,) = quarantine.listed(tx, waiting=True)
    release(archive, copy.id, read_object, actor="test", reason="test")
    assert plain(client).count(b"another") == 1
    complete(archive)
    extract(archive)
    assert sorted(members(archive)) == [2, 5]
    assert plain(client).count(b"another") == 1
    check(client, archive)


def test_an_extract_that_holds_more_than_is_shown_is_cut(
    context: ApiContext, archive: Archive, slices: list[Dataset]
) -> None:
    extract(archive)
    with archive.database.read() as tx:
        names = studies.names_of(tx, STUDY, series=SeriesUid("2.25.1.1"))
    shown = [names[0], names[2], names[3]]
    parts = ready.plan(context, shown, STUDY)
    assert [len(part.instances) for part in parts] == [1, 2]
    texts = [piece if isinstance(piece, bytes) else piece.text for piece in ready.as_array(context, parts)]
    forget(archive)
    again = [
        piece if isinstance(piece, bytes) else piece.text
        for piece in ready.as_array(context, ready.plan(context, shown, STUDY))
    ]
    assert b"".join(texts) == b"".join(again)


def test_an_answer_that_has_begun_outlives_what_it_was_to_be_made_of(
    context: ApiContext, archive: Archive, slices: list[Dataset]
) -> None:
    extract(archive)
    with archive.database.read() as tx:
        names = studies.names_of(tx, STUDY)
    parts = ready.plan(context, names, STUDY)
    forget(archive)
    texts = [piece if isinstance(piece, bytes) else piece.text for piece in ready.as_array(context, parts)]
    assert b"".join(texts).count(b'"00080018"') == len(names)


def test_another_form_is_passed_over_and_made_anew(
    client: TestClient, archive: Archive, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(archive)
    assert extract(archive) == 0
    for module in (extractor, extraction, ready):
        monkeypatch.setattr(module, "FORM", FORM + 1)
    assert plain(client)
    assert extract(archive) == 1
    with archive.database.read() as tx:
        assert {row.form for row in tx.execute(sa.select(schema.extracts.c.form))} == {FORM + 1}


def test_the_form_is_the_one_that_this_code_writes(client: TestClient, archive: Archive) -> None:
    """Raise `FORM` where this fails: what archives have made ready is not what would be made now."""
    data_set = builders.ct_slice(1, SpecificCharacterSet="ISO_IR 192", PatientName="Nguyễn^Văn")
    data_set.add_new(0x00091001, "UN", b"\1\2\3")
    data_set.add_new(0x00180050, "DS", "1.25")
    data_set.add_new(0x00189305, "FD", 0.5)
    store(client, data_set)
    (one,) = kept(archive)
    made = extraction.make(archive, one)
    assert made is not None
    assert made.places is not None
    said = made.text.replace(made.token, b"") + made.places
    assert (FORM, hashlib.sha256(said).hexdigest()[:16]) == (1, "b2e0f1fb2163ded2")


# ------------------------------------------------------------------------------------------------ places of frames
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_places_come_back_as_they_were_found(archive: Archive, client: TestClient, syntax: str) -> None:
    data_set = builders.ct_slice(1)
    if syntax.endswith(".5"):
        data_set.NumberOfFrames = 3
        data_set.PixelData = data_set.PixelData * 3
        data_set.compress(syntax, generate_instance_uid=False)
    store(client, data_set)
    (one,) = kept(archive)
    found = locate(*reader(archive, one), one.transfer_syntax_uid)
    assert found is not None
    again = from_note(as_note(found))
    assert replace(again, borders=()) == replace(found, borders=())
    assert list(again.borders) == list(found.borders)


# ------------------------------------------------------------------------------------------- how it follows along
def test_what_comes_anew_goes_before_what_was_there_and_that_from_the_newest_back(
    client: TestClient, archive: Archive
) -> None:
    uids = [StudyUid(f"2.25.7{number}") for number in range(4)]

    def bring(uid: StudyUid) -> None:
        store(
            client,
            builders.ct_slice(1, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1"),
        )
        complete(archive, uid)

    for uid in uids[:3]:
        bring(uid)
    order: list[list[StudyUid]] = []

    def rest(_seconds: float) -> None:
        order.append([uid for uid in uids if members_if_kept(archive, uid)])
        if len(order) == 1:
            bring(uids[3])

    extract(archive, rest=rest)
    assert order == [[uids[2]], [uids[1], uids[2], uids[3]], uids]


def members_if_kept(archive: Archive, uid: StudyUid) -> list[int]:
    with archive.database.read() as tx:
        return [len(one.members) for one in extracts.known(tx, uid, form=FORM)]


def test_a_store_that_is_away_is_waited_for_and_nothing_is_passed_over(
    client: TestClient, archive: Archive, slices: list[Dataset], watched: Watched
) -> None:
    watched.error = ObjectStoreUnavailable()
    with pytest.raises(Unavailable):
        extract(archive)
    assert members(archive) == []
    watched.error = None
    assert extract(archive) == 1
    assert members(archive) == [5, 2]


def test_an_object_that_is_long_on_its_way_from_another_host_holds_nobody_up(
    client: TestClient, archive: Archive, slices: list[Dataset], watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.error = ObjectOnItsWay()
    with pytest.raises(ObjectOnItsWay):
        extract(archive)
    with caplog.at_level(logging.WARNING):
        assert extract(archive, clock=lambda: builders.START + timedelta(hours=2)) == 0
    assert [record.action for record in caplog.records] == ["extracts-failed"]  # type: ignore[attr-defined]


def test_an_error_nobody_foresaw_is_told_and_the_next_study_is_made(
    client: TestClient,
    archive: Archive,
    slices: list[Dataset],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(client, builders.radiograph())
    complete(archive, StudyUid("2.25.2"))
    real = extraction.make

    def make(archive: Archive, instance: InstanceRecord) -> extraction.Made | None:
        if instance.study_instance_uid == STUDY:
            raise RecursionError
        return real(archive, instance)

    monkeypatch.setattr(extraction, "make", make)
    assert extract(archive) == 1
    assert members(archive, StudyUid("2.25.2")) == [1]
    assert [record.action for record in caplog.records] == ["extracts-failed"]  # type: ignore[attr-defined]


class Killed(BaseException):
    """What nothing catches."""


def test_killed_anywhere_it_goes_on_and_answers_are_right_meanwhile(
    client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "MEMBERS", 2)
    store(client, *(builders.ct_slice(number) for number in range(1, 8)))
    complete(archive)
    expected = plain(client)
    real = extraction.make
    for at in range(1, 8):
        forget(archive)
        with archive.database.write() as tx:
            tx.execute(sa.delete(schema.upkeep))
        left = [at]

        def make(archive: Archive, instance: InstanceRecord, left: list[int] = left) -> extraction.Made | None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real(archive, instance)

        monkeypatch.setattr(extraction, "make", make)
        with suppress(Killed):
            extract(archive)
        assert plain(client) == gzip.decompress(squeezed(client)) == expected
        with pytest.raises(UnderWay):  # its lease still holds: this very process lives
            extract(archive)
        monkeypatch.setattr(extraction, "make", real)
        assert extract(archive, clock=lambda: builders.START + timedelta(minutes=5)) == 1
        assert members(archive) == [2, 2, 2, 1]
        assert plain(client) == gzip.decompress(squeezed(client)) == expected


def test_told_to_stop_it_leaves_its_work_to_the_next(
    client: TestClient, archive: Archive, slices: list[Dataset]
) -> None:
    assert extract(archive, stopped=lambda: True) == 0
    with archive.database.read() as tx:
        run = upkeep.last(tx, extracts.KIND)
        position = Position.of(tx, extracts.KIND)
    assert run is not None
    assert position is not None
    assert (run.lease_owner, position.old > 0) == (None, True)
    assert extract(archive) == 1


def test_it_waits_for_more_as_long_as_it_is_told(client: TestClient, archive: Archive, slices: list[Dataset]) -> None:
    def rest(_seconds: float) -> None:
        if rows(archive, schema.extracts) == 2:
            store(client, builders.radiograph())
            with suppress(AttributeError):
                complete(archive, StudyUid("2.25.2"))

    made = Extractor(archive, f"{BASE}/dicom-web", clock=lambda: builders.START, rest=rest).run(linger_s=0.05)
    assert made == 2


# ---------------------------------------------------------------------------------------------- removal meanwhile
def test_what_is_removed_while_it_is_being_made_is_not_kept(
    client: TestClient, archive: Archive, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = extraction.make

    def make(archive: Archive, instance: InstanceRecord) -> extraction.Made | None:
        made = real(archive, instance)
        if instance.sop_instance_uid == "2.25.1.1.5":
            remove(archive, Target(study=STUDY, instance=InstanceUid("2.25.1.1.2")), reason="test", actor="test")
        return made

    monkeypatch.setattr(extraction, "make", make)
    extract(archive)
    assert members(archive) == [2]
    assert b"2.25.1.1.2/" not in plain(client)


def test_a_removal_and_what_is_being_entered_wait_for_each_other(
    client: TestClient, archive: Archive, slices: list[Dataset]
) -> None:
    instances = [one for one in kept(archive) if one.series_instance_uid == "2.25.1.1"]
    (draft,) = extraction.drafts(archive, instances, f"{BASE}/dicom-web")
    target = Target(study=STUDY, instance=InstanceUid("2.25.1.1.2"))
    remover = threading.Thread(target=lambda: remove(archive, target, reason="test", actor="test"))
    with archive.database.write() as tx:
        assert extracts.enter(tx, draft.instances, draft.extract, draft.content, draft.places)
        remover.start()
        remover.join(0.3)
        assert remover.is_alive()
    remover.join()
    assert (members(archive), rows(archive, schema.places)) == ([], 4)
    with archive.database.write() as tx:
        assert not extracts.enter(tx, draft.instances, draft.extract, draft.content, draft.places)
    assert members(archive) == []


def test_a_rebuild_begins_without_any_and_makes_them_again(
    client: TestClient, archive: Archive, slices: list[Dataset]
) -> None:
    extract(archive)
    rebuild(archive, read_object, replace_it=True, clock=lambda: builders.START)
    assert (rows(archive, schema.extracts), rows(archive, schema.places)) == (0, 0)
    complete(archive)
    assert extract(archive) == 1
    assert members(archive) == [5, 2]
    assert verify(archive).clean
    check(client, archive)
