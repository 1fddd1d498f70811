"""A box, a class and a score for each object in an image."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from generator.source import Source, calls_of
from generator.tables import objects_of
from generator.tasks import DataSet, Evidence, Response, Task

LIBRARIES = ("torchvision.models.detection.",)
KEYS = ("boxes", "scores", "labels")  # of what torchvision's detectors return
THRESHOLD = 0.5  # of TorchServe's ObjectDetector


class ObjectDetection(Task):
    """Boxes, each of a class, with a score."""

    meaning = "objects with boxes around them"
    handler_class = "ObjectDetector"
    built_in = "object_detector"
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "score_threshold": "0.05",
            "max_detections": "N",
            "nms_threshold": "0.3",
            "max_size": "PIXELS",
            "coco_eps": "false",
            "wide_tail": "true",
        }
    )

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of a detector, or of what it returns."""
        for node in nodes:
            match node:
                case ast.Subscript(slice=ast.Constant(value="boxes")):
                    return Evidence(source.at(node), '["boxes"]', sure=True)
                case ast.Call():
                    name = source.full_name(node.func)
                    if name.startswith(LIBRARIES) or name.endswith("ForObjectDetection"):
                        return Evidence(source.at(node), name, sure=True)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return above which score a handler returns objects, and in what form."""
        if is_inherited and base == self.handler_class:
            place = "TorchServe's ObjectDetector"
            answer = threshold_attribute(source) or (THRESHOLD, place)
            return Response("torchserve", answer[1], True, {"score_threshold": answer})
        found = list(limits(source, nodes))
        answers = {}
        if len({value for value, _ in found}) == 1:
            answers["score_threshold"] = found[0]
        draws = (call for call in calls_of(nodes) if is_drawing(source, call))
        if (call := next(draws, None)) is not None:
            return Response("image", source.at(call), answers=answers)
        return Response(answers=answers)

    def answers_on_thresholds(self, told: tuple[float, ...], classes: int | None) -> dict[str, Any]:
        """Return the score from which on an object is returned, if there is one for all."""
        return {"score_threshold": told[0]} if len(told) == 1 else {}

    @property
    def built_in_response(self) -> Response:
        """Boxes under the names of their classes, with scores."""
        place = f"TorchServe's {self.built_in}"
        return Response("torchserve", place, True, {"score_threshold": (THRESHOLD, place)})

    def notes_on_classes(self, classes: int) -> list[str]:
        """Return that the background is among them."""
        note = (
            f"{classes} classes include the background, which is class 0 and never returned; "
            "RetinaNet and FCOS may have been trained without one"
        )
        return [note]

    def advice_on_labels(self, names: Sequence[str], classes: int) -> str:
        """Return that the background needs a name, too."""
        if len(names) == classes - 1:
            return "the background is class 0: add a name for it, such as background, as the first"
        return ""

    def read_data(self, path: Path) -> DataSet | None:
        """Return what a JSON file of COCO or a folder of YOLO tells."""
        found = objects_of(path)
        if found is None:
            return None
        names = found.with_background
        doubts = {}
        if found.doubt:
            doubts["task"] = f"{found.doubt}: -d task={self.value}"
        return DataSet(found.what, {"num_classes": len(names)}, names, found.sample, doubts=doubts)


class MoreThanBoxes(ObjectDetection):
    """A detector that finds more of each object than its box, which no handler of TorchServe does.

    Attributes:
        keys: of that, among what a network returns.
    """

    handler_class = ""
    built_in = ""
    keys: ClassVar[tuple[str, ...]] = ()

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of one of the keys."""
        for node in nodes:
            match node:
                case ast.Subscript(slice=ast.Constant(value=str() as key)) if key in self.keys:
                    return Evidence(source.at(node), f'["{key}"]', sure=True)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return above which score a handler returns objects; other limits may be of the rest."""
        found = list(limits(source, nodes, of="scores"))
        one = len({value for value, _ in found}) == 1
        return Response(answers={"score_threshold": found[0]} if one else {})

    def notes_on_classes(self, classes: int) -> list[str]:
        """Return that the background is among them."""
        return [f"{classes} classes include the background, which is class 0 and never returned"]

    @property
    def built_in_response(self) -> Response:
        """Nothing."""
        return Response()


def threshold_attribute(source: Source) -> tuple[float, str] | None:
    """Return the attribute `threshold` of TorchServe's ObjectDetector, and its place."""
    for name in ("self.threshold", "threshold"):
        for value in source.bindings.get(name, ()):
            if value is not None and isinstance(number := source.value_or(value, None), float):
                return number, source.at(value)
    return None


def limits(source: Source, nodes: Sequence[ast.AST], of: str = "") -> list[tuple[float, str]]:
    """Return the numbers between 0 and 1 that something is compared with, and where.

    Args:
        source: The handler.
        nodes: Its nodes.
        of: The key of what is compared, among what a network returns; "" for anything.
    """
    found = []
    for node in nodes:
        if of and not (isinstance(node, ast.Compare) and has_key(node.left, of)):
            continue
        match node:
            case ast.Compare(ops=[ast.Gt() | ast.GtE()], comparators=[limit]):
                value: Any = source.value_or(limit, None)
            case ast.Compare(left=_, ops=[ast.Lt() | ast.LtE()], comparators=[limit]):
                value = source.value_or(limit, None)
            case _:
                continue
        if isinstance(value, float) and 0 < value < 1:
            found.append((value, source.at(node)))
    return found


def has_key(node: ast.AST, key: str) -> bool:
    """Tell whether something is taken by this key in an expression."""
    return any(
        isinstance(x, ast.Subscript) and isinstance(x.slice, ast.Constant) and x.slice.value == key
        for x in ast.walk(node)
    )


def is_drawing(source: Source, call: ast.Call) -> bool:
    """Tell whether a call draws boxes into an image."""
    name = source.full_name(call.func)
    return name in ("cv2.rectangle", "torchvision.utils.draw_bounding_boxes")


TASK = ObjectDetection
