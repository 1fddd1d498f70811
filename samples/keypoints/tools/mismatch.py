# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Why a checkpoint does not fit the network, and the answer that would fix it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import torch
from torchvision import models

from service import NUM_CLASSES
from service.loading import on_meta
from tools.outputs import NUM_KEYPOINTS, answers_for
from tools.project import change_answer

MOST = 3  # rows of each part of the network
# The layer with a channel for each keypoint, whatever the classes are.
KEYPOINT_LAYER = "roi_heads.keypoint_predictor.kps_score_lowres."

State = Mapping[str, torch.Tensor]


def explain_mismatch(wanted: State, found: State) -> str:
    """Return what differs, and the answers that would fit the checkpoint if there are any."""
    prefix = find_prefix(body_of(wanted), found)
    if prefix is None:
        return compare(wanted, found, "") + which_architecture(found)
    differences = compare(wanted, found, prefix)
    facts: list[str] = []
    answers: dict[str, object] = {}
    if prefix:
        facts.append(f"the names are such as {prefix}{next(iter(wanted))}")
        answers |= {"weights": "wrapped", "state_dict_prefix": prefix}
    own = {key.removeprefix(prefix): x for key, x in found.items() if key.startswith(prefix)}
    classes = classes_in(wanted, own)
    if classes not in (None, NUM_CLASSES):
        answers |= answers_for(classes)
        facts.append(f"it has {classes} classes, the project expects {NUM_CLASSES}")
    if classes is not None and (count := len(own[f"{KEYPOINT_LAYER}bias"])) != NUM_KEYPOINTS:
        answers["keypoint_names"] = count
        facts.append(f"it has {count} keypoints, the project names {NUM_KEYPOINTS}")
    if classes is None or not answers:
        return differences + which_architecture(found)
    return f"{differences}\nIn the file {', and '.join(facts)}.\nRun: {change_answer(**answers)}"


def body_of(state: Iterable[str]) -> list[str]:
    """Return the names that a checkpoint must have; torch before 0.4.1 counted no batches."""
    return [key for key in state if not key.endswith("num_batches_tracked")]


def classes_in(wanted: State, found: State) -> int | None:
    """Return how many classes weights are for; None if they are of another network.

    Args:
        wanted: The weights of the network with NUM_CLASSES classes.
        found: Others, with as many rows for each class if they are of the same network.
    """
    names = body_of(wanted)
    if {*names} != {*body_of(found)}:
        return None
    counts = set()
    for name in names:
        if name.startswith(KEYPOINT_LAYER):
            continue
        old, new = wanted[name].shape, found[name].shape
        if old == new:
            continue
        if not new or old[1:] != new[1:] or old[0] % NUM_CLASSES:
            return None
        classes, rest = divmod(new[0], old[0] // NUM_CLASSES)
        counts.add(0 if rest else classes)
    if not counts:
        return NUM_CLASSES
    return counts.pop() if len(counts) == 1 and 0 not in counts else None


def which_architecture(found: State) -> str:
    """Return which of torchvision's networks has all the file's names and shapes, as advice."""
    fitting: dict[str, dict[str, object]] = {}
    for name in models.list_models(module=models.detection):
        with on_meta(), warnings.catch_warnings(action="ignore"):
            other = models.get_model(name, weights_backbone=None, num_classes=NUM_CLASSES)
        state = other.state_dict()
        prefix = find_prefix(body_of(state), found)
        if prefix is None:
            continue
        own = {key.removeprefix(prefix): x for key, x in found.items() if key.startswith(prefix)}
        if classes := classes_in(state, own):
            fitting[name] = answers_for(classes)
    if not fitting:
        return "\nIt is none of torchvision's keypoint detectors as they are built: use custom."
    commands = (change_answer(architecture=name, **fitting[name]) for name in fitting)
    return f"\nThe file holds {' or '.join(fitting)}.\nRun: " + "\nor: ".join(commands)


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
