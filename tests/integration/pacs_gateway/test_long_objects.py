"""Objects that are longer than memory shall be: they pass through a gateway process that does not grow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.site import Site, receivers
from tests.raw_scu import ABORT, CT, EXPLICIT, RELEASE_RP, RawScu, c_store, context, echo_status, p_data, pdv
from tests.unit.pacs_gateway.datasets import data_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GIB = 1 << 30
GROWTH_BYTES = 24 << 20
_PDU = 256 * 1024
_PIECE = 64 << 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with receivers(tmp_path, roles=["gateway"], high_water="0") as site:
        yield site
    shutil.rmtree(tmp_path)


def _peak_bytes(process: psutil.Process) -> int:
    """Return the most that has ever been resident."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _begin(scu: RawScu, uid: str, pixel_bytes: int) -> None:
    """Send a C-STORE up to the value of its pixels."""
    header = data_set({"SOPInstanceUID": uid.encode(), "PixelData": b""})
    scu.send(p_data(pdv(1, c_store(CT, uid), command=True, last=True)))
    scu.send(p_data(pdv(1, header[:-4] + pixel_bytes.to_bytes(4, "little"), command=False, last=False)))


def _fill(scu: RawScu, pixel_bytes: int) -> None:
    """Send zeros as pixels, in PDUs as long as the gateway takes, without holding them."""
    room = _PDU - 6
    pdu = p_data(pdv(1, bytes(room), command=False, last=False))
    whole, rest = divmod(pixel_bytes, room)
    many, few = divmod(whole, _PIECE // len(pdu))
    piece = pdu * (_PIECE // len(pdu))
    for _ in range(many):
        scu.socket.sendall(piece)
    scu.send(pdu * few, p_data(pdv(1, bytes(rest), command=False, last=False)))


def _store(scu: RawScu, uid: str, pixel_bytes: int) -> int:
    _begin(scu, uid, pixel_bytes)
    _fill(scu, pixel_bytes)
    scu.send(p_data(pdv(1, b"", command=False, last=True)))
    return scu.response().status


def test_two_objects_of_two_gib_pass_through_a_gateway_that_does_not_grow(site: Site) -> None:  # D-27
    gateway, port = site.processes()["gateway"], site.settings.dicom_port
    with RawScu(port, timeout_s=300) as scu:
        scu.associate(context(1, CT, EXPLICIT))
        assert _store(scu, "1.5.1", 32 << 20) == 0
        before = _peak_bytes(gateway)
        assert _store(scu, "1.5.2", 2 * GIB) == 0
        assert _store(scu, "1.5.3", 2 * GIB + 2) == 0
        assert scu.release() == RELEASE_RP
    assert _peak_bytes(gateway) - before < GROWTH_BYTES
    sizes = sorted(path.stat().st_size for path in Path(site.settings.data).rglob("*") if path.is_file())
    assert sum(size > 2 * GIB for size in sizes) == 2
    assert list(Path(site.settings.data).rglob("*.part")) == []


def test_abort_within_a_long_object_leaves_nothing(site: Site) -> None:
    port = site.settings.dicom_port
    with RawScu(port, timeout_s=300) as scu:
        scu.associate(context(1, CT, EXPLICIT))
        _begin(scu, "1.5.2", 2 * GIB)
        _fill(scu, GIB // 2)
        scu.send(ABORT)
        assert scu.ended()
    assert echo_status(port) == 0
    site.wait(lambda: list(Path(site.settings.data).rglob("*.part")) == [] or None, "the spool is empty")
    assert site.object_keys() == set()
