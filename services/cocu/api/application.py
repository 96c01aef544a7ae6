"""The FastAPI application: routers, middleware, problems, documentation."""

from __future__ import annotations

import asyncio
import threading

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.types import ASGIApp

import cocu
from cocu.api import documentation
from cocu.api.background import Background
from cocu.api.broken_streams import BrokenStreams
from cocu.api.dashboard_route import DashboardRoute
from cocu.api.event_feed import EventFeed
from cocu.api.followers import Followers
from cocu.api.head_requests import HeadRequests
from cocu.api.limits import MEBIBYTE, BodyLimit, BodyLimits
from cocu.api.locations import RelativeLocations
from cocu.api.metrics import Metrics, RequestMetrics
from cocu.api.parameters import check_query
from cocu.api.problems import add_problem_handlers
from cocu.api.queries import (
    ArchiveLists,
    Archives,
    Comparisons,
    Concepts,
    ConceptSpace,
    Draws,
    Effects,
    Evidence,
    Facets,
    Judgements,
    Lassos,
    MapColumns,
    Previews,
    Projections,
    RegionLabels,
    SampleLists,
    Samples,
    Search,
    Thumbnails,
    Verdicts,
)
from cocu.api.ranges import Ranges
from cocu.api.readiness import Readiness
from cocu.api.routes import ROUTERS, health
from cocu.api.server_errors import ServerErrors
from cocu.api.stream_limits import StreamLimits
from cocu.batches.shard_cache import ColumnsCache
from cocu.exports.file_cache import FileCache
from cocu.exports.keys import KeysCache
from cocu.http.compression import Compression
from cocu.http.hosts import HostCheck, Hosts
from cocu.http.paths import SegmentPaths
from cocu.platform import Platform

DESCRIPTION = """
Upload image–caption data, curate it, and inspect every archive and where each concept came from.

Errors are problems (RFC 9457). Lists come in pages: `next` of one page is the `cursor` of the following.
Immutable resources have an ETag and support `Range`. Keys of samples are percent-encoded in paths, slashes
too. References in answers (Location, the files of a manifest) are relative to the URL of the request, so that
they are right behind every proxy. Query parameters that are not documented here are refused.

JSON and text from 1 kB on are compressed for clients that accept gzip; parts (Range), streams, images and
exports are not.

Every path with GET also has HEAD, with the same headers and no body; OPTIONS lists the methods of a path.
"""
TAGS = {
    "datasets": "Image–caption data, and a report of every sample in it.",
    "uploads": "Files with samples on their way into a dataset: sent whole, in pieces (tus), or fetched.",
    "samples": "Single samples and their images.",
    "vocabularies": "The concepts that captions are searched for.",
    "encoders": "Models that embed images and texts as vectors.",
    "curations": "Runs over a dataset: neighbours, concepts, archives.",
    "events": "What happens to curations, uploads and projections, as it happens.",
    "projections": "Maps of the images of a dataset, and numbers of archives for their points.",
    "archives": "The ranked concepts of every sample, and their origins.",
    "batches": "Samples in the order of an epoch, for trainers.",
    "concepts": "How often each concept is named before and after.",
    "comparisons": "What changed between two curations.",
    "search": "Samples by text, image or sample.",
    "exports": "A curation as files.",
    "judgements": "Right or wrong for one concept of one image, and the precision that follows.",
    "labels": "What people say is on images, kept with a dataset.",
    "evaluations": "Archives measured against human labels.",
    "health": "Whether the platform runs and is ready.",
}
"""The groups of operations."""
JSON_BYTES = 4 * MEBIBYTE
SEARCH_BYTES = 24 * MEBIBYTE
"""A query image is sent as base64."""


def create_app(platform: Platform, dashboard: ASGIApp | None = None) -> FastAPI:
    """Return the application that serves this platform. The caller must close the platform.

    dashboard: what serves every path that is not the API's; without it `/` leads to the documentation.
    """
    settings = platform.settings
    limits = BodyLimits(
        json=JSON_BYTES,
        vocabulary=settings.max_vocabulary_bytes,
        labels=settings.max_labels_bytes,
        upload=settings.max_upload_bytes,
        search=SEARCH_BYTES,
    )
    metrics = Metrics(platform)
    app = FastAPI(
        title="cocu",
        summary="Concept curation for vision-language training data.",
        description=DESCRIPTION,
        version=cocu.__version__,
        # RequestMetrics comes after SegmentPaths: the router writes the route into the scope that it gets.
        middleware=[
            Middleware(ServerErrors),
            Middleware(SegmentPaths, root_path=settings.root_path),
            Middleware(HeadRequests),
            Middleware(RequestMetrics, metrics=metrics),
            Middleware(HostCheck, hosts=Hosts(settings.hosts)),
            Middleware(BodyLimit, limits=limits),
            Middleware(RelativeLocations),
            Middleware(Compression),
            Middleware(Ranges),
            Middleware(BrokenStreams),
        ],
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        # Relative to the document (OpenAPI 3.1, 4.8.5), so that it is right behind every proxy.
        servers=[{"url": ".", "description": "The platform that this document comes from."}],
    )
    app.state.platform = platform
    app.state.metrics = metrics
    app.state.samples = Samples(platform)
    app.state.sample_lists = SampleLists(platform, app.state.samples)
    app.state.thumbnails = Thumbnails(platform, app.state.samples)
    app.state.archives = Archives(platform, app.state.samples)
    app.state.previews = Previews(platform, app.state.archives)
    app.state.evidence = Evidence(platform, app.state.samples, app.state.archives)
    app.state.draws = Draws(app.state.samples, app.state.archives)
    app.state.concepts = Concepts(platform, app.state.samples)
    app.state.verdicts = Verdicts(platform, app.state.samples, app.state.concepts)
    app.state.judgements = Judgements(platform, app.state.samples, app.state.concepts, app.state.archives)
    app.state.effects = Effects(platform, app.state.concepts)
    app.state.archive_lists = ArchiveLists(
        platform, app.state.samples, app.state.concepts, app.state.archives
    )
    app.state.facets = Facets(app.state.concepts)
    app.state.projections = Projections(platform, RegionLabels(app.state.concepts))
    app.state.map_columns = MapColumns(app.state.concepts)
    app.state.lassos = Lassos(app.state.projections)
    app.state.comparisons = Comparisons(platform, app.state.samples, app.state.concepts)
    app.state.search = Search(platform, app.state.samples, app.state.concepts, app.state.archives.completed)
    app.state.stopping = threading.Event()
    app.state.background = Background(app.state.stopping)
    app.state.concept_space = ConceptSpace(
        platform, app.state.concepts, app.state.archives.completed, app.state.background
    )
    app.state.batch_columns = ColumnsCache(platform)
    app.state.export_keys = KeysCache(platform.objects)
    app.state.file_cache = FileCache(settings.data_folder)
    app.state.streams = StreamLimits(settings)
    # Large bodies are parsed one at a time, and large labels evaluated one at a time.
    app.state.parsing = asyncio.Lock()
    app.state.measuring = asyncio.Lock()
    app.state.followers = Followers(platform, app.state.stopping)
    app.state.event_feed = EventFeed(platform, app.state.stopping)
    app.state.readiness = Readiness(platform)
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router, dependencies=[] if router is health.router else [Depends(check_query)])
    documentation.describe(app)
    documentation.add_page(app)
    if dashboard is None:
        documentation.add_home(app)
    # FastAPI builds its routes at the first use, and changes the warning filters of the process meanwhile. Do
    # it here, in one thread, and not in the first requests.
    described = app.openapi()["paths"]
    if dashboard is not None:
        # Routes of an included router are no routes of the application, and pages are not in the document.
        others = [path for route in app.routes if isinstance(path := getattr(route, "path", None), str)]
        app.router.routes.append(DashboardRoute(dashboard, [*described, *others]))
    return app


def _operation_id(route: APIRoute) -> str:
    """Return the name of the route's function: it stays, for generated clients, when paths or tags change."""
    return route.name
