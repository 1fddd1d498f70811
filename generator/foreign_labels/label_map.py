"""TensorFlow's label map: item { id: 1 name: 'cat' } for each class."""

from __future__ import annotations

import ast
import contextlib
import re
from pathlib import Path

from generator.foreign_labels import from_objects
from generator.shared.label_files.names import LabelFileError, Labels
from generator.shared.label_files.text_file import LABEL_MAP

TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<token>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w./+-]+|[{}:,;\[\]<>])"""
)


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people. The display name is the name."""
    if not LABEL_MAP.match(text):
        return None
    items: list[dict[str, object]] = []
    depth = 0
    tokens = tokens_of(path, text)
    for position, token in enumerate(tokens):
        if token == "{":
            depth += 1
            if depth == 1:
                items.append({})
        elif token == "}":
            depth -= 1
        elif depth == 1 and token in ("id", "name", "display_name"):
            value = next((x for x in tokens[position + 1 : position + 3] if x != ":"), "")
            items[-1][token] = unquoted(value) if value[:1] in ("'", '"') else value
    if depth or not all("id" in item for item in items):
        raise LabelFileError(f"{path} is a label map that is cut short, or lacks ids")
    if all("display_name" in item for item in items):
        items = [{"id": item["id"], "name": item["display_name"]} for item in items]
    return from_objects(path, items), []


def unquoted(literal: str) -> str:
    """Return a text without its quotes; it may have the bytes of UTF-8 as octal numbers."""
    text = str(ast.literal_eval(literal))
    if re.search(r"\\[0-7x]", literal):
        with contextlib.suppress(UnicodeError):
            return text.encode("latin-1").decode()
    return text


def tokens_of(path: Path, text: str) -> list[str]:
    """Return the words, texts and signs of a label map.

    Raises:
        LabelFileError: There is something else.
    """
    tokens = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise LabelFileError(f"{path}: line {line} is not as in a label map")
        if match["token"]:
            tokens.append(match["token"])
        position = match.end()
    return tokens
