# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Reads what torch.save wrote without running any of it: objects of Python are left empty."""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any

import torch

# Of these, torch insists on entries in a plain dict or list.
PLAIN: dict[str, Any] = {
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda *_: [],
}


class StandIn:
    """Stands for any class or function of Python that a checkpoint names: nothing of it is run.

    Its instances take attributes, so that a pickled network shows its parameters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Take the attributes of what this stands for."""
        if isinstance(state, dict):
            self.__dict__.update(state)


def load_inert(path: Path) -> Any:
    """Return what a checkpoint holds: tensors, plain data, and a StandIn for every other object.

    Raises:
        pickle.UnpicklingError: torch cannot read it without running code in it.
        Exception: It is damaged; torch's readers raise about anything.
    """
    is_zip = zipfile.is_zipfile(path)
    names = torch.serialization.get_unsafe_globals_in_checkpoint if is_zip else names_in_legacy
    stand_ins: list[Any] = [
        (PLAIN.get(name) or type(name, (StandIn,), {}), name) for name in names(path)
    ]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def names_in_legacy(path: Path) -> list[str]:
    """Return the classes and functions that a file of torch before 1.6 names."""
    with path.open("rb") as file:  # a magic number, a version, the system, the content; tensors
        found = [
            str(argument).partition(" ")
            for _ in range(4)
            for operation, argument, _ in pickletools.genops(file)
            if operation.name == "GLOBAL"
        ]
    # They are those of Python 2, of which torch translates some.
    names = {(x, y) for x, _, y in found}
    modern = {NAME_MAPPING.get((x, y), (IMPORT_MAPPING.get(x, x), y)) for x, y in names}
    return [".".join(pair) for pair in names | modern]
