"""A new curation: a form from the schema of its parameters, what it costs, and ten archives it would give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import ClientError, CocuClient, ProblemError
from cocu.dashboard import links
from cocu.dashboard.forms import fields_of, form_of
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import (
    PARAMETER_DEFAULTS,
    CurationEstimate,
    CurationPreview,
    Dataset,
    Encoder,
    Parameters,
    Vocabulary,
)

OPEN: Final = ("neighbours", "scoring")
"""Parameters that are shown at once, beside the vocabulary; the others are folded."""
VOCABULARIES = 200
MAX_TEXT = 64


@dataclass(frozen=True)
class Field:
    """A parameter as a part of the form.

    kind: choice or number. value: as it is sent, "" for the default. default: in words. problem: what is
    wrong with the value.
    """

    name: str
    kind: str
    value: str
    default: str
    sentence: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    step: str = "1"
    problem: str | None = None

    @property
    def label(self) -> str:
        """Its name in words."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Form:
    """What is chosen: texts of the query, and the request that they are; None where a text is wrong."""

    fields: tuple[Field, ...]
    vocabulary: str | None
    encoder: str | None
    parameters: Parameters | None

    @property
    def changed(self) -> int:
        """How many of the folded parameters have another value than their default."""
        return sum(field.value != "" for field in self.fields if field.name not in OPEN) + (
            self.encoder is not None
        )


@dataclass(frozen=True)
class CurateView:
    """What the page shows. reason: why it cannot start."""

    dataset: Dataset
    form: Form
    vocabularies: tuple[Vocabulary, ...]
    encoders: tuple[Encoder, ...]
    estimate: CurationEstimate | None
    reason: str | None
    preview: CurationPreview | None = None
    no_preview: str | None = None


def read_form(values: Mapping[str, str]) -> Form:
    """The form as a query or a posted form has it; values at their default count as left out."""
    properties = Parameters.model_json_schema()["properties"]
    texts = {name: values.get(name, "").strip()[:MAX_TEXT] for name in properties}
    typed = {name: _typed(properties[name], text) for name, text in texts.items() if text}
    changed = {name: value for name, value in typed.items() if value != PARAMETER_DEFAULTS.get(name)}
    problems: dict[str, str] = {}
    parameters = None
    try:
        parameters = Parameters.model_validate(changed)
    except ValidationError as error:
        problems = {str(detail["loc"][0]): detail["msg"] for detail in error.errors()}
    fields = tuple(
        _field(name, properties[name], texts[name] if name in changed else "", problems.get(name))
        for name in properties
    )
    return Form(fields, values.get("vocabulary") or None, values.get("encoder") or None, parameters)


def read(client: CocuClient, identifier: str, form: Form) -> CurateView:
    """Ask for what can be chosen, and what the choice costs."""
    dataset = client.datasets.get(identifier)
    estimate, reason = None, "A value is wrong: see the note beside it."
    if form.parameters is not None:
        try:
            estimate = client.curations.estimate(
                identifier, vocabulary=form.vocabulary, encoder=form.encoder, parameters=form.parameters
            )
            reason = ""
        except ClientError as error:
            reason = explain(error)
    preview, no_preview = None, None
    if estimate is not None:
        try:
            preview = client.curations.preview(
                identifier, vocabulary=form.vocabulary, encoder=form.encoder, parameters=form.parameters
            )
        except ClientError as error:
            no_preview = explain(error)
    return CurateView(
        dataset=dataset,
        form=form,
        vocabularies=tuple(client.vocabularies.list(limit=VOCABULARIES)),
        encoders=tuple(client.encoders.list()),
        estimate=estimate,
        reason=reason or None,
        preview=preview,
        no_preview=no_preview,
    )


async def show(request: Request) -> Response:
    """The form, as the query fills it."""
    identifier = request.path_params["dataset"]
    form = read_form(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, form))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "curate.html",
        title=f"Curate {view.dataset.name}",
        crumbs=[
            Crumb("Overview", "/"),
            Crumb(view.dataset.name, links.dataset(identifier)),
            Crumb("New curation"),
        ],
        view=view,
        links=links,
        shown=OPEN,
    )


async def start(request: Request) -> Response:
    """Start it and go to its page; with a wrong value back to the form, which says what is wrong."""
    identifier = request.path_params["dataset"]
    posted = {name: value for name, value in (await form_of(request)).items() if isinstance(value, str)}
    form = read_form(posted)
    parameters = form.parameters
    if parameters is None:
        query = [(name, value) for name, value in posted.items() if value]
        return RedirectResponse(links.with_query(links.curate(identifier), query), status_code=303)
    curation = await request.app.state.calls.run(
        lambda client: client.curations.create(
            identifier, vocabulary=form.vocabulary, encoder=form.encoder, parameters=parameters
        )
    )
    return RedirectResponse(links.curation(curation.id), status_code=303)


def explain(error: ClientError) -> str:
    """What the platform says is wrong, with the fields it names."""
    if not isinstance(error, ProblemError):
        return str(error)
    fields = [f"{name}: {text}" for name, text in fields_of(error.problem)]
    return " ".join([error.problem.detail or error.problem.title, *fields])


def _field(name: str, schema: Mapping[str, Any], value: str, problem: str | None) -> Field:
    kind = _kind(schema)
    choices = tuple(kind.get("enum", ())) or (("true", "false") if kind["type"] == "boolean" else ())
    return Field(
        name=name,
        kind="choice" if choices else "number",
        value=value,
        default=_words(PARAMETER_DEFAULTS.get(name)),
        sentence=schema.get("description", ""),
        choices=choices,
        minimum=kind.get("minimum"),
        maximum=kind.get("maximum"),
        step="1" if kind["type"] == "integer" else "any",
        problem=problem,
    )


def _kind(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a value is that is not null."""
    kinds = [kind for kind in schema.get("anyOf", (schema,)) if kind.get("type") != "null"]
    chosen: Mapping[str, Any] = kinds[0]
    return chosen


def _typed(schema: Mapping[str, Any], text: str) -> object:
    """The value that a text is; the text itself where it is none, which the schema then refuses."""
    kind = _kind(schema)["type"]
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    try:
        return int(text) if kind == "integer" else float(text) if kind == "number" else text
    except ValueError:
        return text


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
