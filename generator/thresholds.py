"""What it takes for the most probable class to be what a threshold says."""

from __future__ import annotations

import math
from collections.abc import Sequence


def other_threshold(told: Sequence[float], classes: int | None, task: str) -> str:
    """Return what to know of a threshold where the most probable class is predicted, "" if nothing.

    Args:
        told: probabilities from which on a class was predicted, as a checkpoint has them.
        classes: how many numbers the network returns; None if that is not known.
        task: that predicts the most probable class.
    """
    if len(told) != 1 or told[0] == 0.5:
        return ""
    (limit,) = told
    why = f"a threshold of {limit:g}; task={task} predicts the most probable class"
    if classes in (1, 2):
        shift = math.log(limit / (1 - limit))
        change = f"{abs(shift):.4f} is {'added to' if shift < 0 else 'taken from'} the"
        where = "" if classes == 1 else " for the second class"
        why += (
            f", from 0.5 on. It predicts the same if {change} bias of its last layer{where} first; "
            "if 0.5 is right"
        )
    else:
        why += ", whatever its probability, which clients can compare. If that is right"
    return f"{why}: -d task={task}"
