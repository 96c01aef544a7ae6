"""The inference server is killed, slow, silent, wrong or another one: runs end the same, or say why not."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.faults.distributed import PATIENCE, QUICK, begin, curate, outcome, upload, watched
from tests.faults.fault_counts import cases
from tests.faults.faulty_model import FaultyModel, magenta
from tests.local_platform import running
from tests.pipeline.pipeline_driver import encoded, some_samples, tar_of
from tests.pipeline.tiny_encoder import SIZE, write_tiny_encoder
from tests.servers.triton_server import TritonServer, triton_server
from tritonclient.grpc import InferenceServerClient

from cocu.api.server import LocalServer
from cocu.client import CocuClient, CurationFailedError
from cocu.encoders import Bundle, embed_stream, open_encoder
from cocu.encoders.encoder import ModelChangedError
from cocu.encoders.registry import EncoderRegistry
from cocu.encoders.triton import InferenceServer
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish
from cocu.errors import IntegrityError, UnavailableError

pytestmark = pytest.mark.timeout(300)

EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")


def published(encoders: Path, models: Path) -> Path:
    """A model repository with the tiny encoder."""
    publish(Bundle.load(encoders / "tiny"), models, options=ModelOptions(backend="python", threads=1))
    return models


@pytest.fixture
def models(tiny_encoders: Path, tmp_path: Path) -> Path:
    return published(tiny_encoders, tmp_path / "models")


@pytest.fixture
def faulty(models: Path, tmp_path: Path) -> FaultyModel:
    return FaultyModel(models, tmp_path)


@pytest.fixture
def triton(models: Path, faulty: FaultyModel, tmp_path: Path) -> Iterator[TritonServer]:
    with triton_server(models, tmp_path, arguments=EXPLICIT) as server:
        yield server


@pytest.fixture
def server(triton: TritonServer, tmp_path: Path) -> Iterator[LocalServer]:
    """A platform whose encoders are Triton's."""
    with platform_with(triton, tmp_path) as server:
        yield server


@contextmanager
def platform_with(triton: TritonServer, folder: Path, **changes: Any) -> Iterator[LocalServer]:
    chosen = {"samples_per_shard": QUICK["samples_per_shard"], "sweep_seconds": 0.2, "retry_seconds": 0.1}
    with running(folder / "data", triton.url, **(chosen | changes)) as server:  # type: ignore[arg-type]
        yield server


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def in_the_middle(
    server: LocalServer, faulty: FaultyModel, folder: Path, *, seconds: float = 0.3
) -> Iterator[Future[dict[str, Any]]]:
    """A curation while its images are slowly embedded; the block may disturb it."""
    faulty.set(seconds=seconds)
    with ThreadPoolExecutor(1) as pool, CocuClient(server.url) as client:
        ending = pool.submit(curate, client, folder)
        begun = faulty.answered
        wait_until(lambda: faulty.answered >= begun + 2)
        yield ending


@pytest.mark.slow
def test_killed_and_started_again_in_mid_embed__changes_nothing(
    server: LocalServer,
    triton: TritonServer,
    faulty: FaultyModel,
    tmp_path: Path,
    expected: dict[str, Any],
) -> None:
    with in_the_middle(server, faulty, tmp_path) as ending, watched(PATIENCE):
        for _ in range(2):
            answered = faulty.answered
            triton.kill()
            time.sleep(0.5)
            triton.start()
            wait_until(lambda before=answered: faulty.answered > before)  # type: ignore[misc]
        assert ending.result(PATIENCE) == expected


@pytest.mark.slow
def test_away_for_longer_than_a_task_waits__changes_nothing(
    triton: TritonServer, faulty: FaultyModel, tmp_path: Path, expected: dict[str, Any]
) -> None:
    hasty = {"encoder_seconds": 1.0, "encoder_seconds_per_input": 0.0}
    with (
        platform_with(triton, tmp_path, **hasty) as server,
        in_the_middle(server, faulty, tmp_path) as ending,
        watched(PATIENCE),
    ):
        triton.kill()
        time.sleep(4.0)
        triton.start()
        assert ending.result(PATIENCE) == expected


@pytest.mark.slow
def test_slow__is_waited_for(
    server: LocalServer, faulty: FaultyModel, tmp_path: Path, expected: dict[str, Any]
) -> None:
    faulty.set(seconds=10.0, slow=len(cases(1, 2)))
    with CocuClient(server.url) as client, watched(2 * PATIENCE):
        assert curate(client, tmp_path) == expected


@pytest.mark.slow
def test_silent__is_waited_for_until_it_speaks_again(
    server: LocalServer,
    triton: TritonServer,
    faulty: FaultyModel,
    tmp_path: Path,
    expected: dict[str, Any],
) -> None:
    with in_the_middle(server, faulty, tmp_path) as ending, watched(PATIENCE):
        triton.pause()
        time.sleep(3.0)
        assert not ending.done()
        triton.resume()
        assert ending.result(PATIENCE) == expected


@pytest.mark.parametrize("fault", cases("silent", "killed", "slow"))
def test_search__without_the_server_answers_503_and_when_to_come_back(
    triton: TritonServer, faulty: FaultyModel, tmp_path: Path, fault: str
) -> None:
    hasty = {"encoder_seconds": 2.0, "encoder_seconds_per_input": 0.0}
    with platform_with(triton, tmp_path, **hasty) as server, CocuClient(server.url) as client:
        dataset = upload(client, tmp_path, uploads=1, samples=10)
        assert outcome(client, begin(client, tmp_path, dataset))["state"] == "completed"
        if fault == "slow":
            faulty.set(seconds=10.0)
        else:
            (triton.kill if fault == "killed" else triton.pause)()
        query = {"dataset": dataset, "text": "a photo of a dog"}
        with watched(20.0):
            answer = httpx.post(f"{server.url}/v1/search", json=query, timeout=30)
        assert answer.status_code == 503, answer.text
        assert answer.json()["type"] == "urn:cocu:problem:unavailable"
        assert int(answer.headers["Retry-After"]) > 0


def test_no_embedding_for_one_image__fails_only_that_image(
    server: LocalServer, faulty: FaultyModel, tmp_path: Path
) -> None:
    faulty.set(poison=True)
    samples = some_samples(60) | {"poison": (encoded(Image.fromarray(magenta(SIZE))), "a photo of a dog")}
    (tmp_path / "one.tar").write_bytes(tar_of(samples))
    with CocuClient(server.url) as client:
        dataset = client.datasets.create("set").id
        client.datasets.upload(dataset, tmp_path / "one.tar")
        client.datasets.wait(dataset, timeout=PATIENCE)
        ended = outcome(client, begin(client, tmp_path, dataset))
        failed = list(client.datasets.rejections(dataset))
    assert [(rejection.key, rejection.reason) for rejection in failed] == [("poison", "embedding_failed")]
    assert ended["state"] == "completed"
    assert set(ended["archives"]) >= set(some_samples(60))


def test_embed_stream__finds_the_poison_in_a_batch(
    triton: TritonServer, faulty: FaultyModel, tiny_encoders: Path
) -> None:
    faulty.set(poison=True)
    here = open_encoder(tiny_encoders / "tiny", threads=1)

    def load(item: int) -> Image.Image:
        if item == 17:
            return Image.fromarray(magenta(SIZE))
        return Image.fromarray(np.random.default_rng(item).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))

    source = InferenceServer(triton.url)
    results = list(embed_stream(EncoderRegistry(source).get(), range(100), load=load))
    source.close()
    assert [result.item for result in results if result.embedding is None] == [17]
    assert isinstance(results[17].error, IntegrityError)
    for result in results[:17] + results[18:]:
        pixels_NHWC = here.preprocess(load(result.item))[None]
        np.testing.assert_allclose(result.embedding, here.embed_images(pixels_NHWC)[0], atol=1e-6)


def swap(triton: TritonServer, models: Path, folder: Path, *, restart: bool) -> None:
    """Replace the models by another bundle of the same name."""
    other = Bundle.load(write_tiny_encoder(folder / "other", seed=8))
    if restart:
        triton.kill()
    shutil.rmtree(models)
    publish(other, models, options=ModelOptions(backend="python", threads=1))
    if restart:
        triton.start()
        return
    client = InferenceServerClient(triton.url.removeprefix("grpc://"))
    for model in ("tiny_image", "tiny_text"):
        client.load_model(model)
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("restart", cases(True, False), ids=cases("restarted", "reloaded"))
def test_model_swapped_in_mid_run__is_refused(
    server: LocalServer,
    triton: TritonServer,
    faulty: FaultyModel,
    models: Path,
    tmp_path: Path,
    *,
    restart: bool,
) -> None:
    # Slow enough that the run outlasts the loading of the other model.
    with in_the_middle(server, faulty, tmp_path, seconds=1.5) as ending, watched(PATIENCE):
        swap(triton, models, tmp_path, restart=restart)
        refused = "is not the one this work began with|was replaced on the inference server"
        with pytest.raises(CurationFailedError, match=refused):
            ending.result(PATIENCE)


@pytest.mark.parametrize("restart", cases(False, True), ids=cases("reloaded", "restarted"))
def test_embed_stream__ends_when_the_model_is_swapped(
    triton: TritonServer, faulty: FaultyModel, models: Path, tmp_path: Path, *, restart: bool
) -> None:
    def load(item: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(item).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))

    source = InferenceServer(triton.url)
    stream = embed_stream(EncoderRegistry(source).get(), iter(range(10_000)), load=load, batch=8)
    assert next(stream).embedding is not None
    swap(triton, models, tmp_path, restart=restart)
    with pytest.raises(ModelChangedError, match=r"'tiny' was replaced .* start a new curation"):
        assert all(result.embedding is not None for result in stream)
    source.close()


def test_model_taken_away__is_unavailable_and_back_again_once_it_is_loaded(
    triton: TritonServer, faulty: FaultyModel
) -> None:
    source = InferenceServer(triton.url)
    encoders = EncoderRegistry(source)
    encoder = encoders.get("tiny")
    client = InferenceServerClient(triton.url.removeprefix("grpc://"))
    client.unload_model("tiny_text")
    wait_until(lambda: not client.is_model_ready("tiny_text"))
    with pytest.raises(UnavailableError, match="cannot serve tiny_text"):
        encoders.require(name="tiny", hash=encoder.hash)
    client.load_model("tiny_text")
    client.close()
    assert encoders.require(name="tiny", hash=encoder.hash).embed_texts(["a dog"]).shape == (1, 16)
    source.close()


def test_damaged_model__is_not_served(models: Path, tmp_path: Path) -> None:
    (damaged,) = models.glob("tiny_image/*/model.onnx")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with (
        pytest.raises(AssertionError, match="is not what was published"),
        triton_server(models, tmp_path),
    ):
        pass
