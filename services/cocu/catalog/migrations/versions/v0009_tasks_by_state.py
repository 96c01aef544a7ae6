"""An index over the tasks of a stage by their state: whether a stage is finished is asked after each task."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.create_index(
        op.f("ix_tasks_dataset_id_owner_key_stage_state"),
        "tasks",
        ["dataset_id", "owner_key", "stage", "state"],
    )
