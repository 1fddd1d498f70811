# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From a picture to the network's input, as it was in validation."""

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

RESIZE_SIZE = 232  # pixels, shorter side
IMAGE_SIZE = 224  # pixels, the centre square that is kept
INTERPOLATION = InterpolationMode.BILINEAR
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def preprocess(image: Image.Image) -> torch.Tensor:
    """Return the centre of the scaled picture: uint8, (3, IMAGE_SIZE, IMAGE_SIZE)."""
    image = F.resize(image, [RESIZE_SIZE], INTERPOLATION)
    return F.pil_to_tensor(F.center_crop(image, [IMAGE_SIZE]))


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a uint8 batch (N, 3, H, W) as float32, normalised with MEAN and STD."""
    return F.normalize(F.convert_image_dtype(batch), MEAN, STD)
