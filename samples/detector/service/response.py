# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From boxes to what a client reads."""

from typing import Any

import torch


def make_answers(found: list[torch.Tensor], labels: list[str]) -> list[list[dict[str, Any]]]:
    """Return the objects in each image, best first, with boxes in pixels.

    Args:
        found: Rows of x1, y1, x2, y2, score and label (n, 6), for each image.
        labels: The names of the classes.
    """
    return [
        [
            {"label": labels[int(index)], "index": int(index), "score": score, "box": box}
            for *box, score, index in rows.tolist()
        ]
        for rows in found
    ]
