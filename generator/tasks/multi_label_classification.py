"""Any number of classes for each image: each class has a probability of its own."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from generator.losses import trained_by_itself
from generator.source import Source, called, calls_of
from generator.tables import Row, doubts_on, names_in, parted, rows_of
from generator.tasks import DataSet, Evidence, Response, Task, probabilities, thresholds

SIGMOID = ("sigmoid", "Sigmoid", "expit")


class MultiLabelClassification(Task):
    """Sigmoid for each class."""

    meaning = "an image may belong to any number of classes, sigmoid"
    endings: ClassVar[Mapping[str, str]] = MappingProxyType({"sigmoid": "probabilities"})
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType({"thresholds": "0.3"})

    def evidence_in_weights(
        self,
        names: Collection[str],
        classes: int | None,
        head: str | None,
        end: str,
        settings: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Return the traces of a loss on each class by itself."""
        if classes == 1:
            return ""
        if trace := trained_by_itself(names, end, settings):
            return trace
        for name, value in settings:
            if "threshold" in name.rpartition(".")[2]:
                return f"it has {name} = {value}, which tell each class by itself"
        return ""

    def answers_on_thresholds(self, told: tuple[float, ...], classes: int | None) -> dict[str, Any]:
        """Return the probabilities from which on a class is returned, one or one for each."""
        return {"thresholds": [*told]} if len(told) in (1, classes) else {}

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of a sigmoid, and of a threshold."""
        for call in calls_of(nodes):
            if called(call) in SIGMOID:
                limit = next(thresholds(source, nodes), None)
                what = f"a sigmoid, and a threshold in {limit[1]}" if limit else "a sigmoid"
                return Evidence(source.at(call), what, sure=False)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return the thresholds, if they all are the same."""
        found = list(thresholds(source, nodes))
        answers = {"thresholds": found[0]} if len({str(value) for value, _ in found}) == 1 else {}
        remarks = [
            f"{place}: the handler has a threshold by name, {shown}; answer thresholds with one "
            "for each class, in their order"
            for shown, place in ([] if answers else named_thresholds(source))
        ]
        return Response(answers=answers, remarks=tuple(remarks))

    def read_data(self, path: Path) -> DataSet | None:
        """Return what a table tells with the column labels, or one of 0 and 1 for each class."""
        rows = rows_of(path, [".csv"])
        if not rows or "file" not in rows[0]:
            return None
        columns = [name for name in rows[0] if name != "file"]
        if "labels" in columns:
            labels = parted([row["labels"] for row in rows])
            names = names_in(itertools.chain(*labels))
            how = "their classes in the column labels"
        elif columns and "label" not in columns and has_flags(rows, columns):
            labels = [[name for name in columns if row[name] == "1"] for row in rows]
            names, how = columns, "with a column of 0 and 1 for each class"
        else:
            return None
        what = f"{len(rows)} images in the column file, {how}"
        sample = path.parent / rows[0]["file"]
        doubts = doubts_on("task", self.value, labels, "image")
        answers = {"num_classes": len(names)}
        return DataSet(what, answers, names, sample, sure=True, doubts=doubts)


def named_thresholds(source: Source) -> Iterator[tuple[str, str]]:
    """Yield what looks like a threshold for each class by its name, for people, and where."""
    for name, values in source.bindings.items():
        if not re.search("thr(esh(old)?)?s?$", name, re.IGNORECASE):
            continue
        for node in values:
            found = source.value_or(node, None)
            if isinstance(found, dict) and probabilities([*found.values()]) and node is not None:
                yield str(found)[:80], source.at(node)


def has_flags(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    """Tell whether each of the columns has 0 or 1 in all rows."""
    return all(row[name] in ("0", "1") for row in rows for name in columns)


TASK = MultiLabelClassification
