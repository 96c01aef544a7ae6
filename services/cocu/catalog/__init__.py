"""The catalog: what exists and in which state, in SQL. Its queries are in the modules here.

    catalog = Catalog.open("sqlite:////srv/cocu/catalog.sqlite")
    dataset = datasets.create(catalog, tenant="default", name="photographs")

Every query on behalf of a user takes the tenant and returns nothing of other tenants.
"""

from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page

__all__ = ["Catalog", "Page"]
