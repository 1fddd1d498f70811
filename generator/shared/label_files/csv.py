"""The format csv: a table with a row for each class, such as 0,cat."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .folder_numbers import refuse_folder_numbers
from .lines import read_lines
from .names import LabelFileError, Labels

INDEX_TITLES = {"index", "idx", "id", "class_id", "class_index", "class_idx", "label_id", "target"}
NAME_TITLES = {"name", "label", "class", "class_name", "label_name", "category"}
WORDNET = re.compile(r"n[0-9]{8}")


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people.

    The column of whole numbers is the index. Of several it is the one that counts the classes, of
    several such the one whose title says so. A column alone is the names, in order.
    """
    titles, *rows = read_table(path)
    columns = list(zip(*rows, strict=True))
    if len(columns) == 1:
        if all(re.match(r"[0-9]+\s+\S", cell) for cell in columns[0]):
            raise LabelFileError(f"{path} has one column, with numbers in it", label_format="text")
        notes = [f"the first row, {titles[0]!r}, is taken as a title"] if titles[0] else []
        return [*enumerate(columns[0])], notes
    numbers = [i for i, cells in enumerate(columns) if all(map(is_number, cells))]
    if not numbers:
        raise LabelFileError(f"{path} has no column with the index of each class, as in: 0,cat")
    numbers = narrow(
        numbers, lambda i: is_complete(columns[i]), lambda i: titles[i] in INDEX_TITLES
    )
    indices = columns[numbers[0]]
    if any(columns[i] != indices for i in numbers):
        raise LabelFileError(f"{path}: which column is the index? Title them: index,name")
    names = narrow(
        [i for i in range(len(columns)) if i != numbers[0]],
        lambda i: columns[i] != indices,
        lambda i: not all(map(WORDNET.fullmatch, columns[i])),
        lambda i: titles[i] in NAME_TITLES,
    )
    if len(names) > 1:
        raise LabelFileError(f"{path}: which column is the name? Title them: index,name")
    for cells in (indices, columns[names[0]]):
        if len(set(cells)) * 2 < len(cells):
            raise LabelFileError(
                f"{path} has {len(cells)} rows but only {len(set(cells))} classes, as a list of "
                "images has; expected a row for each class"
            )
    labels = [*zip(map(int, indices), columns[names[0]], strict=True)]
    refuse_folder_numbers(path, labels)
    return labels, []


def narrow(columns: list[int], *tests: Callable[[int], bool]) -> list[int]:
    """Return the columns that pass the tests, leaving out tests that none passes."""
    for test in tests:
        columns = [column for column in columns if test(column)] or columns
    return columns


def read_table(path: Path) -> list[list[str]]:
    """Return the rows; the first holds the titles of the columns, empty if the file has none.

    Raises:
        LabelFileError: The file is no table, or its rows differ in length.
    """
    lines = read_lines(path)
    tables = [split(lines, delimiter) for delimiter in ",;\t|"]
    wide = [table for table in tables if table and len(table[0]) > 1]
    if not wide and not all(tables):
        raise LabelFileError(f"{path} is no table: its quotes do not match")
    rows = next((table for table in wide if has_numbers(table[1:])), (wide or tables)[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise LabelFileError(
                f"{path}: row {number} has {len(row)} cells, the first has {len(rows[0])}; "
                "names with a comma in them need quotes"
            )
    titles = [cell.lower().replace(" ", "_") for cell in rows[0]]
    if has_numbers(rows[1:]) and not has_numbers(rows):
        return [titles, *rows[1:]]
    if len(titles) == 1 and titles[0] in NAME_TITLES:
        return [titles, *rows[1:]]
    return [[""] * len(titles), *rows]


def split(lines: list[str], delimiter: str) -> list[list[str]]:
    """Return the cells of each line; nothing if the quotes do not fit the delimiter."""
    texts = (f"{line}\n" for line in lines)
    reader = csv.reader(texts, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [[cell.strip() for cell in row] for row in reader]
    except csv.Error:
        return []


def has_numbers(rows: list[list[str]]) -> bool:
    """Tell whether a column holds whole numbers and nothing else."""
    shortest = min(map(len, rows), default=0)
    return any(all(is_number(row[i]) for row in rows) for i in range(shortest))


def is_number(cell: str) -> bool:
    """Tell whether a cell is a whole number that can be an index."""
    return cell.isascii() and cell.isdigit() and len(cell) < 10


def is_complete(cells: Sequence[str]) -> bool:
    """Tell whether the numbers are 0 to N-1, or 1 to N, in any order."""
    first = min(map(int, cells))
    return first < 2 and sorted(map(int, cells)) == list(range(first, first + len(cells)))
