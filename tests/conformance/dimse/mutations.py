"""Real files damaged at random, the same at each run: some anywhere, most where the header check looks on (R-1).

A gateway reads a few attributes and keeps the rest unread, so that damage which it refuses is the harmless kind: what
it keeps is met later, by whoever parses the whole.  `Kind.KEPT` is damage that leaves what is read in order.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from pacs_gateway.part10 import read_meta
from pacs_gateway.service import find_services
from tests.conformance.dimse.corpus import GOOD, files, sop_uids

_LARGEST = 100_000
_HEADER = 4000


class Kind(Enum):
    """Where the damage is."""

    ANYWHERE = "anywhere"
    KEPT = "kept"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A damaged file."""

    name: str
    kind: Kind
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    """What the undamaged data set names."""
    start: bytes
    """Preamble and file meta information, undamaged."""
    data_set: bytes


def _flip(data: bytearray, choose: random.Random) -> None:
    for _ in range(choose.randint(1, 8)):
        data[choose.randrange(len(data))] = choose.randrange(256)


def _cut(data: bytearray, choose: random.Random) -> None:
    del data[choose.randrange(len(data)) :]


def _repeat(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data))
    data[start:start] = data[start : start + choose.randint(1, 200)]


def _lose(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data))
    del data[start : start + choose.randint(1, 50)]


def _lengthen(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(max(1, len(data) - 4))
    data[start : start + 4] = choose.choice([b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"])


def _insert(element: bytes, data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data))
    data[start:start] = element


_SEQUENCE = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff"
_ITEM = b"\xfe\xff\0\xe0\xff\xff\xff\xff"
_STRUCTURES = (
    (_SEQUENCE + _ITEM) * 100,
    _ITEM * 50,
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x02\0\x10\0UI\x04\x001.2\0",
    b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\x7f",
)
Damage = Callable[[bytearray, random.Random], None]
_DAMAGES: tuple[Damage, ...] = (
    *(_flip, _cut, _repeat, _lose, _lengthen),
    *(partial(_insert, structure) for structure in _STRUCTURES),
)


def mutations(data: Path, count: int, *, seed: str) -> Iterator[Mutation]:
    """Yield `count` damaged files, two of three of `Kind.KEPT`; equal arguments give equal files.

    Each has a SOP Instance UID of its own, where its encoding lets one be written.
    """
    seeds = _seeds(data)
    choose = random.Random(seed)
    for number, name in zip(range(count), itertools.cycle(seeds), strict=False):
        kind = Kind.ANYWHERE if number % 3 == 0 else Kind.KEPT
        yield _mutation(name, seeds[name], kind, choose)


def _seeds(data: Path) -> Mapping[str, bytes]:
    """Return small good files of storage classes."""
    found = {name: path.read_bytes() for name, path in files(data, GOOD).items()}
    small = {name: data for name, data in found.items() if len(data) < _LARGEST and data[128:132] == b"DICM"}
    services = find_services()
    return {name: data for name, data in small.items() if services.offering(sop_uids(data)[0])}


def _mutation(name: str, content: bytes, kind: Kind, choose: random.Random) -> Mutation:
    meta = read_meta(content)
    sop_class_uid, old = sop_uids(content)
    new = str(choose.randrange(10 ** (len(old) - 1), 10 ** len(old)))
    data_set = content[meta.length :]
    uid = new if old.encode() in data_set else old
    data_set = data_set.replace(old.encode(), uid.encode())
    start = _beyond_uids(data_set) if kind is Kind.KEPT else 0
    end = len(data_set) if kind is Kind.KEPT else min(len(data_set), _HEADER)
    part = bytearray(data_set[start:end])
    if part:
        choose.choice(_DAMAGES)(part, choose)
    return Mutation(
        name=name,
        kind=kind,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=uid,
        start=content[: meta.length].replace(old.encode(), uid.encode()),
        data_set=data_set[:start] + bytes(part) + data_set[end:],
    )


def _beyond_uids(data_set: bytes) -> int:
    """Return where group 0028 begins, or the last quarter: what a header check needs stands before, nearly always."""
    found = data_set.find(b"\x28\0\x02\0")
    return found if found > 0 else len(data_set) * 3 // 4
