"""The bare limit: the code of a project on all cores, with no server around it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from generator.bench import limit
from generator.bench.cases import Model
from generator.bench.contenders import cores
from generator.errors import UserError

# What is started from here must find this package, from wherever it is started.
IMPORTABLE = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
BOTH = [f"both {size}" for size in limit.BATCHES]  # an image decoded, and put through the network


class Bare(contextlib.ExitStack):
    """A process for each core that has a project's archive, and does nothing until it is asked.

    Attributes:
        wrong: how many predictions are, over all processes.
    """

    def __init__(self, model: Model, size: str, folder: Path) -> None:
        """Start them, for the images of one size of a model.

        Raises:
            UserError: The archive in the folder does not run.
        """
        super().__init__()
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []
        for _ in range(cores()):
            process = subprocess.Popen(
                [sys.executable, "-m", "generator.bench.limit"],
                cwd=folder,
                env={**os.environ, **IMPORTABLE, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.enter_context(process)
            self.callback(process.kill)
            self._processes.append(process)
        job = {
            "images": [str(path) for path in model.images[size]],
            "expected": model.expected[size],
            "kind": model.kind,
        }
        try:
            self.wrong = sum(answer["wrong"] for answer in self._ask(job))
        except BaseException:
            self.close()
            raise

    def rate(self, phase: str, seconds: float) -> float:
        """Return how many images a second all cores together do.

        Args:
            phase: one of limit.PHASES.
            seconds: for which they are at work.

        Raises:
            UserError: A process has ended.
        """
        return float(sum(answer["per_second"] for answer in self._ask([phase, seconds])))

    def fastest(self, seconds: float) -> str:
        """Return with which of BOTH they do most."""
        rates = {phase: self.rate(phase, seconds) for phase in BOTH}
        return max(rates, key=rates.__getitem__)

    def _ask(self, line: Any) -> list[dict[str, Any]]:
        for process in self._processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # then nothing comes back
                process.stdin.write(json.dumps(line) + "\n")
                process.stdin.flush()
        lines = [process.stdout.readline() for process in self._processes if process.stdout]
        if not all(lines):
            raise UserError(f"python -m generator.bench.limit failed in {self._folder}")
        return [json.loads(line) for line in lines]
