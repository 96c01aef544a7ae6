"""Encoders served by a Triton Inference Server: publication of bundles, and a gRPC client."""

from __future__ import annotations

from cocu.encoders.triton.connection import RetryPolicy
from cocu.encoders.triton.encoder import TritonEncoder
from cocu.encoders.triton.server import InferenceServer

__all__ = ["InferenceServer", "RetryPolicy", "TritonEncoder"]
