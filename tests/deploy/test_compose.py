"""What docker-compose.yml promises: read as text everywhere, and by Compose itself where there is one."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cocu.cli.application import app
from cocu.http.hosts import Hosts
from cocu.settings import Settings

OURS = {"api", "dashboard", "worker", "sweeper", "migrate", "publish", "publish-gpu"}


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text)["services"])


@pytest.fixture(scope="module")
def environment(repository: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "environment", repository / "deploy/environment.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def compose() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is not None:
            version = subprocess.run([*command, "version"], capture_output=True, check=False)
            if version.returncode == 0:
                return command
    pytest.skip("there is no Compose here to read docker-compose.yml")


def test_services__are_all_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("mem_limit"), name
        assert not service.get("privileged"), name
        assert "docker.sock" not in str(service.get("volumes", [])), name


def test_services__only_the_api_is_reached_from_outside(services: dict[str, Any], text: str) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    # Grafana is for people on the same machine, and only where its profile is chosen.
    assert published.keys() == {"api", "dashboard", "grafana", "training"}
    assert services["dashboard"]["profiles"] == ["dashboard"]
    for name in ("grafana", "training"):
        assert all(port.startswith("127.0.0.1:") for port in published[name])
    assert services["grafana"]["profiles"] == ["observability"]
    assert yaml.safe_load(text)["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in services.items() if "outside" in (service.get("networks") or [])}
    assert outside == {"api", "dashboard", "worker", "sweeper", "grafana", "training"}


def test_services__tell_whether_they_are_well_and_start_again(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name in {"migrate", "publish", "publish-gpu"}:
            assert service["restart"] == "on-failure", name
            assert service["healthcheck"] == {"disable": True}, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_images__are_pinned_and_come_from_whom_they_should(text: str, services: dict[str, Any]) -> None:
    official = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", text))
    ours = {name for name in official if name.startswith("COCU_")}
    for name in official.keys() - ours:
        tag = official[name].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{official[name]} is not pinned to a version"
    for service in services.values():
        image = str(service["image"])
        assert image.startswith("${"), image
        assert not re.search("bitnami|minio", image)


def test_images__have_the_same_base_in_compose_and_dockerfiles(repository: Path, text: str) -> None:
    official = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", text))
    for file, name in (
        ("docker/Dockerfile", "PYTHON_IMAGE"),
        ("docker/Dockerfile.training", "PYTHON_IMAGE"),
        ("triton/Dockerfile", "TRITON_IMAGE"),
    ):
        dockerfile = (repository / "deploy" / file).read_text()
        assert f"ARG {name}={official[name]}\n" in dockerfile


def test_profiles__the_platform_needs_none_and_a_gpu_is_asked_for_in_one(services: dict[str, Any]) -> None:
    always = {name for name, service in services.items() if not service.get("profiles")}
    assert always == {"api", "worker", "sweeper", "migrate", "postgres", "redis", "qdrant"}
    for name, service in services.items():
        if "devices" in str(service.get("deploy", "")):
            assert service["profiles"] == ["gpu"], name
    assert "triton" in services["triton-gpu"]["networks"]["inside"]["aliases"]


def test_services__wait_for_neither_qdrant_nor_triton(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "sweeper"):
        assert services[name]["depends_on"].keys() == {"migrate", "redis"}


def test_workers__are_stopped_later_than_they_hand_back_their_tasks(services: dict[str, Any]) -> None:
    grace = int(services["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace >= Settings().worker_grace_seconds + 5
    assert "container_name" not in services["worker"]


def test_dashboard__keeps_nothing_and_knows_no_secret_but_its_keys(services: dict[str, Any]) -> None:
    dashboard = services["dashboard"]
    assert dashboard["image"] == services["api"]["image"]
    assert dashboard["networks"] == ["outside"]
    assert "volumes" not in dashboard
    names = {"COCU_SERVER", "COCU_HOSTS", "COCU_API_KEY", "COCU_TRAINING", "COCU_TRAINING_API_KEY"}
    assert dashboard["environment"].keys() == names


def test_training__is_stopped_later_than_its_run_has_a_checkpoint(services: dict[str, Any]) -> None:
    command = services["training"]["command"]
    grace = int(services["training"]["stop_grace_period"].removesuffix("s"))
    assert grace >= int(command[command.index("--stop-seconds") + 1]) + 20
    assert services["training"]["profiles"] == ["gpu"]
    assert services["training"]["volumes"] == ["training:/data"]


def test_commands__are_those_of_cocu(services: dict[str, Any]) -> None:
    for name in OURS:
        command: list[str] = services[name]["command"]
        words = [word for word in command if re.fullmatch(r"[a-z]+", word)][
            : 1 if name in {"api", "dashboard"} else 2
        ]
        options = [word for word in command if word.startswith("--")]
        if name.startswith("publish"):
            words = ["encoder", "publish"]
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert shown.exit_code == 0, f"cocu {' '.join(words)}: {shown.output}"
        for option in options:
            assert option in shown.output, f"cocu {' '.join(words)} has no {option}"


def test_environment__gives_every_secret_that_compose_requires(text: str, environment: ModuleType) -> None:
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required >= {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "QDRANT_API_KEY"}
    lines = environment.environment(["cpu"]).splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    for name in required:
        # In a URL every other character would need escaping.
        assert re.fullmatch(r"[0-9a-f]{24,}", given[name])
    # No secret has a value that everybody knows.
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY)\w*:?-", text)


def test_environment__is_drawn_once_and_readable_by_its_owner_alone(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "env"
    command = [sys.executable, str(repository / "deploy/environment.py"), "--file", str(file)]
    subprocess.run([*command, "--profile", "gpu"], check=True, capture_output=True)
    first = file.read_text()
    assert "COMPOSE_PROFILES=gpu\n" in first
    assert file.stat().st_mode & 0o777 == 0o600
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert file.read_text() == first


def test_environment__differs_every_time(environment: ModuleType) -> None:
    first, second = (environment.environment(["cpu"]).splitlines() for _ in range(2))
    changed = {line.partition("=")[0] for line in set(first) ^ set(second)}
    assert {"POSTGRES_PASSWORD", "REDIS_PASSWORD"} <= changed


@pytest.mark.parametrize("profile", ["cpu", "gpu", "observability", "dashboard"])
def test_compose__takes_the_file_with_an_environment(
    profile: str, repository: Path, tmp_path: Path, environment: ModuleType
) -> None:
    (tmp_path / "env").write_text(environment.environment([profile]))
    done = _config(compose(), repository, tmp_path / "env")
    assert done.returncode == 0, done.stderr


def test_compose__says_what_to_do_without_an_environment(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    done = _config(compose(), repository, tmp_path / "env")
    assert done.returncode != 0
    assert "deploy/environment.py" in done.stderr


def _config(command: list[str], repository: Path, file: Path) -> subprocess.CompletedProcess[str]:
    files = ["--file", str(repository / "docker-compose.yml"), "--env-file", str(file)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COCU_", "COMPOSE_"))}
    return subprocess.run(
        [*command, "--project-directory", str(repository), *files, "config", "--quiet"],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )


def test_pinning__asks_for_every_image_that_is_pulled(repository: Path, tmp_path: Path, text: str) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho $4 >> {tmp_path}/asked\necho sha256:{'ab' * 32}\n")
    docker.chmod(0o755)
    done = _pin(repository, tmp_path)
    assert done.returncode == 0, done.stderr
    images = dict(line.split("=", 1) for line in done.stdout.splitlines())
    pulled = {name for name in re.findall(r"\$\{(\w+_IMAGE):-", text) if not name.startswith("COCU_")}
    assert images.keys() == pulled
    assert all(image.endswith(f"@sha256:{'ab' * 32}") for image in images.values())
    asked = (tmp_path / "asked").read_text().split()
    assert {image.partition("@")[0] for image in images.values()} == set(asked)


def test_pinning__prints_nothing_where_a_registry_gives_no_digest(repository: Path, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\ncase $4 in redis*) echo denied >&2; exit 1;; esac\necho sha256:" + "0" * 64)
    docker.chmod(0o755)
    done = _pin(repository, tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "redis" in done.stderr
    assert "denied" in done.stderr


def _pin(repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "deploy/pin_images.py")]
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


PLACES = {"data_folder", "catalog_url", "broker_url", "heartbeat_file"}
"""Settings that are Compose's own, or the image's."""


@pytest.mark.parametrize("name", ["api", "worker", "sweeper", "migrate"])
def test_settings__of_the_environment_file_reach_every_container(name: str, services: dict[str, Any]) -> None:
    environment = services[name]["environment"]
    for field in Settings.model_fields.keys() - PLACES:
        variable = f"COCU_{field.upper()}"
        if variable == "COCU_WORKER_PROCESSES" and name != "worker":
            continue
        assert variable in environment, f"{variable} of .env reaches no {name}"
        value = environment[variable]
        # Nothing: as the environment or .env has it, and not set where neither does.
        assert value is None or f"${{{variable}" in value or variable == "COCU_VECTORS_API_KEY"


@pytest.mark.parametrize("name", ["api", "training"])
@pytest.mark.parametrize("more", ["", "example.org"])
def test_hosts__have_the_name_by_which_other_containers_ask(
    name: str, more: str, services: dict[str, Any]
) -> None:
    stated = services[name]["environment"]["COCU_HOSTS"]
    # As Compose replaces it: nothing where the variable is not set.
    value = stated.replace("${COCU_HOSTS:+,$COCU_HOSTS}", f",{more}" if more else "")
    assert "$" not in value
    hosts = Hosts(Settings.model_validate({"hosts": value}).hosts)
    assert hosts.has(name)
    assert hosts.has("example.org") == bool(more)


def test_settings__that_are_there_are_real(services: dict[str, Any]) -> None:
    given = {name.lower() for name in services["worker"]["environment"] if name.startswith("COCU_")}
    assert {name.removeprefix("cocu_") for name in given} <= Settings.model_fields.keys()


def test_the_page__has_only_commands_that_the_host_has(repository: Path) -> None:
    page = (repository / "deploy/README.md").read_text()
    for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.split()[0]
            assert command in {"docker", "python3", "make", "curl"}, line


def test_the_page__curates_in_a_container_as_cocu_understands_it(repository: Path) -> None:
    page = (repository / "deploy/README.md").read_text()
    [line] = re.findall(r"api \\\n\s+(curate .*)", page)
    shown = CliRunner().invoke(app, ["curate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    for option in re.findall(r"--[a-z-]+", line):
        assert option in shown.output
