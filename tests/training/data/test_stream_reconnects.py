"""Connections break off, and the platform is killed and comes back: every batch comes once, in order."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("torch")

from tests.servers.binaries import free_port
from tests.servers.tcp_proxy import tcp_proxy
from tests.training.data.platforms import SAMPLES, Served, curate, process
from tests.training.data.streams import CONFIGURATION, assert_equal, epoch_of, opened

pytestmark = [
    pytest.mark.slow,
    # More workers than processors are slow, and right all the same.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]

SMALL_BATCHES = CONFIGURATION.with_(global_batch=2)
"""13 an epoch, more than workers and threads together hold ready."""
A_PIECE = 20_000
"""Bytes of an answer: a few batches, so that the epoch takes several of them."""


@pytest.mark.parametrize("workers", [0, 2])
def test_connections_are_cut_in_mid_stream(served: Served, workers: int) -> None:
    expected = epoch_of(served, SMALL_BATCHES)
    port = urlsplit(served.url).port
    assert port is not None
    with tcp_proxy(port) as proxy:
        through = replace(served, url=f"http://127.0.0.1:{proxy.port}")
        with opened(through, SMALL_BATCHES.with_(workers=workers)) as stream:
            proxy.answer_bytes = A_PIECE
            received = list(stream.samples(0, start=0))
    assert proxy.cuts >= 2
    assert_equal(received, expected)
    assert len(received) == SAMPLES // 2


def test_the_platform_is_killed_and_started_again(tmp_path: Path, tokenizer: Path) -> None:
    port = free_port()
    with tcp_proxy(port) as proxy:
        with process(tmp_path, port) as server:
            curation = curate(f"http://127.0.0.1:{port}", tmp_path)
            expected = epoch_of(Served(f"http://127.0.0.1:{port}", curation, tokenizer), SMALL_BATCHES)
            served = Served(f"http://127.0.0.1:{proxy.port}", curation, tokenizer)
            stream = opened(served, SMALL_BATCHES.with_(workers=1))
            # So that the last batches have not come when the platform is killed.
            proxy.answer_bytes = A_PIECE
            samples = stream.samples(0, start=0)
            received = [next(samples)]
            server.send_signal(signal.SIGKILL)
            server.wait()
            cut = proxy.cuts
        proxy.answer_bytes = None
        with process(tmp_path, port), stream:
            received += samples
    assert cut >= 1
    assert_equal(received, expected)
