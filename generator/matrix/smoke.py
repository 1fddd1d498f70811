"""Runs the tests of projects that are small enough for real forward passes."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from generator import catalogue, facts
from generator.matrix.checks import is_converted
from generator.matrix.dealing import (
    SPEED,
    Answers,
    dealt,
    is_forbidden,
    made_possible,
    questions,
    speeds,
    zipped,
)
from generator.speed import takes

# How a network is run: values of `SPEED`.
Speed = tuple[str, ...]

PLAIN, GPU = ("cpu", "eager", "fp32"), ("cuda", "eager", "fp32")
# Parameters. To convert such a network takes a minute, and to export one of a gigabyte minutes.
LARGE, GIGABYTE = 40e6, 150e6
# One that converts in seconds.
QUICK = 8e6


def smoke_sample(seed: int = 0, every: bool = False) -> list[Answers]:
    """Return answers for small projects of all tasks.

    Args:
        seed: Of the dealing.
        every: Take every architecture for each task. Else take few of each kind of networks, which
            between them have all traits, and share them out among the tasks that take them.

    Returns:
        Answers that between them have each value of each question.
    """
    tasks = facts.tasks()
    sample: list[Answers] = []
    for kind in dict.fromkeys(fact["networks"] for fact in tasks.values()):
        alike = [name for name in tasks if tasks[name]["networks"] == kind]
        deals = {task: dealer(task, seed, GIGABYTE if every else QUICK) for task in alike}
        if every:
            part = [deals[x](name, speed) for x in alike for name, speed in every_network(x)]
        else:
            shared = zip(typical_networks(alike[0]), itertools.cycle(alike), strict=False)
            part = [deals[task](name, speed) for (name, speed), task in shared]
        part += more_values(sample + part, deals)
        for task in alike:  # projects for a GPU run without one, too
            plain = [x for x in part if x["task"] == task and speed_of(x) == PLAIN]
            for answers in [x for x in plain if GPU in speeds(task, x["weights"])][::2]:
                answers |= zipped(SPEED, GPU)
        sample += part
    return sample


def every_network(task: str) -> list[tuple[str, Speed]]:
    """Return every architecture that a task takes: each way to run one once, by the smallest."""
    archs = archs_of(task)
    quick = [name for name in by_size(archs) if size_of(archs[name]) < LARGE]
    ways = dict(zip(quick, ways_of(task), strict=False))
    return [(name, ways.get(name, PLAIN)) for name in archs]


def typical_networks(task: str) -> list[tuple[str, Speed]]:
    """Return small architectures that a task takes: such as have all traits, then one for each way.

    Of each family this knows the smallest. There are as many ways at most as architectures that are
    not large.
    """
    archs = archs_of(task)
    families = {archs[name].family: name for name in reversed(by_size(archs))}
    small = by_size({name: archs[name] for name in families.values()})
    chosen = []
    met: set[tuple[str, Any]] = set()
    for name in small:
        if not traits(archs[name]) <= met:
            chosen.append(name)
            met |= traits(archs[name])
    count = sum(size_of(arch) < LARGE for arch in archs.values())
    ways = [way for way in ways_of(task)[:count] if way != PLAIN]
    quick = [x for x in quick_ones(task) if all(takes(task, x, *way[1:]) for way in ways)]
    return [
        *((name, PLAIN) for name in chosen),
        *zip(itertools.cycle(quick), reversed(ways), strict=False),
    ]


def traits(arch: catalogue.Arch) -> set[tuple[str, Any]]:
    """Return what of an architecture the template tells apart, each with where that comes from."""
    found = {
        "source": True,
        "classifier_kind": arch.classifier_kind,
        "classifier_bias": arch.classifier_bias,
        "whole_in": len(arch.whole_in),
        "size_rule": arch.size_rule,
        "transform_input": arch.transform_input,
        "aux": bool(arch.aux),
        "kwargs": tuple(arch.kwargs),
    }
    for name, value in (arch.detection or {}).items():
        if name != "keypoints":  # of a network that computes no others
            # Of a number or a name, whether there is one.
            found[name] = tuple(value) if isinstance(value, list) else bool(value)
    return {(f"{arch.module or arch.family} {name}", value) for name, value in found.items()}


def quick_ones(task: str) -> list[str]:
    """Return the smallest architecture of each family that is quick to convert."""
    archs = archs_of(task)
    quick = [name for name in by_size(archs) if size_of(archs[name]) < QUICK]
    families = {archs[name].family: name for name in reversed(quick)}
    return [name for name in quick if name in families.values()]


def more_values(
    sample: Sequence[Answers], deals: Mapping[str, Callable[[str, Speed], Answers]]
) -> list[Answers]:
    """Return more projects, with the values that none of a sample has.

    Args:
        sample: The answers so far.
        deals: What deals answers out, for each task with networks of one kind.
    """
    met = set().union(*map(values_in, sample))
    more = []
    for task, deal in deals.items():
        most = max(map(len, questions(task).values()))
        for name in itertools.islice(itertools.cycle(quick_ones(task)), most):
            answers = deal(name, PLAIN)
            if new := values_in(answers) - met:
                met |= new
                more.append(answers)
    return more


def values_in(answers: Answers) -> set[tuple[str, str]]:
    """Return the values of all questions but those for the network and how it is run."""
    return {
        (name, json.dumps(each))
        for name, value in answers.items()
        if name not in ("architecture", "num_classes", *SPEED)
        for each in (value if value and isinstance(value, list) else [value])
    }


def speed_of(answers: Answers) -> Speed:
    """Return how a project runs its network."""
    return tuple(answers[name] for name in SPEED)


def archs_of(task: str) -> dict[str, catalogue.Arch]:
    """Return the architectures that a task takes."""
    return {name: catalogue.load()[name] for name in questions(task)["architecture"]}


def by_size(archs: Mapping[str, catalogue.Arch]) -> list[str]:
    """Return the names of architectures, the smallest first."""
    return sorted(archs, key=lambda name: size_of(archs[name]))


def size_of(arch: catalogue.Arch) -> int:
    """Return how many parameters an architecture has; 0 where it is the user's to choose."""
    return arch.params or 0


def plain_weights(task: str) -> str:
    """Return the first of a task's values of `weights` that is read as a state_dict."""
    return next(filter(loads_state_dict, map(str, questions(task)["weights"])))


def ways_of(task: str) -> list[Speed]:
    """Return the ways to run the networks of a task on a CPU."""
    return [speed for speed in speeds(task, plain_weights(task)) if speed[0] == "cpu"]


def dealer(task: str, seed: int, most: float) -> Callable[[str, Speed], Answers]:
    """Return what makes answers for a task of an architecture and how it is run.

    All other values are dealt out.

    Args:
        task: Its value.
        seed: Of the dealing.
        most: How many parameters a network may have to be exported.
    """
    values = questions(task)
    shuffled = random.Random(seed)
    packs = {name: dealt(values[name], shuffled) for name in values if name not in SPEED}
    plain = plain_weights(task)

    def deal(name: str, speed: Speed) -> Answers:
        arch = catalogue.load()[name]
        answers = {question: next(pack) for question, pack in packs.items()}
        answers |= {"architecture": name, "num_classes": 5, **zipped(SPEED, speed)}
        if "transforms" in answers:
            # The others would mean the full size.
            if answers["transforms"] != "to_tensor":
                answers["transforms"] = "custom"
            if is_forbidden(answers | {"weights": plain}):  # its network prepares images
                answers["transforms"] = "to_tensor"
            answers |= {"resize_size": 0, "image_size": small_size(arch)}
        if is_converted(answers | {"weights": plain}) or is_forbidden(answers):
            answers["weights"] = plain
        if size_of(arch) > most and not loads_state_dict(answers["weights"]):
            answers["weights"] = "safetensors"
        answers |= facts.tasks()[task].get("quick", {})
        return made_possible(answers)

    return deal


def loads_state_dict(weights: str) -> bool:
    """Tell whether weights saved in a way are read as a state_dict."""
    return bool(facts.checkpoints()[weights]["loader"] == "state_dict")


def small_size(arch: catalogue.Arch) -> int:
    """Return a size in pixels that the network takes and that does not cost much; 0 for its own."""
    if arch.size_rule == "fixed":
        return 0
    step = arch.size_step
    return max(arch.min_size, step * -(-64 // step))


def run_smoke_tests(path: Path) -> tuple[int, str]:
    """Run a project's own tests in this process; return pytest's status and what it printed."""
    import pytest
    import torch

    torch.set_num_threads(1)
    os.chdir(path)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main(
            ["-q", "-x", "-p", "no:cacheprovider", "--basetemp", str(path / ".tmp"), str(path)]
        )
    return int(code), output.getvalue()
