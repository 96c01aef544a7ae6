"""The request that knows the configuration of the trainer; the other documents: `cocu.schemas.training`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, WithJsonSchema

from cocu.schemas import training
from cocu_training.configuration import TrainingConfiguration

Configuration = Annotated[
    dict[str, Any], WithJsonSchema(TypeAdapter(TrainingConfiguration).json_schema(mode="validation"))
]


class RunCreate(training.RunCreate):  # noqa: D101 - assigned below
    # The text is the model's in the OpenAPI document.
    __doc__ = training.RunCreate.__doc__

    configuration: Configuration = Field(default_factory=dict)
