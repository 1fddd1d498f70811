# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from torch import nn


class OutputKeyError(LookupError):
    """The network returns several tensors, and it is not known which of them is its output.

    Attributes:
        shapes: The shape of each by its name.
    """

    def __init__(self, shapes: dict[str, tuple[int | str, ...]]) -> None:
        self.shapes = shapes
        names = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        super().__init__(f"the network returns {names}")


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
        shapes = {x.name: tuple(x.shape) for x in self.session.get_outputs()}
        self.output = "logits" if len(shapes) > 1 else next(iter(shapes))
        if self.output not in shapes:
            raise OutputKeyError(shapes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, num_classes) for images (N, 3, H, W)."""
        outputs = []
        for part in images.split(self.batch or len(images)):
            (array,) = self.session.run([self.output], {self.images.name: part.numpy()})
            outputs.append(torch.from_numpy(array))
        return torch.cat(outputs)


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the ONNX network at `path`, ready to serve."""
    return OnnxModel(path)
