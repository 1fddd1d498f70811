# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From a picture to the network's input, as it was in validation."""

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

IMAGE_SIZE = 28  # pixels, width and height
INTERPOLATION = InterpolationMode.BILINEAR
MEAN = [0.1307]
STD = [0.3081]


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the scaled picture: uint8, (1, IMAGE_SIZE, IMAGE_SIZE)."""
    return F.pil_to_tensor(F.resize(image, [IMAGE_SIZE, IMAGE_SIZE], INTERPOLATION))


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 1, H, W) as float32, normalised with MEAN and STD."""
    return F.normalize(F.convert_image_dtype(batch), MEAN, STD)
