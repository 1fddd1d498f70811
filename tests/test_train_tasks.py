"""train.py for each task: what is trained, archived and evaluated, through the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from conftest import Project, encode, slow
from generator.rendering import render

QUICK = ("--workers", "0", "--seed", "1")
SMALL = {"architecture": "custom", "training": True, "evaluation": True, "color_mode": "L"}


def make(folder: Path, **answers: object) -> Project:
    """Render a project."""
    render(folder, SMALL | answers)
    return Project(folder)


def run(project: Project, *arguments: str) -> str:
    """Run a command of a project that must succeed, and return what it says."""
    result = project.run(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def check_archive(project: Project, validation: Path, tolerance: float = 1e-6) -> dict[str, float]:
    """Archive what was trained, and return its metrics, which must be those of the run."""
    project.archive()
    arguments = (str(validation), "--against", "runs/1", "--tolerance", str(tolerance))
    run(project, "evaluate.py", *arguments)
    found = json.loads((project.path / "evaluation/metrics.json").read_text())["metrics"]
    said = json.loads((project.path / "runs/1/metrics.json").read_text())["metrics"]
    assert {name: found[name] for name in said} == pytest.approx(said, abs=tolerance)
    return dict(found)


def labels_of(project: Project) -> list[str]:
    """Return the names of the classes in the label file."""
    names = json.loads((project.path / "index_to_name.json").read_text("utf-8"))
    return list(names.values())


def write_digits(folder: Path, count: int, seed: int, *, in_columns: bool = False) -> Path:
    """Write images of two handwritten digits beside each other, 0, 1 or 2, and their table."""
    random = np.random.default_rng(seed)
    digits = load_digits()
    indices = np.flatnonzero(digits.target < 3)[seed::2]
    names = ["ein Ring", "eins", "zwei"]
    folder.mkdir()
    rows = []
    for number in range(count):
        both = random.choice(indices, 2)
        pixels = np.concatenate([digits.images[x] for x in both], axis=1) * 15.9
        image = Image.fromarray(pixels.astype(np.uint8)).resize((32, 16))
        (folder / f"{number}.png").write_bytes(encode(image))
        found = {int(digits.target[x]) for x in both}
        flags = [int(x in found) for x in range(3)]
        labels = ["|".join(names[x] for x in sorted(found))]
        rows.append([f"{number}.png", *(flags if in_columns else labels)])
    table = folder / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(["file", *(names if in_columns else ["labels"])])
        csv.writer(file).writerows(rows)
    return table


def test_any_number_of_classes(tmp_path: Path) -> None:
    answers = {"task": "multi_label_classification", "num_classes": 3, "thresholds": [0.5]}
    answers |= {"image_size": 16, "resize_mode": "stretch"}
    project = make(tmp_path / "project", **answers)
    data = write_digits(tmp_path / "data", 256, 0)
    validation = write_digits(tmp_path / "validation", 64, 1)
    said = run(
        project,
        *("train.py", str(data), "--validation", str(validation), "--epochs", "12", *QUICK),
    )
    assert "256 images to train on, 64 to validate with" in said
    assert "3 classes: ein Ring, eins, zwei" in said
    assert labels_of(project) == ["ein Ring", "eins", "zwei"]
    found = check_archive(project, validation)
    assert found["map"] > 0.9

    # Columns keep their order, if the label file has not the same names; a split goes by images.
    (project.path / "index_to_name.json").unlink()
    columns = write_digits(tmp_path / "columns", 40, 0, in_columns=True)
    said = run(project, "train.py", str(columns), "--epochs", "1", *QUICK)
    assert "32 images to train on, 8 to validate with" in said
    assert labels_of(project) == ["ein Ring", "eins", "zwei"]

    # One row for each image, and nothing but these between its labels.
    rows = {
        "one.csv": ("0.png,eins\n0.png,zwei\n", "line 3: 0.png is zwei, and eins in"),
        "list.csv": ("0.png,\"['eins', 'zwei']\"\n", "expected | between names"),
        "commas.csv": ('0.png,"eins,zwei"\n1.png,zwei\n', "the labels 'eins,zwei': expected |"),
    }
    for name, (text, _) in rows.items():
        data.with_name(name).write_text("file,labels\n" + text)
    said = said_of(project, *map(data.with_name, rows))
    for line, (_, message) in zip(said, rows.values(), strict=True):
        assert message in line

    # Without a separator anywhere, a space is one.
    table = tmp_path / "data" / "tags.csv"
    rows = [
        line.replace("ein Ring", "null").replace("|", " ")
        for line in data.read_text("utf-8").splitlines()
    ]
    table.write_text("\n".join(rows), "utf-8")
    (project.path / "index_to_name.json").unlink()
    assert "3 classes: eins, null, zwei" in run(
        project, "train.py", str(table), "--epochs", "1", *QUICK
    )


def write_shapes(folder: Path, count: int, seed: int) -> Path:
    """Write images of one square and one disc, of a brightness each, and their masks.

    They are wide, and of two sizes; pixels at the edge of a shape count for nothing.
    """
    random = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        height, width = [(24, 32), (30, 36)][number % 2]
        pixels = random.normal(60, 6, (height, width))
        mask = np.zeros((height, width), np.uint8)
        rows, columns = np.mgrid[:height, :width]
        for index, left in zip((1, 2), random.permutation([8, width - 9]), strict=True):
            top, radius = random.integers(8, height - 8), random.integers(4, 7)
            across, down = np.abs(columns - left), np.abs(rows - top)
            far = np.maximum(across, down) if index == 1 else np.hypot(across, down)
            mask[far < radius + 0.5] = 255
            mask[far < radius - 0.5] = index
            pixels[far < radius] += 60 * index
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        (folder / "images" / f"{number}.png").write_bytes(encode(image))
        (folder / "masks" / f"{number}.png").write_bytes(encode(Image.fromarray(mask)))
    return folder


def whitened(data: Path, folder: Path) -> Path:
    """Return a copy of data whose masks have white shapes on black, as they are often saved."""
    shutil.copytree(data, folder)
    for mask in folder.glob("masks/*"):
        with Image.open(mask) as image:
            mask.write_bytes(encode(image.point(lambda x: 255 * (0 < x < 255))))
    return folder


def refused(project: Project, *arguments: str) -> str:
    """Run a command of a project that must fail, and return what it says."""
    result = project.run(*arguments)
    assert result.returncode == 1
    return result.stderr


# Prints for each of some data why they are refused.
READ = """
import sys
from pathlib import Path
from tools.dataset import read_dataset
from tools.project import ProjectError
from training.task import class_names

for path in map(Path, sys.argv[1:]):
    try:
        read_dataset(path, class_names(path))
        print("read")
    except ProjectError as error:
        print(" ".join(str(error).split()))
"""


def said_of(project: Project, *data: Path) -> list[str]:
    """Return what train.py says when it reads each of some data: why it refuses, or "read"."""
    return run(project, "-c", READ, *map(str, data)).splitlines()


@pytest.mark.parametrize("output", ["logits", slow("binary_logit")])
def test_a_class_for_each_pixel(tmp_path: Path, output: str) -> None:
    answers = {"task": "semantic_segmentation", "image_size": 24, "model_output": output}
    if output == "logits":
        answers |= {"num_classes": 3, "transforms": "custom", "resize_mode": "shorter_side"}
    else:
        answers |= {"num_classes": 2, "transforms": "to_tensor", "label_format": "none"}
    project = make(tmp_path / "project", **answers)
    before = (project.path / "index_to_name.json").read_bytes() if output == "logits" else b""
    data = write_shapes(tmp_path / "data", 48, 0)
    validation = write_shapes(tmp_path / "validation", 16, 1)
    if output == "binary_logit":  # both shapes are the foreground
        refuse = ("train.py", str(whitened(data, tmp_path / "white")))
        assert "has the pixels 0, 255 alone" in refused(project, *refuse)
        for mask in [*data.glob("masks/*"), *validation.glob("masks/*")]:
            with Image.open(mask) as image:
                mask.write_bytes(encode(image.point(lambda x: min(x, 1) if x < 255 else x)))
    if output == "logits":
        more = shutil.copytree(data, tmp_path / "more")
        (more / "images" / "others").mkdir()
        own = shutil.copytree(data, tmp_path / "own")
        for number, palette in enumerate([(0, 0, 0, 9, 9, 9), (0, 0, 0, 8, 8, 8)]):
            with Image.open(own / "masks" / f"{number}.png") as image:
                image.load()
            image.putpalette(palette)
            image.save(own / "masks" / f"{number}.png")
        said = refused(project, "train.py", str(more)) + refused(project, "train.py", str(own))
        assert "holds the folder others, whose images are left out" in said
        assert "the pixels 1 are (9, 9, 9) in" in said and "each has a palette of its own" in said
    said = run(
        project,
        *("train.py", str(data), "--validation", str(validation), "--epochs", "20"),
        *("--lr", "0.01", "--batch-size", "8", "--flip", *QUICK),
    )
    assert "48 images to train on, 16 to validate with" in said
    assert check_archive(project, validation)["mean_iou"] > 0.7
    if output == "binary_logit":
        refuse = ("evaluate.py", str(tmp_path / "white"))
        assert "has the pixels 0, 255 alone" in refused(project, *refuse)
    if before:
        assert (project.path / "index_to_name.json").read_bytes() == before


@pytest.mark.slow
def test_a_network_of_torchvision_begins_with_another_head(tmp_path: Path) -> None:
    answers = {"task": "semantic_segmentation", "architecture": "deeplabv3_mobilenet_v3_large"}
    answers |= {"num_classes": 3, "label_format": "none", "color_mode": "RGB"}
    answers |= {"transforms": "custom", "resize_mode": "stretch", "image_size": 64}
    project = make(tmp_path / "project", **answers)
    data = write_shapes(tmp_path / "data", 4, 0)
    code = "import torch; from torchvision.models import get_model; torch.manual_seed(0); "
    code += "torch.save(get_model("
    code += f"{answers['architecture']!r}, weights_backbone=None, num_classes=21, aux_loss=True)"
    assert project.run("-c", f"{code}.state_dict(), 'voc.pth')").returncode == 0
    command = ("train.py", str(data), "--validation", str(data), "--from", "voc.pth", *QUICK)
    said = refused(project, *command, "--batch-size", "1", "--run", "none")
    assert "--batch-size at least 2" in said and "Traceback" not in said
    said = run(project, *command, "--batch-size", "2", "--epochs", "4")
    assert "the last layer begins anew (classifier.4.weight, classifier.4.bias)" in said
    check_archive(project, data, tolerance=1e-3)
