# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From boxes and keypoints to what a client reads."""

from typing import Any

import torch

KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


def make_answers(
    found: list[torch.Tensor], keypoints: list[torch.Tensor], labels: list[str]
) -> list[list[dict[str, Any]]]:
    """Return the objects in each image, best first, with boxes and keypoints in pixels.

    Args:
        found: Rows of x1, y1, x2, y2, score and label (n, 6), for each image.
        keypoints: x, y, whether it is visible, and score of each (n, 17, 4), for each image.
        labels: The names of the classes.
    """
    return [
        [
            entry(row, points, labels)
            for row, points in zip(rows.tolist(), of_image.tolist(), strict=True)
        ]
        for rows, of_image in zip(found, keypoints, strict=True)
    ]


def entry(row: list[float], points: list[list[float]], labels: list[str]) -> dict[str, Any]:
    """Return an object of a row and its keypoints, as `make_answers` has them."""
    *box, score, index = row
    return {
        "label": labels[int(index)],
        "index": int(index),
        "score": score,
        "box": box,
        "keypoints": [
            {"name": name, "x": x, "y": y, "score": of_point}
            for name, (x, y, _visible, of_point) in zip(KEYPOINTS, points, strict=True)
        ],
    }
