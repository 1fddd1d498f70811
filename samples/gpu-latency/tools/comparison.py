# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Whether the network that is served predicts as the one that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from service import task
from tools.examples import read_examples
from tools.inprocess import LocalService
from tools.outputs import (
    AGREEMENT,
    DIFFERENCE,
    MAX_DIFFERENCE,
    MIN_AGREEMENT,
    compare_scores,
)
from tools.project import ProjectError, change_answer, in_project
from tools.trained import load_trained


@dataclass(frozen=True)
class Limits:
    """How much predictions may differ from those of the network as it was trained.

    Attributes:
        difference: The most that `compare_scores` may find for an image.
        agreement: The least that it may find on average.
    """

    difference: float = MAX_DIFFERENCE
    agreement: float = MIN_AGREEMENT


@torch.inference_mode()
def compare(
    weights: Path, service: LocalService, examples: Mapping[str, bytes], limits: Limits
) -> str:
    """Let the network as it was trained and as it is served score the same images.

    Args:
        weights: The state_dict, as it was trained.
        service: The archive.
        examples: Encoded images, by path or kind; one or more.
        limits: What is allowed.

    Returns:
        How much they differ, for people.

    Raises:
        ProjectError: They differ more than the limits allow, or an image is damaged.
    """
    network = load_trained(weights, torch.device("cpu"))
    agreements, differences = [], []
    for name, content in examples.items():
        batch = task.normalize(task.collate(read_examples({name: content})))
        (expected,) = task.scores(network(batch).float())
        (found,) = service.scores([content])
        agreement, difference = compare_scores(expected, found)
        agreements.append(agreement)
        differences.append(difference)
    agreement, difference = sum(agreements) / len(agreements), max(differences)
    outcome = f"{len(examples)} images: {agreement:.1%} {AGREEMENT}, {difference:.2g} {DIFFERENCE}"
    if not (difference <= limits.difference and agreement >= limits.agreement):
        command = "python archive.py --min-agreement SHARE --max-difference DIFFERENCE"
        raise ProjectError(
            "aot_inductor in fp16 predicts otherwise than the network that was trained: "
            f"{outcome}; expected {limits.agreement:.1%} and {limits.difference:g}.\n"
            f"Serve it as it was trained: {change_answer(backend='eager', precision='fp32')}\n"
            f"Or allow more: {in_project(command)}"
        )
    return outcome
