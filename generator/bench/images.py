"""The images that are sent, and how they become the input of a network."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.errors import UserError
from generator.rendering import installing

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

SIZES = ("640x480", "1920x1080", "4000x3000")
COUNT = 8  # images of each size
EXAMPLES = 64  # images of 640 x 480 that int8 is fitted to, and other backends compared on
SIDE = 224  # pixels
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet
GRAIN = 1.5  # grey levels of noise, as a sensor has; without, a scaled photograph is too easy

# What servers other than ours are given, and what is right.
TRANSFORMS = f"""\
from torchvision import transforms

MODE = "RGB"
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop({SIDE}),
        transforms.ToTensor(),
        transforms.Normalize(mean={MEAN}, std={STD}),
    ]
)
"""


def open_image(path: Path) -> Image.Image:
    """Return an image in RGB."""
    from PIL import Image

    return Image.open(path).convert("RGB")


def to_input(image: Image.Image) -> torch.Tensor:
    """Return an image in RGB as float32 (3, H, W), normalised as for ImageNet."""
    from torchvision.transforms import functional

    normal: torch.Tensor = functional.normalize(functional.to_tensor(image), MEAN, STD)
    return normal


def read(paths: Sequence[Path], transforms: str = TRANSFORMS) -> torch.Tensor:
    """Return images as float32 (N, C, H, W), by torchvision's transforms on Pillow's images."""
    import torch
    from PIL import Image

    place: dict[str, Any] = {}
    exec(transforms, place)
    transform: Callable[[Image.Image], torch.Tensor] = place["transform"]
    return torch.stack([transform(Image.open(path).convert(place["MODE"])) for path in paths])


def settle(network: nn.Module, run: Callable[[], object]) -> None:
    """Give a network such statistics as training leaves, else signals die or explode; then eval."""
    import torch
    from torch import nn

    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        run()
    network.eval()


def load_photographs() -> list[Image.Image]:
    """Return COUNT photographs that differ."""
    from PIL import Image

    try:
        from skimage import data
    except ImportError:
        raise UserError(
            f"the photographs come from scikit-image: {installing(['scikit-image'])}"
        ) from None
    sources = [
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket()),
        *(data.stereo_motorcycle()[0], data.hubble_deep_field(), data.retina()),
        data.immunohistochemistry(),
    ]
    return [Image.fromarray(pixels) for pixels in sources[:COUNT]]


def make_images(photographs: Sequence[Image.Image], size: str, folder: Path) -> list[Path]:
    """Save photographs in a size, such as "640x480", as JPEG of quality 90."""
    import numpy as np
    from PIL import Image, ImageOps

    width, height = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    paths = []
    folder.mkdir()
    for number, photograph in enumerate(photographs):
        image = ImageOps.fit(photograph, (width, height), Image.Resampling.LANCZOS)
        grain = rng.standard_normal((height, width, 3), dtype=np.float32) * GRAIN
        grainy = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number:02}.jpg")
        Image.fromarray(grainy).save(paths[-1], quality=90)
    return paths


def make_examples(photographs: Sequence[Image.Image], folder: Path) -> None:
    """Save EXAMPLES parts of photographs, each of them in turn."""
    rng = random.Random(0)
    parts = []
    for number in range(EXAMPLES):
        photograph = photographs[number % len(photographs)]
        share = rng.uniform(0.6, 0.9)
        width, height = (round(share * side) for side in photograph.size)
        left = rng.randint(0, photograph.width - width)
        top = rng.randint(0, photograph.height - height)
        parts.append(photograph.crop((left, top, left + width, top + height)))
    make_images(parts, "640x480", folder)
