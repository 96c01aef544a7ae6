"""The examples of /docs, pasted into a shell from top to bottom."""

from __future__ import annotations

import functools
import html
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api import examples
from cocu.client import CocuClient

CAPTIONS = {
    "one dog": "a dog on a bench",
    "folder/cat": "a cat",
    "bench": "a bench",
    "more": "a dog and a cat",
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """The port of a server with a tar to import."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "more-photos.tar").write_bytes(tar_of_samples({"fetched": "a cat on a bench"}, first_seed=50))
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def shown(page: str) -> dict[str, str]:
    """The commands on the page, by operation, in its order."""
    matches = re.findall(r'<article id="(\w+)">.*?<pre><code>(.*?)</code></pre></article>', page, re.DOTALL)
    return {operation: html.unescape(command) for operation, command in matches}


def test_examples__of_everything_are_on_the_page(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    names = {
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    }
    page = http.get("/docs").text
    assert set(shown(page)) == names
    assert f"COCU={str(http.base_url).rstrip('/')}" in page


def test_examples__send_files_as_they_are_read_and_need_no_new_curl(http: httpx.Client) -> None:
    commands = shown(http.get("/docs").text)
    assert "-T photos.tar" in commands["put_upload"]
    assert "-T photos.tar" in commands["append_to_upload"]
    everything = "\n".join(commands.values())
    assert "--data-binary" not in everything
    assert "--json" not in everything
    assert "--include" in commands["describe_resumable_uploads"]


@pytest.mark.timeout(120)
def test_examples__run_from_top_to_bottom(tmp_path: Path, elsewhere: int) -> None:
    for tool in ("curl", "jq", "bash"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    encoder = write_tiny_encoder(tmp_path / "encoder")
    allowed = {"fetch_networks": ["127.0.0.0/8"], "fetch_ports": [elsewhere]}
    with running(tmp_path / "data", encoder, **allowed) as server:
        commands = shown(httpx.get(f"{server.url}/docs").text)
        folder = tmp_path / "shell"
        folder.mkdir()
        (folder / examples.FILE).write_bytes(tar_of_samples(CAPTIONS))
        script = folder / "page.sh"
        marked = [f"echo '# {name}' >&2\n{command}" for name, command in commands.items()]
        script.write_text("\n".join(["set -euo pipefail", *marked, "declare -p > variables"]))
        ran = subprocess.run(
            ["bash", str(script)],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "COCU": server.url,
                "URL": f"http://127.0.0.1:{elsewhere}/more-photos.tar",
            },
            capture_output=True,
            text=True,
            errors="replace",
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, f"{ran.stderr[-1500:]}\n{ran.stdout[-1500:]}"
        # The variables have the ids of what was created, and all uploads have been read.
        variables = dict(
            re.findall(r'^declare -\S+ ([A-Z]+)="(.*)"$', (folder / "variables").read_text(), re.MULTILINE)
        )
        with CocuClient(server.url) as client:
            assert client.curations.get(variables["CURATION"]).completed
            assert client.datasets.get(variables["DATASET"]).samples == len(CAPTIONS) + 1
            uploads = {upload.name: upload.state for upload in client.datasets.uploads(variables["DATASET"])}
            assert set(uploads) == {examples.FILE, "in-pieces.tar", "more-photos.tar"}
            assert set(uploads.values()) == {"ingested"}
        for name in ("image.jpg", "batches.arrow", "curation.tar", "00000.tar"):
            assert (folder / name).stat().st_size > 500
