"""`cocu dataset import`, in the process of the test, against a real platform and a real site."""

from __future__ import annotations

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.running import running, tar_of_samples
from tests.workers.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.cli.application import app


class Silent(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_import__fetches_and_waits(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for number in range(2):
        (site / f"{number}.tar").write_bytes(tar_of_samples({f"{number}": "a dog"}, first_seed=number))
    serve = functools.partial(Silent, directory=str(site))
    encoder = write_tiny_encoder(tmp_path / "encoder")
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        port = listening.server_address[1]
        allowed = {"fetch_networks": ["127.0.0.1/32"], "fetch_ports": [port]}
        with running(tmp_path / "data", encoder, **allowed) as server:
            urls = [f"http://127.0.0.1:{port}/{number}.tar" for number in range(2)]
            sent = ["dataset", "import", "fetched", *urls, "--server", server.url, "--json"]
            outcome = CliRunner().invoke(app, sent, catch_exceptions=False)
            refused = ["dataset", "import", "fetched", "http://10.0.0.1/a.tar", "--server", server.url]
            assert CliRunner().invoke(app, refused).exit_code != 0
        listening.shutdown()
        thread.join()
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["samples"] == 2
