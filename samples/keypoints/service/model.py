# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The network: torchvision's keypointrcnn_resnet50_fpn."""

from torch import nn
from torchvision.models.detection import keypointrcnn_resnet50_fpn


def build_model(num_classes: int) -> nn.Module:
    """Return the untrained network: a list of images (3, H, W) to a dict for each.

    A dict has "boxes" (n, 4), x1, y1, x2, y2 in pixels of the image, "labels" and "scores" (n,).
    It also has "keypoints" (n, 17, 3), x, y in such pixels and 1, and "keypoints_scores" (n, 17).
    """
    model = keypointrcnn_resnet50_fpn(
        num_classes=num_classes,
        weights_backbone=None,
        box_score_thresh=0.5,
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision sets it with its COCO weights
    return model
