"""The quick way from a file to pixels, against Pillow's and torchvision's own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, functional

from conftest import Project

PRESETS: dict[str, dict[str, Any]] = {
    "crop": {"architecture": "resnet18"},
    "GPU": {"architecture": "resnet18", "accelerator": "cuda", "decode": "gpu"},
    "grayscale": {"architecture": "custom", "image_size": 28},
    "bicubic": {
        "transforms": "custom",
        "resize_size": 240,
        "image_size": 224,
        "interpolation": "bicubic",
    },
    "nearest": {"transforms": "custom", "image_size": 96, "interpolation": "nearest"},
    "stretch": {
        "transforms": "custom",
        "resize_mode": "stretch",
        "resize_size": 130,
        "image_size": 96,
    },
}
# Scaled down and up, upright and lying, odd sides.
SIZES = ((640, 480), (333, 777), (1001, 257), (40, 60), (97, 96))


def reference(image: Image.Image, name: str) -> torch.Tensor:
    """Return the pixels as torchvision's transforms give them on Pillow's image."""
    image = ImageOps.exif_transpose(image)
    answers = PRESETS[name]
    if name == "grayscale":
        return functional.pil_to_tensor(functional.resize(image.convert("L"), [28, 28]))
    image = image.convert("RGB")
    if name in ("crop", "GPU"):
        return functional.pil_to_tensor(
            functional.center_crop(functional.resize(image, [256]), [224])
        )
    mode = InterpolationMode(answers.get("interpolation", "bilinear"))
    size = answers.get("resize_size", answers["image_size"])
    sides = [size, size] if name == "stretch" else [size]
    image = functional.resize(image, sides, mode)
    return functional.pil_to_tensor(functional.center_crop(image, [answers["image_size"]]))


def files(folder: Path, photograph: Image.Image) -> list[Path]:
    """Write images of many sizes and ways to write them, and return the files."""
    made: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, file_format: str, **options: Any) -> None:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        made[name] = buffer.getvalue()

    for width, height in SIZES:
        image = photograph.resize((width, height), Image.Resampling.LANCZOS)
        add(f"{width}x{height}.jpg", image, "JPEG", quality=90)
    image = photograph.resize((301, 217))
    for sampling in (0, 1, 2):
        add(f"sampling {sampling}.jpg", image, "JPEG", subsampling=sampling)
    add("progressive.jpg", image, "JPEG", progressive=True)
    add("bad quality.jpg", image, "JPEG", quality=5)
    add("gray.jpg", image.convert("L"), "JPEG")
    add("cmyk.jpg", image.convert("CMYK"), "JPEG")
    add("rgb.jpg", image, "JPEG", keep_rgb=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        add(f"orientation {orientation}.jpg", image, "JPEG", exif=exif)
    add("png.png", image, "PNG")
    add("palette.png", image.convert("P"), "PNG")
    add("webp.webp", image, "WEBP")
    # As a training's loader converts them: transparency is dropped, not blended.
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    for mode in ("RGBA", "LA", "1", "L"):
        add(f"{mode}.png", transparent.convert(mode), "PNG")
    add("transparent palette.png", image.convert("P"), "PNG", transparency=bytes(range(256)))
    add("transparent.webp", transparent, "WEBP")
    add("transparent.gif", image.convert("P"), "GIF", transparency=3)
    add("phone.jpg", image, "MPO", save_all=True, append_images=[image.resize((99, 99))])
    paths = []
    for name, content in made.items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


READ = """
import sys
from pathlib import Path
import torch
from service.images import decode_image, open_image
from service.preprocessing import preprocess
paths = [Path(x) for x in sys.argv[2:]]
images = {path.name: decode_image(open_image(path.read_bytes())) for path in paths}
torch.save({name: preprocess(image) for name, image in images.items()}, sys.argv[1])
"""


@pytest.mark.parametrize("name", PRESETS)
def test_pixels_are_those_of_torchvision_within_one_grey_level(
    name: str,
    copy_project: Callable[..., Project],
    photographs: list[Image.Image],
    tmp_path: Path,
) -> None:
    project = copy_project(**PRESETS[name])
    paths = files(tmp_path, photographs[0])
    found = read(project, tmp_path / "found.pt", paths)
    for path in paths:
        expected = reference(Image.open(path), name).int()
        difference = (found[path.name].int() - expected).abs()
        assert found[path.name].dtype == torch.uint8
        if name == "GPU" and torch.cuda.is_available():
            assert difference.float().mean() < 2, path.name
            continue
        # Where bicubic enlarges, both round numbers beyond 0 to 255 on the way.
        assert difference.max() <= (2 if name == "bicubic" else 1), path.name


def read(project: Project, target: Path, paths: list[Path]) -> dict[str, torch.Tensor]:
    """Return the pixels that a project makes of files, by their names."""
    result = project.run("-c", READ, str(target), *map(str, paths))
    assert result.returncode == 0, result.stderr
    return torch.load(target)


@pytest.mark.parametrize("answer", ["clip", "scale"])
def test_grayscale_of_16_bits_is_as_the_answer_says(
    answer: str,
    copy_project: Callable[..., Project],
    photographs: list[Image.Image],
    tmp_path: Path,
) -> None:
    values = np.array(photographs[0].convert("L"), dtype=np.uint16) * 3  # white from 85 on
    path = tmp_path / "gray.png"
    Image.fromarray(values).save(path)
    image = Image.open(path)
    assert image.mode == "I;16"
    if (
        answer == "scale"
    ):  # as cv2.imread has it; Pillow's convert, and so ImageFolder's loader, clips
        image = Image.fromarray((values >> 8).astype(np.uint8))
    project = copy_project(**PRESETS["crop"], sixteen_bit_gray=answer)
    found = read(project, tmp_path / "found.pt", [path])["gray.png"].int()
    assert (found - reference(image, "crop").int()).abs().max() <= 1
    assert len(found.unique()) > (1 if answer == "scale" else 100)


def test_a_draft_is_near(
    copy_project: Callable[..., Project], photographs: list[Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    photographs[0].resize((2400, 1600)).save(path, quality=90)
    found = read(copy_project(decode="draft"), tmp_path / "found.pt", [path])[path.name]
    difference = (found.int() - reference(Image.open(path), "crop").int()).abs().float()
    assert 0 < difference.max() < 30
    assert difference.mean() < 1


@pytest.mark.parametrize("preset", ["crop", "GPU"])
def test_a_damaged_jpeg_is_refused_as_pillow_refuses_it_or_read_as_pillow_reads_it(
    preset: str,
    copy_project: Callable[..., Project],
    photographs: list[Image.Image],
    tmp_path: Path,
) -> None:
    whole = tmp_path / "whole.jpg"
    photographs[0].resize((320, 240)).save(whole)
    data = whole.read_bytes()
    middle = len(data) // 2
    noise = np.random.default_rng(0).integers(0, 255, 40, dtype=np.uint8).tobytes()
    rest = b"trailing rubbish"
    code = """
import io, json, sys
from PIL import Image
from service.images import ItemError, decode_image, decoding, open_image
from service.preprocessing import preprocess
out = []
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    try:
        with decoding():
            pixels = preprocess(decode_image(open_image(data)))
        out.append(int(pixels.sum()))
    except ItemError as error:
        out.append(str(error))
print(json.dumps(out))
"""
    cases = {
        "truncated": data[:-500],
        "noise inside": data[:middle] + noise + data[middle + 40 :],
        "more behind": data + rest,
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    project = copy_project(**PRESETS[preset])
    result = project.run("-c", code, *(str(tmp_path / name) for name in cases))
    assert result.returncode == 0, result.stderr
    truncated, inside, behind = json.loads(result.stdout)
    assert "damaged" in truncated
    assert abs(inside - int(reference(Image.open(tmp_path / "noise inside"), "crop").sum())) < 9000
    assert abs(behind - int(reference(Image.open(whole), "crop").sum())) < 9000
