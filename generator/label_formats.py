"""Tells the format of a label file, and gives what reads it in a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from generator.shared.label_files import imagenet, text
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
