# copier update rewrites this file, unless "What is yours" in README.md names it.
"""A connection of uvicorn's, with bounds on what a client may make a worker hold and wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD = 32_768  # bytes of a request line and its header fields
HEAD_SECONDS = 10.0  # from the first byte of a request to the end of its head
LINGER_SECONDS = 5.0  # for the rest of a body that was refused before its end


class Connection(HttpToolsProtocol):
    """Serves one connection; httptools reads the requests as strictly as RFC 9112 asks.

    A request that cannot be read is refused after those before it have been answered, and ends the
    connection: nobody knows where the next one begins.

    Args:
        on_end: Gets this connection when it has ended.
        options: Those of uvicorn.

    Attributes:
        is_last: whether the next response is to be the last of its connection.
        refused: the status with which a request was refused that could not be read; 0 without one.
    """

    def __init__(self, on_end: Callable[[Connection], None], **options: Any) -> None:
        super().__init__(**options)
        self.is_last = False
        self.refused = 0
        self._on_end = on_end
        self._in_head = self._in_body = False
        self._head_size = self._unread = 0
        self._is_over = False  # nothing more is read
        self._refusal: HTTPStatus | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is under way."""
        return not (self._in_head or self._in_body or self._owes_response())

    def end_soon(self) -> None:
        """Make the response under way, or the next one, the last."""
        self.is_last = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # ----------------------------------------------------------------- what the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self._stop_timer()
        super().connection_lost(exc)
        self._on_end(self)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that sends no more what it has asked in full; then end the connection."""
        self._is_over = True
        if self._in_body and self.pipeline:
            self.pipeline.popleft()
            return True
        self.end_soon()
        return self._owes_response() and not self._in_body

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        if self._is_over:
            return
        if self._timer is None and self.is_idle:
            self._wait_for_head()
        began_before = self._in_head
        super().data_received(data)
        if began_before and self._in_head:
            self._unread += len(data)  # a field that does not end is not counted in `_grow`
            if self._unread > MAX_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # -------------------------------------------------------------------- what the parser calls

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._in_head = True
        self._head_size = self._unread = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field. Behind a chunked body, fields are counted and left out."""
        self._grow(len(name) + len(value) + 4)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check what the parser lets through, and start the request."""
        fields = [name for name, _ in self.headers]
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise ValueError("this is HTTP/1")
        if version == "1.1" and fields.count(b"host") != 1:
            raise ValueError("a request has one Host")
        if b"transfer-encoding" in fields:
            coding = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
            if b"content-length" in fields or coding != [b"chunked"]:
                raise ValueError("a body has one length")
            if version != "1.1":
                raise ValueError("HTTP/1.0 has no chunks")
        super().on_headers_complete()
        self._stop_timer()
        self._in_head, self._in_body = False, True
        if self.is_last:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be read."""
        too_large = self._head_size > MAX_HEAD
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
        )

    # --------------------------------------------------------------------- what the request calls

    def on_response_complete(self) -> None:
        """Go on with the next request, or with what was refused."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self._is_over and is_last:
            self._write_refusal()
        elif self._in_body and is_last:  # it did not want the rest
            self._stop_timer()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    # ---------------------------------------------------------------------------------- the rest

    def _owes_response(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _grow(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise ValueError("the head is too large")

    def _wait_for_head(self) -> None:
        timeout = partial(self._refuse, HTTPStatus.REQUEST_TIMEOUT)
        self._timer = self.loop.call_later(HEAD_SECONDS, timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        if self._is_over or self.transport.is_closing():
            return
        self._is_over, self._refusal = True, status
        if not self._owes_response():
            self._write_refusal()
        elif self._in_body:
            if self.pipeline:  # it has not begun
                self.pipeline.popleft()
            else:
                self._write_refusal()

    def _write_refusal(self) -> None:
        if self.transport.is_closing():
            return
        status = self._refusal
        if status and not (self._owes_response() and self.cycle.response_started):
            error = {"code": status, "type": "BadRequestException", "message": status.description}
            body = json.dumps(error, indent=2).encode()
            fields = b"content-type: application/json\r\nconnection: close\r\n"
            length = b"content-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + fields + length + body)
            self.refused = status
        self.transport.close()
