"""One class, or any number of classes, for each text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from generator.tasks import Task


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


TASK = TextClassification
