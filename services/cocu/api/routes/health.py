"""Whether the platform lives, and whether it is ready."""

from __future__ import annotations

from fastapi import APIRouter

import cocu
from cocu.api.dependencies import PlatformOf
from cocu.client import models
from cocu.errors import UnavailableError
from cocu.platform import Platform

router = APIRouter(tags=["health"])


@router.get("/healthz")
def get_health() -> models.Health:
    """Answer as long as the process does."""
    return models.Health(status="ok", version=cocu.__version__)


@router.get("/readyz")
def get_readiness(platform: PlatformOf) -> models.Health:
    """Answer 200 when the catalog and the objects answer too, else 503.

    A broker that is away is told, but turns nobody away: what there is can be read, and work that is asked
    for is written down and begins when the broker is back.
    """
    platform.catalog.check()
    platform.objects.exists("ready")
    parts = {"catalog": "ok", "objects": "ok"}
    if not platform.settings.embedded:
        parts["broker"] = _broker(platform)
    return models.Health(status="ok", version=cocu.__version__, parts=parts)


def _broker(platform: Platform) -> str:
    try:
        platform.check_broker()
    except UnavailableError:
        return "unavailable"
    return "ok"
