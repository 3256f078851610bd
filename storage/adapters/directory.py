"""Objects as files: ``objects/<first two digits>/<digest>`` below one folder."""

from __future__ import annotations

import errno
import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from storage.errors import Misconfigured, ObjectMissing, ObjectStoreUnavailable, OutOfSpace
from storage.records import ObjectKey
from storage.spool import Spool
from storage.sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("dir",)

_BUFFER = 128 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DirectoryStore:
    """An `ObjectStore` on a POSIX file system with hard links.

    A put syncs the file, links it to its final name and syncs that folder, in this order, so that a name never
    stands for bytes that a power cut could take.  A file that arrived through `incoming` is linked, not copied.
    """

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self.incoming = root / "incoming"
        self._incoming = str(self.incoming)
        self._shelves: dict[str, int] = {}
        """First two digits -> descriptor of that folder, opened when it is first synced."""
        try:
            self.incoming.mkdir(parents=True, exist_ok=True)
            self._make_shelves()
        except OSError as error:
            raise Misconfigured(f"the object folder {root} cannot be written: {error.strerror}") from error

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep what `source` yields; see the port."""
        with _world_errors():
            name = getattr(source, "name", None)
            if isinstance(name, str) and os.path.dirname(name) == self._incoming:  # noqa: PTH120 - no path objects here
                return self._link(name, source.fileno(), key)
            with Spool(self.incoming) as copy:
                shutil.copyfileobj(source, copy.reader(), 1 << 20)
                return self._link(copy.path, copy.reader().fileno(), key)

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over a range of the object; see the port."""
        with _world_errors(key):
            path = f"{self._objects}/{key[:2]}/{key}"
            if length is None:
                stream: BinaryIO = open(path, "rb", buffering=_BUFFER)  # noqa: PTH123, SIM115 - whoever asks closes it
                if offset:
                    stream.seek(offset)
                return stream
            file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - nothing beyond the range is read
        return io.BufferedReader(_Window(file, offset, length))

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        with _world_errors(key):
            return os.stat(f"{self._objects}/{key[:2]}/{key}").st_size  # noqa: PTH116 - as above

    def remove(self, key: ObjectKey) -> None:
        """Forget the object."""
        with _world_errors():
            self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[ObjectKey]:
        """Yield every key once."""
        for shelf in sorted(self._objects.iterdir()):
            for path in shelf.iterdir():
                yield ObjectKey(path.name)

    def ping(self) -> None:
        """Check that the folder is there and writable."""
        if not os.access(self._objects, os.W_OK):
            raise ObjectStoreUnavailable(f"the object folder {self._objects} is not writable")

    def _path(self, key: ObjectKey) -> Path:
        return self._objects / key[:2] / key

    def _make_shelves(self) -> None:
        for number in range(256):
            (self._objects / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        sync_folder(self._objects)
        sync_folder(self._objects.parent)

    def _link(self, path: str, descriptor: int, key: ObjectKey) -> int:
        os.fsync(descriptor)
        target, shelf = f"{self._objects}/{key[:2]}/{key}", self._shelf(key[:2])
        try:
            os.link(path, target)
        except FileExistsError:
            # Whoever linked it before us may not have synced the folder yet: do so before answering.
            os.fsync(shelf)
            return os.stat(target).st_size  # noqa: PTH116
        os.fsync(shelf)
        return os.fstat(descriptor).st_size

    def _shelf(self, name: str) -> int:
        descriptor = self._shelves.get(name)
        if descriptor is None:
            opened = os.open(self._objects / name, os.O_RDONLY | os.O_DIRECTORY)
            descriptor = self._shelves.setdefault(name, opened)
            if descriptor != opened:  # another thread was first
                os.close(opened)
        return descriptor


class _Window(io.RawIOBase):
    """`length` bytes of a file from `offset`, fewer at its end; the file is closed with it."""

    def __init__(self, file: io.FileIO, offset: int, length: int) -> None:
        self._file = file
        self._file.seek(offset)
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _world_errors(key: ObjectKey | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if key is None:
            raise ObjectStoreUnavailable(f"the object folder has lost a part: {error.filename}") from error
        raise ObjectMissing(f"no object under {key}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace from error
        raise ObjectStoreUnavailable(f"the object folder does not answer: {error.strerror}") from error


def open_store(url: str, *, access_key: str | None = None, secret_key: str | None = None) -> DirectoryStore:  # noqa: ARG001 - the adapters' common form
    """Open ``dir:///folder``, made where it is missing."""
    path = unquote(urlsplit(url).path)
    if not path.startswith("/"):
        raise Misconfigured(f"{url}: expected dir:///absolute/folder")
    return DirectoryStore(Path(path))
