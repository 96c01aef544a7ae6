"""Encoder bundles, inference in process and export from open_clip."""

from __future__ import annotations

from cocu.encoders.bundle import Bundle
from cocu.encoders.concepts import embed_concepts
from cocu.encoders.encoder import Encoder
from cocu.encoders.inprocess import InProcessEncoder, open_encoder
from cocu.encoders.pipeline import EmbeddingResult, embed_stream

__all__ = [
    "Bundle",
    "EmbeddingResult",
    "Encoder",
    "InProcessEncoder",
    "embed_concepts",
    "embed_stream",
    "open_encoder",
]
