"""The configuration of a run: written, read, refused, and told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from cocu_training.configuration import OPERATIONAL, PRESETS, TrainingConfiguration, preset
from cocu_training.errors import ConfigurationError


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_json_says_all(name: str) -> None:
    configuration = preset(name)
    read = TrainingConfiguration.from_mapping(json.loads(configuration.to_json()))
    assert read == configuration
    assert read.hash == configuration.hash


def test_the_preset_of_the_paper_has_its_rates() -> None:
    configuration = preset("small")
    assert configuration.global_batch == 1024
    assert configuration.learning_rate * configuration.scale == pytest.approx(4e-4)
    assert configuration.first_learning_rate * configuration.scale == pytest.approx(1e-6)
    assert configuration.last_learning_rate * configuration.scale == pytest.approx(1e-5)
    assert configuration.model_configuration(text_tokens=49_408).image_width == 384
    assert configuration.total_steps(2687) == 80_610


def test_the_hash_is_of_what_the_result_depends_on() -> None:
    one = preset("scenes")
    assert one.with_(workers=7, tokenizer="elsewhere.json", checkpoint_interval=3).hash == one.hash
    for change in ({"seed": 1}, {"arm": "topk"}, {"global_batch": 64}, {"mask_shared": False}, {"steps": 9}):
        assert one.with_(**change).hash != one.hash
    assert set(json.loads(one.to_json())) >= OPERATIONAL


def test_a_file_may_start_from_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"preset": "scenes", "arm": "oracle", "oracle": "labels.json", "epochs": 2}))
    read = TrainingConfiguration.from_file(file)
    assert read == preset("scenes").with_(arm="oracle", oracle="labels.json", epochs=2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"arms": "cluster"}, "arms"),
        ({"arm": "best"}, "arm"),
        ({"epochs": "many"}, "epochs"),
        ({"concepts": 0}, "concepts must be in 1..64"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"average_decay": 1.0}, "average_decay must be between 0 and 1"),
        ({"templates": ["a photo"]}, "every template must have"),
        ({"arm": "oracle", "oracle": "labels.json"}, "needs oracle"),
        ({"global_batch": 1}, "global_batch must be at least 2"),
        ({"last_learning_rate": 1.0}, "last_learning_rate must be in"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        TrainingConfiguration.from_mapping(values)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for content in ("[]", "{", '{"preset": "huge"}'):
        file = tmp_path / "run.json"
        file.write_text(content)
        with pytest.raises(ConfigurationError):
            TrainingConfiguration.from_file(file)
    with pytest.raises(ConfigurationError, match="cannot read"):
        TrainingConfiguration.from_file(tmp_path / "absent.json")
