"""Encoders served by a Triton Inference Server: publishing bundles, and using them over gRPC."""

from __future__ import annotations

from cocu.encoders.triton.connection import Patience
from cocu.encoders.triton.encoder import TritonEncoder
from cocu.encoders.triton.server import InferenceServer

__all__ = ["InferenceServer", "Patience", "TritonEncoder"]
