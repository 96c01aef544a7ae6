"""How the image is made: what goes into it, and what is taken out again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def slim(repository: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("slim", repository / "deploy/docker/slim.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "lib" / "python3.11" / "site-packages"
    folder.mkdir(parents=True)
    return folder


def test_slim__takes_out_what_is_listed_and_nothing_else(
    slim: ModuleType, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "UNUSED", ("one/tests", "two/*.pyx", "hub"))
    for name in ("one/tests/test_a.py", "one/code.py", "two/a.pyx", "two/a.py", "hub/b.py", "pyarrow/c.py"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    slim.main(tmp_path)
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert left == {"one/code.py", "two/a.py", "pyarrow/c.py"}


def test_slim__ends_where_its_list_is_out_of_date(
    slim: ModuleType, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "UNUSED", ("gone/tests",))
    with pytest.raises(SystemExit, match="gone/tests"):
        slim.main(tmp_path)


def test_slim__copies_of_a_library_become_links(slim: ModuleType, packages: Path) -> None:
    for name, content in (("a.so", b"x"), ("a.so.26", b"x"), ("a.so.26.1", b"x"), ("b.so", b"y")):
        (packages / name).write_bytes(content)
    slim.share_copies(packages)
    assert {path.name for path in packages.iterdir() if path.is_symlink()} == {"a.so.26", "a.so.26.1"}
    assert (packages / "a.so.26.1").read_bytes() == b"x"
    assert (packages / "b.so").read_bytes() == b"y"


def test_slim__what_is_listed_is_in_the_environment_of_today(slim: ModuleType) -> None:
    specification = importlib.util.find_spec("pyarrow")
    assert specification is not None
    assert specification.origin is not None
    installed = Path(specification.origin).parent.parent
    assert [pattern for pattern in slim.UNUSED if not any(installed.glob(pattern))] == []


def test_image__runs_as_nobody_special_from_a_bare_root(repository: Path) -> None:
    dockerfile = (repository / "deploy/docker/Dockerfile").read_text()
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert last.startswith("\nFROM scratch")
    assert "\nUSER 10001:10001\n" in last
    assert "RUN" not in last
    assert "--require-hashes" in dockerfile
    assert "--only-binary :all:" in dockerfile


def test_image__nothing_but_what_it_is_made_of_is_sent_to_the_builder(repository: Path) -> None:
    rules = (repository / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert all((repository / path).exists() for path in sent)
    copied = {
        source
        for folder in ("docker", "triton")
        for line in (repository / "deploy" / folder / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    for source in copied:
        assert any(rule.startswith(source) or source.startswith(rule) for rule in sent), source


def test_triton__models_import_the_versions_that_tests_run(repository: Path) -> None:
    tested = dict(re.findall(r"^([\w-]+)==(\S+)", (repository / "requirements/triton.txt").read_text(), re.M))
    shipped = dict(
        re.findall(r"^([\w-]+)==(\S+)", (repository / "deploy/triton/requirements.txt").read_text(), re.M)
    )
    assert shipped["onnxruntime"] == tested["onnxruntime"]
    assert {name: tested[name] for name in shipped} == shipped
