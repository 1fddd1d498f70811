# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Small pictures of the kinds that clients send, to try an archive on."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZE = (80, 60)  # width and height in pixels
NOT_A_PICTURE = b"\xff\xd8\xff\xe0 this only begins like a JPEG"


def encode(image: Image.Image, file_format: str) -> bytes:
    """Return the picture as a file of the given format."""
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def sample_pictures() -> dict[str, bytes]:
    """Return encoded pictures by kind: every file format, every colour mode. Always the same."""
    width, height = SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    sixteen_bit = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    return {
        **{name: encode(picture, name) for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF")},
        "grayscale PNG": encode(picture.convert("L"), "PNG"),
        "PNG with transparency": encode(picture.convert("RGBA"), "PNG"),
        "grayscale PNG with transparency": encode(picture.convert("LA"), "PNG"),
        "palette PNG": encode(picture.convert("P"), "PNG"),
        "black-and-white PNG": encode(picture.convert("1"), "PNG"),
        "16-bit PNG": encode(sixteen_bit, "PNG"),
        "CMYK JPEG": encode(picture.convert("CMYK"), "JPEG"),
    }
