"""Encoders that this server can use."""

from __future__ import annotations

from fastapi import APIRouter

from cocu.api.dependencies import PlatformOf, Tenant
from cocu.client import models

router = APIRouter(prefix="/v1/encoders", tags=["encoders"])


@router.get("")
def list_encoders(platform: PlatformOf, tenant: Tenant) -> models.Page[models.Encoder]:
    """List the encoders of this server; a curation that names none uses the default."""
    found = platform.encoders.list()
    default = platform.encoders.describe().hash if found else None
    encoders = [
        models.Encoder(
            name=each.name,
            hash=each.hash,
            dim=each.dim,
            licence=each.license,
            source=each.source,
            default=each.hash == default,
        )
        for each in found
    ]
    return models.Page[models.Encoder](items=encoders)
