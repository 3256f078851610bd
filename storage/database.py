"""The catalogue's database: one engine, read and write transactions, group commit."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import unquote, urlsplit

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from storage.errors import CatalogueUnavailable, Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Transaction = sa.Connection
"""What the functions of `storage.catalog` take first."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_BUSY_MS = 30_000


class Database:
    """A catalogue database, SQLite (WAL, synchronous FULL) or PostgreSQL (synchronous_commit on).

    Safe to share between threads.  A database that does not answer raises `CatalogueUnavailable`.
    """

    def __init__(self, url: str, *, password: str | None = None) -> None:
        self.url = url
        self._engine = _engine(url, password)
        self._driver: Any = self._engine.dialect.loaded_dbapi
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        # A deferred writer would have to upgrade its lock later, and SQLite then answers "busy" without waiting.
        self.begin_write = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        # SQLite's readers see one moment anyway; PostgreSQL's see the latest with every statement unless told.
        self._one_moment: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that only reads, and sees one moment however many statements it takes."""
        with (
            self.world_errors(),
            self._engine.connect().execution_options(**self._one_moment) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that is durable once the block ends, or rolled back where it raises."""
        with (
            self.world_errors(),
            self._engine.connect().execution_options(roi_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def ping(self) -> None:
        """Return if the database answers."""
        with self.read() as tx:
            tx.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def connect_bare(self) -> sa.Connection:
        """Open a connection whose transactions its user begins and ends in SQL."""
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", roi_bare=True)

    @contextmanager
    def world_errors(self) -> Iterator[None]:
        """Turn a database that does not answer into ours; a wrong statement stays a bug and is not disguised."""
        try:
            yield
        except OperationalError as error:
            raise _away(error.orig or error) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise _away(error.orig or error) from error
            raise
        except sa.exc.TimeoutError as error:
            raise CatalogueUnavailable("all catalogue connections are busy") from error
        except self._driver.OperationalError as error:
            raise _away(error) from error
        except self._driver.InterfaceError as error:
            raise _away(error) from error


class Writer:
    """One connection kept for one transaction after the other, whose statements the driver runs itself.

    Used by one thread at a time.  A connection that fails is dropped, and the next transaction has a new one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sa.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that is durable once the block ends, or rolled back where it raises."""
        with self._database.world_errors():
            connection = self._connection or self._connect()
            cursor = connection.connection.cursor()
            try:
                cursor.execute(self._database.begin_write)
                yield connection
                cursor.execute("COMMIT")
            except BaseException:
                self.close()  # which rolls back
                raise

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _connect(self) -> sa.Connection:
        self._connection = self._database.connect_bare()
        return self._connection


class _Ticket(Generic[Item, Answer]):
    """One caller of a `GroupCommit`: what it brings, and, once it is called, what has become of it."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.leads = False
        self._called = threading.Lock()
        self._called.acquire()

    def wait(self) -> None:
        """Return when called."""
        self._called.acquire()

    def call(self) -> None:
        """Let the caller go on."""
        self._called.release()


class GroupCommit(Generic[Item, Answer]):
    """Lets concurrent callers share a commit.

    A caller that finds nobody committing commits what waits, at most `most` items in one transaction, its own among
    them; those who come meanwhile wait, and the first of them commits next.  Where a shared transaction fails, each
    of its items is tried alone, so that one bad item fails only its caller; a database that is away fails all at once.
    """

    def __init__(
        self, database: Database, work: Callable[[Transaction, Sequence[Item]], Sequence[Answer]], *, most: int = 256
    ) -> None:
        self._writer = Writer(database)
        self._work = work
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket[Item, Answer]] = deque()
        self._led = False
        self._idle = threading.Event()
        self._idle.set()

    def submit(self, item: Item) -> Answer:
        """Return the item's answer once its transaction is durable."""
        ticket: _Ticket[Item, Answer] = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            ticket.leads, self._led = not self._led, True
            self._idle.clear()
        if not ticket.leads:
            ticket.wait()
        if ticket.leads:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return cast("Answer", ticket.answer)

    def close(self) -> None:
        """Let what waits finish."""
        self._idle.wait()
        self._writer.close()

    def _lead(self) -> None:
        """Commit what waits, the caller's own first, and hand over to the first of those who came meanwhile."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        self._commit(batch)
        with self._lock:
            successor = self._waiting[0] if self._waiting else None
            if successor:
                successor.leads = True
            else:
                self._led = False
                self._idle.set()
        for ticket in batch[1:]:
            ticket.call()
        if successor:
            successor.call()

    def _commit(self, batch: list[_Ticket[Item, Answer]]) -> None:
        try:
            with self._writer.transaction() as tx:
                answers = self._work(tx, [ticket.item for ticket in batch])
        except BaseException as error:  # noqa: BLE001 - handed to the callers, each of whom raises it
            if len(batch) == 1 or isinstance(error, Unavailable):
                for ticket in batch:
                    ticket.error = error
                return
            for ticket in batch:
                self._commit([ticket])
            return
        for ticket, answer in zip(batch, answers, strict=True):
            ticket.answer = answer


def _engine(url: str, password: str | None) -> sa.Engine:
    scheme = urlsplit(url).scheme
    try:
        return _ENGINES[scheme](url, password)
    except (KeyError, ArgumentError):
        raise Misconfigured(
            f"no catalogue at {scheme or url!r}: expected sqlite:////absolute/file or postgresql://user@host/database"
        ) from None


def _sqlite(url: str, _password: str | None) -> sa.Engine:
    path = unquote(urlsplit(url).path)
    if not path.startswith("/"):
        raise ArgumentError
    target = sa.URL.create("sqlite+pysqlite", database=path.replace("//", "/"))
    engine = sa.create_engine(target, pool_size=8, max_overflow=64, **_JSON)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres(url: str, password: str | None) -> sa.Engine:
    target = sa.make_url(url).set(drivername="postgresql+psycopg")
    if password:
        target = target.set(password=password)
    engine = sa.create_engine(
        target, pool_size=8, max_overflow=56, pool_pre_ping=True, connect_args={"connect_timeout": 5}, **_JSON
    )
    event.listen(engine, "connect", _prepare_postgres)
    return engine


_ENGINES = {"sqlite": _sqlite, "postgresql": _postgres}


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("roi_bare"):
        driven: Any = connection.connection.driver_connection  # SQLAlchemy's own way takes ten times as long
        driven.execute("BEGIN IMMEDIATE" if options.get("roi_write") else "BEGIN")


def _prepare_postgres(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("SET lock_timeout = '30s'")
    connection.commit()


_JSON: dict[str, Any] = {"json_serializer": _to_json, "json_deserializer": orjson.loads}


def _away(error: BaseException) -> CatalogueUnavailable:
    # Only the driver's sentence: the statement and its parameters may carry names.
    return CatalogueUnavailable(f"the catalogue database does not answer: {str(error).partition(chr(10))[0]}")
