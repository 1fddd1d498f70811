"""Keypoints, a box, a class and a score for each object in an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from generator.tables import objects_of
from generator.tasks import DataSet
from generator.tasks.object_detection import MoreThanBoxes


class KeypointDetection(MoreThanBoxes):
    """Keypoints, each a place in the image, of an object with a box, a class and a score."""

    meaning = "objects with keypoints"
    keys = ("keypoints", "keypoints_scores")  # as torchvision's Keypoint R-CNN names them
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "keypoint_names": "'[NAME, NAME, ...]'",
            "score_threshold": "0.05",
            "max_detections": "N",
            "nms_threshold": "0.3",
            "max_size": "PIXELS",
            "coco_eps": "false",
        }
    )

    def read_data(self, path: Path) -> DataSet | None:
        """Return what COCO's JSON or a folder of YOLO tells, whose objects have keypoints."""
        found = objects_of(path)
        if found is None or found.keypoints is None:
            return None
        names = found.with_background
        answers = {"num_classes": len(names), "keypoint_names": found.keypoints}
        return DataSet(found.what, answers, names, found.sample, sure=True)


TASK = KeypointDetection
