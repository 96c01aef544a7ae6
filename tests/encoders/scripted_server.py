"""A gRPC server with Triton's interface that a test controls, for faults that the real one seldom has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from cocu.encoders import Bundle, open_encoder
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish

Script = Callable[[int, Any, Any], Any]
"""Gets a request's number, the request and its context; returns an answer, or None for the right one."""


class ScriptedServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Serves one bundle in this process; `script` may interfere with each inference."""

    def __init__(self, bundle: Path, folder: Path, credentials: grpc.ServerCredentials | None = None) -> None:
        loaded = Bundle.load(bundle)
        published = publish(loaded, folder, options=ModelOptions(backend="python"))
        self.version = published.version
        self.configurations = {
            model: text_format.Parse(
                (folder / model / "config.pbtxt").read_text("utf-8"), model_config_pb2.ModelConfig()
            )
            for model in published.models
        }
        self.encoder = open_encoder(bundle, threads=1)
        self.script: Script = lambda number, request, context: None
        self.ready = True
        self.requests = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(16))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        else:
            self.url = f"grpcs://localhost:{self._server.add_secure_port('127.0.0.1:0', credentials)}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        state = "READY" if self.ready else "UNAVAILABLE"
        models = [
            service_pb2.RepositoryIndexResponse.ModelIndex(
                name=model, version=self.version, state=state, reason="" if self.ready else "unloaded"
            )
            for model in self.configurations
        ]
        return service_pb2.RepositoryIndexResponse(models=models)

    def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse(config=self.configurations[request.name])

    def ModelInfer(self, request: Any, context: Any) -> Any:
        with self._lock:
            number, self.requests = self.requests, self.requests + 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.script(number, request, context) or self.answer(request)
        finally:
            with self._lock:
                self._at_once -= 1

    def answer(self, request: Any, *, dim: int | None = None, version: str = "") -> Any:
        """Return the model's response to a request for images."""
        shape = list(request.inputs[0].shape)
        pixels = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
        embeddings_ND = self.encoder.embed_images(pixels)[:, :dim]
        output = service_pb2.ModelInferResponse.InferOutputTensor(
            name="embedding", datatype="FP32", shape=embeddings_ND.shape
        )
        return service_pb2.ModelInferResponse(
            model_name=request.model_name,
            model_version=version or self.version,
            outputs=[output],
            raw_output_contents=[embeddings_ND.tobytes()],
        )


@contextmanager
def scripted_server(
    bundle: Path, folder: Path, *, credentials: grpc.ServerCredentials | None = None
) -> Iterator[ScriptedServer]:
    """A running server that serves the bundle; it publishes it into the folder first."""
    server = ScriptedServer(bundle, folder, credentials)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fails(code: grpc.StatusCode, *, times: int = 10**9, message: str = "no") -> Script:
    """A script whose first requests fail."""

    def script(number: int, request: Any, context: Any) -> None:
        if number < times:
            context.abort(code, message)

    return script


def dawdles(seconds: float, *, times: int = 10**9) -> Script:
    """A script whose first requests are answered late."""

    def script(number: int, request: Any, context: Any) -> None:
        if number < times:
            time.sleep(seconds)

    return script
