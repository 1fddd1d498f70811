# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Whether the network that is served answers as the one that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from eager import load_model
from images import PictureError, damage_named, decode_image, open_image
from inprocess import LocalService
from preprocessing import normalize, preprocess
from project import NUM_CLASSES, ProjectError, change_answer

MAX_PICTURES = 256  # of a folder
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Limits:
    """How much the answers may differ from those of the network as it was trained.

    Attributes:
        difference: of a probability, at most.
        agreement: the share of pictures with the same best class, at least.
    """

    difference: float = 0.02
    agreement: float = 0.99


def find_pictures(folder: Path) -> dict[str, bytes]:
    """Return up to MAX_PICTURES pictures by path, from all over a folder and its sub-folders."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, -(-len(paths) // MAX_PICTURES))
    return {str(path): path.read_bytes() for path in paths[::step]}


def prepared(pictures: Mapping[str, bytes]) -> torch.Tensor:
    """Return encoded pictures as the network takes them: float32 (N, 3, H, W).

    Raises:
        ProjectError: The service would refuse one of them.
    """
    pixels = []
    for name, picture in pictures.items():
        try:
            with damage_named():
                pixels.append(preprocess(decode_image(open_image(picture))))
        except PictureError as error:
            raise ProjectError(f"{name}: {error}; mend it or take it away") from error
    return normalize(torch.stack(pixels))


@torch.inference_mode()
def compare(
    weights: Path, service: LocalService, pictures: Mapping[str, bytes], limits: Limits
) -> str:
    """Let the network as it was trained and as it is served answer the same pictures.

    Args:
        weights: The state_dict, as it was trained.
        service: The archive.
        pictures: Encoded, by path or kind; one or more.
        limits: What is allowed.

    Returns:
        How much they differ, for people.

    Raises:
        ProjectError: They differ more than the limits allow, or a picture is damaged.
    """
    network = load_model(weights, NUM_CLASSES, torch.device("cpu"))
    entries, trained, served = list(pictures.items()), [], []
    for start in range(0, len(entries), 16):  # a few at a time, for memory
        part = dict(entries[start : start + 16])
        trained.append(network(prepared(part)).softmax(dim=1))
        served.append(service.probabilities(list(part.values())))
    expected, found = torch.cat(trained), torch.cat(served)
    difference = (expected - found).abs().max().item()
    agreement = (expected.argmax(dim=1) == found.argmax(dim=1)).float().mean().item()
    outcome = (
        f"of {len(pictures)} pictures, {agreement:.1%} keep their best class, and no probability "
        f"changes by more than {difference:.2g}"
    )
    if difference > limits.difference or agreement < limits.agreement:
        raise ProjectError(
            "aot_inductor in fp16 answers otherwise than the network that was trained: "
            f"{outcome}; expected {limits.agreement:.1%} and {limits.difference:g}.\n"
            f"Serve it as it was trained: {change_answer(backend='eager', precision='fp32')}\n"
            "Or allow more: python archive.py --min-agreement SHARE --max-difference DIFFERENCE"
        )
    return outcome
