"""What in a checkpoint tells that a network was trained on each class by itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from generator.shared.scores import EACH, only_letters

# What names a task, of which a part may have "multilabel" in its name, and means another.
TASKS = ("task", "task_type", "problem_type", "classification_type")
LABELS = re.compile(r"multilabel(classification)?")
WEIGHT = ("pos_weight", "pos_weights")  # of the loss
MEASURE = re.compile(r"(^|\.)Multilabel[A-Z]\w*\.")  # what such a measure has counted


def trained_by_itself(names: Collection[str], end: str, settings: Sequence[tuple[str, str]]) -> str:
    """Return the trace of a loss on each class by itself, "" if there is none.

    Args:
        names: of all tensors beside and in the network.
        end: the class of its last layer, if that has no weights, or of the head that training
            names; "" if neither is known.
        settings: of training, each with its value, as `Training.labels` has them.
    """
    if end == "Sigmoid":
        return "its last layer is a Sigmoid, which tells each class by itself"
    if end.startswith("MultiLabel"):  # of MMPretrain
        return f"it was trained with a {end}, which tells each class by itself"
    for name, value in settings:
        key, word = name.rpartition(".")[2], only_letters(value.rpartition(".")[2])
        is_switch = "label" in key and word == "true"
        each = LABELS if key in TASKS else EACH
        if is_switch or each.fullmatch(word):
            return f"it was trained with {name} = {value}, for each class by itself"
    for name in (*names, *(name for name, _ in settings)):
        if name.rpartition(".")[2] in WEIGHT:
            return f"{name} is of BCEWithLogitsLoss, which trains each class by itself"
        if MEASURE.search(name):
            return f"{name} is of a measure of torchmetrics for classes by themselves"
    return ""
