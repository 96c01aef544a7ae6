"""The files of `cocu encoder publish`: read by Triton's own schema and compared with the ONNX files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from google.protobuf import text_format
from tests.encoders.tiny_bundle import CONTEXT_LENGTH, DIM, SIZE, write_tiny_bundle
from tritonclient.grpc import model_config_pb2

from cocu.encoders import Bundle
from cocu.encoders.triton.configuration import ModelOptions, model_name, read_tower, version_of
from cocu.encoders.triton.repository import publish
from cocu.errors import ConflictError, InvalidBundleError

TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_INT64": "tensor(int64)", "TYPE_FP32": "tensor(float)"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.load(write_tiny_bundle(tmp_path / "bundle"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def configuration(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), model_config_pb2.ModelConfig())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def described(values: Any) -> list[tuple[str, str, list[int]]]:
    names = model_config_pb2.DataType
    return [(tensor.name, TYPES[names.Name(tensor.data_type)], list(tensor.dims)) for tensor in values]


@pytest.mark.parametrize("backend", ["onnxruntime", "python"])
@pytest.mark.parametrize("which", ["tiny", "scenes"])
def test_configuration__is_that_of_the_onnx_files(
    models: Path, tmp_path: Path, repository: Path, backend: Any, which: str
) -> None:
    tiny = write_tiny_bundle(tmp_path / "bundle")
    bundle = Bundle.load(tiny if which == "tiny" else repository / "examples" / "encoders" / "scenes")
    published = publish(bundle, models, options=ModelOptions(backend=backend))
    assert published.models == (f"{bundle.name}_image", f"{bundle.name}_text")
    for model in published.models:
        config = configuration(models / model)
        session = onnxruntime.InferenceSession(models / model / published.version / "model.onnx")
        inputs = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in session.get_inputs()]
        outputs = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in session.get_outputs()]
        assert described(config.input) == inputs
        assert [tensor for tensor in outputs if tensor[0] == config.output[0].name] == described(
            config.output
        )
        assert config.name == model
        assert config.backend == backend
        assert (models / model / published.version / config.default_model_filename).is_file()


def test_configuration__of_the_gpu(models: Path, bundle: Bundle) -> None:
    options = ModelOptions(instances=2, max_batch=32, engine_cache="/engines/")
    publish(bundle, models, options=options)
    config = configuration(models / "tiny_image")
    group_kinds = model_config_pb2.ModelInstanceGroup.Kind
    assert [(group_kinds.Name(group.kind), group.count) for group in config.instance_group] == [
        ("KIND_GPU", 2)
    ]
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["precision_mode"] == "FP32"
    assert accelerator.parameters["trt_engine_cache_enable"] == "1"
    assert accelerator.parameters["trt_engine_cache_path"] == f"/engines/{bundle.hash[:12]}"
    assert config.max_batch_size == 32
    assert list(config.dynamic_batching.preferred_batch_size) == [32]
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    assert not config.dynamic_batching.HasField("default_queue_policy")
    assert list(config.version_policy.specific.versions) == [int(version_of(bundle.hash))]


def test_configuration__of_a_cpu_has_no_accelerators(models: Path, bundle: Bundle) -> None:
    publish(bundle, models, options=ModelOptions(device="cpu", threads=3))
    config = configuration(models / "tiny_text")
    assert not config.HasField("optimization")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert config.parameters["intra_op_thread_count"].string_value == "3"
    publish(bundle, models, options=ModelOptions(tensorrt=False))
    config = configuration(models / "tiny_text")
    assert not config.HasField("optimization")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_configuration__warms_up_with_the_smallest_and_the_largest_batch(
    models: Path, bundle: Bundle
) -> None:
    publish(bundle, models, options=ModelOptions(max_batch=16))
    image, text = (configuration(models / f"tiny_{tower}").model_warmup for tower in ("image", "text"))
    assert [warm_up.batch_size for warm_up in image] == [warm_up.batch_size for warm_up in text] == [1, 16]
    assert list(image[0].inputs["pixels"].dims) == [SIZE, SIZE, 3]
    assert list(text[0].inputs["tokens"].dims) == [CONTEXT_LENGTH]
    assert image[0].inputs["pixels"].random_data
    assert text[0].inputs["tokens"].zero_data
    publish(bundle, models, options=ModelOptions(backend="python"))
    assert [warm_up.batch_size for warm_up in configuration(models / "tiny_image").model_warmup] == [1]


def test_configuration__carries_the_bundle(models: Path, bundle: Bundle) -> None:
    published = publish(bundle, models, options=ModelOptions())
    for tower in ("image", "text"):
        tower_read = read_tower(configuration(models / f"tiny_{tower}"), version=published.version)
        assert tower_read is not None
        assert (tower_read.hash, tower_read.tower, tower_read.description.dim) == (bundle.hash, tower, DIM)
        assert tower_read.description.image == bundle.image
        assert tower_read.description.text == bundle.text
    assert tower_read.tokenizer == (bundle.folder / "tokenizer.json").read_bytes()


def test_configuration__of_a_stranger_is_none_of_ours(models: Path, bundle: Bundle) -> None:
    assert read_tower(model_config_pb2.ModelConfig(name="resnet"), version="1") is None
    publish(bundle, models, options=ModelOptions())
    config = configuration(models / "tiny_image")
    with pytest.raises(InvalidBundleError, match="publish it again"):
        read_tower(config, version="1")
    config.parameters["cocu_tower"].string_value = "sound"
    with pytest.raises(InvalidBundleError, match="publish it again"):
        read_tower(config, version=version_of(bundle.hash))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ViT-B-16", "ViT-B-16_image"),
        ("a b/../c", "a-b-..-c_image"),
        ("..", "encoder-0123abcd_image"),
        ("猫", "encoder-0123abcd_image"),
        ("x" * 500, "x" * 100 + "_image"),
    ],
)
def test_model_name__is_safe_in_paths(name: str, expected: str) -> None:
    assert model_name(name, "image", hash="0123abcd" * 8) == expected


def test_version_of__is_a_number_that_json_carries(bundle: Bundle) -> None:
    assert version_of("0" * 64) == "1"
    assert int(version_of("f" * 64)) < 2**53
    assert version_of(bundle.hash) != version_of(bundle.hash[::-1])


def test_publish__again_changes_nothing(models: Path, bundle: Bundle) -> None:
    first = publish(bundle, models, options=ModelOptions())
    before = contents(models)
    second = publish(bundle, models, options=ModelOptions())
    assert (first.changed, second.changed) == (True, False)
    assert contents(models) == before


def test_publish__leaves_nothing_else_behind(models: Path, bundle: Bundle, tmp_path: Path) -> None:
    publish(bundle, models, options=ModelOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "models"]
    assert [path.name for path in models.iterdir() if path.is_dir() and path.name.startswith(".")] == []


def test_publish__with_other_options_leaves_the_version_as_it_is(models: Path, bundle: Bundle) -> None:
    version = publish(bundle, models, options=ModelOptions()).version
    before = contents(models / "tiny_image" / version)
    assert publish(bundle, models, options=ModelOptions(backend="python")).changed
    assert configuration(models / "tiny_image").backend == "python"
    assert contents(models / "tiny_image" / version) == before


def test_publish__refuses_another_bundle_of_the_same_name(
    models: Path, bundle: Bundle, tmp_path: Path
) -> None:
    publish(bundle, models, options=ModelOptions())
    before = contents(models)
    other = Bundle.load(write_tiny_bundle(tmp_path / "other", source="elsewhere"))
    with pytest.raises(ConflictError, match="give the new bundle another name"):
        publish(other, models, options=ModelOptions())
    assert contents(models) == before


def test_publish__refuses_to_touch_a_model_of_somebody_else(models: Path, bundle: Bundle) -> None:
    (models / "tiny_text").mkdir(parents=True)
    (models / "tiny_text" / "config.pbtxt").write_text('name: "tiny_text"')
    with pytest.raises(ConflictError, match="not published by this command"):
        publish(bundle, models, options=ModelOptions())
    assert not (models / "tiny_image").exists()


def test_publish__refuses_a_bundle_that_does_not_run(models: Path, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "bundle")
    (folder / "image.onnx").write_bytes(b"damaged")
    with pytest.raises(InvalidBundleError, match=r"image\.onnx"):
        publish(Bundle.load(folder), models, options=ModelOptions())
    assert not models.exists()


def test_publish__mends_what_was_damaged_or_is_missing(models: Path, bundle: Bundle) -> None:
    version = publish(bundle, models, options=ModelOptions()).version
    before = contents(models)
    (models / "tiny_image" / version / "model.onnx").write_bytes(b"half")
    shutil.rmtree(models / "tiny_text")
    assert publish(bundle, models, options=ModelOptions()).changed
    assert contents(models) == before


def test_publish__cleans_up_after_a_killed_one(models: Path, bundle: Bundle) -> None:
    for parent in (models, models.parent):
        (parent / f".cocu-publish-{models.name}-killed" / "tiny_image").mkdir(parents=True)
    publish(bundle, models, options=ModelOptions())
    assert list(models.parent.glob("**/.cocu-publish-*-killed")) == []


def test_publish__from_several_at_once_is_as_from_one(models: Path, bundle: Bundle) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: publish(bundle, models, options=ModelOptions()), range(4)))
    assert [result.changed for result in done].count(True) == 1
    assert sorted(path.name for path in models.iterdir() if path.is_dir()) == ["tiny_image", "tiny_text"]


def test_publish__takes_the_weights_that_lie_beside_a_tower(models: Path, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "bundle")
    (folder / "image.onnx.data").write_bytes(b"weights")
    published = publish(Bundle.load(folder), models, options=ModelOptions())
    assert (models / "tiny_image" / published.version / "image.onnx.data").read_bytes() == b"weights"
    assert not (models / "tiny_text" / published.version / "image.onnx.data").exists()


def test_options__must_make_sense() -> None:
    for wrong in ({"instances": 0}, {"max_batch": 0}, {"max_batch": 5000}, {"threads": -1}):
        with pytest.raises(ValueError, match="at least"):
            ModelOptions(**wrong)


def test_command__publishes_and_says_what_it_did(models: Path, bundle: Bundle) -> None:
    command = [sys.executable, "-m", "cocu", "encoder", "publish", str(bundle.folder)]
    arguments = [*command, "--repository", str(models), "--backend", "python", "--threads", "1", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert printed["hash"] == bundle.hash
    assert printed["models"] == ["tiny_image", "tiny_text"]
    assert configuration(models / "tiny_text").parameters["cocu_threads"].string_value == "1"
