"""What keeps a conversion in: no network, no other program, no files but its own, so much memory and time, no more.

Linux only.  Each wall is raised by the process on itself and cannot be taken down again by what runs in it later.
The calls have no Python names, so their numbers and layouts stand here: seccomp(2), landlock(7), unshare(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_THREAD = 0x10000000, 0x40000000, 0x00010000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

# ------------------------------------------------------------------ network namespace


def leave_the_network() -> bool:
    """Move into a network namespace that has no interface but a loopback that is down; False where it may not.

    Root may; another user may where it can have a user namespace of its own.  Holds for threads that are started
    afterwards; call it first.
    """
    return any(_libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWNET | _CLONE_NEWUSER))


# ------------------------------------------------------------------ capabilities

_CAPABILITIES_VERSION_3: Final = 0x20080522


def drop_capabilities() -> None:
    """Give up what root may beyond other users: with CAP_PERFMON the memory of every process could be read.

    Raises
    ------
    OSError
        The kernel keeps them; nobody should open a foreign file then.
    """
    header, none = struct.pack("=Ii", _CAPABILITIES_VERSION_3, 0), struct.pack("=6I", *[0] * 6)
    if _libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(none)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


# ------------------------------------------------------------------ seccomp

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine to AUDIT_ARCH and its column in the tables of numbers."""

_SECCOMP: Final = (317, 277)
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_DENIED: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "io_uring_setup": (425, 425),  # opens sockets without the calls above
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
}
"""Calls that a conversion never needs, with their numbers on x86_64 and aarch64."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _EPERM, _ENOSYS, _ALLOW = 0x80000000, 0x00050001, 0x00050026, 0x7FFF0000
_X32_BIT: Final = 0x40000000


def deny_calls() -> bool:
    """Have the kernel answer EPERM to every call of `_DENIED`, in every thread; False where it cannot.

    A thread may still be started, a process may not.
    """
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    architecture, column = known
    program = _program(architecture, column)
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    steps = ctypes.create_string_buffer(code)
    described = struct.pack("@HP", len(program), ctypes.addressof(steps))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    set_filter, all_threads = 1, 1
    return bool(_libc.syscall(_SECCOMP[column], set_filter, all_threads, ctypes.c_char_p(described)) == 0)


def _program(architecture: int, column: int) -> list[tuple[int, int, int, int]]:
    """Give the filter as (code, steps over if true, if false, value), over `struct seccomp_data`."""
    number_at, architecture_at, first_argument_at = 0, 4, 16
    denied = [numbers[column] for numbers in _DENIED.values()]
    return [
        (_LOAD, 0, 0, architecture_at),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, number_at),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _CLONE3[column]),
        (_RETURN, 0, 0, _ENOSYS),  # the C library then takes clone, whose flags can be seen
        *(
            step
            for number in denied
            if number is not None
            for step in ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM))
        ),
        (_EQUAL, 0, 3, _CLONE[column]),
        (_LOAD, 0, 0, first_argument_at),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


# ------------------------------------------------------------------ landlock

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_BITS_BY_VERSION: Final = (0, 13, 14, 15, 15, 16)
"""How many kinds of access to files each version of the interface knows; later ones know as many as the last."""


def keep_to_files(*, read: Iterable[Path], write: Path) -> bool:
    """Let files be read below `read` and changed below `write` alone; False where the kernel cannot.

    Holds for threads that are started afterwards.
    """
    version = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    every = (1 << _BITS_BY_VERSION[min(version, len(_BITS_BY_VERSION) - 1)]) - 1
    asked = struct.pack("=Q", every)
    rules = _libc.syscall(_CREATE_RULESET, ctypes.c_char_p(asked), len(asked), 0)
    if rules < 0:
        return False
    try:
        for path in read:
            _allow(rules, path, (_READ_FILE | _READ_DIR) if path.is_dir() else (_READ_FILE | _WRITE_FILE))
        _allow(rules, write, every)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        return bool(_libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, access: int) -> None:
    if not path.exists():
        return
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        below = 1
        _libc.syscall(_ADD_RULE, rules, below, ctypes.c_char_p(struct.pack("=Qi", access, place)), 0)
    finally:
        os.close(place)


# ------------------------------------------------------------------ memory, time, and the end of who asked


def bound(*, memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """Bound memory and time to what the libraries took by now and so much more, and the size of each file."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    bounds = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in bounds.items():
        resource.setrlimit(what, (most, most))
    cpu_s = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))  # SIGXCPU says why; SIGKILL comes after it


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, and let nobody look into it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(what: int, value: int) -> None:
    _libc.prctl(what, ctypes.c_ulong(value), 0, 0, 0)
