"""A training run: its curves, beside those of other runs, what it predicts, and what exactly it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import ClientError, NotFoundError, TrainingClient
from cocu.dashboard import links
from cocu.dashboard.client_calls import ClientCalls
from cocu.dashboard.pages.training import RunRow, short, titles_of, trouble
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.dashboard.run_curves import MOST_LINES, Plot, letters, plots
from cocu.schemas.training import Run, RunFile, RunFileKind

POINTS: Final = 300
"""Of a curve: more would fall on the same pixels."""
PREVIEWS: Final = 8
FILES: Final = 50
"""Files beside previews that are listed."""
KINDS: Final[tuple[RunFileKind, ...]] = ("log", "records", "evaluation", "checkpoint", "tensorboard", "other")
"""In the order in which files are listed."""
OFFERED: Final = 12
"""Other runs on the same curation that are offered to be drawn too."""
LOG: Final = "log.txt"
LOG_BYTES: Final = 4000
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class DrawnRun:
    """A run whose curves are drawn. without: the page without it; None for the run that the page is about."""

    letter: str
    dash: int
    row: RunRow
    without: str | None


@dataclass(frozen=True)
class Preview:
    """A picture with labels and prediction: what it is called, and where it is."""

    name: str
    path: str


@dataclass(frozen=True)
class RunView:
    """What the page of a run shows. offered: (run, the page with it too). files: (file, where it is).

    drawn_at: when the newest preview was drawn, or "never".
    """

    row: RunRow
    drawn: tuple[DrawnRun, ...]
    offered: tuple[tuple[RunRow, str], ...]
    plots: tuple[Plot, ...]
    previews: tuple[Preview, ...]
    drawn_at: str
    more_previews: int
    files: tuple[tuple[RunFile, str], ...]
    more_files: int
    log: str
    notes: tuple[str, ...]

    @property
    def run(self) -> Run:
        """The run that the page is about."""
        return self.row.run

    @property
    def can_be_stopped(self) -> bool:
        """Whether it waits or trains."""
        return self.run.state in {"queued", "running"}

    @property
    def can_be_resumed(self) -> bool:
        """Whether it goes on from its checkpoint when it is told to."""
        return self.run.state in {"stopped", "failed"}

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Its configuration, every field."""
        return [(name, _plain(value)) for name, value in sorted(self.run.configuration.items())]


def read(client: TrainingClient, identifier: str, beside: tuple[str, ...]) -> RunView:
    """Ask for everything the page shows but the name of the dataset; runs that are gone are noted."""
    runs, notes = [client.runs.get(identifier)], list[str]()
    for other in beside:
        try:
            runs.append(client.runs.get(other))
        except NotFoundError:
            notes.append(f"There is no run {other[:40]} to draw.")
    ids = [run.id for run in runs]
    of_letter = dict(zip(letters(len(runs)), runs, strict=True))
    drawn = tuple(
        DrawnRun(
            letter,
            dash,
            RunRow(run),
            None if dash == 1 else links.training_run(identifier, beside=[i for i in ids[1:] if i != run.id]),
        )
        for dash, (letter, run) in enumerate(of_letter.items(), 1)
    )
    offered = []
    if len(runs) < MOST_LINES:
        same = client.runs.page(curation=runs[0].curation, order="-created_at", limit=OFFERED + MOST_LINES)
        offered = [
            (RunRow(run), links.training_run(identifier, beside=[*ids[1:], run.id]))
            for run in same.items
            if run.id not in ids
        ]
    files = list(client.runs.files(identifier))
    previews = [file for file in files if file.kind == "preview"]
    kept = sorted((file for file in files if file.kind != "preview"), key=_rank)
    return RunView(
        row=RunRow(runs[0]),
        drawn=drawn,
        offered=tuple(offered[:OFFERED]),
        plots=plots({letter: client.runs.series(run.id, points=POINTS) for letter, run in of_letter.items()}),
        previews=tuple(
            Preview(PurePosixPath(file.name).stem, links.run_file(identifier, file.name, at=file.modified_at))
            for file in previews[:PREVIEWS]
        ),
        drawn_at=max((file.modified_at.isoformat() for file in previews), default="never"),
        more_previews=max(0, len(previews) - PREVIEWS),
        files=tuple((file, links.run_file(identifier, file.name)) for file in kept[:FILES]),
        more_files=max(0, len(kept) - FILES),
        log=_end_of_log(client, identifier) if any(file.name == LOG for file in files) else "",
        notes=tuple(notes),
    )


async def show(request: Request) -> Response:
    """The page; `with` names other runs to draw too, separated by commas."""
    identifier = request.path_params["run"]
    given = request.query_params.get("with", "").split(",")
    beside = tuple(dict.fromkeys(name for name in given if name and name != identifier))
    try:
        view = await _service(request).run(lambda client: read(client, identifier, beside[: MOST_LINES - 1]))
    except ClientError as error:
        return trouble(request, error)
    titles = await titles_of(request, [view.run.curation])
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "training_run.html",
        title=f"Run {view.row.name}",
        crumbs=[Crumb("Overview", "/"), Crumb("Training", links.training()), Crumb(short(identifier))],
        view=view,
        dataset=titles.get(view.run.curation),
        too_many=len(beside) >= MOST_LINES,
        links=links,
    )


async def stop(request: Request) -> Response:
    """Stop the run, and go to its page."""
    return await _change(request, lambda client, run: client.runs.stop(run))


async def resume(request: Request) -> Response:
    """Queue the run again, and go to its page."""
    return await _change(request, lambda client, run: client.runs.resume(run))


async def _change(request: Request, change: Callable[[TrainingClient, str], Run]) -> Response:
    identifier = request.path_params["run"]
    try:
        await _service(request).run(lambda client: change(client, identifier))
    except ClientError as error:
        return trouble(request, error)
    return RedirectResponse(links.training_run(identifier), status_code=303)


def _service(request: Request) -> ClientCalls[TrainingClient]:
    service: ClientCalls[TrainingClient] | None = request.app.state.training
    if service is None:
        raise HTTPException(404)
    return service


def _end_of_log(client: TrainingClient, run: str) -> str:
    """The last lines of the log, without colours and without the line that is cut."""
    text = client.runs.file(run, LOG, last=LOG_BYTES)
    shown = _COLOURS.sub("", text.decode("utf-8", "replace")).replace("\r", "\n")
    lines = shown.splitlines()[1 if len(text) == LOG_BYTES else 0 :]
    return "\n".join("".join(letter for letter in line if letter.isprintable()) for line in lines)


def _rank(file: RunFile) -> tuple[int, float]:
    """By kind, then the newest first."""
    return KINDS.index(file.kind), -file.modified_at.timestamp()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
