"""docs/pictures/archive.png: an image, its caption, and its archive, as the shipped scenes give it.

python -m benchmarks.archive_picture [KEY]

Curates the shipped scenes with the shipped encoder and draws the archive of one of them: what its caption
named before, and what the archive names after, each concept with its score and where it came from.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.labelled import REPOSITORY, SCENES, SCENES_ENCODER
from cocu.cli.local import local_server
from cocu.client import CocuClient
from cocu.schemas import Archive, ArchiveConcept

TARGET = REPOSITORY / "docs" / "pictures" / "archive.png"
KEY = "0000-0000280"
ROWS = 8
SIZE = (1500, 760)
SIDE = 560
INK, QUIET, PAPER, BORDER = "#1f2328", "#656d76", "#ffffff", "#d0d7de"
NAMED, ADDED, WRONG = "#8c959f", "#1a7f37", "#bc4c00"
"""Of a concept that the caption names, one that the archive adds, and one that is not in the image."""


def draw_archive(key: str) -> None:
    """Curate the scenes and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        server = local_server(encoder=SCENES_ENCODER, data=Path(folder), host="127.0.0.1", port=0)
        with server as running, CocuClient(running.url) as client:
            dataset = client.datasets.create("scenes")
            for shard in sorted(SCENES.glob("*.tar")):
                client.datasets.upload(dataset.id, shard)
            client.datasets.wait(dataset.id)
            curation = client.curations.create(dataset.id)
            client.curations.wait(curation.id)
            archive = client.archives.get(curation.id, key)
            image = Image.open(io.BytesIO(client.datasets.image(dataset.id, key))).convert("RGB")
    labels = json.loads((SCENES / "labels.json").read_text(encoding="utf-8"))["samples"]
    TARGET.parent.mkdir(exist_ok=True)
    picture(image, archive, set(labels[key])).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(REPOSITORY)}: {archive.caption!r}, {len(archive.concepts)} concepts")


def picture(image: Image.Image, archive: Archive, truth: set[str]) -> Image.Image:
    """A card on paper of its own, so that it is read on light and on dark pages."""
    card = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((0, 0, SIZE[0] - 1, SIZE[1] - 1), radius=0, outline=BORDER, width=2)
    left, top = 50, 50
    card.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
    _text(draw, (left, top + SIDE + 30), f"“{archive.caption}”", 34)
    _text(draw, (left, top + SIDE + 82), "the caption", 24, QUIET)
    column, line = left + SIDE + 60, 62
    own = [concept for concept in archive.concepts if not concept.added]
    _text(draw, (column, top - 6), "before: concepts that the caption names", 24, QUIET)
    _text(draw, (column, top + 32), ", ".join(concept.concept for concept in own) or "none", 34, INK)
    _text(draw, (column, top + 100), "after: the archive, best first", 24, QUIET)
    best = archive.concepts[:ROWS]
    lowest = min(concept.score for concept in best)
    span = max(concept.score for concept in best) - lowest or 1.0
    for number, concept in enumerate(best):
        y = top + 142 + number * line
        colour = NAMED if not concept.added else ADDED if concept.concept in truth else WRONG
        width = 20 + 230 * (concept.score - lowest) / span
        draw.rectangle((column + 250, y + 8, column + 250 + width, y + 34), fill=colour)
        _text(draw, (column, y), concept.concept, 32, INK)
        _text(draw, (column + 510, y + 2), f"{concept.score:+.1f}", 26, INK)
        _text(draw, (column + 600, y + 2), _origin(concept), 24, QUIET)
    legend = (
        (NAMED, "named by the caption"),
        (ADDED, "added, and in the image"),
        (WRONG, "added, but wrong"),
    )
    x = column
    for colour, text in legend:
        draw.rectangle((x, SIZE[1] - 46, x + 18, SIZE[1] - 28), fill=colour)
        _text(draw, (x + 28, SIZE[1] - 52), text, 22, QUIET)
        x += 60 + int(draw.textlength(text, ImageFont.load_default(22)))
    return card


def _origin(concept: ArchiveConcept) -> str:
    if not concept.added:
        return "the caption"
    count = sum(origin.kind == "neighbour" for origin in concept.origins)
    return f"{count} neighbour{'s' if count != 1 else ''}"


def _text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, colour: str = INK
) -> None:
    draw.text(place, text, fill=colour, font=ImageFont.load_default(size))


if __name__ == "__main__":
    draw_archive(sys.argv[1] if len(sys.argv) > 1 else KEY)
