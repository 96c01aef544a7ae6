"""An example of every operation as a curl command for a shell, made from the OpenAPI document.

The examples of the page are run from top to bottom: an id that one creates is a shell variable (`$DATASET`)
in later ones. Optional parameters are left out.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final

Schema = dict[str, Any]

FILE: Final = "photos.tar"
"""The file to upload; it must be in the current folder."""
SET_UP: Final = {"URL": "https://example.org/more-photos.tar"}
"""The variables that no example sets: a tar of images and captions that the platform may fetch."""
_CALL: Final = "curl --fail-with-body"
_QUIET: Final = f"{_CALL} --silent --show-error"
_BODIES: Final[dict[str, Schema]] = {
    "create_dataset": {"name": "holiday photographs"},
    "create_import": {"url": "$URL"},
    "create_vocabulary": {"text": "dog\ncat\nbench"},
    "create_curation": {"vocabulary": "$VOCABULARY", "parameters": {"neighbours": 16}},
    "create_projection": {"method": "pca"},
    "create_feedback": {"concept": "dog", "action": "allow"},
    "put_labels": {"labels": {"$SAMPLE": ["dog"]}},
    "create_judgement": {"key": "$SAMPLE", "concept": "dog", "right": True},
    "set_threshold": {"score": -2},
    "create_evaluation": {"labels": {"$SAMPLE": ["dog"]}},
    "search": {"dataset": "$DATASET", "text": "a dog on a bench"},
}
_QUERIES: Final = {
    "list_near_concepts": "text=puppy",
    "list_gaps": "dataset=$DATASET",
    "get_effect": "action=block&concept=$CONCEPT",
    "get_map_columns": "projection=$PROJECTION&columns=gain",
    "get_search": "dataset=$DATASET&text=dog",
}
"""Of operations that need more than their path says."""
_COMPUTED: Final = frozenset({"list_near_concepts", "list_merge_candidates", "list_gaps"})
"""Operations whose first request may get a 503 until the result is computed: curl tries again."""
_HEADERS: Final = {
    "tus-resumable": "'Tus-Resumable: 1.0.0'",
    "upload-length": f'"Upload-Length: $(wc -c < {FILE})"',
    "upload-offset": "'Upload-Offset: 0'",
    "upload-metadata": "'Upload-Metadata: filename aW4tcGllY2VzLnRhcg=='",
}
_SAVED: Final = {
    "get_image": "image.jpg",
    "stream_batches": "batches.arrow",
    "get_projection_points": "points.arrow",
    "get_projection_image": "map.png",
    "get_map_columns": "columns.arrow",
    "stream_export": "curation.tar",
    "get_export_file": '"$(basename "$FILE")"',
}
"""Operations with binary answers, and the file into which the answer is saved."""
_KEPT: Final = {
    "create_dataset": ("DATASET", "jq --raw-output .id"),
    "create_resumable_upload": ("RESUMABLE", r"tr -d '\r' | sed -n 's|^[Ll]ocation: .*/||p'"),
    "list_samples": ("SAMPLE", "jq --raw-output '.items[0].key'"),
    "create_vocabulary": ("VOCABULARY", "jq --raw-output .id"),
    "create_feedback": ("CONCEPT", "jq --raw-output '.concept | @uri'"),
    "create_curation": ("CURATION", "jq --raw-output .id"),
    "create_projection": ("PROJECTION", "jq --raw-output .id"),
    "list_curation_concepts": ("CONCEPT", "jq --raw-output '.items[0].concept | @uri'"),
    "create_judgement": ("CONCEPT", "jq --raw-output '.concept | @uri'"),
    "get_export_manifest": ("FILE", "jq --raw-output '.files[0].name'"),
    "create_evaluation": ("EVALUATION", "jq --raw-output .id"),
}
"""What later examples need from an answer: the variable, and the command that extracts it."""
_JSON: Final = "--header 'Content-Type: application/json' --data"
_BEFORE: Final = {
    "delete_dataset": f'UNWANTED=$({_QUIET} --request POST "$COCU/v1/datasets" {_JSON} '
    '\'{"name": "unwanted"}\' | jq --raw-output .id)',
    "delete_vocabulary": f'UNWANTED=$({_QUIET} --request POST "$COCU/v1/vocabularies" {_JSON} '
    '\'{"text": "unwanted"}\' | jq --raw-output .id)',
    # Uploads are read in the background.
    "list_samples": f'until {_QUIET} "$COCU/v1/datasets/$DATASET/report" | jq --exit-status .complete; '
    "do sleep 1; done",
    "get_projection_points": f'until {_QUIET} "$COCU/v1/datasets/$DATASET/projections/$PROJECTION" | '
    "jq --exit-status '.state == \"completed\"'; do sleep 1; done",
    "compare_curations": f'OTHER=$({_QUIET} --request POST "$COCU/v1/datasets/$DATASET/curations" {_JSON} '
    '\'{"vocabulary": "\'"$VOCABULARY"\'", "parameters": {"neighbours": 8}}\' | jq --raw-output .id)\n'
    f'{_QUIET} --no-buffer "$COCU/v1/curations/$OTHER/events"',
}
_AFTER: Final = {
    "list_samples": "KEY=$(jq --null-input --raw-output --arg sample \"$SAMPLE\" '$sample | @uri')",
}
_NAMES: Final = {
    "put_upload": FILE,
    "get_upload": FILE,
    "get_export_file": "$FILE",
    **dict.fromkeys(("put_labels", "get_labels", "delete_labels"), "by-hand"),
}
_SHOWN_HEADERS: Final = frozenset({"describe_resumable_uploads", "create_resumable_upload"})
"""Operations whose answer is in the headers."""
_ENDLESS: Final = {"stream_all_events": 2}
"""Streams without an end, and the seconds for which the example follows them."""
_VARIABLE = re.compile(r"\{(\w+)\}")


def build_command(method: str, path: str, operation: Schema) -> str:
    """Return the commands for one operation; they fail, and show the answer, where it is a problem.

    There is a line before it where the operation must wait for something, or needs a resource of its own.
    """
    name = operation["operationId"]
    kept = _KEPT.get(name)
    words = [
        _QUIET if kept or name in _SAVED else _CALL,
        *(["--retry 60"] if name in _COMPUTED else []),
        *_method(name, method, operation),
        f'"$COCU{_url_path(name, path)}"',
    ]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "header" and parameter.get("required"):
            words += ["--header", _HEADERS[parameter["name"]]]
    kinds = list(operation.get("requestBody", {}).get("content", {}))
    if "application/json" in kinds:
        words += [_JSON, _json(_BODIES[name])]
    elif kinds:
        words += [f"-T {FILE}", *([f"--header 'Content-Type: {kinds[0]}'"] if method == "patch" else [])]
    if name in _SAVED:
        words += ["--output", _SAVED[name]]
    line = " ".join(words)
    if name in _ENDLESS:
        line += f" --max-time {_ENDLESS[name]} || test $? = 28"  # of curl: the time is over
    if kept is not None:
        line = f"{kept[0]}=$({line} | {kept[1]})"
    return "\n".join(part for part in (_BEFORE.get(name), line, _AFTER.get(name)) if part)


def _url_path(name: str, path: str) -> str:
    if name == "delete_dataset":
        path = path.replace("{dataset}", "{unwanted}")
    if name == "delete_vocabulary":
        path = path.replace("{vocabulary}", "{unwanted}")
    if name in _NAMES:
        path = path.replace("{name}", _NAMES[name])
    if name in _QUERIES:
        path += f"?{_QUERIES[name]}"
    return _VARIABLE.sub(lambda match: f"${match[1].upper()}", path)


def _method(name: str, method: str, operation: Schema) -> list[str]:
    """Return the options for a method. PUT of a file needs none: -T sends one, and streams the file."""
    chosen = {"get": [], "put": [], "head": ["--head"]}.get(method, ["--request", method.upper()])
    if method == "put" and "application/json" in operation.get("requestBody", {}).get("content", {}):
        chosen = ["--request", "PUT"]
    if name in {"stream_events", *_ENDLESS}:
        chosen = ["--no-buffer"]
    return [*(["--include"] if name in _SHOWN_HEADERS else []), *chosen]


def _json(body: Schema) -> str:
    """Return JSON in quotes for a shell, with its variables outside of the quotes."""
    quoted = shlex.quote(json.dumps(body))
    return re.sub(r"\$([A-Z]+)", r"""'"$\1"'""", quoted)
