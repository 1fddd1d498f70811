"""Proposes how images are prepared for a network that was recognised.

What the checkpoint tells of its training comes first, then how the weights of the architecture
were evaluated, whatever the answer to `architecture` is: a network with layers of one's own was
trained from the same weights in most cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generator import catalogue, facts
from generator.inspection import signatures
from generator.inspection.training import Training

if TYPE_CHECKING:
    from generator.inspection import Inspection

# What is asked where the network scales images itself.
ASKED = ("transforms", "image_size", "mean", "std")
TRACED = "of the size it was traced with"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Transforms:
    """How an image is prepared.

    Attributes:
        image_size: side of the square that the network gets; with "shorter_side", the shorter side.
        resize_size: to which the shorter side (with "stretch", both) is scaled before the crop.
        mean: of each channel, between 0 and 1.
        std: likewise.
        interpolation: of the resize.
        resize_mode: an answer to the question of this name.
        why: whose transforms these are, for people.
        crop_pct: what share of the scaled image the crop keeps, where timm has it so; else 0.
    """

    image_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_mode: str
    why: str
    crop_pct: float = 0.0

    @property
    def answers(self) -> dict[str, Any]:
        """The answers that say so."""
        answers: dict[str, Any] = {"image_size": self.image_size, "resize_mode": self.resize_mode}
        if self.resize_mode != "shorter_side":
            answers["resize_size"] = self.resize_size
        return {
            "transforms": "custom",
            **answers,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
        }

    def __str__(self) -> str:
        """Describe it in a line."""
        size, whole = self.image_size, self.resize_size
        how = {
            "shorter_side": f"shorter side to {size} pixels",
            "stretch": f"stretched to {whole} x {whole} pixels",
            "crop": f"shorter side to {whole} pixels",
        }[self.resize_mode]
        if self.resize_mode == "crop" or (self.resize_mode == "stretch" and size != whole):
            how += f", centre {size} x {size}"
        values = [", ".join(f"{x:g}" for x in each) for each in (self.mean, self.std)]
        return f"{how}, {self.interpolation}, mean {values[0]}, std {values[1]}"


IMAGENET = Transforms(224, 256, IMAGENET_MEAN, IMAGENET_STD, "bilinear", "crop", "as of ImageNet")


def of_architecture(name: str, task: Mapping[str, Any]) -> Transforms | None:
    """Return how the weights of torchvision's architecture, or of timm's network, were evaluated.

    Args:
        name: an answer to `architecture`.
        task: the facts of the task.
    """
    mode = task["resize_modes"][0]
    if name.startswith("timm/"):
        known = signatures.timm_transforms()
        timm = known.get(name[5:]) or known.get(name[5:].partition(".")[0])
        if timm is None or timm.crop_mode == "border":
            return None
        resize = math.floor(timm.image_size / timm.crop_pct)
        return Transforms(
            image_size=timm.image_size,
            resize_size=resize,
            mean=timm.mean,
            std=timm.std,
            interpolation=timm.interpolation,
            resize_mode="stretch" if timm.crop_mode == "squash" else mode,
            why=f"as timm evaluates {name[5:]}",
            crop_pct=timm.crop_pct,
        )
    arch = catalogue.load().get(name)
    if arch is None or arch.params is None:
        return None
    whole = bool(task["keeps_whole_image"])
    if arch.detection and not arch.detection["max_size"]:
        mode = "stretch"
    return Transforms(
        image_size=arch.resize_size if whole else arch.input_size,
        resize_size=arch.resize_size,
        mean=arch.mean,
        std=arch.std,
        interpolation=arch.interpolation,
        resize_mode=mode,
        why=f"as torchvision evaluated {name}",
    )


def base_of(
    inspection: Inspection, architecture: str | None, task: Mapping[str, Any]
) -> Transforms | None:
    """Return how images were likely prepared, by what the network is; None if nothing is likely."""
    if architecture and (found := of_architecture(architecture, task)):
        return found
    if "preprocessing" in task:  # the network does it
        return None
    if inspection.architecture and not inspection.timm_name:
        return of_architecture(inspection.architecture, task)
    if inspection.timm:
        named = [name for name in inspection.timm if name == base_name(inspection.training.network)]
        name = inspection.timm_name or next(iter(named or inspection.timm))
        return of_architecture(f"timm/{name}", task)
    if task["keeps_whole_image"]:
        found = of_architecture(task["architecture"], task)
        return replace(found, why="as torchvision evaluates its segmenters") if found else None
    return IMAGENET if inspection.channels == 3 or is_colour(inspection) else None


def is_colour(inspection: Inspection) -> bool:
    """Tell whether a network that is not known likely takes images in colour."""
    return inspection.channels is None and inspection.likely.get("color_mode") == "RGB"


def base_name(network: str) -> str:
    """Return the name of a network without where it is from, and without its tag."""
    return network.rpartition("/")[2].rpartition(":")[2].partition(".")[0]


def told(base: Transforms, training: Training) -> Transforms:
    """Return transforms as a checkpoint tells them, and as the base for what it does not tell."""
    changes: dict[str, Any] = {}
    if training.script in ("torchvision", "imagenet") and base.resize_mode == "crop":
        base = replace(IMAGENET, why=base.why)
    if size := training.image_size:
        # What is not told of the margin is as it was for the other size.
        resize = round(size * base.resize_size / base.image_size)
        changes |= {"image_size": size, "resize_size": resize}
    size = training.image_size or base.image_size
    if crop := training.crop_pct or base.crop_pct:
        changes["resize_size"] = math.floor(size / crop)
    if training.resize_size and training.resize_size >= size:
        changes["resize_size"] = training.resize_size
    if training.resize_mode:
        changes["resize_mode"] = training.resize_mode
    if training.mean:
        changes |= {"mean": training.mean, "std": training.std}
    if training.interpolation:
        changes["interpolation"] = training.interpolation
    where = f"under {training.where}" if training.where else "in the checkpoint"
    return replace(base, **changes, why=f"{where}, and else {base.why}")


def proposed(
    inspection: Inspection, architecture: str | None, task: Mapping[str, Any]
) -> tuple[dict[str, Any], Transforms | None]:
    """Return answers on the transforms, and what they come down to; none if nothing is likely.

    Args:
        inspection: what the checkpoint is.
        architecture: the answer to `architecture`, None if it is open.
        task: the facts of the task.
    """
    base = base_of(inspection, architecture, task)
    if base is None:
        return {}, None
    training = inspection.training
    found = told(base, training) if training.tells_transforms or training.script else base
    if size := inspection.image_size:  # the file takes no other
        resize = found.resize_size if size == found.image_size else size
        mode = "stretch" if task["keeps_whole_image"] else found.resize_mode
        found = replace(found, image_size=size, resize_size=resize, resize_mode=mode)
    elif (size := likely_size(inspection, task)) and size != found.image_size:
        why = f"{TRACED}, and else {found.why}"
        found = replace(found, image_size=size, resize_size=size, why=why)
    if inspection.channels == 1:
        found = replace(found, mean=(average(found.mean),), std=(average(found.std),))
    answers = found.answers
    for name in ("pretrained", "imagenet"):
        if name in task["transforms"] and same(found, preset(name, architecture, task)):
            answers = {"transforms": name}
            break
    if "preprocessing" in task:
        answers = {key: x for key, x in answers.items() if key in ASKED}
    return answers, found


def likely_size(inspection: Inspection, task: Mapping[str, Any]) -> int | None:
    """Return the likely side of the images that the network gets, by those it was traced with.

    Whoever traces a network that takes any size, such as a segmenter, often takes a small one.
    """
    return None if task["keeps_whole_image"] else inspection.traced_size


def preset(name: str, architecture: str | None, task: Mapping[str, Any]) -> Transforms | None:
    """Return what an answer to `transforms` means."""
    if name == "imagenet":
        return IMAGENET
    return of_architecture(architecture, task) if architecture else None


def same(one: Transforms, other: Transforms | None) -> bool:
    """Tell whether two transforms are the same."""
    if other is None:
        return False
    if len(one.mean) == 1:
        other = replace(other, mean=(average(other.mean),), std=(average(other.std),))
    return replace(one, why="", crop_pct=0.0) == replace(other, why="", crop_pct=0.0)


def average(values: tuple[float, ...]) -> float:
    """Return the mean of numbers, as the template has it for one channel."""
    return round(sum(values) / len(values), 3) if len(values) > 1 else values[0]


def as_answered(answers: Mapping[str, Any]) -> Transforms | None:
    """Return what a project's answers come down to; None where only the project itself knows.

    Args:
        answers: those of a project, all of them.
    """
    task = facts.tasks()[answers["task"]]
    name, architecture = answers["transforms"], answers["architecture"]
    if architecture == "timm":
        architecture = f"timm/{answers.get('timm_name', '')}"
    base = preset(name, architecture, task) if name in ("pretrained", "imagenet") else None
    if base is not None or name in ("pretrained", "imagenet"):
        return base
    arch = catalogue.load()[architecture.partition("/")[0]]
    if "preprocessing" in task and arch.params is None:
        return None
    own = task.get("own_image_size", arch.input_size) if arch.params is None else arch.input_size
    size = answers.get("image_size") or own
    if name == "to_tensor":
        return Transforms(size, size, (0.0,), (1.0,), "bilinear", "stretch", "")
    mean, std = (answers[key] for key in ("mean", "std"))
    return Transforms(
        image_size=size,
        resize_size=answers.get("resize_size") or size,
        mean=tuple(mean) if isinstance(mean, list) else (mean,),
        std=tuple(std) if isinstance(std, list) else (std,),
        interpolation=answers.get("interpolation", "bilinear"),
        resize_mode=answers.get("resize_mode", task["resize_modes"][0]),
        why="",
    )
