"""Brings a catalogue to this release's schema; a newer one is refused, never guessed at."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage.errors import Misconfigured

if TYPE_CHECKING:
    from storage.database import Database, Transaction

HEAD = "0014"
"""The newest file in `storage/migrations/versions`."""

_LOCK = 0x0052_4F49_4D49


def migrate(database: Database, *, to: str = HEAD) -> bool:
    """Run the steps that are missing; tell whether there were any.  An older schema than ours is for tests alone.

    One process at a time does this; the others wait and then find nothing to do.

    Raises
    ------
    Misconfigured
        The catalogue was written by a newer release.
    """
    with database.read() as tx:
        if _version(tx) == to:
            return False
    with database.write() as tx:
        if tx.dialect.name == "postgresql":
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        version = _version(tx)
        if version == to:
            return False
        _upgrade(tx, version, to)
    return True


def _version(tx: Transaction) -> str | None:
    if not sa.inspect(tx).has_table("alembic_version"):
        return None
    version: str | None = tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return version


def _upgrade(tx: Transaction, version: str | None, to: str) -> None:
    # Alembic is only needed here, once a release: a running gateway does not carry it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = tx
    try:
        with contextlib.redirect_stdout(None):
            command.upgrade(config, to)
    except CommandError as error:
        raise Misconfigured(
            f"the catalogue is at schema {version}, which this release ({HEAD}) does not know; use the newer release"
        ) from error
