"""What each operation answers, status by status, and which headers it reads: the OpenAPI document completed.

FastAPI knows what a function returns. What can go wrong with it follows from what it takes, and the rest is
in the tables below, by the name of the operation; a fuzzer holds every answer against the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from cocu.api import idempotency, tus
from cocu.api.problems import MEDIA_TYPE, title_of
from cocu.api.routes import ROUTERS
from cocu.client.models import Problem

Schema = dict[str, Any]

PROBLEM: Final[Schema] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
UNCHANGING: Final = frozenset({
    "get_image", "list_archives", "get_archive", "list_curation_concepts", "get_curation_concept",
    "compare_curations", "stream_export", "get_export_manifest", "get_export_file",
})  # fmt: skip
"""What has an ETag, always; a curation has one once it has ended."""
ALSO: Final[Mapping[str, tuple[int, ...]]] = {
    "create_dataset": (409,),
    "put_upload": (200, 400, 409, 413),
    "create_resumable_upload": (400, 409, 412, 413, 422),
    "get_resumable_offset": (400, 409, 410, 412, 460),
    "append_to_upload": (400, 408, 409, 410, 412, 413, 415, 423, 460),
    "terminate_upload": (410, 412, 423),
    "create_import": (409, 413),
    "create_vocabulary": (200, 404, 409),
    "create_curation": (409,),
    "list_curations": (404,),
    "stream_events": (400,),
    "stream_batches": (406, 409),
    "search": (404, 409),
    "create_evaluation": (200, 409),
    **dict.fromkeys(sorted(UNCHANGING - {"get_image"}), (409,)),
    "list_changed_concepts": (409,),
    "list_changed_samples": (409,),
}
"""Statuses beside those that follow from what an operation takes."""
BODILESS: Final = frozenset({"get_resumable_offset", "create_resumable_upload"})
LOCATED: Final[Mapping[str, tuple[int, ...]]] = {
    "create_dataset": (201,),
    "create_vocabulary": (200, 201),
    "create_curation": (202,),
    "create_evaluation": (200, 201),
    "create_resumable_upload": (201,),
    "create_import": (202,),
    "retry_uploads": (202,),
}
"""Which answers have a Location."""


def _text(**schema: Any) -> Schema:
    return {"schema": {"type": "string", **schema}}


_SECONDS: Final[Schema] = {
    "description": "Seconds until it is worth asking again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_BYTES: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": tus.LARGEST}
_ETAG: Final[Schema] = {"description": "Names this version, for If-None-Match.", **_text(pattern='^"[^"]*"$')}
_LOCATION: Final[Schema] = {"description": "Where it is.", "required": True, **_text(pattern="^/v1/")}
_VERSION: Final[Schema] = {"required": True, **_text(const=tus.VERSION)}
_OFFSET: Final[Schema] = {"description": "Bytes that are safely stored.", "required": True, "schema": _BYTES}
_EXPIRES: Final[Schema] = {"description": "Until when the rest is waited for.", "required": True, **_text()}
_TUS_STATE: Final[Mapping[str, Schema]] = {"Upload-Offset": _OFFSET, "Upload-Expires": _EXPIRES}
_BATCHES: Final[Mapping[str, Schema]] = {
    "Cocu-Content-Hash": {"description": "Of the curation.", "required": True, **_text()},
    "Cocu-Samples": {"description": "In the epoch.", "required": True, "schema": _BYTES},
    "Cocu-Batches": {"description": "In the epoch.", "required": True, "schema": _BYTES},
}
_HEADERS: Final[Mapping[tuple[str, int], Mapping[str, Schema]]] = {
    ("create_resumable_upload", 201): _TUS_STATE,
    ("get_resumable_offset", 200): {**_TUS_STATE, "Upload-Length": {"required": True, "schema": _BYTES}},
    ("append_to_upload", 204): _TUS_STATE,
    ("create_curation", 200): {"Location": {**_LOCATION, "required": False}},
    ("create_curation", 202): {"Retry-After": _SECONDS},
    ("create_import", 202): {"Retry-After": _SECONDS},
    ("retry_uploads", 202): {"Retry-After": _SECONDS},
    ("stream_batches", 200): _BATCHES,
    ("get_curation", 200): {"ETag": _ETAG},
}
_READ: Final[Mapping[str, Schema]] = {
    "tus-resumable": {"required": True, "schema": {"type": "string", "const": tus.VERSION}},
    "upload-length": {"required": True, "schema": _BYTES},
    "upload-offset": {"required": True, "schema": _BYTES},
    "upload-metadata": {"required": True},
    "upload-checksum": _text(pattern="^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$"),
}
"""Headers that functions take as they come, to answer in their own way when one is missing or wrong."""


def complete(document: Schema) -> None:
    """Write into the document what each operation answers beside what its function returns."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    routes = [route for router in ROUTERS for route in router.routes]
    once = {route.name for route in routes if isinstance(route, idempotency.IdempotentRoute)}
    tus_routes = {route.name for route in routes if isinstance(route, tus.TusRoute)}
    for path in document["paths"].values():
        for method, operation in path.items():
            name = operation["operationId"]
            _complete_operation(operation, once=name in once and method == "post")
            if name in tus_routes:
                _speak_tus(operation)


def _complete_operation(operation: Schema, *, once: bool) -> None:
    name, answers = operation["operationId"], operation["responses"]
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _not_null(parameter["schema"])
        parameter.update(_READ.get(parameter["name"], {}))
    if once:
        parameters.append(_idempotency_key())
    if name in UNCHANGING or name == "get_curation":
        parameters.append(_if_none_match())
        answers["304"] = {
            "description": "What the caller holds is what there is.",
            "headers": {"ETag": _ETAG},
        }
    success = next(status for status in answers if status.startswith("2"))
    if answers[success]["description"] == "Successful Response":
        answers[success]["description"] = "Done." if success == "204" else "What was asked for."
    if name in BODILESS:
        answers[success].pop("content", None)
    for status in sorted({*ALSO.get(name, ()), *_following(operation, once=once)}):
        if status < HTTPStatus.BAD_REQUEST:
            answers[str(status)] = {**answers[success], "description": "It was there already."}
        else:
            answers[str(status)] = _problem(status)
    _add_headers(name, answers, success)
    if not parameters:
        del operation["parameters"]


def _following(operation: Schema, *, once: bool) -> Iterator[int]:
    """The problems that follow from what an operation takes."""
    operation["responses"].pop("422", None)
    where = [parameter["in"] for parameter in operation["parameters"]]
    if "path" in where:
        yield 404
    if "query" in where or operation["operationId"] in {"put_upload", "get_upload"}:
        yield 422
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        yield from (400, 413, 415, 422)
    if once:
        yield from (400, 409, 413, 422)
    if operation["operationId"] != "get_health":
        yield 503


def _not_null(schema: Schema) -> Schema:
    """What a parameter may be where it is given: in a URL or a header nothing is null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}


def _problem(status: int) -> Schema:
    made: Schema = {"description": f"{title_of(status)}.", "content": PROBLEM}
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.LOCKED}:
        made["headers"] = {"Retry-After": _SECONDS}
    if status == HTTPStatus.PRECONDITION_FAILED:
        made["headers"] = {"Tus-Version": _VERSION}
    return made


def _add_headers(name: str, answers: Schema, success: str) -> None:
    if name in UNCHANGING:
        _add(answers[success], {"ETag": {**_ETAG, "required": True}})
    for status in LOCATED.get(name, ()):
        _add(answers[str(status)], {"Location": _LOCATION})
    for status in answers:
        if (name, int(status)) in _HEADERS:
            _add(answers[status], _HEADERS[name, int(status)])


def _speak_tus(operation: Schema) -> None:
    for answer in operation["responses"].values():
        _add(answer, {"Tus-Resumable": _VERSION})


def _add(answer: Schema, headers: Mapping[str, Schema]) -> None:
    answer["headers"] = {**answer.get("headers", {}), **headers}


def _idempotency_key() -> Schema:
    return {
        "name": idempotency.HEADER,
        "in": "header",
        "required": False,
        "description": "The same key with the same request gets the answer that the first one got.",
        "schema": {"type": "string", "pattern": idempotency.PATTERN},
    }


def _if_none_match() -> Schema:
    return {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what the caller holds: 304 if it is what there is.",
        "schema": {"type": "string"},
    }
