"""Names of classes that a checkpoint brings: what `new` takes, and what contradicts them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from conftest import save_random_weights, ts_template
from generator.inspection import inspect_file
from generator.inspection.class_names import ClassNames, find_names
from generator.labels import LabelError, inspect_labels
from inspected import save_onnx

ABC = ("cat", "dog", "no")
FLOWERS = sorted(map(str, range(1, 13)))  # as ImageFolder has them: 1, 10, 11, 12, 2
FOLDERS = find_names({"class_to_idx": {name: index for index, name in enumerate(FLOWERS)}})
ANIMALS = find_names({"class_to_idx": {name: index for index, name in enumerate(ABC)}})


class Learner(nn.Linear):
    """A network that keeps the names as an attribute."""

    class_to_idx = None


def pickled() -> nn.Module:
    """Return a network with the names as people attach them."""
    network = Learner(2, 3)
    network.class_to_idx = {"dog": 1, "cat": 0, "no": 2}  # type: ignore[assignment]
    return network


STATE = {"fc.weight": torch.zeros(3, 2)}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"class_to_idx": {"dog": 1, "no": 2, "cat": 0}}, "class_to_idx"),
        ({"classes": [*ABC]}, "classes"),
        ({"meta": {"CLASSES": ABC}}, "meta.CLASSES"),
        ({"meta": {"dataset_meta": {"classes": ABC}}}, "meta.dataset_meta.classes"),
        ({"names": {0: "cat", 1: "dog", 2: "no"}}, "names"),
        ({"id2label": {"0": "cat", "1": "dog", "2": "no"}}, "id2label"),
        ({"idx_to_class": {2: "no", 1: "dog", 0: "cat"}}, "idx_to_class"),
        ({"categories": [*ABC]}, "categories"),
        ({"hyper_parameters": {"class_names": [*ABC]}}, "hyper_parameters.class_names"),
        ({"args": argparse.Namespace(classes=[*ABC], lr=0.1)}, "args.classes"),
        ({"net": pickled()}, "net.class_to_idx"),
    ],
)
def test_where_people_and_frameworks_keep_names(
    content: dict[str, Any], place: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": STATE, **content}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.class_names == (ClassNames(place, ABC),)


def test_what_is_under_such_keys_and_names_no_classes(tmp_path: Path) -> None:
    content = {
        "classes": 3,
        "labels": [0, 1, 1],
        "names": {0: "a", 2: "c"},
        "categories": {"a": 1.0},
        "class_to_idx": dict.fromkeys(FLOWERS, "x"),
        "cat_to_name": {"0": "a"},
        "history": ["a", "b"],
    }
    torch.save({"state_dict": STATE, **content}, tmp_path / "x.pth")
    assert inspect_file(tmp_path / "x.pth").class_names == ()


def test_files_with_a_graph_bring_names_beside_it(tmp_path: Path) -> None:
    import onnx
    from safetensors.torch import save_file

    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    names = json.dumps({"0": "cat", "1": "dog", "2": "no"})
    images = torch.zeros(2, 3, 8, 8)
    module = torch.jit.trace(network, images)
    torch.jit.save(module, tmp_path / "ts", _extra_files={"labels.json": names})
    program = torch.export.export(network, (images,))
    torch.export.save(program, tmp_path / "pt2", extra_files={"classes.txt": "cat\ndog\nno\n"})
    save_onnx(network, tmp_path / "onnx", images)
    model = onnx.load(tmp_path / "onnx")
    onnx.helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog', 2: 'no'}", "stride": "1"})
    onnx.save(model, tmp_path / "onnx")
    save_file({"fc.weight": torch.zeros(3, 2)}, tmp_path / "st", metadata={"classes": str(ABC)})
    for name in ("ts", "pt2", "onnx", "st"):
        (found,) = inspect_file(tmp_path / name).class_names
        assert found.names == ABC, name


def labels(folder: Path, name: str, content: Any) -> Path:
    """Write a label file."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, "utf-8")
    return folder / name


BY_NUMBER = {str(n): f"flower {n}" for n in range(1, 13)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cat_to_name.json", BY_NUMBER),
        ("names.txt", "".join(f"{n} {name}\n" for n, name in BY_NUMBER.items())),
        ("last.txt", "".join(f"{name}, {n}\n" for n, name in BY_NUMBER.items())),
        ("names.csv", "id,name\n" + "".join(f"{n},{x}\n" for n, x in BY_NUMBER.items())),
    ],
)
def test_numbers_of_folders_are_put_into_the_order_of_the_checkpoint(
    name: str, content: Any, tmp_path: Path
) -> None:
    found = inspect_labels(labels(tmp_path, name, content), 12, FOLDERS)
    assert found.names == [BY_NUMBER[folder] for folder in FLOWERS]
    assert found.names[1] == "flower 10"
    assert found.is_written
    assert "taken as names of folders, in the order of class_to_idx" in found.notes[0]


def test_what_could_be_read_in_two_orders_is_asked(tmp_path: Path) -> None:
    alone = labels(tmp_path, "names.txt", "\n".join(BY_NUMBER.values()))
    from_zero = sorted(map(str, range(12)))
    zero = find_names({"class_to_idx": {name: index for index, name in enumerate(from_zero)}})
    numbered = labels(tmp_path, "zero.json", {str(n): f"flower {n}" for n in range(12)})
    for path, own, folders in ((alone, FOLDERS, FLOWERS), (numbered, zero, from_zero)):
        with pytest.raises(LabelError, match=r"--label-order folders .* --label-order outputs"):
            inspect_labels(path, 12, own)
        found = inspect_labels(path, 12, own, "folders")
        assert found.names == [f"flower {folder}" for folder in folders]
        found = inspect_labels(path, 12, own, "outputs")
        assert found.names == [f"flower {folder}" for folder in sorted(folders, key=int)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "cat\ndog\nno\n", [*ABC]),
        ("a.txt", "Cat\nDog\nNo.\n", ["Cat", "Dog", "No."]),
        ("a.json", {"cat": "Katze", "no": "nein", "dog": "Hund"}, ["Katze", "Hund", "nein"]),
        ("a.csv", "folder,name\ndog,Hund\ncat,Katze\nno,nein\n", ["Katze", "Hund", "nein"]),
        ("a.txt", "dog\ncat\nno\n", "class 0 is 'dog' in .* and 'cat' in the checkpoint"),
        ("a.json", {"cat": 1, "dog": 0, "no": 2}, "class 0 is 'dog'"),
        ("a.txt", "cat\ndog\nhorse\n", "class 2 is 'horse'"),
        ("a.txt", "Katze\nHund\nnein\n", "--label-order outputs"),
        ("a.yaml", "names: [dog, cat, no]\n", "class 0 is 'dog'"),
        ("a.json", {"cat": "Katze", "dog": "Hund"}, "'cat' is no index"),
    ],
)
def test_a_label_file_agrees_with_the_checkpoint_or_is_refused(
    name: str, content: Any, expected: list[str] | str, tmp_path: Path
) -> None:
    path = labels(tmp_path, name, content)
    if isinstance(expected, str):
        with pytest.raises(LabelError, match=expected):
            inspect_labels(path, 3, ANIMALS)
        return
    assert inspect_labels(path, 3, ANIMALS).names == expected


def test_the_user_can_say_that_other_names_are_right(tmp_path: Path) -> None:
    path = labels(tmp_path, "a.txt", "Katze\nHund\nnein\n")
    found = inspect_labels(path, 3, ANIMALS, "outputs")
    assert (found.names, found.is_written) == (["Katze", "Hund", "nein"], False)


def test_folders_are_compared_as_well(tmp_path: Path) -> None:
    for name in ("ant", "bee", "fly"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(LabelError, match="class 0 is 'ant'"):
        inspect_labels(tmp_path / "train", 3, ANIMALS)


def test_new_takes_the_names_of_the_checkpoint_in_its_order(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=12)
    save_random_weights(network, tmp_path / "w.pth")
    indices = {name: index for index, name in enumerate(FLOWERS)}
    torch.save({"model": network.state_dict(), "class_to_idx": indices}, tmp_path / "w.pth")
    labels(tmp_path, "cat_to_name.json", BY_NUMBER)
    words = ("--labels", "cat_to_name.json", "--defaults", "-d", "backend=eager")
    result = ts_template("new", "p", "--weights", "w.pth", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "p" / "index_to_name.json").read_text())
    assert written == {str(i): BY_NUMBER[name] for i, name in enumerate(FLOWERS)}
    assert "12 classes: flower 1, flower 10, flower 11" in result.stdout


def test_two_lists_that_differ_are_not_chosen_from(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    content = {"model": network.state_dict(), "classes": [*ABC], "class_to_idx": {"a": 0, "b": 1}}
    content["names"] = ["dog", "cat", "no"]
    torch.save(content, tmp_path / "w.pth")
    result = ts_template("new", "p", "--weights", "w.pth", "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert "names its classes in 2 ways; name a label file with --labels" in result.stderr
    assert not (tmp_path / "p").exists()
    result = ts_template("inspect", "w.pth", "--labels", "a.txt", cwd=tmp_path)
    labels(tmp_path, "a.txt", "dog\ncat\nno\n")
    result = ts_template("inspect", "w.pth", "--labels", "a.txt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("kind", ["U3", object])
def test_names_in_an_array_of_numpy_are_read(kind: Any, tmp_path: Path) -> None:
    names = np.array(["a", "bcd", "猫"], dtype=kind)
    content = {"state_dict": torchvision.models.resnet18(num_classes=3).state_dict()}
    torch.save({**content, "encoder": {"classes": names}}, tmp_path / "x.pth")
    (found,) = inspect_file(tmp_path / "x.pth").class_names
    assert (found.place, found.names) == ("encoder.classes", ("a", "bcd", "猫"))
