"""Segmenters, which give each pixel of the photographs a class."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.bench import images

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

NAMES: tuple[str, ...] = ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large")
KIND = "segmenter"
CLASSES = 21
ARGUMENTS = ", weights_backbone=None"
# Through the network go as many pixels as TorchServe's image_segmenter keeps of an image: it scales
# the shorter side to 256 pixels and cuts out the middle, where a project keeps the whole image.
ANSWERS: dict[str, Any] = {
    "transforms": "custom",
    "image_size": images.SIDE,
    "resize_mode": "stretch",
    "mean": images.MEAN,
    "std": images.STD,
    "response_format": "png",
}
# Of the pixels; random weights leave many pixels between two classes, and rounding decides.
SAME_PIXELS = 0.97


def make(name: str, paths: Sequence[Path]) -> nn.Module:
    """Return a network with seeded weights.

    Args:
        name: As torchvision has it.
        paths: Images.
    """
    from torchvision.models import get_model

    network: nn.Module = get_model(
        name, weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=None
    )
    batch = images.read(paths[: images.COUNT])
    images.settle(network, lambda: network(batch))
    return network


def expected(network: nn.Module, paths: Sequence[Path]) -> list[Any]:
    """Return two masks of each image, as PNG in base64: of all of it, and of its middle."""
    import torch
    from torchvision.transforms.functional import resize

    masks = []
    for path in paths:
        image = images.open_image(path)
        whole = images.to_input(resize(image, [images.SIDE, images.SIDE]))[None]
        with torch.inference_mode():
            scores = network(whole)["out"]
            scaled = torch.nn.functional.interpolate(
                scores, image.size[::-1], mode="bilinear", align_corners=False
            )
            middle = network(images.read([path]))["out"]
        masks.append([encode(one[0].argmax(dim=0)) for one in (scaled, middle)])
    return masks


def encode(mask: torch.Tensor) -> str:
    """Return classes (H, W) as a grayscale PNG, in base64."""
    import torch
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(mask.to(torch.uint8).numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def decode(png: str) -> Image.Image:
    """Return the image of a PNG in base64."""
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(png)))


def is_right(prediction: Any, expected: Any) -> bool:
    """Tell whether nearly all pixels have the class that is expected.

    Args:
        prediction: {"mask": PNG in base64}, or rows of pixels, each [class, probability], as
            TorchServe's image_segmenter returns them.
        expected: What `expected` returned for the image.
    """
    import numpy as np

    if isinstance(prediction, dict):
        found = np.asarray(decode(prediction["mask"]))
    else:
        found = np.array(prediction)[..., 0]
    masks = (np.asarray(decode(png)) for png in expected)
    return any(
        mask.shape == found.shape and bool((mask == found).mean() >= SAME_PIXELS) for mask in masks
    )
