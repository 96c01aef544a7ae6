"""`cocu catalog …`: the database that a platform keeps its state in."""

from __future__ import annotations

from typing import Annotated

import typer

from cocu.cli.options import Json
from cocu.cli.output import console, print_json

app = typer.Typer(help="The catalog: the database that a platform keeps its state in.", no_args_is_help=True)

Wait = Annotated[
    float, typer.Option(min=0, max=3600, help="Seconds to wait for a database that does not answer yet.")
]


@app.command()
def migrate(wait: Wait = 60.0, json: Json = False) -> None:
    """Create or upgrade the tables of the catalog at COCU_CATALOG_URL.

    The platform does this too whenever it starts; any number of processes may do it at once.
    """
    # The server is imported only where a command is one.
    from sqlalchemy import make_url  # noqa: PLC0415

    from cocu.settings import Settings  # noqa: PLC0415
    from cocu.storage.catalog import Catalog  # noqa: PLC0415
    from cocu.storage.catalog.repeating import patience  # noqa: PLC0415

    url = Settings().catalog_url
    with patience(wait):
        catalog = Catalog.open(url)
        version = catalog.version()
    catalog.close()
    shown = make_url(url).render_as_string()
    if json:
        print_json({"catalog": shown, "version": version})
    else:
        console.print(f"{shown} has the tables of version {version}")
