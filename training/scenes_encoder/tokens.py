"""The encoder's tokenizer: byte pairs of lower-case text learnt from captions, for `tokenizers`."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from scenes_encoder.model import CONTEXT_LENGTH

PADDING, UNKNOWN = "<pad>", "<unk>"


def learn_tokenizer(captions: Iterable[str], *, size: int = 1500) -> Tokenizer:
    """Train a tokenizer that pads and cuts to CONTEXT_LENGTH; id 0 is padding. Words of captions stay
    whole."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|[0-9]"), behavior="removed", invert=True)
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PADDING, UNKNOWN],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789"),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    # The model also reads prompts, although no caption contains “a photo”.
    tokenizer.train_from_iterator([*captions, *["a photo of a"] * 1000], trainer)
    tokenizer.enable_truncation(CONTEXT_LENGTH)
    tokenizer.enable_padding(length=CONTEXT_LENGTH, pad_id=0, pad_token=PADDING)
    return tokenizer
