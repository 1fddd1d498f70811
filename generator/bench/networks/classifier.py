"""Classifiers: each photograph has a class of its own, by a wide margin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.bench import images
from generator.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

NAMES: tuple[str, ...] = ("resnet18", "mobilenet_v3_small", "vit_b_16")
KIND = "classifier"
CLASSES = 1000
ARGUMENTS = ""
ANSWERS: dict[str, Any] = {}
MARGIN = 10  # logits between the right class and the others, so that rounding flips no prediction


def make(name: str, paths: Sequence[Path]) -> nn.Module:
    """Return a network with seeded weights that tell the photographs apart.

    Random weights predict the same for every image, so the last layer is fitted.

    Args:
        name: As torchvision has it.
        paths: Images of the photographs, `images.COUNT` for each after another.
    """
    import torch
    from torch import nn
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, num_classes=CLASSES)
    classes = torch.arange(images.COUNT).repeat(len(paths) // images.COUNT)
    batch = images.read(paths)
    features: list[torch.Tensor] = []
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    images.settle(network, lambda: network(batch))
    with torch.no_grad():
        hook = head.register_forward_hook(lambda _, inputs, __: features.append(inputs[0]))
        network(batch)
        hook.remove()
        x = features[0].double()
        centred = x - x.mean(dim=0)
        wanted = MARGIN * nn.functional.one_hot(classes, CLASSES).double()
        gram = centred @ centred.T
        ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(x), dtype=torch.double)
        weight = wanted.T @ torch.linalg.solve(gram + ridge, centred)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ x.mean(dim=0))
        best = network(batch).argmax(dim=1)
    if not torch.equal(best, classes):
        raise UserError(f"{name}: the photographs cannot be told apart; this is a bug in bench")
    return network


def expected(network: nn.Module, paths: Sequence[Path]) -> list[Any]:
    """Return the class that comes first for each image, as text."""
    return best_classes(network, images.read(paths))


def best_classes(network: nn.Module, batch: torch.Tensor) -> list[Any]:
    """Return the class that comes first for each of float32 images (N, C, H, W), as text."""
    import torch

    with torch.inference_mode():
        return [str(index) for index in network(batch).argmax(dim=1).tolist()]


def is_right(prediction: Any, expected: Any) -> bool:
    """Tell whether a prediction names the expected class first."""
    return best(prediction) == str(expected)


def best(prediction: Any) -> str:
    """Return the most probable class in a prediction of any contender: its index, as text."""
    if isinstance(prediction, list):
        prediction = prediction[0]
    if isinstance(prediction, dict) and "index" in prediction:
        return str(prediction["index"])
    if isinstance(prediction, dict):
        return str(max(prediction, key=prediction.__getitem__))
    return str(prediction)
