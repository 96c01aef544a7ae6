"""Idempotency keys: a request that creates is carried out once; a repetition gets the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as ConstraintError

from cocu.catalog import models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.errors import ConflictError, InvalidInputError


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes


class InFlightError(ConflictError):
    """The request with this key is being carried out."""


@retry_on_outage
def claim(
    catalog: Catalog,
    *,
    tenant: str,
    key: str,
    fingerprint: str,
    owner: str,
    claim_seconds: float,
    kept_seconds: float,
) -> Answer | None:
    """Claim the request: return None where the caller must carry it out, else its earlier answer.

    The claim ends claim_seconds after it was made or last renewed. A process that died does not renew it, so
    another one may then claim the request. Raises
    InvalidInputError when the key was used for another request, InFlightError while this one is being
    carried out.
    """
    try:
        with catalog.write() as connection:
            return _claim(
                connection,
                _is(tenant, key),
                fingerprint,
                _claimed(owner, claim_seconds, kept_seconds),
                {"tenant": tenant, "key": key},
            )
    except ConstraintError as error:  # another request inserted it at the same moment
        raise _in_flight(key) from error


@retry_on_outage
def renew(catalog: Catalog, *, tenant: str, key: str, owner: str, claim_seconds: float) -> None:
    """Extend the claim of a request that is being carried out; do nothing where the owner has lost it."""
    until = database_seconds() + claim_seconds
    with catalog.write() as connection:
        connection.execute(
            update(models.IdempotencyKey).where(*_held(tenant, key, owner)).values(claimed_until=until)
        )


@retry_on_outage
def store_answer(catalog: Catalog, *, tenant: str, key: str, owner: str, answer: Answer) -> None:
    """Store the answer, for the next request with the same key."""
    values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    with catalog.write() as connection:
        connection.execute(update(models.IdempotencyKey).where(*_held(tenant, key, owner)).values(values))


@retry_on_outage
def release(catalog: Catalog, *, tenant: str, key: str, owner: str) -> None:
    """Release the claim of a request that was not carried out; its key may be used again."""
    with catalog.write() as connection:
        connection.execute(delete(models.IdempotencyKey).where(*_held(tenant, key, owner)))


@retry_on_outage
def forget_expired(catalog: Catalog) -> None:
    """Delete answers that were kept for long enough."""
    with catalog.write() as connection:
        connection.execute(
            delete(models.IdempotencyKey).where(models.IdempotencyKey.expires_at < database_seconds())
        )


def _claim(
    connection: Connection,
    this: ColumnElement[bool],
    fingerprint: str,
    claimed: dict[str, Any],
    names: dict[str, str],
) -> Answer | None:
    model = models.IdempotencyKey
    connection.execute(delete(model).where(this, model.expires_at < database_seconds()))
    over = (model.claimed_until < database_seconds()).label("over")
    row = connection.execute(
        select(model.fingerprint, model.status, model.headers, model.body, over)
        .where(this)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        connection.execute(insert(model).values(**names, fingerprint=fingerprint, **claimed))
        return None
    if row.fingerprint != fingerprint:
        raise InvalidInputError(
            "The Idempotency-Key was used for another request.",
            {"Idempotency-Key": "use a new key, or repeat the request exactly as it was"},
        )
    if row.status is not None:
        return Answer(row.status, row.headers, row.body)
    if not row.over:
        raise _in_flight(names["key"])
    # The process that claimed it before has died or is too slow; its answer is not stored any more.
    connection.execute(update(model).where(this).values(claimed))
    return None


def _claimed(owner: str, claim_seconds: float, kept_seconds: float) -> dict[str, Any]:
    now = database_seconds()
    return {"owner": owner, "claimed_until": now + claim_seconds, "expires_at": now + kept_seconds}


def _in_flight(key: str) -> InFlightError:
    return InFlightError(
        f"the request with Idempotency-Key {key!r} is being carried out; ask again in a moment"
    )


def _is(tenant: str, key: str) -> ColumnElement[bool]:
    return (models.IdempotencyKey.tenant == tenant) & (models.IdempotencyKey.key == key)


def _held(tenant: str, key: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return _is(tenant, key), models.IdempotencyKey.owner == owner, models.IdempotencyKey.status.is_(None)
