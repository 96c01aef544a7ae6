"""What people know of samples is kept: labels of datasets, judgements of curations, and a curation's
threshold.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cocu.catalog.migrations.types import Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "label_sets",
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("label_map", sa.Text(), nullable=True),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("classes", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_label_sets_dataset_id_datasets")
        ),
        sa.PrimaryKeyConstraint("dataset_id", "name", name=op.f("pk_label_sets")),
    )
    op.create_table(
        "judgements",
        sa.Column("curation_id", sa.String(length=64), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("concept_id", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("concept", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("added", sa.Boolean(), nullable=False),
        sa.Column("dealt", sa.BigInteger(), nullable=True),
        sa.Column("right", sa.Boolean(), nullable=True),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("replaced", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["curation_id"], ["curations.id"], name=op.f("fk_judgements_curation_id_curations")
        ),
        sa.PrimaryKeyConstraint("curation_id", "row", "concept_id", name=op.f("pk_judgements")),
    )
    op.create_index("ix_judgements_curation_id_dealt", "judgements", ["curation_id", "dealt"])
    op.add_column("curations", sa.Column("threshold", sa.Double(), nullable=True))
