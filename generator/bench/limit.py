"""What a project's own code does on one core with no server: python -m generator.bench.limit.

Run in a project's folder. Reads a job as JSON from the first line of stdin, and from each further
line a phase; writes a line to stdout for each. As many of these run as there are cores.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from generator.bench.networks import KINDS

BATCHES = (1, 8)
PHASES = ("decode", *(f"{what} {size}" for what in ("forward", "both") for size in BATCHES))


def work(service: Any, images: list[bytes], expected: list[Any], kind: str) -> None:
    """Write for each phase how many images a second went through."""
    handler = service.handler
    items = [read(handler, image) for image in images]
    found = service.predict([{"body": image} for image in images])
    right = [
        one.status == 200 and KINDS[kind].is_right(one.body, wanted)
        for one, wanted in zip(found, expected, strict=True)
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


def write(what: dict[str, float]) -> None:
    """Write a line."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """Load the archive of the project in the current folder, then work."""
    job = json.loads(sys.stdin.readline())
    sys.path.insert(0, str(Path.cwd()))
    archive: Path = importlib.import_module("tools.project").ARCHIVE
    inprocess = importlib.import_module("tools.inprocess")
    with inprocess.open_archive(archive) as service:
        images = [Path(path).read_bytes() for path in job["images"]]
        work(service, images, job["expected"], job["kind"])


if __name__ == "__main__":
    main()
