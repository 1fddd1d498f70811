# copier update rewrites this file, unless "What is yours" in README.md names it.
"""How many cores a worker computes on."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import torch


def share_cores(workers: int | None) -> int:
    """Give this worker its share of the cores, and return how many threads that makes.

    TorchServe starts a worker per GPU, or per core where there is none, unless model-config.yaml
    says maxWorkers; torch would use every core in each of them: the threads then fight, at a tenth
    of the throughput.
    """
    cores = available_cores()
    threads = max(1, cores // (workers or torch.cuda.device_count() or cores))
    torch.set_num_threads(threads)
    return threads


def available_cores() -> int:
    """Return how many cores this process may use, in a container too; so does TorchServe count."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no Linux, or no limit
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores
