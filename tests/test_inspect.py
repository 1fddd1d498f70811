"""ts-template inspect: right about what is known, silent about what is not, safe from any file."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import pkgutil
import random
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.models.segmentation import deeplabv3
from typer.testing import CliRunner

import generator.tasks
from conftest import Project, render, save_random_weights, slow, ts_template
from generator import catalogue, facts
from generator.cli import app
from generator.errors import UserError
from generator.inspection import inspect_file, signatures
from generator.inspection.matching import recognise
from generator.inspection.pickles import Tensor, refused_by_torch
from generator.options import questions
from generator.rendering import template_root
from generator.tasks import tasks
from inspected import (
    ARCHS,
    CLASSES,
    CONTAINERS,
    HEADS,
    NETWORKS,
    SEGMENTERS,
    UNITS,
    Wrapper,
    build,
    can_have,
    example,
    head_title,
    hollow,
    save_exported,
    save_onnx,
    save_safetensors,
    save_scripted,
    save_state,
    save_traced,
    trained,
)

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST_TASK = next(iter(tasks()))
SEGMENTATION = next(task.value for task in tasks().values() if task.networks == "segmenter")


# ------------------------------------------------------------------------------------ recognising


@pytest.mark.parametrize(("number", "name"), list(enumerate(ARCHS)))
def test_each_architecture_in_each_container(number: int, name: str, tmp_path: Path) -> None:
    heads = [head for head in HEADS if can_have(ARCHS[name], head)]
    family = [other for other in ARCHS if ARCHS[other].family == ARCHS[name].family]
    # The heads take turns over the architectures, and over variants of a family the containers.
    turns = range(3) if name == family[0] else [number % 3]
    for turn in turns:
        head, channels = heads[(number + turn) % len(heads)], 1 if turn == 2 else 3
        network = build(name, head, channels)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        for container_name in list(CONTAINERS)[turn::3]:
            container = CONTAINERS[container_name]
            path = tmp_path / "x.pth"
            container.save(network, path)
            found = inspect_file(path)
            shown = f"{name} {head} {container_name}"
            assert found.architecture == name, shown
            assert found.classes == CLASSES, shown
            assert found.channels == channels, shown
            assert found.prefix == container.prefix + "backbone." * (head == "outside"), shown
            title = head_title(ARCHS[name], head)
            assert found.head == title, shown
            assert found.kind == container.kind, shown
            assert head == "outside" or found.parameters == parameters, shown
            half = container_name == "half"
            assert set(found.precision) == {"float16" if half else "float32"}, shown
            answers = found.answers
            is_answer = title not in ("other", "outside")
            assert answers["architecture"] == (name if is_answer else "custom"), shown
            assert answers["num_classes"] == CLASSES, shown
            assert answers["color_mode"] == ("RGB" if channels == 3 else "L"), shown
            assert answers["weights"] == container.weights, shown
            assert answers.get("state_dict_prefix", "") == container.prefix, shown
            # A pickled network shows its activations, weights do not.
            is_shown = container_name == "pickled"
            is_open = title == "layers" or (head.startswith("mlp") and not is_shown)
            expected = None if not is_answer else "layers" if is_open else head
            assert answers.get("head") == expected, shown
            is_mlp = head.startswith("mlp") and is_shown
            assert answers.get("head_units") == (UNITS if is_mlp else None), shown
            layers = answers.get("head_layers")
            assert (layers is not None) == (expected == "layers"), shown
            assert layers is None or ("?" in layers) == (not is_shown), shown


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "vit_b_32", slow("swin_t"), slow("densenet121")]
)
def test_files_that_bring_their_network(name: str, tmp_path: Path) -> None:
    network, images = build(name), example(ARCHS[name])
    save_traced(network, tmp_path / "traced.pt", images)
    save_scripted(network, tmp_path / "scripted.pt")
    save_exported(network, tmp_path / "exported.pt2", images)
    save_safetensors(Wrapper(network), tmp_path / "x.safetensors")
    for file, kind, what in (
        ("traced.pt", "torchscript", "traced"),
        ("scripted.pt", "torchscript", "scripted, or traced by an older torch"),
        ("exported.pt2", "exported_program", ""),
        ("x.safetensors", "safetensors", ""),
    ):
        found = inspect_file(tmp_path / file)
        assert (found.kind, found.what) == (kind, what)
        assert (found.architecture, found.classes, found.channels) == (name, CLASSES, 3), file
        assert found.answers["weights"] == kind
        assert ("head" in found.answers) == (kind == "safetensors")
    assert inspect_file(tmp_path / "x.safetensors").answers["state_dict_prefix"] == "backbone."
    exported = inspect_file(tmp_path / "exported.pt2")
    assert exported.image_size == images.shape[-1]
    if images.shape[-1] != ARCHS[name].input_size:
        assert exported.answers["transforms"] == "custom"
        assert exported.answers["image_size"] == images.shape[-1]


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "regnet_y_400mf", slow("swin_v2_t"), slow("vit_b_32")]
)
def test_onnx(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    options = {"image_size": 64} if name == "vit_b_32" else {}
    network = trained(models.get_model(name, num_classes=CLASSES, **options))
    save_onnx(network, path, torch.zeros(1, 3, 64, 64))
    found = inspect_file(path)
    assert (found.kind, found.architecture, found.classes) == ("onnx", name, CLASSES)
    assert (found.channels, found.image_size) == (3, 64)
    assert found.answers["weights"] == "onnx"
    path.with_name("x.onnx.data").unlink()
    assert "x.onnx.data, which is not beside it" in refusal(path)


@pytest.mark.parametrize("name", ["resnet18", "mnasnet0_5"])
def test_onnx_of_the_older_exporter(name: str, tmp_path: Path) -> None:
    network = trained(Wrapper(models.get_model(name, num_classes=CLASSES)))
    save_onnx(network, tmp_path / "x.onnx", torch.zeros(1, 3, 64, 64), dynamo=False)
    found = inspect_file(tmp_path / "x.onnx")
    assert (found.architecture, found.classes, found.prefix) == (name, CLASSES, "backbone.")


@pytest.mark.parametrize("dynamo", [True, False])
def test_onnx_of_a_network_with_other_normalisation(dynamo: bool, tmp_path: Path) -> None:
    network = models.resnet18(num_classes=CLASSES, norm_layer=lambda n: nn.GroupNorm(8, n))
    images = torch.zeros(1, 3, 64, 64)
    save_onnx(trained(network), tmp_path / "x.onnx", images, dynamo=dynamo)
    assert inspect_file(tmp_path / "x.onnx").architecture is None


def test_frozen_torchscript_says_what_is_lost(tmp_path: Path) -> None:
    network = torch.jit.freeze(torch.jit.script(build("squeezenet1_1")))
    network.save(tmp_path / "x.pt")
    found = inspect_file(tmp_path / "x.pt")
    assert (found.architecture, found.classes, found.channels) == (None, None, None)
    assert "it is frozen" in found.notes[0]
    assert found.answers == {"weights": "torchscript"}
    # The colours are those of the first constant; no matrix tells more.
    assert found.likely == {"task": FIRST_TASK, "color_mode": "RGB"}
    open_questions = {
        "task",
        "architecture",
        "num_classes",
        "color_mode",
        "model_output",
        "transforms",
    }
    assert open_questions <= found.open_questions.keys()


@pytest.mark.parametrize("size", [32, 64, 384])
def test_the_image_size_of_a_vit(size: int, tmp_path: Path) -> None:
    save_state(build("vit_b_32", image_size=size), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.image_size) == ("vit_b_32", size)
    assert found.answers["transforms"] == "custom" and found.answers["image_size"] == size
    assert {"mean", "std", "interpolation"} <= found.open_questions.keys()


@pytest.mark.parametrize(
    ("name", "removed"), [("googlenet", "aux1"), ("inception_v3", "AuxLogits")]
)
def test_auxiliary_heads_may_be_there(name: str, removed: str, tmp_path: Path) -> None:
    network = catalogue.meta_model(name, CLASSES, init_weights=False)
    assert hasattr(network, removed)
    save_state(hollow(network), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.classes) == (name, CLASSES)
    assert "transform_input" in found.open_questions
    assert found.parameters == ARCHS[name].params - (1000 - CLASSES) * (
        ARCHS[name].classifier_in + 1
    )


def test_old_names_and_missing_counters(tmp_path: Path) -> None:
    state = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for key, tensor in build("densenet169").state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "x.pth")
    assert inspect_file(tmp_path / "x.pth").architecture == "densenet169"


# ---------------------------------------------------------------------------------- several weights


def test_the_plain_weights_come_before_their_copy(tmp_path: Path) -> None:
    network = build("resnet18")
    states = {"ema.shadow": network.state_dict(), "net": network.state_dict()}
    torch.save({"ema": {"shadow": states["ema.shadow"]}, "net": states["net"]}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert [(place.key, place.is_copy) for place in found.places] == [
        ("net", False),
        ("ema.shadow", True),
    ]
    assert "checkpoint_key" not in found.answers
    assert "net, ema.shadow" in found.open_questions["checkpoint_key"]


def test_a_copy_beside_the_network_in_one_state_dict(tmp_path: Path) -> None:
    state = build("resnet18").state_dict()
    both = {f"{prefix}{key}": x for prefix in ("ema_model.", "model.") for key, x in state.items()}
    torch.save({"state_dict": both}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert [place.prefix for place in found.places] == ["model.", "ema_model."]
    assert found.answers["weights"] == "checkpoint"
    assert "state_dict_prefix" not in found.answers
    assert "state_dict_prefix" in found.open_questions


def test_one_network_among_other_weights(tmp_path: Path) -> None:
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)).state_dict()
    content = {"decoder": other, "encoder": build("resnet34").state_dict()}
    torch.save(content, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.architecture == "resnet34"
    assert found.answers["checkpoint_key"] == "encoder"


def test_a_head_on_top_of_the_networks_own(tmp_path: Path) -> None:
    on_top = nn.Sequential(nn.Linear(CLASSES, 40), nn.ReLU(), nn.Linear(40, 5))
    save_state(Wrapper(build("resnet18"), on_top), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.head, found.classes) == ("resnet18", "outside", 5)
    assert found.answers["architecture"] == "custom"
    assert found.answers["weights"] == "state_dict"


def test_weights_beside_the_network_are_named(tmp_path: Path) -> None:
    CONTAINERS["Lightning"].save(build("resnet18"), tmp_path / "x.ckpt")
    notes = inspect_file(tmp_path / "x.ckpt").notes
    assert "beside the network, and no part of it: criterion.weight" in notes


def test_classes_are_not_read_from_heads_that_part(tmp_path: Path) -> None:
    network: Any = build("resnet18")
    network.fc = nn.ModuleDict({"kind": nn.Linear(512, 3), "colour": nn.Linear(512, 5)})
    save_state(network, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.head, found.classes) == ("resnet18", "other", None)
    assert "num_classes" in found.open_questions


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    network: Any = build("resnet18")
    network.fc = nn.ModuleDict({"²": nn.Linear(512, 3)})
    save_state(network, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.head, found.classes) == ("resnet18", "other", 3)


def sequence(*layers: nn.Module, **named: nn.Module) -> nn.Module:
    """Return layers in a row, by number or by name."""
    return nn.Sequential(*layers) if layers else nn.Sequential(OrderedDict(named))


LINEAR = (nn.Linear(512, 20), nn.Linear(20, 3))
# Layers in place of a network's last ones, what weights show of them, and what a pickle does.
OWN_HEADS: dict[str, tuple[str, str, Callable[[], nn.Module], Any, Any]] = {
    "the whole classifier": (
        "mobilenet_v2",
        "classifier",
        lambda: sequence(
            nn.Dropout(), nn.Linear(1280, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 3)
        ),
        ["dropout", "linear 20", "?", "?", "linear"],
        ["dropout", "linear 20", "relu", "dropout", "linear"],
    ),
    "a layer alone": ("vit_b_32", "heads", lambda: nn.Linear(768, 3), "linear", "linear"),
    "no activation": (
        "resnet18",
        "fc",
        lambda: sequence(LINEAR[0], nn.Dropout(), LINEAR[1]),
        ["linear 20", "?", "linear"],
        ["linear 20", "dropout", "linear"],
    ),
    "nothing between": (
        "resnet18",
        "fc",
        lambda: sequence(*LINEAR),
        ["linear 20", "linear"],
        ["linear 20", "linear"],
    ),
    "a normalisation": (
        "resnet18",
        "fc",
        lambda: sequence(LINEAR[0], nn.BatchNorm1d(20, eps=1e-3), nn.LeakyReLU(0.1), LINEAR[1]),
        ["linear 20", "batchnorm", "?", "linear"],
        ["linear 20", "batchnorm 0.001", "leaky_relu 0.1", "linear"],
    ),
    "another activation": (
        "resnet18",
        "fc",
        lambda: sequence(LINEAR[0], nn.Tanh(), LINEAR[1]),
        ["linear 20", "?", "linear"],
        ["linear 20", "tanh", "linear"],
    ),
    "names, and what the service computes": (
        "resnet18",
        "fc",
        lambda: sequence(
            fc1=LINEAR[0], relu=nn.ReLU(), drop=nn.Dropout(), fc2=LINEAR[1], output=nn.LogSoftmax(1)
        ),
        {"fc1": "linear 20", "before_fc2": "?", "fc2": "linear"},
        {"fc1": "linear 20", "relu": "relu", "drop": "dropout", "fc2": "linear"},
    ),
    "maps": (
        "convnext_tiny",
        "classifier",
        lambda: sequence(nn.Flatten(), nn.Linear(768, 3, bias=False)),
        ["flatten", "linear bias=False"],
        ["flatten", "linear bias=False"],
    ),
}


@pytest.mark.parametrize("title", OWN_HEADS)
def test_layers_of_ones_own_are_described(title: str, tmp_path: Path) -> None:
    name, place, make, from_weights, from_pickle = OWN_HEADS[title]
    network = catalogue.meta_model(name, CLASSES)
    network.set_submodule(place, make())
    path = tmp_path / "x.pth"
    save_state(hollow(network), path)
    for is_pickled, expected in enumerate((from_weights, from_pickle)):
        found = inspect_file(path)
        answers = {"architecture": name, "num_classes": 3, "head": "layers"}
        if "." in ARCHS[name].classifier:
            answers["head_place"] = "whole"
        assert answers.items() <= found.answers.items()
        assert found.answers["head_layers"] == expected
        # A matrix without a bias may be used in other ways, which a pickled layer shows.
        is_bare = "linear bias=False" in expected and not is_pickled
        assert ("head_layers" in found.open_questions) == ("?" in str(expected) or is_bare)
        if isinstance(expected, dict):  # their order counts
            assert list(found.answers["head_layers"]) == list(expected)
        CONTAINERS["pickled"].save(network, path)


def test_named_layers_that_a_file_sorts_come_in_their_order(tmp_path: Path) -> None:
    network = catalogue.meta_model("resnet18", CLASSES)
    network.fc = sequence(hidden=LINEAR[0], act=nn.ReLU(), a_last=LINEAR[1])
    save_safetensors(hollow(network), tmp_path / "x.safetensors")
    layers = inspect_file(tmp_path / "x.safetensors").answers["head_layers"]
    assert list(layers.values()) == ["linear 20", "?", "linear"]


def changed(**changes: Any) -> nn.Module:
    """Return a resnet18 in which attributes of layers, or layers themselves, are others."""
    network = build("resnet18")
    for path, value in changes.items():
        parent, _, name = path.rpartition("__")
        setattr(network.get_submodule(parent.replace("__", ".")), name, value)
    return network


def double(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def hooked() -> nn.Module:
    network = build("resnet18")
    network.get_submodule("layer1").register_forward_hook(double)
    return network


# Pickled networks with the weights of an architecture that compute something else, and how.
DIFFERING: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "for small images": (
        lambda: changed(conv1__stride=(1, 1), maxpool=nn.Identity()),
        ["conv1.stride is (1, 1), not (2, 2)", "maxpool is nn.Identity, not nn.MaxPool2d"],
    ),
    "dilation": (
        lambda: changed(layer4__0__conv2__dilation=(2, 2)),
        ["layer4.0.conv2.dilation is (2, 2), not (1, 1)"],
    ),
    "eps": (lambda: changed(bn1__eps=0.001), ["bn1.eps is 0.001, not 1e-05"]),
    "an activation": (lambda: changed(relu=nn.SiLU()), ["relu is nn.SiLU, not nn.ReLU"]),
    "padding": (
        lambda: changed(conv1__padding_mode="reflect"),
        ["conv1.padding_mode is 'reflect', not 'zeros'"],
    ),
    "a hook": (hooked, ["layer1 has a forward hook, which changes what it computes"]),
    "what training alone needs": (
        lambda: nn.SyncBatchNorm.convert_sync_batchnorm(
            changed(relu=nn.ReLU(inplace=False), bn1__momentum=0.01)
        ),
        [],
    ),
}


@pytest.mark.parametrize("title", DIFFERING)
def test_a_pickled_network_is_compared_with_the_architecture(title: str, tmp_path: Path) -> None:
    make, expected = DIFFERING[title]
    CONTAINERS["pickled"].save(make(), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, list(found.differences)) == ("resnet18", expected)
    assert found.answers["architecture"] == ("custom" if expected else "resnet18")
    printed = run(tmp_path / "x.pth")
    assert all(line in printed for line in expected)


def test_a_layer_inside_a_classifier_is_compared(tmp_path: Path) -> None:
    network = build("vgg11")
    network.classifier[1] = nn.Tanh()  # type: ignore[index,operator]
    CONTAINERS["pickled"].save(network, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.differences == ("classifier.1 is nn.Tanh, not nn.ReLU",)


@pytest.mark.parametrize("rescales", [True, False])
def test_a_pickled_network_shows_whether_it_rescales_its_input(
    rescales: bool, tmp_path: Path
) -> None:
    CONTAINERS["pickled"].save(build("googlenet", transform_input=rescales), tmp_path / "x.pth")
    assert inspect_file(tmp_path / "x.pth").answers["transform_input"] is rescales


def test_a_network_that_normalises_by_itself(tmp_path: Path) -> None:
    class Normalised(Wrapper):
        """Has mean and std as buffers, as many attacks and exports do."""

        def __init__(self) -> None:
            super().__init__(build("resnet18"))
            self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
            self.register_buffer("std", torch.ones(1, 3, 1, 1))

    save_state(Normalised(), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.answers["architecture"] == "custom"
    assert found.differences[0].startswith("mean lies beside the network, which normalises")


# ---------------------------------------------------------------------- what training leaves behind

NO_CHOICE = {"img_size": None, "crop_pct": None, "mean": None, "std": None, "interpolation": ""}
CUSTOM = {"transforms": "custom", "resize_mode": "crop"}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
# What stands beside the weights of a resnet18, and the answers that follow.
TRAININGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "timm": (
        {"args": argparse.Namespace(model="resnet18", **NO_CHOICE)},
        {"architecture": "timm/resnet18", "transforms": "pretrained"},
    ),
    "timm, for larger images": (
        {"args": argparse.Namespace(**{"model": "resnet18", **NO_CHOICE, "img_size": 288})},
        {
            **CUSTOM,
            **IMAGENET,
            "architecture": "timm/resnet18",
            "image_size": 288,
            "resize_size": 303,  # of 288 / 0.95, rounded down
            "interpolation": "bicubic",
        },
    ),
    "timm, with its own": (
        {
            "arch": "resnet18",
            "args": argparse.Namespace(
                model="resnet18", img_size=160, crop_pct=1.0, interpolation="bilinear", **HALF
            ),
        },
        {**CUSTOM, **HALF, "image_size": 160, "resize_size": 160, "interpolation": "bilinear"},
    ),
    "torchvision": (
        {
            "args": argparse.Namespace(
                model="resnet18", val_crop_size=160, val_resize_size=200, train_crop_size=128,
                interpolation="bicubic",
            )
        },
        {
            **CUSTOM,
            **IMAGENET,
            "architecture": "resnet18",
            "image_size": 160,
            "resize_size": 200,
            "interpolation": "bicubic",
        },
    ),
    "a name that weights cannot tell": (
        {"arch": "resnetblur18"}, {"architecture": "timm/resnetblur18"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", TRAININGS)
def test_what_a_checkpoint_tells_of_its_training_is_believed(title: str, tmp_path: Path) -> None:
    content, expected = TRAININGS[title]
    state = build("resnet18").state_dict()
    torch.save({"state_dict": state, "epoch": 3, **content}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert expected.items() <= found.answers.items()
    assert "transforms" in found.answers or "transforms" in found.open_questions


# ------------------------------------------------------------------------------- Hugging Face's Hub


def hub_folder(folder: Path, config: dict[str, Any], **processor: Any) -> Path:
    """Write a folder as the Hub has it, with a tiny network whose names are in no catalogue."""
    from safetensors.torch import save_file

    folder.mkdir()
    state = {"classifier.weight": (3, 8), "vit.wide.weight": (99, 8), "vit.layer.weight": (8, 99)}
    tensors = {key: torch.zeros(shape) for key, shape in state.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_regression_on_images_is_refused(tmp_path: Path) -> None:
    config = {"architectures": ["ViTForImageClassification"], "problem_type": "regression"}
    folder = hub_folder(tmp_path / "x", {**config, "id2label": {"0": "a", "1": "b", "2": "c"}})
    with pytest.raises(UserError, match="is a regression"):
        inspect_file(folder)


def test_what_changes_the_network_of_transformers_is_kept(tmp_path: Path) -> None:
    config = {"architectures": ["MobileNetV2ForImageClassification"], "output_stride": 16}
    found = inspect_file(hub_folder(tmp_path / "x", {**config, "output_attentions": False}))
    assert found.hub is not None
    assert '"output_stride": 16' in found.hub.model
    assert "output_attentions" not in found.hub.model


VIT = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "hidden_size": 8,
    "id2label": {"0": "a", "1": "b", "2": "c"},
}
SQUARE = {"height": 224, "width": 224}
# What prepares images in transformers, and the answers that are the same.
PROCESSORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViTImageProcessor": (
        {"size": SQUARE, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {"resize_mode": "stretch", "image_size": 224, "interpolation": "bicubic"},
    ),
    "ViTFeatureExtractor": ({"size": 384}, {"resize_mode": "stretch", "image_size": 384, **HALF}),
    "DeiTImageProcessor": (
        {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": SQUARE,
         "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {"resize_mode": "stretch", "image_size": 224, "resize_size": 256},
    ),
    "ConvNextImageProcessor": (
        {"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 3,
         "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]},
        {"resize_mode": "crop", "image_size": 224, "resize_size": 235, **IMAGENET},
    ),
    "ConvNextFeatureExtractor": (
        {"size": 384, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {"resize_mode": "stretch", "image_size": 384, "resize_size": 384},
    ),
    "BitImageProcessor": (
        {"size": {"shortest_edge": 448}, "do_center_crop": True, "crop_size": 448,
         "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {"resize_mode": "crop", "image_size": 448, "resize_size": 448},
    ),
    # As openai/clip-vit-base-patch32 has it: one number is the shorter side.
    "CLIPFeatureExtractor": (
        {"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3,
         "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]},
        {"resize_mode": "crop", "image_size": 224, "resize_size": 224},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_folder_of_the_hub(kind: str, tmp_path: Path) -> None:
    given, expected = PROCESSORS[kind]
    folder = hub_folder(tmp_path / "vit", VIT, image_processor_type=kind, **given)
    found = inspect_file(folder)
    answers = {"num_classes": 3, "color_mode": "RGB", "architecture": "custom", **expected}
    assert {"transforms": "custom", **answers}.items() <= found.answers.items()
    assert "transformers' ViTForImageClassification" in found.notes[0]


# A preparation that no answers have, and what is named of it.
REFUSED_PROCESSORS: dict[str, tuple[dict[str, Any], str]] = {
    "turned colours": ({"image_processor_type": "MobileViTImageProcessor"}, "MobileViTImageProc"),
    "turned colours elsewhere": ({"do_flip_channel_order": True}, "do_flip_channel_order true"),
    "an offset": ({"rescale_offset": True, "rescale_factor": 1 / 127.5}, "rescale_offset true"),
    "another factor": ({"rescale_factor": 1 / 127.5}, "rescale_factor 0.0078"),
    "no scaling of values": ({"do_rescale": False}, "do_rescale false"),
    "Lanczos": ({"resample": 1}, "resample 1"),
    "no square": ({"size": {"height": 224, "width": 320}}, '"width": 320'),
    "a share": ({"crop_pct": 0.9}, "crop_pct 0.9"),
    "padding": ({"do_pad": True}, "do_pad true"),
    "another kind's mean": (
        {"image_processor_type": "PvtImageProcessor", "image_std": [0.5] * 3},
        "no image_mean",
    ),
    "another kind's crop": (
        {"image_processor_type": "BeitImageProcessor", "crop_size": 224},
        "no do_center_crop",
    ),
    "a crop, or none": ({"crop_size": 200}, "crop_size without do_center_crop"),
}


def test_a_preparation_is_found_where_transformers_puts_it(tmp_path: Path) -> None:
    settings = {"size": SQUARE, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    run = tmp_path / "run"
    run.mkdir()
    folder = hub_folder(run / "checkpoint-500", VIT)
    (folder / "preprocessor_config.json").unlink()
    refused = ts_template("new", "p", "--weights", str(folder), "--defaults", cwd=tmp_path)
    assert refused.returncode == 1
    assert "has no preprocessor_config.json" in refused.stderr
    for place, name, content in (
        (run, "preprocessor_config.json", settings),  # as Trainer.save_model leaves it
        (folder, "processor_config.json", {"image_processor": settings}),  # of transformers 5
    ):
        (place / name).write_text(json.dumps(content))
        answers = inspect_file(folder).answers
        assert (answers["image_size"], answers["mean"]) == (224, [0.5] * 3)
        (place / name).unlink()


@pytest.mark.parametrize("name", REFUSED_PROCESSORS)
def test_a_preparation_that_no_answers_have_is_named(name: str, tmp_path: Path) -> None:
    given, message = REFUSED_PROCESSORS[name]
    plain = {"image_processor_type": "ViTImageProcessor", "size": SQUARE, "resample": 2}
    folder = hub_folder(tmp_path / "vit", VIT, **{**plain, **given})
    result = ts_template("new", "p", "--weights", "vit", "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert "preprocessor_config.json" in result.stderr
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "p").exists()
    assert "transforms" not in inspect_file(folder).answers


def test_a_folder_of_timms_on_the_hub(tmp_path: Path) -> None:
    preset = {"tag": "a1_in1k", "input_size": [3, 160, 160], "crop_pct": 0.8, **HALF}
    config = {"architecture": "resnet18", "pretrained_cfg": {**preset, "interpolation": "bicubic"}}
    folder = hub_folder(tmp_path / "timm", config)
    save_safetensors(build("resnet18"), folder / "model.safetensors")
    answers = {
        "architecture": "timm/resnet18.a1_in1k",
        "image_size": 160,
        "resize_size": 200,
        **HALF,
    }
    assert answers.items() <= inspect_file(folder).answers.items()


def test_the_last_layers_name_comes_before_the_widest_matrix(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "own", {})
    found = inspect_file(folder)
    assert found.likely["num_classes"] == 3
    assert any("classifier.weight (3, 8) is called as a last layer is" in x for x in found.notes)


# -------------------------------------------------------------------------------------- strangers


def test_relatives_are_not_taken_for_what_they_contain(tmp_path: Path) -> None:
    network = build("resnet34")
    state = network.state_dict()
    with_attention = {**state, "layer1.0.se.fc1.weight": torch.zeros(4, 64, 1, 1)}
    torch.save(with_attention, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.architecture is None
    assert found.nearest[0].name == "resnet34"
    assert found.nearest[0].unknown == ("layer1.0.se.fc1.weight",)
    assert "architecture" not in found.answers and "architecture" in found.open_questions


def test_what_differs_is_said(tmp_path: Path) -> None:
    state = dict(build("resnet18").state_dict())
    del state["layer1.0.conv1.weight"]
    state["layer2.0.conv1.weight"] = torch.zeros(1).expand(128, 64, 5, 5)
    torch.save(state, tmp_path / "x.pth")
    near = inspect_file(tmp_path / "x.pth").nearest[0]
    assert near.name == "resnet18"
    assert near.missing == ("layer1.0.conv1.weight",)
    assert near.reshaped == ("layer2.0.conv1.weight (128, 64, 5, 5), not (128, 64, 3, 3)",)


def test_renamed_weights_are_not_loaded_by_order(tmp_path: Path) -> None:
    network = build("resnet18")
    children = [*network.children()]
    save_state(nn.Sequential(*children[:-1], nn.Flatten(), children[-1]), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.architecture is None
    assert "resnet18" in [near.name for near in found.nearest if near.renamed]


STRANGERS: dict[str, Callable[[], nn.Module]] = {
    "detection": lambda: models.detection.FasterRCNN(
        models.detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None),
        num_classes=5,
    ),
    "dense detection": lambda: models.detection.RetinaNet(
        models.detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None),
        num_classes=5,
    ),
    "video": lambda: models.video.r3d_18(num_classes=5),
    "own": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 5)),
    "two networks": lambda: nn.ModuleDict({"a": build("resnet18"), "b": nn.Conv2d(3, 9, 5)}),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_other_networks_are_not_taken_for_classifiers(name: str, tmp_path: Path) -> None:
    with catalogue.on_meta():
        network = STRANGERS[name]()
    save_state(hollow(network), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    if name == "two networks":
        assert found.architecture == "resnet18" and found.prefix == "a."
    else:
        assert found.architecture is None
        assert "architecture" not in found.answers
    if "detection" in name:
        assert found.network_kind == "detector"
        assert found.task is None and found.likely["task"] == "object_detection"
        assert "is what a detector has" in " ".join(found.notes)
        assert "--model model.py" in run(tmp_path / "x.pth")


# ------------------------------------------------------------------------------------- segmenters


class Output(nn.Module):
    """A segmenter that returns its logits alone, as people export it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)["out"]
        return logits


def replaced(name: str, **changes: Callable[[int], nn.Module]) -> nn.Module:
    """Return a hollow segmenter of 21 classes in which layers are replaced by those for CLASSES."""
    arch = SEGMENTERS[name]
    options = {"aux_loss": True} if arch.aux else {}
    network = catalogue.meta_model(name, 21, **arch.kwargs, **options)
    with torch.device("meta"):
        for path, make in changes.items():
            network.set_submodule(path.replace("__", "."), make(CLASSES))
    return hollow(network).eval()


def conv(inputs: int) -> Callable[[int], nn.Module]:
    """Return what makes a last layer."""
    return lambda classes: nn.Conv2d(inputs, classes, 1)


@pytest.mark.parametrize(("number", "name"), list(enumerate(SEGMENTERS)))
def test_each_segmenter_in_each_container(number: int, name: str, tmp_path: Path) -> None:
    arch = SEGMENTERS[name]
    for turn, (container_name, container) in enumerate(CONTAINERS.items()):
        with_aux = bool(arch.aux) and (number + turn) % 2 == 1
        channels = 1 if turn % 3 == 2 else 3
        options = {"aux_loss": True} if with_aux else {}
        network = catalogue.meta_model(name, CLASSES, **arch.kwargs, **options)
        arguments = eval(f"dict(out_channels={arch.first_conv_args})")  # the catalogue's own
        network.set_submodule(arch.first_conv, nn.Conv2d(channels, **arguments, device="meta"))
        parameters = sum(
            parameter.numel()
            for key, parameter in network.named_parameters()
            if not key.startswith("aux_classifier.")
        )
        container.save(hollow(network).eval(), tmp_path / "x.pth")
        found = inspect_file(tmp_path / "x.pth")
        shown = f"{name} {container_name}"
        assert (found.architecture, found.network_kind) == (name, "segmenter"), shown
        assert (found.task, found.classes) == (SEGMENTATION, CLASSES), shown
        assert (found.channels, found.prefix) == (channels, container.prefix), shown
        assert (found.head, found.parameters, found.timm) == ("linear", parameters, ()), shown
        answers = {
            "task": SEGMENTATION,
            "architecture": name,
            "num_classes": CLASSES,
            "color_mode": "RGB" if channels == 3 else "L",
            "weights": container.weights,
        }
        if container.prefix:
            answers["state_dict_prefix"] = container.prefix
        assert found.answers == answers, shown
        assert found.open_questions.keys() - {"checkpoint_key"} == {"transforms", "label_format"}
        left_out = f"{container.prefix}aux_classifier.* is left out: only training needs this"
        assert any(note.startswith(left_out) for note in found.notes) == with_aux, shown
        assert any(f"{CLASSES} classes include the background" in note for note in found.notes)


# As people change torchvision's networks for their classes, and the architecture that follows.
CHANGED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "the last layer alone": (
        "deeplabv3_resnet50",
        lambda: replaced("deeplabv3_resnet50", classifier__4=conv(256)),
    ),
    "both last layers": (
        "fcn_resnet101",
        lambda: replaced("fcn_resnet101", classifier__4=conv(512), aux_classifier__4=conv(256)),
    ),
    "the whole head": (
        "deeplabv3_mobilenet_v3_large",
        lambda: replaced(
            "deeplabv3_mobilenet_v3_large", classifier=lambda n: deeplabv3.DeepLabHead(960, n)
        ),
    ),
    "another head": (
        "deeplabv3_resnet50",
        lambda: replaced("fcn_resnet50", classifier=lambda n: deeplabv3.DeepLabHead(2048, n)),
    ),
    "both classifiers of LR-ASPP": (
        "lraspp_mobilenet_v3_large",
        lambda: replaced(
            "lraspp_mobilenet_v3_large",
            classifier__low_classifier=conv(40),
            classifier__high_classifier=conv(128),
        ),
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_segmenters_for_other_classes(name: str, tmp_path: Path) -> None:
    architecture, make = CHANGED[name]
    save_state(make(), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.task, found.classes, found.head) == (SEGMENTATION, CLASSES, "linear")
    assert found.architecture == found.answers["architecture"] == architecture
    assert found.answers["num_classes"] == CLASSES


def test_a_segmenter_with_more_than_a_last_layer_is_ones_own(tmp_path: Path) -> None:
    network = replaced(
        "deeplabv3_resnet101",
        classifier__4=lambda n: nn.Sequential(nn.Dropout(), nn.Conv2d(256, n, 1)),
    )
    save_state(network, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.head) == ("deeplabv3_resnet101", "other")
    assert (found.task, found.classes) == (SEGMENTATION, CLASSES)
    assert found.answers["architecture"] == "custom"


def test_a_training_checkpoint_of_torchvisions_references(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01, momentum=0.9)
    content = {
        "model": replaced("fcn_resnet50", classifier__4=conv(512)).state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"base_lrs": [0.01], "last_epoch": 3},
        "epoch": 3,
        "args": argparse.Namespace(model="fcn_resnet50", aux_loss=True),
    }
    torch.save(content, tmp_path / "model_3.pth")
    found = inspect_file(tmp_path / "model_3.pth")
    assert found.answers == {
        "task": SEGMENTATION,
        "architecture": "fcn_resnet50",
        "num_classes": CLASSES,
        "color_mode": "RGB",
        "weights": "checkpoint",
    }
    assert found.objects == ("argparse.Namespace",)


def test_one_output_for_each_pixel_means_two_classes(tmp_path: Path) -> None:
    network: Any = replaced("deeplabv3_resnet50")
    network.classifier[4] = nn.Conv2d(256, 1, 1)
    save_state(network, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.classes) == ("deeplabv3_resnet50", 1)
    assert found.answers["architecture"] == "deeplabv3_resnet50"
    assert "num_classes" not in found.answers and "num_classes" in found.open_questions
    assert found.likely == {"num_classes": 2, "model_output": "binary_logit"}
    assert "more than 0 before a sigmoid, or 0.5 after it, is the class" in found.notes[-1]


def test_a_head_of_ones_own_makes_a_segmenter_that_is_not_known(tmp_path: Path) -> None:
    layers = [nn.Conv2d(2048, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, CLASSES, 1)]
    network = replaced("deeplabv3_resnet50", classifier=lambda n: nn.Sequential(*layers))
    save_state(nn.DataParallel(network), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.task, found.classes) == (None, None, None)
    assert found.likely == {"task": SEGMENTATION, "color_mode": "RGB", "num_classes": CLASSES}
    assert "task" in found.open_questions
    assert "module.classifier.3.weight is what a segmenter has" in found.notes


@pytest.mark.parametrize(
    ("names", "last", "is_segmenter"),
    [
        (("encoder.conv1", "decoder.blocks.0.conv1.0", "segmentation_head.0"), (4, 8, 3, 3), True),
        (("inc.double_conv.0", "up1.up", "outc.conv"), (4, 8, 1, 1), True),
        (("encoder1.0", "upconv1", "final_conv"), (4, 8, 1, 1), True),
        (("backbone.conv1", "neck", "decode_head.conv_seg"), (4, 8, 1, 1), True),
        (("features.0", "features.3", "classifier.1"), (4, 8, 1, 1), False),
        (("stem.conv", "last_conv", "fc"), (4, 8), False),
    ],
)
def test_other_segmenters_are_told_by_their_names(
    names: tuple[str, ...], last: tuple[int, ...], is_segmenter: bool, tmp_path: Path
) -> None:
    shapes = [(8, 3, 3, 3), (8, 8, 3, 3), last]
    state = {f"{name}.weight": torch.zeros(x) for name, x in zip(names, shapes, strict=True)}
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.architecture, found.task) == (None, None)
    assert found.network_kind == ("segmenter" if is_segmenter else None)
    assert found.likely["task"] == (SEGMENTATION if is_segmenter else FIRST_TASK)
    assert not is_segmenter or found.likely["num_classes"] == 4


def test_one_output_of_a_network_that_is_not_known(tmp_path: Path) -> None:
    state = {"inc.weight": torch.zeros(8, 3, 3, 3), "outc.weight": torch.zeros(1, 8, 1, 1)}
    torch.save(state, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.likely == {
        "task": SEGMENTATION,
        "color_mode": "RGB",
        "num_classes": 2,
        "model_output": "binary_logit",
    }
    assert "more than 0 before a sigmoid, or 0.5 after it, is the class" in found.notes[-1]
    save_exported(nn.Conv2d(3, 1, 3).eval(), tmp_path / "x.pt2", torch.zeros(2, 3, 64, 64))
    found = inspect_file(tmp_path / "x.pt2")
    assert "num_classes" not in found.answers and "num_classes" in found.open_questions


@pytest.mark.parametrize(
    "name", [slow("deeplabv3_mobilenet_v3_large"), "lraspp_mobilenet_v3_large"]
)
def test_segmenters_that_bring_their_graph(name: str, tmp_path: Path) -> None:
    arch = SEGMENTERS[name]
    images = torch.zeros(2, 3, 64, 64)
    options = {"aux_loss": True} if arch.aux else {}
    light = hollow(catalogue.meta_model(name, CLASSES, **arch.kwargs)).eval()
    save_scripted(light, tmp_path / "scripted.pt")
    save_traced(Output(light), tmp_path / "traced.pt", images)
    save_exported(light, tmp_path / "exported.pt2", images)
    real = trained(models.get_model(name, num_classes=CLASSES, **arch.kwargs, **options))
    save_onnx(real, tmp_path / "x.onnx", images)
    save_onnx(Output(real), tmp_path / "old.onnx", images, dynamo=False)
    for file in ("scripted.pt", "traced.pt", "exported.pt2", "x.onnx", "old.onnx"):
        found = inspect_file(tmp_path / file)
        assert (found.architecture, found.task, found.classes) == (name, SEGMENTATION, CLASSES)
        assert found.answers["architecture"] == name, file
        is_fixed = file in ("exported.pt2", "x.onnx", "old.onnx")
        assert found.answers.get("resize_mode") == ("stretch" if is_fixed else None), file
        assert found.answers.get("image_size") == (64 if is_fixed else None), file
        assert not any("no part of it" in note for note in found.notes), found.notes


def test_a_graph_that_gives_maps_is_likely_a_segmenters(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)).eval()
    save_exported(network, tmp_path / "x.pt2", torch.zeros(2, 3, 64, 96))
    found = inspect_file(tmp_path / "x.pt2")
    assert (found.architecture, found.network_kind, found.classes) == (None, "segmenter", 4)
    assert (found.task, found.likely["task"]) == (None, SEGMENTATION)
    assert any("it takes images of 64 x 96 pixels alone" in note for note in found.notes)


# --------------------------------------------------------------------------- tasks of one network


def test_what_scores_mean_is_asked(tmp_path: Path) -> None:
    save_state(build("resnet18"), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found.network_kind, found.task) == ("classifier", None)
    assert found.likely == {"task": FIRST_TASK}
    assert "task" not in found.answers
    possible = [task for task in tasks().values() if task.networks == "classifier"]
    assert len(possible) > 1
    for task in possible:
        assert f"{task.value} ({task.meaning})" in found.open_questions["task"]
    assert f"{FIRST_TASK} likely; weights do not tell" in run(tmp_path / "x.pth")


def test_what_speaks_for_a_task_is_named(tmp_path: Path) -> None:
    state = {f"model.{key}": x for key, x in build("resnet18").state_dict().items()}
    torch.save({**state, "criterion.pos_weight": torch.ones(CLASSES)}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.task is None and "task" in found.open_questions
    assert found.likely["task"] != FIRST_TASK
    (note,) = (note for note in found.notes if note.startswith("task="))
    assert note.startswith(f"task={found.likely['task']} is likely: criterion.pos_weight is of BCE")

    save_state(hollow(catalogue.meta_model("resnet18", 1)), tmp_path / "x.pth")
    assert inspect_file(tmp_path / "x.pth").likely == {
        "task": FIRST_TASK,
        "num_classes": 2,
        "model_output": "binary_logit",
    }


def test_each_module_of_a_task_has_its_facts() -> None:
    modules = {module.name for module in pkgutil.iter_modules(generator.tasks.__path__)}
    assert modules <= facts.tasks().keys()
    assert {task.networks for task in tasks().values()} <= catalogue.KINDS.keys()


def test_a_task_needs_no_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = facts.tasks()
    toy = {**known[FIRST_TASK], "value": "toy"}
    monkeypatch.setattr(facts, "tasks", lambda: {**known, "toy": toy})
    monkeypatch.setattr(generator.tasks, "tasks", tasks.__wrapped__)
    save_state(build("resnet18"), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.likely == {"task": FIRST_TASK}
    assert found.open_questions["task"].endswith(", or toy")


TIMM_STRANGERS = ["resnet50", "resnetblur50", "seresnet50", "resnet50_gn", "vgg11_bn", "vgg16",
                  "vit_base_patch16_224", "swin_tiny_patch4_window7_224", "efficientnet_b0",
                  "regnety_004", "mobilenetv3_small_100", "convnext_tiny", "densenet121",
                  "inception_v3", "maxvit_tiny_rw_224", "levit_384_s8", "resnet50_clip",
                  "mnasnet_small", "repvgg_a0", "ecaresnet50d"]  # fmt: skip


def test_timm_networks_are_recognised_and_not_taken_for_others() -> None:
    shared = {"resnet50": "resnet50", "resnetblur50": "resnet50", "densenet121": "densenet121",
              "inception_v3": "inception_v3"}  # fmt: skip
    for name, shapes, _, _ in signatures.timm_networks(TIMM_STRANGERS):
        (match,) = recognise({key: Tensor(shape, "float32") for key, shape in shapes.items()})
        assert match.name == shared.get(name)
        assert name in match.timm


def test_timm_answers(tmp_path: Path) -> None:
    import timm

    with torch.device("meta"):
        network = timm.create_model("regnety_004", num_classes=CLASSES, in_chans=1)
        same = timm.create_model("mobilenetv4_conv_medium", num_classes=CLASSES)
    save_state(nn.DataParallel(hollow(network)), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.timm == ("regnety_004",)
    answers = found.answers
    assert answers["architecture"] == "timm/regnety_004"
    assert (answers["num_classes"], answers["color_mode"]) == (CLASSES, "L")
    assert (answers["weights"], answers["state_dict_prefix"]) == ("wrapped", "module.")

    save_state(hollow(same), tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert len(found.timm) > 1 and "mobilenetv4_conv_medium" in found.timm
    assert "architecture" not in found.answers
    assert "timm/mobilenetv4_conv_medium" in found.open_questions["architecture"]


# ----------------------------------------------------------------------------- other kinds of file


def refusal(path: Path) -> str:
    """Return what is said of a file that is refused."""
    with pytest.raises(UserError) as caught:
        inspect_file(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def image(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, form)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    return buffer.getvalue()


def numpy_file(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, np.zeros(3))
    return buffer.getvalue()


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "web page": (b"\n <!DOCTYPE html><html><body>Sign in</body>", "web page"),
    "JSON": (b'{"error": "not found"}', "is text"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "NumPy": (numpy_file(np.save), "NumPy array"),
    "NumPy archive": (numpy_file(np.savez), "NumPy archive"),
    "GGUF": (b"GGUF\3\0\0\0" + bytes(99), "GGUF"),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "ExecuTorch": (b"\x1c\0\0\0ET12" + bytes(99), "ExecuTorch"),
    "TensorFlow": (b"\x01" * 64 + bytes.fromhex("57fb808b247547db"), "TensorFlow checkpoint"),
    "TensorRT": (b"ftrt" + bytes(99), "TensorRT"),
    "gzip": (gzip.compress(b"x" * 99), "gunzip"),
    "tar": (tarred(), "tar archive"),
    "PNG": (image("PNG"), "PNG image"),
    "JPEG": (image("JPEG"), "JPEG image"),
    "zeros": (bytes(5000), "zeros alone"),
    "noise": (random.Random(1).randbytes(999), "no kind that is known"),
    "zip": (zipped("a.txt", "b.txt"), "zip archive with a.txt"),
    "empty zip": (zipped(), "zip archive"),
    "zipped checkpoint": (zipped("run/best.pth"), "unpack it, and name run/best.pth"),
    "archive": (zipped("MAR-INF/MANIFEST.json", "model.pth"), "TorchServe archive"),
    "Keras": (zipped("config.json", "model.weights.h5"), "Keras"),
    "old export": (zipped("version", "serialized_exported_program.json"), "torch before 2.7"),
    "pickle": (pickle.dumps({"a": 1}), "torch.save did not write"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_checkpoint_is_named(name: str, tmp_path: Path) -> None:
    content, said = REFUSED[name]
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert said in refusal(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "x.pth")
    assert "is a folder; name the checkpoint itself" in refusal(tmp_path)
    save_state(nn.Linear(2, 2), tmp_path / "best.pth")
    assert f"such as {tmp_path / 'best.pth'}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.optim.SGD([torch.zeros(1)], lr=0.1).state_dict(), "holds no state_dict"),
        (torch.zeros(3), "an object of type tensor"),
        ([torch.zeros(3)], "an object of type list"),
        ({"a.weight": torch.zeros(3), "a.x": 3}, "1 tensors next to what are none (a.x)"),
        ({}, "holds no state_dict"),
    ],
)
def test_torch_files_without_a_network(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    assert said in refusal(tmp_path / "x.pth")


def test_int8_is_named_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("torch.ao.quantization")
    state = {"conv1.weight": torch.zeros(3), "fc._packed_params._packed_params": (1, 2)}
    torch.save(state, tmp_path / "x.pth")
    message = refusal(tmp_path / "x.pth")
    assert "quantized to int8" in message and "torch.jit.trace" in message


# -------------------------------------------------------------------------------- what is stored


def test_every_network_is_stored() -> None:
    import timm

    wide = [name for name, arch in NETWORKS.items() if (arch.detection or {}).get("wide_tail")]
    expected = [*NETWORKS, *(f"{name}{signatures.WIDE}" for name in wide)]
    assert list(signatures.load()) == expected, "run: ts-template catalogue"
    stored = {name for names in signatures.load_timm().names.values() for name in names}
    assert stored == set(timm.list_models()), "run: ts-template catalogue --timm"


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_b_32", "googlenet", "squeezenet1_0", *SEGMENTERS]
)
def test_signatures_are_those_of_the_installed_torchvision(name: str) -> None:
    assert signatures.read(signatures.PATH)[name] == signatures.build_one(name, NETWORKS[name])


def test_what_torch_refuses_is_known(tmp_path: Path) -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    names = dict.fromkeys(_get_allowed_globals())
    assert refused_by_torch(names) == []
    foreign = ["argparse.Namespace", "posix.system", "torch.nn.modules.linear.Linear", "torch.load"]
    assert refused_by_torch(dict.fromkeys(foreign)) == foreign


# ------------------------------------------------------------------------------ the command line


def run(*arguments: str | Path) -> str:
    """Run ts-template inspect in this process and return what it prints, in one line."""
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return " ".join(result.output.split())


def test_the_table_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "best run.ckpt"
    CONTAINERS["Lightning"].save(build("googlenet", "mlp", channels=3), path)
    printed = run(path)
    for text in (
        "a PyTorch Lightning checkpoint",
        "state_dict, names after model.",
        "torchvision's googlenet",
        f'layers in place of the architecture\'s: [linear {UNITS}, "?", linear]',
        "3 (colour)",
        "float32",
        "transforms: weights do not show",
        "transform_input: ",
        "label_format: ",
        f'-d \'head_layers=["linear {UNITS}", "?", "linear"]\'',
        f"ts-template new 'best run-service' --weights '{path}'",
    ):
        assert text in printed, text


def test_what_comes_next_works_where_it_is_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model_best.pth.tar"
    torch.save({"state_dict": build("resnet18").state_dict()}, path)
    monkeypatch.delenv("UV", raising=False)
    assert f"Next copier copy -d architecture=resnet18 -d num_classes={CLASSES} " in run(path)
    monkeypatch.setenv("UV", "/usr/bin/uv")  # whose environment the shell does not have
    uv = "uv run --no-project --with-requirements requirements.txt"
    assert f"Next {uv} copier copy " in run(path)
    assert f"{uv} ts-template new model_best-service --weights {path}" in run(path)
    torch.save(nn.Linear(2, 2).state_dict(), path)
    assert run(path).endswith("--model model.py")


def test_json_has_the_same_keys_for_every_file(tmp_path: Path) -> None:
    keys = set()
    for name, network in (("a", build("resnet18")), ("b", nn.Linear(2, 2))):
        save_state(network, tmp_path / name)
        content = json.loads(run(tmp_path / name, "--json"))
        keys.add(tuple(content))
        assert content["file"] == str(tmp_path / name)
    assert len(keys) == 1
    documented = (template_root() / "docs" / "inspection.md").read_text("utf-8")
    for key in keys.pop():
        assert f"| `{key}` |" in documented


ANSWERED: dict[str, Callable[[Path], None]] = {
    "bare": lambda path: save_state(build("resnet18", "dropout"), path),
    "wrapped": lambda path: CONTAINERS["DataParallel"].save(build("vgg11_bn"), path),
    "checkpoint": lambda path: CONTAINERS["Lightning"].save(build("densenet121"), path),
    "vit": lambda path: save_state(build("vit_b_32", channels=1, image_size=64), path),
    "own head": lambda path: save_state(build("mobilenet_v3_small", "whole"), path),
    "safetensors": lambda path: save_safetensors(Wrapper(build("squeezenet1_1")), path),
    "traced": lambda path: save_traced(build("resnet18"), path, torch.zeros(1, 3, 64, 64)),
    "exported": lambda path: save_exported(build("resnet18"), path, torch.zeros(1, 3, 64, 64)),
    "unknown": lambda path: save_state(nn.Linear(2, 2), path),
    "segmenter": lambda path: save_state(
        replaced("deeplabv3_resnet50", classifier__4=conv(256)), path
    ),
    "segmenter, exported": lambda path: save_exported(
        replaced("lraspp_mobilenet_v3_large"), path, torch.zeros(2, 3, 64, 64)
    ),
    "segmenter with one output": lambda path: save_state(
        replaced("fcn_resnet50", classifier__4=lambda classes: nn.Conv2d(512, 1, 1)), path
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_copier_takes_the_answers(name: str, tmp_path: Path) -> None:
    ANSWERED[name](tmp_path / "x.pth")
    answers_file = tmp_path / "answers.yml"
    run(tmp_path / "x.pth", "--answers", answers_file)
    text = answers_file.read_text("utf-8")
    answers = yaml.safe_load(text)
    assert answers == inspect_file(tmp_path / "x.pth").answers
    for question in inspect_file(tmp_path / "x.pth").open_questions:
        assert question in questions()
        assert f"\n# {question}: " in text
    result = CliRunner().invoke(app, ["check", str(answers_file)])
    assert result.exit_code == 0, result.output
    render(tmp_path / "project", answers)
    kept = yaml.safe_load((tmp_path / "project" / ".copier-answers.yml").read_text("utf-8"))
    assert answers.items() <= kept.items()


def test_copier_refuses_layers_that_a_file_does_not_show(tmp_path: Path) -> None:
    save_state(build("resnet18", "mlp"), tmp_path / "x.pth")
    run(tmp_path / "x.pth", "--answers", tmp_path / "answers.yml")
    answers = yaml.safe_load((tmp_path / "answers.yml").read_text("utf-8"))
    with pytest.raises(ValueError, match=r"Put the layer without weights where \? stands"):
        render(tmp_path / "project", answers)
    answers["head_layers"][1] = "gelu"
    render(tmp_path / "project", answers)
    assert "nn.GELU()" in (tmp_path / "project" / "service" / "model.py").read_text("utf-8")


def test_a_refused_file_ends_with_status_1_and_leaves_the_answers(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"")
    (tmp_path / "answers.yml").write_text("num_classes: 3\n")
    result = ts_template(
        "inspect", str(tmp_path / "x.pth"), "--answers", str(tmp_path / "answers.yml")
    )
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path / 'x.pth'} is empty; copy the checkpoint again\n"
    assert (tmp_path / "answers.yml").read_text() == "num_classes: 3\n"
    assert len([*tmp_path.iterdir()]) == 2


def test_names_from_the_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J[red]\u202e\ud800"
    state = build("resnet18").state_dict()
    contents: dict[str, Any] = {
        "weights": {f"{evil}.weight": torch.zeros(3, 3)},
        "unknown": {**state, f"{evil}x": torch.zeros(3)},
        "prefix": {f"{evil}.{key}": x for key, x in state.items()},
        "key": {
            evil: state,
            "other": {"a.weight": torch.zeros(3)},
            "arch": evil,
            "classes": [evil],
        },
        "refused": {evil: 3},
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / name)
        answers = tmp_path / f"{name}.yml"
        result = CliRunner().invoke(
            app, ["inspect", str(tmp_path / name), "--answers", str(answers)]
        )
        text = result.output + str(result.exception or "")
        text += answers.read_text("utf-8") if answers.exists() else ""
        assert not set(evil) - set("[2Jred]") & set(text), name
        assert name == "weights" or "?[2J[red]??" in text, name
        CliRunner().invoke(app, ["inspect", str(tmp_path / name), "--json"]).output.encode()


def test_what_a_checkpoint_says_of_itself_is_passed_on(tmp_path: Path) -> None:
    content = {
        "state_dict": build("resnet50").state_dict(),
        "arch": "resnetblur50",
        "class_to_idx": {"cat": 0, "dog": 1},
    }
    torch.save(content, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert "it calls its network resnetblur50 (under arch)" in found.notes
    assert "class_to_idx has 2 names: cat, dog, of its classes perhaps" in found.notes
    assert {"resnet50", "resnetaa50", "resnetblur50"} == set(found.timm)


def test_torch_is_not_imported(tmp_path: Path) -> None:
    save_state(build("resnet18"), tmp_path / "x.pth")
    code = (
        "import pathlib, sys; from generator.inspection import inspect_file, report;"
        "report.show(inspect_file(pathlib.Path(sys.argv[1])));"
        "assert not {'torch', 'numpy', 'copier'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.pth")], check=True, cwd=template_root()
    )


def test_a_project_from_the_answers_serves_the_checkpoint(tmp_path: Path) -> None:
    network = models.mobilenet_v3_small(num_classes=CLASSES)
    save_random_weights(network, tmp_path / "x.pth")
    weights = tmp_path / "last.ckpt"
    CONTAINERS["Lightning"].save(network, weights)
    project = Project(tmp_path / "project")
    render(project.path, {**inspect_file(weights).answers, "label_format": "none"})
    project.archive("--weights", str(weights))


def test_labels_are_compared_with_the_network(tmp_path: Path) -> None:
    save_state(build("resnet18"), tmp_path / "x.pth")
    labels = tmp_path / "names.txt"
    labels.write_text("\n".join(f"Katze {number} 猫" for number in range(CLASSES)), "utf-8")
    content = json.loads(run(tmp_path / "x.pth", "--json", "--labels", labels))
    assert content["labels"]["count"] == CLASSES
    assert content["labels"]["fits"] is True
    assert content["answers"]["label_format"] == "text"
    assert "label_format" not in content["open_questions"]
    assert f"text, {CLASSES} names, as many as" in run(tmp_path / "x.pth", "--labels", labels)

    labels.write_text("cat\ndog\n", "utf-8")
    content = json.loads(run(tmp_path / "x.pth", "--json", "--labels", labels))
    assert content["labels"]["fits"] is False
    printed = run(tmp_path / "x.pth", "--labels", labels)
    assert f"first correct the labels: {content['labels']['problem']}" in printed
