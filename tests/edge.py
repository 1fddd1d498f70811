"""Requests on the wire that servers are known to misread, each with its one right outcome."""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

PATH = "/predictions/image-classifier"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
MORE = 1.0  # seconds to wait for more responses than there should be


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


def post(*fields: bytes, body: bytes = b"", path: str = PATH, ends: bytes = b"\r\n") -> bytes:
    """Return a request with these header fields besides Host."""
    line = f"POST {path} HTTP/1.1".encode()
    return ends.join([line, b"Host: x", *fields, b"", b""]) + body


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """Return a chunk."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def forms(image: bytes) -> Iterator[Form]:
    """Yield the forms; `image` gets a prediction."""
    length = b"Content-Length: %d" % len(image)
    chunked = b"Transfer-Encoding: chunked"
    last = b"0\r\n\r\n"
    good = post(length, body=image)

    yield Form("CL.TE", post(b"Content-Length: 44", chunked, body=last + SMUGGLED))
    yield Form("TE.CL", post(chunked, b"Content-Length: 4", body=chunk(SMUGGLED) + last))
    for name, field in {
        "two fields": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "chunked, identity": b"Transfer-Encoding: chunked, identity",
        "identity": b"Transfer-Encoding: identity",
        "xchunked": b"Transfer-Encoding: xchunked",
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
        "a blank before the colon": b"Transfer-Encoding : chunked",
        "a vertical tab": b"Transfer-Encoding:\x0bchunked",
    }.items():
        yield Form(f"TE.TE: {name}", post(field, body=last + SMUGGLED))
    for name, value in {
        "two": b"5\r\nContent-Length: 6",
        "a sign": b"+5",
        "a list": b"5, 5",
    }.items():
        yield Form(f"Content-Length: {name}", post(b"Content-Length: " + value, body=b"x" * 6))
    yield Form("obs-fold", post(b"Transfer-Encoding:\r\n chunked", body=last + SMUGGLED))
    yield Form("obs-fold of a field of no meaning", post(b"X: a\r\n b", length, body=image))
    yield Form("bare CR in a field", post(b"X: a\rTransfer-Encoding: chunked", length, body=image))
    yield Form("bare LF line ends", post(length, body=image, ends=b"\n"))
    yield Form("NUL in a field", post(b"X: a\0b", length, body=image))
    yield Form("a field without a colon", post(b"no colon", length, body=image))
    yield Form("chunk size overflow", post(chunked, body=b"10000000000000001\r\nx\r\n" + last))
    yield Form("chunk size with a sign", post(chunked, body=b"-1\r\nx\r\n" + last))
    yield Form("chunk size with 0x", post(chunked, body=b"0x1\r\nx\r\n" + last))
    yield Form("chunk longer than its size", post(chunked, body=b"1\r\nxx\r\n" + last))
    yield Form("chunk with bare LF", post(chunked, body=b"1\nx\n0\n\n" + SMUGGLED))
    quoted = b';a="\r\n0\r\n\r\n' + SMUGGLED + b'"'
    yield Form(
        "line end in a quoted chunk extension", post(chunked, body=chunk(b"x", quoted) + last)
    )
    yield Form("HTTP/1.0 with chunks", good.replace(b"1.1", b"1.0").replace(length, chunked))
    yield Form("no Host", good.replace(b"Host: x\r\n", b""))
    yield Form("two Hosts", good.replace(b"Host: x", b"Host: x\r\nHost: y"))
    yield Form("HTTP/0.9", b"GET /ping\r\n\r\n")
    yield Form("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield Form("TLS where there is none", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"a" * 99)
    yield Form(
        "invalid UTF-8 in the path",
        post(length, body=image, path=PATH).replace(b"image-c", b"\xff\xfe"),
    )
    yield Form(
        "invalid UTF-8 in the path, encoded",
        post(length, body=image, path=f"{PATH}%ff"),
        (404,),
        False,
    )

    yield Form("header flood: many fields", post(*(b"X-%d: y" % n for n in range(10_000))), (431,))
    yield Form("header flood: a field without end", post(b"X: ")[:-4] + b"y" * 400_000, (431,))
    yield Form("header flood: a long path", post(path=f"/{'a' * 100_000}"), (431,))
    yield Form("trailer flood", post(chunked, body=b"0\r\n" + b"X: y\r\n" * 20_000), (431,))

    yield Form("pipelining", good + good + good, (200, 200, 200), False)
    yield Form("pipelining, a bad one last", good + b"no HTTP\r\n\r\n", (200, 400))
    yield Form("pipelining, half of one last", good + good[:100], (200,), half=True)
    yield Form("half-closed after the request", good, (200,), half=True)
    yield Form("half-closed in the body", good[:-10], (), half=True)
    yield Form(
        "trailers that would be fields",
        post(chunked, body=chunk(image) + b"0\r\nHost: y\r\n\r\n"),
        (200,),
        False,
    )
    yield Form("chunk extensions", post(chunked, body=chunk(image, b";a=b") + last), (200,), False)

    bomb = gzip.compress(bytes(100_000_000))
    field = b"Content-Length: %d" % len(bomb)
    yield Form("gzip bomb", post(b"Content-Encoding: gzip", field, body=bomb), (415,), False)
    part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    parts = part * 18_000 + b"--X--\r\n"
    kind = b"Content-Type: multipart/form-data; boundary=X"
    field = b"Content-Length: %d" % len(parts)
    yield Form("multipart bomb: parts", post(kind, field, body=parts), (400,), False)
    head = (
        b'--X\r\nContent-Disposition: form-data; name="'
        + b"a" * 500_000
        + b'"\r\n\r\n\r\n--X--\r\n'
    )
    field = b"Content-Length: %d" % len(head)
    yield Form("multipart bomb: a part's head", post(kind, field, body=head), (400,), False)
    returns = b"--X\r\n\r\n" + b"\r" * 900_000 + b"\r\n--X--\r\n"
    field = b"Content-Length: %d" % len(returns)
    yield Form("multipart bomb: line ends", post(kind, field, body=returns), (400,), False)


def exchange(url: str, form: Form, seconds: float = 30) -> tuple[tuple[int, ...], bool]:
    """Send a form; return the statuses that came, and whether the server ended the connection."""
    place = urlsplit(url)
    received, ended = b"", False
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        try:
            connection.sendall(form.data)
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


def statuses_in(received: bytes) -> tuple[int, ...]:
    """Return the statuses of the responses, 100 left out."""
    return tuple(
        int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", received) if found != b"100"
    )
