# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Why a checkpoint does not fit the network, and the answer that would fix it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch.nn.parameter import is_lazy

from service import NUM_CLASSES
from tools.outputs import answers_for
from tools.project import change_answer

MOST = 3  # rows of each part of the network
UNKNOWN = "\nDoes build_model() in service/model.py return the network of this checkpoint?"

State = Mapping[str, torch.Tensor]


def explain_mismatch(wanted: State, found: State) -> str:
    """Return what differs, and the answers that would fit the checkpoint if there are any."""
    if lazy := [key for key, x in wanted.items() if is_lazy(x)]:
        return f"{lazy[0]} has no size yet: let build_model() call the network once"
    prefix = find_prefix(body_of(wanted), found)
    if prefix is None:
        return compare(wanted, found, "") + UNKNOWN
    differences = compare(wanted, found, prefix)
    facts: list[str] = []
    answers: dict[str, object] = {}
    if prefix:
        facts.append(f"the names are such as {prefix}{next(iter(wanted))}")
        answers |= {"weights": "wrapped", "state_dict_prefix": prefix}
    state = {key: found[prefix + key] for key in body_of(wanted)}
    differ = [key for key in state if wanted[key].shape != state[key].shape]
    if differ:
        # Is it the number of classes alone, the first dimension of the last layer?
        rows = {state[key].shape[:1] for key in differ}
        alone = all(wanted[key].shape == (NUM_CLASSES, *state[key].shape[1:]) for key in differ)
        if len(rows) != 1 or () in rows or not alone:
            return differences + UNKNOWN
        ((classes,),) = rows
        answers |= answers_for(classes)
        facts.append(f"it has {classes} outputs, the project expects {NUM_CLASSES}")
    if not answers:
        return differences + UNKNOWN
    return f"{differences}\nIn the file {', and '.join(facts)}.\nRun: {change_answer(**answers)}"


def body_of(state: Iterable[str]) -> list[str]:
    """Return the names that a checkpoint must have; torch before 0.4.1 counted no batches."""
    return [key for key in state if not key.endswith("num_batches_tracked")]


def compare(wanted: State, found: State, prefix: str) -> str:
    """Return the differing names and shapes, those of the network beside those of the file."""
    names = {key.removeprefix(prefix): key for key in found}
    groups: dict[str, list[tuple[str, str]]] = {}
    for key in dict.fromkeys([*wanted, *names]):
        if key.endswith("num_batches_tracked"):
            continue
        name = names.get(key, "")
        left = f"{key} {tuple(wanted[key].shape)}" if key in wanted else "-"
        right = f"{name} {tuple(found[name].shape)}" if name else "-"
        if "-" in (left, right) or name != key or found[name].shape != wanted[key].shape:
            groups.setdefault(key.partition(".")[0], []).append((left, right))
    width = max((len(left) for rows in groups.values() for left, _ in rows[:MOST]), default=0)
    lines = [f"    {'the network':{width}}    the file"]
    for part, rows in groups.items():
        lines += [f"    {left:{width}}    {right}" for left, right in rows[:MOST]]
        if len(rows) > MOST:
            lines.append(f"    {part}: {len(rows) - MOST} more")
    return "\n".join(lines)


def find_prefix(names: Iterable[str], found: Iterable[str]) -> str | None:
    """Return what comes before all of the names in the checkpoint, None if some are not there."""
    return next(iter(find_prefixes(names, found)), None)


def find_prefixes(names: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return all that comes before all of the names in the checkpoint, the shortest first."""
    names, found = list(names), set(found)
    starts = {key.removesuffix(names[0]) for key in found if f".{key}".endswith(f".{names[0]}")}
    return sorted((p for p in starts if all(p + name in found for name in names)), key=len)
