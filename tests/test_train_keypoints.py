"""train.py and evaluate.py for keypoints: they reach the network, are learned, and are measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_train_objects import SMALL_NETWORK, write_image
from test_train_tasks import QUICK, check_archive, labels_of, make, refused, run, said_of

from conftest import Project
from generator.data_sets import told_by

NAMES = ["Spitze", "left_foot", "right_foot"]
POINTS = """keypoint_roi_pool=MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2),
        keypoint_head=KeypointRCNNHeads(32, (32,)),
        keypoint_predictor=KeypointRCNNPredictor(32, 3),"""
TRIANGLES: dict[str, object] = {
    "task": "keypoint_detection",
    "num_classes": 2,
    "keypoint_names": NAMES,
    "score_threshold": 0.5,
}


def small(folder: Path, **answers: object) -> Project:
    """Render a project whose own network is small."""
    project = make(folder, **(TRIANGLES | answers))
    text = SMALL_NETWORK.replace("KIND", "KeypointRCNN").replace("MORE", POINTS)
    (project.path / "service/model.py").write_text(text)
    return project


def write_triangles(folder: Path, count: int, seed: int) -> Path:
    """Write dark images with triangles that stand on two feet, and COCO's JSON of them.

    Every third image is stored lying on its side, the last has nothing, and each seventh triangle
    has a tip that is not labelled. The data name the keypoints in another order than the project.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    category = {"id": 7, "name": "Dreieck", "keypoints": [NAMES[2], NAMES[0], NAMES[1]]}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [category]}
    for number in range(count):
        height, width = [(64, 96), (80, 72)][number % 2]
        image = Image.fromarray(random.normal(40, 12, (height, width)).clip(0, 99).astype("uint8"))
        taken: list[tuple[int, int]] = []
        for _ in range(3) if number < count - 1 else ():
            half = int(random.integers(10, 15))
            x, y = (int(random.integers(half, side - half)) for side in (width, height))
            if any(max(abs(x - a), abs(y - b)) < 30 for a, b in taken):
                continue
            taken.append((x, y))
            tip, left, right = (x, y - half), (x + half - 1, y + half - 1), (x - half, y + half - 1)
            ImageDraw.Draw(image).polygon([tip, left, right], fill=220)
            index = len(content["annotations"]) + 1
            marked = 2 if index % 7 else 0
            content["annotations"].append(
                {
                    "id": index,
                    "image_id": number,
                    "category_id": 7,
                    "bbox": [x - half, y - half, 2 * half, 2 * half],
                    "area": 2 * half * half,
                    "iscrowd": 0,
                    "keypoints": [*right, 1, *[v * (marked > 0) for v in tip], marked, *left, 2],
                    "num_keypoints": 3 if marked else 2,
                }
            )
        content["images"].append(write_image(image, folder, number))
    file = folder / "person_keypoints.json"
    file.write_text(json.dumps(content))
    return file


def as_yolo(data: Path, folder: Path, names: list[str] | None) -> Path:
    """Return the same data as YOLO has them, without visibility if nothing names the keypoints."""
    content = json.loads(data.read_text())
    shutil.copytree(data.parent / "images", folder / "images")
    (folder / "labels").mkdir()
    settings: dict[str, Any] = {"names": ["Dreieck"], "kpt_shape": [3, 3 if names else 2]}
    if names:
        settings["kpt_names"] = {0: names}
    (folder / "data.yaml").write_text(json.dumps(settings))
    for image in content["images"]:
        width, height = image["width"], image["height"]
        lines = []
        for found in (x for x in content["annotations"] if x["image_id"] == image["id"]):
            x, y, w, h = found["bbox"]
            numbers = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
            points = np.reshape(found["keypoints"], (3, 3)) / (width, height, 1)
            if not names:  # in the project's order
                points = points[[1, 2, 0], :2]
            lines.append(" ".join(map(str, (0, *numbers, *points.flatten()))))
        if lines:
            (folder / "labels" / f"{image['id']}.txt").write_text("\n".join(lines))
    return folder


# Prints how many keypoints are where bright pixels end, in images as they are and mirrored.
CHECK = """
import sys
from pathlib import Path
import torch
from tools.dataset import read_dataset
from training.data import Items
from training.labels import choose_names

examples = read_dataset(Path(sys.argv[1]), choose_names(Path(sys.argv[1]), keep=False))
plain = Items(examples)
items = Items(examples, augmented=True, flip=True)
seen, count = set(), 0
for index in range(len(examples)):
    for epoch in range(4):
        sample, whole = items[epoch, index], plain[epoch, index]
        same = torch.equal(sample.item, whole.item)
        assert same or torch.equal(sample.item, whole.item.flip(2))
        seen.add(same)
        bright = sample.item[0] > 150
        for box, points in zip(sample.target["boxes"], sample.target["keypoints"]):
            tip, left, right = points.tolist()
            x1, y1, x2, y2 = box.tolist()
            assert points.dtype == torch.float32
            assert right[0] < left[0] and right[2] and left[2]
            # A mirrored place is that of a pixel's other side.
            for x, y, visible in points.tolist():
                near = bright[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
                assert near.any() if visible else (x, y) == (0, 0)
                count += visible > 0
            assert not tip[2] or y1 == tip[1]
assert seen == {True, False}
print(count)
"""


def test_keypoints_are_where_they_are_in_images(tmp_path: Path) -> None:
    project = make(tmp_path / "project", **TRIANGLES)
    data = write_triangles(tmp_path / "data", 7, 0)
    content = json.loads(data.read_text())
    labelled = sum(x["num_keypoints"] for x in content["annotations"])
    places = [data, as_yolo(data, tmp_path / "named", content["categories"][0]["keypoints"])]
    places.append(as_yolo(data, tmp_path / "plain", None))
    for place in places:
        assert int(run(project, "-c", CHECK, str(place))) == 4 * labelled
        task, found = told_by(place, {})
        assert (task.value, found.answers["num_classes"]) == ("keypoint_detection", 2)
        expected: Any = 3 if place is places[2] else [NAMES[2], NAMES[0], NAMES[1]]
        assert found.answers["keypoint_names"] == expected


@pytest.mark.slow
def test_keypoints_are_learned(tmp_path: Path) -> None:
    project = small(tmp_path / "project")
    data = write_triangles(tmp_path / "data", 32, 0)
    validation = write_triangles(tmp_path / "validation", 8, 1)
    said = run(
        project,
        *("train.py", str(data), "--validation", str(validation), "--epochs", "14"),
        *("--batch-size", "2", "--lr", "2e-3", "--flip", *QUICK),
    )
    assert "2 classes: background, Dreieck" in said
    assert labels_of(project) == ["background", "Dreieck"]
    found = check_archive(project, validation)
    # A network that took one foot for the other would find none.
    assert found["keypoint_map_50"] > 0.85
    assert found["keypoint_map"] > 0.4
    assert found["map_50"] > 0.85
    report = json.loads((project.path / "evaluation/metrics.json").read_text())
    assert report["sigmas"] == "0.05 for each keypoint"
    assert [x["label"] for x in report["classes"]] == ["Dreieck"]


# Measures what stands in a file of JSON with the project's own code.
MEASURE = """
import json
import torch
from tools.keypoints import KeypointPrecision

metric = KeypointPrecision()
for found, known in json.load(open("objects.json")):
    both = ({name: torch.tensor(x) for name, x in objects.items()} for objects in (found, known))
    metric.update(*both)
print(json.dumps({name: x.tolist() for name, x in metric.compute().items()}))
"""


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_similarity_is_that_of_pycocotools(tmp_path: Path, names: list[str] | None) -> None:
    answers: dict[str, Any] = {"keypoint_names": names} if names else {}
    project = make(tmp_path / "project", task="keypoint_detection", **answers)
    random = np.random.default_rng(0)
    count, images = len(names or range(17)), []
    truth: dict[str, Any] = {"info": {}, "images": [], "annotations": []}
    truth["categories"] = [{"id": 1}, {"id": 2}]
    results: list[dict[str, Any]] = []
    for number in range(12):
        truth["images"].append({"id": number})
        known: dict[str, Any] = {
            "boxes": [],
            "labels": [],
            "keypoints": [],
            "iscrowd": [],
            "area": [],
        }
        found: dict[str, Any] = {"boxes": [], "labels": [], "keypoints": [], "scores": []}
        for index in range(3):
            points = np.concatenate([random.uniform(0, 90, (count, 2)), np.ones((count, 1))], 1)
            points[random.random(count) < 0.2] = 0
            if index == 2 and number % 4 == 0:
                points[:] = 0
            moved = points + random.normal(0, 1 + number, points.shape)
            box, area, label = (
                [0.0, 0.0, 90.0, 90.0],
                float(random.uniform(2e3, 8e3)),
                1 + index % 2,
            )
            crowd, score = int(index == 1 and number % 5 == 0), float(random.random())
            for key, value in (("boxes", box), ("labels", label)):
                known[key].append(value)
                found[key].append(value)
            known["keypoints"].append(points.tolist())
            known["iscrowd"].append(crowd)
            known["area"].append(area)
            found["keypoints"].append(moved.tolist())
            found["scores"].append(score)
            entry: dict[str, Any] = {"image_id": number, "category_id": label, "bbox": box}
            more: dict[str, Any] = {"id": len(results) + 1, "area": area, "iscrowd": crowd}
            visible = int((points[:, 2] > 0).sum())
            more |= {"keypoints": points.flatten().tolist(), "num_keypoints": visible}
            truth["annotations"].append(entry | more)
            results.append(entry | {"keypoints": moved.flatten().tolist(), "score": score})
        images.append([found, known])
    (project.path / "objects.json").write_text(json.dumps(images))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    reference = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(reference, reference.loadRes(results), "keypoints")
    if names:
        evaluation.params.kpt_oks_sigmas = np.full(count, 0.05)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    measured = json.loads(run(project, "-c", MEASURE))
    assert 0.1 < evaluation.stats[0] < evaluation.stats[1] < 0.95
    both = [measured["keypoint_map"], measured["keypoint_map_50"]]
    assert both == pytest.approx(evaluation.stats[:2], abs=1e-6)
    assert np.mean(measured["keypoint_map_per_class"]) == pytest.approx(both[0], abs=1e-6)
    assert measured["map_50"] > 0.5


def changed(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return data whose first object is another."""
    first, *others = content["annotations"]
    return content | {"annotations": [first | change, *others]}


def test_what_cannot_be_learned_is_named(tmp_path: Path) -> None:
    project = make(tmp_path / "project", **(TRIANGLES | {"keypoint_names": ["a", "b", "c"]}))
    data = write_triangles(tmp_path / "data", 3, 0)
    content = json.loads(data.read_text())
    content["categories"][0]["keypoints"] = ["c", "b", "a"]
    points = content["annotations"][0]["keypoints"]
    cases: list[tuple[dict[str, Any], str]] = [
        (content, "read"),
        (changed(content, {"keypoints": [*points[:2], 3, *points[3:]]}), "c has the visibility 3"),
        (changed(content, {"keypoints": [500, *points[1:]]}), "c is at 500, "),
        (
            changed(content, {"keypoints": points[:6]}),
            "6 numbers; expected x, y and visibility of 3",
        ),
        (changed(content, {"keypoints": None}), "annotation 1 has no keypoints; expected 0, 0, 0"),
        (changed(content, {"keypoints": None, "iscrowd": 1}), "read"),
        (
            content | {"categories": [content["categories"][0] | {"keypoints": ["a", "b", "猫"]}]},
            "are a, b, 猫; those of the project are a, b, c. Run: ",
        ),
    ]
    files = [data.with_name(f"{index}.json") for index in range(len(cases))]
    for file, (case, _) in zip(files, cases, strict=True):
        file.write_text(json.dumps(case))
    folder = as_yolo(data, tmp_path / "yolo", None)
    settings = (folder / "data.yaml").read_text().replace("[3, 2]", "[9, 2]")
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "data.yaml").write_text(settings)
    unknown = shutil.copytree(folder, tmp_path / "unknown")
    (unknown / "data.yaml").write_text("names: [Dreieck]")
    (folder / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2 0.5 0.5 0.5 0.5")
    said = said_of(project, *files, folder, other, unknown)
    messages = [message for _, message in cases]
    messages += ["0.txt, line 1: '0 0.5", "has 9 keypoints; the project has 3. Run: "]
    messages += ["must stand in a data.yaml, such as kpt_shape: [3, 3]"]
    for line, message in zip(said, messages, strict=True):
        assert message in line
    said = refused(project, "train.py", str(files[0]), "--flip", *QUICK)
    assert "no name of a keypoint tells which change places then" in said
    code = "import tools.keypoints as k; k.KEYPOINTS = ('nose', 'Left eye'); k.mirrored()"
    assert "Left eye has no partner right eye to change places with" in refused(project, "-c", code)
    code = (
        "import tools.keypoints as k; k.KEYPOINTS = ('nose', 'Left eye', 'eye.left', 'right eye', "
    )
    assert run(project, "-c", code + "'Eye.Right'); print(k.mirrored())") == "[0, 3, 4, 1, 2]\n"


@pytest.mark.exhaustive
def test_keypoints_of_torchvision_begin_with_others(tmp_path: Path) -> None:
    answers: dict[str, Any] = {
        "architecture": "keypointrcnn_resnet50_fpn",
        "color_mode": "RGB",
        "coco_eps": False,
    }
    answers |= {"transforms": "custom", "image_size": 64, "max_size": 96}
    project = make(tmp_path / "project", **(TRIANGLES | answers))
    data = write_triangles(tmp_path / "data", 5, 0)
    code = "import torch; from torchvision.models import get_model; torch.manual_seed(0); "
    code += f"torch.save(get_model({answers['architecture']!r}, weights=None, "
    code += "weights_backbone=None).state_dict(), 'coco.pth')"
    run(project, "-c", code)
    command = ("train.py", str(data), "--validation", str(data), "--from", "coco.pth", *QUICK)
    said = run(project, *command, "--epochs", "1", "--flip")
    assert "what depends on the classes begins anew (roi_heads.keypoint_predictor.kps_sc" in said
    check_archive(project, data, tolerance=1e-4)
