"""Queries: samples, archives with the origins of their concepts, concepts, search and comparison."""

from cocu.api.queries.archive_lists import ArchiveLists
from cocu.api.queries.archives import Archives
from cocu.api.queries.comparisons import Comparisons
from cocu.api.queries.concept_vectors import ConceptSpace
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.draws import Draws
from cocu.api.queries.effects import Effects
from cocu.api.queries.evidence import Evidence
from cocu.api.queries.facets import Facets
from cocu.api.queries.filters import ArchiveFilter
from cocu.api.queries.judgements import Judgements
from cocu.api.queries.lasso import Lassos
from cocu.api.queries.map_columns import MapColumns
from cocu.api.queries.previews import Previews
from cocu.api.queries.projections import Projections
from cocu.api.queries.region_labels import RegionLabels
from cocu.api.queries.sample_lists import SampleLists
from cocu.api.queries.samples import Samples
from cocu.api.queries.search import Search
from cocu.api.queries.thumbnails import Thumbnails
from cocu.api.queries.verdicts import Judged, Verdicts

__all__ = [
    "ArchiveFilter",
    "ArchiveLists",
    "Archives",
    "Comparisons",
    "ConceptSpace",
    "Concepts",
    "Draws",
    "Effects",
    "Evidence",
    "Facets",
    "Judged",
    "Judgements",
    "Lassos",
    "MapColumns",
    "Previews",
    "Projections",
    "RegionLabels",
    "SampleLists",
    "Samples",
    "Search",
    "Thumbnails",
    "Verdicts",
]
