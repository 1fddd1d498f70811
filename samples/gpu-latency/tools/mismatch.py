# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Why a checkpoint does not fit the network, and the answer that would fix it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import torch
from torchvision import models

from service import NUM_CLASSES
from tools.heads import HEADS
from tools.outputs import answers_for
from tools.project import change_answer
from tools.trained import on_meta

FIRST_LAYER = "conv1.weight"
LAST_LAYER = "fc."
FREE = (LAST_LAYER,)  # what may differ, or be missing
OWN_HEAD = (
    "\nWith other layers, or another activation than ReLU, answer head=layers and head_layers;"
    " in a clone of the template, `ts-template inspect FILE` prints what the file tells of them."
)
MOST = 3  # rows of each part of the network

State = Mapping[str, torch.Tensor]


def explain_mismatch(wanted: State, found: State) -> str:
    """Return what differs, and the answers that would fit the checkpoint if there are any."""
    body = body_of(wanted)
    prefix = find_prefix(body, found)
    if prefix is None:
        return compare(wanted, found, "") + which_architecture(found)
    differences = compare(wanted, found, prefix)
    differ = [key for key in body if wanted[key].shape != found[prefix + key].shape]
    inside = [key.removeprefix(prefix) for key in found if key.startswith(prefix)]
    unknown = [key for key in inside if key not in wanted and not key.startswith(FREE)]
    if unknown or differ not in ([], [FIRST_LAYER]):
        return differences + which_architecture(found)
    facts: list[str] = []
    answers: dict[str, object] = {}
    if prefix:
        facts.append(f"the names are such as {prefix}{next(iter(wanted))}")
        answers |= {"weights": "wrapped", "state_dict_prefix": prefix}
    if differ:
        channels = found[prefix + FIRST_LAYER].shape[1]
        if channels != 1:
            return f"{differences}\nA service gives its network 3 channels or 1, not {channels}."
        facts.append("the first layer takes grayscale images")
        answers["color_mode"] = "L"
    start = prefix + LAST_LAYER
    layers = {key.removeprefix(start): x for key, x in found.items() if key.startswith(start)}
    matrices = tuple(name for name in layers if name.endswith("weight"))
    head = HEADS.get(matrices)
    if head is None:
        return f"{differences}\nAll but {LAST_LAYER} fits.{OWN_HEAD}"
    if head != "linear":
        facts.append(f"the last layer has {', '.join(matrices)}")
        answers["head"] = head
    if head.startswith("mlp"):
        answers["head_units"] = layers[matrices[0]].shape[0]
        facts.append(f"the head has {answers['head_units']} hidden units")
    classes = layers[matrices[-1]].shape[0]
    if classes != NUM_CLASSES:
        answers |= answers_for(classes)
        facts.append(f"it has {classes} outputs, the project expects {NUM_CLASSES}")
    if not answers:
        return differences + which_architecture(found)
    if answers.get("head", "linear") != "linear":
        facts.append("what has no weights is taken for ReLU and Dropout (else see head_layers)")
    return f"{differences}\nIn the file {', and '.join(facts)}.\nRun: {change_answer(**answers)}"


def body_of(state: Iterable[str]) -> list[str]:
    """Return the names that a checkpoint must have, whatever its last layer.

    torch before 0.4.1 counted no batches.
    """
    body = (key for key in state if not key.startswith(LAST_LAYER))
    return [key for key in body if not key.endswith("num_batches_tracked")]


def which_architecture(found: State) -> str:
    """Return which of torchvision's networks has all the file's names and shapes, as advice."""
    for name in models.list_models(module=models):
        with on_meta(), warnings.catch_warnings(action="ignore"):
            other = models.get_model(name, num_classes=NUM_CLASSES).state_dict()
        last = next(reversed(other)).rpartition(".")[0]
        body = [key for key in other if not key.startswith(f"{last}.")]
        prefix = find_prefix(body, found)
        if prefix is None or any(found[prefix + key].shape != other[key].shape for key in body):
            continue
        known = tuple(prefix + key for key in (*body, f"{last}."))
        if all(key.startswith(known) for key in found if key.startswith(prefix)):
            return f"\nThe file holds {name}.\nRun: {change_answer(architecture=name)}"
    return "\nIt is none of torchvision's classifiers: use custom, or timm."


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
