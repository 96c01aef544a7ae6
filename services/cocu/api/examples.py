"""An example of every operation as a curl command, made from the OpenAPI document, to be pasted into a shell.

What a path names stands as a shell variable (`$DATASET`), so that the examples of one page go together.
Optional parameters are left out.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final

Schema = dict[str, Any]

SET_UP: Final = {
    "DATASET": "the id of a dataset",
    "CURATION": "the id of a curation",
    "OTHER": "the id of another curation of the same dataset",
    "VOCABULARY": "the id of a vocabulary",
    "EVALUATION": "the id of an evaluation",
    "RESUMABLE": "the last part of Location",
    "KEY": "the key of a sample, percent-encoded",
    "CONCEPT": "a concept, percent-encoded",
    "NAME": "the name of an upload, or of a file of an export",
}
"""The variables that stand in examples, and what they are."""
_BODIES: Final[dict[str, Schema]] = {
    "create_dataset": {"name": "holiday photographs"},
    "create_import": {"url": "https://example.org/photos.tar"},
    "create_vocabulary": {"text": "dog\ncat\nbench"},
    "create_curation": {"parameters": {"neighbours": 16}},
    "create_evaluation": {"labels": {"$KEY": ["dog"]}},
    "search": {"dataset": "$DATASET", "text": "a dog on a bench"},
}
_HEADERS: Final = {
    "tus-resumable": "1.0.0",
    "upload-length": "10240",
    "upload-offset": "0",
    "upload-metadata": "filename cGhvdG9zLnRhcg==",
}
_SAVED: Final = {
    "get_image": "image.jpg",
    "stream_batches": "batches.arrow",
    "stream_export": "curation.tar",
    "get_export_file": "shard.tar",
}
"""Answers that no terminal should see, and the file they go into."""
_VARIABLE = re.compile(r"\{(\w+)\}")


def command(method: str, path: str, operation: Schema) -> str:
    """A curl command for one operation; it fails where the answer is a problem, and shows it."""
    name = operation["operationId"]
    place = _VARIABLE.sub(lambda match: f"${match[1].upper()}", path)
    words = ["curl", "--fail-with-body", *_method(method), f'"$COCU{place}"']
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "header" and parameter.get("required"):
            words += ["--header", shlex.quote(f"{parameter['name'].title()}: {_HEADERS[parameter['name']]}")]
    for kind in operation.get("requestBody", {}).get("content", {}):
        if kind == "application/json":
            words += ["--json", _json(_BODIES[name])]
        else:
            words += ["--header", shlex.quote(f"Content-Type: {kind}"), "--data-binary", "@photos.tar"]
    if name in _SAVED:
        words += ["--output", _SAVED[name]]
    return " ".join(words)


def _method(method: str) -> list[str]:
    return {"get": [], "head": ["--head"]}.get(method, ["--request", method.upper()])


def _json(body: Schema) -> str:
    """JSON in quotes for a shell, with its variables outside of them."""
    quoted = shlex.quote(json.dumps(body))
    return re.sub(r"\$([A-Z]+)", r"""'"$\1"'""", quoted)
