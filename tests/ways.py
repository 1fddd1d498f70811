"""Ways to send an image that clients use, right and wrong ones; for the tests of each engine."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from generator.hostile import BINARY, JSON

TEXT = "text/plain"
FORM = "multipart/form-data; boundary=X"
URLENCODED = "application/x-www-form-urlencoded"  # what `curl -d` announces


def form(*fields: tuple[str, bytes]) -> bytes:
    """Return a form as `curl -F` writes it: name and content of each field."""
    parts = [
        b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), content)
        for name, content in fields
    ]
    return b"".join(parts) + b"--X--\r\n"


def in_base64(image: bytes) -> dict[str, str]:
    """Return texts that stand for an image without doubt. Its base64 must have "+", "/" and "="."""
    text = base64.b64encode(image).decode()
    assert all(character in text for character in "+/=")
    lines = base64.encodebytes(image).decode()
    return {
        "as it is": text,
        "in lines": lines,
        "in lines of Windows": lines.replace("\n", "\r\n"),
        "in lines that a shell joined": lines.replace("\n", " "),
        "URL-safe": base64.urlsafe_b64encode(image).decode(),
        "without padding": text.rstrip("="),
        "URL-safe without padding": base64.urlsafe_b64encode(image).decode().rstrip("="),
        "with blanks for its plus signs": text.replace("+", " "),
        "percent-encoded": quote(text, safe=""),
        "as Python shows bytes": str(text.encode()),
        "a data URL": f"data:image/jpeg;base64,{text}",
        "a data URL in capitals": f"DATA:image/jpeg;BASE64,{text}",
        "a URL-safe data URL": f"data:;base64,{base64.urlsafe_b64encode(image).decode()}",
    }


def right(image: bytes) -> dict[str, tuple[bytes, str]]:
    """Return requests, each with its content type, that get the prediction for an image."""
    texts = in_base64(image)
    field = ("image", image)
    return {
        **{f"base64 {name}": (text.encode(), TEXT) for name, text in texts.items()},
        **{
            f"JSON with base64 {name}": (json.dumps({"data": text}).encode(), JSON)
            for name, text in texts.items()
        },
        "a file": (image, BINARY),
        "a file with its own type": (image, "image/jpeg"),
        "a file as JSON": (image, JSON),
        "a file as text": (image, TEXT),
        "a form": (form(field), FORM),
        "a form in quotes": (form(field), 'multipart/form-data; boundary="X"'),
        "a form with a number": (form(field, ("top_k", b"5")), FORM),
        "a form with a text first": (form(("title", "Käthe, 3".encode()), field), FORM),
        "a form with an empty field": (form(field, ("title", b"")), FORM),
        "a form with JSON": (form(field, ("meta", b'{"user": 1}')), FORM),
        "a form with base64 and a text": (
            form(("image", texts["as it is"].encode()), ("title", b"a cat")),
            FORM,
        ),
        "a field of curl -d": (b"data=" + texts["as it is"].encode(), URLENCODED),
        "a field of curl --data-urlencode": (b"x=" + texts["percent-encoded"].encode(), URLENCODED),
    }


def wrong(image: bytes) -> dict[str, tuple[bytes, str, int, str]]:
    """Return requests with what a server misreads: status, and what its message must name."""
    text = base64.b64encode(image)
    body = form(("image", image))
    return {
        "curl -d with base64": (text, URLENCODED, 400, "text/plain"),
        "curl -d with a data URL": (b"data:;base64," + text, URLENCODED, 400, "text/plain"),
        "curl -d with JSON": (
            json.dumps({"data": text.decode()}).encode(),
            URLENCODED,
            400,
            "application/json",
        ),
        "no boundary": (body, "multipart/form-data", 415, "multipart/form-data; boundary="),
        "another boundary": (body, "multipart/form-data; boundary=Y", 400, "its boundary"),
        "half a form": (body[: len(body) // 2], FORM, 400, "its boundary"),
        "base64 that was cut": (text[:1001], TEXT, 400, "base64"),
        "UTF-16": (text.decode().encode("utf-16"), TEXT, 415, "byte order mark"),
    }
