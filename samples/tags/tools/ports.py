# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Finds ports for servers."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens.

    A port that is merely free now may be given to someone else before a server has started: of
    five that one server got so, two were the same once in 400 starts. A connection that ended a
    moment ago keeps the port from that for a minute, and no server from listening there: see
    https://github.com/Yelp/ephemeral-port-reserve.
    """
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        connection, _ = listener.accept()
        with connection:  # who closes first is who keeps the port: this end, not the client's
            port: int = listener.getsockname()[1]
        return port
