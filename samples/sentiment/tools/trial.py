# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Whether the outputs of the service look like those of a network that is run as it should be."""

from __future__ import annotations

import torch

from tools.inprocess import LocalService
from tools.project import ProjectError, in_project
from tools.samples import unlike_texts

TRUST = in_project("python archive.py --trust-outputs")
CHANCE = 0.001  # share of the largest number by which two runs may differ
BATCH = 0.02  # and by which a text alone and beside a longer one may


def examine(service: LocalService) -> None:
    """Raise ProjectError for outputs that chance or other texts change, or that never change.

    Such a network may be served, but hardly is what was trained.
    """
    texts = sorted(unlike_texts(), key=len)
    outputs = service.outputs(texts)
    (again,) = service.outputs(texts[:1])
    together = service.outputs_together([texts[0], texts[-1]])[0]
    first = outputs[0]
    if differ(first, again, CHANCE):
        raise ProjectError(
            f"the network returns something else for the same text each time. If it is meant so: "
            f"{TRUST}"
        )
    if differ(first, together, BATCH):
        raise ProjectError(
            "the network returns something else for a text when a longer one is in its batch: it "
            f"does not leave out what the shorter is filled up with. If it is meant so: {TRUST}"
        )
    if all(torch.allclose(first, output, rtol=1e-6, atol=0) for output in outputs):
        raise ProjectError(
            "the network returns the same for texts that have nothing in common: are these the "
            f"trained weights, and is it their tokenizer? If it is meant so: {TRUST}"
        )


def differ(one: torch.Tensor, other: torch.Tensor, share: float) -> bool:
    """Tell whether two outputs differ by more than a share of the largest number in them."""
    return (one - other).abs().max().item() > share * one.abs().max().item()
