"""What the API says about itself."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx

OPERATIONS = {
    "create_dataset", "list_datasets", "get_dataset", "delete_dataset", "get_report", "list_rejections",
    "put_upload", "list_uploads", "get_upload", "describe_resumable_uploads", "create_resumable_upload",
    "get_resumable_offset", "append_to_upload", "terminate_upload", "create_import",
    "list_samples", "get_sample", "get_image",
    "create_vocabulary", "list_vocabularies", "get_vocabulary", "list_concepts", "get_overlap",
    "list_encoders", "retry_uploads",
    "create_curation", "list_curations", "get_curation", "cancel_curation", "stream_batches",
    "stream_events",
    "search", "list_curation_concepts", "get_curation_concept",
    "compare_curations", "list_changed_concepts", "list_changed_samples",
    "stream_export", "get_export_manifest", "get_export_file",
    "list_archives", "get_archive", "create_evaluation", "list_evaluations", "get_evaluation",
    "get_health", "get_readiness",
}  # fmt: skip


class _Balanced(HTMLParser):
    """Notes what is opened and never closed, and what would be fetched from elsewhere."""

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
    found = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len(found) == len(set(found))
    assert set(found) == OPERATIONS


def test_openapi__every_operation_is_described(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path}"
    assert "Problem" in document["components"]["schemas"]


def test_openapi__a_dry_run_answers_what_the_document_names(http: httpx.Client) -> None:
    answers = http.get("/openapi.json").json()["paths"]["/v1/datasets/{dataset}/curations"]["post"][
        "responses"
    ]
    schema = answers["200"]["content"]["application/json"]["schema"]
    assert {one["$ref"].rpartition("/")[2] for one in schema["anyOf"]} == {"Curation", "CurationEstimate"}
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
