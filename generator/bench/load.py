"""The load of `ts-template bench`, in a process of its own: python -m generator.bench.load.

It reads a job as JSON from stdin and writes what came of it to stdout. The load itself is that of
the benchmark.py in every project.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from generator.bench.networks import KINDS
from generator.shared.load import send_load

BOUNDARY = "ts-template-bench"


def form(image: bytes) -> bytes:
    """Return a multipart form with the image in its field `file`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def is_right(status: int, body: bytes, expected: Any, kind: str) -> bool:
    """Tell whether a reply is what is expected of it; None stands for an error."""
    if expected is None:
        return status >= 400
    try:
        return status == 200 and KINDS[kind].is_right(json.loads(body), expected)
    except (ValueError, LookupError, TypeError):
        return False


def drive(job: dict[str, Any]) -> dict[str, Any]:
    """Send a load and return its figures.

    Args:
        job: url, content_type, images (paths of the bodies), expected (what is right for each),
            kind (of the network), clients, seconds, warmup.

    Returns:
        per_second, latencies (seconds, of each reply that was counted), requests (how many),
        wrong (of them), lost, first_error, and load_cpu: which share of one core this process took.
    """
    if sys.platform == "linux":  # clients elsewhere would not interrupt what a server computes
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    bodies = [Path(path).read_bytes() for path in job["images"]]
    if job["content_type"].startswith("multipart/"):
        bodies = [form(body) for body in bodies]
    clock, cpu = time.perf_counter(), time.process_time()
    load = asyncio.run(
        send_load(
            job["url"],
            bodies,
            job["clients"],
            job["seconds"],
            job["warmup"],
            job["content_type"],
        )
    )
    load_cpu = (time.process_time() - cpu) / (time.perf_counter() - clock)
    wrong = {
        key: count
        for key, count in load.replies.items()
        if not is_right(key[1], key[2], job["expected"][key[0]], job["kind"])
    }
    return {
        "per_second": load.per_second,
        "latencies": load.latencies,
        "requests": len(load.latencies),
        "wrong": sum(wrong.values()),
        "lost": load.lost,
        "first_error": next((f"{x[1]} {x[2][:200]!r}" for x in wrong), ""),
        "load_cpu": load_cpu,
    }


if __name__ == "__main__":
    json.dump(drive(json.load(sys.stdin)), sys.stdout)
