# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Whether the outputs of the service look like those of a network that is run as it should be."""

from __future__ import annotations

import torch

from tools.inprocess import LocalService
from tools.project import ProjectError, in_project
from tools.samples import unlike_images

TRUST = in_project("python archive.py --trust-outputs")
CHANCE = 0.001  # share of the largest number by which two runs may differ
BATCH = 0.05  # and by which an image alone and beside another may, for they are computed otherwise


def examine(service: LocalService) -> None:
    """Raise ProjectError for outputs that chance or other images change, or that never change.

    Such a network may be served, but hardly is what was trained.
    """
    images = unlike_images()
    outputs = service.outputs(images)
    (again,) = service.outputs(images[:1])
    together = service.outputs_together(images[:2])
    first = outputs[0]
    if differ(first, again, CHANCE):
        raise ProjectError(
            "the network returns something else for the same image each time: some of it is as in "
            "training, such as dropout. Use no functional.dropout without training=self.training. "
            f"If it is meant so: {TRUST}"
        )
    if any(differ(x, y, BATCH) for x, y in zip(outputs[:2], together, strict=True)):
        raise ProjectError(
            "the network returns something else for an image when another is in its batch: some of "
            "it is as in training, such as batch normalisation with statistics of the batch. "
            f"If it is meant so: {TRUST}"
        )
    if all(torch.allclose(first, output, rtol=1e-6, atol=0) for output in outputs):
        raise ProjectError(
            "the network returns the same for images that have nothing in common: are these the "
            f"trained weights, and are transforms those of training? If it is meant so: {TRUST}"
        )


def differ(one: torch.Tensor, other: torch.Tensor, share: float) -> bool:
    """Tell whether two outputs differ by more than a share of the largest number in them."""
    return (one - other).abs().max().item() > share * one.abs().max().item()
