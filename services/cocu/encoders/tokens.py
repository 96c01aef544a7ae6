"""From texts to the tokens a text tower takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cocu.errors import InvalidBundleError, InvalidInputError

__all__ = ["TextTokenizer"]

# No normaliser is known to shorten a text by more than this; composing Unicode characters does so most.
_SHORTENING = 4


class TextTokenizer:
    """A bundle's tokenizer: texts to int64 [N, context_length].

    As CLIP does it: a longer text keeps its beginning and has the end-of-text token in the last place; a
    shorter one is filled up with 0.
    """

    def __init__(self, document: bytes, context_length: int, *, where: str) -> None:
        """Read a document in the `tokenizers` format; `where` is what it is called in errors.

        Raises InvalidBundleError when it is no tokenizer.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(document)
        except Exception as error:  # the library raises nothing narrower
            raise InvalidBundleError(
                f"{where} is not a tokenizer: {error}", {"text.tokenizer": str(error)}
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._context_length = context_length
        longest_token = max((len(token) for token in self._tokenizer.get_vocab()), default=1)
        self._most_characters = context_length * longest_token * _SHORTENING

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokenise texts; any string is fit: lone surrogates become "?".

        Raises InvalidInputError when something is not a string.
        """
        tokens_NT = np.zeros((len(texts), self._context_length), np.int64)
        encodings = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        for tokens_T, encoding in zip(tokens_NT, encodings, strict=True):
            ids = encoding.ids
            kept = ids[: self._context_length]
            tokens_T[: len(kept)] = kept
            if len(ids) > self._context_length:
                tokens_T[-1] = ids[-1]
        return tokens_NT

    def _clean(self, text: str) -> str:
        if not isinstance(text, str):
            raise InvalidInputError(f"a text to embed must be a string, not {type(text).__name__}")
        # White space is collapsed first so that the cut never reaches what the context would have kept.
        shortened = (
            " ".join(text.split())[: self._most_characters] if len(text) > self._most_characters else text
        )
        return shortened.encode("utf-8", "replace").decode("utf-8")
