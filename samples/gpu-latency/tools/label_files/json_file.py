# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The content of a label file that holds JSON."""

from __future__ import annotations

import ast
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from .names import LabelFileError, abbreviate
from .text_file import ForeignFileError, read_text

LISTS = ("categories", "classes", "names", "labels")  # keys of other tools, for all names


def read_json(path: Path, label_format: str, example: str) -> Any:
    """Return the object or list in a file, if it has the format that is expected.

    Args:
        path: The label file.
        label_format: The format, as the answer to the question of this name.
        example: What such a file holds, for people.

    Raises:
        LabelFileError: It has another format, or is broken.
    """
    content = load_json(path)
    if is_foreign(content):
        raise ForeignFileError(f"{path} has the names among other things; expected {example}")
    found = format_of(content)
    if found not in (None, label_format):
        raise LabelFileError(
            f"{path} has the format {found}, not {label_format}, which is like {example}",
            label_format=found,
        )
    if isinstance(content, list) != (label_format == "list"):
        raise LabelFileError(f"{path} must be like {example}")
    return content


def is_foreign(content: Any) -> bool:
    """Tell whether this has objects, or the names under a key such as "classes"."""
    if isinstance(content, list):
        return bool(content) and all(isinstance(entry, dict) for entry in content)
    if isinstance(content.get("id2label"), dict):
        return False
    return any(
        isinstance(x, dict) or (key in LISTS and isinstance(x, list)) for key, x in content.items()
    )


def format_of(content: Any) -> str | None:
    """Return the format that the types of the values show, None if they show none."""
    if isinstance(content, list):
        return "list" if content and all(isinstance(name, str) for name in content) else None
    if isinstance(content.get("id2label"), dict):
        return "huggingface"
    types = {type(value) for value in content.values()}
    indices = {str(index) for index in range(len(content))}
    if types == {str} and indices == {*content.values()} != {*map(str, content)}:
        return "class_to_idx"  # as {"cat": "0", "dog": "1"}, which scripts of transformers write
    formats = {str: "index_to_name", list: "imagenet", int: "class_to_idx"}
    return formats.get(types.pop()) if len(types) == 1 else None


def load_json(path: Path) -> Any:
    """Return the object or list in a file: JSON, or as Python prints it, {0: 'cat'}.

    Raises:
        LabelFileError: It holds neither, or a key more than once.
    """
    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=partial(with_unique_keys, path))
    except (ValueError, RecursionError) as error:
        try:
            content = from_python(path, text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            problem = f"{path} is not valid JSON: {error}"
            if text.lstrip()[0] in ("{", "["):
                are_lines = "Extra data" in str(error)  # JSON lines, perhaps
                raise (ForeignFileError if are_lines else LabelFileError)(problem) from error
            lines = "csv" if path.suffix.lower() in (".csv", ".tsv") else "text"
            raise LabelFileError(
                f"{problem}. It may have a line for each class instead", label_format=lines
            ) from error
    if not isinstance(content, dict | list):
        raise LabelFileError(f"{path} holds {content!r}; expected an object or a list with names")
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
            raise LabelFileError(f"{path}: in {key.value}: {value}, which is the name? Quote it")
        pairs.append((str(key.value), list(value) if isinstance(value, tuple) else value))
    return with_unique_keys(path, pairs)


def with_unique_keys(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; raise LabelFileError for keys that occur more than once."""
    counts = Counter(key for key, _ in pairs)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise LabelFileError(f"{path} has these keys more than once: {abbreviate(repeated)}")
    return dict(pairs)
