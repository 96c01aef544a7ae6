"""The page at /docs: the OpenAPI document as plain HTML, without scripts or external resources."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from cocu.api import examples, openapi

METHODS = ("put", "post", "get", "patch", "head", "options", "delete")
"""The order of the operations of one path: those that create come first."""
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
body { color: #1b1f24; overflow-wrap: break-word; }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 1rem 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; text-transform: capitalize; }
article { margin: 1.5rem 0; }
code { font-family: ui-monospace, monospace; font-size: 0.9em; }
.method { display: inline-block; min-width: 4.2em; font-weight: 700; color: #0550ae; }
.put, .post { color: #116329; }
.delete { color: #a40e26; }
table { border-collapse: collapse; margin: 0.5rem 0; }
td { padding: 0.15rem 1rem 0.15rem 0; vertical-align: top; }
p { margin: 0.4rem 0; }
pre { background: #f6f8fa; border-radius: 6px; padding: 0.6rem 0.8rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; }
  a, .method { color: #79c0ff; }
  h2 { border-color: #30363d; }
  pre { background: #161b22; }
  .put, .post { color: #7ee787; }
  .delete { color: #ffa198; }
}
"""


def describe(app: FastAPI) -> None:
    """Complete the OpenAPI document of the app: every status, content type and header."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            openapi.complete(generate())
        return generate()

    app.openapi = document  # type: ignore[method-assign]


def add_home(app: FastAPI) -> None:
    """Redirect from the root to the page."""

    @app.get("/", include_in_schema=False)
    def redirect_to_page() -> RedirectResponse:
        return RedirectResponse("/docs")  # RelativeLocations makes it relative


def add_page(app: FastAPI) -> None:
    """Serve the page at /docs."""

    @app.get("/docs", include_in_schema=False)
    def documentation(request: Request) -> Response:
        return Response(
            page(app.openapi(), url=_url(request)),
            media_type="text/html; charset=utf-8",
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
                "Cache-Control": "no-store",
            },
        )


def _url(request: Request) -> str:
    """Return the URL of the platform as the reader of the page sees it; only the examples use it.

    A proxy may send the prefix that it removes. Host and prefix are only shown to the client that sent them.
    """
    prefix = request.headers.get("x-forwarded-prefix", "").rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        prefix = request.app.state.platform.settings.root_path
    return f"{request.url.scheme}://{request.url.netloc}{prefix}"


def page(document: dict[str, Any], *, url: str) -> str:
    """Return the page for an OpenAPI document, with examples for the platform at this URL."""
    groups: dict[str, list[str]] = {}
    operations = [
        (method, path, methods[method])
        for path, methods in document["paths"].items()
        for method in METHODS
        if method in methods
    ]
    # Operations that delete come last in their group: the examples are run from top to bottom.
    for method, path, operation in sorted(operations, key=lambda entry: entry[0] == "delete"):
        tag = (operation.get("tags") or ["other"])[0]
        groups.setdefault(tag, []).append("\n".join(_operation(method, path, operation)))
    models = document.get("components", {}).get("schemas", {})
    return "\n".join(_page(document["info"], groups, models, url))


def _page(
    information: dict[str, Any], groups: dict[str, list[str]], models: dict[str, Any], url: str
) -> Iterator[str]:
    title = f"{escape(information['title'])} {escape(information['version'])}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
    for paragraph in (information.get("summary", ""), information.get("description", "")):
        yield f"<p>{_prose(paragraph)}</p>"
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in [*groups, "models"])
    yield f'<nav>{links}<a href="openapi.json">openapi.json</a></nav>'
    yield "<p>The examples run from top to bottom as they are, in a shell with curl and jq where these are"
    yield f"set, and in a folder with a tar of images and captions, <code>{escape(examples.FILE)}</code>:</p>"
    settings = (f"{name}={shlex.quote(value)}" for name, value in {"COCU": url, **examples.SET_UP}.items())
    yield f"<pre><code>{escape(chr(10).join(settings))}</code></pre>"
    for tag, operations in groups.items():
        yield f'<h2 id="{escape(tag)}">{escape(tag)}</h2>'
        yield from operations
    yield '<h2 id="models">models</h2>'
    for name, schema in sorted(models.items()):
        yield from _model(name, schema)
    yield "</body></html>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    anchor = escape(operation["operationId"])
    yield f'<article id="{anchor}"><p><span class="method {method}">{method.upper()}</span>'
    yield f"<code>{escape(path)}</code></p>"
    yield f"<p>{_prose(operation.get('description') or operation.get('summary', ''))}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        rows = (
            _row(
                parameter["name"],
                f"{_type(parameter.get('schema', {}))}, {parameter['in']}",
                parameter.get("description", ""),
            )
            for parameter in parameters
        )
        yield f"<table>{''.join(rows)}</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: {_type(content.get('schema', {}))} <code>{escape(kind)}</code></p>"
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2"):
            kinds = answer.get("content", {})
            shown = ", ".join(f"{_type(content.get('schema', {}))}" for content in kinds.values())
            yield f"<p>{escape(status)}: {shown or escape(answer.get('description', ''))}</p>"
    problems = ", ".join(status for status in operation.get("responses", {}) if status >= "4")
    if problems:
        yield f"<p>Problems: {escape(problems)}</p>"
    yield f"<pre><code>{escape(examples.build_command(method, path, operation))}</code></pre></article>"


def _model(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<details id="model-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
    yield f"<p>{_prose(schema.get('description', ''))}</p>"
    required = set(schema.get("required", ()))
    rows = (
        _row(name, _type(field) + ("" if name in required else ", optional"), field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    )
    yield f"<table>{''.join(rows)}</table></details>"


def _row(name: str, kind: str, description: str) -> str:
    return f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{_prose(description)}</td></tr>"


def _type(schema: dict[str, Any]) -> str:
    """Return the type of a schema in words; models link to their table."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#model-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("type", "any")))


def _prose(text: str) -> str:
    """Return HTML: paragraphs as lines, text in backticks as code."""
    lines = "<br>".join(escape(part) for part in text.strip().split("\n\n"))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", lines)
