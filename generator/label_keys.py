"""Puts names of classes into the order of the network's outputs, by what a checkpoint brings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.inspection.class_names import ClassNames
from generator.label_formats import format_of_file
from generator.shared.label_files.csv import read_table
from generator.shared.label_files.entries import is_wordnet_id
from generator.shared.label_files.folder_numbers import UnclearOrderError
from generator.shared.label_files.json_file import load_json
from generator.shared.label_files.lines import is_json, read_lines
from generator.shared.label_files.names import LabelFileError, abbreviate
from generator.shared.label_files.text import LAST
from generator.shared.label_files.text_file import read_any_text

# A word, and the rest of a line.
KEY = re.compile(r"(?P<index>[^\s,;:|]+)(?:\s*[,;:|]\s*|\s+)(?P<name>\S.*)")


class ContradictionError(LabelFileError):
    """A label file with other names than the checkpoint's."""

    conversions = ("--label-order outputs",)


def by_folder(path: Path, folders: ClassNames | None, order: str) -> dict[str, str]:
    """Return the names by those of the folders; nothing if the file has no such keys.

    Args:
        path: The label file.
        folders: The names of the folders, as the checkpoint has them.
        order: "folders" if the file's keys, or its order, are those of the folders for sure.

    Raises:
        LabelFileError: They are not, although they are so for sure.
    """
    if path.is_dir():
        return {}
    wanted = set(folders.names) if folders else set()
    rows = rows_of(path, wanted)
    for column in range(min(map(len, rows), default=0)):
        keys = [row[column] for row in rows]
        names = [name_of([*row[:column], *row[column + 1 :]]) for row in rows]
        is_key = wanted <= set(keys) if wanted else order == "folders"
        if is_key and len(set(keys)) == len(keys) and all(names) and set(names) != wanted:
            pairs = zip(keys, names, strict=True)
            return {key: name for key, name in pairs if key in wanted or not wanted}
    if order != "folders":
        return {}
    if folders is None:
        raise LabelFileError(f"{path} has no names of folders beside those of the classes")
    are_alone = len(rows) == len(wanted) and all(len(row) == 1 for row in rows)
    if are_alone and all(name.isdecimal() for name in wanted):
        numbers = sorted(folders.names, key=int)
        return dict(zip(numbers, (row[0] for row in rows), strict=True))
    lacking = sorted(wanted - {cell for row in rows for cell in row})
    raise LabelFileError(
        f"{path} has no name for each folder of the checkpoint ({folders}); it lacks "
        f"{abbreviate(lacking) or 'names'}"
    )


def name_of(cells: list[str]) -> str:
    """Return the name among what stands beside a key; "" if there is none."""
    names = [cell for cell in cells if not cell.isdecimal() and not is_wordnet_id(cell)]
    return names[-1] if names else ""


def rows_of(path: Path, keys: set[str]) -> list[list[str]]:
    """Return what stands in a label file for each class, in its order; nothing if it is unclear.

    Args:
        path: The label file.
        keys: What lines begin with; if nothing, the first word is a key.
    """
    try:
        if path.suffix.lower() == ".json" or is_json(read_any_text(path)):
            content = load_json(path)
            rows = [[x] for x in content]
            if isinstance(content, dict):
                rows = [[key, *(x if isinstance(x, list) else [x])] for key, x in content.items()]
            return rows if all(isinstance(cell, str) for row in rows for cell in row) else []
        if format_of_file(path) == "csv":
            return read_table(path)[1:]
        lines = [line.strip() for line in read_lines(path)]
    except LabelFileError:
        return []
    for pattern in (KEY, LAST):
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        split = [[match["index"], match["name"]] for match in matches]
        # Names that are equal without the numbers have these as a part: flower 1, flower 2.
        are_names = len({name for _, name in split}) == len(lines)
        if are_names and keys <= {key for key, _ in split}:
            return split
    return [[line] for line in lines]


def starts_at_zero(keyed: Mapping[str, str]) -> bool:
    """Tell whether the keys may be outputs as they stand."""
    return set(keyed) == {str(index) for index in range(len(keyed))}


def refuse_contradiction(path: Path, names: Sequence[str], own: Sequence[ClassNames]) -> None:
    """Raise LabelFileError if names are in another order, or others, than in the checkpoint.

    Numbers are no names: of those it is their order alone that matters.
    """
    if not own or any(same(names[one.first :], one.names[one.first :]) for one in own):
        return
    one = own[0]
    returned = one.names[one.first :]
    if all(name.isdecimal() for name in returned):
        if list(returned) != sorted(returned, key=int):
            raise UnclearOrderError(
                f"{path} has names in an order, and the checkpoint has folders with numbers for "
                f"names ({one}). The order is either that of these numbers or that of the outputs",
                [],
            )
        return
    index, theirs, ours = next(
        (index, *pair)
        for index, pair in enumerate(zip(names, one.names, strict=True))
        if index >= one.first and simple(pair[0]) != simple(pair[1])
    )
    found = f"class {index} is {theirs!r} in {path} and {ours!r} in the checkpoint ({one})"
    if sorted(map(simple, names[one.first :])) == sorted(map(simple, returned)):
        raise LabelFileError(
            f"{found}: the same names in another order. The checkpoint's are in the order of its "
            "outputs: leave out --labels to take them"
        )
    raise ContradictionError(
        f"{found}. Leave out --labels to take the checkpoint's names; or, to give these others, "
        f'write each with its own: {{"{ours}": "NAME", ...}}'
    )


def same(names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether names are the same but for letter case, blanks and signs."""
    return [*map(simple, names)] == [*map(simple, others)]


def simple(name: str) -> str:
    """Return a name for comparisons: letters and digits alone, the name itself if it has none."""
    return "".join(x for x in name.casefold() if x.isalnum()) or name
