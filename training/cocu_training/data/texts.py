"""Tokenised texts, by a tokenizer in the `tokenizers` format: CLIP's, or the one shipped for scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from cocu_training.errors import ConfigurationError

# The names in CLIP as published, and in open_clip.
STARTS = ("<|startoftext|>", "<start_of_text>")
ENDS = ("<|endoftext|>", "<end_of_text>")
PADDING = 0


class Texts:
    """Texts → int64 [M, T], T being the context length.

        texts = Texts("tokenizer.json", context_length=77)
        texts(["a dog", "two cats on a sofa"])   # tensor [2, 77]
        texts.tokens                             # the number of ids: `text_tokens` of the model

    A row holds the tokens of the text, the end-of-text token, and 0 as padding; a text that is too long keeps
    its beginning and ends in the end-of-text token. The text tower finds the end as the highest id. So the
    end-of-text token must be the highest id: the tokenizer's own if it has one (CLIP), otherwise one id above
    those of the tokenizer. The tokenizer itself converts to lower case.

    Raises ConfigurationError when the file is absent or not a tokenizer, or when its texts end in a token
    that is not the highest id.
    """

    def __init__(self, tokenizer: str | Path, context_length: int) -> None:
        self.path = Path(tokenizer)
        self.context_length = context_length
        self._tokenizer = _read(self.path)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        highest = max(ids.values(), default=0)
        frame = self._tokenizer.encode("").ids
        if frame and frame[-1] != highest:
            raise ConfigurationError(
                f"texts of {self.path} end with token {frame[-1]}, but the highest id is {highest}: the text "
                "tower takes the state at the highest id"
            )
        self._start: list[int] = []
        self._end: list[int] = []
        if not frame:
            has_end = any(ids.get(name) == highest for name in ENDS)
            self._end = [highest if has_end else highest + 1]
            self._start = [ids[name] for name in STARTS if has_end and name in ids]
        self.end = frame[-1] if frame else self._end[0]

    @property
    def tokens(self) -> int:
        """The number of ids, including the end-of-text token."""
        return self.end + 1

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Tokenise; lone surrogates become "?"."""
        tokens_MT = np.full((len(texts), self.context_length), PADDING, np.int64)
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        for tokens_T, encoding in zip(tokens_MT, self._tokenizer.encode_batch(clean), strict=True):
            ids = [*self._start, *encoding.ids, *self._end][: self.context_length]
            tokens_T[: len(ids)] = ids
            if len(ids) == self.context_length:
                tokens_T[-1] = self.end
        return torch.from_numpy(tokens_MT)


def _read(path: Path) -> Tokenizer:
    try:
        document = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the tokenizer {path} cannot be read: {error.strerror or error}") from error
    try:
        return Tokenizer.from_buffer(document)
    except Exception as error:  # the library raises nothing narrower
        raise ConfigurationError(
            f"{path} is not a tokenizer in the format of `tokenizers`: {error}"
        ) from error
