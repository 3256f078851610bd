"""A catalogue that holds millions of instances already, filled by SQL in bulk, kept for the next run.

One study goes through our own ingest; its rows are then copied under random UIDs, so that every column holds what
the product writes.  UIDs and digests come in no order: each new row lands on another page of every index.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from benchmarks.corpora import make_corpus
from pacs_gateway.ingest import Ingest
from storage import schema
from storage.adapters import open_store
from storage.archive import Archive
from storage.database import Database
from storage.migrate import HEAD, migrate
from storage.records import Origin
from tests.servers.postgres import PostgresServer, running_postgres

INSTANCES_A_STUDY = 500
SERIES_A_STUDY = 4

_TABLES = ("studies", "series", "instances", "changes")
"""In the order in which rows refer to each other."""


class FullCatalogue(ABC):
    """A catalogue of `instances` instances below `folder`.  A context manager: it can be used within."""

    kind: str

    def __init__(self, folder: Path, instances: int) -> None:
        state = hashlib.sha256(Path(schema.__file__).read_bytes()).hexdigest()[:8]  # another schema, another catalogue
        self.folder = folder / f"full-{self.kind}-{instances}-{HEAD}-{state}"
        self._instances = instances
        self._marks = self.folder / "last-rows.json"

    @contextmanager
    def ready(self) -> Iterator[list[int]]:
        """Fill it where it is not yet, remove what an earlier run added; yield the processes that serve it."""
        if not self._marks.exists():
            for stale in self.folder.parent.glob(f"full-{self.kind}-{self._instances}-*"):
                shutil.rmtree(stale)
            self.folder.mkdir(parents=True)
        with self.serving() as pids:
            if self._marks.exists():
                self._trim(json.loads(self._marks.read_text()))
            else:
                self._fill()
            yield pids

    @abstractmethod
    def serving(self) -> AbstractContextManager[list[int]]:
        """Serve the catalogue; yield the processes that do."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The filled catalogue."""

    @abstractmethod
    def empty_url(self) -> str:
        """Make an empty catalogue in the same place and return it."""

    @abstractmethod
    def _copy(self, statements: Mapping[str, str]) -> None:
        """Run the statements with the indexes of their tables away, and those made again after."""

    def _fill(self) -> None:
        self._take_one_study()
        self._copy({name: _copying(name, self._instances, self._random) for name in _TABLES})
        with closing(Database(self.url)) as database, database.read() as tx:
            keys = {name: next(iter(schema.metadata.tables[name].primary_key)) for name in _TABLES}
            marks = {name: tx.execute(sa.select(sa.func.max(key))).scalar_one() for name, key in keys.items()}
            filled = tx.execute(sa.select(sa.func.count()).select_from(schema.instances)).scalar_one()
        if filled != self._instances + 1:
            raise RuntimeError(f"the full catalogue has {filled} rows in place of {self._instances + 1}")
        self._marks.write_text(json.dumps(marks))

    def _take_one_study(self) -> None:
        corpus = make_corpus("tiny", self.folder / "first", small=True, seed=0, most_studies=1)
        database = Database(self.url)
        migrate(database)
        objects = open_store(f"dir://{self.folder / 'store'}")
        spool_folder = self.folder / "spool"
        spool_folder.mkdir()
        with closing(Archive(objects=objects, database=database, spool_folder=spool_folder)) as archive:
            first = corpus.files[0].read_bytes()
            Ingest(archive).part10(io.BytesIO(first), Origin(via="dimse", calling_aet="CT1", called_aet="ROI"))

    def _trim(self, marks: Mapping[str, int]) -> None:
        with closing(Database(self.url)) as database:
            migrate(database)
            with database.write() as tx:
                for name in reversed(_TABLES):
                    table = schema.metadata.tables[name]
                    [key] = table.primary_key
                    tx.execute(sa.delete(table).where(key > marks[name]))

    @property
    @abstractmethod
    def _random(self) -> Mapping[str, str]:
        """SQL of a random UID, a random digest, and the numbers 0 up to the parameter."""


class FullSqlite(FullCatalogue):
    """In SQLite, as `roi serve` has it."""

    kind = "sqlite"

    @property
    def url(self) -> str:
        """The filled file."""
        return f"sqlite:///{self.folder / 'full.sqlite'}"

    def empty_url(self) -> str:
        """Remove the last run's file."""
        path = self.folder / "empty.sqlite"
        for name in (path, *self.folder.glob("empty.sqlite-*")):
            name.unlink(missing_ok=True)
        return f"sqlite:///{path}"

    @contextmanager
    def serving(self) -> Iterator[list[int]]:
        """Nothing serves a file."""
        yield []

    def _copy(self, statements: Mapping[str, str]) -> None:
        with closing(sqlite3.connect(self.folder / "full.sqlite", isolation_level=None)) as connection:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-2000000"):
                connection.execute(f"PRAGMA {pragma}")
            indexes = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            ).fetchall()
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}")
            for statement in statements.values():
                connection.execute("BEGIN")
                connection.execute(statement)
                connection.execute("COMMIT")
            for _, definition in indexes:
                connection.execute(definition)
            connection.execute("PRAGMA journal_mode=WAL")

    @property
    def _random(self) -> Mapping[str, str]:
        """SQLite's words."""
        return {
            "uid": "'2.25.' || abs(random()) || abs(random())",
            "digest": "lower(hex(randomblob(32)))",
            "numbers": "(WITH RECURSIVE up(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM up WHERE i < {last}) "
            "SELECT i FROM up)",
        }


class FullPostgres(FullCatalogue):
    """In PostgreSQL, with its durability and memory as shipped."""

    kind = "postgresql"
    _server: PostgresServer

    @property
    def url(self) -> str:
        """The filled database."""
        return f"{self._server.url.rpartition('/')[0]}/full"

    def empty_url(self) -> str:
        """Make the other database anew."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
        return self._server.make_database("empty")

    @contextmanager
    def serving(self) -> Iterator[list[int]]:
        """Run its cluster."""
        with running_postgres(self.folder / "cluster") as server:
            self._server = server
            if not self._marks.exists():
                server.make_database("full")
            yield [server.pid]
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")  # it is stopped at once, and should not have to recover next time

    def _copy(self, statements: Mapping[str, str]) -> None:
        names = list(_TABLES)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # no look-up of foreign keys, row for row
            connection.execute("SET synchronous_commit = off")
            connection.execute("SET maintenance_work_mem = '1GB'")
            constraints = connection.execute(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE contype = 'u' AND conrelid::regclass::text = ANY(%s)",
                [names],
            ).fetchall()
            for table, name, _ in constraints:
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
            indexes = connection.execute(
                "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
                "WHERE NOT indisprimary AND indrelid::regclass::text = ANY(%s)",
                [names],
            ).fetchall()
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}".encode())
            for statement in statements.values():
                connection.execute(statement.encode())
            for table, name, definition in constraints:
                connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}".encode())
            for _, definition in indexes:
                connection.execute(definition.encode())
            for name in names:
                [key] = schema.metadata.tables[name].primary_key
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{name}', '{key.name}'), "
                    f"(SELECT max({key.name}) FROM {name}))".encode()
                )
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    @property
    def _random(self) -> Mapping[str, str]:
        """PostgreSQL's words."""
        return {
            "uid": "'2.25.' || (random() * 1e18)::bigint || (random() * 1e18)::bigint",
            "digest": "md5(random()::text) || md5(random()::text)",
            "numbers": "generate_series(0, {last}) AS up(i)",
        }


def _copying(table: str, instances: int, words: Mapping[str, str]) -> str:
    """Return the statement that copies the first row of a table as often as the whole needs."""
    studies = -(-instances // INSTANCES_A_STUDY)
    series = f"2 + {{i}} / {INSTANCES_A_STUDY} * {SERIES_A_STUDY} + {{i}} % {SERIES_A_STUDY}"
    uid, digest = words["uid"], words["digest"]
    of_instance = {"study_instance_uid": "s.study_instance_uid", "sop_instance_uid": "n.sop_instance_uid"}
    own: dict[str, tuple[int, dict[str, str]]] = {
        "studies": (
            studies,
            {
                "id": "2 + i",
                "study_instance_uid": uid,
                "patient_id": f"substr({digest}, 1, 10)",
                "accession_number": f"substr({digest}, 1, 10)",
                "patient_name_folded": f"substr({digest}, 1, 16)",
                "state": "'TRIAGED'",
                "series_count": str(SERIES_A_STUDY),
                "instance_count": str(INSTANCES_A_STUDY),
            },
        ),
        "series": (
            studies * SERIES_A_STUDY,
            {
                "id": "2 + i",
                "study_pk": f"2 + i / {SERIES_A_STUDY}",
                "series_instance_uid": uid,
                "instance_count": str(INSTANCES_A_STUDY // SERIES_A_STUDY),
            },
        ),
        "instances": (
            instances,
            {
                "id": "2 + i",
                "study_pk": f"2 + i / {INSTANCES_A_STUDY}",
                "series_pk": series.format(i="i"),
                "sop_instance_uid": uid,
                "object_key": digest,
            },
        ),
        "changes": (instances, {"seq": "2 + n.id", **of_instance}),
    }
    count, values = own[table]
    columns = [column.name for column in schema.metadata.tables[table].columns]
    quoted = ", ".join(f'"{name}"' for name in columns)
    chosen = ", ".join(values.get(name, f'first."{name}"') for name in columns)
    key = next(iter(schema.metadata.tables[table].primary_key)).name
    source = (
        "instances n JOIN studies s ON s.id = n.study_pk"
        if table == "changes"
        else words["numbers"].format(last=count - 1)
    )
    return f"INSERT INTO {table} ({quoted}) SELECT {chosen} FROM {table} first, {source} WHERE first.{key} = 1" + (
        " AND n.id > 1 ORDER BY n.id" if table == "changes" else ""
    )
