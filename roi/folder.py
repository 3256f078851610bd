"""The data folder: made where it is missing, held by one `roi serve` at a time."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roi.errors import DataFolderTaken, DataFolderUnusable


@contextmanager
def data_folder_lock(data: Path) -> Iterator[None]:
    """Hold the data folder for one `roi serve`.

    Raises
    ------
    DataFolderTaken
        Another process holds it.
    DataFolderUnusable
        It cannot be made or written.
    """
    lock = prepare_data_folder(data) / "serve.lock"
    with lock.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataFolderTaken(
                f"another roi serve uses the data folder {data}; stop it or choose another --data"
            ) from None
        file.write(str(os.getpid()))
        file.flush()
        yield


def prepare_data_folder(data: Path) -> Path:
    """Return the data folder, made where it is missing; `DataFolderUnusable` where it cannot be written."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o750)
        probe = data / f".probe-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataFolderUnusable(f"the data folder {data} cannot be written: {error.strerror}") from error
    return data
