# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From probabilities to what a client reads."""

from typing import Any

import torch

THRESHOLDS = 0.5  # probability from which on an image has a class


def make_answers(probabilities: torch.Tensor, labels: list[str]) -> list[list[dict[str, Any]]]:
    """Return the classes of every row that reach their thresholds, the most probable first.

    Args:
        probabilities: (N, C), each from 0 to 1.
        labels: The C names.
    """
    answers = []
    for row, reached in zip(probabilities, probabilities >= THRESHOLDS, strict=True):
        indices = row.argsort(descending=True)
        answers.append(
            [
                {"label": labels[index], "index": index, "probability": row[index].item()}
                for index in indices[reached[indices]].tolist()
            ]
        )
    return answers
