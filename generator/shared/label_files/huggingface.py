"""The format huggingface: a config.json with {"id2label": {"0": "cat", "1": "dog"}}."""

from __future__ import annotations

from pathlib import Path

from .entries import read_entries
from .json_file import read_json
from .names import LabelFileError, Labels

EXAMPLE = '{"id2label": {"0": "cat", "1": "dog"}}'


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class as id2label tells, and notes for people."""
    config = read_json(path, "huggingface", EXAMPLE)
    names, indices = config.get("id2label"), config.get("label2id")
    if not isinstance(names, dict):
        raise LabelFileError(f"{path} has no id2label; expected {EXAMPLE}")
    labels = read_entries(path, names, EXAMPLE)
    for name, index in indices.items() if isinstance(indices, dict) else ():
        if names.get(str(index)) != name:
            raise LabelFileError(
                f"{path} contradicts itself: label2id gives {name!r} the index {index}, "
                f"id2label calls that {names.get(str(index))!r}"
            )
    notes = []
    if all(name == f"LABEL_{index}" for index, name in labels):
        notes.append("LABEL_0 and so on are Hugging Face's placeholders, not names")
    return labels, notes
