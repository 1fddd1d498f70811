"""Requests on the wire that servers are known to misread, each with its one outcome by engine.

The tests send them, and `ts-template torture` sends them to a user's project.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

Outcome = tuple[tuple[int, ...], bool]  # statuses, and whether the server ends the connection

TORCHSERVE = "torchserve"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
TRIES = 5  # where a connection ends before its responses have come
MORE = 1.0  # seconds to wait for more responses than there should be
MORE_FOLLOWS = getattr(socket, "MSG_MORE", 0)  # of Linux: the last bytes wait for what comes next


# Where TorchServe has another outcome than the right one. What it takes for two requests gets the
# response of the second. A proxy in front of it, as in deploy/docker/, lets none of these through.
OF_TORCHSERVE: dict[str, Outcome] = {
    "CL.TE": ((404,), True),
    "TE.TE: two fields": ((404,), True),
    "TE.TE: chunked, identity": ((404,), True),
    "TE.TE: gzip, chunked": ((404,), True),
    "obs-fold": ((404,), True),
    "obs-fold of a field of no meaning": ((200,), False),
    "bare LF line ends": ((200,), False),
    "chunk size with a sign": ((), True),
    "chunk with bare LF": ((404,), True),
    "line end in a quoted chunk extension": ((404,), True),
    "no Host": ((200,), False),
    "two Hosts": ((200,), False),
    "HTTP/2 without being asked": ((500,), True),
    "TLS where there is none": ((), False),
    "invalid UTF-8 in the path": ((404,), True),
    "invalid UTF-8 in the path, encoded": ((404,), True),
    "header flood: many fields": ((400,), True),
    "header flood: a field without end": ((400,), True),
    "header flood: a long path": ((400,), True),
    "trailer flood": ((400,), True),
    "pipelining, a bad one last": ((400,), True),
    "pipelining, half of one last": ((), True),
    "half-closed after the request": ((), True),
    "gzip bomb": ((415,), True),
    "multipart bomb: parts": ((400,), True),
    "multipart bomb: a part's head": ((400,), True),
    "multipart bomb: line ends": ((500,), True),
}


@dataclass(frozen=True)
class Form:
    """What is sent on one connection.

    Attributes:
        name: as docs/production.md has it.
        data: all bytes.
        statuses: of the responses that must come, in order.
        ends: whether the server must then end the connection.
        half: whether the client sends its own end, and still reads.
    """

    name: str
    data: bytes
    statuses: tuple[int, ...] = (400,)
    ends: bool = True
    half: bool = False

    def in_engine(self, engine: str) -> Form:
        """Return the same with what must come of it in an engine, as serve.py names it."""
        if engine != TORCHSERVE or self.name not in OF_TORCHSERVE:
            return self
        statuses, ends = OF_TORCHSERVE[self.name]
        return replace(self, statuses=statuses, ends=ends)


def post(path: str, *fields: bytes, body: bytes = b"", ends: bytes = b"\r\n") -> bytes:
    """Return a request with these header fields besides Host."""
    line = f"POST {path} HTTP/1.1".encode()
    return ends.join([line, b"Host: x", *fields, b"", b""]) + body


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """Return a chunk."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def forms(image: bytes, path: str, second: bytes = SMUGGLED) -> Iterator[Form]:
    """Yield the forms with their right outcomes.

    Args:
        image: What gets a prediction.
        path: Where it does.
        second: The request in another, where a server may take one for two.
    """
    send = functools.partial(post, path)
    length = b"Content-Length: %d" % len(image)
    chunked = b"Transfer-Encoding: chunked"
    last = b"0\r\n\r\n"
    good = send(length, body=image)

    yield Form(
        "CL.TE", send(b"Content-Length: %d" % (len(second) + 9), chunked, body=last + second)
    )
    yield Form("TE.CL", send(chunked, b"Content-Length: 4", body=chunk(second) + last))
    for name, field in {
        "two fields": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "chunked, identity": b"Transfer-Encoding: chunked, identity",
        "identity": b"Transfer-Encoding: identity",
        "xchunked": b"Transfer-Encoding: xchunked",
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
        "a blank before the colon": b"Transfer-Encoding : chunked",
        "a vertical tab": b"Transfer-Encoding:\x0bchunked",
    }.items():
        yield Form(f"TE.TE: {name}", send(field, body=last + second))
    for name, value in {
        "two": b"5\r\nContent-Length: 6",
        "a sign": b"+5",
        "a list": b"5, 5",
    }.items():
        yield Form(f"Content-Length: {name}", send(b"Content-Length: " + value, body=b"x" * 6))
    yield Form("obs-fold", send(b"Transfer-Encoding:\r\n chunked", body=last + second))
    yield Form("obs-fold of a field of no meaning", send(b"X: a\r\n b", length, body=image))
    yield Form("bare CR in a field", send(b"X: a\rTransfer-Encoding: chunked", length, body=image))
    yield Form("bare LF line ends", send(length, body=image, ends=b"\n"))
    yield Form("NUL in a field", send(b"X: a\0b", length, body=image))
    yield Form("a field without a colon", send(b"no colon", length, body=image))
    yield Form("chunk size overflow", send(chunked, body=b"10000000000000001\r\nx\r\n" + last))
    yield Form("chunk size with a sign", send(chunked, body=b"-1\r\nx\r\n" + last))
    yield Form("chunk size with 0x", send(chunked, body=b"0x1\r\nx\r\n" + last))
    yield Form("chunk longer than its size", send(chunked, body=b"1\r\nxx\r\n" + last))
    yield Form("chunk with bare LF", send(chunked, body=b"1\nx\n0\n\n" + second))
    # Whoever ends the line in the quotes reads "x", the last chunk, and another request.
    quoted = b';a="\r\nx\r\n0\r\n\r\n' + second + b'"'
    yield Form(
        "line end in a quoted chunk extension", send(chunked, body=chunk(b"x", quoted) + last)
    )
    yield Form("HTTP/1.0 with chunks", good.replace(b"1.1", b"1.0").replace(length, chunked))
    yield Form("no Host", good.replace(b"Host: x\r\n", b""))
    yield Form("two Hosts", good.replace(b"Host: x", b"Host: x\r\nHost: y"))
    yield Form("HTTP/0.9", b"GET /ping\r\n\r\n")
    yield Form("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield Form("TLS where there is none", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"a" * 99)
    yield Form(
        "invalid UTF-8 in the path",
        good.replace(path.encode(), path.encode()[:-2] + b"\xff\xfe"),
    )
    yield Form(
        "invalid UTF-8 in the path, encoded",
        post(f"{path}%ff", length, body=image),
        (404,),
        False,
    )

    yield Form("header flood: many fields", send(*(b"X-%d: y" % n for n in range(10_000))), (431,))
    yield Form("header flood: a field without end", send(b"X: ")[:-4] + b"y" * 400_000, (431,))
    yield Form("header flood: a long path", post(f"/{'a' * 100_000}"), (431,))
    yield Form("trailer flood", send(chunked, body=b"0\r\n" + b"X: y\r\n" * 20_000), (431,))

    yield Form("pipelining", good + good + good, (200, 200, 200), False)
    yield Form("pipelining, a bad one last", good + b"no HTTP\r\n\r\n", (200, 400))
    yield Form("pipelining, half of one last", good + good[:100], (200,), half=True)
    yield Form("half-closed after the request", good, (200,), half=True)
    yield Form("half-closed in the body", good[:-10], (), half=True)
    yield Form(
        "trailers that would be fields",
        send(chunked, body=chunk(image) + b"0\r\nHost: y\r\n\r\n"),
        (200,),
        False,
    )
    yield Form("chunk extensions", send(chunked, body=chunk(image, b";a=b") + last), (200,), False)

    bomb = gzip.compress(bytes(100_000_000))
    field = b"Content-Length: %d" % len(bomb)
    yield Form("gzip bomb", send(b"Content-Encoding: gzip", field, body=bomb), (415,), False)
    part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    parts = part * 18_000 + b"--X--\r\n"
    kind = b"Content-Type: multipart/form-data; boundary=X"
    field = b"Content-Length: %d" % len(parts)
    yield Form("multipart bomb: parts", send(kind, field, body=parts), (400,), False)
    head = (
        b'--X\r\nContent-Disposition: form-data; name="'
        + b"a" * 500_000
        + b'"\r\n\r\n\r\n--X--\r\n'
    )
    field = b"Content-Length: %d" % len(head)
    yield Form("multipart bomb: a part's head", send(kind, field, body=head), (400,), False)
    returns = b"--X\r\n\r\n" + b"\r" * 900_000 + b"\r\n--X--\r\n"
    field = b"Content-Length: %d" % len(returns)
    yield Form("multipart bomb: line ends", send(kind, field, body=returns), (400,), False)


def exchange(url: str, form: Form, seconds: float = 30) -> tuple[tuple[int, ...], bool]:
    """Send a form; return the statuses that came, and whether the server ended the connection."""
    place = urlsplit(url)
    received, ended = b"", False
    try:
        made = socket.create_connection((place.hostname, place.port), timeout=seconds)
    except OSError:
        return (), True
    with made as connection:
        try:
            # The end goes with the last bytes: a response must not come between them.
            connection.sendall(form.data, MORE_FOLLOWS if form.half else 0)
            if form.half:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            ended = True  # what was written before is still there
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = statuses_in(received)
            is_complete = len(found) >= len(form.statuses) and not form.ends
            connection.settimeout(MORE if is_complete else seconds)
            try:
                part = connection.recv(65536)
            except TimeoutError:
                break
            except OSError:
                part = b""
            if not part:
                ended = True
                break
            received += part
    return statuses_in(received), ended


def settled(url: str, form: Form) -> tuple[tuple[int, ...], bool]:
    """Send a form as `exchange` does, and anew while the end overtakes the responses before it.

    A server that ends a connection with bytes unread resets it, which may cost what it has sent.
    """
    for _ in range(TRIES):
        statuses, ended = exchange(url, form)
        is_cut = ended and form.ends and statuses == form.statuses[: len(statuses)]
        if not is_cut or statuses == form.statuses:
            break
    return statuses, ended


def statuses_in(received: bytes) -> tuple[int, ...]:
    """Return the statuses of the responses, 100 left out."""
    return tuple(
        int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", received) if found != b"100"
    )


@contextlib.contextmanager
def held_connections(url: str, count: int) -> Iterator[int]:
    """Hold connections that send nothing, half a head, or half a body, in turn.

    Yields how many the server did not take.
    """
    place = urlsplit(url)
    begun = [b"", b"POST / HT", post(place.path, b"Content-Length: 9", body=b"x")]
    with contextlib.ExitStack() as stack:
        refused = 0
        for number in range(count):
            try:
                connection = socket.create_connection((place.hostname, place.port), timeout=30)
                stack.enter_context(connection).sendall(begun[number % len(begun)])
            except OSError:
                refused += 1
        yield refused
