# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Runs an archive in a thread, and puts the requests of one worker together to batches."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.engine import Archive
from tools.inprocess import Reply


@dataclass
class Job:
    """A request that waits for its reply; `came` and `began` are those of time.monotonic()."""

    row: dict[str, Any]
    reply: asyncio.Future[Reply]
    came: float = field(default_factory=time.monotonic)
    began: float = 0.0


class Batches:
    """Takes what waits as soon as the batch before is done: up to batchSize, without a delay.

    Args:
        path: The archive.
        limit: How many requests may be in hand.
        prepare: Gets the archive before its first batch.

    Attributes:
        loaded: done as soon as the archive is loaded, or with the reason why it is not.
        waiting: how many requests are in hand.
        busy_since: when the batch in work began; infinity if there is none.
    """

    def __init__(
        self, path: Path, limit: int, prepare: Callable[[Archive], None] = lambda _: None
    ) -> None:
        self.waiting = 0
        self.busy_since = float("inf")
        self._loop = asyncio.get_running_loop()
        self.loaded: asyncio.Future[Archive] = self._loop.create_future()
        self._limit = limit
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        # torch keeps numbers of threads, and devices, for each thread: all is done in this one.
        threading.Thread(target=self._run, args=(path, prepare), daemon=True).start()

    @property
    def archive(self) -> Archive | None:
        """The archive, if it is loaded."""
        is_loaded = self.loaded.done() and self.loaded.exception() is None
        return self.loaded.result() if is_loaded else None

    @property
    def is_full(self) -> bool:
        """Tell whether so many requests wait that another is refused."""
        return self.waiting >= self._limit

    async def answer(self, row: dict[str, Any]) -> Job:
        """Return a request that has its reply.

        Args:
            row: {"body": <bytes>}, or one entry per field of a form.
        """
        job = Job(row, self._loop.create_future())
        self.waiting += 1
        try:
            self._jobs.put(job)
            await job.reply
        finally:
            self.waiting -= 1
        return job

    def _run(self, path: Path, prepare: Callable[[Archive], None]) -> None:
        try:
            archive = Archive(path)
            prepare(archive)
        except BaseException as error:
            self._loop.call_soon_threadsafe(self.loaded.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self.loaded.set_result, archive)
        size = archive.config["batchSize"]
        while True:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < size:
                    jobs.append(self._jobs.get_nowait())
            self.busy_since = time.monotonic()
            for job in jobs:
                job.began = self.busy_since
            replies = archive.reply([job.row for job in jobs])
            self.busy_since = float("inf")
            self._loop.call_soon_threadsafe(self._deliver, jobs, replies)

    @staticmethod
    def _deliver(jobs: list[Job], replies: list[Reply]) -> None:
        for job, reply in zip(jobs, replies, strict=True):
            if not job.reply.done():
                job.reply.set_result(reply)
