"""Starting and stopping a platform in this process."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from tests.api.conftest import CAPTIONS
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.client import ClientError, CocuClient


def test_stop__ends_event_streams_and_a_new_start_finishes_the_work(tmp_path: Path) -> None:
    encoder, data = write_tiny_encoder(tmp_path / "encoder"), tmp_path / "data"
    file = tmp_path / "samples.tar"
    file.write_bytes(tar_of_samples(CAPTIONS))
    followed = threading.Event()

    def follow(url: str, curation: str) -> None:
        with CocuClient(url, retries=0) as client:
            try:
                for _ in client.curations.events(curation, reconnects=0):
                    followed.set()
            except ClientError:
                pass

    with running(data, encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("samples")
        client.datasets.upload(dataset.id, file)
        client.datasets.wait(dataset.id, timeout=60)
        curation = client.curations.create(dataset.id)
        follower = threading.Thread(target=follow, args=(server.url, curation.id))
        follower.start()
        assert followed.wait(timeout=30)
    follower.join(timeout=15)
    assert not follower.is_alive()
    with running(data, encoder) as server, CocuClient(server.url) as client:
        finished = client.curations.wait(curation.id, timeout=120)
        assert len(list(client.archives.list(finished.id))) == len(CAPTIONS)


def test_connections__do_not_hold_small_answers_back(tmp_path: Path) -> None:
    """Connections inherit it from the listening socket; asyncio does not set it."""
    with running(tmp_path, tmp_path) as server:
        for listening in server._server.servers[0].sockets:
            assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
