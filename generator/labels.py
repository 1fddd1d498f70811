"""Tells what a label file is, by the same rules by which a project reads it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.rendering import template_root
from generator.shared.label_files import imagenet, text
from generator.shared.label_files.entries import is_wordnet_id
from generator.shared.label_files.json_file import format_of, load_json
from generator.shared.label_files.lines import is_json
from generator.shared.label_files.names import LabelFileError, in_order
from generator.shared.label_files.names import Labels as Pairs
from generator.shared.label_files.text_file import encoding_of, read_text


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
    try:
        return read(path, num_classes)
    except LabelFileError as error:
        command = f". Run: {copy_with(**error.answers)}" if error.answers else ""
        raise LabelError(f"{error}{command}") from error


def read(path: Path, num_classes: int | None) -> Labels:
    """Return what `inspect_labels` does.

    Raises:
        LabelFileError: The file is broken, ambiguous, or does not hold labels.
    """
    label_format = "folders" if path.is_dir() else format_of_file(path)
    answers: dict[str, Any] = {"label_format": label_format}
    element = -1
    if label_format == "folders":
        answers["label_folder"] = path.resolve().as_posix()
    elif label_format == "imagenet" and (element := element_of_names(path)) != -1:
        answers["label_element"] = element
    labels, notes = reader_of(label_format, element)(path)
    if not labels:
        raise LabelFileError(f"{path} names no class")
    try:
        names, more = in_order(path, labels, len(labels))
    except LabelFileError:
        if num_classes is not None:  # what lacks follows from that, if it is known
            in_order(path, labels, num_classes)
        raise
    if label_format == "imagenet" and all(map(is_wordnet_id, names)):
        more.append("the names are WordNet ids")
    fits = None if num_classes is None else len(names) == num_classes
    return Labels(
        format=label_format,
        names=names,
        encoding=encoding_of_file(path),
        notes=notes + more,
        answers=answers,
        fits=fits,
        problem=f"{path} names {len(names)} classes, the network has {num_classes}"
        if fits is False
        else "",
    )


def reader_of(label_format: str, element: int) -> Callable[[Path], tuple[Pairs, list[str]]]:
    """Return what a project with this format reads label files with.

    Args:
        label_format: A value of the question label_format.
        element: The answer label_element.
    """
    if label_format == "imagenet":
        return partial(imagenet.parse_labels, element=element)
    module = import_module(f"generator.shared.label_files.{label_format}")
    reader: Callable[[Path], tuple[Pairs, list[str]]] = module.parse_labels
    return reader


def format_of_file(path: Path) -> str:
    """Return the label_format that the content shows, and where that is not enough, the suffix."""
    content = read_text(path)
    suffix = path.suffix.lower()
    if suffix == ".json" or is_json(content):
        return format_of_json(path)
    if suffix in (".csv", ".tsv"):
        return "csv"
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


def copy_with(**answers: object) -> str:
    """Return the command that a message names, where a project would name `copier update`."""
    data = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    return f"copier copy {data} {shlex.quote(str(template_root()))} PROJECT"
