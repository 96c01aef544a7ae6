"""The client's batches: each once and in order, also if connections break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.batches.conftest import Curated

from cocu.client import (
    Batch,
    BatchRequest,
    CocuClient,
    ConnectionFailedError,
    InvalidInputError,
    NotFoundError,
)

REQUEST = BatchRequest(global_batch=8, seed=4)


@pytest.fixture
def client(curated: Curated) -> Iterator[CocuClient]:
    with CocuClient(curated.server.url) as opened:
        yield opened


def keys(batches: list[Batch]) -> list[list[str]]:
    return [batch.keys for batch in batches]


class BreakingOff(httpx.BaseTransport):
    """Forwards requests, and cuts off the first responses after some bytes."""

    def __init__(self, after: Callable[[int], int], times: int) -> None:
        self._inner = httpx.HTTPTransport()
        self._after, self._times = after, times
        self.starts: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.starts.append(int(request.url.params["start"]))
        answer = self._inner.handle_request(request)
        if len(self.starts) > self._times:
            return answer
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=Cut(answer.stream, self._after(len(self.starts))),  # type: ignore[arg-type]
        )

    def close(self) -> None:
        self._inner.close()


class Cut(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, left: int) -> None:
        self._stream, self._left = stream, left

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            if len(piece) > self._left:
                yield piece[: self._left]
                raise httpx.ReadError("cut")
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        self._stream.close()


def test_stream__decodes_every_column(client: CocuClient, curated: Curated) -> None:
    batches = list(client.batches.stream(curated.curation.id, REQUEST, include_scores=True, concepts=2))
    assert [batch.number for batch in batches] == list(range(7))
    for batch in batches:
        for position, key in enumerate(batch.keys):
            assert batch.captions[position] == curated.captions[key]
            assert bytes(batch.images[position]) == curated.images[key]
            assert len(batch.texts[position]) == 2
            assert batch.drawn[position] == len(batch.concepts[position]) == len(batch.concept_ids[position])
            assert len(batch.scores[position]) == batch.drawn[position]
    assert sum(map(len, batches)) == len(curated.captions)


@pytest.mark.parametrize("prefetch", [0, 1, 3, 100])
def test_stream__is_the_same_however_far_it_reads_ahead(
    client: CocuClient, curated: Curated, prefetch: int
) -> None:
    expected = keys(list(client.batches.stream(curated.curation.id, REQUEST)))
    assert keys(list(client.batches.stream(curated.curation.id, REQUEST, prefetch=prefetch))) == expected


def test_stream__of_a_rank_without_a_sample_in_the_last_batch(client: CocuClient, curated: Curated) -> None:
    batches = list(client.batches.stream(curated.curation.id, REQUEST, rank=3, world_size=4))
    assert [len(batch) for batch in batches] == [2] * 6 + [0]
    assert batches[-1].images == batches[-1].keys == batches[-1].texts == []


def test_stream__that_starts_at_the_end_is_empty(client: CocuClient, curated: Curated) -> None:
    assert list(client.batches.stream(curated.curation.id, REQUEST, start=7)) == []


@pytest.mark.parametrize("bytes_", [0, 100, 3_000, 50_000, 100_000, 150_000])
def test_stream__goes_on_where_it_broke_off(
    client: CocuClient, curated: Curated, bytes_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocu.client.batches.FIRST_PAUSE", 0.001)
    expected = keys(list(client.batches.stream(curated.curation.id, REQUEST)))
    breaking = BreakingOff(lambda attempt: bytes_, times=5)
    with CocuClient(curated.server.url, transport=breaking) as other:
        assert keys(list(other.batches.stream(curated.curation.id, REQUEST))) == expected
    assert len(breaking.starts) > 1
    assert breaking.starts == sorted(breaking.starts)


def test_stream__gives_up_after_failing_again_and_again(
    curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocu.client.batches.FIRST_PAUSE", 0.001)
    breaking = BreakingOff(lambda attempt: 100, times=99)
    with (
        CocuClient(curated.server.url, transport=breaking) as other,
        pytest.raises(ConnectionFailedError, match="broke off"),
    ):
        list(other.batches.stream(curated.curation.id, REQUEST, reconnects=3))
    assert breaking.starts == [0] * 4


def test_stream__that_ends_early_without_an_error_is_taken_up(
    client: CocuClient, curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stops ends its responses properly."""
    monkeypatch.setattr("cocu.client.batches.FIRST_PAUSE", 0.001)
    expected = keys(list(client.batches.stream(curated.curation.id, REQUEST)))
    monkeypatch.setattr(Cut, "__iter__", _ended)
    breaking = BreakingOff(lambda attempt: 80_000 * attempt, times=2)
    with CocuClient(curated.server.url, transport=breaking) as other:
        assert keys(list(other.batches.stream(curated.curation.id, REQUEST))) == expected


def _ended(self: Cut) -> Iterator[bytes]:
    for piece in self._stream:
        yield piece[: self._left]
        self._left -= len(piece)
        if self._left <= 0:
            return


def test_stream__raises_problems_at_once(client: CocuClient, curated: Curated) -> None:
    with pytest.raises(InvalidInputError, match="rank"):
        list(client.batches.stream(curated.curation.id, rank=4, world_size=4))
    with pytest.raises(NotFoundError):
        list(client.batches.stream("0" * 32))
    with pytest.raises(TypeError, match="sed"):
        client.batches.stream(curated.curation.id, sed=1)


def test_stream__that_is_left_ends_its_thread(client: CocuClient, curated: Curated) -> None:
    def readers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("prefetch")}

    before = readers()
    batches = client.batches.stream(curated.curation.id, REQUEST)
    assert next(batches).number == 0
    started = readers() - before
    assert started
    batches.close()
    for _ in range(500):
        if not any(thread.is_alive() for thread in started):
            break
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in started)
