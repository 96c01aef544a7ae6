"""What routes ask for: the platform, the tenant, a page."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from cocu.api.reading import Archives, Comparisons, Concepts, Samples, Search
from cocu.errors import NotFoundError
from cocu.platform import Platform

DEFAULT_TENANT = "default"


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def tenant(request: Request) -> str:
    """Whose data a request sees. Every route that touches data asks for it; API keys will decide it here."""
    return DEFAULT_TENANT


def _samples(request: Request) -> Samples:
    samples: Samples = request.app.state.samples
    return samples


def _archives(request: Request) -> Archives:
    archives: Archives = request.app.state.archives
    return archives


def _concepts(request: Request) -> Concepts:
    concepts: Concepts = request.app.state.concepts
    return concepts


def _comparisons(request: Request) -> Comparisons:
    comparisons: Comparisons = request.app.state.comparisons
    return comparisons


def _search(request: Request) -> Search:
    search: Search = request.app.state.search
    return search


PlatformOf = Annotated[Platform, Depends(_platform)]
SamplesOf = Annotated[Samples, Depends(_samples)]
ArchivesOf = Annotated[Archives, Depends(_archives)]
ConceptsOf = Annotated[Concepts, Depends(_concepts)]
ComparisonsOf = Annotated[Comparisons, Depends(_comparisons)]
SearchOf = Annotated[Search, Depends(_search)]
Tenant = Annotated[str, Depends(tenant)]


def _possible_id(value: str) -> str:
    # A text that cannot be an id is an id that does not exist; the catalog need not be asked.
    if _ID.fullmatch(value) is None:
        raise NotFoundError("nothing has this id; ids are letters, digits, - and _")
    return value


_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_IdPath = Annotated[str, Path(), AfterValidator(_possible_id)]
DatasetId = _IdPath
CurationId = _IdPath
VocabularyId = _IdPath
EvaluationId = _IdPath
ResumableId = _IdPath
