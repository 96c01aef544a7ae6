"""Every layout, as it is published, gives the labels that its benchmark counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.training.evaluation.layout_writers import (
    COCO_VALUES,
    LAYOUT_WRITERS,
    SIZES,
    save_image,
    save_levels,
    write_cityscapes,
    write_coco,
    write_folder,
    write_pascal,
)

import cocu_scenes
from cocu_training.evaluation import DatasetError, open_dataset, read_class_names


@pytest.mark.parametrize("layout", LAYOUT_WRITERS)
def test_labels_are_read_as_the_layout_means_them(layout: str, tmp_path: Path) -> None:
    expected = LAYOUT_WRITERS[layout](tmp_path)
    dataset = open_dataset(layout, tmp_path)
    assert len(dataset) == 3
    read = {image.key: image for image in dataset}
    assert set(read) == set(SIZES)
    for key, image in read.items():
        np.testing.assert_array_equal(image.labels_HW, expected[key], err_msg=key)
        assert image.labels_HW.dtype == np.int64
        assert image.image_HW3.shape == (*SIZES[key], 3)
        assert image.image_HW3.dtype == np.uint8


@pytest.mark.parametrize("layout", [name for name in LAYOUT_WRITERS if name not in {"folder", "imagenet_s"}])
def test_labels_are_classes_of_the_set(layout: str, tmp_path: Path) -> None:
    LAYOUT_WRITERS[layout](tmp_path)
    highest = max(image.labels_HW.max() for image in open_dataset(layout, tmp_path))
    assert highest == len(read_class_names(layout).names) - 1, "the writers use the last class"


@pytest.mark.parametrize("form", ["_instanceTrainIds", "_labelTrainIds", ""])
def test_coco_labels_are_read_in_every_form_they_have(form: str, tmp_path: Path) -> None:
    objects, stuff = write_coco(tmp_path, form=form)
    for image in open_dataset("coco_object", tmp_path):
        np.testing.assert_array_equal(image.labels_HW, objects[image.key])
    if form == "_instanceTrainIds":
        return
    for image in open_dataset("coco_stuff", tmp_path):
        np.testing.assert_array_equal(image.labels_HW, stuff[image.key])


def test_coco_names_are_those_of_the_values(tmp_path: Path) -> None:
    names = read_class_names("coco_stuff").names
    assert [names[value] for value in (0, 79, 80, 170)] == ["person", "toothbrush", "banner", "wood"]
    assert names[COCO_VALUES["second"][1]] == "backpack"
    assert read_class_names("coco_object").names[1:] == names[:80]


def test_a_folder_is_found_inside_what_was_unpacked(tmp_path: Path) -> None:
    write_pascal(tmp_path / "VOCdevkit" / "VOC2012", context=False)
    assert len(open_dataset("voc", tmp_path)) == 3


def test_the_training_split_is_another(tmp_path: Path) -> None:
    write_pascal(tmp_path, context=False)
    dataset = open_dataset("voc", tmp_path, split="train")
    assert [entry.key for entry in dataset.entries] == ["third"]
    with pytest.raises(ValueError, match="no split 'test'"):
        open_dataset("voc", tmp_path, split="test")


def test_own_folders_bring_their_names(tmp_path: Path) -> None:
    write_folder(tmp_path, names=["background", "dog", "cat", "red car"])
    names = open_dataset("folder", tmp_path).names
    assert names is not None
    assert (names.version, names.prompted) == ("mine-3", ("dog", "cat", "red car"))


def test_generated_scenes_are_read_from_their_shards(tmp_path: Path) -> None:
    cocu_scenes.write_scenes(tmp_path, seed=5, count=5, shards=2)
    dataset = open_dataset("scenes", tmp_path)
    assert dataset.names is not None
    assert dataset.names.names == cocu_scenes.class_names()
    expected = {scene.key: scene for scene in cocu_scenes.generate(5, 0, 5)}
    assert {image.key for image in dataset} == set(expected)
    for image in dataset:
        np.testing.assert_array_equal(image.labels_HW, expected[image.key].mask)
        difference_HW3 = image.image_HW3.astype(int) - np.asarray(expected[image.key].image).astype(int)
        assert np.abs(difference_HW3).mean() < 8, "JPEG of the image with this mask"


def test_scenes_may_be_exported_to_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, names=["sky", "dog", "cat", "red car"])
    assert len(open_dataset("scenes", tmp_path)) == 3


def test_a_subset_is_spread_over_all(tmp_path: Path) -> None:
    write_pascal(tmp_path, context=False)
    dataset = open_dataset("voc", tmp_path)
    assert [entry.key for entry in dataset.subset(2).entries] == ["first", "third"]
    assert len(dataset.subset(99)) == 3
    with pytest.raises(ValueError, match="at least one"):
        dataset.subset(0)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        open_dataset("voc", tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"no ImageSets.Segmentation.val.txt in"):
        open_dataset("voc", tmp_path)
    with pytest.raises(DatasetError, match=r"labels\.json cannot be read: No such file"):
        open_dataset("scenes", tmp_path)
    with pytest.raises(ValueError, match="no layout 'kitti'"):
        open_dataset("kitti", tmp_path)
    write_pascal(tmp_path, context=False)
    (tmp_path / "JPEGImages" / "second.jpg").unlink()
    with pytest.raises(DatasetError, match=r"second\.jpg cannot be read: No such file"):
        open_dataset("voc", tmp_path)[1]


def test_cityscapes_without_train_ids_says_how_they_are_made(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    for file in (tmp_path / "gtFine").rglob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match="csCreateTrainIdLabelImgs"):
        open_dataset("cityscapes", tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations" / "validation").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no images of split 'val' in the layout ade20k"):
        open_dataset("ade20k", tmp_path)


def test_damaged_and_coloured_labels_are_named(tmp_path: Path) -> None:
    write_pascal(tmp_path, context=False)
    dataset = open_dataset("voc", tmp_path)
    mask = tmp_path / "SegmentationClass" / "first.png"
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"first\.png is not an image"):
        dataset[0]
    save_image(mask, (48, 64), 0)
    with pytest.raises(DatasetError, match=r"first\.png has RGB pixels, but labels are one value per pixel"):
        dataset[0]


def test_grey_labels_of_imagenet_s_are_refused(tmp_path: Path) -> None:
    LAYOUT_WRITERS["imagenet_s"](tmp_path)
    save_levels(tmp_path / "validation-segmentation" / "n00" / "first.png", np.zeros((48, 64), np.int64))
    with pytest.raises(DatasetError, match="red \\+ 256 × green"):
        open_dataset("imagenet_s", tmp_path)[0]


@pytest.mark.parametrize("document", ["{}", "[]", '{"names": []}', '{"names": [1]}', "{", '{"names": "dog"}'])
def test_class_files_that_say_nothing_are_refused(document: str, tmp_path: Path) -> None:
    write_folder(tmp_path, names=["dog"])
    (tmp_path / "classes.json").write_text(document)
    with pytest.raises(DatasetError, match=r"classes\.json"):
        open_dataset("folder", tmp_path)


def test_names_that_are_only_background_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, names=["background"])
    with pytest.raises(ValueError, match="name nothing to look for"):
        open_dataset("folder", tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps({"names": ["dog", "background"]}))
    with pytest.raises(ValueError, match="background can only be the first"):
        open_dataset("folder", tmp_path)


def test_masks_without_images_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, names=["dog", "cat", "car", "sky"])
    (tmp_path / "pictures" / "third.png").unlink()
    with pytest.raises(DatasetError, match=r"third\.png has no image"):
        open_dataset("folder", tmp_path)
