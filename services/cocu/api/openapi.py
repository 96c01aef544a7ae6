"""The rest of the OpenAPI document: every status of each operation, and the headers that it reads and sends.

FastAPI knows what a function returns. Which problems it can answer follows mostly from its parameters; the
rest is in the tables below, by operation id. A fuzzer compares every answer with the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from cocu.api import idempotency, tus
from cocu.api.problems import MEDIA_TYPE, title_of
from cocu.api.routes import ROUTERS
from cocu.schemas import EvaluationCreate, LabelsKeep, Problem

Schema = dict[str, Any]

PROBLEM: Final[Schema] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
IMMUTABLE: Final = frozenset({
    "get_image", "list_archives", "get_archive", "get_archive_facets", "get_adjacent_archives", "get_draws",
    "list_curation_concepts", "get_curation_concept", "get_effect",
    "get_vocabulary_document", "get_projection_points", "get_projection_image", "get_map_columns",
    "compare_curations", "stream_export", "get_export_manifest", "get_export_file",
})  # fmt: skip
"""Operations whose answers always have an ETag; a curation has one once it has ended."""
WITH_RANGES: Final = IMMUTABLE - {"stream_export"}
"""Operations that support Range: immutable answers whose length is known before they are sent."""
MORE_STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    "create_dataset": (409,),
    "put_upload": (200, 400, 409, 413),
    "create_resumable_upload": (400, 409, 412, 413, 422),
    "get_resumable_offset": (400, 409, 410, 412, 460),
    "append_to_upload": (400, 408, 409, 410, 412, 413, 415, 423, 460),
    "terminate_upload": (410, 412, 423),
    "create_import": (409, 413),
    "create_vocabulary": (200, 404, 409),
    "delete_vocabulary": (409,),
    "create_feedback": (200,),
    **dict.fromkeys(("list_near_concepts", "list_merge_candidates", "list_gaps"), (409,)),
    "create_curation": (409,),
    **dict.fromkeys(("create_projection", "get_projection"), (409,)),
    "list_curations": (404,),
    "stream_events": (400,),
    "stream_all_events": (400,),
    "stream_batches": (406, 409),
    **dict.fromkeys(("search", "get_search"), (404, 409)),
    "create_evaluation": (200, 409),
    "put_labels": (200,),
    "create_judgement": (200, 409),
    **dict.fromkeys(("list_judgements", "list_audit_pairs", "get_judgement_summary"), (409,)),
    **dict.fromkeys(("export_judgements", "get_judgement", "delete_judgement"), (409,)),
    **dict.fromkeys(sorted(IMMUTABLE - {"get_image"}), (409,)),
    "list_changed_concepts": (409,),
    "list_changed_samples": (409,),
}
"""Statuses besides those that follow from the parameters of an operation."""
WITHOUT_BODY: Final = frozenset({"get_resumable_offset", "create_resumable_upload"})
WITH_LOCATION: Final[Mapping[str, tuple[int, ...]]] = {
    "create_dataset": (201,),
    "create_vocabulary": (200, 201),
    "create_feedback": (200, 201),
    "create_judgement": (200, 201),
    "create_curation": (202,),
    "create_projection": (200, 202),
    "create_evaluation": (200, 201),
    "create_resumable_upload": (201,),
    "create_import": (202,),
    "retry_uploads": (202,),
}
"""The statuses with a Location."""


def _text(**schema: Any) -> Schema:
    return {"schema": {"type": "string", **schema}}


_SECONDS: Final[Schema] = {
    "description": "Seconds to wait before the next request.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_BYTES: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": tus.MAX_BYTES}
_ETAG: Final[Schema] = {
    "description": "The version of the answer, for If-None-Match.",
    **_text(pattern='^"[^"]*"$'),
}
_LOCATION: Final[Schema] = {
    "description": "Its URL, relative to the URL of the request.",
    "required": True,
    **_text(format="uri-reference", pattern=r"^(\.\./)*v1/"),
}
_VERSION: Final[Schema] = {"required": True, **_text(const=tus.VERSION)}
_OFFSET: Final[Schema] = {"description": "Bytes that are safely stored.", "required": True, "schema": _BYTES}
_EXPIRES: Final[Schema] = {
    "description": "When the upload expires if the rest has not arrived.",
    "required": True,
    **_text(),
}
_TUS_STATE: Final[Mapping[str, Schema]] = {"Upload-Offset": _OFFSET, "Upload-Expires": _EXPIRES}
_BATCHES: Final[Mapping[str, Schema]] = {
    "Cocu-Content-Hash": {"description": "The content hash of the curation.", "required": True, **_text()},
    "Cocu-Samples": {"description": "Samples in the epoch.", "required": True, "schema": _BYTES},
    "Cocu-Batches": {"description": "Batches in the epoch.", "required": True, "schema": _BYTES},
}
_CONTENT_RANGE: Final[Schema] = {
    "description": "Which bytes these are, and how many there are.",
    "required": True,
    **_text(pattern=r"^bytes ([0-9]+-[0-9]+|\*)/[0-9]+$"),
}
_HEADERS: Final[Mapping[tuple[str, int], Mapping[str, Schema]]] = {
    ("create_resumable_upload", 201): _TUS_STATE,
    ("get_resumable_offset", 200): {**_TUS_STATE, "Upload-Length": {"required": True, "schema": _BYTES}},
    ("append_to_upload", 204): _TUS_STATE,
    ("create_curation", 200): {"Location": {**_LOCATION, "required": False}},
    ("create_curation", 202): {"Retry-After": _SECONDS},
    ("create_projection", 202): {"Retry-After": _SECONDS},
    ("create_import", 202): {"Retry-After": _SECONDS},
    ("retry_uploads", 202): {"Retry-After": _SECONDS},
    ("stream_batches", 200): _BATCHES,
    ("get_curation", 200): {"ETag": _ETAG},
}
_PARAMETERS: Final[Mapping[str, Schema]] = {
    # A pattern, because client generators do not accept constants in headers.
    "tus-resumable": {"required": True, **_text(pattern=f"^{re.escape(tus.VERSION)}$", default=tus.VERSION)},
    "upload-length": {"required": True, "schema": _BYTES},
    "upload-offset": {"required": True, "schema": _BYTES},
    "upload-metadata": {"required": True},
    "upload-checksum": _text(pattern="^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$"),
}
"""Headers that functions check themselves, to answer in their own way when one is missing or wrong."""


def complete(document: Schema) -> None:
    """Complete the document with the answers that FastAPI does not know."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (Problem, EvaluationCreate, LabelsKeep):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    routes = [route for router in ROUTERS for route in router.routes]
    idempotent_names = {route.name for route in routes if isinstance(route, idempotency.IdempotentRoute)}
    tus_routes = {route.name for route in routes if isinstance(route, tus.TusRoute)}
    # No authentication yet. Without the field that would be undefined.
    document["security"] = []
    for url_path, path in document["paths"].items():
        for method, operation in path.items():
            name = operation["operationId"]
            _complete_operation(
                operation,
                idempotent=name in idempotent_names and method == "post",
                strict=url_path.startswith("/v1/"),
            )
            if name in tus_routes:
                _add_tus(operation)


def _complete_operation(operation: Schema, *, idempotent: bool, strict: bool) -> None:
    name, answers = operation["operationId"], operation["responses"]
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _not_null(parameter["schema"])
        parameter.update(_PARAMETERS.get(parameter["name"], {}))
    if idempotent:
        parameters.append(_idempotency_key())
    if name in IMMUTABLE or name == "get_curation":
        parameters.append(
            _condition(
                "If-None-Match", "The ETag of the version that the client has: 304 if it is still valid."
            )
        )
        answers["304"] = {
            "description": "The version that the client has is still valid.",
            "headers": {"ETag": _ETAG},
        }
    success = next(status for status in answers if status.startswith("2"))
    if answers[success]["description"] == "Successful Response":
        answers[success]["description"] = "Done." if success == "204" else "The result."
    if name in WITHOUT_BODY:
        answers[success].pop("content", None)
    for kind, content in answers[success].get("content", {}).items():
        if "itemSchema" in content:
            # A field of OpenAPI 3.2; this document is 3.1.
            answers[success]["content"][kind] = {"schema": {"type": "string"}}
    if name in WITH_RANGES:
        _add_range(operation)
    for status in sorted(
        {*MORE_STATUSES.get(name, ()), *_expected_problems(operation, idempotent=idempotent, strict=strict)}
    ):
        if status < HTTPStatus.BAD_REQUEST:
            answers[str(status)] = {**answers[success], "description": "It existed already."}
        else:
            answers[str(status)] = _problem(status)
    _add_headers(name, answers, success)
    if not parameters:
        del operation["parameters"]


def _expected_problems(operation: Schema, *, idempotent: bool, strict: bool) -> Iterator[int]:
    """Yield the statuses of problems that follow from the parameters of an operation."""
    operation["responses"].pop("422", None)
    where = [parameter["in"] for parameter in operation["parameters"]]
    if "path" in where:
        yield 404
    if strict:
        # For unknown query parameters, also where nothing else can be invalid.
        yield 422
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        yield from (400, 413, 415, 422)
    if idempotent:
        yield from (400, 409, 413, 422)
    if operation["operationId"] != "get_health":
        yield 503


def _not_null(schema: Schema) -> Schema:
    """Return the schema of a parameter that is sent: a URL or a header has no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}


def _problem(status: int) -> Schema:
    problem: Schema = {"description": f"{title_of(status)}.", "content": PROBLEM}
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.LOCKED}:
        problem["headers"] = {"Retry-After": _SECONDS}
    if status == HTTPStatus.PRECONDITION_FAILED:
        problem["headers"] = {"Tus-Version": _VERSION}
    return problem


def _add_headers(name: str, answers: Schema, success: str) -> None:
    if name in IMMUTABLE:
        _add(answers[success], {"ETag": {**_ETAG, "required": True}})
    for status in WITH_LOCATION.get(name, ()):
        _add(answers[str(status)], {"Location": _LOCATION})
    for text, answer in answers.items():
        if (name, int(text)) in _HEADERS:
            _add(answer, _HEADERS[name, int(text)])


def _add_tus(operation: Schema) -> None:
    for answer in operation["responses"].values():
        _add(answer, {"Tus-Resumable": _VERSION})


def _add(answer: Schema, headers: Mapping[str, Schema]) -> None:
    answer["headers"] = {**answer.get("headers", {}), **headers}


def _idempotency_key() -> Schema:
    return {
        "name": idempotency.HEADER,
        "in": "header",
        "required": False,
        "description": "A repeated request with the same key gets the answer of the first one.",
        "schema": {"type": "string", "pattern": idempotency.PATTERN},
    }


def _condition(name: str, description: str, **schema: Any) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": description, **_text(**schema)}


def _add_range(operation: Schema) -> None:
    answers = operation["responses"]
    operation["parameters"] += [
        _condition("Range", "Which bytes (`bytes=0-99`); several ranges, or an invalid one, get the whole."),
        _condition(
            "If-Range",
            "The ETag of the version of which the client has a part; for another version the whole is sent.",
        ),
    ]
    answers["206"] = {
        "description": "The requested part.",
        "headers": {"Content-Range": _CONTENT_RANGE, "ETag": {**_ETAG, "required": True}},
        # A part of JSON is not JSON.
        "content": {
            kind: {} if kind == "application/json" else content
            for kind, content in answers["200"]["content"].items()
        },
    }
    answers["416"] = {**_problem(416), "headers": {"Content-Range": _CONTENT_RANGE}}
