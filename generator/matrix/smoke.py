"""Runs the tests of projects that are small enough for real forward passes."""

from __future__ import annotations

import contextlib
import io
import os
import random
from pathlib import Path

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


def smoke_sample(seed: int = 0, every: bool = False) -> list[Answers]:
    """Return answers for small projects of all tasks.

    Args:
        seed: Of the dealing.
        every: Take every architecture for each task. Else take the smallest of each family, and
            tasks with the same kind of networks share these out.
    """
    tasks = facts.tasks()
    sample = []
    for task, fact in tasks.items():
        answers = sample_of(task, seed, every)
        if not every:
            alike = [name for name in tasks if tasks[name]["networks"] == fact["networks"]]
            place = alike.index(task)
            answers = [x for i, x in enumerate(answers) if i % len(alike) == place]
        # Projects for a GPU run without one, too.
        plain = [x for x in answers if tuple(x[name] for name in SPEED) == PLAIN]
        for x in [x for x in plain if GPU in speeds(task, x["weights"])][::2]:
            x |= zipped(SPEED, GPU)
        sample += answers
    return sample


PLAIN, GPU = ("cpu", "eager", "fp32"), ("cuda", "eager", "fp32")
LARGE = 40e6  # parameters; to convert such a network takes a minute


def sample_of(task: str, seed: int, every: bool) -> list[Answers]:
    """Return answers for one task: all values, dealt out over the architectures."""
    values = questions(task)
    deal = random.Random(seed)
    packs = {name: dealt(values[name], deal) for name in values if name not in SPEED}
    archs = {name: catalogue.load()[name] for name in values["architecture"]}
    small = sorted(archs, key=lambda name: archs[name].params or 0)
    # To convert a network takes long: each way once, by the smallest that there are.
    plain = next(name for name in values["weights"] if loads_state_dict(name))
    ways = [speed for speed in speeds(task, plain) if speed[0] == "cpu"]
    quick = [name for name in small if every or (archs[name].params or 0) < LARGE]
    ways_by_name = dict(zip(quick, ways, strict=False))
    families = {archs[name].family: name for name in reversed(small)}
    sample = []
    for name, arch in archs.items():
        if not (every or name in families.values() or name in ways_by_name):
            continue
        answers = {question: next(pack) for question, pack in packs.items()}
        answers |= {"architecture": name, "num_classes": 5}
        answers |= zipped(SPEED, ways_by_name.get(name, PLAIN))
        if "transforms" in answers:
            # The others would mean the full size.
            if answers["transforms"] != "to_tensor":
                answers["transforms"] = "custom"
            if is_forbidden(answers | {"weights": plain}):  # its network prepares images
                answers["transforms"] = "to_tensor"
            answers |= {"resize_size": 0, "image_size": small_size(arch)}
        if is_converted(answers | {"weights": plain}) or is_forbidden(answers):
            answers["weights"] = plain
        if (arch.params or 0) > 150e6 and answers["weights"] in ("exported_program", "onnx"):
            answers["weights"] = "safetensors"  # to export a gigabyte takes minutes
        answers |= facts.tasks()[task].get("quick", {})
        sample.append(made_possible(answers))
    return sample


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
