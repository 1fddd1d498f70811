"""A checkpoint that comes later, and tells of scores what the service does not make of them."""

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
from torch import nn

from conftest import Project, in_shell, slow, ts_template

NETWORK = {"architecture": "shufflenet_v2_x0_5", "label_format": "none", "weights": "checkpoint"}
# What those who know better build it with.
OPTION = "serve scores as answered: python archive.py --trust-scores"


def save(folder: Path, classes: int, **told: Any) -> None:
    """Save a checkpoint that tells something besides its weights."""
    torch.manual_seed(0)
    state = torchvision.models.shufflenet_v2_x0_5(num_classes=classes).state_dict()
    torch.save({"state_dict": state, **told}, folder / "best.pth")


BEHIND = [
    ({"temperature": nn.Parameter(torch.tensor([1.7]))}, "go through its temperature behind"),
    ({"args": argparse.Namespace(loss="bce")}, "args.loss is bce, which trains each class by"),
]
MORE = [
    ({"metadata": {"calibration": {"T": 1.7}}}, "go through its metadata.calibration behind"),
    ({"config": {"criterion": nn.MSELoss()}}, "config.criterion is MSELoss, which trains numbers"),
    ({"cfg": {"loss": {"_target_": "torch.nn.BCELoss"}}}, "cfg.loss._target_ is BCELoss, "),
    ({"info": {"threshold": 0.42}}, "info.threshold is 0.42; the service predicts the most"),
]


@pytest.mark.parametrize("cases", [BEHIND, slow(MORE)], ids=["usual", "more"])
def test_what_becomes_of_scores_behind_the_network_is_refused(
    copy_project: Callable[..., Project], cases: list[tuple[dict[str, Any], str]]
) -> None:
    project = copy_project(**NETWORK, num_classes=3)
    for told, words in cases:
        save(project.path / "weights", 3, **told)
        refused = project.run("archive.py")
        assert refused.returncode == 1, told
        assert words in refused.stderr
        assert OPTION in refused.stderr
        assert not list((project.path / "model-store").iterdir())


def test_what_tells_nothing_of_scores_or_the_same_is_passed_over(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(**NETWORK, num_classes=3)
    told: dict[str, Any] = {
        # Of a loss and a schedule, a value that was reached, a loss of classes beside another, and
        # what changes nothing.
        "args": argparse.Namespace(temperature=0.07, threshold=1e-4, loss="ce"),
        "distillation": {"loss": "mse"},
        "loss": 0.31,
        "criterion": None,
        "metadata": {"temperature": 1.0, "threshold": 0.5, "calibration": None},
    }
    save(project.path / "weights", 3, **told)
    project.archive()


def test_other_thresholds_are_refused_with_the_command_that_takes_them(
    copy_released: Callable[..., Project],
) -> None:
    told = [0.2, 0.5, 0.9]
    answers = {"task": "multi_label_classification", "thresholds": [0.3], "num_classes": 3}
    project = copy_released(**NETWORK, **answers)
    save(project.path / "weights", 3, best_thresholds=told, loss="bce")
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert "best_thresholds is [0.2, 0.5, 0.9]; the service has [0.3]" in refused.stderr
    (command,) = re.findall(r"To take it, run: (.*)", refused.stderr)
    changed = in_shell(command, project.path)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    found = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    assert found["thresholds"] == told
    project.archive()


@slow
def test_thresholds_that_are_not_read_are_refused(copy_project: Callable[..., Project]) -> None:
    answers = {"task": "multi_label_classification", "num_classes": 3}
    project = copy_project(**NETWORK, **answers, thresholds=[0.2, 0.5, 0.9])
    weights = project.path / "weights"
    save(weights, 3, thresholds={"a": 0.2, "b": 0.5, "c": 0.9})
    project.archive()
    save(weights, 3, thresholds={"a": [0.2], "b": [0.5], "c": [0.9]})
    refused = project.run("archive.py")
    assert "thresholds cannot be read; the service has [0.2, 0.5, 0.9]" in refused.stderr
    assert OPTION in refused.stderr


def test_the_least_score_of_a_detector_is_compared(
    copy_project: Callable[..., Project],
) -> None:
    torch.manual_seed(0)
    arch = "ssdlite320_mobilenet_v3_large"
    network = getattr(torchvision.models.detection, arch)(
        weights=None, weights_backbone=None, num_classes=3
    )
    answers = {"task": "object_detection", "architecture": arch, "num_classes": 3}
    project = copy_project(**{**NETWORK, **answers})
    torch.save(
        {"model": network.state_dict(), "best_threshold": 0.35}, project.path / "weights" / "x.pth"
    )
    refused = project.run("archive.py")
    assert "best_threshold is 0.35; the service has 0.5. To take it, run: " in refused.stderr
    assert "score_threshold=0.35" in refused.stderr


def test_a_threshold_for_the_most_probable_class_is_refused_until_the_task_is_named(
    tmp_path: Path,
) -> None:
    for classes, words in [
        (1, "if 0.8473 is added to the bias of its last layer first; if 0.5 is right"),
        (2, "if 0.8473 is added to the bias of its last layer for the second class first"),
        (3, "the most probable class, whatever its probability"),
    ]:
        save(tmp_path, classes, best_threshold=0.3)
        words_of_new = ("new", "made", "--weights", "best.pth", "--defaults", "-d", "backend=eager")
        refused = ts_template(*words_of_new, cwd=tmp_path)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert "-d task=image_classification" in refused.stderr
    task = ("-d", "task=image_classification")
    made = ts_template(*words_of_new, *task, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    project = Project(tmp_path / "made")
    assert OPTION in project.run("archive.py").stderr
    project.archive("--trust-scores")
