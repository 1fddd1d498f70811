# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From an image to the network's input, which scales and normalises it itself."""

import torch
from PIL import Image

from service.pixels import read_pixels


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the whole image: uint8, (3, height, width)."""
    return read_pixels(image)


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 3, H, W) as float32 between 0 and 1."""
    return batch.float().div_(255)
