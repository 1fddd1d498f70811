# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the outputs of the network should look like, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from service import NUM_CLASSES
from tools.project import ProjectError, change_answer

# Of what `compare_scores` returns.
MIN_AGREEMENT = 0.99
MAX_DIFFERENCE = 0.02
# For people, after these numbers.
AGREEMENT = "of the images keep their best class"
DIFFERENCE = "is the largest change of a probability"


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is scores of all classes (classes,)."""
    outputs = list(outputs)
    for output in outputs:
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


def answers_for(outputs: int) -> dict[str, object]:
    """Return the answers that a network with so many outputs needs."""
    if outputs == 1:  # it tells two classes apart
        return {"num_classes": 2, "model_output": "binary_logit"}
    return {"num_classes": outputs}


def compare_scores(expected: torch.Tensor, found: torch.Tensor) -> tuple[float, float]:
    """Return how much two rows of probabilities (classes,) agree, from 0 to 1, and differ."""
    agreement = float(expected.argmax() == found.argmax())
    return agreement, (expected - found).abs().max().item()
