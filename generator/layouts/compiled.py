"""Modules inside of a network that torch.compile, FSDP or activation checkpointing wrapped."""

from __future__ import annotations

import re

from generator.layouts import Plan, Shapes

MARK = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def plan(shapes: Shapes) -> tuple[Plan, str] | None:
    """Take the wrappers' names out, unless one wraps the whole network: its prefix is found."""
    marked = {name: match.end() for name in shapes if (match := MARK.search(name))}
    prefixes = {name[:end] for name, end in marked.items()}
    others = [name for name, x in shapes.items() if name not in marked and len(x.shape) > 1]
    inner = any(MARK.search(name, end) for name, end in marked.items())
    if not marked or (len(prefixes) == 1 and not others and not inner):
        return None
    names = {name: MARK.sub("", name) for name in shapes}
    if len(set(names.values())) < len(names):
        return None
    return {new: (old,) for old, new in names.items()}, (
        f"took the wrappers out of {len(marked)} names, such as {next(iter(marked))}"
    )
