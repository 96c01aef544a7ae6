"""Search: pictures by words, by a picture, or like another sample; every search is a link."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.datastructures import QueryParams, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient, ConflictError, InvalidInputError, ProblemError, TooLargeError
from cocu.client.search import encode_image
from cocu.dashboard import links
from cocu.dashboard.forms import form_of, sentence, text_of
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Curation, Dataset, SearchFilters, SearchPage, SearchRequest

HITS = 60
FACETS = 20
MAX_TEXT = 2000


@dataclass(frozen=True)
class SearchQuery:
    """What is searched for; at most one of text, sample and vector."""

    dataset: str | None = None
    text: str | None = None
    sample: str | None = None
    vector: str | None = None
    concepts: tuple[str, ...] = ()
    after: str | None = None

    @classmethod
    def read(cls, query: QueryParams) -> SearchQuery:
        """The query of a request."""
        asked = {name: query.get(name) or None for name in ("text", "sample", "vector")}
        first = next((name for name, value in asked.items() if value), None)
        return cls(
            dataset=query.get("dataset") or None,
            concepts=tuple(dict.fromkeys(name for name in query.getlist("concept") if name))[
                : links.MAX_CONCEPTS
            ],
            after=query.get("after") or None,
            **({first: asked[first]} if first else {}),
        )

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to search for."""
        return any((self.text, self.sample, self.vector))

    def url(self, **changes: object) -> str:
        """The URL of this search with some values changed, from its first page on."""
        values = {**self.__dict__, "after": None, **changes}
        pairs = [
            (name, str(values[name]))
            for name in ("dataset", "text", "sample", "vector")
            if values[name] is not None
        ]
        pairs += [("concept", name) for name in values["concepts"]]
        if values["after"] is not None:
            pairs.append(("after", str(values["after"])))
        return links.with_query("/search", pairs)


@dataclass(frozen=True)
class SearchView:
    """What the page of a search shows.

    trouble: why there is no answer, for a dataset that cannot be searched yet.
    """

    query: SearchQuery
    datasets: tuple[Dataset, ...]
    dataset: Dataset | None = None
    curation: Curation | None = None
    page: SearchPage | None = None
    trouble: str | None = None


def read(client: CocuClient, query: SearchQuery) -> SearchView:
    """Search, in the newest completed curation of the dataset if there is one."""
    datasets = tuple(client.datasets.list(limit=100))
    identifier = query.dataset or (datasets[0].id if len(datasets) == 1 else None)
    if identifier is None:
        return SearchView(query, datasets)
    dataset = client.datasets.get(identifier)
    listed = client.curations.list(dataset=identifier, order="-created_at")
    completed = (curation for curation in listed if curation.completed)
    curation = next(completed, None)
    if not query.is_asked:
        return SearchView(query, datasets, dataset, curation)
    request = SearchRequest(
        dataset=identifier,
        text=query.text and query.text[:MAX_TEXT],
        sample=query.sample,
        vector=query.vector,
        curation=curation.id if curation is not None else None,
        filters=SearchFilters(archive=list(query.concepts)) if curation is not None else SearchFilters(),
        facets=FACETS if curation is not None else 0,
        limit=HITS,
        cursor=query.after,
    )
    try:
        page = client.search.page(request)
    except (ConflictError, InvalidInputError) as error:
        return SearchView(query, datasets, dataset, curation, trouble=str(error))
    return SearchView(query, datasets, dataset, curation, page)


async def show(request: Request) -> Response:
    """The page."""
    query = SearchQuery.read(request.query_params)
    return _render(request, await request.app.state.calls.run(lambda client: read(client, query)))


def _render(request: Request, view: SearchView, *, status: int = 200) -> Response:
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "search.html",
        status=status,
        title="Search",
        crumbs=[Crumb("Overview", "/"), Crumb("Search")],
        view=view,
        links=links,
    )


async def search_image(request: Request) -> Response:
    """Search by an uploaded picture: its vector goes into the URL that the answer leads to.

    Where the picture cannot be used, the page says why.
    """
    form = await form_of(request)
    image, dataset = form.get("image"), text_of(form, "dataset")
    data = await image.read() if isinstance(image, UploadFile) else b""
    await request.close()
    asked = SearchRequest(dataset=dataset, image=encode_image(data), limit=1)
    run = request.app.state.calls.run
    try:
        page = await run(lambda client: client.search.page(asked))
    except (ConflictError, InvalidInputError, TooLargeError) as error:
        view = await run(lambda client: read(client, SearchQuery(dataset=dataset)))
        return _render(request, replace(view, trouble=_trouble(error)), status=error.problem.status)
    return RedirectResponse(SearchQuery(dataset=dataset, vector=page.vector).url(), status_code=303)


def _trouble(error: ProblemError) -> str:
    """Why a picture was not searched for, in words for people."""
    if "(not_an_image)" in error.problem.detail:
        return "This file is no picture that can be read; choose a JPEG, a PNG or a WebP."
    return sentence(str(error))
