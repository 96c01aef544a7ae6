"""The query parameters of a part of a map: archives whose points a polygon encloses, or those of a region."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from cocu.api.dependencies import LassosOf, Tenant
from cocu.api.queries.lasso import LONGEST, Lasso


def read_lasso(
    lassos: LassosOf,
    tenant: Tenant,
    lasso: Annotated[
        str | None,
        Query(
            max_length=LONGEST,
            description="Only archives whose points on the map `projection` this polygon encloses (even–odd "
            "rule): 3 to 64 corners of two 16-bit numbers x, y, little-endian, as base64url without padding.",
            json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
        ),
    ] = None,
    projection: Annotated[
        str | None,
        Query(max_length=64, description="The id of the projection that `lasso` and `region` are of."),
    ] = None,
    region: Annotated[
        int | None,
        Query(
            ge=0,
            le=255,
            description="Only archives in this region of the map `projection`; with `lasso`, in both.",
        ),
    ] = None,
) -> Lasso | None:
    """Return the part of a map that the query describes, None without one."""
    return lassos.read(tenant=tenant, lasso=lasso, projection=projection, region=region)


LassoOf = Annotated[Lasso | None, Depends(read_lasso)]
