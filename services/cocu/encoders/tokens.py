"""Tokenisation: from texts to the tokens that a text tower takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cocu.errors import InvalidBundleError, InvalidInputError

__all__ = ["TextTokenizer"]

# No known normaliser shortens a text by a larger factor; composing Unicode characters comes nearest.
_SHORTENING = 4


class TextTokenizer:
    """A bundle's tokenizer: maps texts to int64 [N, context_length].

    As in CLIP, a text that is too long keeps its beginning and ends in the end-of-text token; a shorter text
    is padded with 0.
    """

    def __init__(self, document: bytes, context_length: int, *, where: str) -> None:
        """Read a document in the `tokenizers` format; `where` is its name in error messages.

        Raises InvalidBundleError when the document is not a tokenizer.
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
        self._max_characters = context_length * longest_token * _SHORTENING

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokenise texts; every string is valid, and lone surrogates become "?".

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
        # Collapse white space first, so that the cut never removes text that fits into the context.
        shortened = (
            " ".join(text.split())[: self._max_characters] if len(text) > self._max_characters else text
        )
        return shortened.encode("utf-8", "replace").decode("utf-8")
