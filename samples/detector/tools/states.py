# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The state_dicts in what a training checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find_states(content: Any, place: str = "") -> dict[str, Mapping[str, Any]]:
    """Return the state_dicts in a training checkpoint by their place: "", "model", "ema.model".

    A pickled network counts as one: its parameters and buffers under their usual names. What people
    put among the weights of a network, such as the values of its classes, is left out.
    """
    if isinstance(content, Mapping) and is_state(content):
        return {place: content}
    if hasattr(content, "_modules") and (state := state_of(content)):
        return {place: state}
    states: dict[str, Mapping[str, Any]] = {}
    if isinstance(content, Mapping) and place.count(".") < 3:
        for key, value in content.items():
            if isinstance(key, str) and "optim" not in key:
                states |= find_states(value, f"{place}.{key}" if place else key)
        if not states and is_state(weights := without_extras(content)):
            return {place: weights}
    return states


def without_extras(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a state_dict without what is no tensor, and belongs to none of its modules."""
    if not any("." in str(key) and hasattr(x, "shape") for key, x in content.items()):
        return {}
    return {key: x for key, x in content.items() if hasattr(x, "shape") or "." in str(key)}


def is_state(content: Mapping[Any, Any]) -> bool:
    """Tell whether this is a state_dict: tensors by name, at least one called a weight."""
    tensors = all(isinstance(key, str) and hasattr(x, "shape") for key, x in content.items())
    return tensors and any("weight" in key for key in content)


def state_of(module: Any, prefix: str = "") -> dict[str, Any]:
    """Return the parameters and buffers of a module, and of those in it, by their dotted names."""
    state = {}
    own = {**(module._parameters or {}), **(module._buffers or {})}
    for name, tensor in own.items():
        if tensor is not None and name not in getattr(module, "_non_persistent_buffers_set", ()):
            state[prefix + name] = tensor
    for name, child in module._modules.items():
        if child is not None:
            state |= state_of(child, f"{prefix}{name}.")
    return state
