"""One class, or any number of classes, for each text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from generator.tables import doubts_on, names_in, parted, rows_of
from generator.tasks import DataSet, Task


class TextClassification(Task):
    """A sequence classifier of transformers."""

    meaning = "a text is classified"
    handler_class = "TextClassifier"
    built_in = "text_classifier"
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "problem_type": "multi_label_classification",
            "long_texts": "truncate",
        }
    )

    def read_data(self, path: Path) -> DataSet | None:
        """Return what a table tells with the columns text and label, or labels for several."""
        rows = rows_of(path, [".csv", ".jsonl"])
        if not rows or "text" not in rows[0]:
            return None
        if "labels" in rows[0]:
            labels = parted([row.get("labels", "") for row in rows])
            names = names_in(itertools.chain(*labels))
            problem = "multi_label_classification"
            doubts = doubts_on("problem_type", problem, labels, "text")
        elif "label" in rows[0]:
            names = names_in(row.get("label", "").strip() for row in rows)
            problem, doubts = "single_label_classification", {}
        else:
            return None
        answers = {"num_classes": len(names), "problem_type": problem}
        return DataSet(f"{len(rows)} texts", answers, names, sure=True, doubts=doubts)


TASK = TextClassification
