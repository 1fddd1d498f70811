# copier update rewrites this file, unless "What is yours" in README.md names it.
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


def unlike_images() -> list[bytes]:
    """Return PNG files that have little in common: dark, bright, smooth, sharp, of all colours."""
    width, height = SIZE
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    across = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    down = np.linspace(0, 255, height).astype(np.uint8)[:, None, None]
    tiles = np.kron(np.indices((6, 8)).sum(axis=0) % 2, np.ones((10, 10), dtype=int))[..., None]
    red, blue, yellow = ([230, 20, 10], [10, 30, 220], [250, 220, 20])
    shapes = [
        noise,
        noise // 8,
        255 - noise // 8,
        across * np.ones((height, 1, 3), dtype=np.uint8),
        down * np.array([1, 0, 0], dtype=np.uint8) + across * np.array([0, 0, 1], dtype=np.uint8),
        np.where(tiles, 0, 255) * np.ones(3, dtype=int),
        np.where(tiles, blue, yellow),
        np.where(across > down, red, [255, 255, 255]),
    ]
    return [encode(Image.fromarray(pixels.astype(np.uint8)), "PNG") for pixels in shapes]


SHAPES = ((60, 80), (64, 64), (97, 96), (150, 100), (240, 80), (64, 110))  # width and height


def shaped_images(content: bytes) -> dict[str, bytes]:
    """Return an encoded image in other shapes, as PNG files by size: the network takes them all."""
    with Image.open(io.BytesIO(content)) as image:
        upright = image.convert("RGB")
    return {
        f"PNG of {width} x {height}": encode(upright.resize((width, height)), "PNG")
        for width, height in SHAPES
    }
