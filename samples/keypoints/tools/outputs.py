# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the outputs of the network should look like."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from service import NUM_CLASSES
from tools.project import ProjectError, change_answer

NUM_KEYPOINTS = 17


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is a box, score, label and keypoints (objects, R)."""
    for rows in outputs:
        if (count := (rows.shape[1] - 6) // 4) != NUM_KEYPOINTS:
            raise ProjectError(
                f"the network returns {count} keypoints, the project names {NUM_KEYPOINTS}. "
                f"Run: {change_answer(keypoint_names=count)}"
            )
        if not rows.isfinite().all():
            raise ProjectError("the network returns NaN or infinity; are the weights damaged?")
        found = rows[rows[:, 4] >= 0]
        if not len(found):
            continue
        boxes, scores, labels = found[:, :4], found[:, 4], found[:, 5]
        most = int(labels.max())
        if most >= NUM_CLASSES:
            raise ProjectError(
                f"the network returns class {most}, the project has {NUM_CLASSES}, from 0 on. "
                f"Run: {change_answer(num_classes=most + 1)}"
            )
        if scores.max() > 1.01:
            raise ProjectError(
                f"the network returns the score {scores.max():g}; it must be from 0 to 1"
            )
        if labels.min() < 0 or (labels != labels.round()).any():
            raise ProjectError(f"the network returns class {labels.min():g}; they are 0, 1, 2, ...")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ProjectError(
                "the network returns boxes that end before they begin; they must be x1, y1, x2, y2 "
                "in pixels, and not x, y, width, height"
            )


def answers_for(outputs: int) -> dict[str, object]:
    """Return the answers that a network with so many classes needs."""
    return {"num_classes": outputs}
