"""Whether requests need a key, from one start of the service to the next; needs no torch."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cocu_training.service.errors import UnauthorizedError
from cocu_training.service.keys import Keys, create_key, read_keys, revoke_key
from cocu_training.service.settings import DEFAULT_TENANT, ServiceSettings


def started(data: Path) -> Keys:
    """The keys of a service that starts on a folder."""
    settings = ServiceSettings(data=data)
    return Keys(settings.keys_file, settings.keys_note)


def test_without_keys__everybody_is_the_default_tenant_at_every_start(tmp_path: Path) -> None:
    for _ in range(2):
        keys = started(tmp_path)
        assert (keys.required, keys.tenant(None)) == (False, DEFAULT_TENANT)


@pytest.mark.parametrize("ending", ["gone", "revoked", "moved"])
def test_keys_that_were_there_once__are_needed_after_a_restart(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = ServiceSettings(data=tmp_path).keys_file
    key = create_key(file, tenant="acme")
    assert started(tmp_path).tenant(f"Bearer {key}") == "acme"
    match ending:
        case "gone":
            file.unlink()
        case "revoked":
            revoke_key(file, read_keys(file)[0].id)
        case _:
            file.rename(tmp_path / "old.json")
    with caplog.at_level(logging.WARNING):
        keys = started(tmp_path)
    assert keys.required
    assert "every request is refused: make one with `cocu-train key create`" in caplog.text
    for header in (None, "", f"Bearer {key}"):
        with pytest.raises(UnauthorizedError):
            keys.tenant(header)
    # A new key is taken at once, and one that only the earlier file had stays refused.
    other = create_key(file, tenant="other")
    assert keys.tenant(f"Bearer {other}") == "other"
    with pytest.raises(UnauthorizedError):
        keys.tenant(f"Bearer {key}")


def test_a_damaged_file__lets_no_service_start(tmp_path: Path) -> None:
    file = ServiceSettings(data=tmp_path).keys_file
    create_key(file)
    file.write_text("{")
    with pytest.raises(ValueError, match="not a file of API keys"):
        started(tmp_path)
    file.unlink()
    assert started(tmp_path).required


def test_the_note__is_what_the_operator_deletes_to_let_everybody_in(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path)
    create_key(settings.keys_file)
    started(tmp_path)
    settings.keys_file.unlink()
    settings.keys_note.unlink()
    assert started(tmp_path).tenant(None) == DEFAULT_TENANT
