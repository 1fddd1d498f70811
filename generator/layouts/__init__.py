"""Layouts in which other tools save weights, and how these become a plain state_dict: exactly.

A module here is for one layout. It defines `plan(shapes)`, which returns the names of the plain
state_dict, each with the tensors in the file whose product it is (mostly one), and what is done,
for people; or None if the file has another layout. No project reads these layouts: `new` and
`ts-template convert` write the plain file. Nothing in a pickle is run.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.errors import UserError
from generator.inspection.pickles import Tensor
from generator.inspection.refusals import INDEX

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, Tensor]
Plan = dict[str, tuple[str, ...]]


def plan_for(shapes: Shapes) -> tuple[Plan, list[str]]:
    """Return the plan for a state_dict, and what is done; no notes if it is plain."""
    whole: Plan = {name: (name,) for name in shapes}
    notes: list[str] = []
    for module in pkgutil.iter_modules(__path__):
        layout = importlib.import_module(f"{__name__}.{module.name}")
        found: tuple[Plan, str] | None = layout.plan(planned(shapes, whole))
        if found is not None:
            step, note = found
            whole = {name: sum((whole[x] for x in old), ()) for name, old in step.items()}
            notes.append(note)
    return whole, notes


def planned(shapes: Shapes, plan: Plan) -> dict[str, Tensor]:
    """Return the shapes that a plan gives: a product has that of its first factor."""
    return {name: shapes[sources[0]] for name, sources in plan.items()}


def plain_name(path: Path) -> str:
    """Return what a converted file is called in a project's weights/."""
    return f"{path.name.partition('.')[0] or 'model'}-plain.pth"


# ------------------------------------------------------------------------------------- the tensors


def convert(path: Path, target: Path) -> list[str]:
    """Write the plain state_dicts that a checkpoint holds, under the keys that they have in it.

    Args:
        path: The checkpoint, or the index of one in several files.
        target: The file to write, as torch.save does.

    Returns:
        What was done, for people.

    Raises:
        UserError: It cannot be read, or is plain already.
    """
    import torch

    from generator.inspection.reading import read

    reading = read(path)
    if not reading.layouts:
        raise UserError(f"{path} needs no conversion: ts-template new takes it as it is")
    content: dict[str, Any] = {}
    for key, state in load_states(path).items():
        shapes = {name: reading.saved[key][name] for name in state if name in reading.saved[key]}
        plan, _ = plan_for(shapes)
        plain = {
            name: functools.reduce(torch.mul, [state[x] for x in sources]).clone()
            for name, sources in plan.items()
        }
        inner = content
        for part in key.split(".") if key else ():
            inner = inner.setdefault(part, {})
        inner.update(plain)
    torch.save(content, target)
    return reading.layouts


def load_states(path: Path) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return the state_dicts in a checkpoint by their place. Nothing in it is run."""
    from generator.shared.states import find_states

    if path.name.endswith(INDEX):
        state: dict[str, torch.Tensor] = {}
        for file in parts_of(path):
            state |= load_states(file)[""]
        return {"": state}
    with path.open("rb") as file_:
        is_safetensors = file_.read(9)[8:] == b"{"
    if is_safetensors:
        from safetensors.torch import load_file

        return {"": load_file(path)}
    return find_states(read_content(path))


def read_content(path: Path) -> Any:
    """Return what torch.save wrote, with an empty object for each that is no tensor or plain data.

    Raises:
        UserError: torch cannot read it without running code in it.
    """
    import pickle

    from generator.shared.inert import load_inert

    try:
        return load_inert(path)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read without running code in it ({error})") from error


# --------------------------------------------------------------------------------- several files


def parts_of(index: Path) -> list[Path]:
    """Return the files that an index of weights in several files names.

    Raises:
        UserError: It is no such index, or a file is not beside it.
    """
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index} is no index of weights: it has no weight_map") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is no file beside it")
        if not index.with_name(name).is_file():
            raise UserError(f"{index} needs {name}, which is not beside it: copy all files")
    return [index.with_name(name) for name in names]
