# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Where the time of a request goes; for benchmark.py --profile."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tools.inprocess import open_archive
from tools.project import ARCHIVE, ProjectError

# In their order. A request has the rest outside of the service: in the server, and on the way.
STAGES = ("read", "tokenize", "normalize", "forward", "postprocess")
# By module, the functions of a stage; what one of another stage does within them does not count.
FUNCTIONS = {
    "service.task": {
        "prepare": "tokenize",
        "collate": "normalize",
        "normalize": "normalize",
        "scores": "postprocess",
        "predictions": "postprocess",
        "encode": "postprocess",
    },
}


class Stopwatch:
    """Adds up the seconds of each stage, without those of other stages within it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within = [0.0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and whose time counts for a stage."""

        def call(*args: Any) -> Any:
            start = time.perf_counter()
            self._within.append(0.0)
            try:
                return function(*args)
            finally:
                taken = time.perf_counter() - start
                self.seconds[stage] += taken - self._within.pop()
                self._within[-1] += taken

        return call


def profile(texts: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Return the milliseconds that each of STAGES takes for a text alone.

    Args:
        texts: Texts, as UTF-8, in turns.
        seconds: How long to measure.

    Raises:
        ProjectError: The service refuses one.
    """
    watch = Stopwatch()
    with open_archive(ARCHIVE) as service:
        for number, content in enumerate(texts, 1):
            (prediction,) = service.predict([{"body": content}])
            if prediction.status != 200:
                raise ProjectError(f"text {number} gets {prediction.status}: {prediction.body}")
        handler = service.handler
        handler.map = map  # in threads of their own, the time of several would add up
        handler.read_row = watch.timed("read", handler.read_row)
        handler.model = watch.timed("forward", handler.model)
        for module, functions in FUNCTIONS.items():
            known = vars(sys.modules[module])
            known |= {x: watch.timed(y, known[x]) for x, y in functions.items() if x in known}
        count, end = 0, time.perf_counter() + seconds
        while count == 0 or time.perf_counter() < end:
            service.reply([{"body": texts[count % len(texts)]}])
            count += 1
    return {stage: 1000 * watch.seconds[stage] / count for stage in STAGES}


def operators(text: bytes) -> str:
    """Return which of PyTorch's operators take the time of the forward pass, as a table."""
    with open_archive(ARCHIVE) as service:
        items = service.handler.read_items([text])
        service.handler.outputs(items)  # the first time takes longer
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            service.handler.outputs(items)
    order = "self_cpu_time_total"
    table: str = found.key_averages().table(sort_by=order, row_limit=12)
    return table
