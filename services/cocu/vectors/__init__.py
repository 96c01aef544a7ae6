"""Vectors of samples and concepts in Qdrant, in a folder (Qdrant Edge) or on a server.

    with closing(Vectors.open("http://qdrant:6333", options=VectorOptions(api_key="…"))) as vectors:
        vectors.ensure_collection(encoder=hash, dimensions=512)
        vectors.upsert_samples(encoder=hash, tenant=…, dataset=…, keys=…, first_row=0, embeddings_ND=…)
        hits = vectors.search(encoder=hash, tenant=…, dataset=…, vector_D=…)

What is here is a copy of what the files hold: it can be lost and made again (`cocu index rebuild`).
"""

from cocu.vectors.backend import VectorOptions
from cocu.vectors.concepts import ConceptPoint, ConceptVectors, Frequency, NearConcept
from cocu.vectors.identifiers import HIGHEST_BAND, LOWEST_BAND
from cocu.vectors.store import ArchivedConcept, Archives, Hit, ShadowCollection, Vectors

__all__ = [
    "HIGHEST_BAND",
    "LOWEST_BAND",
    "ArchivedConcept",
    "Archives",
    "ConceptPoint",
    "ConceptVectors",
    "Frequency",
    "Hit",
    "NearConcept",
    "ShadowCollection",
    "VectorOptions",
    "Vectors",
]
