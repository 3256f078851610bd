"""The steps lead to the schema that the code uses, and a newer catalogue is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from storage import schema
from storage.database import Database
from storage.errors import Misconfigured
from storage.migrate import migrate


def test_the_steps_lead_to_the_schema(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    assert migrate(database)
    assert not migrate(database)
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"include_name": _is_ours})
        assert compare_metadata(context, schema.metadata) == []


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    """Tell a table of ours from those that SQLite makes for an index of trigrams."""
    return kind != "table" or not (name or "").startswith("study_texts_trigrams")


def test_a_newer_catalogue_is_refused_in_words(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    migrate(database)
    with database.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="9999"):
        migrate(database)


def test_sqlite_is_durable_before_it_answers(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    with database.read() as tx:
        pragmas = [tx.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]  # 2: FULL


@pytest.mark.parametrize("url", ["mysql://host/db", "nothing", "sqlite:file"])
def test_a_wrong_url_is_refused_in_words(url: str) -> None:
    with pytest.raises(Misconfigured, match="expected"):
        Database(url)
