"""The audit: pairs of a picture and an added concept, one at a time, and what the answers say of all."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.dashboard import links
from cocu.dashboard.forms import author_of, explain, form_of, remember_author, text_of
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.plots import Whisker, precision_plot, share_height
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import AuditPair, Curation, Dataset, Judgement, JudgementSummary

GOAL = 50
"""Judgements after which the interval is about ± .11: a quarter of an hour of work."""
ANSWERS: dict[str, bool | None] = {"right": True, "wrong": False, "unsure": None}


@dataclass(frozen=True)
class AuditQuery:
    """What is wished for, and which pair was judged last. Everything is in the URL."""

    precision: float = links.WISHED_PRECISION
    key: str = ""
    concept: str = ""

    @classmethod
    def read(cls, query: QueryParams | FormData) -> AuditQuery:
        """The query of a request; what cannot be read has its default."""
        return cls(
            precision=_share(text_of(query, "precision")),
            key=text_of(query, "key", strip=False),
            concept=text_of(query, "concept", strip=False),
        )

    def url(self, curation_id: str) -> str:
        """The page with this query."""
        return links.audit(curation_id, precision=self.precision, key=self.key, concept=self.concept)


@dataclass(frozen=True)
class Audit:
    """What the page shows. pair: what is to be judged; None where everything that is dealt is judged."""

    curation: Curation
    dataset: Dataset
    query: AuditQuery
    pair: AuditPair | None
    judged: int
    dealt: int
    summary: JudgementSummary
    whiskers: tuple[Whisker, ...]
    last: Judgement | None
    problem: str = ""

    @property
    def goal(self) -> int:
        """How many judgements are enough: GOAL, or all that there are."""
        return min(GOAL, self.dealt)

    @property
    def missing(self) -> int:
        """How many bins have no judgement yet. While there are any, the precision of all is unknown."""
        return sum(not bin_.judged for bin_ in self.summary.bins)


def read(client: CocuClient, identifier: str, query: AuditQuery, problem: str = "") -> Audit:
    """Ask for everything the page shows."""
    curation = client.curations.get(identifier)
    pairs = client.judgements.next(identifier, 1)
    summary = client.judgements.summary(identifier, precision=query.precision)
    return Audit(
        curation=curation,
        dataset=client.datasets.get(curation.dataset),
        query=query,
        pair=pairs.items[0] if pairs.items else None,
        judged=pairs.judged,
        dealt=pairs.dealt,
        summary=summary,
        whiskers=precision_plot(
            [(bin_.precision, bin_.precision_low, bin_.precision_high) for bin_ in summary.bins]
        ),
        last=_last(client, identifier, query),
        problem=problem,
    )


async def show(request: Request) -> Response:
    """The page."""
    identifier = request.path_params["curation"]
    query = AuditQuery.read(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, query))
    return _render(request, view)


async def answer(request: Request) -> Response:
    """Keep or undo a judgement, or set the threshold, and show the page again."""
    identifier = request.path_params["curation"]
    form = await form_of(request)
    query = AuditQuery.read(form)
    run = request.app.state.calls.run
    try:
        after = await run(lambda client: _answer(client, identifier, form, query))
    except (InvalidInputError, ValidationError) as error:
        problem = explain(error)
        view = await run(lambda client: read(client, identifier, query, problem))
        return _render(request, view, status=422)
    response = RedirectResponse(after.url(identifier), status_code=303)
    remember_author(response, form)
    return response


def _answer(client: CocuClient, identifier: str, form: FormData, query: AuditQuery) -> AuditQuery:
    """Do what a form says; return the query of the page that follows."""
    action = text_of(form, "action")
    if action in ANSWERS:
        author = text_of(form, "author") or None
        client.judgements.judge(identifier, query.key, query.concept, ANSWERS[action], author=author)
        return query
    if action == "undo":
        _undo(client, identifier, query)
        return AuditQuery(query.precision)
    if action == "threshold":
        score = text_of(form, "score")
        client.curations.set_threshold(identifier, _number(score) if score else None)
        return query
    raise HTTPException(422, "A form says right, wrong, unsure, undo or threshold")


def _undo(client: CocuClient, identifier: str, query: AuditQuery) -> None:
    """Take the last judgement back: what somebody else had said before it is said again."""
    last = _last(client, identifier, query)
    if last is None or last.replaced is None:
        client.judgements.undo(identifier, query.key, query.concept)
        return
    before = last.replaced
    client.judgements.judge(identifier, query.key, query.concept, before.right, author=before.author)


def _render(request: Request, view: Audit, *, status: int = 200) -> Response:
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "audit.html",
        status=status,
        title=f"Audit of {view.dataset.name}",
        crumbs=[*crumbs(view.dataset, view.curation), Crumb("Audit")],
        view=view,
        links=links,
        page=links.audit(view.curation.id),
        wished=share_height(view.query.precision),
        author=author_of(request),
    )


def _last(client: CocuClient, identifier: str, query: AuditQuery) -> Judgement | None:
    if not query.key or not query.concept:
        return None
    try:
        return client.judgements.get(identifier, query.key, query.concept)
    except NotFoundError:
        return None


def _share(text: str) -> float:
    """A share between 0 and 1; a percentage is one too."""
    number = _float(text)
    share = number / 100 if 1 < number <= 100 else number
    return share if 0 < share <= 1 else links.WISHED_PRECISION


def _number(text: str) -> float:
    number = _float(text)
    if not math.isfinite(number):
        raise HTTPException(422, "The threshold is no number")
    return number


def _float(text: str) -> float:
    try:
        return float(text.replace("\u2212", "-").replace(",", "."))
    except ValueError:
        return math.nan
