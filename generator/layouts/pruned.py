"""torch.nn.utils.prune: weight_orig and weight_mask, whose product is the weight."""

from __future__ import annotations

from generator.layouts import Plan, Shapes


def plan(shapes: Shapes) -> tuple[Plan, str] | None:
    """Multiply each tensor with its mask, as the network does before it computes."""
    pairs = {
        name.removesuffix("_orig"): (name, f"{name.removesuffix('_orig')}_mask")
        for name in shapes
        if name.endswith("_orig")
    }
    pairs = {
        name: (orig, mask)
        for name, (orig, mask) in pairs.items()
        if mask in shapes and shapes[mask].shape == shapes[orig].shape and name not in shapes
    }
    if not pairs:
        return None
    used = {name for pair in pairs.values() for name in pair}
    rest: Plan = {name: (name,) for name in shapes if name not in used}
    return rest | pairs, f"multiplied {len(pairs)} pruned tensors with their masks"
