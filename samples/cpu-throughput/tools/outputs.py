# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the outputs of the network should look like, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from service import NUM_CLASSES
from tools.project import ProjectError, change_answer


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is scores of all classes (classes,)."""
    outputs = list(outputs)
    for output in outputs:
        if output.numel() == 1:
            one = "binary_probability" if lie_within(outputs, 0, 1) else "binary_logit"
            raise ProjectError(
                "the network returns one number for an image, which tells two classes apart. "
                f"Run: {change_answer(num_classes=2, model_output=one)}"
            )
        if output.ndim != 1:
            shape = tuple(output.shape)
            raise ProjectError(
                f"the network returns numbers of shape {shape} for an image, not {NUM_CLASSES}"
                f"{'; let it end in .flatten(1)' if shape[1:].count(1) == len(shape) - 1 else ''}"
            )
        if len(output) != NUM_CLASSES:
            raise ProjectError(
                f"the network has {len(output)} classes, the project has {NUM_CLASSES}. "
                f"Run: {change_answer(num_classes=len(output))}"
            )
        if output.isnan().any() or output.isposinf().any():
            raise ProjectError("the network returns NaN or infinity; are the weights damaged?")
    if are_probabilities(outputs):
        raise ProjectError(
            "the network returns probabilities; the service expects scores before softmax. "
            f"Run: {change_answer(model_output='probabilities')}"
        )


def doubt(outputs: Sequence[torch.Tensor]) -> str:
    """Return why the outputs for many unlike images are hardly what was answered, or ""."""
    if lie_within(outputs, 0, 1):
        return (
            "all that the network returns lies between 0 and 1, as if each class had a sigmoid; "
            "the service expects scores before softmax. Run: "
            f"{change_answer(task='multi_label_classification', model_output='probabilities')}"
        )
    if lie_within(outputs, -1, 1) and not lie_within(outputs, -0.99, 0.99):
        return (
            "all that the network returns lies between -1 and 1, as if it ended in tanh; the "
            "service expects scores without limits, as they are before it"
        )
    return ""


def lie_within(outputs: Iterable[torch.Tensor], low: float, high: float) -> bool:
    """Tell whether all numbers are from `low` to `high`."""
    return all(bool(((x >= low) & (x <= high)).all()) for x in outputs)


def are_probabilities(outputs: Iterable[torch.Tensor]) -> bool:
    """Tell whether the numbers (classes,) for each image are positive and add up to about 1."""
    return all(bool((x > -0.01).all()) and abs(x.sum().item() - 1) < 0.01 for x in outputs)
