"""Texts as tokens: CLIP's frame, the scenes tokenizer's, and cutting."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from cocu.encoders.clip_tokenizer import clip_tokenizer
from cocu.encoders.tokens import TextTokenizer
from cocu_training.data.texts import Texts
from cocu_training.errors import ConfigurationError

CLIP_MERGES = [("d", "o"), ("do", "g</w>"), ("c", "a"), ("ca", "t</w>")]
CLIP_IDS = {
    name: number
    for number, name in enumerate(
        [*"adogcts!", *(f"{letter}</w>" for letter in "adogcts!"), "do", "dog</w>", "ca", "cat</w>"]
    )
}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A tokenizer as CLIP's is, with few pairs."""
    ids = dict(zip(dict.fromkeys(CLIP_IDS), range(len(CLIP_IDS)), strict=True))
    ids |= {"<start_of_text>": len(ids), "<end_of_text>": len(ids) + 1}
    path = tmp_path / "clip.json"
    clip_tokenizer(ids, CLIP_MERGES).save(str(path))
    return path


@pytest.fixture
def scenes(repository: Path) -> Path:
    return repository / "examples" / "encoders" / "scenes" / "tokenizer.json"


def test_clip_texts_stand_between_start_and_end(clip: Path) -> None:
    texts = Texts(clip, 6)
    start, end = texts.tokens - 2, texts.tokens - 1
    tokens_MT = texts(["a dog", "A  DOG", ""])
    assert tokens_MT.dtype == torch.int64
    assert tokens_MT.shape == (3, 6)
    assert tokens_MT[0].tolist()[0] == start
    assert tokens_MT[0].tolist()[3:] == [end, 0, 0]
    assert tokens_MT[1].tolist() == tokens_MT[0].tolist(), "the tokenizer lower-cases"
    assert tokens_MT[2].tolist() == [start, end, 0, 0, 0, 0]


def test_clip_texts_are_those_of_the_platform(clip: Path) -> None:
    texts = ["a dog", "dog cat dog cat dog", "", "cats!"]
    platform = TextTokenizer(clip.read_bytes(), 5, where="clip.json")
    assert Texts(clip, 5)(texts).tolist() == platform(texts).tolist()


@pytest.mark.parametrize("words", [3, 4, 5, 40])
def test_the_end_is_in_the_last_place_of_a_long_text(clip: Path, words: int) -> None:
    texts = Texts(clip, 5)
    tokens_T = texts(["dog " * words])[0].tolist()
    assert tokens_T[-1] == texts.end
    assert tokens_T.count(texts.end) == 1
    assert tokens_T[0] == texts.tokens - 2


def test_the_scenes_tokenizer_gets_an_end_of_its_own(scenes: Path) -> None:
    texts = Texts(scenes, 8)
    assert texts.tokens == 893, "892 and the end"
    tokens_MT = texts(["a dog", "", "a dog and a cat next to the red car on the beach"])
    assert [row.argmax().item() for row in tokens_MT] == [2, 0, 7]
    assert (tokens_MT.max(dim=1).values == 892).all()
    assert tokens_MT[0, 3:].tolist() == [0] * 5


def test_a_file_without_a_frame_of_its_own_gets_clips(tmp_path: Path) -> None:
    ids = {"a</w>": 0, "<unk>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1, **dict(list(ids.items())[2:])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Texts(tmp_path / "tokenizer.json", 4)(["a"]).tolist() == [[2, 0, 3, 0]]


def test_an_end_that_the_text_tower_would_miss_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "<unk>": 1, "dog": 2}, "<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="end with token 0, but the highest id is 2"):
        Texts(tmp_path / "tokenizer.json", 4)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a tokenizer"):
        Texts(tmp_path / "tokenizer.json", 4)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Texts(tmp_path / "absent.json", 4)


def test_it_travels_to_worker_processes(scenes: Path) -> None:
    texts = Texts(scenes, 8)
    assert pickle.loads(pickle.dumps(texts))(["a dog \ud800"]).tolist() == texts(["a dog ?"]).tolist()
