# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes: those that torchvision trained its weights with."""

from __future__ import annotations

from torchvision.models.segmentation import DeepLabV3_MobileNet_V3_Large_Weights

WEIGHTS = DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1


def read_labels(num_classes: int) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and no notes."""
    names: list[str] = WEIGHTS.meta["categories"]
    return names[:num_classes], []
