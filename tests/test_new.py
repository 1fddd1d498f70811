"""ts-template new: from a checkpoint to a service that has answered."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
import transformers
import yaml
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

import generator
from conftest import Project, noise, render, save_random_weights, slow, ts_template
from generator.inspection import inspect_file
from generator.new import answers_of, label_answers, likely_of, names_for
from test_archive import network_state
from test_weights import export


def new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template new` in a folder, without a terminal; test_fast.py has its conversions."""
    return ts_template("new", *arguments, "-d", "backend=eager", cwd=folder)


@pytest.fixture
def own_model(copy_project: object, tmp_path: Path) -> Path:
    """A file of the user's that makes a network, and weights.pth of it."""
    project = copy_project(architecture="custom", num_classes=4)  # type: ignore[operator]
    torch.save(network_state(), tmp_path / "weights.pth")
    return (project.path / "service" / "model.py").rename(tmp_path / "mynet.py")


TIMM = {"img_size": None, "crop_pct": None, "mean": None, "std": None, "interpolation": ""}
# As in kaggle_rsna_breast_cancer and other users of timm's train.py.
UNLIKE = {
    "pooling": ({"gp": "max"}, "was built with gp='max'"),
    "epsilon": ({"bn_eps": 1e-3}, "was built with bn_eps=0.001"),
    "network": ({"model_kwargs": {"act_layer": "gelu"}}, "was built with act_layer='gelu'"),
    "sides": ({"input_size": [3, 256, 128]}, "were prepared with input_size=[3, 256, 128]"),
    "cut": ({"crop_mode": "squash"}, "were prepared with crop_mode=squash"),
    "sizes": (
        {"img_size": 160, "crop_size": 128},
        "were prepared with img_size=160, crop_size=128",
    ),
}


@pytest.mark.parametrize("title", UNLIKE)
def test_what_training_tells_and_answers_lack_is_refused(title: str, tmp_path: Path) -> None:
    settings, message = UNLIKE[title]
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    args = argparse.Namespace(model="resnet18", **{**TIMM, **settings})
    torch.save({"state_dict": state, "args": args}, tmp_path / "x.pth")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    what = "images" if title in ("sides", "cut", "sizes") else "network"
    assert f"x.pth tells under args that its {what} {message}" in result.stderr
    assert not (tmp_path / "made").exists()


def test_a_folder_of_timm_on_the_hub_is_read_whole(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    preset = {"input_size": [3, 224, 224], "crop_mode": "center"}
    for number, (config, more, message) in enumerate(
        (
            ({"model_args": {"output_stride": 8}}, {}, "output_stride=8"),
            ({"global_pool": "catavgmax"}, {}, "gp='catavgmax'"),
            ({}, {"crop_mode": "border"}, "crop_mode=border"),
            ({}, {"input_size": [3, 256, 128]}, "input_size=[3, 256, 128]"),
            ({}, {}, "preprocess.json"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        if message == "preprocess.json":
            (folder / message).write_text("{}")
        save_file(state, folder / "model.safetensors")
        config = {"architecture": "resnet18", "pretrained_cfg": preset | more, **config}
        (folder / "config.json").write_text(json.dumps(config))
        result = new(tmp_path, "made", "--weights", str(number), "--defaults")
        assert result.returncode == 1
        assert message in result.stderr


def test_a_network_that_ends_in_a_sigmoid_tells_each_class_by_itself(tmp_path: Path) -> None:
    network = torchvision.models.resnet18()
    network.fc = nn.Sequential(nn.Linear(512, 14), nn.Sigmoid())  # as CheXNet is saved
    torch.save({"model": network, "epoch": 3}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.likely["task"] == "multi_label_classification"
    assert "its last layer is a Sigmoid" in found.evidence


ABOUT = {"description": "Ultralytics YOLOv8n-cls", "stride": 1, "names": {"0": "a", "1": "b"}}
AS_IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SCALED_ALONE = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({**ABOUT, "version": "8.0.53", "task": "classify", "imgsz": [64, 64]}, SCALED_ALONE),
        ({**ABOUT, "version": "8.3.40", "task": "classify", "imgsz": [64, 64]}, SCALED_ALONE),
        ({**ABOUT, "version": "8.0.52", "task": "classify", "imgsz": [64, 64]}, AS_IMAGENET),
        ({**ABOUT, "version": "8.0.40"}, AS_IMAGENET),  # which wrote no task yet
        # YOLOv5, and Ultralytics 8.0.0.
        ({"shape": [1, 3, 64, 64], "stride": 1, "names": {"0": "a", "1": "b"}}, AS_IMAGENET),
        ({**ABOUT, "task": "classify", "imgsz": [64, 64]}, None),
    ],
)
@pytest.mark.parametrize("kind", ["torchscript", slow("onnx")])
def test_an_export_of_ultralytics_has_its_images_prepared_as_its_version_does(
    about: dict[str, object], expected: object, kind: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    if "description" in about:
        network.append(nn.Softmax(1))
    if kind == "onnx":
        images = (torch.zeros(2, 3, 64, 64),)
        free = ({0: "batch"},)
        torch.onnx.export(network.eval(), images, tmp_path / "x", dynamic_shapes=free)
        model = onnx.load(tmp_path / "x")
        texts = {name: str(x) for name, x in about.items() if name != "shape"}
        onnx.helper.set_model_props(model, texts)
        onnx.save(model, tmp_path / "x")
    else:
        traced = torch.jit.trace(network.eval(), torch.zeros(1, 3, 64, 64))
        torch.jit.save(traced, tmp_path / "x", {"config.txt": json.dumps(about)})
    result = ts_template("inspect", "x", "--json", cwd=tmp_path)
    likely = json.loads(result.stdout)["likely"]
    assert (likely["image_size"], likely["resize_size"]) == (64, 64)
    if expected is None:
        refused = new(tmp_path, "made", "--weights", "x", "--defaults")
        assert refused.returncode == 1
        assert "those before 8.0.53 normalise images as for ImageNet" in refused.stderr
        assert not (tmp_path / "made").exists()
    else:
        assert (likely["mean"], likely["std"]) == expected
        found = inspect_file(tmp_path / "x")
        known = answers_of(found, {}) | {"task": "image_classification"}
        made = known | likely_of(found, known, tmp_path / "made")
        assert (made["mean"], made["std"]) == expected
        assert (made["image_size"], made["resize_size"]) == (64, 64)


def test_an_export_of_ultralytics_for_another_task_is_refused(tmp_path: Path) -> None:
    traced = torch.jit.trace(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 64, 64))
    about = {**ABOUT, "version": "8.1.0", "task": "segment", "imgsz": [64, 64]}
    torch.jit.save(traced, tmp_path / "x", {"config.txt": json.dumps(about)})
    result = new(tmp_path, "made", "--weights", "x", "--defaults")
    assert result.returncode == 1
    assert "x cannot be served as it is: it is an export of Ultralytics for the task segment" in (
        result.stderr
    )


def test_the_scripts_of_deit_and_beit_name_their_mean(tmp_path: Path) -> None:
    for more, mean in (
        ({}, [0.485, 0.456, 0.406]),
        ({"imagenet_default_mean_and_std": True}, [0.485, 0.456, 0.406]),
        ({"imagenet_default_mean_and_std": False}, [0.5, 0.5, 0.5]),
    ):
        args = argparse.Namespace(model="x", input_size=160, eval_crop_ratio=0.8, **more)
        state = torchvision.models.resnet18(num_classes=3).state_dict()
        torch.save({"model": state, "args": args}, tmp_path / "x.pth")
        found = inspect_file(tmp_path / "x.pth")
        known = answers_of(found, {}) | {"task": "image_classification"}
        likely = likely_of(found, known, tmp_path / "made")
        assert list(likely["mean"]) == mean
        assert (likely["image_size"], likely["resize_size"]) == (160, 200)


def test_bytes_that_are_only_scaled_are_told_from_those_of_imagenet(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    config = {"mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]}
    torch.save({"state_dict": state, "config": config}, tmp_path / "x.pth")
    training = inspect_file(tmp_path / "x.pth").training
    assert (training.mean, training.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_the_normalisation_of_the_robustness_library_is_seen(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3).state_dict()
    state = {f"module.model.{key}": x for key, x in network.items()}
    state |= {f"module.normalizer.new_{x}": torch.ones(3, 1, 1) for x in ("mean", "std")}
    torch.save({"model": state, "epoch": 1}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.differences[0].startswith("module.normalizer.new_mean lies beside the network")


HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.mark.parametrize(
    "content",
    [
        {"input_size": 160, "normalize": HALF},
        {"hyper_parameters": {"cfg": {"dataset": {"img_size": 160, **HALF}}}},
        {"hyper_parameters": {"args": argparse.Namespace(img_size=160, **HALF)}},
        {"datamodule_hyper_parameters": {"img_size": 160, **HALF}},
        {"args": {"arch": "resnet18"}, "data_config": {"image_size": 160, **HALF}},
        {"config": {"img_size": 160, "mean": [127.5] * 3, "std": [127.5] * 3}},
    ],
)
def test_arguments_are_found_where_they_are_kept(
    content: dict[str, object], tmp_path: Path
) -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    torch.save({"state_dict": state, **content}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    known = answers_of(found, {}) | {"task": "image_classification"}
    likely = likely_of(found, known, tmp_path / "made")
    assert {key: list(likely[key]) for key in HALF} == HALF
    assert likely["image_size"] == 160


def test_a_training_checkpoint_and_the_training_data_make_a_service(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    save_random_weights(network, tmp_path / "best.pth")
    state = {f"module.{key}": x for key, x in network.state_dict().items()}
    content = {"epoch": 7, "state_dict": state, "classes": ["[cat]", "[/dog]", "猫"]}
    torch.save(content, tmp_path / "best.pth")
    for name in ("cat", "dog", "猫"):
        (tmp_path / "train" / name).mkdir(parents=True)
    noise(0).save(tmp_path / "image.png")
    result = new(
        tmp_path,
        *("cats-and-dogs", "--weights", "best.pth", "--labels", "train"),
        *("--defaults", "--picture", "image.png", "-d", "top_k=2"),
    )
    assert result.returncode == 0, result.stderr
    assert "猫" in result.stdout
    assert "classes has 3 names: [cat], [/dog], 猫, of its classes perhaps" in result.stdout
    assert "task: image_classification (assumed; another: -d task=multi_label" in result.stdout
    assert (
        "transforms: pretrained, shorter side to 256 pixels, centre 224 x 224, bilinear, "
        "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225 (assumed, as torchvision evaluated "
        "resnet18; others: -d transforms=custom -d image_size=PIXELS -d resize_size=PIXELS "
    ) in result.stdout
    project = tmp_path / "cats-and-dogs"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    expected = {
        "project_name": "Cats And Dogs",
        "model_name": "cats-and-dogs",
        "task": "image_classification",
        "architecture": "resnet18",
        "num_classes": 3,
        "weights": "checkpoint",
        "state_dict_prefix": "module.",
        "label_format": "index_to_name",
        "top_k": 2,
    }
    assert expected.items() <= answers.items()
    (answer,) = Project(project).predict(tmp_path / "image.png")
    transforms = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        scores = network(transforms(noise(0))[None]).softmax(dim=1)[0]
    assert [entry["index"] for entry in answer] == scores.topk(2).indices.tolist()
    # The pixels are right within one grey level.
    assert abs(answer[0]["probability"] - scores.max()) < 1e-3


HEADS: dict[str, nn.Module] = {  # as Udacity's course has people write and save them
    "names": nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(512, 16), relu=nn.ReLU(), drop=nn.Dropout(0.2), fc2=nn.Linear(16, 3),
            output=nn.LogSoftmax(dim=1),
        )
    ),
    "tanh": nn.Sequential(nn.Linear(512, 16), nn.Tanh(), nn.Linear(16, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_last_layers_that_lie_pickled_beside_the_weights_are_read(
    name: str, tmp_path: Path
) -> None:
    network = torchvision.models.resnet18()
    network.fc = HEADS[name]
    save_random_weights(network, tmp_path / "x.pth")
    content = {"arch": "resnet18", "fc": network.fc, "state_dict": network.state_dict()}
    torch.save(content | {"class_to_idx": {"a": 0, "b": 1, "c": 2}}, tmp_path / "x.pth")
    noise(0).save(tmp_path / "image.png")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults", "--picture", "image.png")
    assert result.returncode == 0, result.stderr
    (answer,) = Project(tmp_path / "made").predict(tmp_path / "image.png")
    transforms = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        scores = network(transforms(noise(0))[None]).softmax(dim=1)[0]
    assert [entry["index"] for entry in answer] == scores.argsort(descending=True).tolist()
    assert abs(answer[0]["probability"] - scores.max()) < 2e-3  # pixels within one grey level


def test_a_last_layer_that_others_follow_is_asked_about(tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5()
    network.fc = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())  # as CheXNet's state_dict
    torch.save(network.state_dict(), tmp_path / "x.pth")
    words = ("made", "--weights", "x.pth", "--defaults")
    result = new(tmp_path, *words)
    assert result.returncode == 1
    assert "fc.0.weight is alone in a Sequential" in result.stderr
    result = new(tmp_path, *words, "-d", "task=multi_label_classification")
    assert result.returncode == 0, result.stderr


def test_names_that_folders_had_stay_when_folders_change(tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    save_random_weights(network, tmp_path / "x.pth")
    for name in ("cat", "dog", "fox"):
        (tmp_path / "train" / name).mkdir(parents=True)
    result = new(tmp_path, "made", "--weights", "x.pth", "--labels", "train", "--defaults")
    assert result.returncode == 0, result.stderr
    (tmp_path / "train" / "cat").rename(tmp_path / "train" / "wolf")
    result = Project(tmp_path / "made").run("archive.py")
    assert "3 classes: cat, dog, fox" in result.stdout


def test_one_of_two_copies_in_a_checkpoint_is_taken_and_named(tmp_path: Path) -> None:
    state = torchvision.models.shufflenet_v2_x0_5(num_classes=3).state_dict()
    both = {
        f"{place}.{key}": x for place in ("online_model", "ema_model") for key, x in state.items()
    }
    torch.save(both, tmp_path / "x.pth")  # as lucidrains' ema-pytorch
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 0, result.stderr
    said = "state_dict_prefix: online_model. (assumed; another: -d state_dict_prefix=ema_model.)"
    assert said in result.stdout


def test_a_network_of_ones_own_brings_its_file(tmp_path: Path, own_model: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    words = ("own", "--weights", "weights.pth", "--labels", "names.txt", "--defaults")
    refused = new(tmp_path, *words)
    assert refused.returncode == 1
    assert "--model FILE" in refused.stderr
    assert not (tmp_path / "own").exists()
    (tmp_path / "class.py").write_text(f"{own_model.read_text().partition('def build_model')[0]}")
    refused = new(tmp_path, *words, "--model", "class.py")
    assert refused.returncode == 1
    assert "class.py does not define build_model(num_classes)" in refused.stderr
    assert "    def build_model(num_classes: int) -> nn.Module:\n        return" in refused.stderr
    assert not (tmp_path / "own").exists()
    result = new(tmp_path, *words, "--model", own_model.name)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "own" / "labels.txt").read_text() == "a\nb\nc\nd\n"
    assert (tmp_path / "own" / "model-store" / "own.mar").is_file()


def test_an_onnx_file_needs_no_architecture(tmp_path: Path, own_model: Path) -> None:
    namespace: dict[str, object] = {}
    exec(own_model.read_text(), namespace)
    network = namespace["build_model"](4)  # type: ignore[operator]
    network.load_state_dict(network_state())
    export(network.eval(), tmp_path / "net.onnx")
    onnx.save(
        onnx.load(tmp_path / "net.onnx"),
        tmp_path / "net",
        save_as_external_data=True,
        location="tensors.bin",
        size_threshold=0,
    )
    labels = {str(index): name for index, name in enumerate("abcd")}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ("graph", "--weights", "net", "--labels", "labels.json", "--defaults")
    result = new(tmp_path, *words)
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((tmp_path / "graph" / ".copier-answers.yml").read_text())
    assert answers["weights"] == "onnx"
    assert answers["num_classes"] == 4
    assert answers["color_mode"] == "L"
    assert answers["image_size"] == 28


def test_a_damaged_image_is_told_from_a_damaged_project(tmp_path: Path) -> None:
    save_random_weights(torchvision.models.squeezenet1_1(num_classes=3), tmp_path / "w.pth")
    noise(0).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-99])
    result = new(tmp_path, "p", "--weights", "w.pth", "--defaults", "--picture", "half.png")
    assert result.returncode == 1
    assert "the image file is damaged" in result.stdout
    assert "predict.py has refused, as above\np has its archive" in result.stderr
    assert "python predict.py IMAGE" in result.stderr


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda process: os.killpg(process.pid, signal.SIGINT), id="Ctrl-C"),
        pytest.param(lambda process: process.terminate(), id="kill", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_archive_is_gone_on_with(
    tmp_path: Path, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    save_random_weights(torchvision.models.squeezenet1_1(num_classes=3), tmp_path / "w.pth")
    words = ["new", "p", "--weights", "w.pth", "--defaults", "-d", "backend=eager"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "generator.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(generator.__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert any("[1/4] weights" in line for line in process.stdout)
        end(process)
        printed = process.stdout.read()
    assert process.returncode == 130
    assert "p is rendered and has your files. To go on: cd p && " in printed
    assert not list((tmp_path / "p").glob("model-store/*"))  # hidden ones, too
    Project(tmp_path / "p").archive()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_size_that_a_network_was_traced_with_is_assumed(
    channels: int, mode: str, tmp_path: Path
) -> None:
    layers = nn.Conv2d(channels, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    network = nn.Sequential(*layers).eval()
    save_random_weights(network, tmp_path / "random.pth")
    torch.jit.trace(network, torch.zeros(1, channels, 96, 96)).save(tmp_path / "net.pt")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    result = new(tmp_path, "p", "--weights", "net.pt", "--labels", "names.txt", "--defaults")
    assert result.returncode == 0, result.stderr
    assert "(assumed, of the size it was traced with" in result.stdout
    answers = yaml.safe_load((tmp_path / "p" / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["color_mode"], answers["image_size"]) == (mode, 96)


class ChannelsLast(nn.Module):
    """Takes images (N, H, W, C), as networks of TensorFlow do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(images.permute(0, 3, 1, 2))
        return scores


class RawBoxes(nn.Module):
    """Returns boxes before anything is made of them, from layers with names of Ultralytics."""

    def __init__(self) -> None:
        super().__init__()
        self.dfl = nn.Module()
        self.dfl.conv = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        boxes: torch.Tensor = self.dfl.conv(images).flatten(2)
        return boxes


class TokensAndMask(nn.Module):
    """Takes two tensors, as networks for texts do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.embedding(input_ids) * attention_mask[..., None]
        return vectors.mean(dim=1)


TOKENS = torch.ones(1, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("network", "inputs", "reason"),
    [
        (ChannelsLast, [torch.zeros(1, 64, 64, 3)], "(N, height, width, channels)"),
        (RawBoxes, [torch.zeros(1, 3, 64, 64)], "such a network (detector) from such a file"),
        (TokensAndMask, [TOKENS, TOKENS], "2 inputs (input_ids, attention_mask)"),
    ],
)
def test_a_graph_that_no_project_takes_is_refused_before_it_is_rendered(
    network: type[nn.Module], inputs: list[torch.Tensor], reason: str, tmp_path: Path
) -> None:
    torch.onnx.export(
        network().eval(), tuple(inputs), tmp_path / "net.onnx", verbose=False, external_data=False
    )
    result = new(tmp_path, "svc", "--weights", "net.onnx", "--defaults")
    assert result.returncode == 1
    assert reason in result.stderr
    assert not (tmp_path / "svc").exists()
    printed = ts_template("inspect", "net.onnx", cwd=tmp_path).stdout
    assert reason in printed
    assert "copier copy" not in printed  # no command that would make another kind of service
    if len(inputs) > 1:  # a project that was rendered all the same
        project = Project(tmp_path / "project")
        render(project.path, {"architecture": "custom", "num_classes": 8, "weights": "onnx"})
        shutil.copy(tmp_path / "net.onnx", project.path / "weights")
        result = project.run("archive.py")
        assert result.returncode == 1
        assert reason in result.stderr


def test_a_segmenter_and_its_labels_make_a_service(tmp_path: Path) -> None:
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        num_classes=3, weights_backbone=None
    )
    save_random_weights(network, tmp_path / "best.pth")
    state = {f"module.{key}": x for key, x in network.state_dict().items()}
    torch.save({"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, tmp_path / "c.pth")
    (tmp_path / "two.txt").write_text("road\n車\n", "utf-8")
    words = ("streets", "--weights", "c.pth", "--defaults")
    refused = new(tmp_path, *words, "--labels", "two.txt")
    assert refused.returncode == 1
    assert "two.txt names 2 classes, the network has 3; the background is a class" in refused.stderr
    (tmp_path / "three.txt").write_text("background\nroad\n車\n", "utf-8")
    noise(0, (90, 60)).save(tmp_path / "image.png")
    result = new(
        tmp_path,
        *(*words, "--labels", "three.txt", "--picture", "image.png", "-d", "response_format=png"),
    )
    assert result.returncode == 0, result.stderr
    assert "3 classes include the background" in result.stdout
    assumed = [line for line in result.stdout.splitlines() if "(assumed" in line]
    assert len(assumed) == 1, assumed
    (transforms,) = assumed
    assert "pretrained, shorter side to 520 pixels, bilinear, mean 0.485" in transforms
    assert "車" in result.stdout
    project = tmp_path / "streets"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    expected = {
        "task": "semantic_segmentation",
        "architecture": "lraspp_mobilenet_v3_large",
        "num_classes": 3,
        "weights": "checkpoint",
        "state_dict_prefix": "module.",
        "label_format": "text",
        "transforms": "pretrained",
    }
    assert expected.items() <= answers.items()
    (prediction,) = Project(project).predict(tmp_path / "image.png")
    mask = Image.open(io.BytesIO(base64.b64decode(prediction["mask"])))
    weights = torchvision.models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT
    with torch.inference_mode():
        logits = network(weights.transforms()(noise(0, (90, 60)))[None])["out"]
    logits = torch.nn.functional.interpolate(logits, (60, 90), mode="bilinear")[0]
    # The pixels that the network gets are right within one grey level.
    assert np.mean(np.asarray(mask) == logits.argmax(dim=0).numpy()) > 0.98


def test_any_number_of_classes_for_an_image(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    save_random_weights(network, tmp_path / "w.pth")
    state = {f"model.{key}": x for key, x in network.state_dict().items()}
    state["criterion.pos_weight"] = torch.ones(3)
    torch.save({"state_dict": state, "pytorch-lightning_version": "2"}, tmp_path / "last.ckpt")
    words = ("--weights", "last.ckpt", "--defaults")
    result = new(tmp_path, "tags", *words, "-d", "thresholds=[0.1]")
    assert result.returncode == 0, result.stderr
    task = "multi_label_classification"
    assert f"task={task} is likely: criterion.pos_weight" in result.stdout
    assert (
        f"task: {task} (assumed; another: -d task=image_classification|feature_extraction)"
        in result.stdout
    )
    assert "transforms: pretrained, shorter side to 256 pixels" in result.stdout
    answers = yaml.safe_load((tmp_path / "tags" / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["task"], answers["thresholds"]) == (task, [0.1])


def test_what_does_not_fit_leaves_no_project(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    save_random_weights(network, tmp_path / "w.pth")
    torch.save(network.state_dict(), tmp_path / "p4.pth", pickle_protocol=4)
    network.classifier = torch.nn.Sequential(torch.nn.Conv2d(512, 8, 1), torch.nn.Conv2d(8, 3, 1))
    torch.save(network.state_dict(), tmp_path / "own.pth")
    torch.save(
        {"roi_heads.box_predictor.cls_score.weight": torch.zeros(2, 2, 1, 1)},
        tmp_path / "detector.pth",
    )
    segmenter = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        num_classes=1, weights_backbone=None
    )
    segmenter.classifier.high_classifier = torch.nn.Sequential(torch.nn.Conv2d(128, 1, 1))
    torch.save({f"net.{k}": x for k, x in segmenter.state_dict().items()}, tmp_path / "head.pth")
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    good = ("--weights", "w.pth", "--defaults")
    pretrained = ("-d", "transforms=pretrained")
    own = {
        name: ("--weights", f"{name}.pth", "--defaults")
        for name in ("p4", "own", "detector", "head", "page", "absent")
    }
    for words, said in {
        ("p", *good, "--labels", "two.txt"): "error: two.txt names 2 classes, the network has 3",
        ("p", *own["p4"]): "x = torch.load('p4.pth', weights_only=False)",
        ("p", *own["own"]): "    network.classifier = ...",
        ("p", *own["detector"]): "detector.pth is of a network of your own",
        ("p", *own["head"]): "    network = lraspp_mobilenet_v3_large(weights_backbone=None)",
        ("p", *good, "-d", "task=semantic_segmentation"): "squeezenet1_1, which is a classifier",
        ("p", *good, "-d", "task=segmentation"): "segmentation",
        ("p", *good, "--labels", "absent.txt"): "absent.txt",
        ("p", *own["page"]): "page.pth",
        ("p", *own["absent"]): "absent.pth",
        ("p", *good, "-d", "colour=RGB"): "did you mean color_mode?",
        ("p", *good, "-d", "top_k=0"): "top_k is 0",
        ("p", *good, "-d", "timm_name=resnet18"): "timm_name has no effect with these answers",
        ("p", *good, *pretrained, "-d", "image_size=64"): "it is asked if transforms is to_tensor",
        ("p", *good, "--picture", "absent.png"): "absent.png",
        ("full", *good): "full exists",
    }.items():
        result = new(tmp_path, *words)
        assert result.returncode == 1, words
        assert said in result.stderr, (words, result.stderr)
        assert "Traceback" not in result.stderr, result.stderr
        assert not (tmp_path / "p").exists(), words
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_the_labels_tell_the_classes_where_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    expected = {"label_format": "text", "num_classes": 2}
    task = "image_classification"
    names = names_for(tmp_path / "two.txt", None, Console(), task)
    assert label_answers(names, None) == expected
    assert label_answers(names, 2) == {"label_format": "text"}


def test_a_head_of_layers_is_served_once_they_are_named(
    tmp_path: Path, chelsea: Image.Image
) -> None:
    network = torchvision.models.mobilenet_v2(num_classes=3)
    network.classifier = torch.nn.Sequential(
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1280, 64),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(64, 3),
    )
    save_random_weights(network, tmp_path / "w.pth")
    words = ("food", "--weights", "w.pth", "--defaults")
    refused = new(tmp_path, *words)
    assert refused.returncode == 1
    assert "-d 'head_layers=[dropout, linear 64, relu, dropout, linear]'" in refused.stderr
    assert not (tmp_path / "food").exists()
    named = "head_layers=[dropout, linear 64, tanh, dropout, linear]"
    result = new(tmp_path, *words, "-d", named)
    assert result.returncode == 0, result.stderr
    assert "shorter side to 232 pixels, centre 224 x 224, bilinear, mean 0.485" in result.stdout
    assert "(assumed, as torchvision evaluated mobilenet_v2; others: -d" in result.stdout
    chelsea.save(tmp_path / "cat.png")
    (answer,) = Project(tmp_path / "food").predict(tmp_path / "cat.png")
    transforms = torchvision.models.MobileNet_V2_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        scores = network(transforms(chelsea)[None]).softmax(dim=1)[0]
    found = {entry["index"]: entry["probability"] for entry in answer}
    assert [found[i] for i in range(3)] == pytest.approx(scores.tolist(), abs=0.01)


class CosineHead(torch.nn.Module):
    """Compares directions, as heads that are trained with ArcFace or LDAM do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 512))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        normalize = torch.nn.functional.normalize
        return 30 * torch.nn.functional.linear(normalize(features), normalize(self.weight))


def test_a_last_layer_without_a_bias_is_not_taken_for_a_linear_one(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    network.fc = CosineHead()  # type: ignore[assignment]
    torch.save(network.state_dict(), tmp_path / "w.pth")
    words = ("p", "--weights", "w.pth", "--defaults")
    refused = new(tmp_path, *words)
    assert refused.returncode == 1
    option = "-d 'head_layers=linear bias=False'"
    assert option in refused.stderr and "--model FILE" in refused.stderr
    assert not (tmp_path / "p").exists()
    confirmed = new(tmp_path, *words, *shlex.split(option))
    assert confirmed.returncode == 0, confirmed.stderr


def test_a_network_trained_without_labels_is_no_classifier(tmp_path: Path) -> None:
    # As MoCo saves its two networks, and its queue of features.
    network = torchvision.models.resnet18(num_classes=128)
    state = {f"module.encoder_{x}.{k}": v for x in "qk" for k, v in network.state_dict().items()}
    state["module.queue"] = torch.zeros(128, 64)
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": state}, tmp_path / "w.pth.tar")
    refused = new(tmp_path, "p", "--weights", "w.pth.tar", "--defaults")
    assert refused.returncode == 1
    assert "trained without labels" in refused.stderr
    assert not (tmp_path / "p").exists()


def test_a_folder_of_the_hub_is_served(tmp_path: Path, chelsea: Image.Image) -> None:
    names = {0: "cat", 1: "dog", 2: "猫"}
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    network = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        network.classifier.weight *= 50  # scores as of a network that was trained
    processor = transformers.ViTImageProcessor(resample=3)
    network.save_pretrained(tmp_path / "vit")
    processor.save_pretrained(tmp_path / "vit")
    result = new(tmp_path, "svc", "--weights", "vit", "--defaults")
    assert result.returncode == 0, result.stderr
    assert "transforms: custom (assumed" not in result.stdout  # the folder tells all of them
    chelsea.save(tmp_path / "cat.png")
    project = Project(tmp_path / "svc")
    assert "transformers>=" in (project.path / "requirements-own.txt").read_text("utf-8")
    (answer,) = project.predict(tmp_path / "cat.png")
    with torch.inference_mode():
        scores = network(**processor(chelsea, return_tensors="pt")).logits.softmax(dim=1)[0]
    found = {entry["label"]: entry["probability"] for entry in answer}
    expected = {name: pytest.approx(float(scores[i]), abs=1e-3) for i, name in names.items()}
    assert found == expected


@pytest.mark.parametrize("color_mode", ["RGB", "L"])
def test_the_network_decides_the_transforms_whatever_it_is_called(
    color_mode: str, tmp_path: Path
) -> None:
    channels = 3 if color_mode == "RGB" else 1
    body = torchvision.models.resnet18()
    body.conv1 = torch.nn.Conv2d(channels, 64, kernel_size=7, bias=False)
    body.fc = torch.nn.Identity()
    whole = {f"backbone.{key}": x for key, x in body.state_dict().items()}
    whole |= {"head.weight": torch.zeros(3, 512), "head.bias": torch.zeros(3)}
    torch.save(whole, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    known = {**found.answers, "architecture": "custom"}
    likely = likely_of(found, known, tmp_path / "p")
    assert likely["transforms"] == "imagenet"  # which is how resnet18 was evaluated
    # What is given is kept, the rest follows the network.
    likely = likely_of(found, {**known, "transforms": "custom", "image_size": 96}, tmp_path / "p")
    assert "image_size" not in likely and len(likely["mean"]) == channels


def test_a_pickled_network_that_differs_is_refused(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    network.maxpool = torch.nn.Identity()
    torch.save(network, tmp_path / "w.pth")
    result = new(tmp_path, "p", "--weights", "w.pth", "--defaults")
    assert result.returncode == 1
    assert "    maxpool is nn.Identity, not nn.MaxPool2d" in result.stderr
    assert "--model FILE" in result.stderr
    assert not (tmp_path / "p").exists()


def test_a_network_made_from_a_known_one_has_its_transforms(tmp_path: Path) -> None:
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        num_classes=1, weights_backbone=None
    )
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    known = {**found.answers, "architecture": "custom", "color_mode": "RGB"}
    likely = likely_of(found, known, tmp_path / "p")
    assert (likely["transforms"], likely["image_size"]) == ("custom", 520)
    assert likely["mean"] == [0.485, 0.456, 0.406]
    assert likely_of(found, {**known, "transforms": "to_tensor"}, tmp_path / "p") == {
        "project_name": "P",
        "num_classes": 2,
        "model_output": "binary_logit",
    }


@pytest.mark.parametrize("task", ["image_classification", "semantic_segmentation"])
def test_one_output_becomes_a_service_for_two_classes(tmp_path: Path, task: str) -> None:
    if task == "image_classification":
        network: torch.nn.Module = torchvision.models.shufflenet_v2_x0_5(num_classes=1)
    else:
        network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            num_classes=1, weights_backbone=None
        )
    save_random_weights(network, tmp_path / "w.pth")
    (tmp_path / "one.txt").write_text("hotdog\n")
    (tmp_path / "two.txt").write_text("other\nhotdog\n")
    words = ("p", "--weights", "w.pth", "--defaults", "--labels")
    refused = new(tmp_path, *words, "one.txt")
    assert refused.returncode == 1
    assert "name both classes" in refused.stderr or "background" in refused.stderr
    small = ("-d", "transforms=custom", "-d", "image_size=64")
    result = new(tmp_path, *words, "two.txt", *small)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "model_output: binary_logit (assumed" in result.stdout
    answers = yaml.safe_load((tmp_path / "p" / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["task"], answers["num_classes"]) == (task, 2)
    assert answers["architecture"] != "custom"


def test_one_output_may_be_one_class_that_an_image_has_or_not(tmp_path: Path) -> None:
    save_random_weights(torchvision.models.shufflenet_v2_x0_5(num_classes=1), tmp_path / "w.pth")
    (tmp_path / "one.txt").write_text("hotdog\n")
    task = "task=multi_label_classification"
    result = new(
        tmp_path, "p", *("--weights", "w.pth", "--labels", "one.txt", "-d", task), "--defaults"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answers = yaml.safe_load((tmp_path / "p" / ".copier-answers.yml").read_text("utf-8"))
    assert answers["num_classes"] == 1


def test_what_archive_py_refuses_stays_to_be_fixed(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    save_random_weights(network, tmp_path / "w.pth")
    words = ("p", "--weights", "w.pth", "--defaults", "-d")
    refused = new(tmp_path, *words, "num_classes=5")
    assert refused.returncode == 1
    assert "of a network with 3 classes, not 5: leave out -d num_classes=5" in refused.stderr
    assert not (tmp_path / "p").exists()
    result = new(tmp_path, *words, "architecture=squeezenet1_0")
    assert result.returncode == 1
    assert "-d architecture=squeezenet1_1" in result.stderr
    assert "Fix it there" in result.stderr
    assert (tmp_path / "p" / "weights" / "w.pth").is_file()


SEGMENTER = """
from torch import Tensor, nn

class Network(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.segmentation_head = nn.Sequential(nn.Conv2d(8, classes, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.segmentation_head(self.encoder(images))

def build_model(num_classes: int) -> nn.Module:
    return Network(num_classes)
"""
SETTINGS = {"do_reduce_labels": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize("layout", ["lightning", "hub"])
def test_how_a_segmenter_has_its_images_is_not_assumed_against_the_file(
    layout: str, tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(SEGMENTER)
    namespace: dict[str, object] = {}
    exec(SEGMENTER, namespace)
    torch.manual_seed(0)
    state = namespace["build_model"](2).state_dict()  # type: ignore[operator]
    if layout == "lightning":  # as in segmentation_models_pytorch's example
        state = {f"model.{key}": x for key, x in state.items()}
        state |= {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
        torch.save({"pytorch-lightning_version": "2.0.0", "state_dict": state}, tmp_path / "x")
        message = "x tells that mean and std normalise its images, it seems"
    else:  # as SegFormer is there
        (tmp_path / "x").mkdir()
        save_file(state, tmp_path / "x" / "model.safetensors")
        config = {"architectures": ["SegformerForSemanticSegmentation"]}
        (tmp_path / "x" / "config.json").write_text(json.dumps(config))
        (tmp_path / "x" / "preprocessor_config.json").write_text(json.dumps(SETTINGS))
        message = "do_reduce_labels=true, image_mean=[0.5, 0.5, 0.5], image_std="
    words = ("made", "--weights", "x", "--model", "model.py", "--defaults")
    result = new(tmp_path, *words)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "made").exists()
    answers = ("transforms=custom", "image_size=64", "mean=[0, 0, 0]", "std=[1, 1, 1]")
    result = new(tmp_path, *words, *(word for x in answers for word in ("-d", x)))
    assert result.returncode == 0, result.stderr
