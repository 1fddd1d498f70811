# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Finds in TorchServe's log why the model does not load."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict, deque

# What TorchServe says when the model will not come up; it would try again for ever.
FAILED = re.compile(r"Backend worker (process )?died|Load model failed|Failed to load (the )?model")
WORKER = re.compile(r"\] (W-\d+)-")
WORKER_SAYS = re.compile(r"\] (W-\d+)-\S* MODEL_LOG - (.*)")
STOPPED = re.compile(r"Stopped Scanner - (W-\d+)-")  # all that a worker wrote to one stream is read
# No reasons: requests, such as those of tools/torchserve.py, and the steps of a Java trace.
NOISE = re.compile(r" (ACCESS_LOG|TS_METRICS) - |^\s+(at |\.\.\. )")
# After these, a worker writes the traceback. It catches a RuntimeError, writes it, and dies of
# another one, "500 - Unknown exception".
DIED = "Backend worker process died."
CAUGHT = re.compile(r"(Failed to load|Load) model .*\bexception ")
CHAINED = re.compile(r"Traceback \(|During handling of the above|The above exception was")
LINES = 15


class ServerLog:
    """The end of TorchServe's log, and what its workers say while they load the model.

    Attributes:
        failed: whether a worker could not load it.
    """

    def __init__(self) -> None:
        self.failed = False
        self._end: deque[str] = deque(maxlen=LINES)
        self.clear()

    def clear(self) -> None:
        """Forget the workers' words; a worker is ready now."""
        self._said: defaultdict[str, list[str]] = defaultdict(list)
        self._failed_worker = ""
        self._streams: Counter[str] = Counter()
        self._complete = threading.Event()

    def add(self, line: str) -> None:
        """Take the next line."""
        if not NOISE.search(line):
            self._end.append(line)
        if found := WORKER_SAYS.search(line):
            worker, words = found.groups()
            if words.startswith("model_name: ") and not self._failed_worker:
                self._said[worker].clear()  # it begins to load the model
            self._said[worker].append(words)
        if FAILED.search(line):
            self.failed = True
            if not self._failed_worker and (found := WORKER.search(line)):
                self._failed_worker = found[1]
        if found := STOPPED.search(line):
            self._streams[found[1]] += 1
            if self._streams[self._failed_worker] == 2:
                self._complete.set()

    def exception(self) -> str:
        """Return the traceback of the first worker that failed; empty if none is whole.

        Of those in a chain that ended it, the first is the cause: TorchServe meets an ImportError
        with the search for a handler of its own, which fails in turn.
        """
        if self._failed_worker:
            self._complete.wait(10)
        said = self._said[self._failed_worker]
        ends = [i for i, line in enumerate(said) if line == DIED or CAUGHT.match(line)]
        if not ends:
            return ""
        # Before, it may have logged what it dealt with.
        words = said[ends[0] + 1 : [*ends, len(said)][1]]
        starts = [index for index, line in enumerate(words) if CHAINED.match(line)]
        if not starts:
            return ""
        if said[ends[0]] == DIED:
            words = words[: [*starts, len(words)][1]]
        traceback = words[starts[0] :]
        is_whole = any(not line.startswith(" ") for line in traceback[1:])
        return shorten("\n".join(traceback)) if is_whole else ""

    def last_lines(self) -> str:
        """Return what that worker said last; if none failed, the end of the whole log."""
        if not self._failed_worker:
            return "\n".join(self._end)
        said = self._said[self._failed_worker][1:]
        return "\n".join(said[-LINES:]) or "a worker was ended, for lack of memory perhaps"


def shorten(traceback: str) -> str:
    """Return a traceback without most of its middle, if it is long."""
    lines = traceback.strip().splitlines()
    return "\n".join(lines if len(lines) < 80 else [*lines[:15], "...", *lines[-45:]])
