"""MMPretrain's ResNets: those of torchvision, as backbone and head.fc."""

from __future__ import annotations

import re

from generator.layouts import Plan, Shapes

NAME = re.compile(r"backbone\.((conv1|bn1|layer[1-4])\..+)|head\.(fc\.(?:weight|bias))")


def plan(shapes: Shapes) -> tuple[Plan, str] | None:
    """Give the weights torchvision's names, if there are no others.

    A ResNet that computes something else, such as its variants with a deep stem, has other names.
    """
    matches = {name: NAME.fullmatch(name) for name in shapes}
    if not all(matches.values()) or not {"backbone.conv1.weight", "head.fc.weight"} <= set(shapes):
        return None
    names = {name: match[1] or match[3] for name, match in matches.items() if match}
    return {new: (old,) for old, new in names.items()}, (
        "gave a ResNet of MMPretrain (style='pytorch') torchvision's names, without backbone. and "
        "head."
    )
