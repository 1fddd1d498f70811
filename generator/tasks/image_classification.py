"""One class for each image: the probabilities of all classes add up to 1."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from generator.shared.data_folders import are_parts
from generator.source import Source, argument, called, calls_of, chain
from generator.tables import folders_in, images_in, names_in, rows_of
from generator.tasks import DataSet, Evidence, Response, Task, thresholds
from generator.thresholds import other_threshold

SOFTMAX = ("softmax", "Softmax", "log_softmax", "LogSoftmax")
SIGMOID = ("sigmoid", "Sigmoid")
TOP_K = 5  # of TorchServe's ImageClassifier


class ImageClassification(Task):
    """Softmax over the classes."""

    meaning = "each image belongs to exactly one class, softmax"
    handler_class = "ImageClassifier"
    built_in = "image_classifier"
    endings: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"log_softmax": "log_probabilities", "softmax": "probabilities"}
    )

    def evidence_in_weights(
        self,
        names: Collection[str],
        classes: int | None,
        head: str | None,
        end: str,
        settings: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Return that one output tells two classes apart."""
        return "one output tells two classes apart" if classes == 1 else ""

    def doubts_on_training(
        self,
        names: Collection[str],
        classes: int | None,
        end: str,
        settings: Sequence[tuple[str, str]],
        told: Sequence[float],
    ) -> dict[str, str]:
        """Return that a class was predicted from another probability on than 0.5."""
        why = other_threshold(told, classes, self.value)
        return {"task": why} if why else {}

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of a softmax."""
        for call in calls_of(nodes):
            if called(call) in SOFTMAX:
                return Evidence(source.at(call), "a softmax", sure=True)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return which classes a handler names, and how many."""
        form, where, sigmoid = "", "", ""
        top_k, top_k_at = attribute(source)
        if is_inherited and base == self.handler_class:
            place = "TorchServe's ImageClassifier"
            answers = {"top_k": (top_k or TOP_K, top_k_at or place)}
            return Response("scores", top_k_at or place, True, answers)
        for call in calls_of(nodes):
            kind = called(call)
            if kind == "topk":
                position = 1 if source.full_name(call.func) == "torch.topk" else 0
                k = source.value_or(argument(call, position, "k"), 0)
                form, where = "predictions", source.at(call)
                if isinstance(k, int) and k:
                    top_k, top_k_at = k, where
            elif not form and (kind == "argmax" or (kind == "max" and is_max(source, call))):
                form, where = "label", source.at(call)
            elif kind == "map_class_to_label" or (base == self.handler_class and is_parents(call)):
                form, where = "scores", source.at(call)
            elif kind in SIGMOID:
                sigmoid = source.at(call)
        remarks = []
        if sigmoid:
            remarks.append(
                f"{sigmoid}: the handler has a sigmoid, and the project computes softmax: its "
                "probabilities are other ones, and add up to 1"
            )
        elif not (form or is_inherited or self.evidence_in_code(source, nodes)):
            remarks.append(
                f"{source.name}: the handler computes no softmax, and the project returns the best "
                "classes with theirs; for embeddings and the like, answer another task"
            )
        for values, place in thresholds(source, nodes):
            remarks.append(
                f"{place}: the handler compares with {values[0]}; the project returns its "
                "predictions however probable they are"
            )
            break
        return Response(
            form,
            where,
            answers={"top_k": (top_k, top_k_at or where)} if top_k and form != "label" else {},
            remarks=tuple(remarks),
        )

    def read_data(self, path: Path) -> DataSet | None:
        """Return what the folders of classes tell, or a table with the columns file and label."""
        if path.is_dir():
            folders = folders_in(path)
            if are_parts([folder.name for folder in folders]):
                return None
            found = [image for folder in folders for image in images_in(folder)]
            filled = {image.relative_to(path).parts[0] for image in found}
            if len(filled) < 2:
                return None
            names = names_in(folder.name for folder in folders)
            doubts = {}
            if empty := [name for name in names if name not in filled]:
                doubts["num_classes"] = (
                    f"no image is in {', '.join(empty)}, of which nothing can be learned. Take it "
                    f"out, or keep it as a class: -d num_classes={len(names)}"
                )
            what = f"{len(found)} images in {len(names)} folders"
            return DataSet(what, {"num_classes": len(names)}, names, found[0], doubts=doubts)
        rows = rows_of(path, [".csv"])
        if not rows or not {"file", "label"} <= rows[0].keys():
            return None
        names = names_in(row["label"].strip() for row in rows)
        what = f"{len(rows)} images in the column file, their classes in the column label"
        sample = path.parent / rows[0]["file"]
        return DataSet(what, {"num_classes": len(names)}, names, sample, sure=True)

    def advice_on_labels(self, names: Sequence[str], classes: int) -> str:
        """Return that both of two classes need a name, though one output may tell them apart."""
        if len(names) == 1 and classes == 2:
            return "name both classes, the one for a high output last"
        return ""

    @property
    def built_in_response(self) -> Response:
        """Its five best classes, with their probabilities."""
        place = f"TorchServe's {self.built_in}"
        return Response("scores", place, True, {"top_k": (TOP_K, place)})


def attribute(source: Source) -> tuple[int, str]:
    """Return the attribute topk of TorchServe's ImageClassifier, and its place; 0 if not set.

    A method may set it to its parameter as well.
    """
    assigned = [x for x in source.bindings.get("self.topk", ()) if source.value_or(x, 0)]
    if len(assigned) != 1 or assigned[0] is None:
        return 0, ""
    value = source.value_or(assigned[0], 0)
    return (value, source.at(assigned[0])) if isinstance(value, int) else (0, "")


def is_parents(call: ast.Call) -> bool:
    """Tell whether a call is of a parent's postprocess."""
    match call.func:
        case ast.Attribute(attr="postprocess", value=ast.Call() | ast.Name()):
            return chain(call.func) != "self.postprocess"
    return False


def is_max(source: Source, call: ast.Call) -> bool:
    """Tell whether it is torch.max(scores, 1) or scores.max(1)."""
    position = 1 if source.full_name(call.func) == "torch.max" else 0
    return source.value_or(argument(call, position, "dim"), None) in (1, -1)


TASK = ImageClassification
