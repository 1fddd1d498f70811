# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What an application of ASGI needs here: routes, bodies within bounds, refusals."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tools.engine import MAX_REQUEST_SIZE, failure
from tools.inprocess import Reply

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]
Field = tuple[bytes, bytes]  # of a header

BODY_SECONDS = 10.0  # for a body, and a second more for each
MIN_RATE = 10_000  # bytes that have come
SEND_SECONDS = 60.0  # for a client to take its response
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Refusal(Exception):
    """A request that gets no prediction.

    Args:
        status: The HTTP status.
        kind: The name of TorchServe's exception; without one, the response has no body.
        message: For people.
        fields: Of the response's header.
    """

    def __init__(self, status: int, kind: str = "", message: str = "", *fields: Field) -> None:
        super().__init__(message)
        self.reply = failure(status, kind, message) if kind else Reply(status, "")
        self.fields = fields


class Disconnected(Exception):
    """The client has gone before its request was whole."""


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        scope: as ASGI has it.
        headers: by their names, in small letters.
        receive: as ASGI has it.
        parts: those of the path that the route has names for; "" for those that are not there.
    """

    scope: Mapping[str, Any]
    headers: Mapping[bytes, bytes]
    receive: Receive
    parts: Mapping[str, str]

    def text(self, name: bytes) -> str:
        """Return a field of the header; empty if there is none."""
        return self.headers.get(name, b"").decode("latin-1")

    async def body(self, take: Callable[[int], None]) -> bytes:
        """Return the body.

        Args:
            take: Told of each part how many bytes it has; may refuse it.

        Raises:
            Refusal: It is too long or too slow, or `take` refuses it.
            Disconnected: The client has gone.
        """
        if self.text(b"content-encoding").lower() not in ("", "identity"):
            message = "the body is compressed; send it as it is, without Content-Encoding"
            raise Refusal(415, "BadRequestException", message, (b"accept-encoding", b"identity"))
        if int(self.headers.get(b"content-length", 0)) > MAX_REQUEST_SIZE:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS) as end:
                began = asyncio.get_running_loop().time()
                while True:
                    part = await self.receive()
                    if part["type"] == "http.disconnect":
                        raise Disconnected
                    take(len(part["body"]))
                    body += part["body"]
                    if len(body) > MAX_REQUEST_SIZE:
                        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                    if not part["more_body"]:
                        return bytes(body)
                    end.reschedule(began + BODY_SECONDS + len(body) / MIN_RATE)
        except TimeoutError:
            # The rest is not waited for.
            refusal = "the body came too slowly"
            close = (b"connection", b"close")
            raise Refusal(408, "BadRequestException", refusal, close) from None


Endpoint = Callable[[Request], Awaitable[Reply]]
Route = tuple[tuple[str, ...], str, Endpoint]  # methods, pattern of the path, and what answers


class App:
    """Answers what its routes take, and refuses the rest in TorchServe's form."""

    def __init__(self, *routes: Route) -> None:
        self._routes = [(methods, re.compile(path), call) for methods, path, call in routes]

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = str(uuid.uuid4()).encode()
        fields: list[Field] = [(b"x-request-id", request_id)]
        try:
            reply = await self._reply(scope, headers, receive)
        except Refusal as refusal:
            reply = refusal.reply
            fields += refusal.fields
            if b"expect" in headers:  # its body may come or not: nobody knows what comes next
                fields.append((b"connection", b"close"))
        except Disconnected:
            return
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        fields.append((b"content-length", b"%d" % len(body)))
        if body:
            fields.append((b"content-type", reply.content_type.encode("latin-1")))
        async with asyncio.timeout(SEND_SECONDS):
            start = {"type": "http.response.start", "status": reply.status, "headers": fields}
            await send(start)
            await send({"type": "http.response.body", "body": body})

    async def _reply(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], receive: Receive
    ) -> Reply:
        allowed: set[str] = set()
        for methods, pattern, endpoint in self._routes:
            if found := pattern.fullmatch(scope["path"]):
                if scope["method"] in methods:
                    return await endpoint(Request(scope, headers, receive, found.groupdict("")))
                allowed.update(methods)
        if allowed:
            message = "Requested method is not allowed, please refer to API document."
            allow = (b"allow", ", ".join(sorted(allowed)).encode())
            raise Refusal(405, "MethodNotAllowedException", message, allow)
        message = "Requested resource is not found, please refer to API document."
        raise Refusal(404, "ResourceNotFoundException", message)
