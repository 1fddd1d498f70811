# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes: those that torchvision trained its weights with."""

from __future__ import annotations

from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

WEIGHTS = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1


def read_labels(num_classes: int) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and no notes."""
    names: list[str] = WEIGHTS.meta["categories"]
    return names[:num_classes], []
