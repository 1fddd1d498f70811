# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The format text: a name on each line, in order, or with its index."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import pairwise
from pathlib import Path

from .folder_numbers import refuse_folder_numbers
from .lines import read_lines
from .names import LabelFileError, Labels, abbreviate
from .text_file import ForeignFileError

ID = re.compile(r"n[0-9]{8}\b")
WORDNET = re.compile(r"(n[0-9]{8})[\s,:]+(\S.*)")
FIRST = re.compile(r"(?P<index>[0-9]{1,9})(\s*[,;:|]\s*|[.)]\s+|\s+)(?P<name>\S.*)")
SYNTAX = re.compile(r'"[^"]*"|- .*')
LAST = re.compile(r"(?P<name>.*[^\s,;:|])(\s*[,;:|]\s*|\s+)(?P<index>[0-9]{1,9})")


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people.

    Numbers at the start or the end of all lines are the indices if they count from 0 or 1 and the
    names differ without them; else they are part of the names, as in "1 dollar".
    """
    whole = [line.strip() for line in read_lines(path)]
    if len(whole) == 1 and whole[0].count(",") > 1:
        target = shlex.quote(str(path.with_name(f"{path.stem}-lines{path.suffix}")))
        raise LabelFileError(
            f"{path} is one line with commas; expected each name on a line of its own: "
            f"tr , '\\n' < {shlex.quote(str(path))} > {target}"
        )
    lines, notes = without_wordnet_ids(path, whole)
    if all(map(SYNTAX.fullmatch, lines)):
        raise ForeignFileError(f"{path} has signs of JSON or YAML around its names: {lines[0]}")
    if is_table(lines):
        raise LabelFileError(
            f"{path}: only the first line, {lines[0]!r}, has no number. It may hold the titles of "
            "columns",
            label_format="csv",
        )
    readings = [pairs for pattern in (FIRST, LAST) if (pairs := split(lines, pattern))]
    counts = [pairs for pairs in readings if is_count(pairs)]
    if not counts:
        if any(is_unclear(pairs) for pairs in readings):
            raise LabelFileError(
                f"{path}: are numbers as in {lines[0]!r} indices, or part of the names, some of "
                "which are equal without them? Write the names alone, in the order of the classes; "
                "or, to keep the numbers, as a JSON list, with the answer label_format=list",
                label_format="list",
            )
        if any(len({name for _, name in pairs}) > 1 for pairs in readings):
            notes.append(f"numbers as in {lines[0]!r} are taken as part of the names")
        refuse_unsorted_ids(path, whole)
        return [*enumerate(lines)], notes
    orders = {tuple(index for index, _ in pairs) for pairs in counts}
    numbers = all(name.isdecimal() for _, name in counts[0])
    if len(orders) > 1 or (numbers and any(int(name) != index for index, name in counts[0])):
        raise LabelFileError(
            f"{path}: which number in {lines[0]!r} is the index? Write the names alone, in the "
            "order of the classes"
        )
    refuse_folder_numbers(path, counts[0])
    return counts[0], notes


def without_wordnet_ids(path: Path, lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines without the WordNet ids that all begin with, if so, and notes for people."""
    matches = [match for line in lines if (match := WORDNET.fullmatch(line))]
    if len(matches) < len(lines):
        return lines, []
    counts = Counter(match[1] for match in matches)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise LabelFileError(f"{path} has these WordNet ids more than once: {abbreviate(repeated)}")
    return [match[2] for match in matches], [f"left out WordNet ids, such as {matches[0][1]}"]


def refuse_unsorted_ids(path: Path, lines: list[str]) -> None:
    """Raise LabelFileError if all lines begin with WordNet ids, in another order than folders."""
    if not all(map(ID.match, lines)):
        return
    for before, after in pairwise(line[:9] for line in lines):
        if after < before:
            raise LabelFileError(
                f"{path} has {after} behind {before}, and ImageFolder sorts folders of such names. "
                "If the network was trained with that, sort the lines; if its outputs are in the "
                "order of this file, write the names without WordNet ids"
            )


def split(lines: list[str], pattern: re.Pattern[str]) -> Labels:
    """Return index and name of each line; nothing if one has no number, or is alone."""
    matches = [match for line in lines if (match := pattern.fullmatch(line))]
    if len(matches) < max(2, len(lines)):
        return []
    return [(int(match["index"]), match["name"]) for match in matches]


def is_count(pairs: Labels) -> bool:
    """Tell whether the numbers are indices, from 0 or 1 to N, whose names differ."""
    indices, names = zip(*pairs, strict=True)
    from_one = sorted(indices) == list(range(1, len(indices) + 1))
    return len(set(names)) == len(names) and (0 in indices or from_one)


def is_unclear(pairs: Labels) -> bool:
    """Tell whether complete numbers are beside names most of which differ, but not all."""
    indices, names = zip(*pairs, strict=True)
    first, distinct = min(indices), len(set(names))
    ordered = list(range(first, first + len(indices)))
    complete = first < 2 and sorted(indices) == ordered
    return complete and distinct > 1 and (2 * distinct > len(names) or list(indices) != ordered)


def is_table(lines: list[str]) -> bool:
    """Tell whether all lines but the first are numbered, as those below the titles of columns."""
    return any(
        not pattern.fullmatch(lines[0]) and (pairs := split(lines[1:], pattern)) and is_count(pairs)
        for pattern in (FIRST, LAST)
    )
