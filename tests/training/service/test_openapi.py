"""A fuzzer holds a real service against its OpenAPI document: every answer must be one that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.fuzz.fuzzer import assert_as_documented
from tests.training.service.conftest import Platform, settings_of, training_on

from cocu_training.service.keys import create_key

CHECKS = """
# A well-formed request may still be refused: its cursor, fields or curation must be right too.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "404", "409", "416", "422", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "409", "413", "415", "416", "422"]
"""


@pytest.mark.slow
def test_openapi__every_answer_is_one_that_the_document_names(
    tmp_path: Path, platform: Platform, repository: Path
) -> None:
    settings = settings_of(tmp_path / "service", platform, repository, max_queued=20)
    with training_on(platform, settings) as training:
        key = create_key(settings.keys_file)
        training.http.headers["Authorization"] = f"Bearer {key}"
        run = training.submit(steps=1)["id"]
        training.wait(run)
        blocking = training.submit(steps=100_000)["id"]
        known = {
            "run": [run, run, blocking],
            "name": ["records.jsonl", "log.txt", "checkpoints/step-000000001.pt"],
        }
        (tmp_path / "fuzzer").mkdir()
        assert_as_documented(
            training.url,
            tmp_path / "fuzzer",
            checks=CHECKS,
            known=known,
            phases=("Coverage", "Fuzzing", "Stateful"),
            header=f"Authorization: Bearer {key}",
        )
        training.http.post(f"/v1/runs/{blocking}/stop")
        assert training.http.get("/readyz").status_code == 200
