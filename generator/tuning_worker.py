"""Measures an archive in a process of its own, with no server: python -m generator.tuning_worker.

Run in a project's folder. Reads a job as JSON from the first line of stdin, and from each further
line for how many seconds to predict; writes a line to stdout for each.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

from generator.bench.limit import in_project, write

MAX_SCORES = 200_000_000  # bytes that are compared
BATCHES = (1, 8)  # a lone client's requests, and those of many


def work(service: Any, job: dict[str, Any]) -> None:
    """Write what the service is like, save its scores, then write how fast it is.

    Args:
        service: The archive.
        job: files (the paths of the items), begun (when this process was started, as time.time has
            it) and scores (the file to save those of all items to).
    """
    import psutil
    import torch

    rows = [{"body": Path(path).read_bytes()} for path in job["files"]]
    refused = {}
    service.reply(rows[:1])
    start = time.time() - job["begun"]
    for path, row in zip(job["files"], rows, strict=True):
        (prediction,) = service.predict([row])
        if prediction.status != 200:
            refused[path] = f"{prediction.status}: {prediction.body}"
    if refused:
        write({"refused": refused})
        return
    torch.save(first_scores(service, rows), job["scores"])
    memory = psutil.Process().memory_full_info()
    memory_mb = getattr(memory, "pss", memory.rss) / 1e6
    write({"start": start, "memory_mb": memory_mb, "threads": torch.get_num_threads()})
    for line in sys.stdin:
        seconds = float(line) / len(BATCHES)
        write({str(batch): per_second(service, rows, batch, seconds) for batch in BATCHES})


def first_scores(service: Any, rows: list[dict[str, bytes]]) -> list[Any]:
    """Return the scores of each item, of the first ones if they take much memory."""
    scores: list[Any] = []
    for row in rows:
        scores += service.scores([row["body"]])
        if sum(x.nbytes for x in scores) > MAX_SCORES:
            break
    return scores


def per_second(service: Any, rows: list[dict[str, bytes]], batch: int, seconds: float) -> float:
    """Return how many items a second this process predicts for, in batches of one size."""
    cycle = itertools.cycle(rows)
    service.reply([next(cycle) for _ in range(batch)])  # not counted
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        service.reply([next(cycle) for _ in range(batch)])
        count += batch
    return count / (time.perf_counter() - start) if elapsed else 0.0


if __name__ == "__main__":
    in_project(work)
