# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From probabilities to what a client reads."""

from typing import Any

import torch

TOP_K = 2


def make_answers(probabilities: torch.Tensor, labels: list[str]) -> list[list[dict[str, Any]]]:
    """Return the TOP_K classes of every row, best first.

    Args:
        probabilities: (N, C), rows that add up to 1.
        labels: The C names.
    """
    top = probabilities.topk(TOP_K)
    return [
        [
            {"label": labels[index], "index": index, "probability": probability}
            for index, probability in zip(indices, values, strict=True)
        ]
        for indices, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
