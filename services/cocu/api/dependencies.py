"""Dependencies of routes: the platform, the tenant, the queries, checked ids."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

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
    SampleLists,
    Samples,
    Search,
    Thumbnails,
    Verdicts,
)
from cocu.errors import NotFoundError
from cocu.platform import Platform

DEFAULT_TENANT = "default"


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def tenant(request: Request) -> str:
    """Return the tenant whose data a request sees. Every route with data needs it; API keys will set it."""
    return DEFAULT_TENANT


def _samples(request: Request) -> Samples:
    samples: Samples = request.app.state.samples
    return samples


def _sample_lists(request: Request) -> SampleLists:
    lists: SampleLists = request.app.state.sample_lists
    return lists


def _thumbnails(request: Request) -> Thumbnails:
    thumbnails: Thumbnails = request.app.state.thumbnails
    return thumbnails


def _archives(request: Request) -> Archives:
    archives: Archives = request.app.state.archives
    return archives


def _archive_lists(request: Request) -> ArchiveLists:
    lists: ArchiveLists = request.app.state.archive_lists
    return lists


def _facets(request: Request) -> Facets:
    facets: Facets = request.app.state.facets
    return facets


def _evidence(request: Request) -> Evidence:
    evidence: Evidence = request.app.state.evidence
    return evidence


def _effects(request: Request) -> Effects:
    effects: Effects = request.app.state.effects
    return effects


def _draws(request: Request) -> Draws:
    draws: Draws = request.app.state.draws
    return draws


def _concepts(request: Request) -> Concepts:
    concepts: Concepts = request.app.state.concepts
    return concepts


def _concept_space(request: Request) -> ConceptSpace:
    space: ConceptSpace = request.app.state.concept_space
    return space


def _comparisons(request: Request) -> Comparisons:
    comparisons: Comparisons = request.app.state.comparisons
    return comparisons


def _search(request: Request) -> Search:
    search: Search = request.app.state.search
    return search


def _previews(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


def _projections(request: Request) -> Projections:
    projections: Projections = request.app.state.projections
    return projections


def _map_columns(request: Request) -> MapColumns:
    columns: MapColumns = request.app.state.map_columns
    return columns


def _lassos(request: Request) -> Lassos:
    lassos: Lassos = request.app.state.lassos
    return lassos


def _judgements(request: Request) -> Judgements:
    judgements: Judgements = request.app.state.judgements
    return judgements


def _verdicts(request: Request) -> Verdicts:
    verdicts: Verdicts = request.app.state.verdicts
    return verdicts


PlatformOf = Annotated[Platform, Depends(_platform)]
SamplesOf = Annotated[Samples, Depends(_samples)]
SampleListsOf = Annotated[SampleLists, Depends(_sample_lists)]
ThumbnailsOf = Annotated[Thumbnails, Depends(_thumbnails)]
ArchivesOf = Annotated[Archives, Depends(_archives)]
ArchiveListsOf = Annotated[ArchiveLists, Depends(_archive_lists)]
FacetsOf = Annotated[Facets, Depends(_facets)]
EvidenceOf = Annotated[Evidence, Depends(_evidence)]
EffectsOf = Annotated[Effects, Depends(_effects)]
DrawsOf = Annotated[Draws, Depends(_draws)]
ConceptsOf = Annotated[Concepts, Depends(_concepts)]
ConceptSpaceOf = Annotated[ConceptSpace, Depends(_concept_space)]
ComparisonsOf = Annotated[Comparisons, Depends(_comparisons)]
SearchOf = Annotated[Search, Depends(_search)]
PreviewsOf = Annotated[Previews, Depends(_previews)]
ProjectionsOf = Annotated[Projections, Depends(_projections)]
MapColumnsOf = Annotated[MapColumns, Depends(_map_columns)]
LassosOf = Annotated[Lassos, Depends(_lassos)]
JudgementsOf = Annotated[Judgements, Depends(_judgements)]
VerdictsOf = Annotated[Verdicts, Depends(_verdicts)]
Tenant = Annotated[str, Depends(tenant)]


def _possible_id(value: str) -> str:
    # A text that cannot be an id does not exist: no query is needed.
    if _ID.fullmatch(value) is None:
        raise NotFoundError("nothing has this id; ids are letters, digits, - and _")
    return value


_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_IdPath = Annotated[str, Path(), AfterValidator(_possible_id)]
DatasetId = _IdPath
CurationId = _IdPath
VocabularyId = _IdPath
EvaluationId = _IdPath
ProjectionId = _IdPath
ResumableId = _IdPath
