"""Small images of the kinds that clients send, to try an archive on."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZE = (80, 60)  # width and height in pixels
NOT_AN_IMAGE = b"\xff\xd8\xff\xe0 this only begins like a JPEG"


def encode(image: Image.Image, file_format: str) -> bytes:
    """Return the image as a file of the given format."""
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def sample_images() -> dict[str, bytes]:
    """Return encoded images by kind: every file format, every colour mode. Always the same."""
    width, height = SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    return {
        **{name: encode(image, name) for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF")},
        "grayscale PNG": encode(image.convert("L"), "PNG"),
        "PNG with transparency": encode(image.convert("RGBA"), "PNG"),
        "grayscale PNG with transparency": encode(image.convert("LA"), "PNG"),
        "palette PNG": encode(image.convert("P"), "PNG"),
        "black-and-white PNG": encode(image.convert("1"), "PNG"),
        "CMYK JPEG": encode(image.convert("CMYK"), "JPEG"),
    }
