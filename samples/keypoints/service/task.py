# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Keypoint detection: what an item is, and how outputs become predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from service.images import ItemError, decode_image
from service.preprocessing import normalize, preprocess
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

Item = torch.Tensor  # uint8 (3, H, W), of any height and width: the whole image, upright


def example() -> Item:
    """Return a blank item, to warm up with."""
    return torch.zeros(3, 480, 640, dtype=torch.uint8)


def prepare(image: Image.Image) -> Item:
    """Return an opened image as an item."""
    return preprocess(decode_image(image))


def batches(items: Mapping[int, Item]) -> list[list[int]]:
    """Return which items, by their numbers, go through the network together: each by itself."""
    return [[number] for number in items]


def collate(items: list[Item]) -> torch.Tensor:
    """Return a batch of items of one size: uint8 (N, 3, H, W)."""
    return torch.stack(items)


def scores(outputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs as they are: rows of `Output` in loading.py (N, max_detections, R)."""
    return outputs


def predictions(scores: torch.Tensor, items: list[Item], labels: list[str]) -> list[Any]:
    """Return a prediction or an ItemError for each image of the rows (N, max_detections, R)."""
    nothing = ItemError("the network returns NaN or infinity for this image", 500)
    finite = scores.isfinite().flatten(1).all(dim=1).tolist()
    found = [rows[rows[:, 4] >= 0] for rows in scores.cpu()]
    keypoints = [rows[:, 6:].unflatten(1, (-1, 4)) for rows in found]
    made = make_answers([rows[:, :6] for rows in found], keypoints, labels)
    return [prediction if ok else nothing for prediction, ok in zip(made, finite, strict=True)]


def encode(content: Any) -> tuple[str, str]:
    """Return the body of a response, and its content type."""
    # ensure_ascii would turn labels such as 猫 into \u escapes.
    return json.dumps(content, ensure_ascii=False), "application/json"
