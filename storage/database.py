"""The catalogue's database: one engine, read and write transactions, group commit."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

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
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        # SQLite's readers see one moment anyway; PostgreSQL's see the latest with every statement unless told.
        self._one_moment: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that only reads, and sees one moment however many statements it takes."""
        with _world_errors(), self._engine.connect().execution_options(**self._one_moment) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that is durable once the block ends, or rolled back where it raises."""
        with (
            _world_errors(),
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


class GroupCommit(Generic[Item, Answer]):
    """Lets concurrent callers share a commit: one writer takes what waits, at most `most` items, in one transaction.

    Where a shared transaction fails, each of its items is tried alone, so that one bad item fails only its caller; a
    database that is away fails all of them at once.
    """

    def __init__(
        self, database: Database, work: Callable[[Transaction, Sequence[Item]], Sequence[Answer]], *, most: int = 256
    ) -> None:
        self._database = database
        self._work = work
        self._most = most
        self._waiting: queue.SimpleQueue[tuple[Item, Future[Answer]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._writer.start()

    def submit(self, item: Item) -> Answer:
        """Return the item's answer once its transaction is durable."""
        future: Future[Answer] = Future()
        self._waiting.put((item, future))
        return future.result()

    def close(self) -> None:
        """Let what waits finish, then stop the writer."""
        self._waiting.put(None)
        self._writer.join()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._commit(batch)

    def _take(self) -> list[tuple[Item, Future[Answer]]] | None:
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < self._most:
            try:
                more = self._waiting.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._waiting.put(None)
                break
            batch.append(more)
        return batch

    def _commit(self, batch: list[tuple[Item, Future[Answer]]]) -> None:
        try:
            with self._database.write() as tx:
                answers = self._work(tx, [item for item, _ in batch])
        except BaseException as error:  # noqa: BLE001 - handed to the callers, each of whom raises it
            if len(batch) == 1 or isinstance(error, Unavailable):
                for _, future in batch:
                    future.set_exception(error)
                return
            for single in batch:
                self._commit([single])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)


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
    # A deferred writer would have to upgrade its lock later, and SQLite then answers "busy" without waiting.
    writes = connection.get_execution_options().get("roi_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgres(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("SET lock_timeout = '30s'")
    connection.commit()


_JSON: dict[str, Any] = {"json_serializer": _to_json, "json_deserializer": orjson.loads}


@contextmanager
def _world_errors() -> Iterator[None]:
    """Turn a database that does not answer into ours; a wrong statement stays a bug and is not disguised."""
    try:
        yield
    except OperationalError as error:
        raise CatalogueUnavailable(f"the catalogue database does not answer: {_first_line(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise CatalogueUnavailable(f"the catalogue database went away: {_first_line(error)}") from error
        raise
    except sa.exc.TimeoutError as error:
        raise CatalogueUnavailable("all catalogue connections are busy") from error


def _first_line(error: SQLAlchemyError) -> str:
    # Only the driver's sentence: the statement and its parameters may carry names.
    return str(getattr(error, "orig", error)).partition("\n")[0]
