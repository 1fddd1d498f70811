# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes, as they stand in index_to_name.json."""

from __future__ import annotations

import ast
import json
import shlex
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from project import ROOT, ProjectError, change_answer

LABELS = ROOT / "index_to_name.json"


def read_labels(num_classes: int, path: Path = LABELS) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: They cannot be read, or are not one for each class.
    """
    labels, notes = parse_labels(path)
    names, more = in_order(path, labels, num_classes)
    return names, notes + more


FORMAT = "index_to_name"
CONTAINER: type = dict


def parse_labels(path: Path) -> tuple[dict[int, str], list[str]]:
    """Return {index: name}, and notes for people."""
    return read_entries(path, read_json(path)), []


EXAMPLES = {
    "index_to_name": '{"0": "cat", "1": "dog"}',
    "imagenet": '{"281": ["n02123045", "tabby"]}',
    "class_to_idx": '{"cat": 0, "dog": 1}',
    "list": '["cat", "dog"]',
    "huggingface": '{"id2label": {"0": "cat", "1": "dog"}}',
}


def read_json(path: Path) -> Any:
    """Return the content of a file that is in the format FORMAT.

    Raises:
        ProjectError: It is in another format, or broken.
    """
    content = load_json(path)
    found = format_of(content)
    if found not in (None, FORMAT):
        raise ProjectError(
            f"{path} is like {EXAMPLES[found]}, not like {EXAMPLES[FORMAT]}. Run: "
            f"{as_format(path, found)}"
        )
    if not isinstance(content, CONTAINER):
        raise ProjectError(f"{path} must be like {EXAMPLES[FORMAT]}")
    return content


def format_of(content: Any) -> str | None:
    """Return the format that the types of the values show, None if they show none."""
    if isinstance(content, list):
        return "list" if content and all(isinstance(name, str) for name in content) else None
    if isinstance(content.get("id2label"), dict):
        return "huggingface"
    types = {type(value) for value in content.values()}
    formats = {str: "index_to_name", list: "imagenet", int: "class_to_idx"}
    return formats.get(types.pop()) if len(types) == 1 else None


def load_json(path: Path) -> Any:
    """Return the object or list in a file: JSON, or as Python prints it, {0: 'cat'}.

    Raises:
        ProjectError: It holds neither, or a key more than once.
    """
    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=partial(without_twins, path))
    except (ValueError, RecursionError) as error:
        try:
            content = from_python(path, text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            problem = f"{path} is not valid JSON: {error}"
            if text.lstrip()[0] not in "{[":
                lines = "csv" if path.suffix.lower() in (".csv", ".tsv") else "text"
                problem += f". If it has a line for each class, run: {as_format(path, lines)}"
            raise ProjectError(problem) from error
    if not isinstance(content, dict | list):
        raise ProjectError(f"{path} must be like one of: {', '.join(EXAMPLES.values())}")
    return content


def from_python(path: Path, text: str) -> Any:
    """Return what a Python literal says, as JSON would: its keys are texts, its tuples lists."""
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Dict):
        return ast.literal_eval(tree)
    pairs = []
    for key, element in zip(tree.keys, tree.values, strict=True):
        if not isinstance(key, ast.Constant):
            raise ValueError(key)
        value = ast.literal_eval(element)
        if type(key.value) is type(value) is int:
            raise ProjectError(f"{path}: in {key.value}: {value}, which is the name? Quote it")
        pairs.append((str(key.value), list(value) if isinstance(value, tuple) else value))
    return without_twins(path, pairs)


def without_twins(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; raise ProjectError for keys that occur more than once."""
    counts = Counter(key for key, _ in pairs)
    if twins := [key for key, count in counts.items() if count > 1]:
        raise ProjectError(f"{path} has these keys more than once: {abbreviate(twins)}")
    return dict(pairs)


def read_entries(path: Path, entries: dict[str, Any]) -> dict[int, str]:
    """Return {index: name} of an object whose keys are the indices as text.

    Raises:
        ProjectError: A key is no index, or an entry no name.
    """
    labels = {}
    for key, name in entries.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and str(int(key)) == key):
            what = "a WordNet id, which tells no index" if is_wordnet_id(key) else "no index"
            raise ProjectError(f"{path}: the key {key!r} is {what}; expected {EXAMPLES[FORMAT]}")
        if not isinstance(name, str):
            raise ProjectError(f"{path}: class {key} is {name!r}; expected {EXAMPLES[FORMAT]}")
        labels[int(key)] = name
    return labels


def is_wordnet_id(name: str) -> bool:
    """Tell whether this is an id of WordNet, such as n02123045."""
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()


def in_order(path: Path, labels: dict[int, str], num_classes: int) -> tuple[list[str], list[str]]:
    """Return the names in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: A class has no name, or a name has no class.
    """
    notes = []
    count = len(labels)
    if count >= num_classes and labels.keys() == set(range(1, count + 1)):
        labels = {index - 1: name for index, name in labels.items()}
        notes.append(f"numbered from 1 to {count}: taken as the classes 0 to {count - 1}")
    for index, name in labels.items():
        if not name.strip():
            raise ProjectError(f"{path}: the name of class {index} is empty")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ProjectError(f"{path}: the name of class {index} is {name!r}, which is no text")
    missing = [index for index in range(num_classes) if index not in labels]
    surplus = sorted(labels.keys() - range(num_classes))
    if surplus and not missing and surplus == list(range(num_classes, count)):
        raise ProjectError(
            f"{path} names {count} classes, the project has {num_classes}. If the file is "
            f"right, run: {change_answer(num_classes=count)}"
        )
    if missing or surplus:
        extra = [f"{index} ({labels[index]})" for index in surplus]
        raise ProjectError(
            f"{path} must name the classes 0 to {num_classes - 1}; it "
            + " and ".join(
                f"{verb} {abbreviate(items)}"
                for verb, items in (("lacks", missing), ("should not have", extra))
                if items
            )
        )
    classes: dict[str, list[int]] = {}
    for index in range(num_classes):
        classes.setdefault(labels[index], []).append(index)
    if twins := [f"{name} {indices}" for name, indices in classes.items() if len(indices) > 1]:
        notes.append(f"names that several classes have: {abbreviate(twins)}")
    return [labels[index] for index in range(num_classes)], notes


def abbreviate(items: list[Any], most: int = 10) -> str:
    """Return the items as text, the first few if there are many."""
    text = ", ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text}, ... ({len(items)} in all)"


# What a file begins with that is no text with labels.
NO_LABELS = {
    b"\x80": "is a pickle, which can run code when it is read; save the names as JSON",
    b"(dp": "is a pickle, which can run code when it is read; save the names as JSON",
    b"PK\x03\x04": "is a zip file, such as a checkpoint or a spreadsheet; save the names as text",
    b"\x93NUMPY": "is a NumPy array; save the names as JSON",
    b"version https://git-lfs": "is a Git LFS pointer; run: git lfs pull",
    b"<!doctype": "is a web page, saved in place of the file; download it again",
    b"<html": "is a web page, saved in place of the file; download it again",
    b"item {": "is a label map of TensorFlow; save the names as JSON",
}


def read_text(path: Path) -> str:
    """Return the text of a label file, in UTF-8 or UTF-16, with line ends as on Unix.

    Raises:
        ProjectError: There is no such file, or it holds something else.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        raise ProjectError(f"{path} is YAML, where no is false and 1 a number; save it as JSON")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ProjectError(
            f"there is no label file {path}; README.md shows its form, --labels names another"
        ) from None
    except OSError as error:
        raise ProjectError(f"{path} cannot be read as a label file: {error.strerror}") from error
    head = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in NO_LABELS.items():
        if head.startswith(start.lower()):
            raise ProjectError(f"{path} {what}")
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProjectError(f"{path} is not UTF-8 text (line {line}); save it as UTF-8") from error
    if "\0" in text:
        raise ProjectError(f"{path} holds zero bytes, as no text does; save it as UTF-8")
    if not text.strip():
        raise ProjectError(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def as_format(path: Path, label_format: str) -> str:
    """Return the commands to read a file as another format than this project's."""
    answer = change_answer(label_format=label_format)
    return f"{answer}\nand then: python archive.py --labels {shlex.quote(str(path))}"


def encoding_of(data: bytes) -> str:
    """Return the encoding that the byte order mark tells, UTF-8 if there is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
