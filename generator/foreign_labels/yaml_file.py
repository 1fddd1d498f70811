"""YAML: names: {0: cat, 1: dog}, as Ultralytics has it, or a list or a mapping alone.

Nothing in it is built but texts, lists and mappings: `no` is the name no, and not false.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from generator.foreign_labels import from_objects
from generator.foreign_labels.nested import names_in
from generator.inspection.class_names import index_of, ordered
from generator.shared.label_files.folder_numbers import refuse_folder_numbers
from generator.shared.label_files.names import LabelFileError, Labels, abbreviate

ITEM = re.compile(r"\s*- .*")


class Texts(yaml.BaseLoader):
    """Takes each scalar as the text that it is, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping whose keys are texts."""
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if repeated := [key for key, count in counts.items() if count > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"these keys are there more than once: {abbreviate(repeated)}"
            )
        return super().construct_mapping(node, deep)


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people."""
    lines = text.split("\n")
    if path.suffix.lower() not in (".yaml", ".yml") and not all(map(ITEM.fullmatch, lines)):
        return None
    try:
        content = yaml.load(text, Texts)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise LabelFileError(f"{path} is not valid YAML: {problem:.300}") from error
    if isinstance(content, list):
        if content and all(isinstance(entry, dict) for entry in content):
            return from_objects(path, content), []
        if content and all(isinstance(name, str) for name in content):
            return [*enumerate(content)], []
    if isinstance(content, dict):
        if (found := names_in(path, content)) is not None:
            return found
        pairs = [(index_of(key), name) for key, name in content.items()]
        numbers = [index_of(name) is not None for name in content.values()]
        are_indices = all(index is not None for index, _ in pairs)
        if pairs and are_indices and all(numbers):
            key, name = next(iter(content.items()))
            raise LabelFileError(f"{path}: in {key}: {name}, which is the name? Write a JSON list")
        if pairs and are_indices and all(isinstance(name, str) for _, name in pairs):
            labels = [(index, name) for index, name in pairs if index is not None]
            refuse_folder_numbers(path, labels)
            return labels, []
        if (names := ordered(content)) is not None:
            return [*enumerate(names)], []
    raise LabelFileError(f"{path} has no names of classes that can be told; expected names: [cat]")
