"""`cocu-train`: what is asked for wrongly is a line, not a traceback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from cocu_training import command_line
from cocu_training.command_line import apply_settings, main, parse_evaluation
from cocu_training.configuration import TrainingConfiguration
from cocu_training.error_file import ERROR_FILE
from cocu_training.errors import ConfigurationError
from cocu_training.loop.run import EvaluationRequest, Run
from cocu_training.loop.trainer import Outcome


def call(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> int:
    monkeypatch.setattr("sys.argv", ["cocu-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that would have been trained, each stopped before its end."""
    asked: list[Run] = []

    def train(run: Run) -> Outcome:
        asked.append(run)
        return Outcome(step=3, finished=False)

    monkeypatch.setattr(command_line, "train", train)
    return asked


def test_a_run_is_put_together_from_a_preset_an_arm_and_settings(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], tmp_path: Path
) -> None:
    status = call(
        monkeypatch,
        [
            *("run", "--server", "http://platform:1", "--curation", "c1", "--output", str(tmp_path)),
            *("--preset", "scenes", "--arm", "topk", "--set", "steps=7", "--set", 'templates=["the {}"]'),
            *("--set", "tokenizer=elsewhere.json", "--resume", "--evaluate", "scenes=/pictures"),
        ],
    )
    assert status == 75, "it was told to stop"
    (run,) = runs
    assert run.configuration == TrainingConfiguration.scenes().with_(
        arm="topk", steps=7, templates=("the {}",), tokenizer="elsewhere.json"
    )
    assert (run.server, run.curation, run.folder, run.resume) == ("http://platform:1", "c1", tmp_path, True)
    assert run.evaluated == EvaluationRequest(protocol="scenes", dataset=Path("/pictures"))


def test_a_run_is_put_together_from_a_file_and_the_environment(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], tmp_path: Path
) -> None:
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({"preset": "tiny", "seed": 3}))
    monkeypatch.setenv("COCU_SERVER", "http://elsewhere")
    monkeypatch.setenv("COCU_API_KEY", "secret-key")
    call(monkeypatch, ["run", "--configuration", str(file), "--curation", "c", "--output", str(tmp_path)])
    (run,) = runs
    assert run.configuration == TrainingConfiguration.tiny().with_(seed=3)
    assert (run.server, run.api_key) == ("http://elsewhere", "secret-key")
    assert "secret-key" not in repr(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "huge"], "there is no preset 'huge'"),
        (["--arm", "best"], "arm: Input should be"),
        (["--set", "epochs"], "given as name=value"),
        (["--set", "epoch=3"], "epoch: Unexpected"),
        (["--preset", "scenes", "--set", "tokenizer=absent.json"], "no tokenizer"),
        (["--preset", "scenes", "--server", "http://127.0.0.1:9"], "is the platform running there?"),
    ],
)
def test_what_is_wrong_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setattr("cocu.client.transport.time.sleep", lambda seconds: None)
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "1.error"))
    output = tmp_path / "run"
    assert call(monkeypatch, ["run", "--curation", "c", "--output", str(output), *arguments]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error:")
    assert words in shown
    assert shown == f"error: {(tmp_path / '1.error').read_text()}\n"
    assert not output.exists()


def test_evaluate_says_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, ["evaluate", str(tmp_path), "--dataset", str(tmp_path)]) == 1
    assert "has no checkpoints" in capsys.readouterr().err


def test_settings_are_json_or_strings_as_they_stand() -> None:
    configuration = TrainingConfiguration.scenes()
    made = apply_settings(
        configuration, ["average_decay=null", "mask_shared=false", "arm=caption", "epochs=2"]
    )
    assert made == configuration.with_(average_decay=None, mask_shared=False, arm="caption", epochs=2)


def test_what_is_evaluated_is_protocol_and_folder() -> None:
    assert parse_evaluation(None, 3) is None
    assert parse_evaluation("voc=/data/a=b", 3) == EvaluationRequest(
        protocol="voc", dataset=Path("/data/a=b"), images=3
    )
    with pytest.raises(ConfigurationError, match="PROTOCOL=FOLDER"):
        parse_evaluation("voc", None)
