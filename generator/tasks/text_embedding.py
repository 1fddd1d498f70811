"""An embedding for each text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from generator.tasks import Task


class TextEmbedding(Task):
    """An encoder of transformers, and how its outputs become one embedding."""

    meaning = "embeddings to compare texts by"
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "pooling": "cls",
            "l2_normalize": "true",
            "long_texts": "truncate",
        }
    )


TASK = TextEmbedding
