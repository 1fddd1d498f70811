"""ts-template adopt: from a hand-written service to a project, beside its files."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import yaml
from PIL import Image
from test_detector_arguments import saved as save_detector

import forked
import handwritten
from conftest import Project, noise, save_random_weights, slow, ts_template

# Loads an unpacked archive as TorchServe does, and predicts for images. The package captum, which
# TorchServe's ImageClassifier imports for explanations, is nowhere installed.
NEAR = 1e-3  # of a probability: pixels are right within one grey level
RUN = """
import json, sys, types
captum, attr = types.ModuleType("captum"), types.ModuleType("captum.attr")
attr.IntegratedGradients = lambda model: None
sys.modules |= {"captum": captum, "captum.attr": attr}
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader
folder, handler, *images = sys.argv[1:]
sys.path.insert(0, folder)
service = TsModelLoader().load("theirs", folder, handler, batch_size=1)
context = service.context
context.metrics = types.SimpleNamespace(add_time=lambda *values: None)
for image in images:
    context.request_ids = {0: "0"}
    context.request_processor = [RequestProcessor({})]
    with open(image, "rb") as file:
        (answer,) = service._entry_point([{"body": file.read()}], context)
    print(json.dumps(answer))
"""

Services = Callable[..., Path]


def adopt(
    folder: Path, *arguments: str, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ts-template adopt`, without a terminal."""
    result = ts_template("adopt", str(folder), *arguments, cwd=cwd)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result


def git(folder: Path, *words: str) -> str:
    """Run git and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    result = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return result.stdout


def commit(folder: Path) -> None:
    """Make the folder a git repository with everything in it."""
    git(folder, "init", "-q")
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-qm", "Start")


@pytest.fixture
def service(tmp_path: Path) -> Services:
    """Write a hand-written service: its files, then what changes in them."""

    def write(files: dict[str, str], **changes: tuple[str, str]) -> Path:
        folder = tmp_path / "service"
        for name, text in files.items():
            for old, new in (x for key, x in changes.items() if key == Path(name).stem):
                assert old in text, old
                text = text.replace(old, new)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removeprefix("\n"), encoding="utf-8")
        return folder

    return write


def network_of(folder: Path, file: str, name: str, *arguments: Any) -> torch.nn.Module:
    """Return the network that a class of theirs makes."""
    namespace: dict[str, Any] = {"__name__": "theirs"}
    exec((folder / file).read_text(encoding="utf-8"), namespace)
    network: torch.nn.Module = namespace[name](*arguments)
    return network


def theirs(folder: Path, archive: list[str], handler: str, *images: Path) -> list[Any]:
    """Return what their own handler answers, in an archive as their own command makes it."""
    store, scratch = folder.parent / "theirs", folder.parent / "scratch"
    store.mkdir()
    scratch.mkdir()
    command = ["-m", "model_archiver.model_packaging", *archive]
    command += ["--model-name", "m", "--version", "1", "--archive-format", "no-archive"]
    command += ["--handler", handler, "--export-path", str(store)]
    result = forked.run(command, folder, {**os.environ, "TMPDIR": str(scratch)})
    assert result.returncode == 0, result.stderr
    result = forked.run(["-c", RUN, str(store / "m"), handler, *map(str, images)], folder.parent)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith(("[", "{"))]


def answers_of(folder: Path) -> dict[str, Any]:
    """Return the answers of the project."""
    answers: dict[str, Any] = yaml.safe_load((folder / ".copier-answers.yml").read_text("utf-8"))
    return answers


def noises(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    """Save images of noise beside the folder."""
    paths = []
    for seed, size in enumerate(sizes):
        paths.append(folder.parent / f"{seed}.png")
        noise(seed, size).save(paths[-1])
    return paths


SIZES = ((200, 120), (90, 300), (64, 64))


def test_a_handler_with_a_hard_coded_weights_file(service: Services) -> None:
    folder = service(handwritten.BASE)
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    samples = noises(folder, *SIZES)
    expected = theirs(
        folder, ["--serialized-file", "flowers_mobilenet.pth"], "handler.py", *samples
    )
    result = adopt(folder, "--defaults")
    assert "replaced: handler.py, by service/handler.py" in result.stdout
    assert "requirements.txt had opencv-python: " in result.stdout
    assert "build.sh:5" in result.stdout
    assert "archive.py --version 2.1" in result.stdout
    assert {
        "architecture": "mobilenet_v3_small",
        "model_name": "flowers",
        "num_classes": 3,
        "weights": "state_dict",
        "transforms": "custom",
        "resize_mode": "stretch",
        "image_size": 128,
        "label_format": "list",
        "response_format": "predictions",
        "top_k": 2,
    }.items() <= answers_of(folder).items()
    ignored = (folder / ".gitignore").read_text()
    assert ignored.startswith("*.pth\nsecrets.env\n")
    assert "model-store/" in ignored
    assert "flowers_mobilenet.pth" in git(folder, "ls-files")

    project = Project(folder)
    project.archive("--version", "2.1")
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert [x["label"] for x in answer] == [x["class"] for x in known]
        for one, other in zip(answer, known, strict=True):
            assert abs(one["probability"] - other["prob"]) < NEAR


def test_a_wrapper_class(service: Services) -> None:
    folder = service(handwritten.WRAPPER)
    save_random_weights(network_of(folder, "model.py", "PetClassifier"), folder / "pets.pt")
    commit(folder)
    samples = noises(folder, *SIZES)
    words = ["--model-file", "model.py", "--serialized-file", "pets.pt"]
    words += ["--extra-files", "index_to_name.json"]
    expected = theirs(folder, words, "pet_handler.py", *samples)
    result = adopt(folder, "--defaults", "-d", "response_format=scores")
    assert "response_format: scores  " in result.stdout
    assert {
        "project_name": "Pets at Home",
        "model_name": "pets",
        "architecture": "resnet18",
        "weights": "wrapped",
        "state_dict_prefix": "resnet18.",
        "head": "mlp_dropout",
        "head_units": 64,
        "transforms": "imagenet",
        "label_format": "index_to_name",
    }.items() <= answers_of(folder).items()
    assert "no longer needed: pet_handler.py" in result.stdout
    assert "config.properties:1 had inference_address=http://0.0.0.0:8080" in result.stdout
    assert (folder / "index_to_name.json").read_text("utf-8") == handwritten.WRAPPER[
        "index_to_name.json"
    ]
    assert "pet_handler.py" not in git(folder, "diff", "--name-only")

    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert next(iter(answer)) == known["label"]
        assert abs(answer[known["label"]] - known["score"]) < NEAR


def test_a_module_with_handle_and_a_network_of_ones_own(service: Services) -> None:
    folder = service(handwritten.HANDLE)
    torch.manual_seed(0)
    network = network_of(folder, "model_handler.py", "DigitNet", 1)
    (folder / "checkpoints").mkdir()
    torch.save(
        {"epoch": 3, "model_state_dict": network.state_dict()}, folder / "checkpoints/last.ckpt"
    )
    commit(folder)
    samples = noises(folder, *SIZES)
    words = ["--serialized-file", "checkpoints/last.ckpt"]
    expected = theirs(folder, words, "model_handler.py", *samples)
    result = adopt(folder, "--defaults")
    assert {
        "architecture": "custom",
        "num_classes": 10,
        "color_mode": "L",
        "weights": "checkpoint",
        "transforms": "custom",
        "image_size": 32,
        "mean": [0.1307],
        "label_format": "none",
    }.items() <= answers_of(folder).items()
    assert "no longer needed: model_handler.py" in result.stdout
    model = (folder / "service" / "model.py").read_text()
    assert "class DigitNet" in model
    assert "def block(" in model
    assert "WIDTH = 8" in model
    for other in ("ModelHandler", "transforms", "PIL"):
        assert other not in model

    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert [x["index"] for x in answer] == torch.tensor(known).topk(5).indices.tolist()
        assert abs(answer[0]["probability"] - max(known)) < NEAR


def test_a_subclass_of_image_classifier(service: Services) -> None:
    folder = service(handwritten.CLASSIFIER)
    save_random_weights(network_of(folder, "mnist.py", "Net"), folder / "mnist_cnn.pt")
    commit(folder)
    samples = noises(folder, (28, 28), (28, 28))
    for path in samples:
        Image.open(path).convert("L").save(path)
    words = ["--model-file", "mnist.py", "--serialized-file", "mnist_cnn.pt"]
    expected = theirs(folder, words, "mnist_handler.py", *samples)
    result = adopt(folder, "--defaults", "-d", "image_size=28")
    assert {
        "architecture": "custom",
        "model_name": "mnist",
        "color_mode": "L",
        "num_classes": 10,
        "mean": [0.1307],
        "response_format": "scores",
        "top_k": 3,
    }.items() <= answers_of(folder).items()
    assert "no longer needed: mnist.py (service/model.py has its class)" in result.stdout

    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert list(answer) == list(known)
        assert answer == pytest.approx(known, abs=NEAR)
    tested = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout


def test_a_segmenter(service: Services) -> None:
    folder = service(handwritten.SEGMENTER)
    network = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        num_classes=3, weights_backbone=None, aux_loss=True
    )
    save_random_weights(network, folder / "roads.pth")
    torch.save({"model": network.state_dict(), "epoch": 3}, folder / "roads.pth")
    commit(folder)
    samples = noises(folder, *SIZES)
    expected = theirs(folder, ["--serialized-file", "roads.pth"], "seg_handler.py", *samples)
    result = adopt(folder, "--defaults")
    assert "CONTRADICTION" not in result.stdout
    assert {
        "task": "semantic_segmentation",
        "architecture": "deeplabv3_mobilenet_v3_large",
        "model_name": "roads",
        "num_classes": 3,
        "weights": "checkpoint",
        "transforms": "custom",
        "resize_mode": "shorter_side",
        "image_size": 256,
        "label_format": "list",
        "response_format": "png",
    }.items() <= answers_of(folder).items()

    project = Project(folder)
    project.archive()
    for prediction, known in zip(project.predict(*samples), expected, strict=True):
        assert np.mean(mask_of(prediction) == mask_of(known)) > 0.98
        assert prediction["classes"][0]["label"] in ("background", "road", "車")


def mask_of(prediction: dict[str, Any]) -> np.ndarray:
    """Return the mask of theirs or of a project's prediction."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(prediction["mask"]))))


@pytest.mark.slow
def test_a_tagger(service: Services) -> None:
    folder = service(handwritten.TAGGER)
    network = torchvision.models.resnet18(num_classes=3)
    save_random_weights(network, folder / "tags.pth")
    commit(folder)
    samples = noises(folder, *SIZES)
    expected = theirs(folder, ["--serialized-file", "tags.pth"], "tag_handler.py", *samples)
    result = adopt(folder, "--defaults", "-d", "response_format=scores")
    assert "a sigmoid, and a threshold in tag_handler.py:36 speaks for it" in result.stdout
    assert "softmax" not in result.stdout
    assert {
        "task": "multi_label_classification",
        "architecture": "resnet18",
        "transforms": "imagenet",
        "label_format": "list",
    }.items() <= answers_of(folder).items()
    assert answers_of(folder)["thresholds"] == [0.3]

    project = Project(folder)
    project.archive()
    for prediction, known in zip(project.predict(*samples), expected, strict=True):
        above = {name: p for name, p in prediction.items() if p > 0.3}
        assert above == pytest.approx(known, abs=NEAR)


@pytest.mark.slow
def test_torchserves_own_segmenter(service: Services) -> None:
    model = """
from torchvision.models.segmentation import DeepLabV3, deeplabv3_mobilenet_v3_large

class Segmenter(DeepLabV3):
    def __init__(self, num_classes=21):
        model = deeplabv3_mobilenet_v3_large(num_classes=num_classes, weights_backbone=None)
        super().__init__(model.backbone, model.classifier)
"""
    command = "torch-model-archiver --model-name seg -v 1 --model-file m.py --serialized-file s.pth"
    folder = service({"m.py": model, "README": f"    {command} --handler image_segmenter\n"})
    save_random_weights(network_of(folder, "m.py", "Segmenter", 5), folder / "s.pth")
    result = adopt(folder, "--defaults")
    assert "a project keeps the whole image" in result.stdout
    expected = {
        "task": "semantic_segmentation",
        "architecture": "custom",
        "num_classes": 5,
        "transforms": "custom",
        "resize_mode": "shorter_side",
        "image_size": 256,
    }
    answers = answers_of(folder)
    assert {name: answers[name] for name in expected} == expected
    assert "to scores (N, num_classes, H, W)." in (folder / "service" / "model.py").read_text()
    project = Project(folder)
    project.archive()
    (prediction,) = project.predict(*noises(folder, (90, 60)))
    assert mask_of(prediction).shape == (60, 90)


# What a handler derived from BaseHandler computes of the scores of a network that is not known, and
# the task that is proposed; whether it is certain.
SCORES: dict[str, tuple[str, str, str]] = {
    "softmax": ("torch.softmax(scores, dim=1)", "image_classification", "handler.py:"),
    "sigmoid": ("scores.sigmoid()", "multi_label_classification", "a sigmoid speaks for it"),
    "out": ('scores["out"].argmax(1)', "semantic_segmentation", '["out"] speaks for it'),
    "nothing": ("scores", "image_classification", "neither the code nor the weights tell"),
    "both": ("scores.sigmoid(), scores.softmax(1)", "image_classification", "two places differ"),
}


@pytest.mark.parametrize("name", SCORES)
def test_the_task_is_read(service: Services, name: str) -> None:
    code, task, shown = SCORES[name]
    handler = f"""
import torch
from ts.torch_handler.base_handler import BaseHandler

class Gate(torch.nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)

class Mine(BaseHandler):
    def postprocess(self, scores):
        return {code}
"""
    folder = service({"handler.py": handler})
    commit(folder)
    given = {"architecture": "custom", "num_classes": 3, "transforms": "to_tensor"}
    words = [word for name, value in given.items() for word in ("-d", f"{name}={value}")]
    result = adopt(folder, "--defaults", *words)
    (line,) = (
        line
        for line in result.stdout.splitlines()
        if line.strip().startswith("task: ") and "(assumed" not in line
    )
    assert task in line
    assert shown in line
    assert ("; likely" in line) == (name != "softmax")
    assert ("CONTRADICTION task" in result.stdout) == (name == "both")
    assert answers_of(folder)["task"] == task
    assert (f"task: {task} (assumed" in result.stdout) == (name != "softmax")


# ------------------------------------------------------------ what is not lost


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, git's own aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_nothing_in_their_files_is_run(service: Services, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w').close()"
    files = {name: f"{touch}\n{text}" for name, text in handwritten.CLASSIFIER.items()}
    files["docs/serving.md"] = handwritten.CLASSIFIER["docs/serving.md"].replace(
        "--version 1.0", f"--version $(touch {canary})"
    )
    files["mnist.py"] = files["mnist.py"].replace(
        "class Net(nn.Module):", f"class Net(nn.Module):\n    {touch}"
    )
    for name in ("sitecustomize", "json", "labels", "torch", "project", "yaml", "setup"):
        files[f"{name}.py"] = touch
    files["build.sh"] = files["Makefile"] = f"touch {canary}\n"
    folder = service(files)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {canary}",)

    weights = {"state_dict": {"fc2.weight": torch.zeros(10, 32)}, "evil": Evil()}
    torch.save(weights, folder / "mnist_cnn.pt")
    commit(folder)
    adopt(folder, "--defaults", "-d", "image_size=28")
    assert "class Net" in (folder / "service" / "model.py").read_text()
    assert not canary.exists()


@pytest.mark.parametrize("state", ["no git", "changed", "ignored"])
def test_what_is_not_committed_is_not_overwritten(service: Services, state: str) -> None:
    folder = service(handwritten.BASE)
    if state != "no git":
        (folder / "config.properties").write_text("default_workers_per_model=4\n")
        commit(folder)
    if state == "changed":
        (folder / "handler.py").write_text(handwritten.BASE["handler.py"] + "# mine\n")
    if state == "ignored":
        git(folder, "rm", "-q", "--cached", "config.properties")
        (folder / ".gitignore").write_text("config.properties\n")
        git(folder, "commit", "-qam", "Ignore")
    before = content(folder)
    refused = adopt(folder, "--defaults", code=1)
    assert "would be replaced" in refused.stderr
    assert content(folder) == before

    # The command that the message names makes it safe.
    command = refused.stderr.partition("Run: ")[2].strip()
    identity = {
        f"GIT_{who}_{what}": "t@e" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    subprocess.run(["bash", "-c", command], env={**os.environ, **identity}, check=True)
    result = adopt(folder, "--defaults")
    assert "replaced: handler.py, by service/handler.py" in result.stdout
    for name, data in before.items():
        shown = subprocess.run(
            ["git", "show", f"HEAD:{name}"], cwd=folder, capture_output=True, check=True
        )
        assert shown.stdout == data


def test_an_error_leaves_the_folder_as_it_was(service: Services) -> None:
    folder = service(handwritten.BASE)
    commit(folder)
    before = content(folder)
    for words, said in {
        ("--defaults", "-d", "top_k=0"): "top_k is 0",
        ("--defaults", "-d", "colour=RGB"): "did you mean color_mode?",
        ("--defaults", "--weights", "absent.pth"): "absent.pth",
        ("--defaults", "--weights", str(folder / "build.sh")): "build.sh",
        (): "--defaults",
    }.items():
        result = adopt(folder, *words, code=1)
        assert said in result.stderr, (words, result.stderr)
        assert content(folder) == before, words
    (folder / "tests").write_text("a file where a project has a folder\n")
    commit(folder)
    assert "tests is a file" in adopt(folder, "--defaults", code=1).stderr
    assert content(folder).keys() == before.keys() | {"tests"}


def test_a_project_is_not_adopted_twice(service: Services) -> None:
    folder = service(handwritten.BASE)
    commit(folder)
    adopt(folder, "--defaults")
    assert "copier update" in adopt(folder, "--defaults", code=1).stderr


def test_a_lightning_module_and_a_command_in_python(service: Services) -> None:
    folder = service(handwritten.LIGHTNING)
    network = timm.create_model("mobilenetv3_small_050", num_classes=4)
    state = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    checkpoint = {"epoch": 12, "pytorch-lightning_version": "2.1.0", "state_dict": state}
    torch.save(checkpoint, folder / "epoch=12.ckpt")
    result = adopt(folder, "--defaults")
    assert "archive command: package.py:6" in result.stdout
    assert {
        "model_name": "waste",
        "architecture": "timm/mobilenetv3_small_050",
        "weights": "checkpoint",
        "state_dict_prefix": "backbone.",
        "image_size": 224,
        "resize_size": 256,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "response_format": "label",
    }.items() <= answers_of(folder).items()


def test_a_parent_s_answers_are_the_answers(service: Services) -> None:
    own = """    def initialize(self, context):
        super().initialize(context)
        self.topk = 2

    def set_max_result_size(self, topk):
        self.topk = topk

    def postprocess(self, data):
        return super().postprocess(data)
"""
    folder = service(handwritten.CLASSIFIER, mnist_handler=("    topk = 3\n", own))
    network = network_of(folder, "mnist.py", "Net")
    torch.save(network.state_dict(), folder / "mnist_cnn.pt")
    adopt(folder, "--defaults", "-d", "image_size=28")
    assert {"response_format": "scores", "top_k": 2}.items() <= answers_of(folder).items()


# ------------------------------------------------------------ what is not certain


def test_code_and_checkpoint_that_differ_are_shown(service: Services) -> None:
    folder = service(handwritten.BASE)
    network = torchvision.models.mobilenet_v3_small(num_classes=5)
    torch.save(network.state_dict(), folder / "flowers_mobilenet.pth")
    commit(folder)
    result = adopt(folder, "--defaults")
    assert "CONTRADICTION num_classes: 5 in flowers_mobilenet.pth, 3 in handler.py" in result.stdout
    assert answers_of(folder)["num_classes"] == 5


def test_code_tells_what_a_checkpoint_cannot(service: Services) -> None:
    folder = service(
        handwritten.BASE,
        handler=("models.mobilenet_v3_small(weights=None)", 'timm.create_model("resnetblur18")'),
    )
    handler = (folder / "handler.py").read_text()
    handler = "import timm\n" + handler.replace("model.classifier[3] = nn.Linear(1024, ", "print(")
    (folder / "handler.py").write_text(handler)
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    torch.save(state, folder / "flowers_mobilenet.pth")
    commit(folder)
    adopt(folder, "--defaults")
    assert answers_of(folder)["architecture"] == "timm/resnetblur18"


def test_a_change_that_weights_do_not_show_makes_the_network_ones_own(service: Services) -> None:
    folder = service(
        handwritten.WRAPPER,
        model=(
            "    def forward(self, x):",
            "        self.resnet18.maxpool = nn.Identity()\n\n    def forward(self, x):",
        ),
    )
    theirs = network_of(folder, "model.py", "PetClassifier")
    save_random_weights(theirs, folder / "pets.pt")
    commit(folder)
    before = (folder / "model.py").read_text()
    result = adopt(folder, "--defaults")
    assert "self.resnet18.maxpool = nn.Identity()" in result.stdout
    answers = answers_of(folder)
    assert answers["architecture"] == "custom"
    assert answers["weights"] == "state_dict"
    assert (folder / "service" / "model.py").read_text().startswith(before)
    assert "replaced: model.py, by service/model.py" in result.stdout
    assert not (folder / "model.py").exists()
    mine = network_of(folder, "service/model.py", "build_model", 4)
    mine.load_state_dict(torch.load(folder / "weights" / "pets.pt"))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mine.eval()(image), theirs.eval()(image))


def test_a_network_whose_making_is_not_certain_is_left_to_the_user(service: Services) -> None:
    folder = service(
        handwritten.HANDLE, model_handler=("DigitNet(1, 10)", 'DigitNet(json.load(f)["channels"])')
    )
    commit(folder)
    result = adopt(folder, "--defaults", "-d", "color_mode=L", "-d", "num_classes=10")
    assert "Let its build_model(num_classes) return a DigitNet" in result.stdout
    assert "makes it with in_channels=json.load" in result.stdout
    assert "DigitNet" not in (folder / "service" / "model.py").read_text()


def test_a_function_that_makes_the_network_is_copied_with_all_that_it_does(
    service: Services,
) -> None:
    factory = """
import torch.nn as nn
from torchvision.models import resnet18
from torchvision.datasets import ImageFolder

LAYERS = ["maxpool"]

def make_model(channels, num_classes, pretrained=False):
    model = resnet18(num_classes=num_classes)
    for name in LAYERS:
        setattr(model, name, nn.Identity())
    return model

def train(folder):
    data = ImageFolder(folder)
"""
    folder = service(
        {**handwritten.BASE, "training/zoo.py": factory},
        handler=("models.mobilenet_v3_small(weights=None)", "make_model(3, 3)"),
    )
    handler = (folder / "handler.py").read_text()
    handler = handler.replace("model.classifier[3] = nn.Linear(1024, len(CLASSES))", "")
    handler = "from training.zoo import make_model\n" + handler
    (folder / "handler.py").write_text(handler)
    theirs = network_of(folder, "training/zoo.py", "make_model", 3, 3)
    torch.save(theirs.state_dict(), folder / "flowers_mobilenet.pth")
    commit(folder)
    result = adopt(folder, "--defaults")
    assert "setattr(model, name, nn.Identity()) changes the network" in result.stdout
    assert answers_of(folder)["architecture"] == "custom"
    model = (folder / "service" / "model.py").read_text()
    assert "ImageFolder" not in model
    assert "return make_model(channels=3, num_classes=num_classes)" in model
    mine = network_of(folder, "service/model.py", "build_model", 3)
    assert isinstance(mine.maxpool, torch.nn.Identity)
    mine.load_state_dict(theirs.state_dict())


BLOCK = (
    "def block"
    + (handwritten.HANDLE["model_handler.py"].partition("def block")[2].partition("\n\n")[0])
)
BLOCK_MODULE = f"from torch import nn\n\n\n{BLOCK}\n"


def test_modules_of_ones_own_travel_with_the_network(service: Services) -> None:
    folder = service(
        {**handwritten.HANDLE, "blocks.py": BLOCK_MODULE, "task.py": "# of something else\n"},
        model_handler=(BLOCK, "from blocks import block"),
    )
    original = handwritten.HANDLE["model_handler.py"]
    (folder.parent / "original.py").write_text(original.partition("class ModelHandler")[0])
    network = network_of(folder.parent, "original.py", "DigitNet", 1, 10)
    (folder / "checkpoints").mkdir()
    torch.save({"model_state_dict": network.state_dict()}, folder / "checkpoints" / "last.ckpt")
    commit(folder)
    result = adopt(folder, "--defaults")
    assert "python archive.py --extra-files blocks.py --version 1.0" in result.stdout
    assert "replaced: task.py, by service/task.py" in result.stdout
    Project(folder).archive("--extra-files", "blocks.py")


def test_a_module_of_the_name_of_the_services_is_left_to_the_user(service: Services) -> None:
    folder = service(
        {**handwritten.HANDLE, "task.py": BLOCK_MODULE},
        model_handler=(BLOCK, "from task import block"),
    )
    commit(folder)
    result = adopt(folder, "--defaults", "-d", "color_mode=L", "-d", "num_classes=10")
    assert "archive.py refuses task.py beside service/task.py" in result.stdout
    assert (folder / "task.py").is_file()


def test_a_file_with_build_model_is_taken_over(service: Services) -> None:
    text = """import torch
from torch import nn


def build_model(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))
"""
    handler = handwritten.BASE["handler.py"].replace(
        "models.mobilenet_v3_small(weights=None)", "build_model(len(CLASSES))"
    )
    folder = service({**handwritten.BASE, "handler.py": handler, "model.py": text})
    network = network_of(folder, "model.py", "build_model", 3)
    torch.save(network.state_dict(), folder / "flowers_mobilenet.pth")
    commit(folder)
    result = adopt(folder, "--defaults", "-d", "architecture=custom")
    assert "replaced: model.py, by service/model.py" in result.stdout
    assert (folder / "service" / "model.py").read_text() == text
    assert not (folder / "model.py").exists()


def test_several_handlers_are_told_apart_by_the_user(service: Services) -> None:
    folder = service({**handwritten.BASE, "other.py": handwritten.CLASSIFIER["mnist_handler.py"]})
    (folder / "build.sh").unlink()
    commit(folder)
    refused = adopt(folder, "--defaults", code=1)
    assert "handler.py, other.py" in refused.stderr
    adopt(folder, "--defaults", "--handler", str(folder / "handler.py"))
    assert answers_of(folder)["architecture"] == "mobilenet_v3_small"


def test_without_a_checkpoint_the_code_tells(service: Services) -> None:
    folder = service(handwritten.BASE)
    commit(folder)
    result = adopt(folder, "--defaults")
    assert "flowers_mobilenet.pth (build.sh:5) is not in" in result.stdout
    assert "weights: state_dict (assumed)" in result.stdout
    assert "copier update --defaults --vcs-ref=:current: -d NAME=ANSWER" in result.stdout
    assert {"architecture": "mobilenet_v3_small", "num_classes": 3}.items() <= answers_of(
        folder
    ).items()


def test_torchserves_own_image_classifier(service: Services) -> None:
    model = """
from torchvision.models.squeezenet import SqueezeNet

class ImageClassifier(SqueezeNet):
    def __init__(self):
        super(ImageClassifier, self).__init__("1_1", num_classes=4)
"""
    command = "torch-model-archiver --model-name=sq -v 1 --model-file m.py --serialized-file s.pth"
    scripted = "torch-model-archiver --model-name sq_ts --version 1 --serialized-file s.pt"
    shown = "".join(f"    {x} --handler image_classifier\n" for x in (command, scripted))
    folder = service({"m.py": model, "README": shown})
    several = adopt(folder, "--defaults", code=1).stderr  # as long as neither checkpoint is there
    assert "README:1: sq, handler image_classifier, s.pth" in several
    assert "README:2: sq_ts, handler image_classifier, s.pt" in several
    torch.save(torchvision.models.squeezenet1_1(num_classes=4).state_dict(), folder / "s.pth")
    result = adopt(folder, "--defaults")
    assert "git init" in result.stdout
    assert "no longer needed: m.py (service/model.py makes the network)" in result.stdout
    assert {
        "architecture": "squeezenet1_1",
        "model_name": "sq",
        "transforms": "imagenet",
        "response_format": "scores",
        "top_k": 5,
    }.items() <= answers_of(folder).items()


DETECTOR = """
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FasterRCNN


class PeopleDetector(FasterRCNN):
    def __init__(self, num_classes=2, **kwargs):
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        super().__init__(backbone, num_classes, min_size=128, **kwargs)
"""
BY_HAND = """
import io
import torch
from PIL import Image
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.transforms import functional as F
from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    def initialize(self, context):
        self.model = fasterrcnn_resnet50_fpn(weights=None, min_size=600, box_nms_thresh=0.3)
        self.model.roi_heads.box_predictor = FastRCNNPredictor(1024, 4)
        self.model.load_state_dict(torch.load("weights.pth"))
        self.model.eval()

    def preprocess(self, data):
        images = [Image.open(io.BytesIO(row["body"])).convert("RGB") for row in data]
        return [F.to_tensor(image) for image in images]

    def postprocess(self, outputs):
        return [
            [
                {"class": int(label), "box": box.tolist()}
                for box, label, score in zip(x["boxes"], x["labels"], x["scores"])
                if score >= 0.6
            ]
            for x in outputs
        ]
"""


@pytest.mark.slow
def test_torchserves_own_detector(service: Services) -> None:
    command = "torch-model-archiver --model-name people -v 1 --model-file m.py"
    command += " --serialized-file p.pth --handler object_detector"
    folder = service({"m.py": DETECTOR, "README": f"    {command}\n"})
    (folder / "index_to_name.json").write_text('{"0": "background", "1": "person"}')
    network: Any = network_of(folder, "m.py", "PeopleDetector", 2)
    save_random_weights(network, folder / "p.pth")
    with torch.no_grad():  # else boxes are at the borders, and few of them
        heads, proposals = network.roi_heads.box_predictor, network.rpn.head
        for layer in (heads.bbox_pred, proposals.bbox_pred, proposals.cls_logits):
            layer.weight *= 0.01
        heads.cls_score.weight *= 0.05
    torch.save(network.state_dict(), folder / "p.pth")
    samples = noises(folder, (200, 120), (90, 110))
    archive = ["--model-file", "m.py", "--serialized-file", "p.pth"]
    archive += ["--extra-files", "index_to_name.json"]
    expected = theirs(folder, archive, "object_detector", *samples)
    result = adopt(folder, "--defaults")
    assert "NOT CARRIED OVER" not in result.stdout
    assert {
        "task": "object_detection",
        "architecture": "custom",
        "num_classes": 2,
        "response_format": "torchserve",
        "score_threshold": 0.5,
        "transforms": "to_tensor",
    }.items() <= answers_of(folder).items()
    project = Project(folder)
    project.archive()
    for prediction, known in zip(project.predict(*samples), expected, strict=True):
        assert len(prediction) == len(known) > 3
        for one, other in zip(prediction, known, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
            assert one["person"] == pytest.approx(other["person"], rel=1e-4, abs=0.01)


def test_a_handler_that_builds_a_detector(service: Services) -> None:
    folder = service({"h.py": BY_HAND})
    printed = adopt(folder, "--defaults").stdout
    assert {
        "task": "object_detection",
        "architecture": "fasterrcnn_resnet50_fpn",
        "num_classes": 4,
        "transforms": "custom",
        "image_size": 600,
        "mean": [0.485, 0.456, 0.406],
        "nms_threshold": 0.3,
        "score_threshold": 0.6,
        "coco_eps": False,
    }.items() <= answers_of(folder).items()
    assert "predictions will have the project's form" in printed


def test_the_code_tells_how_a_detector_is_built_before_the_checkpoint(service: Services) -> None:
    folder = service({"h.py": BY_HAND.replace("(1024, 4)", "(1024, 3)")})
    args = argparse.Namespace(box_nms_thresh=0.7, box_detections_per_img=3, pretrained=False)
    save_detector(folder / "weights.pth", args=args)
    adopt(folder, "--defaults")
    answers = answers_of(folder)
    assert (answers["nms_threshold"], answers["max_detections"]) == (0.3, 100)
    assert answers["coco_eps"] is False


KEYPOINTS = """import io

import torch
import torchvision
from PIL import Image
from torchvision.transforms.functional import to_tensor
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor
from ts.torch_handler.base_handler import BaseHandler


class Horses(BaseHandler):
    def initialize(self, context):
        self.model = torchvision.models.detection.keypointrcnn_resnet50_fpn(weights=None)
        self.model.roi_heads.keypoint_predictor = KeypointRCNNPredictor(512, 4)
        self.model.load_state_dict(torch.load("horses.pth"))
        self.model.eval()

    def preprocess(self, data):
        return [to_tensor(Image.open(io.BytesIO(row["body"])).convert("RGB")) for row in data]

    def inference(self, images):
        return self.model(images)

    def postprocess(self, outputs):
        return [
            {"points": x["keypoints"][x["scores"] > 0.8].tolist()}
            for x in outputs
        ]
"""


def test_a_handler_that_finds_keypoints(service: Services) -> None:
    folder = service({"h.py": KEYPOINTS})
    with torch.device("meta"):
        network: Any = torchvision.models.detection.keypointrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_keypoints=4
        )
    torch.save(network.to_empty(device="cpu").state_dict(), folder / "horses.pth")
    adopt(folder, "--defaults")
    assert {
        "task": "keypoint_detection",
        "architecture": "keypointrcnn_resnet50_fpn",
        "num_classes": 2,
        "keypoint_names": 4,
        "score_threshold": 0.8,
    }.items() <= answers_of(folder).items()


def test_what_no_task_is_for_is_refused(service: Services, tmp_path: Path) -> None:
    handler = "from ts.torch_handler.text_classifier import TextClassifier\n"
    folder = service({"handler.py": f"{handler}class Mine(TextClassifier):\n    pass\n"})
    (tmp_path / "empty").mkdir()
    broken = {"broken.py": "print 'Python 2'\n"}
    assert "text_classifier, whose vocabulary" in adopt(folder, "--defaults", code=1).stderr
    given = ("--handler", str(folder / "handler.py"))
    assert "text_classifier, whose vocabulary" in adopt(folder, "--defaults", *given, code=1).stderr
    (folder / "handler.py").write_text(handler)
    assert "ts-template new" in adopt(tmp_path / "empty", "--defaults", code=1).stderr
    assert "no folder" in adopt(tmp_path / "absent", "--defaults", code=1).stderr
    folder = service(broken)
    given = ("--handler", str(folder / "broken.py"))
    assert "broken.py:1 is no Python 3" in adopt(folder, "--defaults", *given, code=1).stderr


OLD = handwritten.BASE["handler.py"].partition("transform = ")[2].partition("        self.init")[0]
TRANSFORMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "weights": (
        "models.MobileNet_V3_Small_Weights.DEFAULT.transforms()",
        {"transforms": "pretrained"},
        "",
    ),
    "imagenet": (
        "T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), NORMALIZE])",
        {"transforms": "imagenet"},
        "",
    ),
    "computed numbers": (
        (
            "T.Compose([T.Resize((64, 64)), T.ToTensor(), T.Normalize("
            "[x / 255 for x in (102, 51, 51)], "
            "torch.tensor([51, 51, 102]).view(3, 1, 1) / 255.0)])"
        ),
        {"transforms": "custom", "mean": [0.4, 0.2, 0.2], "std": [0.2, 0.2, 0.4]},
        "",
    ),
    "timm's constants, turned around": (
        (
            "T.Compose([T.Resize((64, 64)), T.ToTensor(), T.Normalize(mean=timm.data.constants."
            "IMAGENET_DEFAULT_MEAN[::-1], std=numpy.array([[[0.1]], [[0.2]], [[0.3]]]))])"
        ),
        {"mean": [0.406, 0.456, 0.485], "std": [0.1, 0.2, 0.3]},
        "",
    ),
    "albumentations": (
        (
            "albumentations.Compose([albumentations.Resize(height=96, width=96), "
            "albumentations.Normalize(mean=(0.5, 0.4, 0.3)), albumentations.pytorch.ToTensorV2()])"
        ),
        {"image_size": 96, "mean": [0.5, 0.4, 0.3], "std": [0.229, 0.224, 0.225]},
        ": OpenCV scales without smoothing first",
    ),
    "bicubic": (
        "T.Compose([T.Resize(int(IMG_SIZE * 1.125), 3), T.CenterCrop(128), T.ToTensor()])",
        {
            "transforms": "custom",
            "image_size": 128,
            "resize_size": 144,
            "resize_mode": "crop",
            "mean": [0.0],
            "std": [1.0],
            "interpolation": "bicubic",
        },
        "",
    ),
    "v2": (
        "v2.Compose([v2.ToImage(), v2.Resize((96, 96)), v2.ToDtype(torch.float32, True)])",
        {"transforms": "to_tensor", "image_size": 96},
        "",
    ),
    "own step": (
        "T.Compose([T.Resize((64, 64)), sharpen, T.ToTensor(), NORMALIZE])",
        {"transforms": "custom", "image_size": 64},
        "no answer covers sharpen",
    ),
    "any size": (
        "T.Compose([T.ToTensor(), NORMALIZE])",
        {},
        "image_size: the handler takes images of any size. Add -d image_size=N",
    ),
    "by hand": (
        "lambda image: torch.tensor(cv2.blur(numpy.array(image), (5, 5)))",
        {},
        "transforms: handler.py prepares images by hand. Add -d transforms=custom",
    ),
    "timm": (
        "timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))",
        {},  # of a network of torchvision's, which has other ones
        "transforms: those at handler.py:40 are no answer. Add -d transforms=custom",
    ),
    "not a square": (
        "T.Compose([T.Resize((256, 128)), T.ToTensor(), NORMALIZE])",
        {},
        "makes images of 256 x 128 pixels, a project squares. Add -d image_size=N",
    ),
    "unknown": ("make_transform()", {}, "transforms: handler.py has no transforms that are known"),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_are_read(service: Services, name: str) -> None:
    code, expected, said = TRANSFORMS[name]
    normalize = "T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])"
    code = re.sub(r"\bT\.|\b(?=v2)", "transforms.", code.replace("NORMALIZE", normalize))
    folder = service(handwritten.BASE, handler=(OLD, f"{code}\n"))
    commit(folder)
    before = content(folder)
    result = adopt(folder, "--defaults", code=0 if expected else 1)
    if not expected:  # a default would be a guess
        assert said in result.stderr
        assert content(folder) == before
        return
    assert said in result.stdout
    assert bool(said) == ("(assumed: no answer" in result.stdout)
    assert bool(said) == ("NOT CARRIED OVER" in result.stdout)
    assert expected.items() <= answers_of(folder).items()


# ------------------------------------------------------------ what is read, and what is not


def test_an_app_of_flask(service: Services) -> None:
    folder = service(handwritten.FLASK)
    network = torch.nn.Sequential()
    network.features, network.fc = torch.nn.Conv2d(3, 16, 3), torch.nn.Linear(16, 3)
    torch.save(network.state_dict(), folder / "leaves.pth")
    commit(folder)
    result = adopt(folder, "--defaults")
    answers = answers_of(folder)
    assert {
        "architecture": "custom",
        "num_classes": 3,
        "color_mode": "RGB",
        "label_format": "list",
        "transforms": "custom",
        "resize_mode": "stretch",
        "image_size": 48,
    }.items() <= answers.items()
    assert answers["mean"] == pytest.approx([125.3 / 255, 123 / 255, 113.9 / 255])
    assert answers["std"] == pytest.approx([63 / 255, 62.1 / 255, 66.7 / 255])
    assert "network: LeafNet in zoo.py" in result.stdout
    model = (folder / "service" / "model.py").read_text()
    assert "return LeafNet(classes=num_classes)" in model
    assert "SmoothLoss" not in model
    assert "--extra-files parts.py" in result.stdout
    # Its file imports einops, but for something else.
    assert "requirements.txt had einops, flask, gunicorn: " in result.stdout
    assert "NOT CARRIED OVER" not in result.stdout


def test_packages_of_the_network_are_required(service: Services) -> None:
    model = handwritten.HANDLE["model_handler.py"].replace(
        "import torch\n",
        "import cv2\nimport segmentation_models_pytorch as smp\nimport torch\n"
        "from einops import rearrange\ntry:\n    import xformers\nexcept ImportError:\n    pass\n",
    )
    model = model.replace("x = self.layers(x)", "x = smp.f(cv2.f(rearrange(self.layers(x))))")
    folder = service(
        {
            **handwritten.HANDLE,
            "model_handler.py": model,
            "requirements.txt": "opencv-python==4.9.0.80\nEinops>=0.7  # shapes\nredis\n",
        }
    )
    commit(folder)
    result = adopt(folder, "--defaults", "-d", "color_mode=L", "-d", "num_classes=10")
    own = (folder / "requirements-own.txt").read_text().splitlines()
    assert own[1:] == [
        "opencv-python==4.9.0.80",
        "Einops>=0.7  # shapes",
        "segmentation-models-pytorch",
    ]
    assert "requirements-own.txt: Einops>=0.7" in result.stdout
    assert "requirements.txt had redis: " in result.stdout


def test_what_is_not_carried_over_is_said(service: Services) -> None:
    folder = service(handwritten.OPENCV)
    save_random_weights(torchvision.models.resnet18(num_classes=2), folder / "camera.pth")
    commit(folder)
    result = adopt(folder, "--defaults")
    answers = answers_of(folder)
    assert {"num_classes": 2, "transforms": "custom", "image_size": 160}.items() <= answers.items()
    assert answers["mean"] == pytest.approx([0.406, 0.456, 0.485], abs=1e-3)
    assert answers["std"] == pytest.approx([0.225, 0.224, 0.229], abs=1e-3)
    dropped = [x for x in result.stdout.splitlines() if x.strip().startswith("NOT CARRIED OVER")]
    for said in (
        "no answer covers image[20:-20, 40:-40]",
        "OpenCV scales without smoothing first",
        "images in the order blue, green, red, a project's in red, green, blue; let preprocess",
        "the handler compares with 0.8",
        "the handler calls the network 2 times, a project once; for that, take architecture=custom",
        "the handler reads JSON, json.loads(row['body']); a project takes the image file itself",
    ):
        assert any(said in line for line in dropped), (said, dropped)
    assert len(dropped) == 6, dropped
    assert "What is NOT CARRIED OVER changes predictions" in result.stdout


# The order of colours in code that reads an image in OpenCV's or in Pillow's way: blue first?
ORDERS = {
    "image = cv2.imread(path)": True,
    "image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)": False,
    "image = cv2.imread(path)[:, :, ::-1]": False,
    "image = cv2.imread(path)\nimage = image[..., [2, 1, 0]]": False,
    "image = cv2.imread(path, cv2.IMREAD_COLOR_RGB)": False,
    "image = numpy.array(Image.open(path))[..., ::-1].copy()": True,
    "size = Image.open(path).size[::-1]": False,
    "image = cv2.cvtColor(numpy.array(Image.open(path)), cv2.COLOR_RGB2BGR)": True,
}


def test_the_order_of_colours_is_read(service: Services) -> None:
    modules = {}
    for number, code in enumerate(ORDERS):
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        text = f"import cv2\nimport numpy\nfrom PIL import Image\n\ndef load(path):\n{lines}"
        modules[f"module{number}.py"] = text
    imports = "".join(f"import module{number}\n" for number in range(len(ORDERS)))
    handler = imports + handwritten.BASE["handler.py"].removeprefix("\n")
    folder = service({**handwritten.BASE, **modules, "handler.py": handler})
    commit(folder)
    result = adopt(folder, "--defaults", "-d", "top_k=0", code=1)  # refused when all has been read
    for number, (code, is_blue) in enumerate(ORDERS.items()):
        said = rf"module{number}.py:\d: the network gets images in the order blue, green, red"
        assert bool(re.search(said, result.stdout)) == is_blue, code


def test_blue_first_is_right_with_the_line_that_is_advised(service: Services) -> None:
    folder = service(
        handwritten.BASE,
        handler=(
            "images.append(self.transform(image))",
            (
                "image = Image.fromarray(np.array(image)[:, :, ::-1])\n"
                "            images.append(self.transform(image))"
            ),
        ),
    )
    handler = (folder / "handler.py").read_text()
    (folder / "handler.py").write_text(f"import numpy as np\n{handler}")
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    samples = noises(folder, (64, 64), (90, 64))
    words = ["--serialized-file", "flowers_mobilenet.pth"]
    expected = theirs(folder, words, "handler.py", *samples)
    result = adopt(folder, "--defaults")
    assert "let preprocess in service/preprocessing.py end in .flip(0)" in result.stdout
    path = folder / "service" / "preprocessing.py"
    text = path.read_text()
    (line,) = (x for x in text.splitlines() if x.startswith("    return scale("))
    path.write_text(text.replace(line, f"{line}.flip(0)"))
    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert [x["label"] for x in answer] == [x["class"] for x in known]
        for one, other in zip(answer, known, strict=True):
            assert abs(one["probability"] - other["prob"]) < NEAR


def test_a_function_around_the_network_makes_it(service: Services) -> None:
    handler = """
import io
import os
import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms


def net():
    model = models.resnet18(pretrained=True)
    width = model.fc.in_features
    model.fc = nn.Sequential(nn.Linear(width, 32), nn.BatchNorm1d(32), nn.Linear(32, 7))
    return model


def model_fn(model_dir):
    model = net()
    model.load_state_dict(torch.load(os.path.join(model_dir, "model.pth")))
    return model.eval()


def input_fn(body, content_type):
    return Image.open(io.BytesIO(body))


def predict_fn(image, model):
    steps = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    return model(steps(image).unsqueeze(0))
"""
    handler = handler.replace("7))\n", "7)\n    )\n").replace(
        "Sequential(nn", "Sequential(\n        nn"
    )
    folder = service({"inference.py": handler})
    network = torchvision.models.resnet18()
    network.fc = torch.nn.Sequential(
        torch.nn.Linear(512, 32), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 7)
    )
    torch.save(network.state_dict(), folder / "model.pth")
    result = adopt(folder, "--defaults")
    # Not the 1000 classes of the weights that it begins with.
    assert {"architecture": "custom", "num_classes": 7, "image_size": 64}.items() <= answers_of(
        folder
    ).items()
    assert "1000" not in result.stdout
    assert "fetches pretrained weights each time it is made" in result.stdout
    assert "def net():" in (folder / "service" / "model.py").read_text()


def test_without_a_checkpoint_the_number_of_classes_is_no_guess(service: Services) -> None:
    folder = service(
        handwritten.TAGGER,
        tag_handler=("num_classes=len(TAGS)", "pretrained=True"),
    )
    handler = (folder / "tag_handler.py").read_text()
    (folder / "tag_handler.py").write_text(
        handler.replace('TAGS = ["beach", "people", "sunset"]', "TAGS = read_tags()")
    )
    refused = adopt(folder, "--defaults", code=1).stderr
    assert "num_classes: neither the code nor a checkpoint tells. Add --weights FILE" in refused


# What single statements do to an image, a tensor, the network's input and the scores.
OF_IMAGE, OF_TENSOR = 'convert("RGB")', "images.append(self.image_processing(image))"
OF_INPUT, OF_SCORES = "    def postprocess", "softmax(data, dim=1)"
BY_THE_WAY = [
    {
        OF_IMAGE: 'convert("L").convert("RGB")',
        OF_TENSOR: "x = self.image_processing(image)\n"
        "            images.append((x - x.mean()) / x.std())",
        OF_INPUT: "return self.model(torch.nn.functional.pad(x, [8] * 4))",
        OF_SCORES: "softmax(data[:, :2], dim=1)",
    },
    {
        OF_IMAGE: 'convert("RGB").transpose(Image.FLIP_LEFT_RIGHT)',
        OF_TENSOR: "images.append(1 - self.image_processing(image))",
        OF_INPUT: "return self.model(x[:, :, 8:-8, 8:-8])",
        OF_SCORES: "softmax(data, dim=1) * self.weights",
    },
    {
        OF_IMAGE: 'convert("HSV")',
        OF_TENSOR: "images.append(self.image_processing(image) * 255)",
        OF_INPUT: "self.model.train()\n        return self.model(x)",
        OF_SCORES: "softmax(data - self.prior, dim=1)",
    },
    {  # by methods and functions
        OF_IMAGE: 'convert("RGB").transpose(Image.ROTATE_90)',
        OF_TENSOR: 'image = Image.merge("RGB", image.split()[::-1])\n'
        "            images.append(self.image_processing(image).sub_(0.5).div_(0.5))",
        OF_INPUT: "return self.model(x.permute(0, 1, 3, 2))",
        OF_SCORES: "softmax(torch.div(data, 1.7), dim=1)",
    },
    {  # of distances
        OF_SCORES: "softmax(-data, dim=1)",
    },
]


@pytest.mark.parametrize("edits", BY_THE_WAY)
def test_statements_that_change_predictions_are_named(
    service: Services, edits: dict[str, str]
) -> None:
    folder = service(handwritten.WRAPPER)
    path = folder / "pet_handler.py"
    text = path.read_text()
    for old, new in edits.items():
        assert old in text
        inserted = f"    def inference(self, x):\n        {new}\n\n{old}"
        text = text.replace(old, inserted if old == OF_INPUT else new)
    path.write_text(text)
    torch.save(network_of(folder, "model.py", "PetClassifier").state_dict(), folder / "pets.pt")
    commit(folder)
    printed = adopt(folder, "--defaults").stdout
    changed = [new.splitlines()[0 if old == OF_INPUT else -1].strip() for old, new in edits.items()]
    lines = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if any(part in line for part in changed)
    ]
    assert len(lines) == len(edits)
    for number in lines:
        assert f"NOT CARRIED OVER pet_handler.py:{number}: " in printed, number


IN_MODULES = {
    "preparing.py": """
import numpy as np
from helpers import contrast


def load(image):
    return contrast(np.asarray(image, dtype="float32"))


def of_training(image):
    return 1 - image


class Scores:
    def __init__(self, count):
        self.least = 1 - 0.5 ** count

    def ordered(self, scores):
        return scores[:, [2, 0, 1]]
""",
    "helpers.py": """
def contrast(array):
    return array * 2 - 1
""",
}


def test_statements_in_functions_that_the_handler_calls_are_named(service: Services) -> None:
    folder = service(handwritten.BASE)
    for name, text in IN_MODULES.items():
        (folder / name).write_text(text)
    path = folder / "handler.py"
    text = path.read_text()
    for old, new in {
        "import torch\n": "import torch\nfrom preparing import Scores, load\n",
        "self.transform(image)": "self._test_image(load(image))",
        "    def inference": "    def _test_image(self, x):\n"
        "        return self.transform(x) - self.prior\n\n    def inference",
        "return F.softmax(self.model(x), dim=1)": "return Scores(3).ordered(self.model(x))",
        '"class": CLASSES[i]': '"class": CLASSES[i - 1]',
    }.items():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    printed = adopt(folder, "--defaults").stdout
    named = re.findall(r"NOT CARRIED OVER (\S+:\d+): no answer covers (.+)", printed)
    assert {shown for _, shown in named} == {
        "self.transform(x) - self.prior",
        "array * 2",
        "scores[:, [2, 0, 1]]",
        "CLASSES[i - 1]",
    }, printed
    assert {place.partition(":")[0] for place, _ in named} == {"handler.py", *IN_MODULES}


def test_a_layer_before_the_network_is_named(service: Services) -> None:
    old = "self.model = model.to(self.device)"
    new = "self.model = nn.Sequential(nn.InstanceNorm2d(3), model).to(self.device)"
    folder = service(handwritten.BASE, handler=(old, new))
    save_random_weights(
        torchvision.models.mobilenet_v3_small(num_classes=3), folder / "flowers_mobilenet.pth"
    )
    commit(folder)
    printed = adopt(folder, "--defaults").stdout
    assert re.search(r"NOT CARRIED OVER handler.py:\d+: no answer covers nn\.Sequential\(", printed)


def test_names_are_those_that_the_code_uses(service: Services) -> None:
    used = 'LOOKUP = {0: "tulip", 1: "daisy", 2: "rose"}\n\nCLASSES = ['
    folder = service(handwritten.BASE, handler=("CLASSES = [", used))
    path = folder / "handler.py"
    path.write_text(
        path.read_text().replace("len(CLASSES)", "3").replace("CLASSES[i]", "LOOKUP[i]")
    )
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    adopt(folder, "--defaults")
    assert json.loads((folder / "labels.json").read_text()) == ["tulip", "daisy", "rose"]


@pytest.mark.parametrize(
    ("reading", "line", "said"),
    [
        ('CLASSES = sorted(open("labels.txt").read().split())', 14, r"sorted\(open\("),
        slow('CLASSES = open("labels.txt").read().split()\nCLASSES.sort()', 15, r"CLASSES\.sort"),
    ],
)
def test_names_that_the_code_sorts_are_told(
    service: Services, reading: str, line: int, said: str
) -> None:
    old = 'CLASSES = ["daisy", "dandelion", "rose"]'
    folder = service(handwritten.BASE, handler=(old, reading))
    (folder / "labels.txt").write_text("rose\ndaisy\ntulip\n")
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    printed = adopt(folder, "--defaults").stdout
    assert re.search(rf"NOT CARRIED OVER handler.py:{line}: no answer covers {said}", printed)
