"""Tells what a label file is, by the same rules by which a project reads it."""

from __future__ import annotations

import ast
import csv
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from generator import parts
from generator.errors import UserError
from generator.rendering import template_root

# Pieces of template/parts/label_check.
HELPERS = ("read_text", "read_json", "read_entries", "read_lines", "by_index", "in_order")


class LabelError(UserError):
    """A label file that is broken, ambiguous, or something else; the message says what."""


@dataclass(frozen=True)
class Labels:
    """The names of the classes, and how they are written down.

    Attributes:
        format: a value of the question label_format.
        names: in the order of the network's outputs.
        encoding: "utf-8", "utf-8 with BOM", "utf-16", or "folders".
        notes: what people should know, such as names that several classes have.
        answers: the answers that follow, for copier.
        fits: whether these are as many names as the network has classes; None if that is not known.
        problem: why they do not fit; empty if they do.
    """

    format: str
    names: list[str]
    encoding: str
    notes: list[str]
    answers: dict[str, Any]
    fits: bool | None = None
    problem: str = ""


def inspect_labels(path: Path, num_classes: int | None = None) -> Labels:
    """Find out in which format the names of the classes are, and read them.

    Args:
        path: A label file, or the folder of an ImageFolder tree.
        num_classes: How many classes the network has, if known.

    Raises:
        LabelError: The file is broken, ambiguous, or does not hold labels.
    """
    label_format = "folders" if path.is_dir() else format_of_file(path)
    answers: dict[str, Any] = {"label_format": label_format}
    element = -1
    if label_format == "folders":
        answers["label_folder"] = path.resolve().as_posix()
    elif label_format == "imagenet" and (element := element_of_names(path)) != -1:
        answers["label_element"] = element
    reader = load_reader(label_format, element)
    labels, notes = reader["parse_labels"](path)
    if not labels:
        raise LabelError(f"{path} names no class")
    try:
        names, more = reader["in_order"](path, labels, len(labels))
    except LabelError:
        if num_classes is not None:  # what lacks follows from that, if it is known
            reader["in_order"](path, labels, num_classes)
        raise
    fits = None if num_classes is None else len(names) == num_classes
    return Labels(
        format=label_format,
        names=names,
        encoding=encoding_of(path),
        notes=notes + more,
        answers=answers,
        fits=fits,
        problem=f"{path} names {len(names)} classes, the network has {num_classes}"
        if fits is False
        else "",
    )


def format_of_file(path: Path) -> str:
    """Return the label_format that the content shows, and where that is not enough, the suffix."""
    lines = load_reader("text")
    text = lines["read_text"](path)
    suffix = path.suffix.lower()
    if suffix == ".json" or lines["is_json"](text):
        return format_of_json(path)
    if suffix in (".csv", ".tsv"):
        return "csv"
    rows, _ = lines["without_wordnet_ids"](path, [line.strip() for line in text.split("\n")])
    return "csv" if lines["is_table"](rows) else "text"


def format_of_json(path: Path) -> str:
    """Return the label_format of a file with JSON; of a broken one, what it was meant to be."""
    reader = load_reader("index_to_name")
    content = reader["load_json"](path)
    found: str | None = reader["format_of"](content)
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
    reader = load_reader("imagenet")
    entries = [entry for entry in reader["load_json"](path).values() if isinstance(entry, list)]
    ids = [[isinstance(x, str) and reader["is_wordnet_id"](x) for x in entry] for entry in entries]
    if all(entry and entry[-1] for entry in ids):
        columns = list(zip(*ids, strict=False))
        return next((i for i, column in enumerate(columns) if not any(column)), -1)
    return -1


def encoding_of(path: Path) -> str:
    """Return the encoding of a file, for people."""
    if path.is_dir():
        return "folders"
    with path.open("rb") as file:
        encoding: str = load_reader("text")["encoding_of"](file.read(4))
    return encoding.replace("utf-8-sig", "utf-8 with BOM")


@cache
def load_reader(label_format: str, element: int = -1) -> dict[str, Any]:
    """Return what the labels.py of a project with this format defines, and the other helpers."""
    return parts.load(
        *(f"label_check/{name}.py.jinja" for name in HELPERS),
        f"labels/{label_format}.py.jinja",
        ast=ast,
        csv=csv,
        shlex=shlex,
        Callable=Callable,
        Counter=Counter,
        Sequence=Sequence,
        partial=partial,
        ELEMENT=element,
        ProjectError=LabelError,
        change_answer=copy_with,
    )


def copy_with(**answers: object) -> str:
    """Return the command that a message names, where a project would name `copier update`."""
    data = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    return f"copier copy {data} {shlex.quote(str(template_root()))} PROJECT"
