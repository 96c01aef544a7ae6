"""Reports of an evaluation: a table, JSON and a folder, always with the title of the protocol."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cocu_training.evaluation.evaluate import Evaluation
from cocu_training.evaluation.protocols import Protocol

DOCUMENT = "evaluation.json"


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation as JSON values: shares in 0 … 1, None for classes without pixels and
    predictions."""
    protocol, scores = evaluation.protocol, evaluation.scores
    return {
        "protocol": protocol.title,
        "family": protocol.family,
        "mean_iou": _plain(scores.mean_iou),
        "pixel_accuracy": _plain(scores.pixel_accuracy),
        # The JSON document keeps its field names.
        "pictures": evaluation.images,
        "pictures_in_split": evaluation.of,
        "pictures_published": protocol.images or None,
        "split": evaluation.split,
        "folder": evaluation.folder,
        "class_names": evaluation.names.version,
        "settings": {
            "short_side": protocol.short_side,
            "long_side": protocol.long_side,
            "crop": protocol.crop,
            "stride": protocol.stride,
            "threshold": protocol.threshold if evaluation.names.has_background else None,
            "templates": list(protocol.templates),
            "most_classes": protocol.most_classes,
            "precision": evaluation.precision,
        },
        "checkpoint": evaluation.checkpoint,
        "classes": [
            {"name": name, "iou": _plain(iou), "recall": _plain(recall), "pixels": int(pixels)}
            for name, iou, recall, pixels in zip(
                evaluation.names.names, scores.class_iou, scores.class_recall, scores.truths_C, strict=True
            )
        ],
        "curve": [
            {"threshold": threshold, "mean_iou": _plain(value)} for threshold, value in evaluation.curve
        ],
    }


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write evaluation.json and, for each preview, previews/KEY.png; return the JSON file."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for preview in evaluation.previews:
        (folder / "previews").mkdir(exist_ok=True)
        name = "".join("_" if letter in "/\\:" else letter for letter in preview.key)
        preview.image.save(folder / "previews" / f"{name}.png")
    file = folder / DOCUMENT
    text = json.dumps(evaluation_document(evaluation), indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(f"{text}\n", encoding="utf-8")
    return file


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print what was evaluated and how, the classes present, the thresholds tried, and finally the mIoU."""
    console = console or Console()
    title = evaluation.protocol.title
    console.print(f"[bold]{title}[/bold]  {_settings(evaluation.protocol, evaluation)}", highlight=False)
    console.print(
        f"{_counts(evaluation)}; class names {evaluation.names.version}; "
        f"weights {evaluation.checkpoint[:12]}",
        highlight=False,
    )
    classes = Table("class")
    for heading in ("IoU %", "recall %", "pixels"):
        classes.add_column(heading, justify="right")
    scores = evaluation.scores
    for name, iou, recall, pixels in zip(
        evaluation.names.names, scores.class_iou, scores.class_recall, scores.truths_C, strict=True
    ):
        if not math.isnan(iou):
            classes.add_row(name, _percent(iou), _percent(recall), f"{pixels:,}")
    console.print(classes)
    if len(evaluation.curve) > 1:
        curve = Table("threshold", title=f"background, {evaluation.split}", title_justify="left")
        curve.add_column("mIoU %", justify="right")
        for threshold, value in evaluation.curve:
            curve.add_row(f"{threshold:.2f}", _percent(value))
        console.print(curve)
    console.print(
        f"[bold]mIoU {_percent(evaluation.mean_iou)} %[/bold]  ({title}; "
        f"{int((scores.unions_C > 0).sum())} of {len(scores.unions_C)} classes seen; "
        f"pixels right {_percent(scores.pixel_accuracy)} %)",
        highlight=False,
    )


def _settings(protocol: Protocol, evaluation: Evaluation) -> str:
    threshold = f", background below {protocol.threshold}" if evaluation.names.has_background else ""
    first = protocol.templates[0]
    templates = f"“{first}”" if len(protocol.templates) == 1 else f"{len(protocol.templates)} templates"
    return (
        f"sides {protocol.short_side} to {protocol.long_side} pixels, windows of {protocol.crop} every "
        f"{protocol.stride}, {templates}{threshold}, {evaluation.precision}"
    )


def _counts(evaluation: Evaluation) -> str:
    part = f" of {evaluation.of:,}" if evaluation.images != evaluation.of else ""
    published = evaluation.protocol.images
    differs = published and evaluation.split == "val" and evaluation.images != published
    return (
        f"{evaluation.images:,}{part} images of {evaluation.split} in {evaluation.folder}"
        f"{f' (the published set has {published:,})' if differs else ''}"
    )


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def _plain(share: float) -> float | None:
    return None if math.isnan(share) else float(share)
