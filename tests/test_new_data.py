"""ts-template new --data: from data with labels to a service that has answered."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits
from test_train_tasks import write_digits, write_shapes

from conftest import REPOSITORY, Project, ts_template
from generator.data_sets import parts_of, told_by, what_is_told
from generator.errors import UserError

SMALL = ("--defaults", "-d", "architecture=custom", "-d", "color_mode=L", "-d", "backend=eager")
NAMES = ("ein Ring", "eins", "二")  # of the digits 0, 1 and 2


def new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template new` in a folder, without a terminal."""
    return ts_template("new", *arguments, cwd=folder)


def write_folders(folder: Path, part: slice) -> Path:
    """Write handwritten digits into a folder for each class."""
    digits = load_digits()
    for index, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        images = digits.images[digits.target == index][part]
        for number, pixels in enumerate(images):
            image = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((28, 28))
            image.save(folder / name / f"{number}.png")
    return folder


def test_folders_of_images_make_a_service(tmp_path: Path) -> None:
    write_folders(tmp_path / "data" / "train", slice(100))
    validation = write_folders(tmp_path / "data" / "val", slice(100, 140))
    result = new(tmp_path, "rings", "--data", "data", "--epochs", "8", *SMALL, "-d", "top_k=1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 classes: ein Ring, eins, 二" in result.stdout
    assert "300 images in 3 folders" in result.stdout
    project = Project(tmp_path / "rings")
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text("utf-8"))
    expected = {"task": "image_classification", "num_classes": 3, "training": True, "top_k": 1}
    assert expected.items() <= answers.items()
    measured = json.loads((project.path / "evaluation" / "metrics.json").read_text())["metrics"]
    assert measured["accuracy"] > 0.95
    images = sorted(validation.glob("*/*.png"))
    found = [prediction[0]["label"] for prediction in project.predict(*images)]
    right = sum(label == image.parent.name for label, image in zip(found, images, strict=True))
    assert right / len(images) == pytest.approx(measured["accuracy"], abs=1e-4)


@pytest.mark.slow
def test_a_label_file_names_the_classes_of_data(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data", slice(12))
    for index, name in enumerate(NAMES):
        (data / name).rename(data / str(index))
    labels = tmp_path / "names.txt"
    labels.write_text("ring\none\ntwo\n")
    words = ("--data", "data", "--labels", "names.txt", "--epochs", "1", *SMALL, "-d", "top_k=1")
    result = new(tmp_path, "p", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "p" / "labels.txt").read_text() == labels.read_text()
    assert "3 classes: ring, one, two\n" in result.stdout
    (data / "0").rename(data / "one")
    with pytest.raises(UserError, match=r"classes 1, 2, which .*names\.txt does not name"):
        what_is_told(data, labels, {})
    for number, name in (("1", "ring"), ("2", "two")):
        (data / number).rename(data / name)
    assert what_is_told(data, labels, {}).known["num_classes"] == 3


def test_who_ends_new_ends_the_training(tmp_path: Path) -> None:
    write_folders(tmp_path / "data", slice(12))
    words = ["new", "p", "--data", "data", "--epochs", "100000", *SMALL]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "generator.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch 2 of 100000") for line in process.stdout)
        started = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "train.py was stopped. p is rendered; go on there: " in said
    assert "train.py --resume" in said
    assert started and not psutil.wait_procs(started, timeout=60)[1]


def test_what_train_py_refuses_can_be_mended_in_the_project(tmp_path: Path) -> None:
    write_shapes(tmp_path / "data", 8, 0)
    words = ("masks", "--data", "data", "--epochs", "1", *SMALL, "-d", "image_size=24")
    mask = tmp_path / "data" / "masks" / "3.png"
    whole = mask.read_bytes()
    Image.new("L", (5, 5)).save(mask)
    result = new(tmp_path, *words)
    assert result.returncode == 1
    assert "8 images with masks, whose pixels are 0 to 2" in result.stdout
    assert "train.py has refused" in result.stderr
    _, _, rest = result.stderr.partition(" python train.py ")  # an uv run may stand before it
    words = shlex.split(rest.partition(" && ")[0])
    mask.write_bytes(whole)
    project = Project(tmp_path / "masks")
    again = project.run("train.py", *words, "--workers", "0")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "begins with random weights" in again.stdout


def test_networks_that_begin_with_random_weights_are_built_for_them(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "yolo" / name).mkdir(parents=True)
    (tmp_path / "yolo" / "classes.txt").write_text("cat\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "yolo" / "images" / "a.png")
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    words = ("--from-scratch", "--epochs", "0", "--defaults")  # 0 keeps it from training
    result = new(tmp_path, "cats", "--data", "yolo", *words)
    assert "train.py has refused" in result.stderr
    assert "coco_eps: false" in (tmp_path / "cats" / ".copier-answers.yml").read_text()


def test_data_tell_their_task(tmp_path: Path) -> None:
    table = write_digits(tmp_path / "several", 12, 0)
    task, found = told_by(table, {})
    assert task.value == "multi_label_classification"
    assert found.answers["num_classes"] == 3 and list(found.classes) == ["ein Ring", "eins", "zwei"]
    table = write_digits(tmp_path / "columns", 12, 0, in_columns=True)
    assert told_by(table, {})[0] is task
    rows = ["file,label", *(f"{number}.png,{number % 2}" for number in range(12))]
    table.write_text("\n".join(rows))
    task, found = told_by(table, {})
    assert task.value == "image_classification"
    assert list(found.classes) == ["0", "1"]
    with pytest.raises(UserError, match="none of the forms of data"):
        told_by(table, {"task": "semantic_segmentation"})
    with pytest.raises(UserError, match="trains no networks of this task"):
        told_by(table, {"task": "feature_extraction"})


def test_what_would_be_learned_wrongly_is_refused(tmp_path: Path) -> None:
    """Layouts that people have: COCO's, Oxford-IIIT Pet's, and one class for each in columns."""
    for layout in (("train2017", "val2017"), ("images", "annotations")):
        for name in layout:
            (tmp_path / layout[0] / name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / layout[0] / name / "a.png")
        (tmp_path / layout[0] / "annotations").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="none of the forms of data"):
            told_by(tmp_path / layout[0], {})
    table = tmp_path / "skin.csv"
    for text in ("file,MEL,NV\na.png,1,0\nb.png,0,1\n", "file,labels\na.png,MEL\nb.png,NV\n"):
        table.write_text(text)
        with pytest.raises(UserError, match="each image has exactly one class"):
            told_by(table, {})
        task, _ = told_by(table, {"task": "multi_label_classification"})
        assert task.value == "multi_label_classification"
    table.write_text("text,labels\ngood,a\nbad,b\n")
    with pytest.raises(UserError, match="-d problem_type=multi_label_classification"):
        told_by(table, {})
    table.write_text("file,labels\na.png,\"['MEL', 'NV']\"\nb.png,\n")
    with pytest.raises(UserError, match="between names, as in"):
        told_by(table, {})
    table.write_text("file,label\na.png, MEL\nb.png,MEL \nc.png,\nd.png,NV\n")
    assert told_by(table, {})[1].classes == ["MEL", "NV"]
    table.write_text("file,label\na.png,Mass\nb.png,Nodule\nc.png,Mass|Nodule\n")
    with pytest.raises(UserError, match=r"the label 'Mass\|Nodule' is several of the others"):
        told_by(table, {})
    lines = table.with_suffix(".jsonl")
    lines.write_text('{"text": "a", "labels": ["New York"]}\n{"text": "b", "labels": []}\n')
    assert told_by(lines, {})[1].classes == ["New York"]
    lines.write_text('{"text": "a", "labels": [0, 1, 0]}\n')
    with pytest.raises(UserError, match="has a label twice; expected the names of classes"):
        told_by(lines, {})
    lines.write_text('{"file": "a.png", "label": "cat"}\n{"file": "b.png", "label": null}\n')
    with pytest.raises(UserError, match="none of the forms of data"):  # of images, CSV alone is
        told_by(lines, {})


def test_folders_of_tools_are_no_classes(tmp_path: Path) -> None:
    def write(*names: str) -> Path:
        folder = tmp_path / str(len([*tmp_path.iterdir()]))
        for name in names:
            (folder / name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(folder / name / "a.png")
        return folder

    vehicles = write("bus", "car", "train")  # a class, as no other folder is a part of data
    assert what_is_told(vehicles, None, {}).found.classes == ["bus", "car", "train"]
    for name in ("train", "images/train"):
        part = write(f"{name}/cat", f"{name}/dog", "notes") / name
        assert parts_of(part.parents[name.count("/")]) == (part, None)
    archive = write("cat", "dog", "__MACOSX/cat", ".ipynb_checkpoints")
    assert told_by(archive, {})[1].classes == ["cat", "dog"]
    for names in (("training_set/cat", "test_set/cat"), ("seg_train", "seg_test", "seg_pred")):
        with pytest.raises(UserError, match=r"name that: (seg_pred|test_set), "):
            told_by(write(*names), {})
    (archive / "train").mkdir()
    (archive / "train" / "_annotations.coco.json").touch()  # as Roboflow has it
    with pytest.raises(UserError, match=r"name that: _annotations\.coco\.json"):
        told_by(archive / "train", {})
    shutil.rmtree(archive / "train")
    (archive / "fish").mkdir()
    with pytest.raises(UserError, match="no image is in fish, of which nothing can be learned"):
        told_by(archive, {})
    assert told_by(archive, {"num_classes": 3})[1].classes == ["cat", "dog", "fish"]


def test_gray_levels_are_no_classes(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "images" / "a.png")
    for values in ((0, 127, 255), (0, 38, 75, 113), range(255)):
        mask = np.zeros((16, 16), np.uint8)
        mask.flat[: len(values)] = values
        Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
        with pytest.raises(UserError, match="Gray levels or colours are none"):
            told_by(tmp_path, {})
        assert told_by(tmp_path, {"num_classes": 255})[0].value == "semantic_segmentation"


def test_colours_in_the_data_are_learned(tmp_path: Path) -> None:
    for name, mode in (("cat", "L"), ("dog", "RGB")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new(mode, (8, 8)).save(tmp_path / "data" / name / "a.png")
    answers = {"architecture": "custom"}  # whose default is grayscale
    assert what_is_told(tmp_path / "data", None, answers).known["color_mode"] == "RGB"
    answers["color_mode"] = "L"
    assert what_is_told(tmp_path / "data", None, answers).known["color_mode"] == "L"
    Image.new("L", (8, 8)).save(tmp_path / "data" / "dog" / "a.png")
    del answers["color_mode"]
    assert "color_mode" not in what_is_told(tmp_path / "data", None, answers).known

    for name, mode, count in (("gray", "L", 150), ("red", "RGB", 5)):
        (tmp_path / "mixed" / name).mkdir(parents=True)
        for number in range(count):
            Image.new(mode, (8, 8)).save(tmp_path / "mixed" / name / f"{number}.png")
    assert what_is_told(tmp_path / "mixed", None, answers).known["color_mode"] == "RGB"
    for name, mode in (("images", "L"), ("masks", "P")):  # a palette's colours are none of images
        (tmp_path / "pixels" / name).mkdir(parents=True)
        Image.new(mode, (8, 8)).save(tmp_path / "pixels" / name / "a.png")
    assert "color_mode" not in what_is_told(tmp_path / "pixels", None, answers).known


def test_objects_and_texts_tell_their_task(tmp_path: Path) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 4, 4]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 9, "width": 9}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [box],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    task, found = told_by(path, {})
    assert task.value == "object_detection"
    assert list(found.classes) == ["background", "dog", "cat"]
    box["segmentation"] = [[1, 1, 5, 1, 5, 5]]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as refused:
        told_by(path, {})
    for value in ("object_detection", "instance_segmentation"):
        assert f"-d task={value}" in str(refused.value)
        assert told_by(path, {"task": value})[1].answers["num_classes"] == 3
    for name in ("images", "labels"):
        (tmp_path / "yolo" / name).mkdir(parents=True)
    (tmp_path / "yolo" / "classes.txt").write_text("cat\n")
    Image.new("L", (8, 8)).save(tmp_path / "yolo" / "images" / "a.png")
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    task, found = told_by(tmp_path / "yolo", {})
    assert task.value == "object_detection" and found.answers["num_classes"] == 2

    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(tmp_path / "yolo" / "images" / f"{name}.png")
        (tmp_path / "yolo" / "labels" / f"{name}.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    task, found = told_by(tmp_path / "yolo", {})
    assert task.value == "instance_segmentation" and found.answers["num_classes"] == 2
    assert "2 images with polygons" in found.what
    boxes = {"task": "object_detection"}
    assert told_by(tmp_path / "yolo", boxes)[1].answers["num_classes"] == 2
    (tmp_path / "yolo" / "labels" / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UserError, match=r"b.txt, line 1, is a box, .*a.txt, line 1, a polygon. To"):
        told_by(tmp_path / "yolo", {})
    assert told_by(tmp_path / "yolo", boxes)[0].value == "object_detection"

    lines = ["0 0.5 0.5 0.2 0.2 0.45 0.5 2 0 0 0", "0 0.5 0.5 0.2 0.2 0.45 0.5 0.5 0.5"]
    lines.append("0 0.3 0.4 0.333333 0.2 0.133333 0.3 0.466667 0.5")  # rounded: at the box's edges
    for line in lines:
        for name in ("a", "b"):  # keypoints, as Ultralytics has them, without their kpt_shape
            (tmp_path / "yolo" / "labels" / f"{name}.txt").write_text(line)
        with pytest.raises(UserError, match=r"a.txt, line 1, is a box with keypoints, or a pol"):
            told_by(tmp_path / "yolo", {})
        assert told_by(tmp_path / "yolo", boxes)[0].value == "object_detection"
    names = (tmp_path / "yolo" / "classes.txt").read_text().split()
    (tmp_path / "yolo" / "data.yaml").write_text(f"task: segment\nnames: [{', '.join(names)}]\n")
    assert told_by(tmp_path / "yolo", {})[0].value == "instance_segmentation"
    (tmp_path / "yolo" / "data.yaml").unlink()
    (tmp_path / "yolo" / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"there is no file .*classes\.txt"):
        told_by(tmp_path / "yolo", {})

    for name in ("images", "labels"):
        (tmp_path / "coco8" / name / "train").mkdir(parents=True)
    (tmp_path / "coco8" / "labels" / "train" / "a.txt").touch()
    (tmp_path / "coco8" / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    with pytest.raises(UserError, match="whose images are left out; name one of its folders"):
        told_by(tmp_path / "coco8", {})
    inner = shutil.copytree(tmp_path / "yolo", tmp_path / "images" / "yolo")
    (inner / "classes.txt").write_text("cat\n")
    assert told_by(inner, boxes)[0].value == "object_detection"
    part = tmp_path / "coco8" / "images" / "train"
    assert parts_of(tmp_path / "coco8") == (part, None)
    assert list(told_by(part, {})[1].classes) == ["background", "cat", "dog"]

    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "good", "label": "yes"}\n{"text": "bad", "label": "no"}\n')
    task, found = told_by(path, {})
    assert task.value == "text_classification" and list(found.classes) == ["no", "yes"]
    path.write_text('{"text": "good", "labels": ["a", "b"]}\n{"text": "bad", "labels": []}\n')
    assert told_by(path, {})[1].answers["problem_type"] == "multi_label_classification"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a checkpoint to serve, --weights FILE, or one folder or file of data"),
        (("--data", "nowhere"), "there are no data nowhere"),
        (("--data", "empty"), "none of the forms of data that train.py takes"),
        (("--data", "empty", "--weights", "x.pth"), "to train on; name one of them"),
        (("--data", "empty", "-d", "training=false"), "training=false: what --data names is to"),
        (("--weights", "x.pth", "--epochs", "3"), "--epochs is for training, which needs --data"),
        (("--data", "numclasses=3"), "-d numclasses=3: expected question=value"),
    ],
)
def test_refusals(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").mkdir()
    result = new(tmp_path, "project", *words, "--defaults")
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "project").exists()
