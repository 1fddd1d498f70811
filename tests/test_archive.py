"""archive.py: what it builds, what it refuses, and the fix that it names."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from conftest import Project, in_shell, labels_of, save_random_weights, slow


def run_suggestion(project: Project, output: str) -> None:
    """Run the command that a message ends with, as it is printed, in the project as it is."""
    match = re.search(r"((cd|git|copier) .*\bcopier update .*|copier update .*)", output)
    assert match, output
    result = in_shell(match[0], project.path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("prefix", "classes", "answers", "message"),
    [
        pytest.param(
            "",
            7,
            {},
            "it has 7 outputs, the project expects 1000",
            id="class count",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("resnet18.", 1000, {}, "such as resnet18.conv1.weight"),
            id="no prefix asked",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "model.backbone.",
            7,
            {"weights": "wrapped", "state_dict_prefix": "module."},
            "such as model.backbone.conv1.weight, and it has 7 outputs",
            id="wrong prefix and class count",
        ),
        pytest.param(
            *("", 1000, {"weights": "wrapped"}, "such as conv1.weight"),
            id="prefix too many",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_named_fix_works(
    copy_released: Callable[..., Project],
    prefix: str,
    classes: int,
    answers: dict[str, Any],
    message: str,
) -> None:
    project = copy_released(architecture="resnet18", label_format="none", **answers)
    network = torchvision.models.resnet18(num_classes=classes)
    save_random_weights(network, project.path / "weights" / "w.pth", prefix)
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert message in refused.stderr
    assert not list((project.path / "model-store").iterdir())
    run_suggestion(project, refused.stderr)
    project.archive()


def save(path: Path, content: object, **options: Any) -> None:
    """torch.save, quietly."""
    torch.save(content, path, **options)


def network_state(num_classes: int = 4) -> dict[str, torch.Tensor]:
    """Return the weights of the template's small network."""
    torch.manual_seed(0)
    shapes = {
        "features.0.weight": (16, 1, 3, 3),
        "features.0.bias": (16,),
        "features.3.weight": (32, 16, 3, 3),
        "features.3.bias": (32,),
        "classifier.1.weight": (128, 512),
        "classifier.1.bias": (128,),
        "classifier.3.weight": (num_classes, 128),
        "classifier.3.bias": (num_classes,),
    }
    return {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}


class Module(nn.Module):
    """A module to pickle whole."""


def test_files_that_are_no_state_dict_are_named(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    folder = tmp_path / "files"
    folder.mkdir()
    state = network_state()
    save(folder / "good.pth", state)
    save(folder / "legacy.pth", state, _use_new_zipfile_serialization=False)
    save(folder / "half.pth", {name: tensor.half() for name, tensor in state.items()})
    save(folder / "training.pth", {"epoch": 3, "state_dict": state})
    save(folder / "module.pth", Module())
    save(folder / "number.pth", 3)
    save(folder / "other.pth", {f"layers.{name}": x for name, x in list(state.items())[:3]})
    save(folder / "colour.pth", state | {"features.0.weight": torch.zeros(16, 3, 3, 3)})
    torch.jit.script(nn.Linear(2, 2)).save(folder / "script.pt")
    whole = (folder / "good.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pth").write_bytes(b"")
    (folder / "page.pth").write_bytes(b"\n<!DOCTYPE html><html>404</html>")
    (folder / "lfs.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "text.pth").write_text("these are not weights")
    expected = {
        "good.pth": None,
        "legacy.pth": None,
        "half.pth": None,
        "training.pth": "-d weights=checkpoint",
        "module.pth": "-d weights=checkpoint",
        "number.pth": "holds int, not",
        "other.pth": r"the network +the file\n +features\.0\.weight \(16, 1, 3, 3\) +-\n",
        "colour.pth": r"\(16, 1, 3, 3\) +features\.0\.weight \(16, 3, 3, 3\)\n(.|\n)*model\.py",
        "script.pt": "-d weights=torchscript",
        "truncated.pth": "copied in full",
        "empty.pth": "is empty",
        "page.pth": "web page",
        "lfs.pth": "git lfs pull",
        "text.pth": "holds Python objects|cannot be read",
        "absent.pth": "there is no file",
    }
    outcomes = build_each(project, folder, list(expected))
    for name, pattern in expected.items():
        if pattern is None:
            assert outcomes[name] is None, (name, outcomes[name])
        else:
            assert outcomes[name] and re.search(pattern, outcomes[name]), (name, outcomes[name])


LABELS: dict[str, tuple[str, str | None]] = {
    "good": ('{"1": "b", "0": "a", "2": "c", "3": "d"}', None),
    "byte order mark": ('\ufeff{"0": "a", "1": "b", "2": "c", "3": "d"}', None),
    "gap": ('{"0": "a", "1": "b", "3": "d"}', "lacks 2"),
    "one-based": ('{"1": "a", "2": "b", "3": "c", "4": "d"}', None),
    "odd one": ('{"0": "a", "1": "b", "2": "c", "7": "d"}', "lacks 3 and should not have 7 (d)"),
    "more": ('{"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"}', "as its weights show"),
    "twice": ('{"0": "a", "1": "b", "2": "c", "2": "d"}', "more than once: 2"),
    "no string": ('{"0": "a", "1": 2, "2": "c", "3": "d"}', "class 1 is 2"),
    "inverted": ('{"cat": 0, "dog": 1, "emu": 2, "fox": 3}', "-d label_format=class_to_idx"),
    "list": ('["a", "b", "c", "d"]', "-d label_format=list"),
    "broken": ('{"0": "a",', "not valid JSON"),
    "surrogate": ('{"0": "a\\ud800", "1": "b", "2": "c", "3": "d"}', "surrogate"),
}


def test_label_files_are_checked(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    folder = tmp_path / "labels"
    folder.mkdir()
    save(project.path / "weights" / "w.pth", network_state())
    for name, (content, _) in LABELS.items():
        (folder / name).write_text(content, encoding="utf-8")
    outcomes = build_each(project, folder, list(LABELS), parameter="labels")
    for name, (_, message) in LABELS.items():
        if message is None:
            assert outcomes[name] is None, (name, outcomes[name])
        else:
            assert message in (outcomes[name] or ""), (name, outcomes[name])


def build_each(
    project: Project, folder: Path, names: list[str], parameter: str = "weights", output: str = ""
) -> dict[str, str | None]:
    """Build an archive for each file, in one process; return the errors by name.

    With `output`, each goes to a folder of its own in that folder of the project.
    """
    code = f"""
import json, sys
from pathlib import Path
import archive
from tools.project import ProjectError
outcomes = {{}}
for name in json.loads(sys.argv[2]):
    arguments = {{"weights": None, "{parameter}": Path(sys.argv[1], name)}}
    arguments["weights"] = arguments["weights"] or archive.find_weights()
    if {output!r}:
        arguments["output"] = Path({output!r}, name)
    try:
        archive.build(**arguments)
        outcomes[name] = None
    except ProjectError as error:
        outcomes[name] = str(error)
print("OUTCOMES" + json.dumps(outcomes))
"""
    result = project.run("-c", code, str(folder), json.dumps(names))
    assert "OUTCOMES" in result.stdout, result.stderr
    outcomes: dict[str, str | None] = json.loads(result.stdout.partition("OUTCOMES")[2])
    return outcomes


@pytest.mark.parametrize("name", ["plain", "with space, comma [x] and ümlaut"])
def test_every_archive_format_serves(copy_project: Callable[..., Project], name: str) -> None:
    project = copy_project(name, architecture="custom", num_classes=4, model_name="net_1-a")
    save(project.path / "weights" / "w.pth", network_state())
    labels_of(project.path, ["a", "b", "c", "d"])
    image = project.path / "image.png"
    from conftest import noise

    noise(0).save(image)
    answers = []
    for archive_format, file in {
        "zip-store": "net_1-a.mar",
        "default": "net_1-a.mar",
        "tgz": "net_1-a.tar.gz",
        "no-archive": "net_1-a",
    }.items():
        project.archive("--format", archive_format, "--version", "2.1", "--output", "out")
        archive = project.path / "out" / file
        result = project.run("predict.py", "--json", "--archive", str(archive), "image.png")
        assert result.returncode == 0, result.stderr
        answers.append(result.stdout)
    assert len(set(answers)) == 1
    names = {path.name for path in (project.path / "out").iterdir()}
    assert names == {"net_1-a.mar", "net_1-a.tar.gz", "net_1-a"}


def test_the_archive_holds_what_serving_needs_and_nothing_else(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    save(project.path / "weights" / "w.pth", network_state())
    project.archive("--version", "3.0")
    path = project.path / "model-store" / "image-classifier.mar"
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {
            "MAR-INF/MANIFEST.json",
            "handler.py",
            "index_to_name.json",
            "model-config.yaml",
            "state_dict.pth",
            *(f"service/{path.name}" for path in (project.path / "service").glob("*.py")),
        }
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"]["modelVersion"] == "3.0"


def test_a_failed_build_leaves_the_archive_before_it(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    weights = project.path / "weights" / "w.pth"
    save(weights, network_state())
    project.archive()
    store = project.path / "model-store"
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    save(weights, network_state() | {"classifier.3.bias": torch.full((4,), float("nan"))})
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "NaN" in result.stderr
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


def test_several_or_no_checkpoints_are_an_error_that_names_them(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    assert "put your state_dict into" in project.run("archive.py").stderr
    for name in ("a.pth", "b.pth"):
        save(project.path / "weights" / name, network_state())
    result = project.run("archive.py")
    assert "a.pth, b.pth" in result.stderr
    assert "--weights" in result.stderr
    project.archive("--weights", "weights/b.pth")


def test_predict_prints_a_table_and_tells_bad_images(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4, response_format="scores")
    save(project.path / "weights" / "w.pth", network_state())
    labels_of(project.path, ["猫", "b", "b", "d"])
    project.archive()
    from conftest import noise

    noise(0).save(project.path / "good.png")
    (project.path / "bad.png").write_bytes(b"\x89PNG no")
    result = project.run("predict.py", "good.png", "bad.png")
    assert result.returncode == 1
    assert re.search(r"good\.png\n +\d+\.\d\d%  ", result.stdout)
    assert "猫" in result.stdout
    assert "b (1)" in result.stdout and "b (2)" in result.stdout  # two classes of one name
    assert re.search(r"bad\.png\n +the data is no image", result.stdout)
    assert "there is no image" in project.run("predict.py", "absent.png").stderr


def test_a_module_that_the_archive_lacks_is_named(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    save(project.path / "weights" / "w.pth", network_state())
    (project.path / "blocks.py").write_text("KERNEL = 3\n")
    model = project.path / "service" / "model.py"
    model.write_text("from blocks import KERNEL\n" + model.read_text())
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert "python archive.py --extra-files blocks.py" in refused.stderr
    project.archive("--extra-files", "blocks.py")


@pytest.mark.parametrize("name", ["index_to_name.json", "service/handler.py", "weights/w.pth"])
def test_an_extra_file_takes_the_place_of_no_other(
    copy_project: Callable[..., Project], name: str
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    save(project.path / "weights" / "w.pth", network_state())
    refused = project.run("archive.py", "--extra-files", name, name)
    assert refused.returncode == 1
    assert f"has a file {Path(name).name} already" in refused.stderr


def test_a_folder_that_is_no_archive_is_not_replaced(copy_project: Callable[..., Project]) -> None:
    project = copy_project("image-classifier", architecture="custom", num_classes=4)
    save(project.path / "weights" / "w.pth", network_state())
    refused = project.run("archive.py", "--format", "no-archive", "--output", "..")
    assert refused.returncode == 1
    assert "no archive" in refused.stderr
    assert (project.path / "README.md").is_file()
    for _ in range(2):  # an archive from before is replaced
        project.archive("--format", "no-archive", "--output", "out")


def test_checkpoints_with_the_names_of_old_releases_load(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="densenet121", num_classes=4, label_format="none")
    network = torchvision.models.densenet121(num_classes=4)
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): tensor
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    save(project.path / "weights" / "densenet121.pth", state)
    project.archive()


@pytest.mark.parametrize("head", [slow("dropout"), slow("mlp"), "mlp_dropout"])
def test_another_head_is_named(copy_released: Callable[..., Project], head: str) -> None:
    project = copy_released(architecture="resnet18", num_classes=10, label_format="none")
    network = torchvision.models.resnet18(num_classes=10)
    network.fc = {
        "dropout": nn.Sequential(nn.Dropout(), nn.Linear(512, 7)),
        "mlp": nn.Sequential(nn.Linear(512, 96), nn.ReLU(), nn.Linear(96, 7)),
        "mlp_dropout": nn.Sequential(nn.Linear(512, 96), nn.ReLU(), nn.Dropout(), nn.Linear(96, 7)),
    }[head]
    save_random_weights(network, project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    assert f"-d head={head}" in refused.stderr
    assert "-d num_classes=7" in refused.stderr
    run_suggestion(project, refused.stderr)
    project.archive()


def test_colour_weights_serve_grayscale_images(copy_project: Callable[..., Project]) -> None:
    from conftest import noise

    answers = {"mean": 0.4, "std": 0.2, "transforms": "custom", "image_size": 64, "top_k": 6}
    answers |= {"architecture": "googlenet", "num_classes": 6, "label_format": "none"}
    colour = copy_project("colour", **answers, transform_input=False)
    grey = copy_project("grey", **answers, color_mode="L")
    network = torchvision.models.googlenet(num_classes=6, init_weights=False)  # with its aux heads
    for project in (colour, grey):
        save_random_weights(network, project.path / "weights" / "w.pth")
    result = grey.run("archive.py")
    assert result.returncode == 0, result.stderr
    assert "summed the three input channels" in result.stdout
    assert "auxiliary heads" in result.stdout
    colour.archive()
    image = grey.path / "image.png"
    noise(0).convert("L").save(image)  # equal in all three channels once it is RGB
    one, other = (project.predict(image)[0][0] for project in (colour, grey))
    assert one["index"] == other["index"]
    assert abs(one["probability"] - other["probability"]) < 1e-3  # one grey level
