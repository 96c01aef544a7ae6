"""The README's program does what it says, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.running import running


def test_the_program_of_the_readme(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [program] = re.findall(
        r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "holidays.tar").symlink_to(repository / "examples" / "scenes" / "scenes-00000.tar")
    monkeypatch.chdir(tmp_path)
    with running(tmp_path / "data", repository / "examples" / "encoders" / "scenes") as server:
        exec(program.replace("http://127.0.0.1:8000", server.url), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 250
    assert printed[-2].startswith("0 256 ")
    assert printed[-1].startswith("1 24 ")
