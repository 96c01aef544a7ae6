"""What Prometheus is told to watch, to report and to show: things that there are, by the names they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

WATCHED = {"api", "worker", "sweeper", "triton", "qdrant", "prometheus"}


@pytest.fixture(scope="module")
def services(repository: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((repository / "docker-compose.yml").read_text())["services"])


@pytest.fixture(scope="module")
def jobs(repository: Path) -> dict[str, dict[str, Any]]:
    settings = yaml.safe_load((repository / "deploy/prometheus/prometheus.yml").read_text())
    return {job["job_name"]: job for job in settings["scrape_configs"]}


@pytest.fixture(scope="module")
def dashboards(repository: Path) -> dict[str, Any]:
    files = (repository / "deploy/grafana/dashboards").glob("*.json")
    return {file.name: json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def rules(repository: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((repository / "deploy/prometheus/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def watched_at(job: dict[str, Any]) -> tuple[str, int]:
    if "dns_sd_configs" in job:
        (search,) = job["dns_sd_configs"]
        assert search["type"] == "A"
        (name,) = search["names"]
        return name, search["port"]
    ((target,),) = (found["targets"] for found in job["static_configs"])
    host, port = target.rsplit(":", 1)
    return host, int(port)


def test_prometheus__watches_services_that_there_are(
    services: dict[str, Any], jobs: dict[str, dict[str, Any]]
) -> None:
    assert jobs.keys() == WATCHED
    for name, job in jobs.items():
        host, _ = watched_at(job)
        assert host == ("localhost" if name == "prometheus" else name)
        assert host == "localhost" or "inside" in services[host]["networks"]
    assert "inside" in services["prometheus"]["networks"]


def test_prometheus__asks_our_own_processes_where_they_answer(
    services: dict[str, Any], jobs: dict[str, dict[str, Any]]
) -> None:
    for name, option in (("api", "--port"), ("worker", "--metrics-port"), ("sweeper", "--metrics-port")):
        command = services[name]["command"]
        assert watched_at(jobs[name])[1] == int(command[command.index(option) + 1])
        host = "--host" if name == "api" else "--metrics-host"
        assert command[command.index(host) + 1] == "0.0.0.0"
    # Any number of workers may run, and a fixed name finds one of them.
    assert "dns_sd_configs" in jobs["worker"]
    assert "dns_sd_configs" in jobs["sweeper"]


def test_rules_and_dashboards__name_figures_that_are_documented(
    repository: Path, dashboards: dict[str, Any], rules: list[dict[str, Any]]
) -> None:
    documented = set(
        re.findall(r"^\| `(cocu_\w+)`", (repository / "docs/metrics.md").read_text(), re.MULTILINE)
    )
    asked = [rule["expr"] for rule in rules]
    for dashboard in dashboards.values():
        asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name.removesuffix("_bucket") for text in asked for name in re.findall(r"\bcocu_\w+", text)}
    assert named <= documented
    assert documented - named == set(), "nobody looks at it"


def test_dashboards__ask_the_source_that_there_is(repository: Path, dashboards: dict[str, Any]) -> None:
    provisioning = repository / "deploy/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(provisioning.read_text())["datasources"]
    assert len({dashboard["uid"] for dashboard in dashboards.values()}) == len(dashboards) == 2
    for name, dashboard in dashboards.items():
        panels = dashboard["panels"]
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}, name
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
        assert len(places) == len({panel["id"] for panel in panels}) == len(panels), name


def test_rules__report_what_they_are_to(repository: Path, rules: list[dict[str, Any]]) -> None:
    tested = (repository / "deploy/prometheus/rules.test.yml").read_text()
    untested = {rule["alert"] for rule in rules} - set(re.findall(r"alertname: (\w+)", tested))
    assert untested == {"TritonRefuses"}
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here")
    done = subprocess.run(
        [promtool, "test", "rules", "rules.test.yml"],
        cwd=repository / "deploy/prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
