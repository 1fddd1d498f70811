# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the outputs of the network should look like, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from service import NUM_FEATURES
from tools.project import ProjectError, change_answer


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is an embedding (NUM_FEATURES,)."""
    for output in outputs:
        if output.ndim != 1:
            shape = tuple(output.shape)
            raise ProjectError(
                f"the network returns numbers of shape {shape} for an image, not "
                f"({NUM_FEATURES},); let it average over the image, or end in .flatten(1)"
            )
        if len(output) != NUM_FEATURES:
            raise ProjectError(
                f"the network returns {len(output)} numbers for an image, not {NUM_FEATURES} as "
                "resnet50 without its last layer. For another network, run: "
                f"{change_answer(architecture='custom', num_classes=len(output))}"
            )
        if not output.isfinite().all():
            raise ProjectError("the network returns NaN or infinity; are the weights damaged?")


def answers_for(outputs: int) -> dict[str, object]:
    """Return the answers that a network with so many outputs needs."""
    return {"num_classes": outputs}
