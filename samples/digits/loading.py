"""From the file in the archive to the network that answers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from model import build_model


def load_model(path: Path, num_classes: int, device: torch.device) -> nn.Module:
    """Return the network with the weights of the state_dict at `path`, ready to serve."""
    model = build_model(num_classes)
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location=device, weights_only=True, mmap=True)
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()
