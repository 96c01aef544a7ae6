"""The examples of /docs, pasted into a shell."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.api import examples
from cocu.client import CocuClient


@pytest.fixture(scope="module")
def shell(
    client: CocuClient, curated: Curated, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """A folder with a file to upload, and the variables that the page asks for."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    folder = tmp_path_factory.mktemp("shell")
    (folder / "photos.tar").write_bytes(bytes(10240))
    evaluation = client.evaluations.create(curated.curation.id, labels={"plain": ["dog"]})
    return folder, {
        "DATASET": curated.dataset.id,
        "CURATION": curated.curation.id,
        "OTHER": curated.curation.id,
        "VOCABULARY": curated.curation.vocabulary,
        "EVALUATION": evaluation.id,
        "RESUMABLE": "none",
        "KEY": quote("folder/inside", safe=""),
        "CONCEPT": "dog",
        "NAME": "samples.tar",
    }


def shown(http: httpx.Client) -> dict[str, str]:
    """The commands on the page, by operation."""
    page = http.get("/docs").text
    found = re.findall(r'<article id="(\w+)">.*?<pre><code>(.*?)</code></pre></article>', page, re.DOTALL)
    return {operation: html.unescape(command) for operation, command in found}


def test_examples__of_everything_are_on_the_page(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    names = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert set(shown(http)) == names
    assert f"COCU={str(http.base_url).rstrip('/')}" in http.get("/docs").text


def test_examples__that_only_look_run_as_they_are(
    http: httpx.Client, shell: tuple[Path, dict[str, str]]
) -> None:
    folder, variables = shell
    assert set(variables) == set(examples.SET_UP)
    document, commands = http.get("/openapi.json").json(), shown(http)
    looking = [
        methods["get"]["operationId"] for methods in document["paths"].values() if "get" in methods
    ] + ["search"]
    for name in looking:
        given = {**variables, "NAME": "00000.tar"} if name == "get_export_file" else variables
        answer = pasted(commands[name], folder, {**given, "COCU": str(http.base_url).rstrip("/")})
        assert answer.returncode == 0, f"{name}: {commands[name]}\n{answer.stdout}"


def test_examples__that_create_run_as_they_are(
    http: httpx.Client, client: CocuClient, shell: tuple[Path, dict[str, str]]
) -> None:
    folder, variables = shell
    url, commands = {"COCU": str(http.base_url).rstrip("/")}, shown(http)
    made = json.loads(pasted(commands["create_dataset"], folder, url).stdout)["id"]
    for name in ("put_upload", "create_resumable_upload", "create_vocabulary", "create_evaluation"):
        given = {**variables, **url, "DATASET": made, "NAME": "by-hand.tar", "KEY": "plain"}
        answer = pasted(commands[name], folder, given)
        assert answer.returncode == 0, f"{name}: {commands[name]}\n{answer.stdout}"
    assert pasted(commands["delete_dataset"], folder, {**url, "DATASET": made}).returncode == 0
    assert made not in {each.id for each in client.datasets.list()}


def pasted(command: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f"{command} --silent --max-time 30"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
