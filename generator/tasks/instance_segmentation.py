"""A mask, a box, a class and a score for each object in an image."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from generator.source import Source
from generator.tasks import Evidence, Response
from generator.tasks.object_detection import ObjectDetection, limits


class InstanceSegmentation(ObjectDetection):
    """Masks, each of an object with a box, a class and a score."""

    meaning = "objects with masks"
    handler_class = ""
    built_in = ""
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "score_threshold": "0.05",
            "mask_threshold": "0.3",
            "max_detections": "N",
            "nms_threshold": "0.3",
            "max_size": "PIXELS",
            "coco_eps": "false",
        }
    )

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of the masks among what a network returns."""
        for node in nodes:
            match node:
                case ast.Subscript(slice=ast.Constant(value="masks")):
                    return Evidence(source.at(node), '["masks"]', sure=True)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return above which score a handler returns objects; others may be of masks."""
        found = list(limits(source, nodes, of="scores"))
        one = len({value for value, _ in found}) == 1
        return Response(answers={"score_threshold": found[0]} if one else {})

    def notes_on_classes(self, classes: int) -> list[str]:
        """Return that the background is among them."""
        return [f"{classes} classes include the background, which is class 0 and never returned"]

    @property
    def built_in_response(self) -> Response:
        """Nothing: TorchServe has no handler that returns masks."""
        return Response()


TASK = InstanceSegmentation
