"""Runs schemathesis over the OpenAPI document of a service that is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

EXAMPLES = int(os.environ.get("COCU_FUZZ_EXAMPLES", "2"))
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
"""


def assert_as_documented(
    url: str,
    folder: Path,
    *,
    checks: str,
    known: Mapping[str, Sequence[str]],
    phases: Sequence[str],
    header: str | None = None,
) -> None:
    """Fails with the fuzzer's report unless every answer is one that the document names.

    folder: an empty one to work in. checks: what else is in the configuration. known: ids of what is there,
    by the names that paths give them. phases: those that must have run. header: sent with every request.
    """
    hooks = json.dumps(str(Path(__file__).with_name("known_ids.py")))
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(hooks=hooks, examples=EXAMPLES) + checks)
    command = ["--config-file", configuration, "run", f"{url}/openapi.json", "--no-color", "--warnings=off"]
    found = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, *(["--header", header] if header else [])],
        cwd=folder,
        env={**os.environ, "COCU_FUZZ_IDS": json.dumps(known)},
        capture_output=True,
        text=True,
        check=False,
    )
    report = "\n".join(line[:400] for line in found.stdout.splitlines())
    assert found.returncode == 0, f"{report}\n{found.stderr[-2000:]}"
    for phase in phases:
        assert f"✅  {phase}" in found.stdout, report
