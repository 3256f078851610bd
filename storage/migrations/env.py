"""Alembic's entry: runs the steps on the connection that `storage.migrate` hands over."""

from __future__ import annotations

from alembic import context

from storage import schema


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=schema.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=False,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
