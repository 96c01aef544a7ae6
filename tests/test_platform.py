from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.pipeline_driver import settings
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.curation.vocabulary import Vocabulary
from cocu.errors import ConflictError, IntegrityError, InvalidBundleError, InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import paths


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    write_tiny_encoder(tmp_path / "encoders" / "b", name="second", seed=2)
    write_tiny_encoder(tmp_path / "encoders" / "a", name="first", seed=1)
    with Platform.open(settings(tmp_path / "data", tmp_path / "encoders")) as opened:
        yield opened


def test_encoders_are_found_by_name_and_hash_and_opened_once(platform: Platform) -> None:
    first, second = platform.encoders.list()

    assert (first.name, second.name) == ("first", "second")
    assert platform.encoders.describe() == first
    assert platform.encoders.describe("second") == platform.encoders.describe(second.hash) == second
    assert platform.encoders.get("second") is platform.encoders.get(second.hash)
    assert platform.encoders.get().embed_texts(["a dog"]).shape == (1, first.dim)
    with pytest.raises(NotFoundError, match=r"no encoder 'third'.*first, second"):
        platform.encoders.get("third")


def test_one_bundle_may_be_given_instead_of_a_folder_of_them(tmp_path: Path) -> None:
    write_tiny_encoder(tmp_path / "tiny")
    with Platform.open(settings(tmp_path / "data", tmp_path / "tiny")) as platform:
        assert [one.name for one in platform.encoders.list()] == ["tiny"]


def test_without_encoders_it_says_so(tmp_path: Path) -> None:
    with Platform.open(settings(tmp_path / "data", tmp_path / "nowhere")) as platform:
        assert platform.encoders.list() == ()
        with pytest.raises(NotFoundError, match="there are: none"):
            platform.encoders.describe()


def test_a_bundle_that_changes_is_another_encoder(platform: Platform, tmp_path: Path) -> None:
    before = platform.encoders.describe("first")
    opened = platform.encoders.require(name="first", hash=before.hash)
    shutil.rmtree(tmp_path / "encoders" / "a")
    write_tiny_encoder(tmp_path / "encoders" / "a", name="first", seed=3)

    assert platform.encoders.describe("first").hash != before.hash
    assert not np.array_equal(platform.encoders.get("first").embed_texts(["a"]), opened.embed_texts(["a"]))
    with pytest.raises(IntegrityError, match="'first' is not the one"):
        platform.encoders.require(name="first", hash=before.hash)


def test_a_broken_bundle_is_named(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "encoders" / "a" / "text.onnx").unlink()
    (tmp_path / "encoders" / "a" / "encoder.json").touch()

    with pytest.raises(InvalidBundleError, match=r"text\.file"):
        platform.encoders.list()


def test_every_tenant_has_the_shipped_vocabulary(platform: Platform) -> None:
    record, vocabulary = platform.vocabularies.load(tenant="somebody")

    assert vocabulary.hash == Vocabulary.shipped().hash == record.hash
    assert record.source == "shipped"
    assert platform.vocabularies.list_page(tenant="other", limit=9).items[0].hash == record.hash
    assert platform.vocabularies.load(tenant="other", vocabulary=record.name)[1] is vocabulary


def test_a_tenant_may_name_a_vocabulary_as_the_shipped_one_is(platform: Platform) -> None:
    shipped = Vocabulary.shipped()
    own = Vocabulary.from_lines("dog\ncat", name=shipped.name, version=shipped.version)
    added, new = platform.vocabularies.add(tenant="somebody", vocabulary=own, source="uploaded")

    assert new
    assert platform.vocabularies.load(tenant="somebody")[1].hash == shipped.hash
    assert platform.vocabularies.load(tenant="somebody", vocabulary=added.id)[1].hash == own.hash
    changed = Vocabulary.from_lines("dog", name=own.name, version=own.version)
    with pytest.raises(ConflictError):
        platform.vocabularies.add(tenant="somebody", vocabulary=changed, source="uploaded")


def test_a_vocabulary_without_concepts_is_refused(platform: Platform) -> None:
    with pytest.raises(InvalidInputError, match="no concepts"):
        platform.vocabularies.add(tenant="t", vocabulary=Vocabulary("empty", "1", ()), source="uploaded")


def test_a_changed_document_is_refused(platform: Platform) -> None:
    own = Vocabulary.from_lines("dog\ncat", name="own")
    record, _ = platform.vocabularies.add(tenant="t", vocabulary=own, source="uploaded")
    path = paths.vocabulary(record.hash)
    platform.objects.put(path, platform.objects.get(path).replace(b"cat", b"bat"))

    with pytest.raises(IntegrityError, match="has hash"):
        platform.vocabularies.load(tenant="t", vocabulary="own")
