"""A catalogue that lists as many studies of nobody as one likes, filled in bulk, kept for the next run.

The rows are written at the schema that knew no searching yet, and then brought to ours as a site's would be.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks import patients
from benchmarks.patients import Listed, listed
from storage.database import Database
from storage.migrate import HEAD, migrate
from tests.servers.postgres import PostgresServer, running_postgres

_BEFORE = "0002"
_BATCH = 10_000
_AT = 1_790_000_000_000_000
"""Microseconds: when all of it came in."""

_STUDIES = (
    "id",
    "study_instance_uid",
    "patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "identity_conflict",
    "study_date",
    "study_time",
    "accession_number",
    "study_description",
    "referring_physician_name",
    "modalities",
    "series_count",
    "instance_count",
    "state",
    "revision",
    "received_first",
    "received_last",
    "longest_gap_s",
    "quiet_until",
    "completed_at",
    "ready_at",
    "due_at",
)
_SERIES = ("study_pk", "series_instance_uid", "modality", "series_number", "series_description", "instance_count")


class ListedCatalogue(ABC):
    """A catalogue of `studies` studies below `folder`, each of one series and no instance."""

    kind: str

    def __init__(self, folder: Path, studies: int) -> None:
        told = hashlib.sha256(Path(patients.__file__).read_bytes()).hexdigest()[:8]  # other patients, another catalogue
        self.folder = folder / f"listed-{self.kind}-{studies}-{HEAD}-{told}"
        self.studies = studies
        self._done = self.folder / "filled"

    @contextmanager
    def ready(self) -> Iterator[Self]:
        """Serve it, filled first where it is not yet."""
        if not self._done.exists():
            for stale in self.folder.parent.glob(f"listed-{self.kind}-{self.studies}-*"):
                shutil.rmtree(stale)
            self.folder.mkdir(parents=True)
        with self.serving():
            if not self._done.exists():
                self._fill()
                self._done.touch()
            yield self

    @abstractmethod
    def serving(self) -> AbstractContextManager[None]:
        """Serve the database."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The catalogue."""

    @abstractmethod
    def insert(self, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows, by whatever is quickest."""

    @abstractmethod
    def settle(self) -> None:
        """Do what the database would have done by itself meanwhile."""

    def _fill(self) -> None:
        with closing(Database(self.url)) as database:
            migrate(database, to=_BEFORE)
        every = listed(self.studies)
        while batch := list(islice(every, _BATCH)):
            self.insert("studies", _STUDIES, map(_study_row, batch))
            self.insert("series", _SERIES, (row for one in batch for row in _series_rows(one)))
        with closing(Database(self.url)) as database:
            migrate(database)
        self.settle()


def _study_row(one: Listed) -> tuple[Any, ...]:
    return (
        one.number + 1,
        one.study_instance_uid,
        one.patient_id,
        one.patient_name,
        one.patient_birth_date,
        one.patient_sex,
        False,
        one.study_date,
        one.study_time,
        one.accession_number,
        one.study_description or None,
        one.referring_physician_name,
        "\\".join(one.modalities),
        len(one.modalities),
        len(one.modalities),
        "TRIAGED",
        1,
        *(_AT + one.number * 1_000_000 for _ in range(2)),
        0.0,
        *(_AT + one.number * 1_000_000 for _ in range(4)),
    )


def _series_rows(one: Listed) -> Iterator[tuple[Any, ...]]:
    for place, modality in enumerate(one.modalities, start=1):
        uid = one.series_instance_uid + (f".{place}" if place > 1 else "")
        yield (one.number + 1, uid, modality, place, one.study_description or None, 1)


class ListedSqlite(ListedCatalogue):
    """In SQLite, as `roi serve` has it."""

    kind = "sqlite"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Nothing serves a file."""
        yield

    @property
    def url(self) -> str:
        """The file."""
        return f"sqlite:///{self.folder / 'catalogue.sqlite'}"

    def insert(self, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert in one transaction."""
        names = list(columns)
        into = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"
        with closing(Database(self.url)) as database, database.write() as tx:
            tx.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            tx.exec_driver_sql(into, list(rows))

    def settle(self) -> None:
        """Write the log back."""
        with closing(sqlite3.connect(self.folder / "catalogue.sqlite")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class ListedPostgres(ListedCatalogue):
    """In PostgreSQL, with its durability and memory as shipped."""

    kind = "postgresql"
    _server: PostgresServer

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run its cluster."""
        with running_postgres(self.folder / "cluster") as server:
            self._server = server
            if not self._done.exists():
                server.make_database("listed")
            yield
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")  # it is stopped at once, and should not have to recover next time

    @property
    def url(self) -> str:
        """The database."""
        return f"{self._server.url.rpartition('/')[0]}/listed"

    def insert(self, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Copy."""
        names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
        into = psycopg.sql.SQL("COPY {} ({}) FROM STDIN").format(psycopg.sql.Identifier(table), names)
        with psycopg.connect(self.url) as connection, connection.cursor().copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    def settle(self) -> None:
        """Vacuum and analyse, as its own housekeeping does within minutes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT setval(pg_get_serial_sequence('studies', 'id'), (SELECT max(id) FROM studies))")
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
