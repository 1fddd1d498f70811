# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Measure the service with your own pictures: answers a second, and how long each takes.

Examples:
    python benchmark.py cat.jpg dog.jpg
    python benchmark.py --url http://127.0.0.1:8080/predictions/NAME --clients 1,64 cat.jpg
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from project import MODEL_STORE, ProjectError, run
from serve import check_archive, serving

PATIENCE = 60  # seconds that an answer may take


def main() -> int:
    """Start TorchServe unless --url names a service, and measure it; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="sent in turns")
    parser.add_argument("--url", help="of a service that runs (default: TorchServe is started)")
    parser.add_argument(
        "--clients", default="1,4,16", help="how many send at once, in turns (default: 1,4,16)"
    )
    parser.add_argument("--seconds", type=float, default=5, help="for each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", options.clients):
        parser.error(f"--clients is {options.clients}; expected numbers, as in 1,4,16")
    if not (options.url or "http://").startswith("http://"):
        parser.error(f"--url is {options.url}; expected http://HOST:PORT/predictions/NAME")
    if options.seconds <= 0:
        parser.error("--seconds must be more than 0")
    pictures = [path.read_bytes() for path in options.pictures]
    if not options.url:
        check_archive()
    rows = []
    with contextlib.nullcontext(options.url) if options.url else serving(MODEL_STORE) as url:
        if not options.json:
            print(f"{url}\n\nclients  answers/s   p50 ms   p99 ms  errors", flush=True)
        for clients in map(int, options.clients.split(",")):
            load = asyncio.run(send_load(url, pictures, clients, options.seconds))
            if not load.latencies:
                raise ProjectError(f"{url} gave no answer within {options.seconds:g} s")
            rows.append(figures(clients, load))
            if not options.json:
                line = "{clients:7} {per_second:10.1f} {p50_ms:8.1f} {p99_ms:8.1f} {errors:7}"
                print(line.format(**rows[-1]), *rows[-1]["first_error"], flush=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    return int(any(row["errors"] for row in rows))


def figures(clients: int, load: Load) -> dict[str, Any]:
    """Return the figures of a load; an error is a status other than 200, or no answer."""
    refused = {key: count for key, count in load.answers.items() if key[1] != 200}
    return {
        "clients": clients,
        "per_second": load.per_second,
        "p50_ms": 1000 * load.percentile(50),
        "p99_ms": 1000 * load.percentile(99),
        "errors": sum(refused.values()) + load.lost,
        "first_error": [f"{key[1]} {key[2].decode(errors='replace')}" for key in refused][:1],
    }


@dataclass
class Load:
    """What came of a load.

    Attributes:
        seconds: for which answers were counted.
        latencies: seconds from sending a request to the end of its answer, for each answer.
        answers: how often each answer came: number of the picture, status, body.
        lost: requests without an answer.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    answers: Counter[tuple[int, int, bytes]] = field(default_factory=Counter)
    lost: int = 0

    @property
    def per_second(self) -> float:
        """How many answers came in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the seconds within which so many per cent of the answers came."""
        return sorted(self.latencies)[math.ceil(percent / 100 * len(self.latencies)) - 1]


class Client(asyncio.Protocol):
    """Sends a picture, waits for the answer, sends the next: with little work for each."""

    def __init__(self, requests: Sequence[bytes], number: int, start: float, load: Load) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._number = number  # of the picture; each client begins with another
        self._start = start
        self._load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first picture."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._received = b""
        self._begun = time.perf_counter()
        self._transport.write(self._requests[self._number % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        """Note an answer once it is complete; send the next picture, or stop."""
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if length is None or len(body) < int(length[1]):
            if ended and length is None:  # TorchServe always tells; who does not cannot be followed
                self._transport.abort()
            return
        now = time.perf_counter()
        if self._start <= now < self._start + self._load.seconds:
            self._load.latencies.append(now - self._begun)
            picture = self._number % len(self._requests)
            self._load.answers[picture, int(head.split(None, 2)[1]), body] += 1
        if now < self._start + self._load.seconds:
            self._number += 1
            self._ask()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the request that is not answered."""
        if not self.ended.done():
            self._load.lost += 1
            self.ended.set_result(None)


async def send_load(
    url: str,
    pictures: Sequence[bytes],
    clients: int,
    seconds: float,
    warmup: float = 1,
    content_type: str = "application/octet-stream",
) -> Load:
    """Let clients send pictures, each as soon as it has the answer to the one before.

    Args:
        url: Where to; it begins with http://.
        pictures: The bodies of the requests, sent in turns.
        clients: How many send at once.
        seconds: How long answers are counted.
        warmup: For so many seconds before, they are not.
        content_type: Of the bodies.

    Raises:
        OSError: Nothing listens there.
    """
    place = urlsplit(url)
    host = place.hostname or "127.0.0.1"
    head = f"POST {place.path or '/'} HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in pictures]
    load = Load(seconds)
    start = time.perf_counter() + warmup

    async def client(number: int) -> None:
        while time.perf_counter() < start + seconds:  # anew when the server ends the connection
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: Client(requests, number, start, load), host, place.port or 80
            )
            await protocol.ended

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    done, hung = await asyncio.wait(tasks, timeout=warmup + seconds + PATIENCE)
    for task in hung:
        task.cancel()
    load.lost += len(hung)
    for task in done:
        task.result()
    return load


if __name__ == "__main__":
    run(main)
