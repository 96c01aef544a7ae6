"""The configuration of a tower as a Triton model, written at publication and read by clients.

The parameters of the model describe its bundle, so that a client needs only the address of the server:

    cocu_encoder     encoder.json, as it is in the bundle
    cocu_hash        the bundle's SHA-256, the encoder's identity
    cocu_tower       "image" or "text"
    cocu_tokenizer   tokenizer.json; only for the text tower
    cocu_files       JSON: the SHA-256 of each file in the version's folder, by name
    cocu_threads     threads of one inference on a CPU, 0 for one per core

The number of its only version is computed from the hash (`version_of`). A client that requests that version
gets that bundle or an error, never another bundle that has replaced it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cocu.encoders.bundle import Bundle, Description, ImageTower, TextTower
from cocu.errors import InvalidBundleError

__all__ = ["ModelOptions", "PublishedTower", "configuration_of", "model_name", "read_tower", "version_of"]

Backend = Literal["onnxruntime", "python"]
Device = Literal["gpu", "cpu"]
TowerName = Literal["image", "text"]

MODEL_FILE = "model.onnx"
PYTHON_FILE = "model.py"
MAX_BATCH = 1024
ENGINE_CACHE = "/var/cache/triton/engines"

_QUEUE_DELAY_MICROSECONDS = 1000
_WORKSPACE_BYTES = 4 << 30
_VERSION_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How Triton runs the towers. None of it is part of the encoder's identity.

    backend: "onnxruntime" is Triton's own; "python" runs ONNX Runtime from Triton's Python backend, request
    by request, so that other requests to the server do not change a bit of the result. device: None means
    the GPU for onnxruntime and the CPU for python. instances: copies of each tower, per GPU where there are
    GPUs. max_batch: the largest batch of a request, and the size up to which Triton combines requests.
    threads: the threads of one inference on a CPU, 0 for one per core. tensorrt: compile towers for the GPU,
    in full precision, and store the engines in `engine_cache`.
    """

    backend: Backend = "onnxruntime"
    device: Device | None = None
    instances: int = 1
    max_batch: int = 64
    threads: int = 0
    tensorrt: bool = True
    engine_cache: str = ENGINE_CACHE

    def __post_init__(self) -> None:
        if self.instances < 1 or self.threads < 0 or not 1 <= self.max_batch <= MAX_BATCH:
            raise ValueError(
                f"instances must be at least 1, threads at least 0 and max_batch from 1 to {MAX_BATCH}, not "
                f"{self.instances}, {self.threads} and {self.max_batch}"
            )

    @property
    def on_gpu(self) -> bool:
        """Whether the towers run on GPUs."""
        return (self.device or ("gpu" if self.backend == "onnxruntime" else "cpu")) == "gpu"


@dataclass(frozen=True, kw_only=True)
class PublishedTower:
    """A tower as a model of an inference server."""

    model: str
    version: str
    tower: TowerName
    max_batch: int
    hash: str
    description: Description
    tokenizer: bytes


def model_name(encoder: str, tower: TowerName, *, hash: str) -> str:
    """Return the name of a tower's Triton model: the encoder's name in characters safe in paths and URLs."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", encoder).strip("-._")[:100]
    return f"{safe or 'encoder-' + hash[:8]}_{tower}"


def version_of(hash: str) -> str:
    """Return the version of a bundle: the first 48 bits of its hash, a number that JSON represents
    exactly."""
    return str(int(hash[:_VERSION_DIGITS], 16) + 1)


def configuration_of(
    bundle: Bundle,
    tower: TowerName,
    *,
    options: ModelOptions,
    encoder_json: str,
    tokenizer_json: str,
    files: Mapping[str, str],
) -> str:
    """Return the text of config.pbtxt.

    files: the SHA-256 of each file of the version's folder, by name.
    """
    model = bundle.image if tower == "image" else bundle.text
    name = model_name(bundle.name, tower, hash=bundle.hash)
    config = model_config_pb2.ModelConfig(
        name=name,
        backend=options.backend,
        default_model_filename=MODEL_FILE if options.backend == "onnxruntime" else PYTHON_FILE,
        max_batch_size=options.max_batch,
        input=[{"name": model.input, "data_type": _data_type(model), "dims": _dims(model)}],
        output=[{"name": model.output, "data_type": "TYPE_FP32", "dims": [bundle.dim]}],
        version_policy={"specific": {"versions": [int(version_of(bundle.hash))]}},
        instance_group=[{"kind": "KIND_GPU" if options.on_gpu else "KIND_CPU", "count": options.instances}],
        dynamic_batching=_batching(options),
        optimization=_optimization(bundle, options) if options.backend == "onnxruntime" else None,
        model_warmup=_warmup(model, options),
    )
    parameters = {
        "cocu_encoder": encoder_json,
        "cocu_files": json.dumps(dict(sorted(files.items()))),
        "cocu_hash": bundle.hash,
        "cocu_threads": str(options.threads),
        "cocu_tower": tower,
    }
    if tower == "text":
        parameters["cocu_tokenizer"] = tokenizer_json
    if options.backend == "onnxruntime" and not options.on_gpu:
        parameters["intra_op_thread_count"] = str(options.threads)
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    written: str = text_format.MessageToString(config, as_utf8=True)
    return f"# Written by `cocu encoder publish`; what is in a version's folder never changes.\n{written}"


def _data_type(model: ImageTower | TextTower) -> str:
    return "TYPE_UINT8" if isinstance(model, ImageTower) else "TYPE_INT64"


def _dims(model: ImageTower | TextTower) -> list[int]:
    return [model.size, model.size, 3] if isinstance(model, ImageTower) else [model.context_length]


def _batching(options: ModelOptions) -> dict[str, Any]:
    # No queue policy: with any, Triton 2.51 sometimes delays requests by half a second.
    return {
        "preferred_batch_size": [options.max_batch],
        "max_queue_delay_microseconds": _QUEUE_DELAY_MICROSECONDS,
    }


def _optimization(bundle: Bundle, options: ModelOptions) -> dict[str, Any] | None:
    if not (options.on_gpu and options.tensorrt):
        return None
    # Half precision would give other embeddings under the same hash.
    parameters = {
        "precision_mode": "FP32",
        "max_workspace_size_bytes": str(_WORKSPACE_BYTES),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{options.engine_cache.rstrip('/')}/{bundle.hash[:_VERSION_DIGITS]}",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": options.engine_cache,
    }
    accelerators = {"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": parameters}]}
    return {"execution_accelerators": accelerators}


def _warmup(model: ImageTower | TextTower, options: ModelOptions) -> list[dict[str, Any]]:
    """One run with the smallest and one with the largest batch, before the model counts as ready.

    TensorRT builds its engine for the range of sizes that it has seen. Triton composes the batch from single
    requests, which the python backend would run one by one.
    """
    # Random tokens would be outside the vocabulary.
    data = {"random_data": True} if isinstance(model, ImageTower) else {"zero_data": True}
    inputs = {model.input: {"data_type": _data_type(model), "dims": _dims(model), **data}}
    sizes = [1] if options.backend == "python" else sorted({1, options.max_batch})
    return [{"name": f"batch of {size}", "batch_size": size, "inputs": inputs} for size in sizes]


def read_tower(config: Any, *, version: str) -> PublishedTower | None:
    """Read the tower from a model's configuration (a ModelConfig); None if cocu did not publish the model.

    Raises InvalidBundleError when cocu published the model but it cannot be used.
    """
    parameters = {key: config.parameters[key].string_value for key in config.parameters}
    if "cocu_hash" not in parameters:
        return None
    where = f"model {config.name} of the inference server"
    hash, tower = parameters["cocu_hash"], parameters.get("cocu_tower")
    if tower not in ("image", "text") or not re.fullmatch(r"[0-9a-f]{64}", hash):
        raise InvalidBundleError(f"{where} says neither which tower nor which bundle it is: publish it again")
    if version != version_of(hash):
        raise InvalidBundleError(
            f"{where} has version {version}, which is not that of its bundle {hash[:12]}…: publish it again"
        )
    description = Description.from_json(parameters.get("cocu_encoder", ""), where=where)
    return PublishedTower(
        model=config.name,
        version=version,
        tower=tower,
        max_batch=max(1, config.max_batch_size),
        hash=hash,
        description=description,
        tokenizer=parameters.get("cocu_tokenizer", "").encode(),
    )
