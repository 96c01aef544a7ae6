"""`cocu dataset import`, in the process of the test, against a real platform and a real site."""

from __future__ import annotations

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.cli.application import app
from cocu.cli.failures import CommandFailedError
from cocu.client import CocuClient


class Silent(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_import__fetches_waits_and_says_of_garbage_that_it_is_none(tmp_path: Path) -> None:
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
            (site / "garbage.tar").write_bytes(b"garbage!")
            garbage = [f"http://127.0.0.1:{port}/garbage.tar", "--server", server.url]
            alone = CliRunner().invoke(app, ["dataset", "import", "garbage", *garbage])
            beside_good = CliRunner().invoke(app, ["dataset", "import", "fetched", *garbage])
            with CocuClient(server.url) as client:
                kept = {dataset.name: dataset.samples for dataset in client.datasets.list()}
        listening.shutdown()
        thread.join()
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["samples"] == 2
    for ended in (alone, beside_good):
        assert isinstance(ended.exception, CommandFailedError), ended.output
        assert "'garbage.tar' begins with b'garbage!'" in str(ended.exception) + ended.stderr
    assert kept == {"fetched": 2}
