"""Reads what a handler answers, and where it has the names of the classes."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from generator.adopt.source import Source, argument, chain

NAMES = re.compile(
    r"(self\.)?_?(\w*_)?(class(es)?|labels?|categories|names|idx|index)(_\w*)?", re.IGNORECASE
)
LABEL_FILE = re.compile(r"[\w.-]+\.(json|txt|csv|tsv)")


@dataclass(frozen=True)
class Response:
    """What the handler answers.

    Attributes:
        form: an answer to response_format; "" if the code does not tell.
        top_k: how many classes it names; 0 if the code does not tell.
        where: file:line.
        sure: whether clients get the very same form.
        scores: "softmax", "sigmoid", or "" if the handler makes neither of the scores.
    """

    form: str
    top_k: int
    where: str
    sure: bool
    scores: str


def read_response(source: Source, node: ast.ClassDef | None, is_classifier: bool) -> Response:
    """Read what a handler answers.

    Args:
        source: The handler.
        node: Its class.
        is_classifier: Whether it is derived from TorchServe's ImageClassifier.
    """
    form, top_k, where, scores = "", 0, "", ""
    # Of TorchServe's ImageClassifier; a method may set it to its parameter as well.
    assigned = [x for x in source.bindings.get("self.topk", ()) if source.value_or(x, 0)]
    attribute = source.value_or(assigned[0], 0) if len(assigned) == 1 else 0
    for call in (x for x in source.nodes if isinstance(x, ast.Call)):
        name = chain(call.func)
        kind = name.rpartition(".")[2] or getattr(call.func, "attr", "")
        if kind == "topk":
            position = 1 if source.full_name(call.func) == "torch.topk" else 0
            k = source.value_or(argument(call, position, "k"), 0)
            form, where = "predictions", source.at(call)
            top_k = k if isinstance(k, int) else 0
        elif not form and (kind == "argmax" or (kind == "max" and is_max(source, call))):
            form, where = "label", source.at(call)
        elif kind == "map_class_to_label" or (is_classifier and kind == "postprocess"):
            form, where = "scores", source.at(call)
        elif kind in ("softmax", "Softmax"):
            scores = "softmax"
        elif kind in ("sigmoid", "Sigmoid"):
            scores = "sigmoid"
    own = {x.name for x in node.body if isinstance(x, ast.FunctionDef)} if node else set()
    if is_classifier and not own & {"postprocess", "handle"}:
        at = source.at(assigned[0]) if attribute and assigned[0] else "TorchServe's ImageClassifier"
        return Response("scores", attribute or 5, at, sure=True, scores="softmax")
    return Response(form, top_k or attribute, where, sure=False, scores=scores)


def oddities(source: Source) -> list[str]:
    """Return what a handler does with the network that a project does not."""
    notes = []
    calls = [x for x in source.nodes if isinstance(x, ast.Call)]
    forwards = [x for x in calls if chain(x.func) in ("self.model", "self.model.forward")]
    if len(forwards) > 1:
        notes.append(
            f"{source.at(forwards[1])}: the handler calls the network {len(forwards)} times"
        )
    metrics = [x for x in calls if re.search(r"(^|\.)metrics\.\w+$", chain(x.func))]
    if metrics:
        notes.append(f"{source.at(metrics[0])}: the handler's own metrics are not in the project")
    for call in calls:
        name = chain(call.func).rpartition(".")[2]
        scores = call.args[0] if call.args else call.func
        if name == "quantize_dynamic":
            notes.append(
                f"{source.at(call)}: the handler quantizes the network; the project does not"
            )
        elif name == "half":
            notes.append(
                f"{source.at(call)}: the handler computes in half precision, a project does not"
            )
        elif name == "softmax" and any(isinstance(x, ast.BinOp) for x in ast.walk(scores)):
            shown = ast.unparse(call)[:60]
            notes.append(f"{source.at(call)}: the scores are changed before softmax: {shown}")
    return notes


def is_max(source: Source, call: ast.Call) -> bool:
    """Tell whether it is torch.max(scores, 1) or scores.max(1)."""
    position = 1 if source.full_name(call.func) == "torch.max" else 0
    return source.value_or(argument(call, position, "dim"), None) in (1, -1)


def written_names(source: Source) -> tuple[list[str], str] | None:
    """Return names of classes that stand in the code, and where; None if there are none."""
    for name, values in source.bindings.items():
        if len(values) != 1 or not NAMES.fullmatch(name):
            continue
        labels = as_names(source.value_or(values[0], None))
        if labels and values[0] is not None:
            return labels, source.at(values[0])
    return None


def as_names(value: Any) -> list[str]:
    """Return a list of names, or {0: "cat", 1: "dog"}, in the order of the classes; else []."""
    if isinstance(value, dict):
        keys = {str(key): x for key, x in value.items()}
        order = [str(index) for index in range(len(value))]
        value = [keys[key] for key in order] if keys.keys() == set(order) else []
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return list(value) if all(isinstance(x, str) and x.strip() for x in value) else []
    return []


def named_files(source: Source, pattern: re.Pattern[str]) -> dict[str, str]:
    """Return the files that texts in the code name, with places."""
    names: dict[str, str] = {}
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            last = node.value.replace("\\", "/").rpartition("/")[2]
            if pattern.fullmatch(last):
                names.setdefault(last, source.at(node))
    return names
