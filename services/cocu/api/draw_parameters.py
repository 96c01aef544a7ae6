"""The query parameters of draws: which concepts a trainer sees of a sample, and in which texts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query

from cocu.batches import prompts
from cocu.batches.parameters import MAX_CONCEPTS

MAX_TEMPLATES = 500
MAX_INTEGER = 2**53
"""Up to here every client can write integers exactly."""

Seed = Annotated[
    int, Query(ge=0, le=MAX_INTEGER, description="Another seed gives another order and another draw.")
]
EpochNumber = Annotated[
    int, Query(ge=0, le=MAX_INTEGER, description="Another epoch gives another order and another draw.")
]
TextCount = Annotated[int, Query(ge=1, le=MAX_CONCEPTS, description="Texts per sample.")]
SamplerName = Annotated[
    Literal["cluster", "topk", "uniform", "caption"],
    Query(description="How concepts are drawn; `caption`: from those that the sample's own caption names."),
]
Temperature = Annotated[
    float,
    Query(ge=1e-6, le=1e6, description="Low values draw the best concepts, high values draw uniformly."),
]
Template = Annotated[str, Query(min_length=2, max_length=200, json_schema_extra={"pattern": r"\{\}"})]


def read_templates(
    *,
    kind: Annotated[
        Literal["templates", "raw"],
        Query(
            alias="prompts",
            description="`templates`: concepts in templates, by default the 80 of ImageNet. `raw`: alone.",
        ),
    ] = "templates",
    template: Annotated[
        list[Template],
        Query(max_length=MAX_TEMPLATES, description="A text with {} in the slot of the concept."),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> tuple[str, ...]:
    """Return the templates of a request; none where it asks for concepts alone."""
    if kind == "raw":
        return ()
    return tuple(template) or prompts.imagenet_templates()


Templates = Annotated[tuple[str, ...], Depends(read_templates)]
