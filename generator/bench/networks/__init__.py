"""Networks that are measured, a module for each kind: how they get weights, and what is right.

Each module has NAMES, and the functions of `Kind`. Importing one imports no torch: the load of a
server is sent, and judged, from a process that should start at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from generator.bench.networks import classifier, detector, segmenter

if TYPE_CHECKING:
    from torch import nn


class Kind(Protocol):
    """What a module here has.

    Attributes:
        NAMES: of the networks.
        KIND: a key of `generator.catalogue.KINDS`: which tasks they are for.
        CLASSES: how many they tell apart.
        ARGUMENTS: further ones of torchvision's get_model, after a comma.
        ANSWERS: to questions of the template, besides those on the network itself.
    """

    NAMES: tuple[str, ...]
    KIND: str
    CLASSES: int
    ARGUMENTS: str
    ANSWERS: dict[str, Any]

    def make(self, name: str, paths: Sequence[Path]) -> nn.Module:
        """Return a network of torchvision's with seeded weights that mean something for images."""

    def expected(self, network: nn.Module, paths: Sequence[Path]) -> list[Any]:
        """Return what is right for each image, as JSON: computed in this process, by the network.

        Where the preprocessing of TorchServe's own handler differs, it is what either may predict.
        """

    def is_right(self, prediction: Any, expected: Any) -> bool:
        """Tell whether the JSON of a prediction, of any contender, is what is expected.

        Raises:
            ValueError, LookupError, TypeError: It has no such form.
        """


MODULES: tuple[Kind, ...] = (classifier, detector, segmenter)
KINDS = {module.KIND: module for module in MODULES}


def names() -> list[str]:
    """Return the networks that can be measured."""
    return [name for module in MODULES for name in module.NAMES]


def kind_of(name: str) -> Kind:
    """Return the module of a network."""
    return next(module for module in MODULES if name in module.NAMES)
