# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Text classification: what an item is, and how outputs become predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from service.response import make_answers
from service.texts import ItemError, Text, tokenize, tokenizer

MAX_BATCH = 32  # texts in a forward pass; requests may carry many
MAX_BATCH_TOKENS = 16_384  # in a forward pass, which takes memory for each

Item = torch.Tensor  # int64 (2, length): the numbers of the tokens, and the sentence of each


def example() -> Item:
    """Return an item, to warm up with."""
    return prepare(Text("This is one of many."))


def prepare(text: Text) -> Item:
    """Return a text as an item."""
    return tokenize(text, tokenizer())


def batches(items: Mapping[int, Item]) -> list[list[int]]:
    """Return which items, by their numbers, go through the network together: those of like length.

    What shorter ones are filled up with is computed, too, though it changes no prediction.
    """
    found: list[list[int]] = []
    for number in sorted(items, key=lambda number: items[number].shape[1]):
        length = items[number].shape[1]
        room = min(MAX_BATCH, MAX_BATCH_TOKENS // length)
        if found and len(found[-1]) < room and length <= 1.5 * items[found[-1][0]].shape[1]:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def collate(items: list[Item]) -> torch.Tensor:
    """Return a batch: int64 (N, 3, length).

    These are the tokens; 1 where there is one, 0 where a text is filled up; the sentences.
    """
    batch = torch.zeros(len(items), 3, max(item.shape[1] for item in items), dtype=torch.int64)
    for row, item in zip(batch, items, strict=True):
        length = item.shape[1]
        row[0, :length], row[2, :length] = item
        row[1, :length] = 1
    return batch


def normalize(batch: torch.Tensor) -> torch.Tensor:
    """Return a batch as the network takes it: as it is."""
    return batch


def scores(outputs: torch.Tensor) -> torch.Tensor:
    """Return probabilities (N, classes), rows that add up to 1, for outputs (N, classes)."""
    return outputs.softmax(dim=1)


def predictions(scores: torch.Tensor, items: list[Item], labels: list[str]) -> list[Any]:
    """Return a prediction or an ItemError for each row of the probabilities (N, classes)."""
    finite = scores.isfinite().all(dim=1).tolist()
    nothing = ItemError("the network returns NaN or infinity for this text", 500)
    made = make_answers(scores.cpu(), labels)
    return [prediction if ok else nothing for prediction, ok in zip(made, finite, strict=True)]


def encode(content: Any) -> tuple[str, str]:
    """Return the body of a response, and its content type."""
    # ensure_ascii would turn labels such as 猫 into \u escapes.
    return json.dumps(content, ensure_ascii=False), "application/json"
