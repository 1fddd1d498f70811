# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Semantic segmentation: what an item is, and how outputs become predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import interpolate

from service.images import ItemError, decode_image
from service.preprocessing import IMAGE_SIZE, normalize, preprocess
from service.response import make_answers

__all__ = [
    "Item",
    "batches",
    "collate",
    "encode",
    "example",
    "normalize",
    "predictions",
    "prepare",
    "scores",
]

MAX_BATCH = 8  # images in a forward pass; requests may carry many


@dataclass(frozen=True)
class Item:
    """An image as the network takes it.

    Attributes:
        pixels: uint8 (3, H, W), of any height and width.
        size: Height and width in pixels of the image as it was sent, upright.
    """

    pixels: torch.Tensor
    size: tuple[int, int]


def example() -> Item:
    """Return a blank item, to warm up with."""
    size = (IMAGE_SIZE, IMAGE_SIZE * 4 // 3)
    return Item(torch.zeros(3, *size, dtype=torch.uint8), size)


def prepare(image: Image.Image) -> Item:
    """Return an opened image as an item."""
    upright = decode_image(image)
    size = (upright.height, upright.width)
    return Item(preprocess(upright), size)


def batches(items: Mapping[int, Item]) -> list[list[int]]:
    """Return which items, by their numbers, go through the network together: those of one size."""
    groups: dict[torch.Size, list[int]] = {}
    for number, item in items.items():
        groups.setdefault(item.pixels.shape, []).append(number)
    return [
        numbers[i : i + MAX_BATCH]
        for numbers in groups.values()
        for i in range(0, len(numbers), MAX_BATCH)
    ]


def collate(items: list[Item]) -> torch.Tensor:
    """Return a batch of items of one size: uint8 (N, 3, H, W)."""
    return torch.stack([item.pixels for item in items])


def scores(outputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs (N, classes, H, W) as they are: the best class of a pixel has the most."""
    return outputs


def predictions(scores: torch.Tensor, items: list[Item], labels: list[str]) -> list[Any]:
    """Return a prediction or an ItemError for each image of the scores (N, classes, H, W)."""
    nothing = ItemError("the network returns NaN or infinity for this image", 500)
    # A sum is quick, and finite only where all is; it may pass all bounds where all is finite, too.
    finite = [bool(x.sum().isfinite() or x.isfinite().all()) for x in scores]
    masks = [class_map(x, item.size) for x, item in zip(scores.cpu(), items, strict=True)]
    made = make_answers(masks, labels)
    return [prediction if ok else nothing for prediction, ok in zip(made, finite, strict=True)]


def class_map(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the best class of every pixel at another size: uint8 (height, width).

    The scores are scaled, as torchvision's networks scale theirs, and not the classes: borders stay
    smooth. One class at a time, for all together would take as many times the memory.

    Args:
        scores: (classes, H, W).
        size: Height and width in pixels.
    """
    best = torch.full(size, -torch.inf)
    classes = torch.zeros(size, dtype=torch.uint8)
    for index, plane in enumerate(scores):
        scaled = interpolate(plane[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        classes.masked_fill_(scaled > best, index)
        torch.maximum(best, scaled, out=best)
    return classes


def encode(content: Any) -> tuple[str, str]:
    """Return the body of a response, and its content type."""
    # ensure_ascii would turn labels such as 猫 into \u escapes.
    return json.dumps(content, ensure_ascii=False), "application/json"
