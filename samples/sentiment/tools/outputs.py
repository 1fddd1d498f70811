# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the outputs of the network should look like, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from service import NUM_CLASSES
from tools.project import ProjectError, change_answer


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is scores of all classes (classes,)."""
    for output in outputs:
        if output.shape != (NUM_CLASSES,):
            raise ProjectError(
                f"the network returns numbers of shape {tuple(output.shape)} for a text, not "
                f"{NUM_CLASSES}. Run: {change_answer(num_classes=output.numel())}"
            )
        if not output.isfinite().all():
            raise ProjectError("the network returns NaN or infinity; are the weights damaged?")
