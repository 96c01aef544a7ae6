"""open_clip's byte-pair tokenizer in the Hugging Face `tokenizers` format.

Token ids equal open_clip's for any text that ftfy does not change, and for the most frequent changes of ftfy:
it replaces curly quotes by straight ones, splits Latin ligatures, narrows full-width characters, removes
control characters. Three things differ: this tokenizer does not repair wrongly decoded text, does not decode
HTML entities ("&amp;"), and does not turn the words "<start_of_text>" and "<end_of_text>" into the tokens of
that name, because no caption should be able to write these tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

__all__ = ["END_OF_TEXT", "START_OF_TEXT", "clip_tokenizer"]

START_OF_TEXT = "<start_of_text>"
END_OF_TEXT = "<end_of_text>"

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CONTROL = r"[\x00-\x08\x0B\x0E-\x1F\x7F\x{206A}-\x{206F}\x{FEFF}\x{FFF9}-\x{FFFC}]"
_LIGATURES = "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬅﬆ"
_WIDE = "".join(map(chr, [*range(0xFF01, 0xFF61), 0x3000]))


def clip_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """Build the tokenizer from the vocabulary and merges of a byte-pair encoding as CLIP has it.

    vocabulary: token → id, with START_OF_TEXT and END_OF_TEXT. Raises KeyError when those are missing.
    """
    tokenizer = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=list(merges), end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(_normalizers())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_OF_TEXT} $A {END_OF_TEXT}",
        special_tokens=[(token, vocabulary[token]) for token in (START_OF_TEXT, END_OF_TEXT)],
    )
    return tokenizer


def _normalizers() -> list[normalizers.Normalizer]:
    folded = {
        character: unicodedata.normalize("NFKC", character)
        for character in _LIGATURES + _WIDE
        if unicodedata.normalize("NFKC", character) != character
    }
    return [
        *(normalizers.Replace(character, plain) for character, plain in folded.items()),
        normalizers.Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
        normalizers.Replace(Regex("[\u201c-\u201f]"), '"'),
        normalizers.Replace(Regex(_CONTROL), ""),
        normalizers.NFC(),
        normalizers.Replace(Regex(r"[\s\x{85}]+"), " "),
        normalizers.Lowercase(),
        normalizers.Strip(),
    ]
