"""C-STORE over a real connection: what is kept, what is refused and with which status (checklist D-20 to D-27)."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pydicom
import pytest
from xxhash import xxh3_128

from pacs_gateway.implementation import IMPLEMENTATION_CLASS_UID
from storage.errors import CatalogueUnavailable, Damaged, ObjectStoreUnavailable, OutOfSpace
from storage.records import Arrival, InstanceUid, Origin, Verdict
from storage.spool import Spool
from tests.integration.pacs_gateway.conftest import Site
from tests.raw_scu import (
    ABORT,
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    VERIFICATION,
    RawScu,
    c_store,
    context,
    p_data,
    pdv,
    us,
)
from tests.unit.pacs_gateway.datasets import data_set, element, sop_uids

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
JPEG_XL = "1.2.840.10008.1.2.4.112"
CONTEXTS = (
    context(1, VERIFICATION, IMPLICIT),
    context(3, CT, EXPLICIT),
    context(5, CT, IMPLICIT),
    context(7, CT, BIG),
    context(9, CT, DEFLATED),
    context(11, CT, JPEG_XL),
)
UID = InstanceUid(sop_uids()[1])


def _stored(site: Site, number: int, command: bytes, sent: bytes, **options: int) -> tuple[int, str]:
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        response = scu.store(number, command, sent, **options)
        assert scu.release() == RELEASE_RP
    return response.status, response.comment


def test_response_repeats_what_was_asked(site: Site) -> None:
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        response = scu.store(3, c_store(CT, "1.2.3.4.5", 513), data_set())
    assert response.context == 3
    assert response.values == {
        0x0: struct.pack("<I", 92),
        0x2: CT.encode() + b"\0",
        0x100: us(0x8001),
        0x120: us(513),
        0x800: us(0x101),
        0x900: us(0),
        0x1000: b"1.2.3.4.5\0",
    }


@pytest.mark.parametrize(
    ("number", "syntax", "sent"),
    [
        (3, EXPLICIT, data_set()),
        (5, IMPLICIT, data_set(explicit=False)),
        (7, BIG, data_set(order=">")),
        (9, DEFLATED, zlib.compress(data_set(), wbits=-15)),
        (11, JPEG_XL, data_set()),
        (3, EXPLICIT, data_set({"PixelData": bytes(300_000)})),
    ],
)
@pytest.mark.parametrize("fragment", [1_000_000, 4090])
def test_stored_file_is_our_meta_and_their_bytes(  # D-20, D-22
    site: Site, number: int, syntax: str, sent: bytes, fragment: int
) -> None:
    assert _stored(site, number, c_store(*sop_uids()), sent, fragment=min(fragment, 32760)) == (0, "")
    arrival, content = site.archive.kept[UID]
    assert content[arrival.meta_bytes :] == sent
    assert arrival == Arrival(
        key=hashlib.sha256(sent).hexdigest(),  # type: ignore[arg-type]
        size_bytes=len(content),
        meta_bytes=len(content) - len(sent),
        header=arrival.header,
        origin=Origin(via="dimse", calling_aet="RAW", called_aet="ROI", address="127.0.0.1"),
        checksum=xxh3_128(sent).digest(),
    )
    assert (arrival.header.transfer_syntax_uid, arrival.header.patient_name) == (syntax, "Phạm^Văn^Đức")
    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).file_meta
    assert content[:132] == bytes(128) + b"DICM"
    assert {element.keyword: str(element.value) for element in meta if element.VR != "OB"} == {
        "FileMetaInformationGroupLength": str(arrival.meta_bytes - 144),
        "MediaStorageSOPClassUID": CT,
        "MediaStorageSOPInstanceUID": UID,
        "TransferSyntaxUID": syntax,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
        "ImplementationVersionName": "ROI_0.1",
        "SourceApplicationEntityTitle": "RAW",
        "SendingApplicationEntityTitle": "RAW",
        "ReceivingApplicationEntityTitle": "ROI",
        "PrivateInformationCreatorUID": IMPLEMENTATION_CLASS_UID,
    }


def test_fragments_of_one_byte_are_put_together(site: Site) -> None:
    command, sent = c_store(*sop_uids()), data_set()
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        ends = [False] * (len(command) - 1) + [True]
        scu.send(*(p_data(pdv(3, bytes([b]), command=True, last=end)) for b, end in zip(command, ends, strict=True)))
        scu.send(p_data(*(pdv(3, bytes([b]), command=False, last=False) for b in sent)))
        scu.send(p_data(pdv(3, b"", command=False, last=True)))
        assert scu.response().status == 0
    assert site.archive.data_set(UID) == sent


def test_command_and_data_set_may_share_a_pdu_and_pdus_a_packet(site: Site) -> None:
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        for number in range(20):
            sent = data_set({"SOPInstanceUID": f"1.2.{number}".encode()})
            parts = [pdv(3, c_store(CT, f"1.2.{number}", number), command=True, last=True)]
            parts += [pdv(3, sent[:100], command=False, last=False), pdv(3, sent[100:], command=False, last=True)]
            scu.send(p_data(*parts))
        assert [(scu.response().status) for _ in range(20)] == [0] * 20
    assert len(site.archive.kept) == 20


@pytest.mark.parametrize(
    ("command", "sent", "status", "comment"),
    [
        (c_store(CT, "1.2.3.4.6"), data_set(), 0xA900, "Data set and command name different SOP UIDs"),
        (
            c_store(*sop_uids()),
            data_set({"SOPClassUID": b"1.2.840.10008.5.1.4.1.1.4"}),
            0xA900,
            "Data set and command name different SOP UIDs",
        ),
        (c_store("1.2.3", UID), data_set(), 0x0122, "SOP Class is not that of the presentation context"),
        (c_store(CT, UID, x1000=None), data_set(), 0x0212, "Command lacks a mandatory field or its data set"),
        (c_store(CT, UID, x0002=None), data_set(), 0x0212, "Command lacks a mandatory field or its data set"),
        (c_store(CT, UID, x0110=None), data_set(), 0x0212, "Command lacks a mandatory field or its data set"),
        (c_store(CT, UID, x0110=b""), data_set(), 0x0212, "Command lacks a mandatory field or its data set"),
        (c_store(CT, UID, x0100=us(0x20)), data_set(), 0x0211, "Command is not offered on this context"),
        (c_store(CT, UID, x0100=us(0x7777)), data_set(), 0x0211, "Command is not offered on this context"),
        *(
            (c_store(CT, uid), data_set(), 0x0117, "Command names no legal SOP Class or Instance UID")
            for uid in ("1." + "2" * 63, "1..2", "1.2.", ".1", "abc", "../../etc/passwd", "..\\x", "%2e%2e%2f", "1\0.2")
        ),
        *(
            (c_store(*sop_uids()), data_set({keyword: value}), 0xC000, "Study, Series or SOP UID missing or not a UID")
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
            for value in (None, b"", b"1..2", b"../../etc/passwd", b"1." + b"3" * 64)
        ),
        (c_store(*sop_uids()), b"", 0xC000, "Study, Series or SOP UID missing or not a UID"),
        (c_store(*sop_uids()), b"\0", 0xC000, "Data set does not parse in the negotiated syntax"),
        (c_store(*sop_uids()), data_set(explicit=False), 0xC000, "Data set does not parse in the negotiated syntax"),
        (c_store(*sop_uids()), data_set()[:150], 0xC000, "Data set does not parse in the negotiated syntax"),
    ],
)
def test_refused_instance_has_its_status_and_the_association_goes_on(
    site: Site, command: bytes, sent: bytes, status: int, comment: str
) -> None:
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        response = scu.store(3, command, sent)
        assert (response.status, response.comment) == (status, comment)
        assert len(response.values.get(0x902, b"")) <= 64
        assert site.archive.kept == {}
        assert scu.store(3, c_store(*sop_uids()), data_set()).status == 0
        assert scu.release() == RELEASE_RP
    assert list(site.archive.kept) == [UID]


def test_store_without_its_data_set_and_echo_with_one_are_mistyped(site: Site) -> None:  # D-17
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        scu.send(p_data(pdv(3, c_store(*sop_uids(), x0800=us(0x101)), command=True, last=True)))
        assert scu.response().status == 0x0212
        echo = c_store(VERIFICATION, "1.2", x0100=us(0x30), x1000=None)
        assert scu.store(1, echo, b"surprise").status == 0x0212
        assert scu.store(1, c_store(VERIFICATION, "1.2"), data_set()).status == 0x0211
        assert scu.echo(1).status == 0


def test_cancel_of_nothing_is_not_answered(site: Site) -> None:  # D-17
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        cancel = c_store(CT, UID, x0100=us(0xFFF), x0800=us(0x101))
        scu.send(p_data(pdv(3, cancel, command=True, last=True)))
        assert scu.echo(1).values[0x100] == us(0x8030)


@pytest.mark.parametrize(
    ("failing", "status", "comment"),
    [
        (OutOfSpace(), 0xA700, "No storage space left; send again later"),
        (ObjectStoreUnavailable(), 0xA700, "Archive is not available; send again later"),
        (CatalogueUnavailable("password in the message"), 0xA700, "Archive is not available; send again later"),
        (Damaged(), 0x0110, "Archive could not process the instance"),
    ],
)
def test_archive_that_cannot_keep_is_told_to_the_peer(
    site: Site, failing: OutOfSpace, status: int, comment: str
) -> None:
    site.archive.failing = failing
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        response = scu.store(3, c_store(*sop_uids()), data_set())
        assert (response.status, response.comment) == (status, comment)
        site.archive.failing = None
        assert scu.store(3, c_store(*sop_uids()), data_set()).status == 0


def test_spool_that_cannot_be_written_is_out_of_resources(site: Site) -> None:
    elsewhere = site.archive.spool_folder.rename(site.archive.spool_folder.with_name("away"))
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        assert scu.store(3, c_store(*sop_uids()), data_set()).status == 0xA700
        elsewhere.rename(site.archive.spool_folder)
        assert scu.store(3, c_store(*sop_uids()), data_set()).status == 0


def test_longer_instance_than_taken_is_refused_and_forgotten(open_site: object) -> None:
    site = open_site(max_instance_bytes=100_000)  # type: ignore[operator]
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        response = scu.store(3, c_store(*sop_uids()), data_set({"PixelData": bytes(500_000)}))
        assert (response.status, response.comment) == (0xA700, "Instance is longer than this archive takes")
        assert site.archive.leftovers() == []
        assert scu.store(3, c_store(*sop_uids()), data_set()).status == 0


def test_same_again_is_success_and_other_content_a_duplicate(site: Site) -> None:  # D-24
    other = data_set({"PatientID": b"P2"})
    assert _stored(site, 3, c_store(*sop_uids()), data_set()) == (0, "")
    assert _stored(site, 3, c_store(*sop_uids()), data_set()) == (0, "")
    assert _stored(site, 3, c_store(*sop_uids()), other) == (
        0x0111,
        "SOP Instance UID is kept with other content; first one stays",
    )


def test_only_a_release_is_evidence(site: Site) -> None:
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        scu.store(3, c_store(*sop_uids()), data_set())
        other = data_set({"SOPInstanceUID": b"1.9", "StudyInstanceUID": b"1.8"})
        scu.store(3, c_store(CT, "1.9"), other)
        scu.store(3, c_store(CT, "1.7"), data_set({"SOPInstanceUID": b"1.7", "StudyInstanceUID": None}))
        assert site.archive.released == []
        assert scu.release() == RELEASE_RP
    assert site.archive.released == [frozenset({"1.2.3", "1.8"})]
    for ending in (ABORT, b""):
        with site.scu() as scu:
            scu.associate(*CONTEXTS)
            scu.store(3, c_store(*sop_uids()), data_set())
            scu.send(ending)
    assert site.is_well()
    assert len(site.archive.released) == 1


def test_store_that_blocks_holds_those_who_store_and_nobody_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, keep = Event(), site.archive.keep

    def wait(spool: Spool, arrival: Arrival) -> Verdict:
        assert gate.wait(10)
        return keep(spool, arrival)

    monkeypatch.setattr(site.archive, "keep", wait)
    with ExitStack() as stack:
        scus = [stack.enter_context(site.scu()) for _ in range(16)]
        for number, scu in enumerate(scus):
            scu.associate(*CONTEXTS)
            scu.send(p_data(pdv(3, c_store(CT, f"1.5.{number}"), command=True, last=True)))
            sent = data_set({"SOPInstanceUID": f"1.5.{number}".encode()})
            scu.send(p_data(pdv(3, sent, command=False, last=True)))
        assert site.is_well()
        assert site.archive.kept == {}
        gate.set()
        assert [scu.response().status for scu in scus] == [0] * 16


def test_connection_cut_within_a_data_set_leaves_nothing(site: Site) -> None:  # D-15, R-8
    with site.scu() as scu:
        scu.associate(*CONTEXTS)
        scu.send(p_data(pdv(3, c_store(*sop_uids()), command=True, last=True)))
        scu.send(p_data(pdv(3, data_set()[:-4], command=False, last=False)))
    assert site.is_well()
    assert site.archive.kept == {}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff" * 1000, id="R-20 items"
        ),
        pytest.param(
            b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff"
            + (b"\xfe\xff\0\xe0\xff\xff\xff\xff" + b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff") * 1000,
            id="R-20 nested 1000 deep",
        ),
        pytest.param(b"\x08\x00\x05\x00UN\0\0\xff\xff\xff\xff", id="R-22 undefined length without delimiter"),
        pytest.param(b"\x08\x00\x05\x00UN\0\0\xfe\xff\xff\xff", id="R-22 4 GiB length"),
        pytest.param(b"\x08\x00\x05\x00CS\xff\xff", id="R-22 longer than the data set"),
        pytest.param(b"\xfe\xff\x0d\xe0\0\0\0\0" + data_set(), id="R-22 stray delimiter"),
        pytest.param(b"\x02\x00\x10\x00UI\x04\x001.2\0" + data_set(), id="R-29 group 0002 inside"),
        pytest.param(b"\0\0\x10\x00UI\x04\x001.2\0" + data_set(), id="R-29 group 0000 inside"),
        pytest.param(b"\x08\x00\x05\x00\x01\x02\x04\x00abcd" + data_set(), id="R-22 no VR"),
    ],
)
def test_hostile_data_set_cannot_be_understood_and_hurts_nobody(site: Site, sent: bytes) -> None:
    assert _stored(site, 3, c_store(*sop_uids()), sent)[0] == 0xC000
    assert site.is_well()


def _sequences(keyword: str, depth: int) -> bytes:
    """A sequence whose item holds such a sequence, and so on."""
    begin = element(keyword, b"")[:8] + b"\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    return begin * depth + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth


def _items(content: bytes, count: int) -> bytes:
    return (b"\xfe\xff\0\xe0" + struct.pack("<I", len(content)) + content) * count


def _encapsulated(*fragments: bytes, end: bytes = b"\xfe\xff\xdd\xe0\0\0\0\0") -> bytes:
    begin = element("PixelData", b"")[:8] + b"\xff\xff\xff\xff"
    return begin + b"".join(_items(fragment, 1) for fragment in fragments) + end


_POINTS = element("ContourData", b"1\\2\\3\\" * 10_000)


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        pytest.param({"Rows": b"\xff\xff", "Columns": b"\xff\xff"}, b"", id="R-24 4 GiB of pixels told"),
        pytest.param({"NumberOfFrames": b"-1"}, b"", id="R-24 frames"),
        pytest.param({"NumberOfFrames": b"1e9"}, b"", id="R-24 frames as a float"),
        pytest.param({"Rows": b"\1\2\3\4\5\6"}, b"", id="R-24 rows of six bytes"),
        pytest.param({"BitsAllocated": b"\0\0"}, b"", id="R-24 no bits"),
        pytest.param({"PixelData": None}, _encapsulated(b"\xff" * 400, end=b""), id="R-25 offsets beyond the data"),
        pytest.param({"PixelData": None}, _encapsulated(b"", *[b"ab"] * 10_000), id="R-25 10,000 fragments"),
        pytest.param({"PixelData": None}, _encapsulated(b"", b"\xff\x4f\xff\x51" * 9), id="R-26 no codestream"),
        pytest.param({"WindowCenter": b"NaN ", "WindowWidth": b"1e308"}, b"", id="R-27"),
        pytest.param({"PatientName": b"\x1b$B\xff\x1b\x1b(Z\xe2\x80\xae\0" + b"\\" * 1000}, b"", id="R-28"),
        pytest.param({"SpecificCharacterSet": b"NO SUCH ONE"}, b"", id="R-28 unknown"),
        pytest.param({"ContentSequence": _items(element("TextValue", b"x" * 40), 100_000)}, b"", id="R-34 items"),
        pytest.param({"SegmentSequence": _items(element("SegmentLabel", b"s"), 65_535)}, b"", id="R-34 segments"),
        pytest.param({"ContourSequence": _items(_POINTS, 100)}, b"", id="R-34 10^6 points"),
        pytest.param({"PixelData": None}, _sequences("ContentSequence", 300), id="R-34 a tree 300 deep"),
    ],
)
def test_what_hurts_only_its_readers_is_kept_as_it_came(
    site: Site, changes: dict[str, bytes | None], after: bytes
) -> None:
    sent = data_set(changes) + after
    assert _stored(site, 3, c_store(*sop_uids()), sent, fragment=32_000) == (0, "")
    assert site.archive.data_set(UID) == sent
    assert site.is_well()


def test_deflate_bomb_is_not_inflated(site: Site) -> None:
    bomb = zlib.compress(element("Manufacturer", b"") + b"\x08\x00\x71\x00UN\0\0\0\0\0\x40" + bytes(2**28), wbits=-15)
    assert _stored(site, 9, c_store(*sop_uids()), bomb)[0] == 0xC000
    assert _stored(site, 9, c_store(*sop_uids()), b"\xff" * 500)[0] == 0xC000
    assert site.is_well()


def test_uids_from_the_network_touch_no_path(site: Site, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("here")
    before = sorted(tmp_path.rglob("*"))
    for uid in ("../canary", "../../canary", "/etc/passwd", str(canary)):
        sent = data_set({"SOPInstanceUID": uid.encode(), "StudyInstanceUID": uid.encode()})
        assert _stored(site, 3, c_store(CT, uid), sent)[0] == 0x0117
        assert _stored(site, 3, c_store(*sop_uids()), sent)[0] == 0xC000
    assert sorted(tmp_path.rglob("*")) == before
    assert canary.read_text() == "here"


def test_associations_store_side_by_side(site: Site) -> None:
    def run(lane: int) -> None:
        with RawScu(site.port) as scu:
            scu.associate(*CONTEXTS)
            for number in range(20):
                uid = f"1.5.{lane}.{number}"
                sent = data_set({"SOPInstanceUID": uid.encode(), "PixelData": bytes([lane]) * 50_000})
                assert scu.store(3, c_store(CT, uid), sent).status == 0
            assert scu.release() == RELEASE_RP

    threads = [Thread(target=run, args=(lane,)) for lane in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.archive.kept) == 160
    for lane in range(8):
        assert site.archive.data_set(f"1.5.{lane}.7").endswith(bytes([lane]) * 50_000)


def test_no_name_reaches_a_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    canary = {"PatientName": b"ZZ^PHI^CANARY", "PatientID": b"ZZPHI"}
    _stored(site, 3, c_store(*sop_uids()), data_set(canary))
    _stored(site, 3, c_store(CT, "1.5"), data_set({**canary, "SOPInstanceUID": b"1.6"}))
    _stored(site, 3, c_store(CT, "ZZ^PHI"), data_set(canary))
    _stored(site, 3, c_store(*sop_uids()), data_set({**canary, "StudyInstanceUID": b"ZZ^PHI"}))
    logged = [repr(record.__dict__) for record in caplog.records]
    assert len(logged) >= 3
    assert [line for line in logged if "ZZ" in line] == []
