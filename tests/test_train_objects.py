"""train.py for objects: their boxes and masks reach the network, are learned, and are measured."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.mask import encode as encode_mask
from test_train_tasks import QUICK, check_archive, labels_of, make, run

from conftest import Project

ROTATED, UPRIGHT = 6, 1  # EXIF orientations
IDS = {"Quadrat": 7, "円": 90}  # as COCO's, which have gaps
BRIGHTER = {"Quadrat": 170, "円": 90}
DETECTOR = {"task": "object_detection", "num_classes": 3}
SEGMENTER = {"task": "instance_segmentation", "num_classes": 3}
TASKS = [pytest.param(x, id=str(x["task"])) for x in (DETECTOR, SEGMENTER)]

# Learns squares and discs of some 20 pixels in seconds.
SMALL_NETWORK = """
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign


class Backbone(nn.Sequential):
    out_channels = 32

    def __init__(self) -> None:
        layers = []
        for before, after, stride in ((1, 16, 2), (16, 32, 2), (32, 32, 2), (32, 32, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.ReLU()]
        super().__init__(*layers)


def build_model(num_classes: int) -> nn.Module:
    return KIND(
        Backbone(),
        num_classes,
        min_size=96,
        max_size=192,
        image_mean=[0.5],
        image_std=[0.5],
        rpn_anchor_generator=AnchorGenerator(((24, 32, 48),), ((1.0,),)),
        rpn_post_nms_top_n_train=64,
        rpn_post_nms_top_n_test=32,
        box_batch_size_per_image=32,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        MORE
    )
"""
MASKS = 'mask_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),'


def small(folder: Path, **answers: object) -> Project:
    """Render a project whose own network is small."""
    project = make(folder, score_threshold=0.5, **answers)
    has_masks = answers["task"] == "instance_segmentation"
    text = SMALL_NETWORK.replace("KIND", "MaskRCNN" if has_masks else "FasterRCNN")
    (project.path / "service/model.py").write_text(text.replace("MORE", MASKS * has_masks))
    return project


def write_objects(folder: Path, count: int, seed: int) -> Path:
    """Write dark images with squares and less bright discs, and COCO's JSON of them.

    They are wide or high, every third one is stored lying on its side, and the last has nothing.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    categories = [{"id": number, "name": name} for name, number in IDS.items()]
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    for number in range(count):
        height, width = [(64, 96), (80, 72)][number % 2]
        pixels = random.normal(40, 12, (height, width)).clip(0, 99)
        taken = np.zeros((height, width), bool)
        rows, columns = np.mgrid[:height, :width]
        for name in ("Quadrat", "円", "円", "Quadrat") if number < count - 1 else ():
            radius = int(random.integers(9, 15))
            top = int(random.integers(radius, height - radius))
            left = int(random.integers(radius, width - radius))
            down, across = np.abs(rows - top), np.abs(columns - left)
            far = np.maximum(down, across) if name == "Quadrat" else np.hypot(down, across)
            mask = far <= radius
            if (taken & (np.maximum(down, across) <= radius + 1)).any():
                continue
            taken |= np.maximum(down, across) <= radius
            pixels[mask] += 60 + BRIGHTER[name]
            side = 2 * radius + 1
            runs = encode_mask(np.asfortranarray(mask.astype(np.uint8)))
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": IDS[name],
                    "bbox": [left - radius, top - radius, side, side],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {
                        "size": [height, width],
                        "counts": runs["counts"].decode(),
                    },
                }
            )
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        orientation = ROTATED if number % 3 == 0 else UPRIGHT
        if orientation == ROTATED:
            image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[274] = orientation
        image.save(folder / "images" / f"{number}.png", exif=exif)
        row = {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
        content["images"].append(row)
    file = folder / "objects.json"
    file.write_text(json.dumps(content))
    return file


def as_yolo(data: Path, folder: Path) -> Path:
    """Return the same data as YOLO has them."""
    content = json.loads(data.read_text())
    shutil.copytree(data.parent / "images", folder / "images")
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("\n".join(IDS), "utf-8")
    for image in content["images"]:
        width, height = image["width"], image["height"]
        lines = []
        for found in content["annotations"]:
            if found["image_id"] == image["id"]:
                x, y, w, h = found["bbox"]
                index = list(IDS.values()).index(found["category_id"])
                shares = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append(" ".join(map(str, (index, *shares))))
        if lines:
            (folder / "labels" / f"{image['id']}.txt").write_text("\n".join(lines))
    return folder


# Prints for each example and epoch whether it is mirrored, and where bright pixels and targets are.
CHECK = """
import sys
from pathlib import Path
import torch
from tools.dataset import read_dataset
from training.data import Items
from training.labels import choose_names

path = Path(sys.argv[1])
names = choose_names(path, keep=False)
examples = read_dataset(path, names)
plain = Items(examples)
items = Items(examples, augmented=True, flip=True)
seen = set()
for index in range(len(examples)):
    for epoch in range(6):
        sample, whole = items[epoch, index], plain[epoch, index]
        same = torch.equal(sample.item, whole.item)
        assert same or torch.equal(sample.item, whole.item.flip(2))
        seen.add(same)
        targets, bright = sample.target, sample.item[0] > 99
        assert targets["labels"].dtype == torch.int64 and targets["boxes"].dtype == torch.float32
        left = bright.clone()
        for number, (box, label) in enumerate(zip(targets["boxes"], targets["labels"].tolist())):
            x1, y1, x2, y2 = map(round, box.tolist())
            part = bright[y1:y2, x1:x2]
            rows, columns = part.nonzero(as_tuple=True)
            assert (rows.min(), rows.max() + 1) == (0, y2 - y1), (rows, box)
            assert (columns.min(), columns.max() + 1) == (0, x2 - x1)
            assert names[label] == ("Quadrat" if part.all() else "円")
            left[y1:y2, x1:x2] = False
            if "masks" in targets:
                mask = targets["masks"][number]
                assert mask.dtype == torch.uint8 and mask.shape == bright.shape
                inside = torch.zeros_like(bright)
                inside[y1:y2, x1:x2] = part
                assert torch.equal(mask.bool(), inside)
        assert not left.any()
assert seen == {True, False}
print(len(examples), names)
"""


@pytest.mark.parametrize("answers", TASKS)
def test_targets_are_where_the_objects_are(tmp_path: Path, answers: dict[str, object]) -> None:
    project = make(tmp_path / "project", **answers)
    data = write_objects(tmp_path / "data", 7, 0)
    expected = "7 ['background', 'Quadrat', '円']"
    assert run(project, "-c", CHECK, str(data)).strip() == expected
    if answers is DETECTOR:
        folder = as_yolo(data, tmp_path / "yolo")
        assert run(project, "-c", CHECK, str(folder)).strip() == expected


def losses(project: Project, name: str = "runs/1") -> list[float]:
    """Return the loss of each epoch."""
    with (project.path / name / "metrics.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("answers", "epochs"), [(DETECTOR, 10), (SEGMENTER, 8)])
def test_objects_are_learned(tmp_path: Path, answers: dict[str, object], epochs: int) -> None:
    project = small(tmp_path / "project", **answers)
    data = write_objects(tmp_path / "data", 64, 0)
    validation = write_objects(tmp_path / "validation", 16, 1)
    said = run(
        project,
        *("train.py", str(data), "--validation", str(validation), "--epochs", str(epochs)),
        *("--flip", *QUICK),
    )
    assert "64 images to train on, 16 to validate with" in said
    assert "3 classes: background, Quadrat, 円" in said
    assert labels_of(project) == ["background", "Quadrat", "円"]
    found = check_archive(project, validation)
    report = json.loads((project.path / "evaluation/metrics.json").read_text())
    each = {x["label"]: x["map"] for x in report["classes"]}
    print(losses(project), found, each)
    assert set(each) == set(IDS)
    assert min(each.values()) > 0.3
    assert found["map_50"] > 0.7
    if answers is SEGMENTER:
        assert found["mask_map_50"] > 0.7
