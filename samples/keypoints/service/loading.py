# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from service import NUM_CLASSES
from service.model import build_model


class Output(nn.Module):
    """A detector of keypoints that returns one tensor.

    Attributes:
        max_detections: The most objects in an image.
        heads: The modules whose numbers objects and their keypoints are found by.
        is_finite: Whether they were numbers for the last image.
    """

    max_detections = 100
    heads = ("rpn.head", "roi_heads.box_predictor", "roi_heads.keypoint_predictor")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.is_finite = True
        for name in self.heads:
            network.get_submodule(name).register_forward_hook(self.check)

    def check(self, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
        """Note whether the output of a head has NaN or infinity: what it finds would be wrong."""
        for value in outputs:
            tensors = value if isinstance(value, list) else [value]
            self.is_finite &= all(bool(x.isfinite().all()) for x in tensors)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return rows of x1, y1, x2, y2, score, label and keypoints (N, max_detections, R).

        The best objects come first. Each keypoint is x, y, whether it is visible, and its score.
        Boxes and keypoints are in pixels of the images (N, 3, H, W). Rows that are left over hold
        -1; all are NaN for an image whose numbers are. Each image is looked at alone: none changes
        which objects of another are kept.
        """
        return torch.stack([self.rows(image) for image in images])

    def rows(self, image: torch.Tensor) -> torch.Tensor:
        """Return the rows (max_detections, R) of an image (3, H, W)."""
        self.is_finite = True
        (found,) = self.network([image])
        keypoints = torch.cat([found["keypoints"], found["keypoints_scores"][..., None]], dim=2)
        columns = [found["boxes"], found["scores"][:, None], found["labels"][:, None]]
        kept = torch.cat([*columns, keypoints.flatten(1)], dim=1)
        rows = image.new_full((self.max_detections, kept.shape[1]), -1)
        rows[: len(kept)] = kept
        if not self.is_finite:
            rows.fill_(torch.nan)
        return rows


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the network with the weights of the state_dict at `path`, ready to serve."""
    with on_meta():
        model = build_model(NUM_CLASSES)
    # The tensors stay in the file and are read when they are needed; workers share the memory.
    weights = torch.load(path, map_location=device, weights_only=True, mmap=True)
    model.load_state_dict(weights, assign=True)
    return Output(model).eval()


@contextmanager
def on_meta() -> Iterator[None]:
    """Give the networks that are built meanwhile no weights, only their shapes.

    They need no memory, and no time for random weights that a state_dict replaces at once.
    """

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> Any:
        return None if parameter is None else nn.Parameter(parameter.to("meta"))

    def buffer_to_meta(_module: nn.Module, _name: str, buffer: torch.Tensor | None) -> Any:
        return None if buffer is None else buffer.to("meta")

    hooks = [  # of buffers as well: a constructor may try its backbone
        register_module_parameter_registration_hook(to_meta),
        register_module_buffer_registration_hook(buffer_to_meta),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
