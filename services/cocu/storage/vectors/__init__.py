"""Vectors of samples in Qdrant, in a folder of this process or on a server; nothing else uses its client.

    with closing(Vectors.open("http://qdrant:6333", options=VectorOptions(api_key="…"))) as vectors:
        vectors.ensure_collection(encoder=hash, dimensions=512)
        vectors.upsert_samples(encoder=hash, tenant=…, dataset=…, keys=…, first_row=0, embeddings_ND=…)
        hits = vectors.search(encoder=hash, tenant=…, dataset=…, vector_D=…)

What is here is a copy of what the files hold: it can be lost and made again (`cocu index rebuild`).
"""

from cocu.storage.vectors.connection import VectorOptions
from cocu.storage.vectors.store import Filling, Hit, Vectors

__all__ = ["Filling", "Hit", "VectorOptions", "Vectors"]
