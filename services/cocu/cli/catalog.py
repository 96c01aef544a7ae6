"""`cocu catalog …`: the database with the state of a platform."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import Data, Json
from cocu.cli.output import console, count, print_json, stage_bars

app = typer.Typer(help="The catalog: the database with the state of a platform.", no_args_is_help=True)

Wait = Annotated[
    float, typer.Option(min=0, max=3600, help="Seconds to wait for a database that does not answer yet.")
]


@app.command()
def migrate(wait: Wait = 60.0, json: Json = False) -> None:
    """Create or upgrade the tables of the catalog at COCU_CATALOG_URL.

    The platform also does this whenever it starts; any number of processes may do it at the same time.
    """
    # Only commands that run a server import it.
    from sqlalchemy import make_url  # noqa: PLC0415

    from cocu.catalog.retry import timeout  # noqa: PLC0415
    from cocu.platform import open_catalog  # noqa: PLC0415
    from cocu.settings import Settings  # noqa: PLC0415

    settings = Settings.read()
    with timeout(wait):
        catalog = open_catalog(settings)
        version = catalog.version()
    catalog.close()
    url = make_url(settings.catalog_url).render_as_string()
    if json:
        print_json({"catalog": url, "version": version})
    else:
        console.print(f"{url} has the tables of version {version}")


@app.command()
def verify(
    *,
    data: Data = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Also delete damaged derived data, embed its shards again and run its curations again.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Read everything that the platform stores, and report what is damaged, missing, or not referenced.

    In the data folder, or where COCU_CATALOG_URL and COCU_OBJECTS_URL point. The platform may run meanwhile.
    Exit status 1: something is damaged or missing.
    """
    from cocu.pipeline import integrity_check  # noqa: PLC0415
    from cocu.platform import Platform  # noqa: PLC0415
    from cocu.settings import Settings  # noqa: PLC0415

    settings = Settings() if data is None else Settings(data_folder=data)
    _require_platform(settings.catalog_url)
    with Platform.open(settings) as platform:
        check = integrity_check.IntegrityCheck(platform)
        with stage_bars() as bars:
            task = bars.add_task("objects", total=check.list_objects())
            findings = list(check.findings(lambda count: bars.advance(task, count)))
        repaired = integrity_check.repair(platform, findings) if repair else 0
    broken = [finding for finding in findings if finding.problem != integrity_check.ORPHAN]
    if json:
        counts = {"checked": check.checked, "without_checksum": check.unsealed, "repaired": repaired}
        print_json({"findings": [asdict(finding) for finding in findings], **counts})
    else:
        _print_findings(check.checked, check.unsealed, [asdict(finding) for finding in findings], repaired)
    if len(broken) > repaired:
        raise typer.Exit(1)


def _require_platform(url: str) -> None:
    """Raise CommandFailedError where there is no catalog: to open one would create it."""
    from sqlalchemy import make_url  # noqa: PLC0415

    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise CommandFailedError(
            f"there is no platform: {parsed.database} does not exist; name its folder with --data"
        )


def _print_findings(checked: int, unsealed: int, findings: list[dict[str, str]], repaired: int) -> None:
    for finding in findings:
        console.print(
            f"{finding['problem']}: {finding['path']} of {finding['owner']}: {finding['detail']}\n"
            f"  {finding['remedy']}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{count(checked, 'object')} read, {len(findings):,} with a problem")
    if unsealed:
        console.print(f"{count(unsealed, 'object')} of an earlier version: readable, but without a checksum")
    if repaired:
        console.print(f"{repaired:,} repaired; the platform recomputes the deleted data when it runs")
