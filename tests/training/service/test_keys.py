"""Who may see which runs: API keys, tenants, and files of keys that change, vanish or are damaged."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.training.service.conftest import Platform, Training, settings_of, training_on
from typer.testing import CliRunner

from cocu_training.command_line import app
from cocu_training.service.keys import create_key, read_keys, revoke_key

ROUTES = (
    ("GET", "/v1/runs/{run}"),
    ("GET", "/v1/runs/{run}/events"),
    ("GET", "/v1/runs/{run}/results"),
    ("GET", "/v1/runs/{run}/files"),
    ("GET", "/v1/runs/{run}/files/log.txt"),
    ("POST", "/v1/runs/{run}/stop"),
    ("POST", "/v1/runs/{run}/resume"),
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def guarded(tmp_path: Path, keys: Path, platform: Platform, repository: Path) -> Iterator[Training]:
    """A service that asks for keys; `http` has one of the tenant acme."""
    key = create_key(keys, tenant="acme")
    platform_keys = {"acme": "acme's", "other": "other's"}
    settings = settings_of(tmp_path / "service", platform, repository, keys=keys, platform_keys=platform_keys)
    with training_on(platform, settings) as started:
        started.http.headers["Authorization"] = f"Bearer {key}"
        yield started


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route__asks_for_a_key(guarded: Training) -> None:
    run = guarded.submit(steps=1)["id"]
    routes = [("GET", "/v1/runs"), ("POST", "/v1/runs"), *ROUTES]
    for method, route in routes:
        for wrong in ("", "Bearer", "Bearer cocu_train_guessed", "Basic YTpi", "Bearer é", "x" * 9000):
            answer = guarded.http.request(
                method, route.format(run=run), headers=[(b"Authorization", wrong.encode())]
            )
            assert answer.status_code == 401, (method, route, wrong)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:cocu:problem:unauthorized"
    assert guarded.http.get("/healthz", headers={"Authorization": ""}).status_code == 200


def test_another_tenants_run__does_not_exist(guarded: Training, keys: Path) -> None:
    run = guarded.submit(steps=1)["id"]
    other = bearer(create_key(keys, tenant="other"))
    for method, route in ROUTES:
        answer = guarded.http.request(method, route.format(run=run), headers=other)
        unknown = guarded.http.request(method, route.format(run="run_" + "0" * 20), headers=other)
        assert answer.status_code == unknown.status_code == 404, route
        assert answer.json()["detail"].replace(run, "run_" + "0" * 20) == unknown.json()["detail"]
    assert guarded.http.get("/v1/runs", headers=other).json()["items"] == []
    # An Idempotency-Key of another tenant reveals nothing either.
    once = {"Idempotency-Key": "shared"}
    first = guarded.submit(steps=1, headers=once)["id"]
    assert guarded.submit(steps=2, headers=once | other)["id"] != first


def test_trainer__gets_only_its_tenants_key_of_the_platform(guarded: Training) -> None:
    run = guarded.submit(steps=1)["id"]
    guarded.wait(run)
    variables = json.loads((guarded.output(run) / "environment.json").read_text())
    assert variables["COCU_API_KEY"] == "acme's"
    assert "other's" not in json.dumps(variables)
    contents = [file.read_bytes() for file in guarded.settings.data.rglob("*") if file.is_file()]
    with_key = [content for content in contents if b"acme's" in content]
    assert with_key == [json.dumps(variables).encode()], "only the stand-in writes it down"


def test_key__is_stored_as_a_hash_for_the_owner_alone(keys: Path) -> None:
    key = create_key(keys)
    assert key.startswith("cocu_train_")
    assert key not in keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_revoked_key__is_refused_from_the_next_request_on(guarded: Training, keys: Path) -> None:
    other = create_key(keys, tenant="acme")
    assert guarded.http.get("/v1/runs").status_code == 200
    revoke_key(keys, read_keys(keys)[0].id)
    assert guarded.http.get("/v1/runs").status_code == 401
    assert guarded.http.get("/v1/runs", headers=bearer(other)).status_code == 200


@pytest.mark.parametrize("damage", ["gone", "empty", "no JSON", "no keys"])
def test_damaged_file_of_keys__does_not_open_the_service(guarded: Training, keys: Path, damage: str) -> None:
    if damage == "gone":
        keys.unlink()
    else:
        keys.write_text({"empty": "", "no JSON": "{", "no keys": "[]"}[damage])
    assert guarded.http.get("/v1/runs").status_code == 401
    assert guarded.http.get("/v1/runs", headers={"Authorization": ""}).status_code == 401


def test_first_key__closes_a_service_that_was_open(training: Training) -> None:
    assert training.http.get("/v1/runs").status_code == 200
    key = create_key(training.settings.keys_file)
    assert training.http.get("/v1/runs").status_code == 401
    assert training.http.get("/v1/runs", headers=bearer(key)).status_code == 200


def test_commands__make_list_and_revoke_keys(tmp_path: Path) -> None:
    runner, where = CliRunner(), ["--data", str(tmp_path)]
    created = runner.invoke(app, ["key", "create", "--tenant", "acme", *where])
    assert created.output.startswith("cocu_train_")
    listed = runner.invoke(app, ["key", "list", *where]).output
    assert "acme" in listed
    assert created.output.strip() not in listed
    assert runner.invoke(app, ["key", "revoke", listed.split()[0], *where]).exit_code == 0
    assert runner.invoke(app, ["key", "list", *where]).output == ""
    assert runner.invoke(app, ["key", "create", "--tenant", "../x", *where]).exit_code == 1
