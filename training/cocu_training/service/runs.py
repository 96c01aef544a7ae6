"""Runs and their events in the database.

    queued ─▶ running ─▶ completed | failed
      │          └─▶ stopping ─▶ stopped
      └─▶ stopped            stopped | failed ─▶ queued, by resuming

A run without processes may be deleted: first its rows, then its folder. The table `deleted` has its id until
the folder is removed, so a crash in between leaves no folder behind. A run whose processes vanished, or that
the service itself stopped, is queued again and goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cocu.schemas.training import ENDED, RunState
from cocu_training.service.database import Database
from cocu_training.service.errors import InvalidError, MissingError, StateError, TooManyError
from cocu_training.service.figures import Figures, add_records, remove, step_of

ACTIVE: frozenset[RunState] = frozenset({"running", "stopping"})
RESUMABLE: frozenset[RunState] = frozenset({"stopped", "failed"})


@dataclass(frozen=True)
class RunRecord:
    """A row of runs.

    number: in the order of submission. configuration: every field, as requested. step: the last recorded one.
    starts: how often its processes were started. interruptions: how often they vanished since the last
    recorded step. last_event: of the trainer, since the last start. pid, process_started: the supervisor of
    the last start. lines: number of records that are events here already. file_before: inode of the file of
    records before the last start.
    """

    number: int
    id: str
    tenant: str
    name: str | None
    curation: str
    configuration: Mapping[str, Any]
    state: RunState
    detail: str | None
    created_at: float
    queued_at: float
    started_at: float | None
    finished_at: float | None
    step: int
    steps: int | None
    starts: int
    interruptions: int
    last_event: str | None
    pid: int | None
    process_started: str | None
    lines: int
    file_before: int | None

    @property
    def ended(self) -> bool:
        """Whether it has ended; it may still be resumed."""
        return self.state in ENDED


@dataclass(frozen=True)
class EventRecord:
    """Something that happened to a run; ids count from 1 without gaps."""

    id: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A request with an Idempotency-Key."""

    key: str
    fingerprint: str
    kept_seconds: float


class Runs:
    """The runs of one service. Every change is on the disk, with its event, when the call returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.figures = Figures(database)

    def create(
        self,
        *,
        tenant: str,
        curation: str,
        configuration: Mapping[str, Any],
        name: str | None,
        max_queued: int,
        request: Request | None = None,
    ) -> RunRecord:
        """Queue a run; a repeated request gets the run of the first one.

        Raises InvalidError where its key was used for another request, StateError where its run was deleted,
        TooManyError where the queue is full.
        """
        run, now = f"run_{secrets.token_hex(10)}", time.time()
        with self._database.transaction() as connection:
            existing = _find_by_request(connection, tenant, request, now)
            if existing is not None:
                return _get(connection, existing)
            _check_room(connection, tenant, max_queued)
            connection.execute(
                "INSERT INTO runs (id, tenant, name, curation, configuration, state, created_at, queued_at) "
                "VALUES (?, ?, ?, ?, ?, 'queued', ?, ?)",
                (run, tenant, name, curation, json.dumps(configuration), now, now),
            )
            _add_event(connection, run, "state", {"state": "queued"})
            if request is not None:
                connection.execute(
                    "INSERT INTO requests VALUES (?, ?, ?, ?, ?)",
                    (tenant, request.key, request.fingerprint, run, now + request.kept_seconds),
                )
            return _get(connection, run)

    def find_by_request(self, *, tenant: str, request: Request) -> RunRecord | None:
        """The run that this request has created before; None if it has not.

        Raises InvalidError where its key was used for another request, StateError where its run was deleted.
        """
        with self._database.transaction() as connection:
            existing = _find_by_request(connection, tenant, request, time.time())
            return None if existing is None else _get(connection, existing)

    def get(self, run: str, *, tenant: str | None = None) -> RunRecord:
        """One run; raises MissingError also where it is another tenant's."""
        rows = self._database.rows("SELECT * FROM runs WHERE id = ?", (run,))
        if not rows or (tenant is not None and rows[0]["tenant"] != tenant):
            raise MissingError(f"there is no run {run}")
        return _record(rows[0])

    def list_page(
        self,
        *,
        tenant: str,
        after: int | None,
        limit: int,
        state: RunState | None = None,
        curation: str | None = None,
        descending: bool = False,
    ) -> tuple[list[RunRecord], int | None]:
        """Runs after this number, in the order of submission; and the number to go on after, if any.

        after: None for the first page. descending: the last submitted first.
        """
        filters = {"state": state, "curation": curation, "tenant": tenant}
        wanted = {name: value for name, value in filters.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in wanted)
        values: list[object] = [*wanted.values()]
        if after is not None:
            where, values = f"{where} AND number {'<' if descending else '>'} ?", [*values, after]
        order = "number DESC" if descending else "number"
        query = f"SELECT * FROM runs WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608 - no input in it
        records = [_record(row) for row in self._database.rows(query, (*values, limit + 1))]
        return records[:limit], records[limit - 1].number if len(records) > limit else None

    def active(self) -> RunRecord | None:
        """The run that has processes, or for which they are being started."""
        rows = self._database.rows("SELECT * FROM runs WHERE state IN ('running', 'stopping') LIMIT 1")
        return _record(rows[0]) if rows else None

    def next_queued(self) -> RunRecord | None:
        """The run that has waited longest."""
        rows = self._database.rows(
            "SELECT * FROM runs WHERE state = 'queued' ORDER BY queued_at, number LIMIT 1"
        )
        return _record(rows[0]) if rows else None

    def ahead_of(self, record: RunRecord) -> int:
        """How many runs of all tenants are before a queued one."""
        return int(
            self._database.rows(
                "SELECT count(*) FROM runs WHERE state IN ('running', 'stopping') "
                "OR (state = 'queued' AND (queued_at, number) < (?, ?))",
                (record.queued_at, record.number),
            )[0][0]
        )

    def events(self, run: str, *, after: int, limit: int = 500) -> list[EventRecord]:
        """The events of a run after this one."""
        rows = self._database.rows(
            "SELECT id, at, kind, data FROM events WHERE run = ? AND id > ? ORDER BY id LIMIT ?",
            (run, after, limit),
        )
        return [EventRecord(row["id"], row["at"], row["kind"], json.loads(row["data"])) for row in rows]

    def request_stop(self, run: str, *, tenant: str) -> RunRecord:
        """Stop a queued run; mark a running one as stopping. Raises MissingError, StateError."""
        with self._database.transaction() as connection:
            record = _get(connection, run, tenant=tenant)
            if record.state in {"completed", "failed"}:
                raise StateError(f"the run has {record.state}; there is nothing to stop")
            if record.state == "queued":
                _set(connection, run, state="stopped", detail=None, finished_at=time.time())
            elif record.state == "running":
                _set(connection, run, state="stopping")
            return _get(connection, run)

    def resume(self, run: str, *, tenant: str, max_queued: int) -> RunRecord:
        """Queue a run that stopped or failed again. Raises MissingError, StateError, TooManyError."""
        with self._database.transaction() as connection:
            record = _get(connection, run, tenant=tenant)
            if record.state not in RESUMABLE:
                raise StateError(f"the run is {record.state}; only one that stopped or failed is resumed")
            _check_room(connection, record.tenant, max_queued)
            _set(
                connection,
                run,
                state="queued",
                detail=None,
                queued_at=time.time(),
                finished_at=None,
                interruptions=0,
            )
            return _get(connection, run)

    def delete(self, run: str, *, tenant: str) -> None:
        """Delete a run; only its id stays, until its folder is removed.

        Raises MissingError, and StateError where the run has processes.
        """
        with self._database.transaction() as connection:
            record = _get(connection, run, tenant=tenant)
            if record.state in ACTIVE:
                raise StateError(f"the run is {record.state}; stop it, and delete it once it has stopped")
            connection.execute("DELETE FROM events WHERE run = ?", (run,))
            remove(connection, run)
            connection.execute("DELETE FROM runs WHERE id = ?", (run,))
            connection.execute("INSERT INTO deleted VALUES (?)", (run,))

    def deleted(self) -> list[str]:
        """Deleted runs whose folders may still exist."""
        return [row["run"] for row in self._database.rows("SELECT run FROM deleted")]

    def removed(self, run: str) -> None:
        """Store that the folder of a deleted run is removed."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM deleted WHERE run = ?", (run,))

    def start(self, run: str, *, lines: int, file_before: int | None) -> RunRecord | None:
        """Mark a queued run as running, before its processes start; None where it is not queued any more."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM runs WHERE id = ? AND state = 'queued'", (run,)
            ).fetchone()
            if row is None:
                return None
            record = _record(row)
            _set(
                connection,
                run,
                state="running",
                detail=None,
                started_at=record.started_at or time.time(),
                starts=record.starts + 1,
                last_event=None,
                pid=None,
                process_started=None,
                lines=lines,
                file_before=file_before,
            )
            return _get(connection, run)

    def started(self, run: str, *, pid: int, process_started: str) -> None:
        """Store the supervisor of a run's processes, once these are started."""
        with self._database.transaction() as connection:
            _set(connection, run, pid=pid, process_started=process_started)

    def end(self, run: str, *, state: RunState, detail: str | None = None, interrupted: bool = False) -> None:
        """Store the state of a run after its processes have ended."""
        with self._database.transaction() as connection:
            record = _get(connection, run)
            _set(
                connection,
                run,
                state=state,
                detail=detail,
                pid=None,
                process_started=None,
                interruptions=record.interruptions + interrupted,
                finished_at=time.time() if state in ENDED else None,
            )

    def append(self, run: str, lines: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Store records of the trainer, (kind, values), as events, and sum up their figures.

        The number of lines is stored in the same transaction, so each line becomes an event exactly once."""
        with self._database.transaction() as connection:
            record = _get(connection, run)
            changes: dict[str, Any] = {"lines": record.lines, "step": record.step}
            before = connection.execute("SELECT coalesce(max(id), 0) FROM events WHERE run = ?", (run,))
            (last,) = before.fetchone()
            for kind, values in lines:
                _add_event(connection, run, kind, values)
                changes["lines"] += 1
                if (step := step_of(values)) >= 0:
                    changes["step"] = step
                if kind == "step":
                    changes["interruptions"] = 0
                if kind == "event":
                    changes["last_event"] = str(values.get("event"))
                    changes |= {"steps": values["steps"]} if isinstance(values.get("steps"), int) else {}
            add_records(connection, run, lines, after=last)
            _set(connection, run, **changes)


def _check_room(connection: sqlite3.Connection, tenant: str, max_queued: int) -> None:
    waiting = connection.execute(
        "SELECT count(*) FROM runs WHERE tenant = ? AND state = 'queued'", (tenant,)
    ).fetchone()[0]
    if waiting >= max_queued:
        raise TooManyError(f"{waiting} runs are queued, which is the limit; stop some, or wait")


def _find_by_request(
    connection: sqlite3.Connection, tenant: str, request: Request | None, now: float
) -> str | None:
    if request is None:
        return None
    connection.execute("DELETE FROM requests WHERE expires_at < ?", (now,))
    row = connection.execute(
        "SELECT fingerprint, answer FROM requests WHERE tenant = ? AND key = ?", (tenant, request.key)
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != request.fingerprint:
        raise InvalidError(
            "The Idempotency-Key was used for another request.",
            {"Idempotency-Key": "use a new key, or repeat the request exactly as it was"},
        )
    if connection.execute("SELECT 1 FROM runs WHERE id = ?", (row["answer"],)).fetchone() is None:
        raise StateError("the run of this Idempotency-Key was deleted; use a new key for another")
    return str(row["answer"])


def _get(connection: sqlite3.Connection, run: str, *, tenant: str | None = None) -> RunRecord:
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    if row is None or (tenant is not None and row["tenant"] != tenant):
        raise MissingError(f"there is no run {run}")
    return _record(row)


def _record(row: sqlite3.Row) -> RunRecord:
    return RunRecord(**{**dict(row), "configuration": json.loads(row["configuration"])})


def _set(connection: sqlite3.Connection, run: str, **changes: Any) -> None:
    """Change columns; a change of state is an event."""
    columns = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*changes.values(), run))  # noqa: S608
    if "state" in changes:
        detail = {"detail": changes["detail"]} if changes.get("detail") else {}
        _add_event(connection, run, "state", {"state": changes["state"], **detail})


def _add_event(connection: sqlite3.Connection, run: str, kind: str, data: Mapping[str, Any]) -> None:
    connection.execute(
        "INSERT INTO events SELECT ?, coalesce(max(id), 0) + 1, ?, ?, ? FROM events WHERE run = ?",
        (run, time.time(), kind, json.dumps(data), run),
    )
