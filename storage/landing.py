"""The landing zone: a folder on the gateway's own disk where an instance is durable before the object store has it.

With ``ROI_ACK=landing`` Success means: durable here and indexed.  `storage.uploads` brings the objects on.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from storage.adapters.directory import DirectoryStore
from storage.catalog import landings
from storage.catalog.landings import Place
from storage.errors import LandingFull, Misconfigured, ObjectMissing, ObjectOnItsWay, Unavailable
from storage.records import Verdict
from storage.sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from storage.catalog.arrivals import Answer
    from storage.database import Database, Transaction
    from storage.ports import ObjectStore
    from storage.records import Arrival, ObjectKey

Found = TypeVar("Found")

_IDENTITY: Final = "landing.id"
_ID_DIGITS: Final = 32


class Landing:
    """One landing zone.  Any number of threads and processes of its host may share the folder.

    At `limit_bytes` it takes nothing more.  What waits is counted in the catalogue about once a second (`recount`),
    so that processes which share a folder may go beyond the limit by what they take in within that time.
    """

    def __init__(self, root: Path, *, limit_bytes: int = 0) -> None:
        self.objects = DirectoryStore(root)
        self.lock_path = root / "upload.lock"
        self.place = Place(id=_identity(root), host=socket.gethostname())
        self.bell = threading.Event()
        """Rings when something has landed."""
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._taken_bytes = 0

    # ------------------------------------------------------------------------------------------------ its room
    def check(self, size_bytes: int = 0) -> None:
        """Return if so many bytes more may land.

        Raises
        ------
        LandingFull
            The limit is reached.
        """
        with self._lock:
            held = self._waiting_bytes + self._taken_bytes
            if held + size_bytes > self._limit_bytes or held >= self._limit_bytes:
                raise LandingFull(f"the landing zone holds {held} bytes, its limit is {self._limit_bytes}")

    def recount(self, database: Database) -> landings.Backlog | None:
        """Count anew what waits here; return it, None where nothing does."""
        with database.read() as tx:
            found = next((each for each in landings.backlogs(tx) if each.place.id == self.place.id), None)
        with self._lock:
            self._waiting_bytes, self._taken_bytes = found.size_bytes if found else 0, 0
        return found

    # ----------------------------------------------------------------------------------------- what lands here
    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep an object here; return the size of what is kept."""
        if not self._has(key):  # what is here already, here again, takes no room
            self.check(_length(source))
        size_bytes = self.objects.put(key, source)
        with self._lock:
            self._taken_bytes += size_bytes
        return size_bytes

    def _has(self, key: ObjectKey) -> bool:
        try:
            self.objects.size(key)
        except ObjectMissing:
            return False
        return True

    def changed_at(self, key: ObjectKey) -> float:
        """Return when the last byte of an object that lies here was written, POSIX seconds."""
        with self.objects.open(key) as stream:
            return os.fstat(stream.fileno()).st_mtime


class LandedObjects:
    """An `ObjectStore` as it is seen beside landing zones: what is on its way is there.

    With `takes`, a put goes to the landing zone, and whoever indexes it calls `enter` and `settle`.  Without a
    `database` nothing is known of other hosts' landing zones, and a copy in this one is taken for what was kept: for
    readers that ask for no offset.
    """

    def __init__(
        self, store: ObjectStore, *, landing: Landing | None, takes: bool = False, database: Database | None = None
    ) -> None:
        self.store = store
        self.landing = landing
        self._takes = takes
        self._database = database

    @property
    def here(self) -> str:
        """The id of this host's landing zone, empty where there is none."""
        return self.landing.place.id if self.landing is not None else ""

    # -------------------------------------------------------------------------------------------------- the port
    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep an object, in the landing zone where there is one that takes it; see the port."""
        if self.landing is not None and self._takes:
            return self.landing.put(key, source)
        return self.store.put(key, source)

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over a range of the object, see the port; `ObjectOnItsWay` where another host has it."""
        if (landing := self._here(key)) is not None:
            with suppress(ObjectMissing):  # uploaded this moment: the object store has it
                return landing.objects.open(key, offset=offset, length=length)
        return self._first(key, lambda store: store.open(key, offset=offset, length=length))

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        if (landing := self._here(key)) is not None:
            with suppress(ObjectMissing):  # as above
                return landing.objects.size(key)
        return self._first(key, lambda store: store.size(key))

    def remove(self, key: ObjectKey) -> None:
        """Forget the object, here and in the object store."""
        if self.landing is not None:
            self.landing.objects.remove(key)
        self.store.remove(key)

    def keys(self) -> Iterator[ObjectKey]:
        """Yield every key of this landing zone and of the object store once."""
        # What lands here first and is uploaded meanwhile is in both; what is uploaded is here until it is there.
        here = set(self.landing.objects.keys()) if self.landing is not None else set()
        yield from here
        yield from (key for key in iter(self.store.keys()) if key not in here)

    def ping(self) -> None:
        """Return if objects can be kept: where a landing zone takes them, the object store may be away."""
        if self.landing is not None and self._takes:
            self.landing.objects.ping()
        else:
            self.store.ping()

    # ------------------------------------------------------------------------------------------ what has landed
    def check(self) -> None:
        """Return if an object may be put; `LandingFull` where none may."""
        if self.landing is not None and self._takes:
            self.landing.check()

    def enter(self, tx: Transaction, arrivals: Sequence[Arrival], answers: Sequence[Answer], *, now: datetime) -> None:
        """Enter what the object store has to get of a batch that has been put, in the transaction that indexed it.

        That is what is new, and what is known but on its way from another host, whose disk may be gone for good.
        """
        if self.landing is None or not self._takes:
            return
        batch = list(zip(arrivals, answers, strict=True))
        again = [arrival.key for arrival, answer in batch if answer is not Verdict.STORED]
        aside = landings.put_aside(tx, [arrival.key for arrival, answer in batch if not isinstance(answer, Verdict)])
        late = landings.elsewhere(tx, again, here=self.here) if again else {}
        wanted = [
            arrival
            for arrival, answer in batch
            if answer in (Verdict.STORED, Verdict.HIDDEN)
            or arrival.key in late
            or not (isinstance(answer, Verdict) or arrival.key in aside)
        ]
        landings.enter(tx, wanted, self.landing.place, now=now)

    def check_readable(self, tx: Transaction, keys: Sequence[ObjectKey]) -> None:
        """Return if none of these objects is on its way from another host; `ObjectOnItsWay` where one is."""
        hosts = landings.elsewhere(tx, keys, here=self.here)
        if hosts:
            raise ObjectOnItsWay(f"{len(hosts)} of {len(keys)} objects are in landing zones of other hosts")

    def settle(self, arrival: Arrival, answer: Answer, *, now: datetime) -> None:
        """Have an indexed object uploaded; forget the copy of a repeated send whose first copy is where it belongs."""
        if self.landing is None or self._database is None or not self._takes:
            return
        if answer is not Verdict.STORED:
            with self._database.read() as tx:
                needed = bool(landings.held(tx, [arrival.key], here=self.here))
            if not needed and self._store_lacks(arrival.key):
                with self._database.write() as tx:
                    landings.enter(tx, [arrival], self.landing.place, now=now)
            elif not needed:
                self.landing.objects.remove(arrival.key)
        self.landing.bell.set()

    def _store_lacks(self, key: ObjectKey) -> bool:
        """Tell whether the object store has lost an object that it had."""
        try:
            self.store.size(key)
        except ObjectMissing:
            return True
        except Unavailable:  # it cannot be asked now; it had the object
            return False
        return False

    def _here(self, key: ObjectKey) -> Landing | None:
        """Return the landing zone where it has the copy that the catalogue's rows describe.

        A repeated send of an object that the store has may lie here for a moment, with file meta of another length.
        """
        landing = self.landing
        if landing is None or self._database is None:
            return landing
        try:
            size_bytes = landing.objects.size(key)
        except ObjectMissing:
            return None
        with self._database.read() as tx:
            return landing if landings.size_here(tx, key, here=landing.place.id) == size_bytes else None

    def _first(self, key: ObjectKey, ask: Callable[[ObjectStore], Found]) -> Found:
        """Ask the object store, then the landing zone for what no row speaks of, then who else has it."""
        try:
            return ask(self.store)
        except ObjectMissing as error:
            if self.landing is not None:
                with suppress(ObjectMissing):  # of a lost catalogue, or arriving: whoever asks knows its file meta
                    return ask(self.landing.objects)
            if self._database is None:
                raise
            with self._database.read() as tx:
                hosts = landings.elsewhere(tx, [key], here=self.here)
            if not hosts:
                raise
            raise ObjectOnItsWay(f"object {key} is still in the landing zone of {hosts[key]}") from error


class LateStore:
    """An object store that is opened when it first answers: a landing zone takes instances in while it is away."""

    def __init__(self, open_store: Callable[[], ObjectStore]) -> None:
        self._open_store = open_store
        self._lock = threading.Lock()
        self._store: ObjectStore | None = None

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """See the port."""
        return self._opened().put(key, source)

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """See the port."""
        return self._opened().open(key, offset=offset, length=length)

    def size(self, key: ObjectKey) -> int:
        """See the port."""
        return self._opened().size(key)

    def remove(self, key: ObjectKey) -> None:
        """See the port."""
        self._opened().remove(key)

    def keys(self) -> Iterator[ObjectKey]:
        """See the port."""
        yield from self._opened().keys()

    def ping(self) -> None:
        """See the port."""
        self._opened().ping()

    @property
    def incoming(self) -> Path | None:
        """Where the opened store takes files by link, if it does."""
        return getattr(self._store, "incoming", None)

    def try_now(self) -> None:
        """Open it if it answers: a setting that cannot work is said at start, `Misconfigured`."""
        try:
            self._opened()
        except Unavailable:
            return  # the landing zone is for this

    def _opened(self) -> ObjectStore:
        if self._store is None:
            opened = self._open_store()  # may take seconds where nobody answers: no lock is held meanwhile
            with self._lock:
                self._store = self._store or opened
        return self._store


def _identity(root: Path) -> str:
    """Return the folder's own id, made with the folder: it outlives a change of the host's name."""
    path = root / _IDENTITY
    try:
        if not path.exists():
            made = root / f".{_IDENTITY}-{secrets.token_hex(8)}"
            with made.open("x", encoding="ascii") as file:
                file.write(secrets.token_hex(_ID_DIGITS // 2))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process of this host was faster: its id is the folder's
                os.link(made, path)
            made.unlink()
            sync_folder(root)
        identity = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Misconfigured(f"the landing zone {root} cannot be written: {error.strerror}") from error
    if len(identity) != _ID_DIGITS:
        raise Misconfigured(f"{path} holds no id of a landing zone; if it is empty, remove it")
    return identity


def _length(source: BinaryIO) -> int:
    """Return what is left to read, 0 where the source cannot tell."""
    if not source.seekable():
        return 0
    here = source.tell()
    end = source.seek(0, os.SEEK_END)
    source.seek(here)
    return end - here
