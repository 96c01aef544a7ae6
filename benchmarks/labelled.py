"""Labelled datasets to judge archives by: the real photographs, where they are, and the scenes that are
shipped."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.photo_encoder import photo_encoder
from cocu.curation.archives import Floats, Ids, Mentions
from cocu.curation.labels import LabelMap
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.concepts import embed_concepts
from cocu.encoders.inprocess import InProcessEncoder, open_encoder
from cocu.errors import InvalidBundleError

REPOSITORY = Path(__file__).parent.parent
SCENES = REPOSITORY / "examples" / "scenes"
SCENES_ENCODER = REPOSITORY / "examples" / "encoders" / "scenes"
PHOTOGRAPHS = REPOSITORY.parent / "shared" / "datasets" / "coco-photos"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """N samples; truth maps the rows that are labelled to label names; more_captions are never seen by
    curation."""

    name: str
    captions: Sequence[str]
    images_ND: Floats
    encoder: InProcessEncoder
    label_names: Sequence[str]
    label_map: LabelMap
    truth: dict[int, list[str]]
    more_captions: dict[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A labelled dataset with a vocabulary: what curation takes. neighbours_NK are all other samples, nearest
    first."""

    labelled: Labelled
    vocabulary: Vocabulary
    mentions: Mentions
    concepts_VD: Floats
    neighbours_NK: Ids
    similarities_NK: Floats


def photographs() -> Labelled | None:
    """The 388 photographs, 128 of them labelled, with the photo encoder; None where either is absent or
    damaged."""
    if not PHOTOGRAPHS.is_dir():
        return None
    try:
        encoder = open_encoder(photo_encoder(Path(tempfile.mkdtemp())), threads=1)
    except InvalidBundleError as error:
        print(f"the photo encoder does not run: {error}")
        return None
    keys, captions, images_ND = _embed(sorted(PHOTOGRAPHS.glob("*.tar")), encoder)
    rows = {key: row for row, key in enumerate(keys)}
    instances = json.loads((PHOTOGRAPHS / "instances.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in instances["categories"]}
    truth: dict[int, set[str]] = {}
    for annotation in instances["annotations"]:
        row = rows.get(f"{annotation['image_id']:012d}")
        if row is not None:
            truth.setdefault(row, set()).add(names[annotation["category_id"]])
    more: dict[int, list[str]] = {}
    for annotation in json.loads((PHOTOGRAPHS / "captions.json").read_text(encoding="utf-8"))["annotations"]:
        row = rows.get(f"{annotation['image_id']:012d}")
        if row is not None:
            more.setdefault(row, []).append(annotation["caption"])
    return Labelled(
        name="photographs",
        captions=captions,
        images_ND=images_ND,
        encoder=encoder,
        label_names=sorted(names.values()),
        label_map=LabelMap.shipped("coco"),
        truth={row: sorted(labels) for row, labels in sorted(truth.items())},
        more_captions=more,
    )


def scenes() -> Labelled | None:
    """The shipped scenes, all of them labelled, with the shipped encoder; None where either is absent."""
    if not SCENES.is_dir() or not SCENES_ENCODER.is_dir():
        return None
    encoder = open_encoder(SCENES_ENCODER, threads=1)
    keys, captions, images_ND = _embed(sorted(SCENES.glob("*.tar")), encoder)
    labels = json.loads((SCENES / "labels.json").read_text(encoding="utf-8"))
    return Labelled(
        name="scenes",
        captions=captions,
        images_ND=images_ND,
        encoder=encoder,
        label_names=labels["labels"],
        label_map=LabelMap.by_name(),
        truth={row: labels["samples"][key] for row, key in enumerate(keys)},
        more_captions={},
    )


def _embed(shards: Sequence[Path], encoder: InProcessEncoder) -> tuple[list[str], list[str], Floats]:
    """Keys, captions and embeddings of all samples."""
    keys, captions, embeddings = [], [], []
    for key, image, caption in _pairs(shards):
        keys.append(key)
        captions.append(caption)
        embeddings.append(encoder.embed_images(encoder.preprocess(image)[None])[0])
    return keys, captions, np.stack(embeddings)


def prepare(labelled: Labelled, vocabulary: Vocabulary) -> Prepared:
    """Match the captions, embed the concepts, and sort all other samples by similarity."""
    concepts_VD = embed_concepts(labelled.encoder, vocabulary.prompts())
    offsets_N1, concepts_M = vocabulary.match_captions(labelled.captions)
    owners_M = np.repeat(np.arange(len(labelled.captions)), np.diff(offsets_N1))
    similarities_M = np.einsum("md,md->m", labelled.images_ND[owners_M], concepts_VD[concepts_M])
    similarity_NN = labelled.images_ND @ labelled.images_ND.T
    np.fill_diagonal(similarity_NN, -np.inf)
    neighbours_NK = np.argsort(-similarity_NN, axis=1, kind="stable")[:, :-1].astype(np.int64)
    return Prepared(
        labelled=labelled,
        vocabulary=vocabulary,
        mentions=Mentions(offsets_N1=offsets_N1, concepts_M=concepts_M, similarities_M=similarities_M),
        concepts_VD=concepts_VD,
        neighbours_NK=neighbours_NK,
        similarities_NK=np.take_along_axis(similarity_NN, neighbours_NK, axis=1),
    )


def _pairs(shards: Sequence[Path]) -> Iterator[tuple[str, Image.Image, str]]:
    """Key, image and caption of the samples of WebDataset shards, in order of their keys within a shard."""
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = {member.name: member for member in tar.getmembers()}
            for name in sorted(member for member in members if member.endswith(".jpg")):
                key = name.removesuffix(".jpg")
                image, caption = (tar.extractfile(members[f"{key}.{end}"]) for end in ("jpg", "txt"))
                if image is None or caption is None:
                    raise ValueError(f"{shard.name}: {key} is not a pair of files")
                with Image.open(io.BytesIO(image.read())) as opened:
                    yield key, opened.convert("RGB"), caption.read().decode()
