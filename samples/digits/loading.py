# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that answers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from model import build_model


class Scores(nn.Module):
    """A network that may return more than its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, classes): the first of a tuple, "logits" of a dict, or all there is.

        Raises:
            TypeError: A dict has no "logits".
        """
        output = self.network(images)
        if isinstance(output, dict) and "logits" not in output:
            raise TypeError(f'the network returns {list(output)}; expected "logits" among them')
        if isinstance(output, dict):
            return output["logits"]
        return output[0] if isinstance(output, tuple | list) else output


def load_model(path: Path, num_classes: int) -> nn.Module:
    """Return the network with the weights of the state_dict at `path`, ready to serve."""
    model = build_model(num_classes)
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    model.load_state_dict(weights, assign=True)
    return Scores(model).eval()
