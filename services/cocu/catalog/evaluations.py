"""Evaluations: the metrics of a curation against labels. Same labels and options: same evaluation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, insert_new, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.errors import NotFoundError


@dataclass(frozen=True)
class EvaluationRecord:
    """The metrics of one curation against one set of labels."""

    id: str
    tenant: str
    curation_id: str
    labels_hash: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    created_at: datetime


def identity(*, curation_id: str, labels_hash: str, parameters: dict[str, Any]) -> str:
    """The id of an evaluation: a hash of everything that its metrics depend on."""
    document = json.dumps([curation_id, labels_hash, parameters], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:32]


@retry_on_outage
def store(
    catalog: Catalog,
    *,
    tenant: str,
    curation_id: str,
    labels_hash: str,
    parameters: dict[str, Any],
    metrics: dict[str, Any],
) -> tuple[EvaluationRecord, bool]:
    """Store an evaluation and return whether it is new. The curation exists and is the tenant's."""
    evaluation_id = identity(curation_id=curation_id, labels_hash=labels_hash, parameters=parameters)
    statement = select_record(EvaluationRecord, models.Evaluation).where(
        models.Evaluation.id == evaluation_id
    )
    values: dict[str, Any] = {"id": evaluation_id, "tenant": tenant, "curation_id": curation_id}
    values |= {"labels_hash": labels_hash, "parameters": parameters, "metrics": metrics}
    with catalog.write() as connection:
        new = insert_new(connection, models.Evaluation, values)
        record = fetch_one(connection, EvaluationRecord, statement)
    assert record is not None
    return record, new


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, curation_id: str, evaluation_id: str) -> EvaluationRecord:
    """The evaluation. Raises NotFoundError without it."""
    statement = select_record(EvaluationRecord, models.Evaluation).where(
        models.Evaluation.tenant == tenant,
        models.Evaluation.curation_id == curation_id,
        models.Evaluation.id == evaluation_id,
    )
    with catalog.read() as connection:
        record = fetch_one(connection, EvaluationRecord, statement)
    if record is None:
        raise NotFoundError(f"no evaluation {evaluation_id!r} of curation {curation_id!r}")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, curation_id: str, limit: int, after: str | None = None
) -> Page[EvaluationRecord]:
    """The evaluations of a curation by id."""
    statement = (
        select_record(EvaluationRecord, models.Evaluation)
        .where(models.Evaluation.tenant == tenant, models.Evaluation.curation_id == curation_id)
        .order_by(models.Evaluation.id)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Evaluation.id > after)
    with catalog.read() as connection:
        records = fetch_all(connection, EvaluationRecord, statement)
    return page_of(records, limit, [record.id for record in records])
