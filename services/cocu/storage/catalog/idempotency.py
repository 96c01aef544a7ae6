"""Idempotency keys: a request that creates is carried out once, and answered alike as often as it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as ConstraintError

from cocu.errors import ConflictError, InvalidInputError
from cocu.storage.catalog import models
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.repeating import repeated


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class InFlightError(ConflictError):
    """The request with this key is being carried out."""


@repeated
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
    """None where the request is the caller's to carry out, else the answer that it had before.

    The claim ends claim_seconds after it was made or last renewed; a process that died renews none. Raises
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


@repeated
def renew(catalog: Catalog, *, tenant: str, key: str, owner: str, claim_seconds: float) -> None:
    """The request is still being carried out; nothing happens where it is no longer the owner's to do so."""
    until = database_seconds() + claim_seconds
    with catalog.write() as connection:
        connection.execute(
            update(models.IdempotencyKey).where(*_held(tenant, key, owner)).values(claimed_until=until)
        )


@repeated
def answer(catalog: Catalog, *, tenant: str, key: str, owner: str, given: Answer) -> None:
    """Keeps the answer for whoever repeats the request."""
    values = {"status": given.status, "headers": given.headers, "body": given.body}
    with catalog.write() as connection:
        connection.execute(update(models.IdempotencyKey).where(*_held(tenant, key, owner)).values(values))


@repeated
def release(catalog: Catalog, *, tenant: str, key: str, owner: str) -> None:
    """Nothing was done: the key is as if it had never been used."""
    with catalog.write() as connection:
        connection.execute(delete(models.IdempotencyKey).where(*_held(tenant, key, owner)))


@repeated
def forget_expired(catalog: Catalog) -> None:
    """Deletes answers that were kept for long enough."""
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
    found = connection.execute(
        select(model.fingerprint, model.status, model.headers, model.body, over)
        .where(this)
        .with_for_update(key_share=True)
    ).one_or_none()
    if found is None:
        connection.execute(insert(model).values(**names, fingerprint=fingerprint, **claimed))
        return None
    if found.fingerprint != fingerprint:
        raise InvalidInputError(
            "The Idempotency-Key was used for another request.",
            {"Idempotency-Key": "use a new key, or repeat the request exactly as it was"},
        )
    if found.status is not None:
        return Answer(found.status, found.headers, found.body)
    if not found.over:
        raise _in_flight(names["key"])
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
