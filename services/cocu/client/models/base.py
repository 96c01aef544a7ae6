"""What every resource shares on the wire."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of what the platform answers: immutable; fields a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Request(BaseModel):
    """Base of what a caller sends: a misspelt field is an error, and so is true where a number belongs."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)


class Page(Answer, Generic[Item]):
    """A part of a list; `next` is the cursor of the part after it, None at the end."""

    items: list[Item]
    next: str | None = None


class FieldProblem(Answer):
    """What is wrong with one input; `field` is its path, as in `body.parameters.neighbours`."""

    field: str
    problem: str


class Problem(Answer):
    """An error, as RFC 9457 has it; `type` is stable and made for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str | None = None
    errors: list[FieldProblem] = Field(default_factory=list)


class Health(Answer):
    """Whether the platform answers, and what of its parts does."""

    status: str
    version: str
    parts: dict[str, str] = Field(default_factory=dict)
