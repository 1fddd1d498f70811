"""What a checkpoint tells of how its detector was built: an answer, or refused with the options."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml

from conftest import ts_template
from generator.inspection import inspect_file
from inspected import hollow

BACKBONE = "ResNet50_Weights.IMAGENET1K_V1"
# As torchvision's references/detection/train.py keeps them, in its version of 2022 and after it.
SCRIPT = {
    "model": "fasterrcnn_resnet50_fpn",
    "aspect_ratio_group_factor": 3,
    "lr_steps": [16, 22],
    "test_only": False,
    "trainable_backbone_layers": None,
    "rpn_score_thresh": None,
    "weights": None,
    "weights_backbone": BACKBONE,
}
COCO = "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"


def saved(path: Path, network: str = "fasterrcnn_resnet50_fpn", **content: Any) -> Path:
    """Write a detector as it is after weights of its backbone: with frozen normalisations."""
    with torch.device("meta"):
        builder = getattr(torchvision.models.detection, network)
        state = hollow(builder(num_classes=3, weights_backbone=None)).state_dict()
    state = {key: x for key, x in state.items() if not key.endswith("num_batches_tracked")}
    torch.save({"model": state, **content}, path)
    return path


def inspected(path: Path) -> Any:
    """Return what `ts-template inspect` finds."""
    result = ts_template("inspect", path.name, "--json", cwd=path.parent)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def new(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template new` without asking."""
    words = ("made", "--weights", path.name, "--defaults", "-d", "backend=eager", *words)
    return ts_template("new", *words, cwd=path.parent)


@pytest.mark.parametrize(
    ("told", "answers"),
    [
        ({"detection_threshold": 0.8}, {"score_threshold": 0.8}),
        (
            {"config": {"score_threshold": 0.7, "nms_iou_threshold": 0.3, "max_det": 20}},
            {"score_threshold": 0.7, "nms_threshold": 0.3, "max_detections": 20},
        ),
        ({"metrics": {"conf_threshold": 0.8}}, {}),  # of a measure
    ],
)
def test_limits_are_known_by_the_names_that_people_give_them(
    told: dict[str, Any], answers: dict[str, Any], tmp_path: Path
) -> None:
    found = inspected(saved(tmp_path / "x.pth", network="ssdlite320_mobilenet_v3_large", **told))
    limits = ("score_threshold", "nms_threshold", "max_detections")
    assert {x: found["answers"][x] for x in limits if x in found["answers"]} == answers


@pytest.mark.parametrize(
    ("network", "told", "taken"),
    [
        ("maskrcnn_resnet50_fpn", {"mask_threshold": 0.35}, 0.35),
        ("maskrcnn_resnet50_fpn", {"config": {"model": {"mask_thresh": 0.4}}}, 0.4),
        ("fasterrcnn_resnet50_fpn", {"mask_threshold": 0.35}, None),
    ],
)
def test_the_threshold_of_masks_is_read(
    network: str, told: dict[str, Any], taken: float | None, tmp_path: Path
) -> None:
    found = inspected(saved(tmp_path / "x.pth", network=network, **told))
    assert found["answers"].get("mask_threshold") == taken


def test_a_threshold_of_masks_that_is_none_is_asked(tmp_path: Path) -> None:
    refused = new(saved(tmp_path / "x.pth", network="maskrcnn_resnet50_fpn", mask_threshold=50))
    assert refused.returncode == 1
    assert "mask_threshold=50: name the one that holds" in refused.stderr
    assert "-d mask_threshold=N" in refused.stderr


def test_a_threshold_beside_the_weights_is_the_likely_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", network="ssdlite320_mobilenet_v3_large", threshold=0.6)
    assert inspect_file(path).likely["score_threshold"] == 0.6
    path = saved(
        tmp_path / "x.pth", network="ssdlite320_mobilenet_v3_large", thresholds={"a": 0.3, "b": 0.6}
    )
    assert "which is not one number" in inspect_file(path).must_answer["score_threshold"]


@pytest.mark.parametrize(
    ("settings", "eps"),
    [
        ({"weights": COCO}, True),
        ({"weights": COCO, "test_only": True}, True),
        ({"weights": "DEFAULT", "weights_backbone": None}, True),
        ({}, False),  # from its backbone's weights alone
        ({"weights": "", "rpn_score_thresh": 0.0}, False),
    ],
)
def test_the_reference_training_tells_the_eps(
    settings: dict[str, Any], eps: bool, tmp_path: Path
) -> None:
    args = argparse.Namespace(**{**SCRIPT, **settings})
    found = inspected(saved(tmp_path / "x.pth", args=args, epoch=25))
    assert found["answers"]["coco_eps"] is eps
    assert "coco_eps" not in found["open_questions"]


def test_the_eps_of_older_trainings_is_asked(tmp_path: Path) -> None:
    of_old = {key: x for key, x in SCRIPT.items() if not key.startswith("weights")}
    args = argparse.Namespace(**of_old, pretrained=True)
    assert inspected(saved(tmp_path / "x.pth", args=args))["answers"]["coco_eps"] is True
    for content in (
        # Before torchvision 0.9, frozen normalisations had eps=0 whatever the weights.
        {"args": argparse.Namespace(**of_old, pretrained=False)},
        {"hyper_parameters": {"pretrained": True, "num_classes": 3}},
        {"hyper_parameters": {"model": {"weights": "runs/7/best.pth"}}},
    ):
        result = new(saved(tmp_path / "x.pth", **content))
        assert result.returncode == 1
        assert "does not show whether the network was built with torchvision's COCO" in (
            result.stderr
        )
        assert "-d coco_eps=true if it was, else -d coco_eps=false" in result.stderr
        assert not (tmp_path / "made").exists()


def test_arguments_of_the_network_are_answers(tmp_path: Path) -> None:
    settings = {"min_size": [480, 512], "max_size": 700, "box_nms_thresh": 0.3}
    settings |= {"box_score_thresh": 0.2, "box_detections_per_img": 7}
    settings |= {"rpn_nms_thresh": 0.7, "trainable_backbone_layers": 5}
    content = {"cfg": {"model": {"kwargs": settings}}, "lr": 0.1}
    found = inspected(saved(tmp_path / "x.ckpt", hyper_parameters=content))
    expected = {
        "transforms": "custom",
        "image_size": 512,
        "max_size": 700,
        "nms_threshold": 0.3,
        "score_threshold": 0.2,
        "max_detections": 7,
    }
    assert expected.items() <= found["answers"].items()
    assert found["answers"]["mean"] == [0.485, 0.456, 0.406]
    own = {"min_size": 800, "max_size": 1333, "image_mean": None}
    found = inspected(saved(tmp_path / "x.ckpt", hyper_parameters=own))
    assert found["answers"]["transforms"] == "pretrained"


def test_a_service_scales_images_as_the_arguments_say(tmp_path: Path) -> None:
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    settings |= {"detections_per_img": 9, "score_thresh": 0.1}
    torch.manual_seed(0)
    network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        num_classes=3, weights_backbone=None
    )
    torch.save({"model": network.state_dict(), "hparams": settings}, tmp_path / "x.pth")
    new(tmp_path / "x.pth")  # whose archive.py refuses, as untrained weights find nothing
    answers = yaml.safe_load((tmp_path / "made" / ".copier-answers.yml").read_text())
    assert answers["score_threshold"] == 0.1
    model = (tmp_path / "made" / "service" / "model.py").read_text()
    assert "image_mean=[0.5, 0.5, 0.5]" in model
    assert "image_std=[0.25, 0.25, 0.25]" in model
    assert "detections_per_img=9" in model


@pytest.mark.parametrize(
    ("settings", "message", "option"),
    [
        ({"rpn_score_thresh": 0.05}, "args.rpn_score_thresh=0.05, which no", "--model FILE"),
        ({"anchor_sizes": ((16,), (32,))}, "args.anchor_sizes=[[16], [32]]", "--model FILE"),
        ({"box_nms_thresh": "low"}, "args.box_nms_thresh='low'", "-d nms_threshold=N"),
        ({"min_size": 512.5}, "args.min_size=512.5", "-d transforms=pretrained"),
        ({"img_size": 512}, "images of 512 pixels, which may be", "-d transforms=pretrained"),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, "a mean of [0.5, 0.5, 0.5]", "-d transforms="),
    ],
)
def test_arguments_without_an_answer_are_refused(
    settings: dict[str, Any], message: str, option: str, tmp_path: Path
) -> None:
    args = argparse.Namespace(**{**SCRIPT, **settings})
    result = new(saved(tmp_path / "x.pth", args=args))
    assert result.returncode == 1
    assert f"x.pth tells {message}" in result.stderr
    assert option in result.stderr
    assert not (tmp_path / "made").exists()


def test_what_holds_for_several_networks_is_named_again(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "x.pth", "fasterrcnn_mobilenet_v3_large_fpn", hparams={"box_nms_thresh": 0.3}
    )
    result = new(path, "-d", "architecture=fasterrcnn_mobilenet_v3_large_fpn")
    assert result.returncode == 1
    assert "nms_threshold is 0.3: -d nms_threshold=0.3" in result.stderr


def test_arguments_that_are_made_to_do_harm_are_refused_like_others(tmp_path: Path) -> None:
    pairs: Any = 1
    for _ in range(200):
        pairs = (pairs, pairs)
    for settings in (
        {"min_size": pairs, "anchor_sizes": pairs, "box_nms_thresh": pairs},
        {"min_size": 10**5000, "anchor_sizes": ((10**5000,),), "box_score_thresh": 10**400},
        {"min_size": float("nan"), "image_mean": float("inf"), "box_score_thresh": float("nan")},
    ):
        args, again = argparse.Namespace(**settings), dict(settings)
        path = saved(tmp_path / "x.pth", args=args, hparams=again)
        assert inspected(path)["architecture"] == "fasterrcnn_resnet50_fpn"


def test_another_network_answers_no_anchors(tmp_path: Path) -> None:
    args = argparse.Namespace(**SCRIPT, rpn_pre_nms_top_n_test=123)
    path = saved(tmp_path / "x.pth", args=args)
    result = new(path, "-d", "architecture=fasterrcnn_resnet50_fpn")
    assert result.returncode == 1
    assert "args.rpn_pre_nms_top_n_test=123, which no answer has" in result.stderr


def test_options_that_are_named_are_such_as_a_detector_takes(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", config={"transform": "mine"})
    refused = new(path, "-d", "architecture=fasterrcnn_resnet50_fpn")
    assert refused.returncode == 1 and "config.transform: 'mine'" in refused.stderr
    named = refused.stderr.partition("such as ")[2].partition(";")[0]
    options = shlex.split(named)
    refused = new(
        path, "-d", "architecture=fasterrcnn_resnet50_fpn", "-d", "coco_eps=true", *options
    )
    assert "no effect" not in refused.stderr
    assert "config.transform" not in refused.stderr


@pytest.mark.parametrize(
    "config",
    [
        {"dataset": {"max_size": 500}},
        {"replay": {"max_size": 5000}, "min_size": 32},
        {"train": {"augmentation": {"min_size": [480, 512], "max_size": 640}}},
        {"dataset": {"score_thresh": 0.3}},
    ],
)
def test_sizes_of_something_else_are_asked_and_not_taken(
    config: dict[str, Any], tmp_path: Path
) -> None:
    result = new(saved(tmp_path / "x.pth", config=config), "-d", "coco_eps=true")
    assert result.returncode == 1
    assert "x.pth tells config." in result.stderr and "name " in result.stderr
    inside = saved(tmp_path / "x.pth", config={"model": {"min_size": 320}, "info": [1]})
    assert inspected(inside)["answers"]["image_size"] == 320


def test_arguments_are_found_behind_many_others(tmp_path: Path) -> None:
    many = {f"x{n}": {"y": n} for n in range(3000)}
    shared = {"model": {"box_nms_thresh": 0.3}}
    args = {"a": {"b": {"c": {"d": shared}}}}
    path = saved(tmp_path / "x.pth", info=many, args=args, cfg=shared)
    assert inspected(path)["answers"]["nms_threshold"] == 0.3
