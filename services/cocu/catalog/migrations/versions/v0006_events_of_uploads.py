"""Events tell of uploads too, in one order with those of curations, and no id is given twice.

SQLite gave the id of a deleted last row to the next one: a reader that goes on after it would miss that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    with op.batch_alter_table(
        "events", recreate="auto", table_kwargs={"sqlite_autoincrement": True}
    ) as table:
        table.alter_column("curation_id", existing_type=sa.String(length=64), nullable=True)
        table.add_column(sa.Column("dataset_id", sa.String(length=64), nullable=True))
        table.create_foreign_key("fk_events_dataset_id_datasets", "datasets", ["dataset_id"], ["id"])
    op.create_index("ix_events_tenant_id", "events", ["tenant", "id"])
    op.create_index("ix_events_dataset_id", "events", ["dataset_id"])
