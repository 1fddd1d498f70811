"""Any number of classes for each image: each class has a probability of its own."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from generator.source import Source, called, calls_of
from generator.tasks import Evidence, Response, Task, thresholds

SIGMOID = ("sigmoid", "Sigmoid", "expit")


class MultiLabelClassification(Task):
    """Sigmoid for each class."""

    meaning = "an image may belong to any number of classes, sigmoid"
    endings: ClassVar[Mapping[str, str]] = MappingProxyType({"sigmoid": "probabilities"})
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType({"thresholds": "0.3"})

    def evidence_in_weights(
        self, names: Collection[str], classes: int | None, head: str | None
    ) -> str:
        """Return the traces of a loss on each class by itself."""
        for name in names:
            if name.rpartition(".")[2] == "pos_weight" and classes != 1:
                return f"{name} is of BCEWithLogitsLoss, which trains each class by itself"
        return ""

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
        return Response(answers=answers)


TASK = MultiLabelClassification
