"""Reads what a training checkpoint tells of how its network was trained.

timm's `train.py` and torchvision's references keep the arguments of their command line beside the
weights; others keep hyperparameters. Names of arguments differ, and those that are read here have
one meaning wherever they stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from generator.inspection.pickles import Inert
from generator.source import IMAGENET_MEAN, IMAGENET_STD

# Under what the arguments for images are kept, at any depth.
IMAGES = ("data_config", "preprocessing", "preprocess", "normalize", "normalization", "settings")
# Under what arguments are kept; "" is the checkpoint itself.
GROUPS = (
    *("args", "opt", "opts", "hyper_parameters", "hparams", "config", "cfg", "params", ""),
    *("datamodule_hyper_parameters", "metadata", "model_config", *IMAGES),
)
# Under what these have more of them.
NESTED = ("args", "cfg", "config", "hparams", "data", "dataset", "datamodule", "image", *IMAGES)
MAX_DEPTH = 3
SHORTER = ("256", "(256, -1)")  # as configurations of OpenMMLab have the usual shorter side
NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,20})?")
NETWORK = ("model", "arch", "architecture", "model_name", "backbone", "model_arch", "encoder_name")
SIZE = ("img_size", "image_size", "input_size", "imgsz", "crop_size", "val_crop_size")
RESIZE = ("resize_size", "val_resize_size")
MEAN = ("mean", "image_mean", "img_mean", "pixel_mean", "norm_mean", "normalize_mean")
STD = ("std", "image_std", "img_std", "pixel_std", "norm_std", "normalize_std")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
MAX_SIZE = 4096  # pixels
MAX_SHOWN = 100  # characters of a setting
# Of what timm's create_model is given, what leaves the network as it is in evaluation.
SAME = ("num_classes", "img_size", "in_chans", "drop_rate", "drop_path_rate", "proj_drop_rate")


@dataclass(frozen=True)
class Training:
    """What a checkpoint tells of the images and the network that it was trained with.

    Attributes:
        where: the key in the checkpoint, such as "args"; "" for the checkpoint itself.
        script: "timm", "torchvision" or "imagenet", torch's example, if the checkpoint has the form
            of their training scripts: what it does not name was then as they have it. "" else.
        network: the name that it was built by.
        image_size: side of the image in pixels.
        resize_size: length of the shorter side before the crop.
        crop_pct: share of the shorter side that the crop keeps.
        mean: of each channel, between 0 and 1.
        std: likewise.
        interpolation: "bilinear", "bicubic" or "nearest".
        head: the class of its last layers, if that tells several classes of an image.
        of_network: settings of the network that no weights show and no answer has, for people.
        of_images: likewise, of how images are prepared.
        detector: arguments that torchvision's detectors are built with, by their place.
    """

    where: str = ""
    script: str = ""
    network: str = ""
    image_size: int | None = None
    resize_size: int | None = None
    crop_pct: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = ""
    head: str = ""
    of_network: str = ""
    of_images: str = ""
    detector: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tells_transforms(self) -> bool:
        """Whether it tells anything of how images were prepared."""
        return bool(
            self.image_size or self.resize_size or self.crop_pct or self.mean or self.interpolation
        )


def told_by(content: Mapping[Any, Any]) -> Training:
    """Return what a checkpoint tells: the first place that tells anything, and what others add."""
    known = told_by_openmmlab(openmmlab_config(content))
    if known.head or known.of_network or known.of_images:
        return known
    found = [told_in(where, entries) for where, entries in places(content)]
    telling = [x for x in found if x.script or x.tells_transforms or x.network or x.of_images]
    if not telling:
        return Training()
    first, *others = telling
    if first.script:  # what it does not name is as that has it
        return first
    for other in others:
        first = with_more(first, other)
    return first


def places(content: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where a checkpoint keeps arguments, and these."""
    for group in GROUPS:
        pending = [(group, content.get(group) if group else content, 0)]
        while pending:
            where, value, depth = pending.pop(0)
            if entries := arguments(value):
                yield where, entries
                if depth < MAX_DEPTH:
                    inside = [name for name in NESTED if name in entries and (where or depth)]
                    pending += [(f"{where}.{name}", entries[name], depth + 1) for name in inside]


def with_more(first: Training, other: Training) -> Training:
    """Return what one place tells of images, and another of what the first does not tell."""
    changes: dict[str, Any] = {
        name: getattr(other, name)
        for name in ("image_size", "resize_size", "crop_pct", "interpolation", "of_images")
        if getattr(other, name) and not getattr(first, name)
    }
    if other.mean and not first.mean:
        changes |= {"mean": other.mean, "std": other.std}
    if not changes:
        return first
    where = " and ".join(filter(None, (first.where, other.where)))
    return replace(first, **changes, where=where)


def openmmlab_config(content: Any) -> str:
    """Return the configuration that a checkpoint of OpenMMLab was trained with, "" without one."""
    meta = content.get("meta") if isinstance(content, dict) else None
    return str(meta.get("cfg", meta.get("config", ""))) if isinstance(meta, dict) else ""


def told_by_openmmlab(config: str) -> Training:
    """Return what a configuration of OpenMMLab tells, the text of a Python file.

    Images are as MMPretrain's ImageNet has them, unless it says otherwise.
    """
    network = re.findall(r"GeneralizedMeanPooling", config)
    for name, usual in (("strides", [1, 2, 2, 2]), ("dilations", [1, 1, 1, 1])):
        for text in re.findall(rf"\b{name}\s*=\s*[(\[]([\d,\s]+)[)\]]", config):
            if [int(x) for x in re.findall(r"\d{1,9}", text)] != usual:
                network.append(f"{name}=({text})")
    images = re.findall(r"to_rgb\s*=\s*False", config)
    for name, expected in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        for text in re.findall(rf"\b{name}\s*=\s*\[([^\]]*)\]", config):
            if tuple(round(float(x) / 255, 3) for x in NUMBER.findall(text)) != expected:
                images.append(f"{name}=[{text}]")
    sizes = re.findall(r"\bcrop_size\s*=\s*(\d+)", config)
    images += [f"crop_size={size}" for size in sizes if size != "224"]
    resizes = re.findall(r"type='(Resize(?:Edge)?)',\s*(\w+)=(\([^)]*\)|\w+)", config)
    images += [f"{kind} {name}={value}" for kind, name, value in resizes if value not in SHORTER]
    images += [f"img_scale={x}" for x in re.findall(r"\bimg_scale\s*=\s*(\([^)]*\))", config)]
    head = re.search(r"\bMultiLabel\w*Head\b", config)
    return Training(
        where="meta.cfg",
        head=head[0] if head else "",
        of_network=", ".join(dict.fromkeys(network)),
        of_images=", ".join(dict.fromkeys(images)),
    )


def arguments(value: Any) -> dict[str, Any]:
    """Return arguments by name, from a dict or from what stands for an argparse.Namespace."""
    if isinstance(value, Inert):
        value = value.state
    return {k: x for k, x in value.items() if isinstance(k, str)} if isinstance(value, dict) else {}


def told_in(where: str, entries: Mapping[str, Any]) -> Training:
    """Return what some arguments tell."""
    sizes = dict(found(entries, SIZE, size_of))
    resizes = dict(found(entries, RESIZE, size_of))
    means, stds = dict(found(entries, MEAN, numbers)), dict(found(entries, STD, numbers))
    networks = dict(found(entries, NETWORK, text))
    crops = dict(found(entries, ("crop_pct", "eval_crop_ratio"), share))
    filters = dict(found(entries, ("interpolation",), interpolation))
    mean, std = first(means), first(stds)
    if not (mean and std and len(mean) == len(std)):
        mean = std = ()
    elif max(mean) > 1 or (not any(mean) and max(std) > 1):  # on the scale of bytes
        mean, std = (tuple(round(x / 255, 6) for x in values) for values in (mean, std))
    if not mean and {"eval_crop_ratio", "imagenet_default_mean_and_std"} & entries.keys():
        # So the scripts of DeiT, BEiT and ConvNeXt, whatever network they begin with.
        is_imagenet = entries.get("imagenet_default_mean_and_std", True) is not False
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if is_imagenet else ((0.5,) * 3, (0.5,) * 3)
    script = script_of(where, entries)
    if script == "torchvision" and "val_crop_size" in sizes:
        sizes = {"val_crop_size": sizes["val_crop_size"]}
    return Training(
        where=where,
        script=script,
        network=next(iter(networks.values()), ""),
        image_size=first(sizes),
        resize_size=first(resizes),
        crop_pct=first(crops),
        mean=mean if all(0 <= x <= 1 for x in mean) and all(0 < x <= 1 for x in std) else (),
        std=std,
        interpolation=first(filters) or "",
        of_network=timm_network(entries) if script == "timm" else "",
        of_images=", ".join([*unlike_images(entries), *unlike(sizes, resizes, means, stds)]),
    )


def unlike(*found: Mapping[str, Any]) -> Iterator[str]:
    """Yield arguments of one meaning that have several values."""
    for values in found:
        if len(set(values.values())) > 1:
            yield from (f"{name}={value}" for name, value in values.items())


def timm_network(settings: Mapping[str, Any]) -> str:
    """Return the settings with which timm builds another network of the same weights."""
    model = settings.get("model_kwargs", settings.get("model_args"))
    changed = (
        {key: x for key, x in model.items() if key not in SAME} if isinstance(model, dict) else {}
    )
    pooling = settings.get("gp")
    if pooling is None and "max" in text(settings.get("global_pool")):
        pooling = settings["global_pool"]
    changed |= {"gp": pooling} if pooling is not None else {}
    changed |= {"bn_eps": settings["bn_eps"]} if settings.get("bn_eps") is not None else {}
    return ", ".join(f"{key}={value!r}"[:MAX_SHOWN] for key, value in changed.items())


def unlike_images(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings of images that answers do not have: sides that differ, other cuts."""
    for name in (*SIZE, *RESIZE):
        value = settings.get(name)
        sides = value[-2:] if isinstance(value, list | tuple) and 2 <= len(value) <= 3 else ()
        if len(sides) == 2 and all(type(x) is int for x in sides) and sides[0] != sides[1]:
            yield f"{name}={[*(value or ())]}"
    if settings.get("crop_mode") not in (None, "center"):
        yield f"crop_mode={text(settings['crop_mode'])}"


def script_of(where: str, entries: Mapping[str, Any]) -> str:
    """Return whose training script keeps such arguments, "" if that is not known."""
    if {"model", "img_size", "crop_pct", "mean", "std", "interpolation"} <= entries.keys():
        return "timm"
    if {"model", "val_crop_size", "val_resize_size"} <= entries.keys():
        return "torchvision"
    if not where and {"epoch", "arch", "state_dict", "best_acc1"} <= entries.keys():
        return "imagenet"
    return ""


def found(
    entries: Mapping[str, Any], names: tuple[str, ...], read: Any
) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of these names that have a value of the right kind."""
    for name in names:
        value = read(entries.get(name))
        if value:
            yield name, value


def first(values: Mapping[str, Any]) -> Any:
    """Return the value; None if there is none, or if several contradict one another."""
    each = set(values.values())
    return each.pop() if len(each) == 1 else None


def text(value: Any) -> str:
    """Return a name."""
    return value if isinstance(value, str) and value.isprintable() and len(value) < 200 else ""


def size_of(value: Any) -> int:
    """Return the side of a square image, 0 if there is none: 224, [224, 224] or [3, 224, 224]."""
    if isinstance(value, list | tuple) and 1 <= len(value) <= 3:
        sides = value[-2:]
        value = sides[0] if len({repr(side) for side in sides}) == 1 else None
    return value if type(value) is int and 8 <= value <= MAX_SIZE else 0


def numbers(value: Any) -> tuple[float, ...]:
    """Return one number for each channel."""
    if not isinstance(value, list | tuple) or len(value) not in (1, 3):
        return ()
    if not all(isinstance(x, float | int) and math.isfinite(x) for x in value):
        return ()
    return tuple(map(float, value))


def share(value: Any) -> float:
    """Return a share of 1."""
    return float(value) if isinstance(value, float | int) and 0.3 <= value <= 1 else 0.0


def interpolation(value: Any) -> str:
    """Return an answer to `interpolation`."""
    return value if value in INTERPOLATIONS else ""
