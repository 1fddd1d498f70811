"""Your network. Change it as you like; `build_model` is all that the service asks for."""

import torch
from torch import nn


class SmallCNN(nn.Module):
    """Two convolutions and two linear layers: enough for handwritten digits of 28 x 28 pixels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 128),
            nn.ReLU(),
            nn.Linear(128, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, num_classes) for images (N, 1, H, W)."""
        return self.classifier(self.features(images))


def build_model(num_classes: int) -> nn.Module:
    """Return the untrained network: images (N, 1, H, W) to scores (N, num_classes)."""
    return SmallCNN(num_classes)
