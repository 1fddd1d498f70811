"""Tells the format of a label file, and gives what reads it in a project."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from generator import facts
from generator.shared.label_files import text
from generator.shared.label_files.entries import is_wordnet_id
from generator.shared.label_files.json_file import format_of, load_json
from generator.shared.label_files.lines import is_json
from generator.shared.label_files.names import Labels as Pairs
from generator.shared.label_files.text_file import encoding_of, read_text


def reader_of(label_format: str, element: int) -> Callable[[Path], tuple[Pairs, list[str]]]:
    """Return what a project with this format reads label files with.

    Args:
        label_format: A value of the question label_format.
        element: The answer label_element.
    """
    parse = parser_of(label_format)
    return partial(parse, element=element) if has_elements(label_format) else parse


@cache
def parser_of(label_format: str) -> Callable[..., tuple[Pairs, list[str]]]:
    """Return the `parse_labels` of a format."""
    module: Any = import_module(f"generator.shared.label_files.{label_format}")
    parse: Callable[..., tuple[Pairs, list[str]]] = module.parse_labels
    return parse


def has_elements(label_format: str) -> bool:
    """Tell whether an entry of such a file is a list, an element of which is the name."""
    return "element" in signature(parser_of(label_format)).parameters


def folder_format() -> str:
    """Return the label_format of names that are those of folders."""
    return next(name for name, fact in facts.labels().items() if fact["is_folder"])


def format_of_file(path: Path) -> str:
    """Return the label_format that the content shows, and where that is not enough, the suffix."""
    content = read_text(path)
    suffix = path.suffix.lower()
    for name, fact in facts.labels().items():
        if "pattern" in fact and re.match(fact["pattern"], content):
            return name
    if suffix == ".json" or is_json(content):
        return format_of_json(path)
    for name, fact in facts.labels().items():
        if suffix in fact.get("suffixes", ()):
            return name
    rows, _ = text.without_wordnet_ids(path, [line.strip() for line in content.split("\n")])
    return "csv" if text.is_table(rows) else "text"


def format_of_json(path: Path) -> str:
    """Return the label_format of a file with JSON; of a broken one, what it was meant to be."""
    content = load_json(path)
    found = format_of(content)
    if found is not None:
        return found
    if isinstance(content, list):
        return "list"
    if content.keys() & {"id2label", "label2id", "architectures", "model_type"}:
        return "huggingface"
    # One odd value among many is an error in it, which the reader of the many will name.
    types = Counter(map(type, content.values())).most_common(1)
    return {int: "class_to_idx", list: "imagenet"}.get(
        types[0][0] if types else str, "index_to_name"
    )


def element_of_names(path: Path) -> int:
    """Return the position of the name in entries such as ["n02123045", "tabby"]: -1 for the last.

    It is the last, as for TorchServe, unless that is the id of WordNet.
    """
    entries = [entry for entry in load_json(path).values() if isinstance(entry, list)]
    ids = [[isinstance(x, str) and is_wordnet_id(x) for x in entry] for entry in entries]
    if all(entry and entry[-1] for entry in ids):
        columns = list(zip(*ids, strict=False))
        return next((i for i, column in enumerate(columns) if not any(column)), -1)
    return -1


def encoding_of_file(path: Path) -> str:
    """Return the encoding of a file, for people."""
    if path.is_dir():
        return "folders"
    with path.open("rb") as file:
        return encoding_of(file.read(4)).replace("utf-8-sig", "utf-8 with BOM")
