# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From an image to the network's input, as it was in validation."""

import torch
from PIL import Image

from service.pixels import read_pixels, scale, standardize

IMAGE_SIZE = 28  # pixels, width and height
INTERPOLATION = "bilinear"
MEAN = [0.1307]
STD = [0.3081]


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the scaled image: uint8, (1, IMAGE_SIZE, IMAGE_SIZE)."""
    pixels = read_pixels(image)
    return scale(pixels, IMAGE_SIZE, IMAGE_SIZE, INTERPOLATION)


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 1, H, W) as float32, normalised with MEAN and STD."""
    return standardize(batch, MEAN, STD)
