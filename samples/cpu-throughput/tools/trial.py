# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Whether the outputs of the service look like those of a network that is run as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from service.preprocessing import MEAN
from tools.inprocess import LocalService
from tools.outputs import doubt
from tools.project import ProjectError, change_answer, in_project
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
    if scale := scale_inside(constants(service)):
        inside = ", ".join(f"{scale * x:g}" for x in MEAN)
        fixes = f"run: {without_normalization(1)}"
        if scale == 255:
            fixes += f"\nor, for a network that takes 0 to 255: {without_normalization(255)}"
        raise ProjectError(
            f"the network holds the mean {inside}: it likely normalises images itself, and the "
            f"service does so before. If so, {fixes}\nIf both are meant: {TRUST}"
        )
    if differ(first, again, CHANCE):
        raise ProjectError(
            "the network returns something else for the same image each time: some of it is as in "
            "training, such as dropout. Call eval() on it before it is exported, and use no "
            f"functional.dropout without training=self.training. If it is meant so: {TRUST}"
        )
    if any(differ(x, y, BATCH) for x, y in zip(outputs[:2], together, strict=True)):
        raise ProjectError(
            "the network returns something else for an image when another is in its batch: some of "
            "it is as in training, such as batch normalisation. Call eval() on it before it is "
            f"exported. If it is meant so: {TRUST}"
        )
    if all(torch.allclose(first, output, rtol=1e-6, atol=0) for output in outputs):
        raise ProjectError(
            "the network returns the same for images that have nothing in common: are these the "
            f"trained weights, and are transforms those of training? If it is meant so: {TRUST}"
        )
    if doubts := doubt(outputs):
        raise ProjectError(f"{doubts}\nIf it is as answered all the same: {TRUST}")


def differ(one: torch.Tensor, other: torch.Tensor, share: float) -> bool:
    """Tell whether two outputs differ by more than a share of the largest number in them."""
    return (one - other).abs().max().item() > share * one.abs().max().item()


def constants(service: LocalService) -> Iterable[torch.Tensor]:
    """Yield the tensors that the network holds."""
    context = service.context
    file = context.manifest["model"]["serializedFile"]
    graph = onnx.load(Path(context.system_properties["model_dir"], file)).graph
    yield from (torch.tensor(numpy_helper.to_array(x)) for x in graph.initializer)
    for node in graph.node:
        values = [x.t for x in node.attribute if node.op_type == "Constant" and x.name == "value"]
        yield from (torch.tensor(numpy_helper.to_array(x)) for x in values)


def scale_inside(constants: Iterable[torch.Tensor]) -> int:
    """Return 1 or 255 if the service's mean is among them, for values up to that; 0 if not."""
    triples = [x.flatten().float() for x in constants if x.numel() == len(MEAN)]
    for scale in (1, 255):
        mean = torch.tensor(MEAN) * scale
        if any(torch.allclose(x.cpu(), mean, rtol=0.001) for x in triples):
            return scale
    return 0


def without_normalization(scale: int) -> str:
    """Return the command for a service that gives the network values from 0 to 1, or to 255."""
    return change_answer(
        transforms="custom",
        image_size=224,
        resize_size=232,
        interpolation="bilinear",
        mean="[0.0]",
        std=f"[{1 / scale}]",
    )
