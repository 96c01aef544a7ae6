"""`cocu labels`, `cocu audit` and `cocu evaluate --kept` against a running platform, in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from tests.cli.curated_vocabulary import curated_vocabulary
from typer.testing import CliRunner

from cocu.cli.application import app
from cocu.client import CocuClient

LABELS = {"cat": ["cat", "zeppelin"], "0": ["dog"], "elsewhere": ["dog"]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a platform, and a curation."""
    folder = tmp_path_factory.mktemp("platform")
    with curated_vocabulary(folder, "dog\ncat\ntree\nbench\n") as (url, _, curation):
        yield url, curation


def cocu(url: str, *arguments: str, status: int = 0) -> str:
    outcome = CliRunner().invoke(app, arguments, env={"COCU_SERVER": url, "COLUMNS": "120"})
    if status:
        assert outcome.exception is not None
        return str(outcome.exception)
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_labels_are_kept_and_measured_by(platform: tuple[str, str], tmp_path: Path) -> None:
    url, curation = platform
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(LABELS))
    said = cocu(url, "labels", "add", "pictures", "by-hand", str(file))
    assert "labels of 3 images, 2 of them samples, 1 matched none or several; 3 classes" in said
    assert "elsewhere" in said
    assert "by-hand" in cocu(url, "labels", "list", "pictures")
    kept = json.loads(cocu(url, "evaluate", curation, "--kept", "by-hand", "--json"))
    assert json.loads(cocu(url, "evaluate", curation, str(file), "--json")) == kept
    assert "name a file" in cocu(url, "evaluate", curation, status=1)
    for verdict in ("hit", "false", "missed"):
        options = ("--labels", "by-hand", "--verdict", verdict)
        listed = cocu(url, "archive", "list", curation, *options, "--json").splitlines()
        assert json.loads(cocu(url, "archive", "facets", curation, *options, "--json"))["total"] == len(
            listed
        )
        for card in map(json.loads, listed):
            shown = cocu(url, "archive", "show", curation, card["key"], "--labels", "by-hand")
            assert ("labels that it lacks" if verdict == "missed" else verdict) in shown
    cocu(url, "labels", "remove", "pictures", "by-hand")
    assert cocu(url, "labels", "list", "pictures", "--json") == ""


def test_an_audit_on_the_command_line(platform: tuple[str, str]) -> None:
    url, curation = platform
    assert "no estimate yet" in cocu(url, "audit", "summary", curation)
    pairs = [
        json.loads(line) for line in cocu(url, "audit", "next", curation, "-n", "100", "--json").splitlines()
    ]
    for pair in pairs:
        answer = "right" if pair["turn"] % 4 else "wrong"
        cocu(url, "audit", "judge", curation, pair["key"], pair["concept"], answer, "--author", "Ana")
    wrong = sum(pair["turn"] % 4 == 0 for pair in pairs)
    share = (len(pairs) - wrong) / len(pairs)
    said = cocu(url, "audit", "summary", curation, "--precision", "0.01")
    assert f"precision of all added concepts: {share:.2f} ({share:.2f}–{share:.2f})" in said
    assert "on: " in said
    rows = list(csv.DictReader(StringIO(cocu(url, "audit", "export", curation, "--format", "csv"))))
    assert len(rows) == len(pairs)
    assert sum(row["judgement"] == "wrong" for row in rows) == wrong
    assert len(cocu(url, "audit", "export", curation).splitlines()) == len(pairs)
    assert "the threshold is -2.5 now" in cocu(url, "audit", "threshold", curation, "--", "-2.5")
    with CocuClient(url) as client:
        assert client.curations.get(curation).threshold == -2.5
    assert "no threshold" in cocu(url, "audit", "threshold", curation)
    cocu(url, "audit", "undo", curation, pairs[0]["key"], pairs[0]["concept"])
    assert cocu(url, "audit", "next", curation, "-n", "1", "--json").strip()
    assert f"{len(pairs) - 1} of {len(pairs)} are judged" in cocu(url, "audit", "next", curation)
