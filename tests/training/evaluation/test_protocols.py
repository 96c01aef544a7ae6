"""The table of protocols, and the names of classes that belong to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from cocu_training.evaluation import LAYOUTS, PROTOCOLS, EvaluationError, find_protocol, read_class_names
from cocu_training.evaluation.class_names import class_name_sets

# Name, classes that are named, images, S, crop, stride, threshold.
COCU = [
    ("voc", 20, 1449, 448, 448, 224, 0.95),
    ("context", 59, 5105, 448, 448, 224, 0.35),
    ("coco_object", 80, 5000, 448, 448, 224, 0.95),
    ("imagenet_s_50", 50, 752, 448, 448, 224, 0.95),
    ("imagenet_s_300", 300, 4097, 448, 448, 224, 0.75),
    ("cityscapes", 19, 500, 1024, 448, 224, None),
    ("ade20k", 150, 2000, 512, 224, 112, None),
    ("coco_stuff", 171, 5000, 512, 224, 112, None),
]


@pytest.mark.parametrize("row", COCU, ids=[row[0] for row in COCU])
def test_cocus_protocols_are_as_published(row: tuple[str, int, int, int, int, int, float | None]) -> None:
    name, named, images, short_side, crop, stride, threshold = row
    protocol = find_protocol(name)
    assert (protocol.short_side, protocol.long_side) == (short_side, 2048)
    assert (protocol.crop, protocol.stride, protocol.threshold) == (crop, stride, threshold)
    assert (protocol.family, protocol.images) == ("cocu", images)
    assert protocol.templates == ("a photo of a {}.",)
    assert protocol.most_pixels == (1000**2 if name.startswith("imagenet_s") else 0)
    names = protocol.names()
    assert len(names.prompted) == named
    assert names.has_background == (threshold is not None)


def test_the_second_protocol_has_one_size_and_two_variants_without_background() -> None:
    family = [protocol for protocol in PROTOCOLS.values() if protocol.family == "tcl"]
    assert [protocol.name.removeprefix("tcl-") for protocol in family] == [
        "voc", "voc20", "context", "context59", "coco_object", "coco_stuff", "cityscapes", "ade20k"
    ]  # fmt: skip
    assert {(member.short_side, member.crop, member.stride) for member in family} == {(448, 448, 224)}
    assert {member.name: member.threshold for member in family if member.threshold is not None} == {
        "tcl-voc": 0.5,
        "tcl-context": 0.5,
        "tcl-coco_object": 0.5,
    }
    assert len(find_protocol("tcl-voc20").names().names) == 20
    assert len(find_protocol("tcl-context59").names().names) == 59


def test_families_share_no_name_and_every_layout_can_be_read() -> None:
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
    assert {protocol.layout for protocol in PROTOCOLS.values()} <= set(LAYOUTS)


def test_what_differs_from_the_published_protocol_is_in_the_title() -> None:
    protocol = find_protocol("voc")
    assert protocol.title == "voc"
    assert protocol.with_threshold(0.7).title == "voc (threshold 0.7 instead of 0.95)"
    changed = replace(protocol, crop=224, stride=112)
    assert changed.title == "voc (crop 224 instead of 448; stride 112 instead of 224)"
    assert replace(protocol, name="mine").title == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 500}, "leaves gaps"),
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"templates": ()}, "at least one"),
        ({"templates": ("a photo",)}, "{} for the name"),
    ],
)
def test_protocols_that_cannot_work_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        replace(find_protocol("voc"), **changes)


def test_others_are_refused_by_name() -> None:
    with pytest.raises(EvaluationError, match="no protocol 'kitti'; there are voc, context"):
        find_protocol("kitti")
    with pytest.raises(EvaluationError, match="no class names 'kitti'; there are ade20k"):
        read_class_names("kitti")
    with pytest.raises(EvaluationError, match="takes names from the dataset, which has none"):
        find_protocol("scenes").names()


@pytest.mark.parametrize("name", class_name_sets())
def test_every_set_has_a_version_and_no_name_twice(name: str) -> None:
    names = read_class_names(name)
    assert names.version == f"{name}-1"
    assert len(set(names.names)) == len(names.names)
    if name not in {"cityscapes", "ade20k", "coco_stuff"}:
        assert names.names[0] == "background"


def test_names_that_are_worth_points_are_those_of_the_published_evaluations() -> None:
    voc, context = read_class_names("voc").names, read_class_names("context").names
    assert (voc[1], voc[11], voc[14], voc[16], voc[18], voc[20]) == (
        "aeroplane", "table", "motorbike", "plant", "sofa", "monitor"
    )  # fmt: skip
    assert (context[1], context[34], context[40], context[55]) == (
        "airplane",
        "motorbike",
        "plant",
        "monitor",
    )
    assert {"bedclothes", "sofa"} <= set(context)
    assert "bed " in read_class_names("ade20k").names
    assert {"sky-other", "wall-concrete", "door-stuff"} <= set(read_class_names("coco_stuff").names)
    assert {"ashcan", "beach wagon"} <= set(read_class_names("imagenet_s_50").names)
    assert set(read_class_names("imagenet_s_50").names) < set(read_class_names("imagenet_s_300").names)
