"""The FastAPI application: routers, middleware, problems, documentation."""

from __future__ import annotations

import threading

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

import cocu
from cocu.api import documentation
from cocu.api.limits import MEBIBYTE, BodyLimit, BodyLimits
from cocu.api.metrics import Measured, Metrics
from cocu.api.paths import SegmentPaths
from cocu.api.problems import add_problem_handlers
from cocu.api.reading import Archives, Comparisons, Concepts, Samples, Search
from cocu.api.routes import ROUTERS
from cocu.batches.columns import ColumnsCache
from cocu.exports.keys import KeysCache
from cocu.platform import Platform

DESCRIPTION = """
Upload image–caption data, curate it, and inspect every archive and where each concept came from.

Errors are problems (RFC 9457). Lists come in pages: `next` of one page is the `cursor` of the following.
What never changes carries an ETag. Keys of samples are percent-encoded in paths, slashes too.
"""
JSON_BYTES = 4 * MEBIBYTE
SEARCH_BYTES = 24 * MEBIBYTE
"""A picture to search by comes as base64."""


def create_app(platform: Platform) -> FastAPI:
    """The application that serves this platform; whoever opened the platform closes it."""
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
        # Measured after paths are decoded: the router notes its route in the scope that it is given.
        middleware=[
            Middleware(SegmentPaths),
            Middleware(Measured, metrics=metrics),
            Middleware(BodyLimit, limits=limits),
        ],
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0"},
    )
    app.state.platform = platform
    app.state.metrics = metrics
    app.state.samples = Samples(platform)
    app.state.archives = Archives(platform, app.state.samples)
    app.state.concepts = Concepts(platform, app.state.samples)
    app.state.comparisons = Comparisons(platform, app.state.samples, app.state.concepts)
    app.state.search = Search(platform, app.state.samples, app.state.concepts, app.state.archives.completed)
    app.state.batch_columns = ColumnsCache(platform)
    app.state.export_keys = KeysCache(platform.objects)
    app.state.stopping = threading.Event()
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    documentation.describe(app)
    documentation.add_page(app)
    # FastAPI builds routes when they are first asked for, changing the process's warning filters meanwhile:
    # now, in one thread, rather than in the first requests.
    app.openapi()
    return app


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function: stable when paths or tags change, and so generated clients."""
    return route.name
