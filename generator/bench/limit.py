"""What a project's own code does on one core with no server: python -m generator.bench.limit.

Run in a project's folder. Reads a job as JSON from the first line of stdin, and from each further
line a phase; answers each with a line on stdout. As many of these run as there are cores.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCHES = (1, 8)
PHASES = ("decode", *(f"{what} {size}" for what in ("forward", "both") for size in BATCHES))


def work(service: Any, pictures: list[bytes], expected: list[str]) -> None:
    """Answer phases with how many pictures a second went through."""
    import torch

    handler = service._service._entry_point.__self__
    decoded = [handler.read_pictures([picture])[0] for picture in pictures]
    best = handler.inference(torch.stack(decoded)).argmax(dim=1).tolist()
    wrong = sum(str(index) != right for index, right in zip(best, expected, strict=True))
    tell({"wrong": wrong})
    for line in sys.stdin:
        phase, seconds = json.loads(line)
        what, _, size = phase.partition(" ")
        batch = int(size or 1)
        count = -batch  # the first time is not counted
        start = now = time.perf_counter()
        while now < start + seconds:
            numbers = [number % len(pictures) for number in range(count, count + batch)]
            if what == "forward":
                read = [decoded[number] for number in numbers]
            else:
                read = [handler.read_pictures([pictures[number]])[0] for number in numbers]
            if what != "decode":
                handler.inference(torch.stack(read))
            count += batch
            now = time.perf_counter()
            start = start if count else now
        tell({"per_second": count / (now - start)})


def tell(what: dict[str, float]) -> None:
    """Write a line."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """Load the archive of the project in the current folder, then work."""
    job = json.loads(sys.stdin.readline())
    sys.path.insert(0, str(Path.cwd()))
    archive: Path = importlib.import_module("project").ARCHIVE
    open_archive: Callable[[Path], Any] = importlib.import_module("inprocess").open_archive
    with open_archive(archive) as service:
        work(service, [Path(path).read_bytes() for path in job["pictures"]], job["expected"])


if __name__ == "__main__":
    main()
