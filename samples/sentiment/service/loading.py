# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from service.model import read_network


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the network with the weights at `path`, beside its config.json, ready to serve."""
    with on_meta():
        network = read_network(path.with_name("config.json"))
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location=device, weights_only=True, mmap=True)
    network.load_state_dict(weights, assign=True)
    return network.eval()


@contextmanager
def on_meta() -> Iterator[None]:
    """Give the networks that are built meanwhile no weights, only their shapes.

    They need no memory, and no time for random weights that a state_dict replaces at once.
    """

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> Any:
        return None if parameter is None else nn.Parameter(parameter.to("meta"))

    hook = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        hook.remove()
