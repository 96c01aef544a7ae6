from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cocu.errors import InvalidInputError
from cocu.settings import RENAMED, Settings


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


@pytest.mark.parametrize("old", RENAMED)
def test_a_renamed_setting__is_refused_with_its_new_name(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = f"COCU_{old.upper()} is now called COCU_{RENAMED[old].upper()}; set that instead"
    with pytest.raises(InvalidInputError) as given:
        Settings.read(**{old: 60})
    monkeypatch.setenv(f"COCU_{old.upper()}", "60")
    with pytest.raises(InvalidInputError) as of_environment:
        Settings.read()

    assert str(given.value) == str(of_environment.value) == expected
    assert RENAMED[old] in Settings.model_fields


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("import_buckets", "s3://b/x", ("s3://b/x",)),
        ("import_buckets", "s3://b/x, s3://c", ("s3://b/x", "s3://c")),
        ("import_buckets", '["s3://b/x"]', ("s3://b/x",)),
        ("fetch_ports", "8399", {8399}),
        ("fetch_ports", "80,443,8399", {80, 443, 8399}),
        ("fetch_ports", "[80, 8399]", {80, 8399}),
        ("fetch_networks", "10.1.0.0/16,fd00::/8", ("10.1.0.0/16", "fd00::/8")),
        ("fetch_networks", "", ()),
    ],
)
def test_lists__are_written_with_commas_or_as_json(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"COCU_{name.upper()}", value)
    assert getattr(Settings.read(), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("fetch_ports", "http", "it should be a valid integer"),
        ("fetch_ports", "70000", "less than or equal to 65535"),
        ("fetch_ports", "[80", "is no list in JSON; with commas will do"),
        ("fetch_networks", "10.0.0.1/8", "has host bits set"),
        ("import_buckets", "bucket/prefix", "must begin with one of s3://"),
        ("catalog_url", "mysql://db", "must begin with one of sqlite://"),
        ("vectors_grpc", "perhaps", "it should be a valid boolean"),
        ("lease_seconds", "soon", "it should be a valid number"),
    ],
)
def test_a_wrong_variable__is_one_line_that_begins_with_its_name(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"COCU_{name.upper()}", value)
    with pytest.raises(InvalidInputError) as error:
        Settings.read()
    assert str(error.value).startswith(f"COCU_{name.upper()} is '{value}'")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_several_wrong_variables__are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCU_MAX_PAGE", "0")
    monkeypatch.setenv("COCU_FETCH_PORTS", "x,y")
    with pytest.raises(InvalidInputError, match=r"COCU_MAX_PAGE") as error:
        Settings.read()
    assert "COCU_FETCH_PORTS" in str(error.value)
