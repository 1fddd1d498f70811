# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that answers."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from torch import nn


class OnnxModel(nn.Module):
    """The network of an ONNX file, which may have been exported for one picture at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options)
        (self.pictures,) = self.session.get_inputs()
        batch = self.pictures.shape[0]  # a name if it may be any number
        self.batch = batch if isinstance(batch, int) else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, classes) for pictures (N, 3, H, W)."""
        parts = images.split(self.batch or len(images))
        scores = [self.session.run(None, {self.pictures.name: part.numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(part) for part in scores])


def load_model(path: Path) -> nn.Module:
    """Return the ONNX network at `path`, ready to serve."""
    return OnnxModel(path)
