"""A router per resource."""

from cocu.api.routes import (
    archives,
    batches,
    comparisons,
    concepts,
    curations,
    datasets,
    encoders,
    evaluations,
    exports,
    health,
    imports,
    resumables,
    samples,
    search,
    uploads,
    vocabularies,
)

ROUTERS = (
    datasets.router,
    uploads.router,
    resumables.router,
    imports.router,
    samples.router,
    vocabularies.router,
    encoders.router,
    curations.router,
    archives.router,
    batches.router,
    concepts.router,
    comparisons.router,
    search.router,
    exports.router,
    evaluations.router,
    health.router,
)

__all__ = ["ROUTERS"]
