"""Whether the platform lives, and whether it is ready."""

from __future__ import annotations

from fastapi import APIRouter

import cocu
from cocu.api.dependencies import PlatformOf
from cocu.client import models

router = APIRouter(tags=["health"])


@router.get("/healthz")
def get_health() -> models.Health:
    """Answer as long as the process does."""
    return models.Health(status="ok", version=cocu.__version__)


@router.get("/readyz")
def get_readiness(platform: PlatformOf) -> models.Health:
    """Answer 200 when the catalog and the objects answer too, else 503."""
    platform.catalog.check()
    platform.objects.exists("ready")
    return models.Health(status="ok", version=cocu.__version__, parts={"catalog": "ok", "objects": "ok"})
