"""The inside of `models.importers.jail`: raises the walls, then calls the one function it was started for."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.importers import walls

_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys/devices/system", "/dev/null")
_RANDOM = ("/dev/urandom", "/dev/random")


def main() -> None:
    """Read a request from standard input, answer it on standard output; everything else that is printed is lost."""
    answer_to = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    request = json.loads(sys.stdin.buffer.read())
    os.write(answer_to, json.dumps(_answer(request)).encode())


def _answer(request: Mapping[str, Any]) -> dict[str, object]:
    scratch = Path(request["scratch"])
    module, _, name = request["work"].partition(":")
    work = getattr(import_module(module), name)
    walls.die_with_parent()
    standing = {"network-namespace": walls.leave_the_network()}
    walls.drop_capabilities()
    standing["landlock"] = walls.keep_to_files(read=_readable(), write=scratch)
    for library in request["libraries"]:
        import_module(library)
    standing["seccomp"] = walls.deny_calls()
    if not (standing["network-namespace"] or standing["seccomp"]):
        return {"unusable": ""}
    walls.bound(memory_bytes=request["memory_bytes"], cpu_s=request["cpu_s"], file_bytes=request["file_bytes"])
    try:
        facts = work(**request["arguments"])
    except ModelError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - what reads foreign files raises what it likes; its class is told
        return {"refused": _told(error, request["memory_bytes"])}
    return {"facts": facts, "walls": sorted(name for name, stands in standing.items() if stands)}


def _told(error: Exception, memory_bytes: int) -> str:
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return f"the file's conversion takes more than {memory_bytes / 2**30:g} GiB of memory"
    return f"the file cannot be converted ({type(error).__name__})"


def _readable() -> list[Path]:
    """Give where Python, its libraries and our own code lie; a data folder is none of them."""
    ours = Path(__file__).parents[1]
    python = {Path(place) for place in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)}
    shelves = {Path(place) for place in sys.path if "site-packages" in place or "dist-packages" in place}
    return [*map(Path, (*_SYSTEM, *_RANDOM)), ours, *sorted(python | shelves)]


if __name__ == "__main__":
    main()
