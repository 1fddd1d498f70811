# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From an image to the network's input, as it was in validation."""

import torch
from PIL import Image

from service.pixels import cut_centre, read_pixels, scale_shorter_side, standardize

RESIZE_SIZE = 232  # pixels, shorter side
IMAGE_SIZE = 224  # pixels, the centre square that is kept
INTERPOLATION = "bilinear"
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the centre of the scaled image: uint8, (3, IMAGE_SIZE, IMAGE_SIZE)."""
    pixels = read_pixels(image)
    return cut_centre(scale_shorter_side(pixels, RESIZE_SIZE, INTERPOLATION), IMAGE_SIZE)


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 3, H, W) as float32, normalised with MEAN and STD."""
    return standardize(batch, MEAN, STD)
