"""An answer that never arrives: what was created is created once, and the caller gets it."""

from __future__ import annotations

from pathlib import Path

from tests.local_platform import running
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.servers.tcp_proxy import tcp_proxy

from cocu.client import CocuClient


def test_creating__once_although_the_first_answer_was_lost(tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    with (
        running(tmp_path / "data", encoder) as server,
        tcp_proxy(int(server.url.rpartition(":")[2])) as proxy,
    ):
        seen: list[bytes] = []

        def first_body(data: bytes) -> bool:
            seen.append(data)
            return b'"name"' in data and proxy.cuts == 0

        proxy.cut_when(first_body, forward=True)
        with CocuClient(f"http://127.0.0.1:{proxy.port}") as client:
            dataset = client.datasets.create("only one")
            assert proxy.cuts == 1
            assert [listed.id for listed in client.datasets.list()] == [dataset.id]
