"""What a project's own code does on one core with no server: python -m generator.bench.limit.

Run in a project's folder. Reads a job as JSON from the first line of stdin, and from each further
line a phase; writes a line to stdout for each. As many of these run as there are cores.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator.bench.networks import KINDS

BATCHES = (1, 8)
PHASES = ("decode", *(f"{what} {size}" for what in ("forward", "both") for size in BATCHES))


def work(service: Any, job: dict[str, Any]) -> None:
    """Write for each phase how many images a second went through."""
    handler, kind = service.handler, KINDS[job["kind"]]
    images = [Path(path).read_bytes() for path in job["images"]]
    items = [read(handler, image) for image in images]
    found = service.predict([{"body": image} for image in images])
    right = [
        one.status == 200 and kind.is_right(one.body, wanted)
        for one, wanted in zip(found, job["expected"], strict=True)
    ]
    write({"wrong": right.count(False)})
    for line in sys.stdin:
        phase, seconds = json.loads(line)
        what, _, size = phase.partition(" ")
        batch = int(size or 1)
        count = -batch  # the first time is not counted
        start = now = time.perf_counter()
        while now < start + seconds:
            numbers = [number % len(images) for number in range(count, count + batch)]
            if what == "forward":
                ready = [items[number] for number in numbers]
            else:
                ready = [read(handler, images[number]) for number in numbers]
            if what != "decode":
                handler.scores(ready)
            count += batch
            now = time.perf_counter()
            start = start if count else now
        write({"per_second": count / (now - start)})


def read(handler: Any, image: bytes) -> Any:
    """Return the item that the handler makes of an encoded image."""
    return handler.read_items([image])[0]


def write(what: dict[str, Any]) -> None:
    """Write a line."""
    print(json.dumps(what), flush=True)


def in_project(work: Callable[[Any, dict[str, Any]], None]) -> None:
    """Give the archive of the project in the current folder, and the job on stdin, to `work`."""
    job = json.loads(sys.stdin.readline())
    sys.path.insert(0, str(Path.cwd()))
    archive: Path = importlib.import_module("tools.project").ARCHIVE
    inprocess = importlib.import_module("tools.inprocess")
    with inprocess.open_archive(archive) as service:
        work(service, job)


if __name__ == "__main__":
    in_project(work)
