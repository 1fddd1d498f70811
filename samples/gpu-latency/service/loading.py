# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import torch

# torch._inductor.aoti_load_package adds to it nothing but the compiler's imports, of seconds.
from torch._C._aoti import AOTIModelPackageLoader


class CompiledModel:
    """The network of a package of AOTInductor's, made for the GPU of the machine that built it."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.loader = AOTIModelPackageLoader(str(path), "model", False, 1, device.index)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for float32 images (N, 3, H, W)."""
        (output,) = self.loader.run([images.contiguous()])
        return output


def load_model(path: Path, device: torch.device) -> CompiledModel:
    """Return the network at `path`, ready to serve on a GPU."""
    return CompiledModel(path, device)
