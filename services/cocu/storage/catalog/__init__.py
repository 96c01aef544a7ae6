"""The catalog: what exists and how far it is, in SQL. `Catalog.open(url)`; the queries lie beside, by thing.

    catalog = Catalog.open("sqlite:////srv/cocu/catalog.sqlite")
    dataset = datasets.create(catalog, tenant="default", name="photographs")

Every query a user can ask takes the tenant and sees nothing of another's.
"""

from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page

__all__ = ["Catalog", "Page"]
