# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from service import NUM_CLASSES
from service.model import build_model


class OutputKeyError(LookupError):
    """The network returns several tensors, and it is not known which of them is its output.

    Attributes:
        shapes: The shape of each, by its key or its place.
    """

    def __init__(self, shapes: dict[str | int, tuple[int, ...]]) -> None:
        self.shapes = shapes
        names = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        super().__init__(f"the network returns {names or 'no tensor'}")


class Output(nn.Module):
    """A network that may return its output in a dict or a tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, num_classes).

        Raises:
            OutputKeyError: The network returns several tensors, none of them as "logits".
        """
        output = self.network(images)
        if not isinstance(output, torch.Tensor):
            items = enumerate(output) if isinstance(output, (list, tuple)) else ()
            named = output if isinstance(output, dict) else dict(items)
            tensors = {key: x for key, x in named.items() if isinstance(x, torch.Tensor)}
            name = "logits" if len(tensors) > 1 else next(iter(tensors), "logits")
            if name not in tensors:
                raise OutputKeyError({key: tuple(x.shape) for key, x in tensors.items()})
            output = tensors[name]
        return output


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the network with the weights of the state_dict at `path`, ready to serve."""
    model = build_model(NUM_CLASSES)
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location=device, weights_only=True, mmap=True)
    model.load_state_dict(weights, assign=True)
    return Output(model).eval()
