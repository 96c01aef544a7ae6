"""What people say about concepts of vocabularies is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cocu.catalog.migrations.types import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CONCEPT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "feedback",
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("vocabulary_id", sa.String(length=64), nullable=False),
        sa.Column("concept", CONCEPT, nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("into", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("replaced", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "vocabulary_id"],
            ["vocabularies.tenant", "vocabularies.id"],
            name=op.f("fk_feedback_tenant_vocabulary_id_vocabularies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "vocabulary_id", "concept", name=op.f("pk_feedback")),
    )
