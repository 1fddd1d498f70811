"""Reads numbers as checkpoints keep them: numpy's, and those that are written as text."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from generator.inspection.pickles import Inert

MAX_NUMBERS = 16  # of an array or a text; images have fewer channels and sides
MAX_TEXT = 200  # characters
# The formats of `struct` by numpy's name of a dtype.
FORMATS = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip
NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{0,20})?|\.\d{1,20})(?:e[-+]?\d{1,2})?"
WRITTEN = re.compile(rf"[\[(]? ?{NUMBER}(?:(?: ?[,x] ?| ){NUMBER})* ?,? ?[\])]?", re.IGNORECASE)


def as_python(value: Any) -> Any:
    """Return numbers of numpy, and those in a text, as Python's, and anything else as it is.

    An array of one dimension becomes a list, as does a text of several numbers; of more than
    `MAX_NUMBERS` neither does.
    """
    if isinstance(value, Inert):
        return number_of_numpy(value)
    if isinstance(value, str):
        return written(value)
    if isinstance(value, list | tuple) and 0 < len(value) <= MAX_NUMBERS:
        return [number_of_numpy(x) if isinstance(x, Inert) else x for x in value]
    return value


def number_of_numpy(value: Inert) -> Any:
    """Return what an array of one dimension holds, or a number of numpy; else the same object."""
    match value.name.rpartition(".")[2], value.arguments, value.state:
        case "scalar", (Inert() as dtype, data), _:
            count: int | None = None
        case "_reconstruct", _, (_, (int() as count,), Inert() as dtype, _, data):
            pass
        case _:
            return value
    kind = format_of(dtype)
    content = bytes_of(data)
    if not kind or content is None or not (count is None or 0 < count <= MAX_NUMBERS):
        return value
    try:
        numbers = list(struct.unpack(kind[0] + kind[1] * (count or 1), content))
    except struct.error:
        return value
    if not all(map(math.isfinite, numbers)):
        return value
    return numbers if count else numbers[0]


def format_of(dtype: Inert) -> str:
    """Return the format of `struct` for one number of a dtype, "" if it is not of plain numbers."""
    name = dtype.arguments[0] if dtype.name == "numpy.dtype" and dtype.arguments else None
    if not isinstance(name, str) or name not in FORMATS:
        return ""
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    return f"{'>' if order == '>' else '<'}{FORMATS[name]}"


def bytes_of(data: Any) -> bytes | None:
    """Return bytes, which the protocol of torch's files writes as a text."""
    match data:
        case bytes():
            return data
        case Inert(name="_codecs.encode", arguments=(str() as text, "latin1")):
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                return None
    return None


def written(text: str) -> Any:
    """Return the numbers of a text such as "224", "224x224" or "[0.5, 0.5, 0.5]", or the text."""
    words = " ".join(text.split()) if len(text) <= MAX_TEXT else ""
    if not WRITTEN.fullmatch(words):
        return text
    found = re.findall(NUMBER, words, re.IGNORECASE)
    if len(found) > MAX_NUMBERS:
        return text
    numbers = [int(x) if x.lstrip("+-").isdecimal() else float(x) for x in found]
    return numbers[0] if len(numbers) == 1 and words[0] not in "[(" else numbers
