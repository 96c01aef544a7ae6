"""A fuzzer holds a real service against its OpenAPI document: every answer must be one that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.training.service.conftest import Platform, settings_of, training_on

from cocu_training.service.keys import create_key

EXAMPLES = int(os.environ.get("COCU_FUZZ_EXAMPLES", "5"))
CONFIGURATION = """
hooks = {hooks}
seed = 20260601
continue-on-failure = true
request-timeout = 20
max-failures = 20

[generation]
max-examples = {examples}
deterministic = true
no-shrink = true

[phases.stateful]
max-steps = 6

# Well-formed is not all: a cursor must have been given out, fields must fit together, a curation be there.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "404", "409", "416", "422", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "409", "413", "415", "416", "422"]
"""


@pytest.mark.slow
def test_openapi__every_answer_is_one_that_the_document_names(
    tmp_path: Path, platform: Platform, repository: Path
) -> None:
    configuration = tmp_path / "schemathesis.toml"
    hooks = repository / "tests" / "fuzz" / "known_ids.py"
    configuration.write_text(CONFIGURATION.format(hooks=json.dumps(str(hooks)), examples=EXAMPLES))
    settings = settings_of(tmp_path / "service", platform, repository, most_queued=20)
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
        document = f"{training.url}/openapi.json"
        command = ["--config-file", configuration, "run", document, "--no-color", "--warnings=off"]
        command += ["--header", f"Authorization: Bearer {key}"]
        found = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *command],
            cwd=tmp_path,
            env={**os.environ, "COCU_FUZZ_IDS": json.dumps(known)},
            capture_output=True,
            text=True,
            check=False,
        )
        training.http.post(f"/v1/runs/{blocking}/stop")
        assert training.http.get("/readyz").status_code == 200
    report = "\n".join(line[:400] for line in found.stdout.splitlines())
    assert found.returncode == 0, f"{report}\n{found.stderr[-2000:]}"
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅  {phase}" in found.stdout, report
