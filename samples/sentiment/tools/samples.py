# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Small texts of the kinds that clients send, to try an archive on."""

from __future__ import annotations

NOT_A_TEXT = b"\x89PNG\r\n\x1a\n\xff"


def sample_texts() -> dict[str, bytes]:
    """Return bodies of requests by kind, each of a few tokens."""
    return {
        "sentence": b"This is good, as always!",
        "sentence in capitals": b"THIS IS NOT GOOD",
        "word with accents": "déjà vu, Größe".encode(),
        "Chinese text": "这部电影很好".encode(),
        "Arabic text": "فيلم جيد".encode(),
        "emoji": "so good 👍🏽".encode(),
        "text in lines": b"good\n\n\tbad\r\n",
        "number": b"2024",
        "text that begins with a bracket": b"[1] a (good) one",
        "JSON object": b'{"text": "a good one"}',
        "pair of texts": b'{"text": "a cat", "text_pair": "a dog"}',
    }


def unlike_texts() -> list[bytes]:
    """Return texts that have little in common."""
    return [
        b"I love this, it is great",
        b"bad, boring, awful",
        b"The train leaves at 9:15",
        "Größe und Güte zählen".encode(),
        "これは日本語の文です".encode(),
        b"x = y + 1;",
        b"no",
        b"who are you? what is it?",
    ]
