"""Several gateway processes on one DICOM port: both serve, and one that is killed stops no other and comes back."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from storage import schema
from tests.acceptance.site import Site, embedded, receivers, run_roi
from tests.raw_scu import CT, EXPLICIT, RELEASE_RP, RawScu, c_store, context, echo_status
from tests.servers.process import connects, free_port
from tests.unit.pacs_gateway.datasets import data_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PEERS = 24
"""Enough that the kernel deals each process some: all to one of two has a chance of one in eight million."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with embedded(tmp_path_factory.mktemp("shared"), gateway_processes=2) as site:
        yield site


def _gateways(site: Site) -> set[int]:
    """Return the process ids of the gateways."""
    children = psutil.Process(site.servers["serve"].pid).children()
    return {process.pid for process in children if "gateway" in _words_of(process)}


def _words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, empty where it has died meanwhile, buried or not."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one, too
        return []


def _serving(pids: set[int], peers: dict[int, RawScu]) -> dict[int, int]:
    """Return which process serves which peer, by the peer's own port."""
    pairs = ((pid, link.raddr.port) for pid in pids for link in psutil.Process(pid).net_connections() if link.raddr)
    return {port: pid for pid, port in pairs if port in peers}


@contextmanager
def _peers(site: Site) -> Iterator[dict[int, RawScu]]:
    with ExitStack() as stack:
        scus = [stack.enter_context(RawScu(site.settings.dicom_port)) for _ in range(PEERS)]
        for scu in scus:
            scu.associate(context(1, CT, EXPLICIT))
        yield {scu.socket.getsockname()[1]: scu for scu in scus}


def _store(scu: RawScu, uid: str) -> int:
    return scu.store(1, c_store(CT, uid), data_set({"SOPInstanceUID": uid.encode()})).status


def _kept(site: Site) -> set[str]:
    return {row[0] for row in site.rows_of(sa.select(schema.instances.c.sop_instance_uid))}


def test_instances_come_in_through_both_and_one_that_is_killed_stops_no_other(site: Site) -> None:
    gateways = _gateways(site)
    assert len(gateways) == 2
    with _peers(site) as peers:
        serving = _serving(gateways, peers)
        assert set(serving) == set(peers)
        assert set(serving.values()) == gateways
        assert {_store(scu, f"1.7.1.{port}") for port, scu in peers.items()} == {0}

        killed, left = gateways
        os.kill(killed, signal.SIGKILL)
        cut = [port for port, pid in serving.items() if pid == killed]
        assert all(peers[port].ended() for port in cut)
        others = {port: scu for port, scu in peers.items() if port not in cut}
        assert {_store(scu, f"1.7.2.{port}") for port, scu in others.items()} == {0}
        assert [echo_status(site.settings.dicom_port) for _ in range(8)] == [0] * 8

        back = site.wait(lambda: found if len(found := _gateways(site) - {killed}) == 2 else None, "two gateways again")
        assert left in back
        died = site.log_lines("role-died")
        assert [line["role"] in {"gateway 1", "gateway 2"} for line in died] == [True]
        site.wait(lambda: _deals_to(back, site), "new associations come to both")
        assert {scu.release() for scu in others.values()} == {RELEASE_RP}
    assert _kept(site) == {f"1.7.1.{port}" for port in peers} | {f"1.7.2.{port}" for port in others}
    assert site.verify()["missing"] == []


def _deals_to(gateways: set[int], site: Site) -> bool | None:
    with _peers(site) as peers:
        return True if set(_serving(gateways, peers).values()) == gateways else None


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_port_that_somebody_else_has_is_told_in_one_sentence(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        ports = ["--dicom-port", str(port), *(["--http-port", str(free_port())] if command == "serve" else [])]
        done = run_roi(command, "--data", str(tmp_path / "data"), "--processes", "2", *ports)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"roi: cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_gateways_alone_share_a_port_and_end_together(tmp_path: Path) -> None:
    with receivers(tmp_path, roles=["gateway"], gateway_processes=2) as site:
        supervisor = psutil.Process(site.servers["gateway"].pid)
        gateways = supervisor.children()
        assert len(gateways) == 2
        assert [echo_status(site.settings.dicom_port) for _ in range(8)] == [0] * 8
        supervisor.terminate()
        assert psutil.wait_procs([supervisor, *gateways], timeout=30)[1] == []
        with pytest.raises(ConnectionRefusedError):
            connects(site.settings.dicom_port)
