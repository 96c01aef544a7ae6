"""Who receives an upload says so, and a curation says which uploads it was made without."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cocu.catalog.migrations.types import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    op.add_column("uploads", sa.Column("claimed_until", Instant(), nullable=True))
    op.add_column("curations", sa.Column("left_out", sa.JSON(none_as_null=True), nullable=True))
