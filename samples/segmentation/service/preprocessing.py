# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From an image to the network's input, as it was in validation."""

import torch
from PIL import Image

from service.pixels import read_pixels, scale_shorter_side, standardize

IMAGE_SIZE = 520  # pixels, shorter side
INTERPOLATION = "bilinear"
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the whole image, scaled: uint8, (3, H, W), the smaller of both IMAGE_SIZE."""
    pixels = read_pixels(image)
    return scale_shorter_side(pixels, IMAGE_SIZE, INTERPOLATION)


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 3, H, W) as float32, normalised with MEAN and STD."""
    return standardize(batch, MEAN, STD)
