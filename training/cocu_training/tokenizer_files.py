"""Where tokenizers lie: those of presets in this package, that of a run in its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

SCENES_TOKENIZER = Path(__file__).parent / "presets" / "scenes" / "tokenizer.json"
"""Of the encoder that is shipped for scenes; the same file as in the encoder's bundle."""
KEPT = "tokenizer.json"
"""A run's copy, in its folder."""


def keep_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Copy a run's tokenizer into its folder, so that the folder can be evaluated wherever it is."""
    kept = folder / KEPT
    if tokenizer.resolve() != kept.resolve():
        shutil.copyfile(tokenizer, kept)


def tokenizer_of(checkpoint: Path, named: str) -> Path:
    """The tokenizer of a checkpoint: the copy in its run's folder, else where the configuration says it is.

    checkpoint: the file, in the folder of checkpoints of a run.
    """
    kept = checkpoint.parent.parent / KEPT
    return kept if kept.is_file() else Path(named)
