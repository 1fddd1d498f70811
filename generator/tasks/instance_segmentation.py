"""A mask, a box, a class and a score for each object in an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from generator.tables import objects_of
from generator.tasks import DataSet
from generator.tasks.object_detection import MoreThanBoxes


class InstanceSegmentation(MoreThanBoxes):
    """Masks, each of an object with a box, a class and a score."""

    meaning = "objects with masks"
    keys = ("masks",)
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

    def read_data(self, path: Path) -> DataSet | None:
        """Return what a JSON file of COCO or a folder of YOLO tells, whose objects have masks."""
        found = objects_of(path)
        if found is None or not found.has_masks:
            return None
        names = found.with_background
        answers = {"num_classes": len(names)}
        doubts = {}
        if found.doubt:
            doubts["task"] = f"{found.doubt}: -d task=object_detection; masks: -d task={self.value}"
        sure = not found.has_boxes
        return DataSet(found.what, answers, names, found.sample, sure=sure, doubts=doubts)


TASK = InstanceSegmentation
