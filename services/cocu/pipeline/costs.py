"""The inputs of an estimate: which tasks of a curation are done already, and how fast stages were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cocu.catalog import datasets, models
from cocu.catalog.curations import CurationRecord
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import CurationState, TaskState
from cocu.curation.parameters import CurationParameters
from cocu.pipeline import rates, submit
from cocu.pipeline.rates import Rate
from cocu.pipeline.submit import CurationPlan


@dataclass(frozen=True)
class CostInputs:
    """A planned curation: the shards that are done, by stage, and the rates of stages."""

    plan: CurationPlan
    completed: Mapping[str, frozenset[str]]
    rates: Mapping[str, Rate]
    exactly: bool
    """Whether the search for neighbours compares every pair of samples."""
    reference: CurationRecord | None
    """The last completed curation with this encoder; the sizes of its files are used."""


@retry_on_outage
def cost_inputs(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters: CurationParameters,
) -> CostInputs:
    """Return the inputs for what `submit.create_curation` would create now.

    Raises NotFoundError and ConflictError as that does.
    """
    datasets.get(catalog, tenant=tenant, dataset_id=dataset_id)
    with catalog.read() as connection:
        plan = submit.plan_curation(
            connection,
            dataset_id=dataset_id,
            encoder_hash=encoder_hash,
            vocabulary_hash=vocabulary_hash,
            parameters_hash=parameters.hash,
        )
        runs = rates.completed_runs(connection, encoder_hash)
        own_runs = [run for run in runs if run.tenant == tenant]
        exactly = parameters.searches_exactly(sum(shard.samples for shard in plan.shards))
        return CostInputs(
            plan=plan,
            completed=_completed(connection, dataset_id, encoder_hash, plan),
            rates=rates.of_stages(connection, runs, encoder_hash=encoder_hash, exactly=exactly),
            exactly=exactly,
            reference=own_runs[0] if own_runs else None,
        )


def _completed(
    connection: Connection, dataset_id: str, encoder_hash: str, plan: CurationPlan
) -> dict[str, frozenset[str]]:
    is_kept = plan.existing is not None and plan.existing.state not in (
        CurationState.FAILED,
        CurationState.CANCELLED,
        CurationState.COMPLETED_WITH_ERRORS,
    )
    owner_keys = [encoder_hash, *([plan.curation_id] if is_kept else [])]
    statement = select(models.Task.stage, models.Task.target).where(
        models.Task.dataset_id == dataset_id,
        models.Task.owner_key.in_(owner_keys),
        models.Task.state == TaskState.DONE,
    )
    targets_of: dict[str, set[str]] = {}
    for stage, target in connection.execute(statement):
        targets_of.setdefault(stage, set()).add(target)
    return {stage: frozenset(targets) for stage, targets in targets_of.items()}
