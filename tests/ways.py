"""Ways to send an item that clients use, right and wrong ones; for the tests of each engine."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from generator import hostile
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


def right_text(text: bytes) -> dict[str, tuple[bytes, str]]:
    """Return requests, each with its content type, that get the prediction for a text."""
    content = text.decode()
    field = ("text", text)
    return {
        "a text": (text, TEXT),
        "a text with its encoding": (text, "text/plain; charset=utf-8"),
        "a text of no known type": (text, BINARY),
        "a text as JSON": (text, JSON),
        "a text with a byte order mark": (b"\xef\xbb\xbf" + text, TEXT),
        "JSON": (json.dumps({"text": content}).encode(), JSON),
        "JSON in UTF-8": (json.dumps({"text": content}, ensure_ascii=False).encode(), JSON),
        "JSON as text": (json.dumps({"data": content}).encode(), TEXT),
        "JSON as transformers takes it": (json.dumps({"inputs": content}).encode(), JSON),
        "a form": (form(field), FORM),
        "a form in quotes": (form(field), 'multipart/form-data; boundary="X"'),
        "a field of curl --data-urlencode": (b"text=" + quote_plus(text).encode(), URLENCODED),
    }


def wrong_text(text: bytes) -> dict[str, tuple[bytes, str, int, str]]:
    """Return requests with what a server misreads: status, and what its message must name."""
    body = form(("text", text))
    return {
        "curl -d with a text": (quote(text).encode(), URLENCODED, 400, "text/plain"),
        "curl -d with JSON": (
            json.dumps({"text": text.decode()}).encode(),
            URLENCODED,
            400,
            "application/json",
        ),
        "a field of another name": (form(("title", text)), FORM, 400, "the field text"),
        "no boundary": (body, "multipart/form-data", 415, "multipart/form-data; boundary="),
        "another boundary": (body, "multipart/form-data; boundary=Y", 400, "the field text"),
        "half a form": (body[: len(body) // 2], FORM, 400, "the field text"),
        "JSON that was cut": (b'{"text": "a', JSON, 400, "JSON"),
        "JSON with something else": (b'{"review": "good"}', JSON, 400, "text_pair"),
        "UTF-16": (text.decode().encode("utf-16"), TEXT, 400, "UTF-8"),
        "nothing but blanks": (b" \n", TEXT, 400, "empty"),
    }


@dataclass(frozen=True)
class Kind:
    """How items of a kind are sent, of which each is bytes.

    Attributes:
        right, wrong: requests for one.
        bad: bodies that get no prediction, with their status.
        in_json: returns an item as one of several in JSON.
        in_tensor: returns it as KServe's v2 has it.
        forms: returns it in other forms of JSON, by their names.
        no_item: what is refused where an item should be, and a word of why.
    """

    right: Callable[[bytes], dict[str, tuple[bytes, str]]]
    wrong: Callable[[bytes], dict[str, tuple[bytes, str, int, str]]]
    bad: tuple[tuple[bytes, int], ...]
    in_json: Callable[[bytes], Any]
    in_tensor: Callable[[bytes], str]
    forms: Callable[[bytes], dict[str, Any]]
    no_item: tuple[str, str]


IMAGES = Kind(
    right,
    wrong,
    (
        (b"\xff\xd8\xff\xe0 no JPEG", 400),
        (b"%PDF-1.7", 415),
        (hostile.blank_png(20_000, 20_000), 413),
    ),
    lambda image: {"data": base64.b64encode(image).decode()},
    lambda image: base64.b64encode(image).decode(),
    lambda image: {f"base64 {name}": {"data": text} for name, text in in_base64(image).items()},
    ("no image", "base64"),
)
TEXTS = Kind(
    right_text,
    wrong_text,
    ((b"\xff\xfe no UTF-8", 400), (b'{"text": 7}', 400), (b"x" * 100_001, 413)),
    lambda text: {"text": text.decode()},
    bytes.decode,
    lambda text: {"a text": text.decode(), "of transformers": {"inputs": text.decode()}},
    ("", "empty"),
)
