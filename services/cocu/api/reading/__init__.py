"""Reading what was made: samples with their images, archives with their origins."""

from cocu.api.reading.archives import ArchiveFilter, Archives
from cocu.api.reading.samples import Samples

__all__ = ["ArchiveFilter", "Archives", "Samples"]
