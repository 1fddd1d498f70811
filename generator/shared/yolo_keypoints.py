"""What a data.yaml of YOLO tells of keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def keypoints_in(settings: Mapping[str, Any]) -> list[str] | int | None:
    """Return the names of the keypoints of an object, else how many there are.

    Args:
        settings: What data.yaml holds: kpt_shape, such as [17, 3], and perhaps kpt_names, a list
            or one for each class, which must be the same.

    Returns:
        None if it tells of none.
    """
    names = settings.get("kpt_names")
    if isinstance(names, dict) and names:
        first, *others = names.values()
        names = first if all(other == first for other in others) else None
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    shape = settings.get("kpt_shape")
    return int(shape[0]) if isinstance(shape, list) and shape and shape[0].isdecimal() else None
