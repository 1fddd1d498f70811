"""A checkpoint that comes later, and tells of other preprocessing than the project has."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml

from conftest import Project, in_shell, slow, ts_template

MEAN = [0.5, 0.5, 0.5]
ANSWERS = {"architecture": "shufflenet_v2_x0_5", "num_classes": 3, "label_format": "none"}


def save(folder: Path, **told: Any) -> Path:
    """Save a checkpoint that tells something besides its weights."""
    torch.manual_seed(0)
    state = torchvision.models.shufflenet_v2_x0_5(num_classes=3).state_dict()
    path = folder / "best.pth"
    torch.save({"state_dict": state, **told}, path)
    return path


@pytest.mark.parametrize(
    ("told", "answers", "words", "changed"),
    [
        (
            {"args": argparse.Namespace(img_size=96, lr=0.1)},
            {},
            "args.img_size gives image_size 96, not 224",
            {"image_size": 96, "resize_size": 109, "mean": [0.485, 0.456, 0.406]},
        ),
        slow(
            {"hyper_parameters": {"data": {"mean": [127.5] * 3, "std": MEAN}}},
            {"transforms": "custom", "image_size": 64, "mean": [0.4], "std": [0.5]},
            "hyper_parameters.data.mean gives mean [0.5, 0.5, 0.5], not [0.4, 0.4, 0.4]",
            {"image_size": 64, "mean": MEAN, "std": [0.5]},
        ),
        slow(
            {"config": {"image_mean": MEAN, "image_std": MEAN}},
            {"transforms": "to_tensor", "image_size": 64},
            "config.image_mean gives mean [0.5, 0.5, 0.5], not [0.0, 0.0, 0.0]",
            {"image_size": 64, "mean": MEAN, "std": MEAN},
        ),
    ],
)
def test_other_preprocessing_is_refused_with_the_command_that_takes_it(
    copy_released: Callable[..., Project],
    told: dict[str, Any],
    answers: dict[str, Any],
    words: str,
    changed: dict[str, Any],
) -> None:
    project = copy_released(**ANSWERS, weights="checkpoint", **answers)
    save(project.path / "weights", **told)
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert not list((project.path / "model-store").iterdir())
    (command,) = re.findall(r"trained so, run: (.*)", refused.stderr)
    run = in_shell(command, project.path)
    assert run.returncode == 0, run.stdout + run.stderr
    project.archive()
    found = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    assert {"transforms": "custom", **changed}.items() <= found.items()


def test_what_is_no_preprocessing_or_the_same_is_passed_over(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(**ANSWERS, weights="checkpoint")
    told = {"img_size": [3, 224, 224], "mean": (0.485, 0.456, 0.406), "crop_size": None}
    metrics = {"mean": 0.9, "std": 0.1, "means": [1.0], "size": 3}
    save(project.path / "weights", args=argparse.Namespace(**told), metrics=metrics)
    project.archive()


@pytest.mark.parametrize(
    "told",
    [
        {"config": {"train": {"crop_size": 176}, "val": {"crop_size": 224}}},
        {"hyper_parameters": {"data": {"image_size": 224}, "net": {"input_size": 784}}},
        {"args": argparse.Namespace(img_size=224), "teacher": {"args": {"img_size": 384}}},
    ],
    ids=["training beside validation", "a size of a layer", "a teacher"],
)
def test_one_place_of_several_may_be_of_something_else(
    copy_project: Callable[..., Project], told: dict[str, Any]
) -> None:
    project = copy_project(**ANSWERS, weights="checkpoint")
    save(project.path / "weights", **told)
    project.archive()


def test_who_knows_better_serves_it_as_answered(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    weights = save(tmp_path, config={"img_size": 96})
    answers = ("-d", "transforms=custom", "-d", "image_size=64", "-d", "backend=eager")
    words = ("new", "made", "--weights", weights.name, "--defaults", *answers)
    made = ts_template(*words, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    project = Project(tmp_path / "made")
    refused = project.run("archive.py")
    assert "build it with: python archive.py --trust-preprocessing" in refused.stderr
    project.archive("--trust-preprocessing")
    own = copy_project(**ANSWERS, weights="checkpoint", own_files=["preprocessing.py"])
    weights.rename(own.path / "weights" / weights.name)
    own.archive()
