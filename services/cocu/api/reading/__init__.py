"""Reading what was made: samples, archives with their origins, their concepts; search and comparison."""

from cocu.api.reading.archives import ArchiveFilter, Archives
from cocu.api.reading.comparisons import Comparisons
from cocu.api.reading.concepts import Concepts
from cocu.api.reading.samples import Samples
from cocu.api.reading.search import Search

__all__ = ["ArchiveFilter", "Archives", "Comparisons", "Concepts", "Samples", "Search"]
