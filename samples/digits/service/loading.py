# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from service import NUM_CLASSES
from service.model import build_model


class Output(nn.Module):
    """A network that may return more than its output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, num_classes), which a network may have in a dict or a tuple.

        Raises:
            TypeError: A dict has no "logits".
        """
        output = self.network(images)
        if isinstance(output, dict):
            if "logits" not in output:
                raise TypeError(f'the network returns {list(output)}; no "logits" among them')
            return output["logits"]
        return output[0] if isinstance(output, tuple | list) else output


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the network with the weights of the state_dict at `path`, ready to serve."""
    model = build_model(NUM_CLASSES)
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location=device, weights_only=True, mmap=True)
    model.load_state_dict(weights, assign=True)
    return Output(model).eval()
