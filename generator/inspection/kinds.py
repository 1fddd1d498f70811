"""Tells what a network does that is in no catalogue, from the names and the shapes of its weights.

Libraries call the layers that make them segmenters or detectors by names of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from generator.inspection.pickles import Tensor

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sign:
    """What makes a network one of a kind.

    Attributes:
        kind: of network: a key of `catalogue.KINDS`, or one that no task takes.
        name: of the weight that shows it.
        classes: how many it tells apart, if that weight shows this as well.
    """

    kind: str
    name: str
    classes: int | None = None


DETECTOR = re.compile(
    r"(^|\.)("
    r"roi_heads\.box_predictor|head\.(classification|regression)_head"  # torchvision, detectron2
    r"|rpn_head|bbox_head"  # MMDetection
    r"|bbox_embed\.layers|bbox_predictor\.layers"  # DETR, there and in transformers
    r"|dfl\.conv"  # Ultralytics
    r")\."
)
# What finds a mask for each box, as torchvision names it.
INSTANCE_SEGMENTER = re.compile(r"(^|\.)roi_heads\.mask_predictor\.")
# And what finds keypoints.
KEYPOINT_DETECTOR = re.compile(r"(^|\.)roi_heads\.keypoint_predictor\.")
# The most special kind first.
DETECTORS = {
    "instance segmenter": INSTANCE_SEGMENTER,
    "keypoint detector": KEYPOINT_DETECTOR,
    "detector": DETECTOR,
}
# The layer that gives the classes of each pixel: its rows are the classes.
SEGMENTER = re.compile(
    r"(^|\.)("
    r"segmentation_head\.0"  # segmentation_models_pytorch
    r"|decode_head\.(conv_seg|classifier)"  # MMSegmentation, transformers
    r")\.weight"
)
# What many call that layer in a U-Net, where no layer is a matrix.
LAST = re.compile(r"(^|\.)(outc(\.conv)?|(final|out|output|last)_?conv)(\.0)?\.weight")
# What comes before a backbone as torchvision's segmenters have it.
BACKBONE = re.compile(r"(|.*?\.)backbone\.")


def sign_of(state: State) -> Sign | None:
    """Return what shows that a network finds objects or segments; None if nothing does."""
    convolutions = {key: x.shape for key, x in state.items() if len(x.shape) == 4}
    if not convolutions:
        return None
    for kind, pattern in DETECTORS.items():
        if key := next(filter(pattern.search, state), None):
            return Sign(kind, key)
    for pattern in (SEGMENTER, LAST) if not has_matrix(state.values()) else (SEGMENTER,):
        for key, shape in reversed(convolutions.items()):
            if pattern.search(key):
                return Sign("segmenter", key, shape[0])
    found = (match[1] for key in convolutions if (match := BACKBONE.match(key)))
    prefix = min(found, key=len, default=None)
    if prefix is not None:
        head = {key: x for key, x in state.items() if key.startswith(f"{prefix}classifier.")}
        last = next((key for key in reversed(head) if key in convolutions), None)
        if last is not None and not has_matrix(head.values()):
            return Sign("segmenter", last, convolutions[last][0])
    return None


def has_matrix(tensors: Iterable[Tensor]) -> bool:
    """Tell whether a linear layer may be among the weights."""
    return any(len(tensor.shape) == 2 for tensor in tensors)
