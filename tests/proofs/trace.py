"""What `strace -f -y -xx` wrote, as calls with a beginning and an end in one order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<text>.*)\) += (?P<result>-?\d+)")
_UNFINISHED = re.compile(r"^(?P<start>\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(?P<end>.*)$")
_DESCRIPTOR = re.compile(r"^\d+<(?P<path>[^>]*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, kw_only=True)
class Call:
    """A system call; `began` and `ended` are line numbers: what ended before another began, happened before it."""

    name: str
    began: int
    ended: int
    path: str
    """What the first argument, where it is a descriptor, stood for."""
    strings: tuple[bytes, ...]
    result: int


def read_trace(lines: Iterable[str]) -> list[Call]:
    """Return the calls in the order in which they ended; one that never ended is left out."""
    open_calls: dict[str, tuple[int, str]] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue
        pid, rest, began = found["pid"], found["rest"], number
        if unfinished := _UNFINISHED.match(rest):
            open_calls[pid] = (number, unfinished["start"])
            continue
        if resumed := _RESUMED.match(rest):
            began, start = open_calls.pop(pid)
            rest = start + resumed["end"]
        if whole := _CALL.match(rest):
            calls.append(_call(whole, began, number))
    return calls


def _call(found: re.Match[str], began: int, ended: int) -> Call:
    descriptor = _DESCRIPTOR.match(found["text"])
    return Call(
        name=found["name"],
        began=began,
        ended=ended,
        path=_bytes(descriptor["path"]).decode(errors="replace") if descriptor else "",
        strings=tuple(_bytes(text) for text in _STRING.findall(found["text"])),
        result=int(found["result"]),
    )


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", "")) if escaped.startswith("\\x") else escaped.encode()
