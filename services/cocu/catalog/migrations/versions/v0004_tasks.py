"""Tasks, their columns and two stages get the names that the field has for them.

    chunks            tasks
      scope             owner_key         also of rejections
      subject           target
      asked             requested
    stage group       aggregate
    stage cells       ivf
    search "cells"    search "ivf"

The id of a task is a hash of what it does, its stage among that, so tasks of the two stages get new ids. No
task is dropped for that: the row of one that has not ended also says how often its shard was embedded again
(`revision`, a part of the ids of curations) and whether somebody asked for it (`requested`). What was under
way waits to be sent again instead, as its message names the old stage.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STAGES = {"group": "aggregate", "cells": "ivf"}
UNFINISHED = ("pending", "running")

SAME = (
    *("id", "tenant", "dataset_id", "curation_id", "state", "attempts", "failures", "lease_owner"),
    *("lease_until", "not_before", "units_total", "units_done", "revision", "leased_at", "seconds", "error"),
)
RENAMED = {"scope": "owner_key", "subject": "target", "asked": "requested"}


def upgrade() -> None:
    """Apply it."""
    _create_tasks()
    _move_tasks()
    op.drop_table("chunks")
    _rename_in_rejections()
    curations = _table("curations", "id", "stage", parameters=sa.JSON())
    connection = op.get_bind()
    connection.execute(curations.update().values(stage=_renamed_stage(curations.c.stage)))
    _rewrite(curations, curations.c.parameters)
    events = _table("events", "id", data=sa.JSON())
    _rewrite(events, events.c.data)
    _rewrite_answers()


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("owner_key", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("curation_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("units_total", sa.BigInteger(), nullable=False),
        sa.Column("units_done", sa.BigInteger(), nullable=False),
        sa.Column("requested", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("leased_at", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["curation_id"], ["curations.id"], name=op.f("fk_tasks_curation_id_curations")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_tasks_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint(
            "dataset_id",
            "owner_key",
            "stage",
            "target",
            name=op.f("uq_tasks_dataset_id_owner_key_stage_target"),
        ),
    )
    op.create_index(op.f("ix_tasks_curation_id"), "tasks", ["curation_id"], unique=False)
    op.create_index(op.f("ix_tasks_state_lease_until"), "tasks", ["state", "lease_until"], unique=False)


def _move_tasks() -> None:
    connection = op.get_bind()
    chunks = _table("chunks", *SAME, "stage", *RENAMED)
    tasks = _table("tasks", *SAME, "stage", *RENAMED.values())
    names = [*SAME, "stage", *RENAMED.values()]
    values = [*(chunks.c[name] for name in SAME), _renamed_stage(chunks.c.stage)]
    connection.execute(
        tasks.insert().from_select(names, sa.select(*values, *(chunks.c[name] for name in RENAMED)))
    )
    renamed = sa.select(tasks).where(tasks.c.stage.in_(STAGES.values()))
    for task in connection.execute(renamed).all():
        work = "\n".join((task.dataset_id, task.owner_key, task.stage, task.target))
        new_id = hashlib.sha256(work.encode()).hexdigest()[:32]
        connection.execute(tasks.update().where(tasks.c.id == task.id).values(id=new_id))
    connection.execute(
        tasks.update()
        .where(tasks.c.state.in_(UNFINISHED))
        .values(state="pending", lease_owner=None, lease_until=0.0)
    )


def _rename_in_rejections() -> None:
    op.drop_index("ix_rejections_upload_id_scope", "rejections")
    # Both databases rename a column in place; of a filled table Alembic would make a copy.
    op.execute("ALTER TABLE rejections RENAME COLUMN scope TO owner_key")
    op.create_index(
        op.f("ix_rejections_upload_id_owner_key"), "rejections", ["upload_id", "owner_key"], unique=False
    )


def _rewrite(table: sa.TableClause, column: sa.ColumnClause[Any]) -> None:
    """Rename stages and searches in the documents of a column."""
    connection = op.get_bind()
    text = sa.cast(column, sa.Text)
    old = sa.or_(*(text.like(f'%"{name}"%') for name in STAGES))
    for row_id, document in connection.execute(sa.select(table.c.id, column).where(old)).all():
        values = {column.name: _renamed(document)}
        connection.execute(table.update().where(table.c.id == row_id).values(values))


def _rewrite_answers() -> None:
    """The same in answers that are kept to be given again."""
    connection = op.get_bind()
    keys = _table("idempotency_keys", "tenant", "key", body=sa.LargeBinary())
    for row in connection.execute(sa.select(keys).where(keys.c.body.is_not(None))).all():
        try:
            document = json.loads(row.body)
        except ValueError:
            continue
        renamed = _renamed(document)
        if renamed != document:
            body = json.dumps(renamed, ensure_ascii=False, separators=(",", ":")).encode()
            same = sa.and_(keys.c.tenant == row.tenant, keys.c.key == row.key)
            connection.execute(keys.update().where(same).values(body=body))


def _renamed(document: Any) -> Any:
    if isinstance(document, list):
        return [_renamed(item) for item in document]
    if not isinstance(document, dict):
        return document
    document = {name: _renamed(value) for name, value in document.items()}
    if isinstance(document.get("stage"), str):
        document["stage"] = STAGES.get(document["stage"], document["stage"])
    if document.get("search") == "cells":
        document["search"] = "ivf"
    return document


def _renamed_stage(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case(STAGES, value=column, else_=column)


def _table(name: str, *columns: str, **typed: Any) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns), *map(sa.column, typed, typed.values()))
