"""A filled catalogue is whole, takes new instances, and forgets a run's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.full_catalogue import FullCatalogue, FullPostgres, FullSqlite
from storage import schema
from storage.archive import utc_now
from storage.catalog import arrivals, changes
from storage.database import Database
from storage.records import Arrival, ObjectKey, Origin
from tests.builders import header
from tests.servers import postgres

INSTANCES = 1500


def _counts(url: str) -> dict[str, int]:
    with closing(Database(url)) as database, database.read() as tx:
        tables = (schema.studies, schema.series, schema.instances, schema.changes)
        return {t.name: tx.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in tables}


def _arrival() -> Arrival:
    key = ObjectKey("0" * 64)
    return Arrival(key=key, size_bytes=9, meta_bytes=5, header=header(), origin=Origin(via="dimse"))


def _fill_add_and_trim(full: FullCatalogue) -> None:
    filled = {"studies": 4, "series": 13, "instances": INSTANCES + 1, "changes": INSTANCES + 1}
    with full.ready():
        assert _counts(full.url) == filled
        with closing(Database(full.url)) as database:
            with database.read() as tx:
                inspector = sa.inspect(tx)
                for table in (schema.studies, schema.instances):
                    made = {index["name"] for index in inspector.get_indexes(table.name)}
                    assert {index.name for index in table.indexes} <= made
                orphans = sa.select(sa.func.count()).where(
                    schema.instances.c.series_pk.not_in(
                        sa.select(schema.series.c.id).where(schema.series.c.study_pk == schema.instances.c.study_pk)
                    )
                )
                assert tx.execute(orphans).scalar_one() == 0
                cursor = changes.last_seq(tx)
            with database.write() as tx:
                arrivals.record(tx, [_arrival()], now=utc_now())
            with database.read() as tx:
                assert changes.last_seq(tx) > cursor
        assert _counts(full.url)["instances"] == INSTANCES + 2
    with full.ready():
        assert _counts(full.url) == filled


def test_sqlite(tmp_path: Path) -> None:
    _fill_add_and_trim(FullSqlite(tmp_path, INSTANCES))


@pytest.mark.servers
def test_postgresql(tmp_path: Path) -> None:
    if reason := postgres.available():
        pytest.skip(reason)
    _fill_add_and_trim(FullPostgres(tmp_path, INSTANCES))
