from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cocu.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"COCU_{name.upper()}", raising=False)


def test_everything_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_folder=tmp_path)

    assert settings.catalog_url == f"sqlite:///{tmp_path}/catalog.sqlite"
    assert settings.objects_url == f"file://{tmp_path}/objects"
    assert settings.vectors_url == f"{tmp_path}/vectors"
    assert settings.encoders_url == f"{tmp_path}/encoders"
    assert settings.embedded


def test_the_environment_is_read_and_arguments_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COCU_DATA_FOLDER", str(tmp_path / "of the environment"))
    monkeypatch.setenv("COCU_BROKER_URL", "redis://queue:6379/0")
    monkeypatch.setenv("COCU_MAX_FAILURES", "7")

    assert Settings().vectors_url == str(tmp_path / "of the environment" / "vectors")
    assert not Settings().embedded
    assert Settings(max_failures=2).max_failures == 2
    assert Settings(data_folder=tmp_path).catalog_url == f"sqlite:///{tmp_path}/catalog.sqlite"


def test_a_relative_folder_does_not_change_with_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_folder="here")  # type: ignore[arg-type]

    assert settings.data_folder == tmp_path / "here"
    assert settings.catalog_url == f"sqlite:///{tmp_path}/here/catalog.sqlite"


def test_an_empty_variable_is_one_not_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COCU_CATALOG_URL", "")

    assert Settings(data_folder=tmp_path).catalog_url.startswith("sqlite:///")


@pytest.mark.parametrize("url", ["grpc://triton:8001", "grpcs://triton.example"])
def test_encoders_may_be_on_an_inference_server(url: str) -> None:
    assert Settings(encoders_url=url).encoders_url == url


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "catalog_url",
            "mysql://db",
            r"catalog_url is 'mysql://db'; it must begin with one of sqlite://, postgresql://",
        ),
        ("broker_url", "amqp://queue", "it must begin with one of memory://, redis://"),
        ("objects_url", "/a/folder", "it must begin with one of file://"),
        ("vectors_url", "ftp://vectors", "it must be a folder or begin with http"),
        ("encoders_url", "http://triton", "it must be a folder of encoder bundles or begin with grpc"),
        ("samples_per_shard", 10_001, "less than or equal to 10000"),
        ("lease_seconds", 0, "greater than or equal to 0.5"),
        ("max_image_pixels", 0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_do(name: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate({name: value})
