"""Finds the names of the classes in what a file says beside its weights.

Frameworks and people keep them under many keys, as lists, or as dicts from indices or to them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from generator.inspection.pickles import Inert, Unordered
from generator.inspection.values import texts_of_numpy

# Keys, in small letters and without underscores. What is called otherwise may be names of anything.
KEYS = re.compile(
    r"(class|label|category|cat|cls)(es|s|names?|map|list|labels?)"
    r"|(id|idx|index)to(class|label|name|cat)(name)?s?|(id|idx)2(class|label|name|cat)s?"
    r"|(class|label|name|cat)s?(to|2)(id|idx|index)"
    r"|names|categories|vocab|targetnames"
)
MAX_NODES = 50_000  # dicts, lists and objects that are looked into
MAX_DEPTH = 8
MAX_KEY = 50  # characters
MAX_CLASSES = 100_000
SKIPPED = ("_modules", "_parameters", "_buffers")  # of a pickled network: its layers
BACKGROUND = "background"
MANY = 10  # folders with numbers for names sort as text otherwise than as numbers from here on


@dataclass(frozen=True)
class ClassNames:
    """Names of classes that a file brings.

    Attributes:
        place: where in it they are, as in "meta.CLASSES".
        names: in the order of the network's outputs.
        background: of a network whose class 0 is the background and never returned: "listed", or
            "added", if the file leaves its name out.
    """

    place: str
    names: tuple[str, ...]
    background: Literal["", "listed", "added"] = ""

    def __str__(self) -> str:
        """Show the first."""
        listed = self.names[1:] if self.background == "added" else self.names
        more = ", ..." if len(listed) > 3 else ""
        names = ", ".join(name[:20] for name in listed[:3])
        return f"{self.place[:60]} has {len(listed)} names: {names}{more}"

    @property
    def first(self) -> int:
        """The first class that may be returned: the background may be called anything."""
        return 1 if self.background else 0


def find_names(content: Any) -> tuple[ClassNames, ...]:
    """Return the names of classes in a training checkpoint, or in what JSON or YAML holds."""
    found: dict[str, ClassNames] = {}
    nodes = MAX_NODES
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    while waiting:
        place, value, depth = waiting.pop(0)
        for key, inner in entries_of(value):
            nodes -= 1
            if nodes < 0:
                return tuple(found.values())
            at = f"{place}.{key}" if place else key
            names = ordered(inner) if is_key(key) else None
            if names is not None:
                found.setdefault(at, ClassNames(at, tuple(names)))
            elif depth < MAX_DEPTH and isinstance(inner, Mapping | Inert):
                waiting.append((at, inner, depth + 1))
    return tuple(found.values())


def without_order(content: Any) -> str:
    """Return where a checkpoint keeps the names of its classes in a set; "" if nowhere."""
    for key, value in entries_of(content):
        if isinstance(value, Unordered) and value and is_key(key):
            return key
    return ""


def is_key(key: str) -> bool:
    """Tell whether names of classes may be under this key."""
    plain = key.lower().replace("_", "").replace("-", "").replace(" ", "")
    return len(key) <= MAX_KEY and KEYS.fullmatch(plain) is not None


def entries_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a dict, or the attributes of an object that was not built."""
    content = value.state if isinstance(value, Inert) else value
    if isinstance(content, Mapping):
        for key, inner in content.items():
            if isinstance(key, str) and key not in SKIPPED:
                yield key, inner


def ordered(value: Any) -> list[str] | None:
    """Return names in the order of the network's outputs; None if this is something else."""
    if isinstance(value, Inert):
        texts = texts_of_numpy(value)
        # As fastai's CategoryMap, which is a list of its own.
        return ordered(dict(entries_of(value)).get("items") if texts is None else texts)
    if isinstance(value, Unordered):
        return None
    if isinstance(value, list | tuple):
        if not 0 < len(value) <= MAX_CLASSES:
            return None
        if are_numbers(value):
            return [str(x) for x in value]
        return [*value] if all(isinstance(x, str) for x in value) else None
    if not isinstance(value, Mapping) or not 0 < len(value) <= MAX_CLASSES:
        return None
    pairs = [(index_of(key), name) for key, name in value.items() if isinstance(name, str)]
    if len(pairs) < len(value):
        pairs = [(index_of(x), key) for key, x in value.items() if isinstance(key, str)]
    elif all(isinstance(key, str) and index_of(key) is None for key in value):
        # YAML has texts alone: in cat: "0" the number is the index.
        pairs = [(index_of(x), key) for key, x in value.items()]
    names = {index: name for index, name in pairs if index is not None}
    if len(names) < len(value):
        return None
    first = min(names)
    # From 1 on, ten keys or more may be the names of folders, which sort as text.
    limit = 1 if isinstance(next(iter(value.values())), int) or len(names) < MANY else 0
    if first > limit or sorted(names) != list(range(first, first + len(names))):
        return None
    return [names[index] for index in sorted(names)]


def are_numbers(value: Sequence[Any]) -> bool:
    """Tell whether classes are called by numbers, in ascending order, as numpy.unique has them.

    From 0 on they are no names.
    """
    if len(value) < 2 or not all(type(x) is int and x >= 0 for x in value):
        return False
    return [*value] == sorted({*value}) and [*value] != [*range(len(value))]


def index_of(value: Any) -> int | None:
    """Return what may be the index of a class."""
    if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        return int(value)
    return value if type(value) is int and 0 <= value < 10**9 else None


def names_in_texts(texts: Mapping[str, str]) -> tuple[ClassNames, ...]:
    """Return the names of classes in texts by name, such as the extra files of an export.

    Ultralytics writes a dict as Python prints it, others JSON, or a name on each line.
    """
    content: dict[str, Any] = {}
    for name, text in texts.items():
        stem = re.sub(r"\.\w+$", "", name.rpartition("/")[2])
        value = parsed(text)
        lines = text.replace("\r\n", "\n").strip("\n").split("\n")
        if value is None and is_key(stem) and all(line.strip() for line in lines):
            value = [line.strip() for line in lines]
        content[stem if ordered(value) and is_key(stem) else name] = value
    return find_names(content)


def parsed(text: str) -> Any:
    """Return the dict or the list that a text holds; None if it holds none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, dict | list | tuple) else None
    return None


def with_background(found: Iterable[ClassNames], classes: int | None) -> tuple[ClassNames, ...]:
    """Return the names for a network whose class 0 is the background.

    Many lists leave it out: they have one name less than the network has classes.
    """
    completed = []
    for one in found:
        if classes == len(one.names):
            completed.append(replace(one, background="listed"))
        elif classes == len(one.names) + 1:
            names = (BACKGROUND, *one.names)
            completed.append(replace(one, names=names, background="added"))
        else:
            completed.append(one)
    return tuple(completed)


def agreed(found: Iterable[ClassNames], classes: int | None) -> list[ClassNames]:
    """Return the names that a file brings for so many classes, each list once."""
    lists: dict[tuple[str, ...], ClassNames] = {}
    for one in found:
        if classes in (None, len(one.names)):
            lists.setdefault(one.names, one)
    return [*lists.values()]
