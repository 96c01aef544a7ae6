"""What Alembic runs: the migrations, on the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from cocu.storage.catalog.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter most of a table; Alembic then copies it.
    render_as_batch=True,
    # The caller's transaction is the lock; Alembic must not open or end one.
    transaction_per_migration=False,
)
context.run_migrations()
