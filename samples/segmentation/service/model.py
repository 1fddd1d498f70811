# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The network: torchvision's deeplabv3_mobilenet_v3_large."""

from torch import nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large


def build_model(num_classes: int) -> nn.Module:
    """Return the untrained network: images (N, 3, H, W) to scores (N, num_classes, H, W)."""
    return deeplabv3_mobilenet_v3_large(num_classes=num_classes, weights_backbone=None)
