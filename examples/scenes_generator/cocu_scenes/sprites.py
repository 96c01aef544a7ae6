"""The sprite atlas: one image of every object, rendered once from Noto Color Emoji and committed.

Scenes only need the committed atlas. To render it again, with the font of Debian's `fonts-noto-color-emoji`:

    python -m cocu_scenes.sprites /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf
"""

from __future__ import annotations

import argparse
from functools import cache
from importlib import resources
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cocu_scenes.concepts import objects

SPRITE_SIZE = 80
ATLAS_COLUMNS = 12
ATLAS_FILE = "sprites.webp"
# The only size at which the font's bitmaps are stored.
_FONT_SIZE = 109
_CANVAS_SIZE = 160


def render_sprite(font: ImageFont.FreeTypeFont, emoji: str) -> Image.Image:
    """Render one glyph, cropped and scaled so that its longer side is SPRITE_SIZE; RGBA.

    Raises:
        ValueError: the font has no image for the emoji.
    """
    canvas = Image.new("RGBA", (_CANVAS_SIZE, _CANVAS_SIZE))
    ImageDraw.Draw(canvas).text((8, 8), emoji, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font draws nothing for {emoji!r}; use Noto Color Emoji 2.038 or later")
    glyph = canvas.crop(box)
    scale = SPRITE_SIZE / max(glyph.size)
    return glyph.resize(
        (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))), Image.Resampling.LANCZOS
    )


def render_atlas(font_path: Path) -> Image.Image:
    """Render all sprites in the order of `objects()`, row by row, each in the lower left of a square cell;
    RGBA."""
    font = ImageFont.truetype(font_path, _FONT_SIZE)
    rows = -(-len(objects()) // ATLAS_COLUMNS)
    atlas = Image.new("RGBA", (ATLAS_COLUMNS * SPRITE_SIZE, rows * SPRITE_SIZE))
    for position, thing in enumerate(objects()):
        sprite = render_sprite(font, thing.emoji)
        row, column = divmod(position, ATLAS_COLUMNS)
        atlas.paste(sprite, (column * SPRITE_SIZE, (row + 1) * SPRITE_SIZE - sprite.height))
    return atlas


@cache
def sprites(*, halved: bool = False) -> tuple[Image.Image, ...]:
    """Return the committed sprites in the order of `objects()`, cropped; callers must not change them.

    They have premultiplied alpha (mode RGBa), so that one resampling rotates and scales them without dark
    edges. `halved` returns them at half the size, for small things.
    """
    with resources.files("cocu_scenes").joinpath(ATLAS_FILE).open("rb") as file:
        atlas = Image.open(file).convert("RGBA")
    cut = []
    for position in range(len(objects())):
        row, column = divmod(position, ATLAS_COLUMNS)
        left, top = column * SPRITE_SIZE, row * SPRITE_SIZE
        cell = atlas.crop((left, top, left + SPRITE_SIZE, top + SPRITE_SIZE))
        sprite = cell.crop(
            cell.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
        ).convert("RGBa")
        cut.append(sprite.reduce(2) if halved else sprite)
    return tuple(cut)


def main() -> None:
    """Render the atlas into this folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("font", type=Path, help="NotoColorEmoji.ttf")
    target = Path(__file__).with_name(ATLAS_FILE)
    render_atlas(parser.parse_args().font).save(target, quality=92, alpha_quality=100, method=6)
    print(f"{target}: {len(objects())} sprites, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
