"""The sizes of a GroupViT: presets of the paper, of the scenes, and of tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageStage:
    """The blocks of one stage, and the number of groups into which it groups its segments, 0 for none."""

    blocks: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class GroupViTConfiguration:
    """The sizes of a GroupViT.

    image_size, patch_size: pixels of a training image and of a patch. image_width, text_width: C of the
    towers; image_heads, text_heads: their numbers of heads. stages: every stage but the last groups its
    segments. drop_path: the rate of the last block; rates grow linearly from 0. text_tokens: the number of
    ids of the tokenizer. context_length: the tokens of a text. projector_width: of the hidden layer of both
    projectors. dim: E of the joint space.

    Raises ValueError for sizes that do not fit together.
    """

    image_size: int = 224
    patch_size: int = 16
    image_width: int = 384
    image_heads: int = 6
    stages: tuple[ImageStage, ...] = (
        ImageStage(blocks=6, groups=64),
        ImageStage(blocks=3, groups=8),
        ImageStage(blocks=3, groups=0),
    )
    drop_path: float = 0.1
    text_width: int = 256
    text_heads: int = 4
    text_blocks: int = 12
    text_tokens: int = 49_408
    context_length: int = 77
    projector_width: int = 4_096
    dim: int = 256

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} pixels do not tile images of {self.image_size}")
        if self.image_width % self.image_heads or self.text_width % self.text_heads:
            raise ValueError("widths must be multiples of the numbers of heads")
        groups = [stage.groups for stage in self.stages]
        if len(groups) < 2 or groups[-1] != 0 or 0 in groups[:-1]:
            raise ValueError(f"every stage but the last must group, and the last must not: {groups}")

    @property
    def grid(self) -> int:
        """Patches along each side of a training image."""
        return self.image_size // self.patch_size

    @classmethod
    def small(cls) -> GroupViTConfiguration:
        """GroupViT with ViT-S as published: 55,726,610 parameters with both temperatures."""
        return cls()

    @classmethod
    def scenes(cls, *, text_tokens: int, context_length: int) -> GroupViTConfiguration:
        """A model small enough to train on generated scenes on a CPU in minutes."""
        return cls(
            image_size=96,
            patch_size=8,
            image_width=192,
            image_heads=3,
            stages=(
                ImageStage(blocks=3, groups=24),
                ImageStage(blocks=2, groups=8),
                ImageStage(blocks=1, groups=0),
            ),
            drop_path=0.0,
            text_width=128,
            text_heads=4,
            text_blocks=2,
            text_tokens=text_tokens,
            context_length=context_length,
            projector_width=512,
            dim=128,
        )

    @classmethod
    def lean(cls, *, text_tokens: int, context_length: int) -> GroupViTConfiguration:
        """A model for many runs on scenes: four times as fast as `scenes` on one core, at 2/3 of its image
        size."""
        return cls(
            image_size=64,
            patch_size=8,
            image_width=128,
            image_heads=2,
            stages=(
                ImageStage(blocks=3, groups=16),
                ImageStage(blocks=2, groups=8),
                ImageStage(blocks=1, groups=0),
            ),
            drop_path=0.0,
            text_width=64,
            text_heads=1,
            text_blocks=2,
            text_tokens=text_tokens,
            context_length=context_length,
            projector_width=512,
            dim=128,
        )

    @classmethod
    def tiny(cls, *, text_tokens: int = 64, context_length: int = 8) -> GroupViTConfiguration:
        """A model for tests: it has every part, and a step takes milliseconds."""
        return cls(
            image_size=32,
            patch_size=8,
            image_width=24,
            image_heads=2,
            stages=(
                ImageStage(blocks=1, groups=6),
                ImageStage(blocks=1, groups=3),
                ImageStage(blocks=1, groups=0),
            ),
            drop_path=0.0,
            text_width=16,
            text_heads=2,
            text_blocks=1,
            text_tokens=text_tokens,
            context_length=context_length,
            projector_width=32,
            dim=12,
        )
