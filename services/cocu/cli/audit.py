"""`cocu audit`: judgements of added concepts, and the precision that follows from them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.schemas import JudgementSummary, PrecisionFrom

app = typer.Typer(
    help="Judge added concepts: fifty answers say how many of all are right.", no_args_is_help=True
)
Curation = Annotated[str, typer.Argument(help="Id of the curation.")]
Key = Annotated[str, typer.Argument(help="Key of the sample.")]
Concept = Annotated[str, typer.Argument(help="A concept of its archive, by its name or another form.")]


class Answer(StrEnum):
    """What somebody says about a concept of an image."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"


class Form(StrEnum):
    """The form of an export."""

    JSONL = "jsonl"
    CSV = "csv"


_MEANING = {Answer.RIGHT: True, Answer.WRONG: False, Answer.UNSURE: None}


@app.command("next")
def next_(
    *,
    curation: Curation,
    pairs: Annotated[int, typer.Option("-n", min=1, max=100, help="The most pairs.")] = 10,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List what to judge next: pairs of an image and a concept that was added to it."""
    with CocuClient(server, api_key) as client:
        dealt = client.judgements.next(curation, pairs)
    if json:
        print_json(dealt.items)
        return
    rows = [
        (str(pair.turn), escape(pair.key), escape(pair.concept), escape(pair.caption)) for pair in dealt.items
    ]
    console.print(table(None, ("turn", "key", "concept", "caption"), rows))
    console.print(f"{dealt.judged:,} of {dealt.dealt:,} are judged")


@app.command("judge")
def judge(
    *,
    curation: Curation,
    key: Key,
    concept: Concept,
    answer: Annotated[Answer, typer.Argument(help="right, wrong or unsure.")],
    author: Annotated[str | None, typer.Option(help="Who says it.", show_default=False)] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Say whether a concept of an image is right; the later judgement wins."""
    with CocuClient(server, api_key) as client:
        judgement = client.judgements.judge(curation, key, concept, _MEANING[answer], author=author)
    if json:
        print_json(judgement)
        return
    console.print(f"{judgement.key}, {judgement.concept}: {answer.value}", markup=False)


@app.command("undo")
def undo(
    *,
    curation: Curation,
    key: Key,
    concept: Concept,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Forget a judgement."""
    with CocuClient(server, api_key) as client:
        client.judgements.undo(curation, key, concept)
    console.print(f"nothing is said about {concept} of {key} now", markup=False)


@app.command("summary")
def summary(
    *,
    curation: Curation,
    precision: Annotated[
        float | None, typer.Option(help="The precision wished for: from which score it holds.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show the precision of added concepts by score, with 95 % intervals."""
    with CocuClient(server, api_key) as client:
        answer = client.judgements.summary(curation, precision=precision)
    if json:
        print_json(answer)
        return
    rows = [
        (
            f"{bin_.low:g}",
            f"{bin_.added:,}",
            f"{bin_.judged:,}",
            f"{bin_.right:,}",
            _share(bin_.precision, bin_.precision_low, bin_.precision_high),
            _share(onward.precision, onward.precision_low, onward.precision_high),
        )
        for bin_, onward in zip(answer.bins, answer.by_threshold, strict=True)
    ]
    columns = ("score from", "added", "judged", "right", "precision", "from here on")
    console.print(table(None, columns, rows))
    for line in _lines(answer):
        console.print(line)


@app.command("threshold")
def threshold(
    *,
    curation: Curation,
    score: Annotated[
        float | None, typer.Argument(help="The score; without one there is none.", show_default=False)
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Set the score from which a concept of a curation counts as added (negative ones after `--`)."""
    with CocuClient(server, api_key) as client:
        changed = client.curations.set_threshold(curation, score)
    console.print(
        "there is no threshold now"
        if changed.threshold is None
        else f"the threshold is {changed.threshold:g} now"
    )


@app.command("export")
def export(
    *,
    curation: Curation,
    format: Annotated[Form, typer.Option(help="JSON lines, or a table for spreadsheets.")] = Form.JSONL,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Print all judgements of a curation, a line each."""
    with CocuClient(server, api_key) as client:
        print(client.judgements.export(curation, format.value), end="")


def _lines(answer: JudgementSummary) -> list[str]:
    judged = f"{count(answer.judgements, 'judgement')} ({answer.unsure:,} unsure), {answer.counted:,} count"
    if answer.overall is None:
        return [judged, "nothing was added"]
    if answer.overall.precision is None:
        return [judged, "no estimate yet: judge until each range of scores has an answer (`cocu audit next`)"]
    lines = [judged, f"precision of all added concepts: {_estimate(answer.overall)}"]
    if answer.reached is not None:
        lines.append(f"from a score of {answer.reached.score:g} on: {_estimate(answer.reached)}")
    elif answer.wished is not None:
        lines.append(f"no score reaches a precision of {answer.wished:g}")
    return lines


def _estimate(estimate: PrecisionFrom) -> str:
    share = _share(estimate.precision, estimate.precision_low, estimate.precision_high)
    return f"{share} of {estimate.added:,} concepts"


def _share(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return "–"
    return f"{share:.2f} ({low:.2f}–{high:.2f})"
