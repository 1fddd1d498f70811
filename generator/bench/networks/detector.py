"""Detectors, which find in the photographs what random weights take for objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.bench import images
from generator.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

NAMES: tuple[str, ...] = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")
KIND = "detector"
CLASSES = 91
ARGUMENTS = ", weights_backbone=None"
THRESHOLD = 0.5  # of TorchServe's object_detector, which has no setting for it
# The form of TorchServe's object_detector, so that bodies are as long.
ANSWERS: dict[str, Any] = {"response_format": "torchserve", "score_threshold": THRESHOLD}
OBJECTS = 10  # that a photograph shows at least, on average, as a street does
SAME_BOX = 0.9  # intersection over union of two boxes that are one
# Objects that must be found again. Of two overlapping boxes with scores that are nearly the same,
# a sum in another order decides which is kept.
SAME_OBJECTS = 0.9
GROWTH, TRIES = 1.3, 40  # of the weights


def make(name: str, paths: Sequence[Path]) -> nn.Module:
    """Return a network with seeded weights that finds some objects in each photograph.

    The scores of random weights are all about the same: what they differ by is multiplied until
    enough of them are sure.

    Args:
        name: As torchvision has it.
        paths: Images, all of one size.
    """
    import torch
    from torchvision.models import get_model

    network: nn.Module = get_model(
        name, weights=None, weights_backbone=None, num_classes=CLASSES
    ).eval()
    batch = read(paths[: images.COUNT])
    images.settle(network, lambda: network(batch))
    heads = [
        weight
        for key, weight in network.named_parameters()
        if key.endswith(".weight") and ("cls_score" in key or "classification_head" in key)
        if len(weight) % CLASSES == 0
    ]
    for _ in range(TRIES):
        with torch.no_grad():
            counts = [len(objects) for objects in found_in(network(batch))]
            if min(counts) and sum(counts) >= OBJECTS * len(batch):
                return network
            for weight in heads:
                weight.mul_(GROWTH)
    raise UserError(f"{name} finds nothing in the photographs; this is a bug in bench")


def read(paths: Sequence[Path]) -> list[torch.Tensor]:
    """Return images as detectors take them: float32 (3, H, W), from 0 to 1, of any size."""
    from torchvision.transforms.functional import to_tensor

    return [to_tensor(images.open_image(path)) for path in paths]


def found_in(outputs: Sequence[dict[str, torch.Tensor]]) -> list[list[dict[str, Any]]]:
    """Return the objects of each image, as TorchServe's object_detector does."""
    return [
        [
            {str(label): box, "score": score}
            for box, label, score in zip(
                *(one[key].tolist() for key in ("boxes", "labels", "scores")), strict=True
            )
            if score >= THRESHOLD
        ]
        for one in outputs
    ]


def expected(network: nn.Module, paths: Sequence[Path]) -> list[Any]:
    """Return the objects of each image, as TorchServe's object_detector does."""
    import torch

    with torch.inference_mode():
        return list(found_in(network(read(paths))))


def is_right(prediction: Any, expected: Any) -> bool:
    """Tell whether nearly all of the expected objects were found, and hardly any others."""
    found, wanted = ([label_and_box(one) for one in objects] for objects in (prediction, expected))
    same = sum(any(is_same(one, other) for other in found) for one in wanted)
    return same >= SAME_OBJECTS * max(len(wanted), len(found))


def label_and_box(one: dict[str, Any]) -> tuple[str, list[float]]:
    """Return the label of an object, and x1, y1, x2, y2 in pixels."""
    ((label, box),) = ((key, value) for key, value in one.items() if key != "score")
    return label, box


def is_same(one: tuple[str, list[float]], other: tuple[str, list[float]]) -> bool:
    """Tell whether two objects have one label, and nearly one box."""
    (x1, y1, x2, y2), (left, top, right, bottom) = one[1], other[1]
    both = max(0.0, min(x2, right) - max(x1, left)) * max(0.0, min(y2, bottom) - max(y1, top))
    either = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - both
    return one[0] == other[0] and both >= SAME_BOX * either
