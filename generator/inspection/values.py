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
DIGITS = {"e": 3, "f": 6}  # that a number of fewer bits than Python's keeps, whatever it is
NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{0,20})?|\.\d{1,20})(?:e[-+]?\d{1,2})?"
WRITTEN = re.compile(rf"[\[(]? ?{NUMBER}(?:(?: ?[,x] ?| ){NUMBER})* ?,? ?[\])]?", re.IGNORECASE)


def as_python(value: Any) -> Any:
    """Return numbers of numpy, and those in a text, as Python's, and anything else as it is.

    An array of a row of numbers becomes a list, as does a text of several; of more than
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
    """Return what an array or a number of numpy holds; else the same object."""
    match value.name.rpartition(".")[2], value.arguments, value.state:
        case "scalar", (Inert() as dtype, data), _:
            shape: tuple[Any, ...] = ()
        case "_reconstruct", _, (_, tuple() as shape, Inert() as dtype, _, data):
            pass
        case _:
            return value
    kind, content = format_of(dtype), bytes_of(data)
    long = [side for side in shape if side != 1]  # (3, 1, 1) is as good as (3,)
    count = long[0] if long else 1
    is_row = len(long) < 2 and type(count) is int and 0 < count <= MAX_NUMBERS
    if not kind or content is None or not is_row:
        return value
    try:
        numbers = list(struct.unpack(kind[0] + kind[1] * count, content))
    except struct.error:
        return value
    if not all(map(math.isfinite, numbers)):
        return value
    if kind[1] in DIGITS:  # as numpy writes them, and not 0.30000001192092896
        numbers = [float(f"{x:.{DIGITS[kind[1]]}g}") for x in numbers]
    return numbers if shape else numbers[0]


def texts_of_numpy(value: Inert) -> list[str] | None:
    """Return the texts of an array of one dimension; None for anything else."""
    match value.name.rpartition(".")[2], value.state:
        case "_reconstruct", (_, (int() as count,), Inert() as dtype, _, data):
            pass
        case _:
            return None
    name = dtype.arguments[0] if dtype.arguments else None
    if isinstance(data, list):  # of objects
        return data if all(isinstance(x, str) for x in data) else None
    content = bytes_of(data)
    if content is None or not isinstance(name, str) or not re.fullmatch(r"U\d{1,4}", name):
        return None
    size = 4 * int(name[1:])
    if not size or len(content) != size * count:
        return None
    try:
        texts = [content[i : i + size].decode("utf-32-le") for i in range(0, len(content), size)]
    except UnicodeDecodeError:
        return None
    return [text.rstrip("\0") for text in texts]


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
