"""The OpenAPI document, and the page at /docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import openapi_spec_validator
import pytest

from cocu.api.server import LocalServer

OPERATIONS = {
    "create_dataset", "list_datasets", "get_dataset", "delete_dataset", "get_report", "list_rejections",
    "put_upload", "list_uploads", "get_upload", "describe_resumable_uploads", "create_resumable_upload",
    "get_resumable_offset", "append_to_upload", "terminate_upload", "create_import",
    "list_samples", "get_sample", "get_search", "get_image",
    "create_vocabulary", "list_vocabularies", "get_vocabulary", "list_concepts", "get_overlap",
    "get_vocabulary_document", "delete_vocabulary",
    "list_near_concepts", "list_merge_candidates", "list_gaps",
    "list_encoders", "retry_uploads",
    "create_curation", "list_curations", "get_curation", "cancel_curation", "stream_batches",
    "stream_events", "stream_all_events", "list_failures",
    "create_projection", "list_projections", "get_projection", "get_projection_points",
    "get_projection_image", "get_projection_methods", "get_map_columns",
    "search", "list_curation_concepts", "get_curation_concept",
    "put_labels", "list_labels", "get_labels", "delete_labels",
    "create_judgement", "list_judgements", "list_audit_pairs", "get_judgement_summary", "export_judgements",
    "get_judgement", "delete_judgement", "set_threshold",
    "get_effect", "create_feedback", "list_feedback", "get_feedback", "delete_feedback",
    "compare_curations", "list_changed_concepts", "list_changed_samples",
    "stream_export", "get_export_manifest", "get_export_file",
    "list_archives", "get_archive", "get_archive_facets", "get_adjacent_archives", "get_draws",
    "create_evaluation", "list_evaluations", "get_evaluation",
    "get_health", "get_readiness",
}  # fmt: skip


class _Balanced(HTMLParser):
    """Records elements that are never closed, and references to external resources."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name == "src" or tag in {"script", "link"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_openapi__operation_ids_are_stable(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operation_ids = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len(operation_ids) == len(set(operation_ids))
    assert set(operation_ids) == OPERATIONS


def test_openapi__every_operation_is_described(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path}"
    assert "Problem" in document["components"]["schemas"]


@pytest.fixture(scope="module")
def document(server: LocalServer) -> dict[str, Any]:
    return dict(httpx.get(f"{server.url}/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_openapi__is_valid(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1.")


def test_openapi__passes_the_rules_of_linters(document: dict[str, Any]) -> None:
    # The rules of Redocly's set "recommended", and those that code generators need.
    assert document["servers"]
    assert "security" in document
    assert document["info"]["license"]["identifier"]
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, method, operation in operations(document):
        label = f"{method} {path}"
        assert set(operation["tags"]) <= described, label
        assert operation["summary"], label
        named = {
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"
        }
        assert named == set(re.findall(r"{(\w+)}", path)), label
        assert all(
            parameter["required"]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "path"
        )
        statuses = set(operation["responses"])
        assert any(status.startswith("2") for status in statuses), label
        if path.startswith("/v1/"):
            assert any(status.startswith("4") for status in statuses), label
        for status, answer in operation["responses"].items():
            assert answer["description"], label
            if status >= "4":
                assert list(answer["content"]) == ["application/problem+json"], f"{label} {status}"


def test_openapi__holds_no_words_of_other_versions_and_no_types_that_are_only_null(
    document: dict[str, Any],
) -> None:
    def check(value: Any, location: str) -> None:
        if isinstance(value, dict):
            assert "itemSchema" not in value, location
            assert "nullable" not in value, location
            assert value.get("type") != "null" or "anyOf" in location.rsplit("/", 2)[-2], location
            for name, inner in value.items():
                check(inner, f"{location}/{name}")
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                check(inner, f"{location}/{at}")

    check(document, "")
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            # Generators accept no constants in headers and queries, where nothing is null either.
            assert "const" not in parameter["schema"], parameter
            assert '"null"' not in json.dumps(parameter["schema"]), parameter


def test_openapi__every_operation_is_made_by_a_generator_of_clients(
    document: dict[str, Any], tmp_path: Path
) -> None:
    place = tmp_path / "openapi.json"
    place.write_text(json.dumps(document))
    configuration = tmp_path / "configuration.yaml"
    configuration.write_text("post_hooks: []\n")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *(
                "--path",
                str(place),
                "--config",
                str(configuration),
                "--output-path",
                str(tmp_path / "module_names"),
            ),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Endpoint will not be generated" not in ran.stdout
    module_names = {file.stem for file in (tmp_path / "module_names" / "api").rglob("*.py")} - {"__init__"}
    assert module_names == OPERATIONS
    for file in (tmp_path / "module_names").rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


def test_openapi__a_dry_run_answers_what_the_document_names(http: httpx.Client) -> None:
    answers = http.get("/openapi.json").json()["paths"]["/v1/datasets/{dataset}/curations"]["post"][
        "responses"
    ]
    schema = answers["200"]["content"]["application/json"]["schema"]
    names = {of["$ref"].rpartition("/")[2] for of in schema["anyOf"]}
    assert names == {"Curation", "CurationEstimate", "CurationPreview"}
    assert not answers["200"]["headers"]["Location"]["required"]
    assert answers["202"]["headers"]["Location"]["required"]


def test_docs__is_a_whole_page_without_anything_from_elsewhere(http: httpx.Client) -> None:
    answer = http.get("/docs")
    page = _Balanced()
    page.feed(answer.text)
    assert page.open == []
    assert page.fetched == []
    assert all(f'id="{operation}"' in answer.text for operation in OPERATIONS)


def test_health__and_readiness(http: httpx.Client) -> None:
    assert http.get("/healthz").json()["status"] == "ok"
    assert http.get("/readyz").json()["parts"] == {"catalog": "ok", "objects": "ok"}


def test_encoders__are_listed_with_the_default(http: httpx.Client) -> None:
    (encoder,) = http.get("/v1/encoders").json()["items"]
    assert (encoder["name"], encoder["dim"], encoder["default"]) == ("tiny", 16, True)
