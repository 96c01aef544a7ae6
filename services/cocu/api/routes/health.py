"""Whether the platform lives, whether it is ready, and its figures."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

import cocu
from cocu.api.dependencies import PlatformOf
from cocu.api.metrics import Metrics
from cocu.client import models
from cocu.errors import UnavailableError

router = APIRouter(tags=["health"])


@router.get("/healthz")
def get_health() -> models.Health:
    """Answer as long as the process does."""
    return models.Health(status="ok", version=cocu.__version__)


@router.get("/readyz")
def get_readiness(platform: PlatformOf) -> models.Health:
    """Answer 200 when the catalog and the objects answer too, else 503.

    A broker or vector store that is away is told, but turns nobody away: what there is can be read, and work
    that is asked for is written down and begins, or goes on, when the broker is back. Only searches have to
    wait for the vector store.
    """
    platform.catalog.check()
    platform.objects.exists("ready")
    parts = {"catalog": "ok", "objects": "ok"}
    if not platform.settings.embedded:
        parts["broker"] = _state(platform.check_broker)
    if "://" in platform.settings.vectors_url:
        parts["vectors"] = _state(platform.vectors.check)
    return models.Health(status="ok", version=cocu.__version__, parts=parts)


# Of no use to clients, and its text is described by Prometheus: it is not in the document.
@router.get("/metrics", include_in_schema=False)
def get_metrics(request: Request) -> Response:
    """Tell Prometheus what there is; docs/metrics.md lists it."""
    metrics: Metrics = request.app.state.metrics
    text, media_type = metrics.exposition(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except UnavailableError:
        return "unavailable"
    return "ok"
