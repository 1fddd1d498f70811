"""train.py for objects: their boxes and masks reach the network, are learned, and are measured."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.mask import decode
from pycocotools.mask import encode as encode_mask
from test_detection import NETWORK, RETURNED
from test_train_tasks import QUICK, check_archive, labels_of, make, refused, run, said_of

from conftest import Project, slow
from generator import catalogue

ROTATED, UPRIGHT = 6, 1  # EXIF orientations
IDS = {"Quadrat": 7, "円": 90}  # as COCO's, which have gaps
BRIGHTER = {"Quadrat": 170, "円": 110}
DETECTOR: dict[str, object] = {"task": "object_detection", "num_classes": 3}
SEGMENTER: dict[str, object] = {"task": "instance_segmentation", "num_classes": 3}
TASKS = [pytest.param(x, id=str(x["task"])) for x in (DETECTOR, SEGMENTER)]

# Learns squares and discs of some 20 pixels in seconds.
SMALL_NETWORK = """
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

torch.set_num_threads(1)  # tensors are small: more would wait for one another


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
        min_size=96,
        max_size=192,
        image_mean=[0.5],
        image_std=[0.5],
        rpn_anchor_generator=AnchorGenerator(((24, 32, 48),), ((1.0,),)),
        rpn_post_nms_top_n_train=64,
        rpn_post_nms_top_n_test=32,
        box_batch_size_per_image=32,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(32 * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, num_classes),
        MORE
    )
"""
MASKS = """mask_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        mask_head=MaskRCNNHeads(32, (32, 32), 1),
        mask_predictor=MaskRCNNPredictor(32, 32, num_classes),"""


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
        for name in ("円", "Quadrat", "円", "Quadrat") if number < count - 1 else ():
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
        content["images"].append(write_image(image, folder, number))
    file = folder / "objects.json"
    file.write_text(json.dumps(content))
    return file


def write_image(image: Image.Image, folder: Path, number: int) -> dict[str, Any]:
    """Save an image, every third lying on its side as cameras have it; return COCO's entry."""
    width, height = image.size
    orientation = ROTATED if number % 3 == 0 else UPRIGHT
    if orientation == ROTATED:
        image = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = orientation
    image.save(folder / "images" / f"{number}.png", exif=exif)
    return {"id": number, "file_name": f"{number}.png", "width": width, "height": height}


def as_yolo(data: Path, folder: Path, *, polygons: bool = False) -> Path:
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
                shares = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
                if polygons:
                    corners = outline(found["segmentation"])
                    shares = [float(v) for v in (corners / (width, height)).flatten()]
                lines.append(" ".join(map(str, (index, *shares))))
        if lines:
            (folder / "labels" / f"{image['id']}.txt").write_text("\n".join(lines))
    return folder


def outline(mask: dict[str, Any]) -> np.ndarray:
    """Return the corners of a polygon around a mask, down its left and up its right side."""
    rows = [(y, *np.flatnonzero(row)[[0, -1]]) for y, row in enumerate(decode(mask)) if row.any()]
    down = [corner for y, left, _ in rows for corner in ((left, y), (left, y + 1))]
    up = [
        corner for y, _, right in reversed(rows) for corner in ((right + 1, y + 1), (right + 1, y))
    ]
    return np.array(down + up, dtype=float)


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
    for polygons in (False, True):
        folder = as_yolo(data, tmp_path / f"yolo-{polygons}", polygons=polygons)
        if polygons or answers is DETECTOR:
            assert run(project, "-c", CHECK, str(folder)).strip() == expected


def losses(project: Project, name: str = "runs/1") -> list[float]:
    """Return the loss of each epoch."""
    with (project.path / name / "metrics.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("answers", "epochs"), [slow(DETECTOR, 5), (SEGMENTER, 4)])
def test_objects_are_learned(tmp_path: Path, answers: dict[str, object], epochs: int) -> None:
    project = small(tmp_path / "project", **answers)
    data = write_objects(tmp_path / "data", 48, 0)
    validation = write_objects(tmp_path / "validation", 16, 1)
    said = run(
        project,
        *("train.py", str(data), "--validation", str(validation), "--epochs", str(epochs)),
        *("--batch-size", "1", "--lr", "0.002", "--flip", *QUICK),
    )
    assert "48 images to train on, 16 to validate with" in said
    assert "3 classes: background, Quadrat, 円" in said
    assert labels_of(project) == ["background", "Quadrat", "円"]
    found = check_archive(project, validation)
    report = json.loads((project.path / "evaluation/metrics.json").read_text())
    each = {x["label"]: x["map"] for x in report["classes"]}
    assert set(each) == set(IDS)  # a network that finds one class alone is none
    assert min(each.values()) > 0.6
    assert found["map_50"] > 0.85
    if answers is SEGMENTER:
        assert found["mask_map_50"] > 0.85


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "no width": ({"bbox": [10, 10, 0, 5]}, "has no width or height"),
    "two corners": (
        {"bbox": [50, 30, 80, 60]},
        "is not in the image, which is 96 wide and 64 high",
    ),
    "no image": ({"image_id": 99}, "annotation 1: image_id is 99, and no entry has this id"),
    "texts": ({"bbox": ["1", "1", "9", "9"]}, "expected the numbers x, y, width, height"),
    "shares": ({"bbox": [0.1, 0.1, 0.2, 0.2]}, "has shares of the image; expected pixels"),
    "shares in polygons": (
        {"segmentation": [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]},
        "the polygons have shares of the image",
    ),
    "corners": (
        {"bbox": [10, 10, 30, 30], "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
        "bbox has x1, y1, x2, y2; expected x, y, width, height",
    ),
    "boxes of images of half the size": (
        {"bbox": [20, 10, 8, 8], "segmentation": [[40, 20, 56, 20, 56, 36, 40, 36]]},
        "the polygons lie from 40, 20 to 56, 36, for the most part not in the box [20, 10, 8, 8]",
    ),
    "turned, as CVAT has it": (
        {"attributes": {"occluded": False, "rotation": 45.0}},
        "the box is rotated, by the attribute rotation",
    ),
    "texts in polygons": ({"segmentation": [["1"] * 6]}, "no list of polygons with three corners"),
    "too few runs": (
        {"segmentation": {"size": [64, 96], "counts": [1, 2]}},
        "the run lengths add up to 3 pixels, not to (64, 96)",
    ),
    "damaged runs": (
        {"segmentation": {"size": [64, 96], "counts": "xx"}},
        "pixels, not to (64, 96)",
    ),
    "line": ({"segmentation": [[1, 1, 9, 9]]}, "no list of polygons with three corners"),
    "other size": (
        {"segmentation": {"size": [96, 64], "counts": "1"}},
        "of height and width [96, 64], the image of (64, 96)",
    ),
    "class 0": ({"category_id": 1}, "is class 0, which is the background"),
}
REPEATED: list[tuple[str, dict[str, Any]]] = [
    ("images", {"file_name": "other.png"}),
    ("images", {"id": 99}),
    ("categories", {"name": "other"}),
]


def test_wrong_data_are_named(tmp_path: Path) -> None:
    project = small(tmp_path / "project", **SEGMENTER)
    data = write_objects(tmp_path / "data", 4, 0)
    content = json.loads(data.read_text())
    content["categories"].append({"id": 1, "name": "background"})
    first = content["annotations"][0]
    contents = [
        content | {"annotations": [first | change, *content["annotations"][1:]]}
        for change, _ in CHANGES.values()
    ]
    for part, repeated in REPEATED:
        entry = content[part][0] | repeated
        contents.append(content | {part: [*content[part], entry]})
    files = [data.with_name(f"{index}.json") for index in range(len(contents))]
    for file, changed in zip(files, contents, strict=True):
        file.write_text(json.dumps(changed))
    folder = as_yolo(write_objects(tmp_path / "whole", 2, 0), tmp_path / "yolo", polygons=True)
    (folder / "labels/0.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.6\n\n1 0.5 0.5 0.1 0.1")
    said = said_of(project, *files, folder)
    messages = [message for _, message in CHANGES.values()]
    messages += ["is there more than once"] * len(REPEATED)
    messages.append("a polygon with three corners or more")
    for line, message in zip(said, messages, strict=True):
        assert message in line
    assert "0.txt, line 3: '1 0.5 0.5 0.1 0.1'; expected" in said[-1]
    assert "Traceback" not in refused(project, "train.py", str(folder), *QUICK)
    assert not (project.path / "runs").exists()


# What is written into a folder as YOLO has it, and what is said of it.
FILES: list[tuple[str, str | bytes, str]] = [
    ("labels/0.txt", "0 0.5 0.5 0 0.1", "line 1: the box from 48, 28.8 to 48, 35.2 has no width"),
    ("labels/0.txt", "0 0.9 0.5 0.5 0.1", "0.txt, line 1: the box from 62.4, 28.8 to 110.4"),
    ("labels/0.txt", "0 48 32 20 20", "as shares of the image, 0 to 1"),
    ("labels/0.txt", "2 0.5 0.5 0.1 0.1", "the number of a class, from 0 to 1"),
    ("labels/0.txt", "1 0.5 0.5 0.1 0.1 0.2 0.2 0.3", "centre x, y, width and height as shares"),
    ("labels/0.txt", "0 0.5 0.5 0.1 0.1".encode("utf-16"), "0.txt is not in UTF-8"),
    ("labels/0.txt", b"\xef\xbb\xbf0 0.5 0.5 0.1 0.1", "read"),
    ("labels/classes.txt", "0 Quadrat", "read"),
    # An image without its objects.
    ("labels/9.txt", "0 0.5 0.5 0.1 0.1", "9.txt has objects, and "),
    ("labels/0.png.txt", "0 0.5 0.5 0.1 0.1", "0.png.txt has objects, and "),
    ("images/more/1.png", b"", "images/more"),
    # Several files that name the classes.
    ("data.yaml", "names: [円, Quadrat]", "has the classes Quadrat, 円, "),
    ("data.yaml", "names: [Quadrat, 円]", "read"),
    ("notes.json", '{"categories": [{"id": 0, "name": "a"}]}', "notes.json a; take out"),
    # One that does not.
    ("classes.txt", "", "nor a data.yaml with names"),
    ("data.yaml", "names: {1: Quadrat}", "data.yaml does not name the classes"),
    ("data.yaml", "nc: 3\nnames: [Quadrat, 円]", "data.yaml has nc: 3, and 2 names"),
    ("data.yaml", "names: [no, no]", "calls the classes 0 and 1 'no' alike"),
    ("data.yaml", "kpt_shape: [5, 3]\nnames: [Quadrat, 円]", "its lines hold keypoints; expected"),
    ("labels", "0 0.5 0.5 0.2 0.2 0.45 0.5 2 0 0 0", "line 1, is a box with keypoints, or"),
    ("labels", "0 0.9 0.9 0.95 0.9 0.95 0.95", "read"),  # no box in the image: polygons
]


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    project = small(tmp_path / "project", **DETECTOR)
    folder = as_yolo(write_objects(tmp_path / "data", 4, 0), tmp_path / "yolo")
    copies = [shutil.copytree(folder, tmp_path / str(index)) for index in range(len(FILES))]
    for copy, (name, content, message) in zip(copies, FILES, strict=True):
        if "nor a" in message or message.startswith(("data.yaml ", "calls ", "its ")):
            (copy / "classes.txt").unlink()
        if name == "labels":  # all of them
            for file in (copy / name).glob("*"):
                file.write_text(str(content))
        elif content or "more" in name:
            (copy / name).parent.mkdir(exist_ok=True)
            (copy / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    said = said_of(project, *copies)
    for line, (_, _, message) in zip(said, FILES, strict=True):
        assert message in line
    for file in folder.glob("labels/*"):
        file.unlink()
    data = ("train.py", str(folder), "--epochs", "1", *QUICK)
    assert "no image to validate with has an object" in refused(project, *data)
    (folder / "classes.txt").write_text("Quadrat")
    assert "has 2 classes (background, Quadrat), the network 3" in refused(project, *data)

    # As Ultralytics has them: one data.yaml above images/train and labels/train.
    (folder / "classes.txt").unlink()
    (folder / "data.yaml").write_text("nc: 2\nnames: {'0': Quadrat, 1: no}")
    for name in ("images", "labels"):
        (folder / name).rename(folder / "train")
        (folder / name).mkdir()
        (folder / "train").rename(folder / name / "train")
    part = folder / "images" / "train"
    alone, above = said_of(project, folder / "data.yaml", folder)
    assert "name the folder of images and labels" in alone
    assert f"name one of its folders: {part}" in above
    data = ("train.py", str(part), "--epochs", "1", *QUICK)
    for image in folder.glob("images/train/*"):
        (folder / "labels" / "train" / f"{image.stem}.txt").write_text("1 0.5 0.5 0.2 0.2")
    assert "classes: background, Quadrat, no" in run(project, *data)


def test_a_network_that_takes_no_targets_is_refused(tmp_path: Path) -> None:
    project = small(tmp_path / "project", **DETECTOR)
    text = NETWORK.replace("RETURNED", RETURNED)
    (project.path / "service/model.py").write_text(text)
    data = write_objects(tmp_path / "data", 4, 0)
    said = refused(project, "train.py", str(data), *QUICK)
    assert "must take a list of images and a list of targets" in said


def statistics(path: Path) -> dict[str, torch.Tensor]:
    """Return what batch norm in a checkpoint normalises by."""
    state = torch.load(path, weights_only=True)
    return {x.removeprefix("network."): y for x, y in state.items() if "running_" in x}


@pytest.mark.slow
def test_a_detector_of_torchvision_begins_with_other_classes(tmp_path: Path) -> None:
    answers: dict[str, object] = {"transforms": "custom", "image_size": 64, "max_size": 96}
    answers |= {"architecture": "fasterrcnn_mobilenet_v3_large_320_fpn", "color_mode": "RGB"}
    answers["backend"] = "onnxruntime"
    project = make(tmp_path / "project", **(DETECTOR | answers))
    data = write_objects(tmp_path / "data", 4, 0)
    code = "import torch; from torchvision.models import get_model; torch.manual_seed(0); "
    code += f"torch.save(get_model({answers['architecture']!r}, weights=None, "
    code += "weights_backbone=None, num_classes=91).state_dict(), 'coco.pth')"
    run(project, "-c", code)
    command = ("train.py", str(data), "--validation", str(data), *QUICK)
    said = run(project, *command, "--from", "coco.pth", "--epochs", "2")
    assert "what depends on the classes begins anew (roi_heads.box_predictor.cls_score" in said
    assert "learning rate 0.0001" in said
    before, after = losses(project)
    assert after < before
    (weights,) = (project.path / "weights").glob("*.pth")
    kept = statistics(project.path / "coco.pth")
    assert kept.keys() == statistics(weights).keys()
    assert all(torch.equal(kept[name], x) for name, x in statistics(weights).items())
    check_archive(project, data, tolerance=1e-4)
    run(project, *command, "--from-scratch", "--epochs", "1")
    assert not torch.equal(*(next(iter(x.values())) for x in (kept, statistics(weights))))


def test_batch_norm_that_may_divide_by_nothing_is_not_trained_anew(tmp_path: Path) -> None:
    project = make(tmp_path / "project", **DETECTOR, architecture="retinanet_resnet50_fpn")
    data = write_objects(tmp_path / "data", 4, 0)
    said = refused(project, "train.py", str(data), "--from-scratch", *QUICK)
    assert "-d coco_eps=false" in said


DETECTORS = [name for name, arch in catalogue.load().items() if arch.detection]


@pytest.mark.exhaustive
@pytest.mark.parametrize("architecture", [x for x in DETECTORS if "keypoint" not in x])
def test_every_architecture_learns_and_takes_images_without_objects(
    tmp_path: Path, architecture: str
) -> None:
    task = SEGMENTER if "mask" in architecture else DETECTOR
    answers: dict[str, object] = {"architecture": architecture, "color_mode": "RGB"}
    answers["coco_eps"] = False
    if "ssd" not in architecture:
        answers |= {"transforms": "custom", "image_size": 64, "max_size": 96}
    project = make(tmp_path / "project", **(task | answers))
    data = write_objects(tmp_path / "data", 4, 0)
    command = ("train.py", str(data), "--validation", str(data), "--from-scratch", *QUICK)
    run(project, *command, "--epochs", "6", "--batch-size", "2", "--lr", "1e-4")
    found = losses(project)
    assert found[-1] < found[0]
    check_archive(project, data, tolerance=1e-4)
