"""What TorchServe knows of a model's workers."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from typing import Any

from generator.errors import UserError

Workers = list[dict[str, Any]]


def model_address(url: str, management: str) -> str:
    """Return a model's address among those of management, from the URL of its predictions."""
    return f"{management}/models/{url.rpartition('/')[2]}"


def workers_of(model: str) -> Workers:
    """Return what TorchServe knows of each worker: its "pid", -1 before it starts, "status", ...

    Args:
        model: The model's address among those of management: http://127.0.0.1:8081/models/NAME

    Raises:
        OSError, ValueError, LookupError: There is no such reply.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(model, timeout=30) as reply:
        workers: Workers = json.load(reply)[0]["workers"]
        return workers


def ready_workers(model: str, seconds: float) -> Workers:
    """Return what `workers_of` does as soon as all workers are ready.

    Raises:
        UserError: They are not, after so many seconds.
    """
    end = time.monotonic() + seconds
    workers: Workers = []
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, LookupError):
            workers = workers_of(model)
            if workers and all(x["status"] == "READY" and x["pid"] > 0 for x in workers):
                return workers
        time.sleep(0.1)
    raise UserError(f"{model}: not all workers are ready after {seconds:.0f} s: {workers}")
