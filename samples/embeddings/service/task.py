# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Feature extraction: what an item is, and how outputs become predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

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

MAX_BATCH = 32  # images in a forward pass; requests may carry many

Item = torch.Tensor  # uint8 (3, IMAGE_SIZE, IMAGE_SIZE)


def example() -> Item:
    """Return a blank item, to warm up with."""
    return torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)


def prepare(image: Image.Image) -> Item:
    """Return an opened image as an item."""
    return preprocess(decode_image(image))


def batches(items: Mapping[int, Item]) -> list[list[int]]:
    """Return which items, by their numbers, go through the network together."""
    numbers = list(items)
    return [numbers[i : i + MAX_BATCH] for i in range(0, len(numbers), MAX_BATCH)]


def collate(items: list[Item]) -> torch.Tensor:
    """Return a batch: uint8 (N, 3, IMAGE_SIZE, IMAGE_SIZE)."""
    return torch.stack(items)


def scores(outputs: torch.Tensor) -> torch.Tensor:
    """Return the embeddings (N, features) at length 1."""
    return functional.normalize(outputs, dim=1)


def predictions(scores: torch.Tensor, items: list[Item], labels: list[str]) -> list[Any]:
    """Return a prediction or an ItemError for each embedding (N, features); there are no labels."""
    finite = scores.isfinite().all(dim=1).tolist()
    nothing = ItemError("the network returns NaN or infinity for this image", 500)
    made = make_answers(scores.cpu())
    return [prediction if ok else nothing for prediction, ok in zip(made, finite, strict=True)]


def encode(content: Any) -> tuple[str, str]:
    """Return the body of a response, and its content type."""
    # ensure_ascii would turn labels such as 猫 into \u escapes.
    return json.dumps(content, ensure_ascii=False), "application/json"
