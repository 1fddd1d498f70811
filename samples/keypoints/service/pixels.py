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


def read_pixels(image: Image.Image) -> torch.Tensor:
    """Return the pixels of an image in mode "RGB": uint8, (3, height, width)."""
    if isinstance(image, JpegImageFile) and image.fp:  # not read yet
        # What is damaged is left to Pillow, which reads more, or says what is wrong.
        with contextlib.suppress(ValueError):
            image.fp.seek(0)
            pixels = simplejpeg.decode_jpeg(image.fp.read(), "RGB", strict=True)
            return torch.from_numpy(pixels).permute(2, 0, 1)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
