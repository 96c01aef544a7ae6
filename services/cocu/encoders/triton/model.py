"""A tower of an encoder in Triton's Python backend: ONNX Runtime, as in the platform's own process.

This file is copied into the model repository. It runs in Triton's Python and imports only numpy, onnxruntime
and Triton's own module. Requests are computed one by one, as they were sent: combined in one batch, the bits
of an embedding would depend on the other requests.
"""

import hashlib
import json
import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

MODEL_FILE = "model.onnx"

_RUN_ERRORS = (runtime_errors.Fail, runtime_errors.InvalidArgument, runtime_errors.RuntimeException)


class TritonPythonModel:
    """One instance of the model; Triton calls it from one thread."""

    def initialize(self, args: Any) -> None:
        """Check the files against the configuration and open the session; an error keeps the model from
        loading."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        folder = os.path.join(args["model_repository"], args["model_version"])
        _check_files(folder, json.loads(parameters["cocu_files"]))
        self._input = config["input"][0]["name"]
        self._output = config["output"][0]["name"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["cocu_threads"])
        # Threads that spin while waiting would take the cores from the server's other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        if args["model_instance_kind"] == "GPU":
            device = {"device_id": args["model_instance_device_id"], "use_tf32": "0"}
            providers.insert(0, ("CUDAExecutionProvider", device))
        path = os.path.join(folder, MODEL_FILE)
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)

    def execute(self, requests: Any) -> Any:
        """Answer each request with its embeddings, or with the error it causes."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        if request.is_cancelled():
            error = backend.TritonError("the client cancelled the request", backend.TritonError.CANCELLED)
            return backend.InferenceResponse(error=error)
        inputs = backend.get_input_tensor_by_name(request, self._input).as_numpy()
        try:
            (outputs,) = self._session.run([self._output], {self._input: inputs})
        except _RUN_ERRORS as error:
            return backend.InferenceResponse(error=backend.TritonError(str(error)))
        tensor = backend.Tensor(self._output, np.ascontiguousarray(outputs, np.float32))
        return backend.InferenceResponse([tensor])


def _check_files(folder: str, digests: dict[str, str]) -> None:
    for name, expected in digests.items():
        digest = hashlib.sha256()
        with open(os.path.join(folder, name), "rb") as file:
            for part in iter(lambda: file.read(1 << 20), b""):
                digest.update(part)
        if digest.hexdigest() != expected:
            raise RuntimeError(
                f"{name} in {folder} is not what was published; publish the bundle again with "
                "`cocu encoder publish`"
            )
