# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Reads and writes settings in the format of java.util.Properties, as Java does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# A logical line: natural ones that end in a backslash go on in the next.
LINE = re.compile(
    r"(?:[ \t\f\r\n]|\\(?:\r\n?|\n))*"  # what is blank
    r"(?:[#!][^\r\n]*|((?:\\(?:\r\n|.|\Z)|[^\\\r\n])+))",  # a comment, or a line
    re.DOTALL,
)
CONTINUATION = re.compile(r"\\(?:(?:\r\n?|\n)[ \t\f]*|\Z)|(\\.)", re.DOTALL)
PAIR = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
ESCAPE = re.compile(r"\\(u([0-9a-fA-F]{4})?|.)", re.DOTALL)
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PropertiesError(ValueError):
    """A line that Java refuses; the message says what is wrong with it.

    Attributes:
        line: its number, counted from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Property(NamedTuple):
    """A setting, and the number of the line where it begins, counted from 1."""

    line: int
    key: str
    value: str


def read_properties(content: bytes) -> Iterator[Property]:
    """Yield the settings in a file, in its order; of those with one key, Java takes the last.

    Raises:
        PropertiesError: A line has an escape that Java refuses.
    """
    text = content.decode("latin-1")
    for match in LINE.finditer(text):
        if match[1] is not None:
            line = 1 + len(re.findall(r"\r\n?|\n", text[: match.start(1)]))
            pair = PAIR.match(CONTINUATION.sub(lambda found: found[1] or "", match[1]))
            assert pair is not None  # it matches whatever there is
            yield Property(line, *(unescape(part, line) for part in pair.groups()))


def unescape(text: str, line: int) -> str:
    """Return what Java makes of the escapes in a key or a value."""

    def character(match: re.Match[str]) -> str:
        letter, code = match.groups()
        if letter == "u":
            raise PropertiesError(line, r"\u must be followed by four hexadecimal digits")
        return chr(int(code, 16)) if code else LETTERS.get(letter, letter)

    units = ESCAPE.sub(character, text).encode("utf-16", "surrogatepass")
    return units.decode("utf-16", "replace")


def write_property(key: str, value: str) -> str:
    """Return the line, in ASCII, that Java reads as this key and value."""
    key = re.sub(r"[ =:#!]", r"\\\g<0>", escape(key))
    return f"{key}={escape(value)}\n"


def escape(text: str) -> str:
    """Return the text with escapes for all but the printable letters of ASCII."""

    def code(match: re.Match[str]) -> str:
        return re.sub("....", r"\\u\g<0>", match[0].encode("utf-16-be").hex())

    return re.sub(r"^ |[^ -~]", code, text.replace("\\", r"\\"))
