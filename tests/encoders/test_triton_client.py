"""The client of Triton with a server that fails; for the real server see tests/contracts, tests/faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.encoders.scripted_server import ScriptedServer, dawdles, fails, scripted_server
from tests.encoders.tiny_bundle import SIZE, write_tiny_bundle
from tests.servers.binaries import find_binary, free_port

from cocu.encoders.encoder import ModelChangedError
from cocu.encoders.registry import EncoderRegistry
from cocu.encoders.triton import InferenceServer, RetryPolicy, TritonEncoder
from cocu.encoders.triton.server import address_of
from cocu.errors import IntegrityError, InvalidInputError, UnavailableError
from cocu.platform import Platform
from cocu.settings import Settings

QUICK = RetryPolicy(seconds=2.0, seconds_per_input=0.0, first_backoff=0.01, max_backoff=0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with scripted_server(write_tiny_bundle(tmp_path / "bundle"), tmp_path / "models") as server:
        yield server


@pytest.fixture
def source(server: ScriptedServer) -> Iterator[InferenceServer]:
    source = InferenceServer(server.url, retry_policy=QUICK, in_flight=4)
    yield source
    source.close()


@pytest.fixture
def encoder(source: InferenceServer) -> TritonEncoder:
    return source.open(source.list()[0].hash)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.NOT_FOUND,
    ],
)
def test_a_server_in_passing_trouble__is_asked_again(
    server: ScriptedServer, encoder: TritonEncoder, code: grpc.StatusCode
) -> None:
    server.script = fails(code, times=5)
    np.testing.assert_array_equal(encoder.embed_images(pixels(3)), server.encoder.embed_images(pixels(3)))
    assert server.requests == 6


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND])
def test_a_server_in_lasting_trouble__is_given_up_in_time(
    server: ScriptedServer, encoder: TritonEncoder, code: grpc.StatusCode
) -> None:
    server.script = fails(code, message="out of order")
    with pytest.raises(UnavailableError, match="out of order"):
        encoder.embed_images(pixels(3))
    assert server.requests > 5


def test_a_server_that_does_not_answer__is_given_up_in_time(
    server: ScriptedServer, encoder: TritonEncoder
) -> None:
    server.script = dawdles(5.0)
    with pytest.raises(UnavailableError, match="DEADLINE_EXCEEDED"):
        encoder.embed_images(pixels(3))


def test_an_answer_that_is_late__is_asked_for_again(server: ScriptedServer, encoder: TritonEncoder) -> None:
    server.script = dawdles(1.5, times=1)
    np.testing.assert_array_equal(encoder.embed_images(pixels(3)), server.encoder.embed_images(pixels(3)))


def test_a_model_that_fails_once__is_asked_again(server: ScriptedServer, encoder: TritonEncoder) -> None:
    server.script = fails(grpc.StatusCode.INTERNAL, times=2, message="its process died")
    np.testing.assert_array_equal(encoder.embed_images(pixels(3)), server.encoder.embed_images(pixels(3)))


def test_a_model_that_fails_again_and_again__is_at_fault(
    server: ScriptedServer, encoder: TritonEncoder
) -> None:
    server.script = fails(grpc.StatusCode.INTERNAL, message="its process died")
    with pytest.raises(IntegrityError, match="INTERNAL its process died"):
        encoder.embed_images(pixels(3))
    assert server.requests == 3


def test_a_client_that_is_refused__does_not_insist(server: ScriptedServer, encoder: TritonEncoder) -> None:
    server.script = fails(grpc.StatusCode.PERMISSION_DENIED, message="who are you")
    with pytest.raises(UnavailableError, match="refuses this client: who are you"):
        encoder.embed_images(pixels(3))
    assert server.requests == 1


def test_an_answer_of_another_shape__is_refused(server: ScriptedServer, encoder: TritonEncoder) -> None:
    server.script = lambda number, request, context: server.answer(request, dim=2)
    with pytest.raises(IntegrityError, match="shape"):
        encoder.embed_images(pixels(3))


def test_an_answer_of_another_version__is_refused(server: ScriptedServer, encoder: TritonEncoder) -> None:
    server.script = lambda number, request, context: server.answer(request, version="7")
    with pytest.raises(IntegrityError, match="version 7 answered"):
        encoder.embed_images(pixels(3))


def test_a_model_that_says_it_is_another__is_refused_after_an_interruption(
    server: ScriptedServer, encoder: TritonEncoder
) -> None:
    server.script = fails(grpc.StatusCode.UNAVAILABLE, times=1)
    server.configurations["tiny_image"].parameters["cocu_hash"].string_value = "0" * 64
    with pytest.raises(ModelChangedError, match="was replaced"):
        encoder.embed_images(pixels(3))


def test_batches__are_sent_several_at_once_but_not_more(
    server: ScriptedServer, encoder: TritonEncoder
) -> None:
    server.script = dawdles(0.1)
    many = pixels(64 * 10 + 1)
    np.testing.assert_array_equal(encoder.embed_images(many), server.encoder.embed_images(many))
    assert server.requests == 11
    assert server.most_at_once == 4


def test_batches__are_no_larger_than_the_model_takes(server: ScriptedServer, source: InferenceServer) -> None:
    for configuration in server.configurations.values():
        configuration.max_batch_size = 5
    source.open(source.list()[0].hash).embed_images(pixels(11))
    assert server.requests == 3


def test_require__waits_for_a_model_that_is_not_ready(
    server: ScriptedServer, source: InferenceServer
) -> None:
    encoders = EncoderRegistry(source)
    hash = encoders.list()[0].hash
    server.ready = False
    assert encoders.list() == ()
    with pytest.raises(UnavailableError, match="cannot serve tiny_image at the moment: unloaded"):
        encoders.require(name="tiny", hash=hash)
    server.ready = True
    assert encoders.require(name="tiny", hash=hash).hash == hash


def test_models_that_cannot_be_read__are_left_out(server: ScriptedServer) -> None:
    server.configurations["tiny_text"].parameters["cocu_encoder"].string_value = "{"
    source = InferenceServer(server.url, retry_policy=QUICK)
    assert source.list() == ()
    source.close()


def test_a_server_that_is_not_there__is_unavailable() -> None:
    source = InferenceServer(
        f"grpc://127.0.0.1:{free_port()}", retry_policy=RetryPolicy(seconds=0.3, seconds_per_input=0)
    )
    with pytest.raises(UnavailableError, match="did not answer in time"):
        source.list()
    source.close()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpc://triton:8001", ("triton:8001", False)),
        ("grpc://triton", ("triton:8001", False)),
        ("grpcs://triton.example:443/", ("triton.example:443", True)),
        ("grpc://[::1]:9", ("[::1]:9", False)),
    ],
)
def test_address_of__urls(url: str, address: tuple[str, bool]) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://triton:8000",
        "grpc://",
        "grpc://:8001",
        "grpc://triton:x",
        "grpc://triton/models",
        "grpc://a:b@c",
    ],
)
def test_address_of__refuses_what_is_none(url: str) -> None:
    with pytest.raises(InvalidInputError, match="no address of an inference server"):
        address_of(url)


def test_platform__takes_its_encoders_from_the_server(server: ScriptedServer, tmp_path: Path) -> None:
    settings = Settings(data_folder=tmp_path / "data", encoders_url=server.url, encoder_requests=2)
    with Platform.open(settings) as platform:
        assert platform.encoders.describe().name == "tiny"
        assert platform.encoders.get("tiny").parallel == 2


def test_grpcs__is_a_channel_whose_server_must_be_known(tmp_path: Path) -> None:
    openssl = find_binary("openssl", package="openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    options = ["-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run(
        [*command, *options, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    program = (
        "import sys\n"
        "from cocu.encoders.triton import InferenceServer, RetryPolicy\n"
        "policy = RetryPolicy(seconds=3.0, seconds_per_input=0.0)\n"
        "source = InferenceServer(sys.argv[1], retry_policy=policy)\n"
        "print(source.list()[0].name)\n"
        "source.close()\n"
    )
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with scripted_server(bundle, tmp_path / "models", credentials=credentials) as server:

        def listed(**variables: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, **variables}
            command = [sys.executable, "-c", program, server.url]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        assert listed(GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certificate)).stdout == "tiny\n"
        assert "UnavailableError" in listed().stderr


def test_backoff__grows_with_each_attempt_up_to_the_limit() -> None:
    policy = RetryPolicy(first_backoff=0.1, max_backoff=5.0)
    for attempt, longest in ((0, 0.1), (1, 0.2), (3, 0.8), (10, 5.0), (10_000, 5.0)):
        assert longest / 2 <= policy.backoff(attempt) <= longest
