"""What Alembic runs: the migrations, on the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from cocu.catalog import models

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=models.Dataset.metadata,  # of all tables
    # SQLite cannot alter most of a table; Alembic then copies it.
    render_as_batch=True,
    # The caller's transaction is the lock; Alembic must not open or end one.
    transaction_per_migration=False,
)
context.run_migrations()
