"""What can befall a running archive, as a table: each fault strikes, lasts a random while and is over."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from tests.acceptance.site import MODEL
from tests.proofs.rig import Rig
from tests.servers.line import Way
from tests.servers.s3_faults import StoreFault

_AIM_S = 1.5
"""How long a kill waits for a running job."""
_TRAFFIC_S = 3.0
"""How long a fault in what passes waits for something to pass."""
_LONGEST_S = 2.0
_CUT_BYTES = {Way.THERE: 40_000, Way.BACK: 1_500}
"""A cut comes at most so many bytes later: an association of twenty small slices has about twice as many."""
_JUMP_S = 5 * 3600


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table; `strike` returns False where there was nothing to strike just now."""

    name: str
    what: str
    weight: int
    possible: Callable[[Rig], bool]
    strike: Callable[[Rig], bool]


# ------------------------------------------------------------------------------------------------------ processes
def _kill_role(rig: Rig, *, role: str) -> bool:
    if role in {"worker", MODEL} and rig.random.random() < 0.5:
        _aim(rig)
    return rig.site.kill(role)


def _aim(rig: Rig) -> None:
    deadline = time.monotonic() + _AIM_S
    while time.monotonic() < deadline and not rig.job_runs():
        time.sleep(0.005)


def _cut_power(rig: Rig) -> bool:
    """Kill every process of the embedded set-up at once, and start it again."""
    for process in rig.site.processes().values():  # the supervisor first: it would start the others again
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    rig.pause(0.3)
    rig.site.revive()
    return True


def _kill_server(rig: Rig, *, name: str) -> bool:
    server = getattr(rig, name)
    server.kill()
    rig.pause(_LONGEST_S)
    server.start()
    rig.site.revive()
    return True


def _promote(rig: Rig) -> bool:
    assert rig.pair is not None
    rig.pair.promote()
    rig.site.revive()
    return True


# ---------------------------------------------------------------------------------------------------- on the way
def _cut_line(rig: Rig) -> bool:
    way = rig.random.choice(list(Way))
    return rig.line.cut(way, rig.random.randrange(_CUT_BYTES[way]), limit_s=_TRAFFIC_S)


def _spoil_store(rig: Rig, *, faults: tuple[StoreFault, ...]) -> bool:
    store = rig.store
    assert store is not None
    before, store.share = store.struck, rig.random.choice((0.2, 0.5, 1.0))
    store.slow_s = rig.random.uniform(0.1, _LONGEST_S)
    store.fault = rig.random.choice(faults)
    try:
        rig.pause(_LONGEST_S)
        deadline = time.monotonic() + _TRAFFIC_S
        while store.struck == before and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        store.fault = None
    return store.struck > before


# ------------------------------------------------------------------------------------------------- the machine's
def _fill(rig: Rig, *, name: str) -> bool:
    disk = getattr(rig, name)
    disk.fill()
    try:
        rig.pause(_LONGEST_S)
    finally:
        disk.free()
    return True


def _jump(rig: Rig) -> bool:
    """Set the clock forward or back by up to hours; where S3 signatures must be of now, it is put right again."""
    assert rig.clock is not None
    shift_s = rig.random.choice((-1, 1)) * rig.random.randrange(30, _JUMP_S)
    rig.clock.set(shift_s)
    if rig.store is not None:
        rig.pause(2 * _LONGEST_S)
        rig.clock.set(0)
    return True


def _has(*names: str) -> Callable[[Rig], bool]:
    return lambda rig: all(getattr(rig, name) is not None for name in names)


def _always(_rig: Rig) -> bool:
    return True


FAULTS = {
    fault.name: fault
    for fault in (
        *(
            Fault(name=role, what=f"SIGKILL of {role}", weight=weight, possible=_always, strike=strike)
            for role, weight, strike in (
                ("gateway", 4, partial(_kill_role, role="gateway")),
                ("api", 2, partial(_kill_role, role="api")),
                ("worker", 2, partial(_kill_role, role="worker")),
                (MODEL, 2, partial(_kill_role, role=MODEL)),
            )
        ),
        Fault(
            name="power",
            what="SIGKILL of every process at once",
            weight=2,
            possible=lambda rig: rig.store is None,
            strike=_cut_power,
        ),
        Fault(
            name="cut",
            what="a DICOM connection reset in the middle of a PDU, either way",
            weight=4,
            possible=_always,
            strike=_cut_line,
        ),
        Fault(
            name="disk-full",
            what="no block left under the data folder",
            weight=2,
            possible=_has("disk"),
            strike=partial(_fill, name="disk"),
        ),
        Fault(
            name="clock",
            what="the time of day jumps by up to 5 h, forward or back",
            weight=2,
            possible=_has("clock"),
            strike=_jump,
        ),
        *(
            Fault(name=name, what=f"SIGKILL of {told}", weight=weight, possible=_has(attribute), strike=strike)
            for name, told, attribute, weight, strike in (
                ("broker", "the broker", "broker", 1, partial(_kill_server, name="broker")),
                ("postgres", "the primary PostgreSQL, and its restart", "pair", 2, partial(_kill_server, name="pair")),
                ("minio", "MinIO", "minio", 2, partial(_kill_server, name="minio")),
            )
        ),
        Fault(
            name="promotion",
            what="the primary PostgreSQL is lost, its standby promoted",
            weight=3,
            possible=_has("pair"),
            strike=_promote,
        ),
        *(
            Fault(
                name=name,
                what=told,
                weight=2,
                possible=_has("store"),
                strike=partial(_spoil_store, faults=faults),
            )
            for name, told, faults in (
                ("s3-503", "the object store answers 503", (StoreFault.REFUSES, StoreFault.DOUBTS)),
                ("s3-slow", "the object store is slow", (StoreFault.SLOW,)),
                ("s3-truncated", "bodies to and from the object store end half through", (StoreFault.TRUNCATES,)),
                ("s3-etag", "the object store answers a wrong ETag", (StoreFault.WRONG_ETAG,)),
            )
        ),
        Fault(
            name="store-full",
            what="no block left under the object store",
            weight=2,
            possible=_has("store_disk"),
            strike=partial(_fill, name="store_disk"),
        ),
    )
}


def struck(rig: Rig, names: list[str], faults: int) -> Iterator[str]:
    """Strike so many times, at random moments; yield the name of each fault that struck."""
    chosen = [FAULTS[name] for name in names if FAULTS[name].possible(rig)]
    done = 0
    while done < faults:
        [fault] = rig.random.choices(chosen, [each.weight for each in chosen])
        rig.pause(1.0)
        if fault.strike(rig):
            done += 1
            yield fault.name


@contextmanager
def over(rig: Rig) -> Iterator[None]:
    """Leave with nothing wrong any more, whatever happened within."""
    try:
        yield
    finally:
        if rig.clock is not None:
            rig.clock.set(0)
