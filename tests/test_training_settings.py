"""What a checkpoint tells of its training is read, or refused; through the command line."""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
import yaml
from safetensors.torch import save_file
from timm.data.transforms_factory import create_transform
from torch import nn
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import transforms as T  # noqa: N812

from conftest import Project, noise, save_random_weights, slow
from generator.inspection import inspect_file
from test_new import new

STATE = torchvision.models.resnet18(num_classes=3).state_dict()
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
HALVES = T.Normalize(**HALF)
ANSWERED = (
    *("-d", "transforms=custom", "-d", "image_size=64", "-d", "resize_mode=stretch"),
    *("-d", "mean=[0.5]", "-d", "std=[0.5]", "-d", "interpolation=bilinear"),
)


def save(folder: Path, **content: Any) -> Path:
    """Save a training checkpoint with weights of a resnet18 for 3 classes."""
    torch.save({"state_dict": STATE, **content}, folder / "x.pth")
    return folder / "x.pth"


PREPARATIONS: dict[str, Any] = {
    "crop": T.Compose([T.Resize(72), T.CenterCrop(64), T.ToTensor(), HALVES]),
    "stretch": T.Compose(
        [T.Resize((64, 64), InterpolationMode.BICUBIC), T.ToTensor(), T.Normalize(0.5, 0.25)]
    ),
    "tensors": v2.Compose(
        [v2.ToImage(), v2.Resize([64, 64]), v2.ToDtype(torch.float32, scale=True), HALVES]
    ),
    "preset": torchvision.transforms._presets.ImageClassification(crop_size=64, resize_size=80),
    "no statistics": nn.Sequential(
        v2.Resize([64, 64]), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)
    ),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_pickled_transform_prepares_images_as_it_does(name: str, tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    save_random_weights(network, tmp_path / "x.pth")
    content = {"model": network.state_dict(), "transform": PREPARATIONS[name]}
    torch.save(content, tmp_path / "x.pth")
    noise(0).save(tmp_path / "image.png")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults", "--picture", "image.png")
    assert result.returncode == 0, result.stderr
    assert "(assumed, in the checkpoint, and else" in result.stdout
    (answer,) = Project(tmp_path / "made").predict(tmp_path / "image.png")
    with torch.inference_mode():
        scores = network(PREPARATIONS[name](noise(0))[None]).softmax(dim=1)[0]
    assert abs(answer[0]["probability"] - scores.max()) < 2e-3  # pixels within one grey level


def test_a_pickled_network_may_bring_how_its_images_are_prepared(tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    torch.save(network, tmp_path / "plain.pth")
    assert not inspect_file(tmp_path / "plain.pth").training.tells_transforms
    # As people add them, and as pretrainedmodels of Cadene has them.
    network.transform = PREPARATIONS["crop"]
    torch.save({"net": network}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth").training
    assert (found.image_size, found.resize_size, found.mean) == (64, 72, (0.5, 0.5, 0.5))
    del network.transform
    for name, value in {**HALF, "input_space": "BGR", "input_range": [0, 255]}.items():
        setattr(network, name, value)
    torch.save(network, tmp_path / "x.pth")
    assert "input_space=BGR" in inspect_file(tmp_path / "x.pth").open_questions["transforms"]
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert "input_space=BGR" in refused.stderr
    vit = torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64)
    torch.save(vit, tmp_path / "x.pth")
    assert not inspect_file(tmp_path / "x.pth").training.tells_transforms


def described(image: Any) -> Any:
    """Stand for a function of the user's that prepares images."""
    return image


SIZED = [T.Resize((64, 64)), T.ToTensor()]
ALIASED = T.Resize(72)
ALIASED.antialias = None  # as in torchvision before 0.17
# Each with the key and the value that the message has.
UNREAD: dict[str, tuple[dict[str, Any], str]] = {
    "metrics perhaps": ({"mean": 0.1307, "std": 0.3081}, "mean, std: 0.1307, 0.3081"),
    "of each channel": (
        {"metadata": {"mean": {"r": 0.5}, "std": {"r": 0.5}}},
        "metadata.mean, std: a dict of r, a dict of r",
    ),
    "of a data set perhaps": (
        {"data": {"height": 384, "width": 384}},
        "data.height, width: 384, 384",
    ),
    "of validation": ({"hparams": {"val_transform": "crop"}}, "hparams.val_transform: 'crop'"),
    "preprocessing": ({"config": {"preprocess": "basic"}}, "config.preprocess: 'basic'"),
    "by default": ({"config": {"transform": "default"}}, "config.transform: 'default'"),
    "its own preprocessing": (
        {"preprocess": {"resize_short": 180, "center_crop": 160, **HALF}},
        "preprocess.resize_short: 180",
    ),
    "random numbers": ({"config": {"mean": 0.0, "std": 0.1}}, "config.mean: 0.0"),
    "a tensor": ({"mean": torch.ones(3), "std": torch.ones(3)}, "mean: a tensor of shape (3,)"),
    "an array": ({"mean": np.ones((3, 2)), "std": np.ones(3)}, "mean: an array of numpy"),
    "text": ({"hparams": {"mean": "0.5,0.5", "std": "0.5,0.5"}}, "hparams.mean: [0.5, 0.5]"),
    "words": ({"hparams": {"mean": "clip", "std": "clip"}}, "hparams.mean: 'clip'"),
    "mean alone": ({"config": {"mean": HALF["mean"]}}, "config.mean: [0.5, 0.5, 0.5]"),
    "negative": ({"norm": {"mean": [-1, 0, 1], "std": [1, 1, 1]}}, "norm.mean, std: [-1, 0, 1]"),
    "lanczos": ({"config": {"interpolation": "lanczos"}}, "config.interpolation: 'lanczos'"),
    "a number": ({"args": argparse.Namespace(interpolation=3)}, "args.interpolation: 3"),
    "not normalised": ({"config": {"normalize": False}}, "config.normalize: False"),
    "a name": ({"config": {"normalization": "inception"}}, "config.normalization: 'inception'"),
    "named": ({"hyper_parameters": {"transform": "mine"}}, "hyper_parameters.transform: 'mine'"),
    "steps": ({"config": {"transforms": ["hflip", "normalize"]}}, "config.transforms: ['hflip'"),
    "size": ({"config": {"img_size": "large"}}, "config.img_size: 'large'"),
    "large": ({"config": {"img_size": [8192, 8192]}}, "config.img_size: [8192, 8192]"),
    "resize": ({"config": {"resize": 384}}, "config.resize: 384"),
    "a tensor's resize": (
        {"transform": T.Compose([T.ToTensor(), ALIASED, T.CenterCrop(64), HALVES])},
        "transform: Resize(72) of a tensor, without antialias",
    ),
    "function": ({"val_transform": described}, "val_transform: test_training_settings.described"),
    "padding": (
        {"transform": T.Compose([T.Pad(4), *SIZED])},
        "transform: Pad(padding=4",
    ),
    "three greys": (
        {"transforms": {"val": T.Compose([T.Grayscale(3), *SIZED])}},
        "transforms.val: Grayscale(num_output_channels=3)",
    ),
    "no crop": ({"transform": T.Compose([T.Resize(64), T.ToTensor()])}, "transform: Resize(64) "),
    "no resize": ({"transform": T.ToTensor()}, "transform: ToTensor without a Resize"),
    "filter": (
        {"transform": T.Resize((64, 64), InterpolationMode.LANCZOS)},
        "transform: Resize(interpolation='lanczos')",
    ),
    "of timm": (
        {"transform": create_transform((3, 64, 64))},
        "transform: timm.data.transforms.MaybeToTensor",
    ),
    "of training": (
        {"train_transform": T.Compose([T.RandomCrop(32), T.ToTensor()])},
        "train_transform: RandomCrop(",
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_understood_of_images_is_asked(name: str, tmp_path: Path) -> None:
    content, message = UNREAD[name]
    save(tmp_path, **content)
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert f"    {message}" in result.stderr
    assert "-d transforms=custom -d image_size=224" in result.stderr
    assert not (tmp_path / "made").exists()


def test_settings_that_are_made_to_do_harm_are_asked_like_others(tmp_path: Path) -> None:
    endless = T.Compose([])
    endless.transforms.append(endless)
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    large = 10**5000  # which Python does not write
    odd = T.Resize(8)
    odd.size = [[8], [8]]
    for value in (endless, deep, odd, [large] * 3, "\x1b[2J"):
        names = ("transform", "mean", "img_size", "interpolation", "normalize", "crop_pct")
        found = inspect_file(save(tmp_path, std=HALF["std"], **dict.fromkeys(names, value)))
        assert {one.name for one in found.training.unread} >= {"transform", "mean"}
        assert str(found.open_questions["transforms"]).isprintable()
    save(tmp_path, config={"img_size": (large, 1), "model_kwargs": {"x": large}})
    assert inspect_file(tmp_path / "x.pth").training.unread[0].value == "[a large number, 1]"
    save(tmp_path, config={"img_size": [large, 3, 224, 256]})
    assert "a large number" in inspect_file(tmp_path / "x.pth").training.of_images


def test_a_long_configuration_is_read_in_time(tmp_path: Path) -> None:
    # No bracket is followed to the end of the text, for that would take minutes.
    text = "mean=[" * 100_000 + "1, 2, 3]" + "type='Resize',scale=(" * 20_000
    found = inspect_file(save(tmp_path, meta={"cfg": text}))
    assert found.training.of_images == "mean=[1, 2, 3]"


def test_settings_that_hold_one_another_are_read_once(tmp_path: Path) -> None:
    pairs: Any = 1
    many: Any = 1
    for _ in range(200):
        pairs = (pairs, pairs)
    for _ in range(5):
        many = argparse.Namespace(**{f"x{n}": many for n in range(60)})
    groups = ("args", "cfg", "config", "hparams", "data", "dataset", "val", "transform")
    itself = argparse.Namespace()
    for name in groups:
        setattr(itself, name, itself)
    lists = [[1] * 1000] * 1000
    wide = argparse.Namespace(**{f"x{n}": {f"y{m}": lists for m in range(50)} for n in range(50)})
    for value in (pairs, many, itself, wide):
        found = inspect_file(save(tmp_path, meta={"cfg": value}, **dict.fromkeys(groups, value)))
        assert found.architecture == "resnet18"


def test_sizes_of_other_things_are_no_sizes_of_images(tmp_path: Path) -> None:
    for others in (
        {"dataset": {"name": "flowers", "size": 1020}},
        {"info": {"size": 98, "height": 32, "width": 48}, "size": 25},
        {"config": {"model": "resnet", "size": 50}, "meta": {"size": "2.5GB"}},
        {"dataset": {"val": {"size": 500}}, "metadata": {"height": 1080, "width": 1920}},
        {"mean": 0.87, "info": {"mean": [0.8, 0.9, 0.9, 0.8, 0.9], "std": [0.1] * 5}},
    ):
        training = inspect_file(save(tmp_path, **others)).training
        assert (training.image_size, training.unread, training.of_images) == (None, (), ""), others
    beside = {"size": 96, "interpolation": "bicubic"}
    assert inspect_file(save(tmp_path, config=beside)).training.image_size == 96
    for alone in ({"height": 96, "width": 96}, {"size": [96, 96]}):
        assert inspect_file(save(tmp_path, hparams=alone)).training.image_size == 96
    found = inspect_file(save(tmp_path, args={"height": 96, "width": 64}))
    assert found.training.of_images == "height=96, width=64"


def test_what_is_answered_is_not_asked(tmp_path: Path) -> None:
    save(tmp_path, transform="mine", mean=0.5, std=0.5)
    words = ("made", "--weights", "x.pth", "--defaults", "-d", "transforms=custom")
    refused = new(tmp_path, *words, "-d", "image_size=64")
    assert refused.returncode == 1
    assert "Answer mean, std yourself" in refused.stderr
    assert "as usual, -d transforms=pretrained or -d transforms=imagenet" in refused.stderr
    result = new(tmp_path, *words, *ANSWERED)
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((tmp_path / "made" / ".copier-answers.yml").read_text("utf-8"))
    assert answers["image_size"] == 64
    assert new(tmp_path, "usual", *words[1:4], "-d", "transforms=imagenet").returncode == 0


def test_inspect_names_what_is_not_understood(tmp_path: Path) -> None:
    found = inspect_file(save(tmp_path, config={"mean": "half", "std": "half"}))
    assert "config.mean ('half')" in found.open_questions["transforms"]


# Each is 64 pixels, and a mean of 0.5 with a std of 0.25 in each channel, or in all of them.
WRITTEN: dict[str, dict[str, Any]] = {
    "numbers": {"mean": 0.5, "std": 0.25, "img_size": 64},
    "texts": {"mean": "0.5, 0.5, 0.5", "std": "[0.25 0.25 0.25]", "img_size": "64"},
    "text of sides": {"mean": "0.5", "std": "0.25", "input_size": "3x64x64"},
    "of numpy": {"mean": np.float64(0.5), "std": np.float32(0.25), "img_size": np.int64(64)},
    "arrays": {"mean": np.full(3, 0.5), "std": np.full(3, 0.25, ">f4"), "img_size": np.full(2, 64)},
    "rows": {"mean": np.full((3, 1, 1), 0.5), "std": np.array(0.25), "img_size": np.array([64])},
    "lists of numpy": {
        "mean": [np.float16(0.5)] * 3, "std": [np.float64(0.25)] * 3, "img_size": [np.uint8(64)] * 2
    },
    "in capitals": {"MEAN": [0.5] * 3, "STD": [0.25] * 3, "IMG_SIZE": 64},
    "a transform": {"transform": T.Compose(
        [T.Resize((64, 64)), T.ToTensor(), T.Normalize(np.full(3, 0.5), [np.float64(0.25)] * 3)]
    )},
}  # fmt: skip


PLACES: dict[str, dict[str, Any]] = {
    "in a section": {"hyperparams": {"data": {"input_size": 64}}},
    "as a resolution": {"config": {"resolution": 64}},
    "as a shape of TensorFlow": {"config": {"input_shape": (64, 64, 3)}},
}


@pytest.mark.parametrize("name", PLACES)
def test_sizes_are_found_where_people_keep_them(name: str, tmp_path: Path) -> None:
    training = inspect_file(save(tmp_path, **PLACES[name])).training
    assert (training.image_size, training.unread, training.of_images) == (64, (), "")


def test_containers_of_omegaconf_are_read_as_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As omegaconf pickles them, which is not installed here: each value is an object of its own.
    made = {}
    for name in ("dictconfig.DictConfig", "listconfig.ListConfig", "nodes.AnyNode"):
        module, _, cls = f"omegaconf.{name}".rpartition(".")
        made[cls] = type(cls, (), {"__module__": module})
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        setattr(sys.modules[module], cls, made[cls])
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))

    def wrapped(value: Any, parent: Any = None) -> Any:
        kinds = {dict: "DictConfig", list: "ListConfig"}
        one: Any = made[kinds.get(type(value), "AnyNode")]()
        content = value
        if isinstance(value, dict):
            content = {key: wrapped(x, one) for key, x in value.items()}
        elif isinstance(value, list):
            content = [wrapped(x, one) for x in value]
        place = "_content" if isinstance(value, dict | list) else "_val"
        vars(one).update({"_metadata": None, "_parent": parent, place: content})
        return one

    content = {"data": {"img_size": 64, **HALF}, "name": "${model.name}", "loss": "bce"}
    found = inspect_file(save(tmp_path, hyper_parameters=wrapped(content)))
    assert (found.training.image_size, [*found.training.mean]) == (64, HALF["mean"])
    assert found.likely["task"] == "multi_label_classification"


def test_colours_in_the_order_of_opencv_are_refused(tmp_path: Path) -> None:
    save(tmp_path, preprocessing={"input_space": "BGR", "img_size": 64, **HALF})
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert "input_space=BGR" in result.stderr
    assert "-d image_size=64" in result.stderr
    assert "-d 'own_files=[preprocessing.py]'" in result.stderr


def test_a_size_alone_leaves_the_margin_to_who_names_the_rest(tmp_path: Path) -> None:
    save(tmp_path, image_size=64)
    words = ("--weights", "x.pth", "--defaults", "-d", "backend=eager")
    stretched = ("-d", "resize_mode=stretch")
    assumed = new(tmp_path, "assumed", *words).stdout
    assert "shorter side to 73 pixels, centre 64 x 64" in assumed
    assert "-d resize_mode=crop|stretch -d mean" in assumed  # and none that the task refuses
    assert "stretched to 64 x 64 pixels" in new(tmp_path, "answered", *words, *stretched).stdout
    save(tmp_path, image_size=64, resize_size=80)
    told = new(tmp_path, "told", *words, *stretched).stdout
    assert "stretched to 80 x 80 pixels, centre 64 x 64" in told


@pytest.mark.parametrize(
    "told", [{"temperature": 3.0}, slow({"info": {"platt": {"a": 1.5, "b": 0.1}}})]
)
def test_scores_that_are_calibrated_are_not_served_as_they_are(
    told: dict[str, Any], tmp_path: Path
) -> None:
    save(tmp_path, **told)
    words = ("made", "--weights", "x.pth", "--defaults")
    result = new(tmp_path, *words)
    assert result.returncode == 1
    assert "behind its network" in result.stderr
    assert "-d task=image_classification" in result.stderr
    assert new(tmp_path, *words, "-d", "task=image_classification").returncode == 0


def test_a_temperature_among_the_weights_divides_their_scores(tmp_path: Path) -> None:
    """As ModelWithTemperature of gpleiss/temperature_scaling saves it."""
    state = {f"model.{name}": x for name, x in STATE.items()}
    torch.save({**state, "temperature": torch.full((1,), 3.0)}, tmp_path / "x.pth")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert "a division by the tensor temperature behind its network" in result.stderr


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"config": {"loss": "triplet"}}, "compares embeddings, and not which layer gives them"),
        slow({"args": {"criterion": "ArcFaceLoss"}}, "-d task=feature_extraction"),
        ({"config": {"loss": "ordinal"}}, "as numbers or ranks are"),
    ],
)
def test_what_was_trained_on_no_classes_is_not_taken_for_a_classifier(
    told: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save(tmp_path, **told)
    answered = ("--weights", "x.pth", "--defaults", "-d", "backend=eager")
    refused = new(tmp_path, "made", *answered)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "-d task=image_classification" in refused.stderr
    assert new(tmp_path, "made", *answered, "-d", "task=image_classification").returncode == 0


@pytest.mark.parametrize(
    "told",
    [
        {"pos_weight": torch.ones(3)},
        {"state_dict": {**STATE, "val_metrics.MultilabelF1Score.tp": torch.zeros(3)}},
    ],
    ids=["weights of a loss", "a measure"],
)
def test_traces_of_labels_by_themselves_are_found(told: dict[str, Any], tmp_path: Path) -> None:
    found = inspect_file(save(tmp_path, **told))
    assert found.likely["task"] == "multi_label_classification"


SEGMENTER = torchvision.models.segmentation.lraspp_mobilenet_v3_large


@pytest.mark.parametrize(
    ("outputs", "told", "words"),
    [
        (1, {"best_threshold": 0.3}, "if 0.8473 is added to the bias of its last layer"),
        slow(4, {"config": {"loss": "bce"}}, "its masks may overlap"),
        slow(
            *(4, {"hyper_parameters": {"criterion": nn.BCEWithLogitsLoss()}}),
            "its masks may overlap",
        ),
        # As hydra builds a loss of segmentation_models_pytorch, which pickles the same.
        slow(
            *(4, {"config": {"loss": {"_target_": "smp.losses.DiceLoss", "mode": "multilabel"}}}),
            "config.loss.mode = multilabel",
        ),
    ],
)
def test_masks_are_not_cut_otherwise_than_in_training(
    outputs: int, told: dict[str, Any], words: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = SEGMENTER(weights=None, weights_backbone=None, num_classes=outputs)
    save(tmp_path, state_dict=network.state_dict(), **told)
    answered = ("--weights", "x.pth", "--defaults", "-d", "backend=eager")
    refused = new(tmp_path, "made", *answered)
    assert refused.returncode == 1
    assert words in refused.stderr
    task = ("-d", "task=semantic_segmentation")
    assert new(tmp_path, "made", *answered, *task).returncode == 0


def test_thresholds_of_a_checkpoint_are_those_of_the_service(tmp_path: Path) -> None:
    for told, expected in [([0.2, 0.5, 0.9], [0.2, 0.5, 0.9]), (0.3, [0.3]), ([0.2, 0.3], None)]:
        found = inspect_file(save(tmp_path, hyper_parameters={"loss": "bce"}, thresholds=told))
        assert found.likely.get("thresholds") == expected
    # As a classifier of chest X-rays keeps them, and one of proteins.
    for told in ({"a": 0.2, "b": 0.5, "c": 0.9}, torch.tensor([0.2, 0.5, 0.9]), [0.2, 0.3]):
        save(tmp_path, labels=["a", "b", "c"], thresholds=told)
        words = ("made", "--weights", "x.pth", "--defaults")
        result = new(tmp_path, *words)
        assert result.returncode == 1
        assert "-d 'thresholds=[0.3, 0.5]'" in result.stderr
    assert inspect_file(tmp_path / "x.pth").likely["task"] == "multi_label_classification"
    assert new(tmp_path, *words, "-d", "task=image_classification").returncode == 0
    for place in ("args", "hyper_parameters", "config"):  # of a schedule, or of pseudo-labels
        content = {"loss": "bce", "threshold": 1e-4}
        assert "thresholds" not in inspect_file(save(tmp_path, **{place: content})).likely


def test_metadata_beside_weights_are_read_as_a_checkpoint_is(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    texts = {"format": "pt", "image_size": "64", "mean": "[0.5, 0.5, 0.5]", "std": "0.25"}
    save_file(state, tmp_path / "x.safetensors", texts)
    # As doctr and the mixins of huggingface_hub lay it beside the weights.
    (tmp_path / "hub").mkdir()
    torch.save(state, tmp_path / "hub" / "pytorch_model.bin")
    config = {"input_shape": [3, 64, 64], "mean": [0.5] * 3, "std": [0.25] * 3}
    config["classes"] = ["a", "b", "c"]
    (tmp_path / "hub" / "config.json").write_text(json.dumps(config))
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, 64, 64),), tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, tmp_path / "x.onnx")
    for name in ("x.safetensors", "hub/pytorch_model.bin", "x.onnx"):
        found = inspect_file(tmp_path / name)
        told = found.training
        assert (told.image_size, {*told.mean}, {*told.std}) == (64, {0.5}, {0.25}), name
    names = inspect_file(tmp_path / "hub" / "pytorch_model.bin").class_names
    assert [one.names for one in names] == [("a", "b", "c")]


def test_a_label_file_may_tell_how_images_are_prepared(tmp_path: Path) -> None:
    save(tmp_path)
    content = {"classes": ["a", "b", "c"], "image_size": 64, "normalization": {**HALF}}
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    words = ("--weights", "x.pth", "--labels", "metadata.json", "--defaults")
    result = new(tmp_path, "made", *words)
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((tmp_path / "made" / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["image_size"], answers["mean"]) == (64, HALF["mean"])
    (tmp_path / "metadata.json").write_text(json.dumps({**content, "normalization": "own"}))
    result = new(tmp_path, "other", *words)
    assert result.returncode == 1
    assert "normalization: 'own'" in result.stderr


@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_are_read_as_people_write_them(name: str, tmp_path: Path) -> None:
    found = inspect_file(save(tmp_path, config=WRITTEN[name]))
    training = found.training
    assert (training.image_size, {*training.mean}, {*training.std}) == (64, {0.5}, {0.25})
    assert (training.unread, training.of_images) == ((), "")


def test_places_that_tell_otherwise_are_refused(tmp_path: Path) -> None:
    save(tmp_path, hyper_parameters={"img_size": 64, **HALF}, config={"img_size": 96})
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert "hyper_parameters.image_size=64, config.image_size=96" in result.stderr
    args = argparse.Namespace(model="resnet18", val_resize_size=80, val_crop_size=64)
    save(tmp_path, args=args, transform=PREPARATIONS["crop"])  # of torchvision's references
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert "args.resize_size=80, resize_size=72" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "question"),
    [
        ("grayscale", True, "color_mode"),
        ("letterbox", True, "resize_mode"),
        ("resize_method", "pad", "resize_mode"),
        ("norm_type", "minmax", "mean"),
        ("standardize", "per_image", "mean"),
        ("input_range", [0, 255], "mean"),
    ],
)
def test_steps_that_no_answer_is_read_from_are_asked_about(
    name: str, value: Any, question: str, tmp_path: Path
) -> None:
    save(tmp_path, config={name: value, "invert": False, "pixel_range": [0, 1]})
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert f"config.{name}: " in refused.stderr
    assert question in refused.stderr


# As public scripts keep them, beside what else they keep.
LAYOUTS: dict[str, dict[str, Any]] = {
    "timm": {"args": argparse.Namespace(
        model="resnet18", img_size=None, input_size=None, crop_pct=None, mean=None, std=None,
        interpolation="", scale=[0.08, 1.0], ratio=[0.75, 1.33], train_interpolation="random",
        bce_loss=True, bce_target_thresh=0.2, smoothing=0.1, resplit=False, jsd_loss=False,
    )},
    "torchvision": {"args": argparse.Namespace(
        model="resnet18", interpolation="bilinear", val_resize_size=256, val_crop_size=224,
        train_crop_size=176, norm_weight_decay=None, backend="PIL", use_v2=False,
    )},
    "DeiT III": {"args": argparse.Namespace(
        model="deit_small", input_size=224, train_interpolation="bicubic", bce_loss=True,
        eval_crop_ratio=0.875, ThreeAugment=True, src=False, data_set="IMNET",
    )},
    "MAE": {"args": argparse.Namespace(
        model="vit_base_patch16", input_size=224, norm_pix_loss=False, global_pool=True,
    )},
    "BEiT": {"args": argparse.Namespace(
        input_size=224, second_input_size=112, second_interpolation="lanczos", crop_pct=None,
        train_interpolation="bicubic", imagenet_default_mean_and_std=False,
    )},
    "MoCo": {"args": argparse.Namespace(arch="resnet18", lr=0.03, moco_dim=128, aug_plus=True)},
    "robustness": {"args": argparse.Namespace(
        dataset="cifar", arch="resnet18", data_aug=1, constraint="2", eps=0.5,
    )},
    "supervised contrast": {"opt": argparse.Namespace(
        model="resnet18", dataset="cifar10", mean=None, std=None, size=32, method="SupCon",
    )},
    "Lightning": {"hyper_parameters": {
        "backbone": "resnet18", "lr": 1e-3, "loss_fn": nn.CrossEntropyLoss(), "transform": None,
        "normalize": True, "loss": "cross_entropy", "num_classes": 3, "task": "multiclass",
    }},
    "Lightning Hydra": {"hyper_parameters": {
        "net": {"input_size": 224, "lin1_size": 64}, "compile": False, "norm_layer": "batch",
        "optimizer": {"_target_": "torch.optim.Adam"}, "criterion": {"_target_": "x.FocalLoss"},
    }},
    "Lightning data": {"datamodule_hyper_parameters": {
        "data_dir": "data/", "split": (55_000, 5_000, 10_000), "img_size": (224, 224),
        "transforms": {"train": None, "val": None},
    }},
    "networks": {"hparams": {
        "norm": "batch", "normalization": "BatchNorm2d", "size": "small", "input_size": 3,
        "std": 0.02, "activation": "sigmoid", "crop": True, "resize": True,
    }},
    "Ultralytics": {"train_args": {
        "task": "classify", "imgsz": 224, "crop_fraction": 1.0, "auto_augment": "randaugment",
        "mosaic": 1.0, "scale": 0.5, "erasing": 0.4,
    }},
    "a loss": {"loss": 0.31, "criterion": nn.CrossEntropyLoss(), "epoch": 7, "size": 60_000},
    "open_clip": {"name": "x", "preprocess": T.Compose([
        T.Resize(224, InterpolationMode.BICUBIC), T.CenterCrop(224), T.ToTensor(), HALVES,
    ])},
    "size before a crop": {"hparams": {"img_size": 72}, "config": {
        "transform": T.Compose([T.Resize(72), T.CenterCrop(64), T.ToTensor()]), "img_size": 72,
    }},
    "classes": {"class_to_idx": {"a": 0, "b": 1, "c": 2}, "image_size": [3, 224, 224]},
    "statistics": {"img_size": 224, "norm_mean": HALF["mean"], "norm_std": HALF["std"]},
    "metrics": {"val": {"loss": 0.3, "std": 0.1}, "metrics": {"mean": 1}, "best_loss": 0.1},
    "pretrainedmodels": {"preprocessing": {
        "input_space": "RGB", "input_size": [3, 224, 224], "input_range": [0, 1], **HALF,
    }},
    "a loss's temperature": {"args": {"temperature": 0.07}, "temperature": 1.0},
    "spectral": {"config": {"normalization": "spectral"}},
    "augmentation": {"config": {"transforms": ["hflip", "RandomRotation", "random_resized_crop"]}},
    "sign language": {"config": {"task": "asl", "transforms": "randaugment", "normalize": "pre"}},
    "distances": {"config": {"task": "cls", "loss_type": "l1"}},
    "target": {"args": argparse.Namespace(target_transform=None, optim="sgd", normalize="batch")},
    "data sets": {"config": {"data": {"image_size": 224, "transforms": {
        "val": T.Compose([T.Resize((224, 224)), T.ToTensor(), HALVES]),
        "train": T.Compose([T.RandomResizedCrop(224), T.ToTensor(), HALVES]),
    }}}},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_settings_of_public_scripts_raise_no_alarm(name: str, tmp_path: Path) -> None:
    found = inspect_file(save(tmp_path, **LAYOUTS[name]))
    assert found.training.unread == ()
    assert found.training.of_images == found.training.of_numbers == ""
    assert found.likely["task"] == "image_classification"


LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    "loss": ({"hyper_parameters": {"loss": "bce"}}, "hyper_parameters.loss = bce"),
    "class": ({"criterion": nn.BCEWithLogitsLoss()}, "criterion = BCEWithLogitsLoss"),
    "function": (
        {"config": {"loss_fn": nn.functional.binary_cross_entropy_with_logits}},
        "config.loss_fn = binary_cross_entropy_with_logits",
    ),
    "switch": ({"args": argparse.Namespace(multi_label=True)}, "args.multi_label = True"),
    "kind": ({"hparams": {"task": "multilabel"}}, "hparams.task = multilabel"),
    "asymmetric": ({"args": {"loss": "Asymmetric Loss"}}, "args.loss = Asymmetric Loss"),
    "activation": ({"config": {"last_activation": "sigmoid"}}, "config.last_activation = sigmoid"),
    "hydra": (
        {"config": {"loss": {"_target_": "torch.nn.BCEWithLogitsLoss"}}},
        "config.loss = torch.nn.BCEWithLogitsLoss",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_on_each_class_makes_a_service_for_several_labels(name: str, tmp_path: Path) -> None:
    content, evidence = LOSSES[name]
    found = inspect_file(save(tmp_path, **content))
    assert found.likely["task"] == "multi_label_classification"
    assert found.evidence == f"it was trained with {evidence}, for each class by itself"


@pytest.mark.parametrize("is_known", [True, False])
def test_one_output_tells_two_classes_apart_whatever_the_loss(
    is_known: bool, tmp_path: Path
) -> None:
    own = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    network = torchvision.models.resnet18(num_classes=1) if is_known else own
    content = {"state_dict": network.state_dict(), "config": {"loss": "bce"}}
    torch.save(content, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert found.likely["task"] == "image_classification"
    assert found.likely["model_output"] == "binary_logit"


def test_a_loss_on_each_class_is_served_so(tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    save_random_weights(network, tmp_path / "x.pth")
    content = {"state_dict": network.state_dict(), "hyper_parameters": {"loss": "bce"}}
    torch.save(content, tmp_path / "x.pth")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 0, result.stderr
    assert "task: multi_label_classification (assumed; another: -d task=image_" in result.stdout
    single = new(
        tmp_path, "one", "--weights", "x.pth", "--defaults", "-d", "task=image_classification"
    )
    assert single.returncode == 0, single.stderr


def test_a_regression_is_refused_until_a_task_is_named(tmp_path: Path) -> None:
    save(tmp_path, hyper_parameters={"loss": "mse"})
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert "hyper_parameters.loss = mse, as numbers or ranks are, which no task" in refused.stderr
    words = ("made", "--weights", "x.pth", "--defaults", "-d", "task=image_classification")
    assert new(tmp_path, *words).returncode == 0


def test_a_pickled_network_of_timm_that_pools_otherwise_is_refused(tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", num_classes=3, global_pool="max")
    torch.save({"model": network}, tmp_path / "x.pth")
    result = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert result.returncode == 1
    assert "its network was built with global_pool='max'" in result.stderr
    assert inspect_file(tmp_path / "x.pth").training.where == "model.pretrained_cfg"


PRESET: dict[str, Any] = {
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "interpolation": "nearest",
}


def test_a_folder_of_transformers_with_a_network_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model("resnet10t", num_classes=3).eval()
    nn.init.normal_(network.fc.weight, std=0.5)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "architectures": ["TimmWrapperForImageClassification"],
        "id2label": {"0": "wild", "1": "edible", "2": "toxic"},
        "problem_type": "multi_label_classification",
        "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 0.8, **PRESET},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    noise(0).save(tmp_path / "image.png")
    words = ("--weights", ".", "--defaults", "--picture", "image.png", "-d", "thresholds=[0.0001]")
    result = new(tmp_path, "made", *words)
    assert result.returncode == 0, result.stderr
    assert "config.json.problem_type = multi_label_classification" in result.stdout
    (answer,) = Project(tmp_path / "made").predict(tmp_path / "image.png")
    prepare: Any = create_transform((3, 64, 64), crop_pct=0.8, **PRESET)
    with torch.inference_mode():
        scores = network(prepare(noise(0))[None]).sigmoid()[0]
    found = {entry["label"]: entry["probability"] for entry in answer}
    for name, score in zip(("wild", "edible", "toxic"), scores.tolist(), strict=True):
        assert abs(found[name] - score) < 5e-3
    (tmp_path / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    refused = new(tmp_path, "other", *words)
    assert refused.returncode == 1
    assert "is a regression" in refused.stderr


def test_a_pickled_network_of_timm_brings_its_preparation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    overlay: Any = {"input_size": (3, 64, 64), "crop_pct": 0.8, **PRESET}
    network: Any = timm.create_model(
        "resnet10t", num_classes=3, pretrained_cfg_overlay=overlay
    ).eval()
    nn.init.normal_(network.fc.weight, std=0.5)
    noise(0).save(tmp_path / "image.png")
    prepare: Any = create_transform((3, 64, 64), crop_pct=0.8, **PRESET)
    with torch.inference_mode():
        scores = network(prepare(noise(0))[None]).softmax(dim=1)[0]
    for number, content in enumerate((network, {"model": network, "epoch": 3})):
        torch.save(content, tmp_path / "x.pth")
        words = ("--weights", "x.pth", "--defaults", "--picture", "image.png")
        result = new(tmp_path, str(number), *words)
        assert result.returncode == 0, result.stderr
        (answer,) = Project(tmp_path / str(number)).predict(tmp_path / "image.png")
        assert abs(answer[0]["probability"] - scores.max()) < 5e-3
    torch.save({"model": network, "args": {"img_size": 96}}, tmp_path / "x.pth")
    training = inspect_file(tmp_path / "x.pth").training  # what was pretrained is not what is saved
    assert (training.image_size, training.of_images) == (96, "")
    network.pretrained_cfg["interpolation"] = "lanczos"
    torch.save(network, tmp_path / "x.pth")
    refused = new(tmp_path, "other", "--weights", "x.pth", "--defaults")
    assert "pretrained_cfg.interpolation: 'lanczos'" in refused.stderr
