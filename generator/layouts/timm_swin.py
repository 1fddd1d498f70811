"""Swin Transformers of timm before 0.9: a stage ends in what now begins the next."""

from __future__ import annotations

import re

from generator.layouts import Plan, Shapes

STAGE = re.compile(r"(?<![^.])layers\.(\d+)\.downsample\.")
COMPUTED = re.compile(r"\.(relative_position_index|attn_mask)$")  # which the network makes anew


def plan(shapes: Shapes) -> tuple[Plan, str] | None:
    """Give the weights timm's names of today, as timm itself does for such files."""
    first = next((x for x in shapes if x.endswith("layers.0.downsample.reduction.weight")), None)
    if first is None:
        return None
    prefix = first.removesuffix("layers.0.downsample.reduction.weight")
    if f"{prefix}layers.0.blocks.0.attn.relative_position_bias_table" not in shapes:
        return None
    result: Plan = {}
    for name in shapes:
        if COMPUTED.search(name):
            continue
        new = STAGE.sub(lambda match: f"layers.{int(match[1]) + 1}.downsample.", name)
        if name.startswith(f"{prefix}head.") and ".fc." not in name:
            new = new.replace(f"{prefix}head.", f"{prefix}head.fc.", 1)
        result[new] = (name,)
    return result, "gave a Swin Transformer the names that timm has for it since 0.9"
