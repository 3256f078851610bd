"""Objects as files: ``objects/<first two digits>/<digest>`` below one folder."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from storage import journal
from storage.errors import Misconfigured, ObjectMissing, ObjectStoreUnavailable, OutOfSpace
from storage.journal import Journal
from storage.records import ObjectKey
from storage.spool import Spool
from storage.sync import file_system, sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("dir",)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_OVERWRITES = frozenset({"ext4", "xfs"})
"""File systems whose blocks, once written, are written again in place, and that one machine alone has mounted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shelf:
    """The folder of the objects whose keys begin with the same two digits."""

    descriptor: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other thread and process from giving a name here."""
        with self.lock:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)


class DirectoryStore:
    """An `ObjectStore` on a POSIX file system with hard links.

    A put syncs the file, links it to its final name and syncs that folder, in this order, so that a name never
    stands for bytes that a power cut could take.  A file that arrived through `incoming` is linked, not copied; with
    a journal its bytes are synced there, and file and folder some time later.
    """

    def __init__(self, root: Path, *, journaled: bool = False) -> None:
        self._objects = root / "objects"
        self.incoming = root / "incoming"
        self._incoming = str(self.incoming)
        self._journals = root / "journal"
        self._noted = str(self._journals)
        self._shelves: dict[str, _Shelf] = {}
        """First two digits -> that folder, opened when it is first synced."""
        try:
            self.incoming.mkdir(parents=True, exist_ok=True)
            self._make_shelves()
            rewrite = partial(_rewrite, self.incoming, self._objects)
            journal.recover(self._journals, self._objects, rewrite)
            self._journal = Journal(self._journals, self._objects, rewrite) if journaled else None
        except OSError as error:
            if error.errno in _FULL:
                raise OutOfSpace(f"no room to recover what the journal {self._journals} holds") from error
            raise Misconfigured(f"the object folder {root} cannot be written: {error.strerror}") from error
        if self._journal is not None:
            weakref.finalize(self, self._journal.close)

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep what `source` yields; see the port."""
        with _world_errors():
            name = getattr(source, "name", None)
            if isinstance(name, str) and os.path.dirname(name) == self._incoming:  # noqa: PTH120 - no path objects here
                if self._journal is not None:
                    return self._link_journaled(source, key, self._journal)
                return self._link(name, source.fileno(), key)
            with Spool(self.incoming) as copy:
                shutil.copyfileobj(source, copy.reader(), 1 << 20)
                return self._link(copy.path, copy.reader().fileno(), key)

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over a range of the object; see the port."""
        with _world_errors(key):
            if length is None:
                stream: BinaryIO = self._path(key).open("rb")
                stream.seek(offset)
                return stream
            file = self._path(key).open("rb", buffering=0)  # nothing beyond the range is read
        return io.BufferedReader(_Window(file, offset, length))

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        with _world_errors(key):
            return self._path(key).stat().st_size

    def remove(self, key: ObjectKey) -> None:
        """Forget the object."""
        with _world_errors():
            journal.forget(self._journals, key)
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
            return self._known(target, shelf)
        os.fsync(shelf.descriptor)
        return os.fstat(descriptor).st_size

    def _known(self, target: str, shelf: _Shelf) -> int:
        """Return the size of an object that is there.

        Whoever linked it may not have synced the folder yet, or have only its journal to rely on.
        """
        sync_file(target)
        os.fsync(shelf.descriptor)
        return os.stat(target).st_size  # noqa: PTH116

    def _link_journaled(self, source: BinaryIO, key: ObjectKey, kept: Journal) -> int:
        """Give an object its name once the journal has its bytes.

        From the look whether it is there to the link nobody else gives a name on this shelf: of two copies with other
        file meta information, only that which gets the name is ever in a journal.
        """
        target, shelf = f"{self._objects}/{key[:2]}/{key}", self._shelf(key[:2])
        size_bytes = os.fstat(source.fileno()).st_size
        with shelf.alone():
            if os.path.exists(target):  # noqa: PTH110 - no path objects here
                return self._known(target, shelf)
            with kept.holding(key, source.fileno(), size_bytes, target) as held:
                if not held:
                    return self._link(source.name, source.fileno(), key)
                try:
                    os.link(source.name, target)
                except FileExistsError:  # from a copy that took the long way, and was synced before
                    return self._known(target, shelf)
        if journal.is_forgotten(self._noted, key):  # removed a moment ago: a recovery would pass it over
            self._known(target, shelf)
        return size_bytes

    def _shelf(self, name: str) -> _Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            opened = os.open(self._objects / name, os.O_RDONLY | os.O_DIRECTORY)
            shelf = self._shelves.setdefault(name, _Shelf(descriptor=opened))
            if shelf.descriptor != opened:  # another thread was first
                os.close(opened)
        return shelf


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


def _rewrite(incoming: Path, objects: Path, key: ObjectKey, content: memoryview) -> None:
    """Put an object in place of whatever has its name."""
    with Spool(incoming) as copy:
        copy.write(content)
        os.fsync(copy.reader().fileno())
        Path(copy.path).replace(objects / key[:2] / key)
    sync_folder(objects / key[:2])


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
    folder = Path(path)
    return DirectoryStore(folder, journaled=_is_overwritten(folder))


def _is_overwritten(folder: Path) -> bool:
    """Tell whether a folder, made where it is missing, lies where a journal brings something."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False  # whoever opens it says why
    return file_system(folder) in _OVERWRITES
