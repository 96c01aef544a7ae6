"""Encoders that this server can use."""

from __future__ import annotations

from fastapi import APIRouter

from cocu import schemas
from cocu.api.dependencies import PlatformOf, Tenant

router = APIRouter(prefix="/v1/encoders", tags=["encoders"])


@router.get("")
def list_encoders(platform: PlatformOf, tenant: Tenant) -> schemas.Page[schemas.Encoder]:
    """List the encoders of this server; a curation that names none uses the default."""
    descriptions = platform.encoders.list()
    default = platform.encoders.describe().hash if descriptions else None
    encoders = [
        schemas.Encoder(
            name=description.name,
            hash=description.hash,
            dim=description.dim,
            licence=description.license,
            source=description.source,
            default=description.hash == default,
        )
        for description in descriptions
    ]
    return schemas.Page[schemas.Encoder](items=encoders)
