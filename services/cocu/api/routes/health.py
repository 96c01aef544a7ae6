"""Health, readiness and metrics of the platform."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

import cocu
from cocu import schemas
from cocu.api.metrics import Metrics
from cocu.api.readiness import Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def get_health() -> schemas.Health:
    """Answer 200 while the process runs."""
    return schemas.Health(status="ok", version=cocu.__version__)


@router.get("/readyz")
async def get_readiness(request: Request) -> schemas.Health:
    """Answer 200 if the catalog and the object store answer, else 503.

    A broker or a vector store that does not answer is named, but the status stays 200: stored results can be
    read, and requested work is stored in the catalog and runs when the broker is back. Only searches need the
    vector store.
    """
    readiness: Readiness = request.app.state.readiness
    return schemas.Health(status="ok", version=cocu.__version__, parts=await readiness.parts())


# Not in the OpenAPI document: clients do not use it, and Prometheus defines its format.
@router.get("/metrics", include_in_schema=False)
def get_metrics(request: Request) -> Response:
    """Return the metrics for Prometheus; docs/metrics.md lists them."""
    metrics: Metrics = request.app.state.metrics
    text, media_type = metrics.exposition(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
