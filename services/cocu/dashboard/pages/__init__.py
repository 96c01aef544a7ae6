"""A module per page: a view dataclass that says what is shown, and the handler that asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from cocu.dashboard.pages import (
    archives,
    audit,
    cancel,
    comparison,
    concept,
    curate,
    curation,
    dataset,
    inspector,
    map,
    overview,
    search,
    settings,
    training,
    training_run,
    vocabulary,
    vocabulary_text,
)

Handler = Callable[[Request], Awaitable[Response]]
READ = ["GET"]
WRITE = ["POST"]

ROUTES: list[tuple[str, list[str], Handler]] = [
    ("/", READ, overview.show),
    ("/datasets", WRITE, overview.create_dataset),
    ("/datasets/{dataset}", READ, dataset.show),
    ("/datasets/{dataset}/retry", WRITE, dataset.retry),
    ("/datasets/{dataset}/curate", READ, curate.show),
    ("/datasets/{dataset}/curate", WRITE, curate.start),
    ("/curations/{curation}", READ, curation.show),
    ("/curations/{curation}/cancel", READ, cancel.ask),
    ("/curations/{curation}/cancel", WRITE, cancel.cancel),
    ("/curations/{curation}/compare", READ, comparison.show),
    ("/curations/{curation}/compare/{other}", READ, comparison.show),
    ("/curations/{curation}/audit", READ, audit.show),
    ("/curations/{curation}/audit", WRITE, audit.answer),
    ("/curations/{curation}/archives", READ, archives.show),
    ("/curations/{curation}/archives/{key:path}", READ, inspector.show),
    ("/curations/{curation}/map", READ, map.show),
    ("/curations/{curation}/map", WRITE, map.make),
    ("/curations/{curation}/concepts/{concept:path}", READ, concept.show),
    ("/curations/{curation}/concepts/{concept:path}", WRITE, concept.give_feedback),
    ("/vocabularies/{vocabulary}", READ, vocabulary.show),
    ("/vocabularies/{vocabulary}", WRITE, vocabulary.change),
    ("/vocabularies/{vocabulary}/edit", READ, vocabulary_text.show),
    ("/vocabularies/{vocabulary}/edit", WRITE, vocabulary_text.save),
    ("/vocabularies/{vocabulary}/delete", READ, vocabulary_text.ask),
    ("/vocabularies/{vocabulary}/delete", WRITE, vocabulary_text.delete),
    ("/search", READ, search.show),
    ("/search", WRITE, search.search_image),
    ("/training", READ, training.show),
    ("/training/runs/{run}", READ, training_run.show),
    ("/training/runs/{run}/stop", WRITE, training_run.stop),
    ("/training/runs/{run}/resume", WRITE, training_run.resume),
    ("/settings", READ, settings.show),
    ("/settings/theme", WRITE, settings.set_theme),
]
"""(path, methods, handler); keys of samples hold slashes as %2F (see `cocu.http`)."""
