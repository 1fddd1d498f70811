"""Times the ways to render."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from generator.fast import FastRenderer
from generator.matrix.dealing import Answers, combinations, is_forbidden
from generator.rendering import plain_copy, render


def benchmark(count: int = 20, seed: int = 0) -> dict[str, list[float]]:
    """Time the ways to render the same projects, in turns, in one process.

    Returns:
        Milliseconds of each render, by way. The last renders in memory, as the matrix does, and has
        rendered the 30 combinations before.
    """
    allowed = [answers for answers in combinations(seed) if not is_forbidden(answers)]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        template = plain_copy(Path(folder, "template"))
        one, other = FastRenderer(template), FastRenderer(template)
        ways: dict[str, Callable[[Path, Answers], object]] = {
            "run_copy from a git repository": render,
            "run_copy from a plain folder": lambda path, answers: render(path, answers, template),
            "matrix, not in its order": one.render,
            "matrix, in its order": other.project,
        }
        for number, index in enumerate(random.Random(seed).sample(range(len(allowed)), count + 1)):
            for way, function in ways.items():
                if function == other.project:
                    for answers in allowed[max(0, index - 30) : index]:
                        other.project(Path(folder, "neighbour"), answers)
                start = time.perf_counter()
                function(Path(folder, f"{number}-{way}"), allowed[index])
                if number:  # the first round warms up
                    times.setdefault(way, []).append(1000 * (time.perf_counter() - start))
    return times
