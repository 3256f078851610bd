"""What killed imports and removals leave in a site's folder: removed by the next, never from under one that runs."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PREFIXES: Final = (".import-", ".jail-", ".removed-")
"""How the names of folders begin that are gone once an import or a removal has ended, unless it was killed."""


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold a site's folder of models for an import or a removal, after what dead ones left there was removed.

    Any number may hold it, and the kernel lets go of it for one that dies.  Nothing is removed while
    another holds it, or where the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _sweep(folder)
        _lock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(PREFIXES) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                told = {"action": "leftover-stays", "error": path.name}
                logger.warning("what a killed import or removal left cannot be removed", extra=told)
