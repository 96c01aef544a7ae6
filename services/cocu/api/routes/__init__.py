"""A router per resource."""

from cocu.api.routes import (
    archives,
    batches,
    curations,
    datasets,
    encoders,
    evaluations,
    health,
    samples,
    uploads,
    vocabularies,
)

ROUTERS = (
    datasets.router,
    uploads.router,
    samples.router,
    vocabularies.router,
    encoders.router,
    curations.router,
    archives.router,
    batches.router,
    evaluations.router,
    health.router,
)

__all__ = ["ROUTERS"]
