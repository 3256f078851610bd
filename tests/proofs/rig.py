"""A running archive with everything below it that a fault can strike: lines, store, disks, clock, databases."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from storage import schema
from tests.acceptance.site import Site, apart, embedded
from tests.servers import clock, disk, minio, postgres, redis
from tests.servers.clock import ShiftedClock
from tests.servers.disk import SmallDisk, small_disk
from tests.servers.line import Line
from tests.servers.minio import running_minio
from tests.servers.postgres_pair import PostgresPair, running_pair
from tests.servers.process import Server
from tests.servers.redis import running_redis
from tests.servers.s3 import S3Server
from tests.servers.s3_faults import FaultyS3

TOPOLOGIES = {"embedded": "archive", "distributed": "archive", "landing": "landing"}
"""Name -> `ROI_ACK`; `landing` is the distributed set-up whose gateway acknowledges before the object store has it."""
_DISK_MB = 8192
"""The files that hold the disks are sparse."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A site and what can be done to it; what a topology does not have, or this machine cannot do, is None."""

    site: Site
    random: random.Random
    line: Line
    """Between modalities and DICOM port."""
    disk: SmallDisk | None = None
    """Under the data folder."""
    clock: ShiftedClock | None = None
    broker: Server | None = None
    pair: PostgresPair | None = None
    minio: S3Server | None = None
    store: FaultyS3 | None = None
    """Before MinIO."""
    store_disk: SmallDisk | None = None
    """Under MinIO."""
    lacks: list[str] = field(default_factory=list)
    """Why something is None that the topology could have."""

    def pause(self, most_s: float) -> None:
        """Wait for a random time."""
        time.sleep(self.random.uniform(0.0, most_s))

    def job_runs(self) -> bool:
        """Tell whether a model's run is under way."""
        query = sa.select(schema.jobs.c.id).where(schema.jobs.c.state == "RUNNING").limit(1)
        return bool(self.site.rows_of(query))


@contextmanager
def running_rig(topology: str, folder: Path, *, seed: int) -> Iterator[Rig]:
    """Run a rig below `folder`."""
    with ExitStack() as stack:
        dice = random.Random(seed)
        if topology == "embedded":
            yield _embedded(stack, folder, dice)
        else:
            yield _distributed(stack, folder, dice, ack=TOPOLOGIES[topology])


def missing(topology: str) -> str | None:
    """Return why a topology cannot run here, or None."""
    if topology == "embedded":
        return None
    return next(filter(None, (server.available() for server in (postgres, minio, redis))), None)


def _embedded(stack: ExitStack, folder: Path, dice: random.Random) -> Rig:
    lacks: list[str] = []
    small = _disk(stack, folder / "site" / "data", lacks)
    shifted = _clock(stack, folder / "clock", lacks)
    environment = shifted.environment if shifted else {}
    # No high-water mark: the disk shall really be full.
    site = stack.enter_context(embedded(folder / "site", environment=environment, high_water="0"))
    line = stack.enter_context(Line(site.settings.dicom_port))
    return Rig(site=site, random=dice, line=line, disk=small, clock=shifted, lacks=lacks)


def _distributed(stack: ExitStack, folder: Path, dice: random.Random, *, ack: str) -> Rig:
    lacks: list[str] = []
    pair = stack.enter_context(running_pair(folder / "postgres"))
    store_disk = _disk(stack, folder / "minio", lacks)
    store = stack.enter_context(running_minio(folder / "minio"))
    proxy = stack.enter_context(FaultyS3(store, seed=dice.randrange(1 << 30)))
    bell = stack.enter_context(running_redis(folder / "broker"))
    small = _disk(stack, folder / "site" / "data", lacks)
    shifted = _clock(stack, folder / "clock", lacks)
    environment = shifted.environment if shifted else {}
    told = {"environment": environment, "high_water": "0", "ack": ack}
    site = stack.enter_context(apart(folder / "site", postgres=pair, minio=proxy, broker=bell, name="ingest", **told))
    line = stack.enter_context(Line(site.settings.dicom_port))
    return Rig(
        site=site,
        random=dice,
        line=line,
        disk=small,
        clock=shifted,
        broker=bell,
        pair=pair,
        minio=store,
        store=proxy,
        store_disk=store_disk,
        lacks=lacks,
    )


def _disk(stack: ExitStack, folder: Path, lacks: list[str]) -> SmallDisk | None:
    if reason := disk.available():
        lacks.append(reason)
        return None
    return stack.enter_context(small_disk(folder, size_mb=_DISK_MB))


def _clock(stack: ExitStack, folder: Path, lacks: list[str]) -> ShiftedClock | None:
    if reason := clock.available():
        lacks.append(reason)
        return None
    return stack.enter_context(ShiftedClock(folder))
