# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From an opened image to its pixels, as uint8.

The pixels are Pillow's and torchvision's own, but for one grey level at most.
"""

from __future__ import annotations

import contextlib

import numpy as np
import simplejpeg
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch.nn.functional import interpolate


def read_pixels(image: Image.Image) -> torch.Tensor:
    """Return the pixels of an image in mode "RGB": uint8, (3, height, width)."""
    if isinstance(image, JpegImageFile) and image.fp:  # not read yet
        # What is damaged is left to Pillow, which reads more, or says what is wrong.
        with contextlib.suppress(ValueError):
            image.fp.seek(0)
            pixels = simplejpeg.decode_jpeg(image.fp.read(), "RGB", strict=True)
            return torch.from_numpy(pixels).permute(2, 0, 1)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def scale(pixels: torch.Tensor, height: int, width: int, mode: str) -> torch.Tensor:
    """Return the image (C, H, W) at another size.

    Args:
        mode: "bilinear", "bicubic" or "nearest-exact"; the first two blur what gets smaller, as
            Pillow does.
    """
    if pixels.shape[1:] == (height, width):
        return pixels
    antialias = mode != "nearest-exact"
    return interpolate(pixels[None], (height, width), mode=mode, antialias=antialias)[0]


def scale_shorter_side(pixels: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    """Return the image (C, H, W) with `size` pixels on its shorter side, not distorted."""
    height, width = pixels.shape[1:]
    shorter = min(height, width)
    return scale(pixels, size * height // shorter, size * width // shorter, mode)


def cut_centre(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Return the square of `size` pixels in the middle of an image (C, H, W)."""
    height, width = pixels.shape[1:]
    top, left = round((height - size) / 2), round((width - size) / 2)
    return pixels[:, top : top + size, left : left + size]


def standardize(batch: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Return a uint8 batch (N, C, H, W) as float32: (x / 255 - mean) / std, by channel."""
    means, stds = torch.tensor([mean, std], device=batch.device)[..., None, None]
    return batch.float().div_(255).sub_(means).div_(stds)
