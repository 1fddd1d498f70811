# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from torch import nn


class OnnxModel(nn.Module):
    """The network of an ONNX file, which may have been exported for one image at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options)
        (self.images,) = self.session.get_inputs()
        batch = self.images.shape[0]  # a name if it may be any number
        self.batch = batch if isinstance(batch, int) else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for images (N, 3, H, W)."""
        parts = images.split(self.batch or len(images))
        outputs = [self.session.run(None, {self.images.name: part.numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(part) for part in outputs])


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the ONNX network at `path`, ready to serve."""
    return OnnxModel(path)
