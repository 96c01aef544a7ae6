"""Presets work wherever a run or the service is started."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from cocu_training.configuration import PRESETS, preset
from cocu_training.service.configurations import configuration_of, write_configuration
from cocu_training.service.errors import InvalidError
from cocu_training.tokenizer_files import SCENES_TOKENIZER


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "small"])
def test_presets__find_their_tokenizer_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = Path(preset(name).tokenizer)
    assert tokenizer.is_absolute()
    assert tokenizer.is_file()


def test_the_service__takes_presets_wherever_it_runs_and_names_no_path(tmp_path: Path) -> None:
    made = configuration_of("tiny", {}, arm=None, files=tmp_path, max_workers=0)
    assert made["tokenizer"] == "examples/encoders/scenes/tokenizer.json"
    write_configuration(made, tmp_path / "configuration.json", files=tmp_path)
    assert str(SCENES_TOKENIZER) in (tmp_path / "configuration.json").read_text()
    # A file of the service's own folder goes first, and no other path can be asked for.
    own = tmp_path / made["tokenizer"]
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    write_configuration(made, tmp_path / "configuration.json", files=tmp_path)
    assert str(own) in (tmp_path / "configuration.json").read_text()
    for path in (str(SCENES_TOKENIZER), "../tokenizer.json", "other.json"):
        with pytest.raises(InvalidError):
            configuration_of("tiny", {"tokenizer": path}, arm=None, files=tmp_path, max_workers=0)
