"""A gateway on a free port of loopback, over an archive in memory, with short timers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pacs_gateway.ae import Gateway
from pacs_gateway.ingest import Ingest
from pacs_gateway.limits import Limits
from pacs_gateway.negotiation import Refusal
from tests.raw_scu import RawScu, echo_status
from tests.unit.pacs_gateway.archive import MemoryArchive

SHORT = Limits(artim_s=0.6, idle_s=3.0, message_s=0.8, pdu_s=0.6, max_pdu=32768)


@dataclass
class Site:
    """A running gateway and what it leaves behind."""

    gateway: Gateway
    archive: MemoryArchive
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.gateway.port

    def scu(self) -> RawScu:
        return RawScu(self.port)

    def is_well(self) -> bool:
        """Whether an honest peer is served, and nothing is left in the spool once all is over."""
        return echo_status(self.port) == 0


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[object]:
    """Start gateways with chosen settings; all are stopped at the end."""
    sites: list[Site] = []

    def start(*, limits: Limits = SHORT, max_instance_bytes: int = 64 * 1024 * 1024, **options: object) -> Site:
        archive = MemoryArchive(tmp_path / f"spool{len(sites)}")
        archive.spool_folder.mkdir()
        refusals: list[Refusal] = []
        gateway = Gateway(
            ingest=Ingest(archive, max_instance_bytes=max_instance_bytes),
            aet="ROI",
            host="127.0.0.1",
            port=0,
            limits=limits,
            **{"may_call": lambda *_: True, "on_refused": refusals.append, **options},  # type: ignore[arg-type]
        )
        gateway.start()
        sites.append(Site(gateway, archive, refusals))
        return sites[-1]

    yield start
    for site in sites:
        site.gateway.stop(2.0)
        assert site.archive.leftovers() == []


@pytest.fixture
def site(open_site: object) -> Site:
    return open_site()  # type: ignore[operator]
