"""The catalogue schema, release by release (Alembic)."""
