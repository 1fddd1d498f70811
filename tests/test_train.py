"""train.py: what it learns, what comes of it in the archive, and how it goes on after a stop."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from copier import run_copy
from PIL import Image
from test_train_tasks import said_of

from conftest import Project, encode, render
from generator.rendering import plain_copy

NAMES = ["crème brûlée", "Hund", "猫"]
BRIGHTNESS = {"猫": 40, "Hund": 128, "crème brûlée": 215}
SMALL = {"architecture": "custom", "num_classes": 3, "training": True, "image_size": 12}
QUICK = ("--workers", "0", "--batch-size", "8")


def write_data(folder: Path, count: int = 20) -> Path:
    """Write images whose class is how bright they are, in a folder for each class."""
    random = np.random.default_rng(0)
    for name, brightness in BRIGHTNESS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.normal(brightness, 25, (16, 20)).clip(0, 255).astype(np.uint8)
            (folder / name / f"{number}.png").write_bytes(encode(Image.fromarray(pixels)))
    return folder


def make(folder: Path, **answers: object) -> Project:
    """Render a project."""
    render(folder, SMALL | answers)
    return Project(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes."""
    return write_data(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Project:
    """A project whose network is trained."""
    project = make(tmp_path_factory.mktemp("trained") / "project", evaluation=True)
    result = project.run("train.py", str(data), "--epochs", "4", *QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "48 images to train on, 12 to validate with" in result.stdout
    assert "begins with random weights (assumed" in result.stdout
    assert "note: " not in result.stdout
    return project


def validation_of(project: Project, data: Path, seed: int = 0) -> list[tuple[str, int]]:
    """Return the files that a project validates with, and their classes."""
    code = (
        "import sys; from pathlib import Path; from tools.dataset import read_dataset; "
        "from training.data import split; import json; "
        f"names = {NAMES!r}; data = read_dataset(Path({str(data)!r}), names); "
        f"print(json.dumps([(x.name, x.target) for x in split(data, 0.2, {seed})[1]]))"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    return [(name, target) for name, target in json.loads(result.stdout)]


def test_the_archive_is_as_good_as_training_says(trained: Project, data: Path) -> None:
    trained.archive()
    rows = [(name, NAMES[target]) for name, target in validation_of(trained, data)]
    with (trained.path / "v.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *rows])
    arguments = ("v.csv", "--against", "runs/1", "--tolerance", "0")
    result = trained.run("evaluate.py", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((trained.path / "evaluation/metrics.json").read_text())["metrics"]
    said = json.loads((trained.path / "runs/1/metrics.json").read_text())["metrics"]
    assert {name: found[name] for name in said} == pytest.approx(said, abs=1e-12)
    assert found["accuracy"] > 0.6


def test_labels_are_those_of_the_folders(trained: Project) -> None:
    written = json.loads((trained.path / "index_to_name.json").read_text("utf-8"))
    assert written == {str(index): name for index, name in enumerate(sorted(NAMES))}


def test_a_run_tells_what_it_was(trained: Project) -> None:
    config = json.loads((trained.path / "runs/1/config.json").read_text("utf-8"))
    assert config["counts"] == {"train": 48, "validation": 12}
    assert config["options"]["seed"] == 0
    assert set(config["versions"]) >= {"python", "torch"}
    with (trained.path / "runs/1/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    assert b"<svg" in (trained.path / "runs/1/curves.svg").read_bytes()


def test_a_split_keeps_shares_and_its_seed(trained: Project, data: Path) -> None:
    first = validation_of(trained, data)
    assert Counter(target for _, target in first) == {0: 4, 1: 4, 2: 4}
    assert validation_of(trained, data) == first
    assert validation_of(trained, data, seed=1) != first


def test_a_killed_run_goes_on_as_if_nothing_had_happened(trained: Project, tmp_path: Path) -> None:
    data = write_data(tmp_path / "images", 40)
    arguments = [str(data), "--epochs", "4", "--patience", "0", *QUICK]
    (weights,) = (trained.path / "weights").glob("*.pth")
    before = weights.read_bytes()
    whole = trained.run("train.py", *arguments, "--run", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    replaced = tmp_path / "whole" / f"replaced-{weights.name}"
    assert replaced.read_bytes() == before != weights.read_bytes()
    assert str(replaced) in whole.stdout
    run = tmp_path / "killed"
    command = [sys.executable, "train.py", *arguments, "--run", str(run)]
    process = subprocess.Popen(command, cwd=trained.path, stdout=subprocess.DEVNULL)
    while not (run / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, 9)
    process.wait()
    epochs = len(torch.load(run / "last.pt")["history"])
    assert epochs < 4
    result = trained.run("train.py", "--resume", "--run", str(run))
    assert result.returncode == 0, result.stdout + result.stderr
    # A run that has ended may be asked again: what it replaced is kept.
    again = trained.run("train.py", "--resume", "--run", str(tmp_path / "whole"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert replaced.read_bytes() == before
    asked = trained.run("train.py", "--resume", "--run", str(run), "--epochs", "9")
    assert asked.returncode == 2
    assert "goes on as the run was asked" in asked.stderr
    one, other = (torch.load(x / "last.pt") for x in (tmp_path / "whole", run))
    assert one["history"] == other["history"]
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name])


def test_numbers_that_are_no_indices_are_named(tmp_path: Path) -> None:
    data = write_data(tmp_path / "images", 4)
    for number, name in enumerate(BRIGHTNESS, 1):
        (data / name).rename(data / str(number))
    project = make(tmp_path / "project", label_format="none")
    result = project.run("train.py", str(data), "--epochs", "1", *QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "note: predictions call each by its index: 1 is 0." in result.stdout
    assert "-d label_format=index_to_name" in result.stdout


def test_another_number_of_classes_is_refused(trained: Project, tmp_path: Path) -> None:
    data = write_data(tmp_path / "images", 4)
    (data / "vierte").mkdir()
    result = trained.run("train.py", str(data))
    assert result.returncode == 1
    assert "has 4 classes" in result.stderr
    assert "-d num_classes=4" in result.stderr
    (data / "vierte").rename(data / "Hund, 猫")  # an image of both, in a table
    result = trained.run("train.py", str(data))
    assert result.returncode == 1
    assert "the class 'Hund, 猫' is several of the others" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--lr", "-0.1", "is no number above 0"),
        ("--lr", "nan", "is no number above 0"),
        ("--lr", "inf", "is no number above 0"),
        ("--weight-decay", "-1", "is no number of at least 0"),
        ("--workers", "-1", "is less than 0"),
        ("--patience", "-1", "is less than 0"),
        ("--epochs", "0", "is less than 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    trained: Project, data: Path, option: str, value: str, reason: str
) -> None:
    result = trained.run("train.py", str(data), f"{option}={value}")
    assert result.returncode == 2
    assert f"argument {option}: {value} {reason}" in result.stderr


# Rows of a table, and what is said of them.
TABLES = [
    ("file,label\na.png, Hund\nb.png,Hund \n", "read"),
    ("file,label\na.png,Hund\na.png,猫\n", "line 3: a.png is 猫, and Hund in"),
    ("file,label\na.png,Hund\nb.png,\n", "line 3: there is no label"),
    ("file;label\na.png;Hund\n", "line 1: the columns file;label; expected file and label"),
    ("a.png,Hund\nb.png,猫\n", "line 1: the columns a.png, Hund; expected file and label"),
    ("file,label,label\na.png,1,2\n", "line 1: there are several columns 'label'"),
    ("file,label\na.png,Hund\n".encode("utf-16"), "cannot be read as CSV in UTF-8"),
]
# Folders with an image each, and what is said of them.
FOLDERS = [
    (["Hund", "猫", "__MACOSX", "Hund/.ipynb_checkpoints", ".cache"], "read"),
    (["training_set/Hund", "test_set/Hund"], "test_set, training_set, which are no classes"),
    (["train/Hund", "val/Hund", "chest_xray/Hund"], "chest_xray, train, val, which are no classes"),
    (["fold1/Hund", "fold2/Hund"], "fold1, fold2, which are no classes"),
    (["JPEGImages", "SegmentationClass"], "which are no classes"),
]


def test_tables_and_folders_as_people_have_them(trained: Project, tmp_path: Path) -> None:
    image = encode(Image.new("RGB", (8, 8)))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(image)
    places = []
    for number, (text, _) in enumerate(TABLES):
        places.append(tmp_path / f"{number}.csv")
        places[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
    for number, (folders, _) in enumerate(FOLDERS):
        places.append(tmp_path / str(number))
        for folder in folders:
            (places[-1] / folder).mkdir(parents=True)
            (places[-1] / folder / f"{len(folder)}.png").write_bytes(image)
    said = said_of(trained, *places)
    for line, (_, message) in zip(said, [*TABLES, *FOLDERS], strict=True):
        assert message in line
    code = (
        "from pathlib import Path; from tools.dataset import read_dataset; "
        "print(len(read_dataset(Path({!r}), {})))"
    )
    shown = trained.run("-c", code.format(str(places[len(TABLES)]), ["Hund", "猫"]))
    assert shown.stdout == "2\n"
    # Were these names or indices? Nobody knows.
    table = tmp_path / "numbers.csv"
    table.write_text("file,label\na.png,0\nb.png,1\n")
    shown = trained.run("-c", code.format(str(table), ["1", "2", "3"]))
    assert "'0' is no class of the network" in shown.stderr


def test_what_is_no_image_is_named(trained: Project, tmp_path: Path) -> None:
    data = write_data(tmp_path / "images", 4)
    (data / "Hund" / "notes.txt").write_text("no image")
    result = trained.run("train.py", str(data), "--epochs", "1", *QUICK)
    assert result.returncode == 1
    assert "notes.txt" in result.stderr


def test_a_checkpoint_with_another_last_layer_is_taken(tmp_path: Path, data: Path) -> None:
    project = make(tmp_path / "project", weights="safetensors", label_format="text")
    code = (
        "import sys, torch; from service.model import build_model; from safetensors.torch import "
        "save_file; save_file(build_model(7).state_dict(), 'other.safetensors')"
    )
    assert project.run("-c", code).returncode == 0
    result = project.run(
        "train.py", str(data), "--from", "other.safetensors", "--epochs", "1", *QUICK
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the last layer begins anew" in result.stdout
    project.archive()


def test_pretrained_weights_that_cannot_be_had_are_no_random_ones(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(tmp_path / "project", architecture="squeezenet1_1", image_size=32)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    result = project.run("train.py", str(data), *QUICK)
    assert result.returncode == 1
    assert "cannot fetch" in result.stderr
    assert "--from-scratch" in result.stderr
    assert not (project.path / "runs").exists()


NOTES = """
from pathlib import Path
from types import SimpleNamespace
from PIL import Image
from training.data import note_on_colours

gray = Image.linear_gradient("L").resize((700, 500))
gray.convert("RGB").save("gray.jpg")
Image.effect_noise((300, 200), 60).convert("P").save("gray.png")
Image.merge("RGB", [gray, gray, gray.rotate(180)]).save("colours.jpg")
Path("damaged.jpg").write_bytes(b"")
examples = [SimpleNamespace(item=Path(x)) for x in ("damaged.jpg", "gray.jpg", "gray.png")]
print(note_on_colours(examples) or "nothing")
print(note_on_colours([*examples, SimpleNamespace(item=Path("colours.jpg"))]) or "nothing")
"""


@pytest.mark.parametrize("color_mode", ["L", "RGB"])
def test_colours_that_are_not_as_answered_are_named(tmp_path: Path, color_mode: str) -> None:
    project = make(tmp_path / "project", color_mode=color_mode)
    result = project.run("-c", NOTES)
    assert result.returncode == 0, result.stderr
    of_gray, of_colours = result.stdout.splitlines()
    found, other = (of_colours, "RGB") if color_mode == "L" else (of_gray, "L")
    assert "nothing" in (of_gray, of_colours)
    assert f"(color_mode={color_mode}). " in found and found.endswith(f" -d color_mode={other}")


IDS = dict(zip(["n02099601", "n01440764", "n02123045"], BRIGHTNESS, strict=True))


@pytest.mark.parametrize("label_format", ["imagenet", "class_to_idx"])
def test_folders_named_by_wordnet_are_the_classes(tmp_path: Path, label_format: str) -> None:
    project = make(tmp_path / "project", label_format=label_format, evaluation=True)
    data = write_data(tmp_path / "data", 6)
    for number, name in IDS.items():
        (data / name).rename(data / number)
    labels = project.path / "class_to_idx.json"
    content: object = {number: index for index, number in enumerate(IDS)}
    if label_format == "imagenet":
        labels = project.path / "index_to_name.json"
        content = {str(index): [number, IDS[number]] for index, number in enumerate(IDS)}
    labels.write_text(json.dumps(content), "utf-8")
    result = project.run("train.py", str(data), "--epochs", "1", *QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
    shown = ", ".join(IDS.values() if label_format == "imagenet" else IDS)
    assert f"3 classes: {shown}\n" in result.stdout
    assert json.loads(labels.read_text("utf-8")) == content
    code = (
        "import sys; from pathlib import Path; from tools.dataset import read_dataset; "
        "from tools.labels import read_labels; data = Path(sys.argv[1]); "
        "print({Path(x.name).parent.name: x.target for x in read_dataset(data, read_labels(3)[0])})"
    )
    result = project.run("-c", code, str(data))
    assert result.stdout == f"{ {name: [*IDS].index(name) for name in sorted(IDS)} }\n"
    (data / "n02099601").rename(data / "n09999999")
    result = project.run("-c", code, str(data))
    assert "n09999999: 'n09999999' is no class of the network; expected" in result.stderr


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"weights": "torchscript"}, "weights=state_dict"),
        ({"task": "feature_extraction"}, "trains no networks of the task"),
        ({"task": "text_embedding"}, "trains no networks of the task"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, answers: dict[str, object], reason: str
) -> None:
    with pytest.raises(Exception, match=reason):
        run_copy(
            str(plain_copy(tmp_path / "template")),
            tmp_path / "project",
            data=answers | {"training": True},
            defaults=True,
            quiet=True,
        )
