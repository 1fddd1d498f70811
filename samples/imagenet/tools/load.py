# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Sends a load over HTTP, and measures what comes back."""

from __future__ import annotations

import asyncio
import functools
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE = 60  # seconds that a reply may take


@dataclass
class Load:
    """What came of a load.

    Attributes:
        seconds: for which replies were counted.
        latencies: seconds from sending a request to the end of its reply, for each reply.
        replies: how often each reply came: number of the request's body, status, body.
        lost: requests without a reply.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    replies: Counter[tuple[int, int, bytes]] = field(default_factory=Counter)
    lost: int = 0

    @property
    def per_second(self) -> float:
        """How many replies came in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the seconds within which so many per cent of the replies came."""
        return sorted(self.latencies)[math.ceil(percent / 100 * len(self.latencies)) - 1]


class Client(asyncio.Protocol):
    """Sends a request, waits for the reply, sends the next: with little work for each."""

    def __init__(self, requests: Sequence[bytes], number: int, start: float, load: Load) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.number = number  # of the request; each client begins with another
        self._requests = requests
        self._start = start
        self._load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._received = b""
        self._begun = time.perf_counter()
        self._transport.write(self._requests[self.number % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        """Count a reply once it is complete; send the next request, or stop."""
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if length is None or len(body) < int(length[1]):
            if ended and length is None:  # without a length nobody knows where the reply ends
                self._transport.abort()
            return
        now = time.perf_counter()
        if self._start <= now < self._start + self._load.seconds:
            self._load.latencies.append(now - self._begun)
            number = self.number % len(self._requests)
            self._load.replies[number, int(head.split(None, 2)[1]), body] += 1
        self.number += 1
        is_last = re.search(rb"(?i)\nconnection: *close", head)  # as TorchServe's errors say
        if now < self._start + self._load.seconds and not is_last:
            self._send()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the request that has no reply."""
        if not self.ended.done():
            self._load.lost += 1
            self.number += 1
            self.ended.set_result(None)


async def send_load(
    url: str,
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    warmup: float = 1,
    content_type: str = "application/octet-stream",
) -> Load:
    """Let clients send requests, each as soon as it has the reply to the one before.

    Args:
        url: Where to; it begins with http://.
        bodies: Those of the requests, sent in turns.
        clients: How many send at once.
        seconds: How long replies are counted.
        warmup: For so many seconds before, they are not.
        content_type: Of the bodies.

    Raises:
        OSError: Nothing listens there.
    """
    place = urlsplit(url)
    host = place.hostname or "127.0.0.1"
    head = f"POST {place.path or '/'} HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    load = Load(seconds)
    start = time.perf_counter() + warmup

    async def client(number: int) -> None:
        while time.perf_counter() < start + seconds:  # anew when the server ends the connection
            _, protocol = await asyncio.get_running_loop().create_connection(
                functools.partial(Client, requests, number, start, load),
                host,
                place.port or 80,
            )
            await protocol.ended
            number = protocol.number

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    done, hung = await asyncio.wait(tasks, timeout=warmup + seconds + PATIENCE)
    for task in hung:
        task.cancel()
    load.lost += len(hung)
    for task in done:
        task.result()
    return load
