"""Reads what a training checkpoint tells of how its network was trained.

timm's `train.py` and torchvision's references keep the arguments of their command line beside the
weights; others keep hyperparameters. Names of arguments differ, and those that are read here have
one meaning wherever they stand. What has such a name and no value that is understood is kept, too,
for people to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from generator.inspection.composed import (
    MAX_SHOWN,
    Composed,
    UnknownStepError,
    composed,
    shortened,
    shown,
    statistics,
)
from generator.inspection.hints import hints, told_embedding
from generator.inspection.pickles import Inert, Tensor
from generator.inspection.settings import (
    EVALUATION,
    GROUPS,
    KNOWN,
    LABELS,
    MANY,
    MAX_OBJECTS,
    NESTED,
    NETWORK,
    NORMALISATIONS,
    ORDERS,
    OTHER_ORDERS,
    RESIZE,
    SIDES,
    SIZES,
    STANDARD,
    TRAINING_TRANSFORMS,
    arguments,
    as_bytes,
    filter_name,
    first,
    found,
    is_new,
    is_of_transforms,
    is_set,
    is_transform,
    name_of,
    numbers,
    share,
    shares,
    sides_of,
    size_of,
    text,
)
from generator.inspection.unread import (
    OTHER_STEPS,
    Unread,
    doubtful_in,
    is_of_images,
    unknown_in,
    unread_in,
    without_others,
)
from generator.losses import WEIGHT
from generator.shared.preparation import MEAN, SIZE, STD
from generator.shared.scores import COMPARISON, REGRESSION, RESULTS, THRESHOLDS, told_calibration
from generator.source import IMAGENET_MEAN, IMAGENET_STD

MAX_DEPTH = 3
SHORTER = ("256", "(256, -1)")  # as configurations of OpenMMLab have the usual shorter side
NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,20})?")
# Of what is told, what several places cannot tell otherwise.
TOLD = ("image_size", "resize_size", "mean", "std", "interpolation")
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
        resize_mode: "crop" or "stretch", if a transform in it shows that; else "".
        unread: settings of how images are prepared whose values are not understood.
        calibration: what scores went through behind the network, for people.
        embedding: where it tells of how many numbers an embedding is, and how many; ("", 0) else.
        averages: where averaged weights are that have no names, "" if nowhere.
        thresholds: from which probability on a class was predicted: one, or one for each class.
        unread_thresholds: likewise, if they are kept otherwise than in a list, for people.
        labels: settings that may tell whether the classes of an image exclude one another: what the
            setting is called, and its value.
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
    resize_mode: str = ""
    unread: tuple[Unread, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    calibration: str = ""
    embedding: tuple[str, int] = ("", 0)
    averages: str = ""
    thresholds: tuple[float, ...] = ()
    unread_thresholds: str = ""

    @property
    def of_numbers(self) -> str:
        """The setting that names a loss of numbers or ranks, with its value; "" if none."""
        if any("task" in name and value.lower().startswith("cl") for name, value in self.labels):
            return ""  # as in "classification" and "cls"
        return self._setting(REGRESSION)

    @property
    def of_embeddings(self) -> str:
        """The setting that names a loss that compares embeddings, with its value; "" if none."""
        return self._setting(COMPARISON)

    def _setting(self, values: re.Pattern[str]) -> str:
        settings = (
            f"{name} = {value}"
            for name, value in self.labels
            if values.fullmatch(value.rpartition(".")[2])
        )
        return next(settings, "")

    @property
    def tells_transforms(self) -> bool:
        """Whether it tells anything of how images were prepared."""
        return bool(
            self.image_size or self.resize_size or self.crop_pct or self.mean or self.interpolation
        )


def told_by(content: Any) -> Training:
    """Return what a checkpoint tells: the first place that tells anything, and what others add.

    Args:
        content: what is in its pickle.
    """
    known = told_by_openmmlab(openmmlab_config(content))
    if known.head or known.of_network or known.of_images:
        return replace(known, of_images=shortened(known.of_images))
    entries_by_place = places(content) if isinstance(content, dict) else ()
    found = [told_in(where, entries) for where, entries in entries_by_place]
    found += [
        replace(told_in(where, attributes), script="", network="")
        for where, attributes in of_pickled(content)
    ]
    pretrained = [told_by_timm(where, settings) for where, settings in of_pickled_timm(content)]
    found += pretrained
    unread = {x.name: x for place in found for x in place.unread}
    labels = {name: (name, value) for place in found for name, value in place.labels}
    calibration = next((x.calibration for x in found if x.calibration), "")
    thresholds = next((x.thresholds for x in found if x.thresholds), ())
    unread_thresholds = next((x.unread_thresholds for x in found if x.unread_thresholds), "")
    telling = [x for x in found if x.script or x.tells_transforms or x.network or x.of_images]
    first, *others = telling or [Training()]
    for other in others:
        is_own = other not in pretrained
        if is_own or not first.script:  # what such a script does not name is as it has that
            first = with_more(first, other, is_own=is_own)
    told = {name: getattr(first, name) for name in TOLD}
    unread |= {x.name: x for x in hints(content, known_keys(content), told)}
    return replace(
        first,
        of_network=shortened(first.of_network or pooled_otherwise(content)),
        of_images=shortened(first.of_images),
        unread=tuple(unread.values())[:MANY],
        calibration=calibration,
        embedding=told_embedding(content),
        averages=averages_in(content),
        thresholds=thresholds,
        unread_thresholds=unread_thresholds,
        labels=tuple(labels.values()),
    )


def averages_in(content: Any) -> str:
    """Return where torch_ema and its like keep averaged weights, a list in the network's order."""
    for place, value in content.items() if isinstance(content, dict) else ():
        averages = arguments(value).get("shadow_params") if isinstance(value, dict) else None
        if isinstance(averages, list) and averages and isinstance(averages[0], Tensor):
            return f"{place}.shadow_params"
    return ""


def known_keys(content: Any) -> dict[str, frozenset[str]]:
    """Return the keys of settings of images that are read, by the places where they are."""
    if not isinstance(content, dict):
        return {}
    return {
        where: frozenset(
            key for key in entries if key in KNOWN or key in OTHER_STEPS or is_of_transforms(key)
        )
        for where, entries in places(content)
    }


def together(first: Training, other: Training) -> Training:
    """Return what a file tells, and what another beside it does of what the first does not."""
    if first.script or other == Training():
        return first
    return replace(
        with_more(first, other),
        network=first.network or other.network,
        unread=(*first.unread, *other.unread)[:MANY],
        labels=(*first.labels, *other.labels),
        calibration=first.calibration or other.calibration,
        thresholds=first.thresholds or other.thresholds,
        unread_thresholds=first.unread_thresholds or other.unread_thresholds,
    )


def places(content: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where a checkpoint keeps arguments, and these; an object in several places once."""
    for group in GROUPS:
        seen: list[Any] = []
        pending = [(group, content.get(group) if group else content, 0)]
        while pending:
            where, value, depth = pending.pop(0)
            if not is_new(value, seen):
                continue
            is_object = isinstance(value, Inert) and is_of_transforms(where.rpartition(".")[2])
            if not is_object and (entries := arguments(value)):
                yield where, entries
                if depth < MAX_DEPTH:
                    inside = [name for name in NESTED if name in entries and (where or depth)]
                    pending += [(f"{where}.{name}", entries[name], depth + 1) for name in inside]


def with_more(first: Training, other: Training, *, is_own: bool = True) -> Training:
    """Return what one place tells of images, and another of what the first does not tell.

    Args:
        first: what the one tells.
        other: what the other tells.
        is_own: whether both tell of the same training, so that they must not contradict each other.
    """
    changes: dict[str, Any] = {
        name: getattr(other, name)
        for name in (*TOLD, "crop_pct", "resize_mode", "of_images")
        if getattr(other, name) and not getattr(first, name)
    }
    if other.mean and not first.mean:
        changes |= {"mean": other.mean, "std": other.std}
    if is_own and (contrary := ", ".join(contradictions(first, other))):
        changes["of_images"] = ", ".join(filter(None, (first.of_images, contrary)))
    if not changes:
        return first
    where = " and ".join(filter(None, (first.where, other.where)))
    return replace(first, **changes, where=where)


def contradictions(first: Training, other: Training) -> Iterator[str]:
    """Yield what two places tell otherwise, each value with its place."""
    for name in TOLD:
        values = [getattr(each, name) for each in (first, other)]
        is_before_crop = name == "image_size" and {*values} & {first.resize_size, other.resize_size}
        if all(values) and values[0] != values[1] and not is_before_crop:
            wheres = [f"{each.where}." * bool(each.where) for each in (first, other)]
            yield ", ".join(
                f"{where}{name}={shown(value)}" for where, value in zip(wheres, values, strict=True)
            )


def of_pickled(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the attributes of each pickled network, and its place; timm keeps its settings apart.

    The image_size of torchvision's ViT is its own.
    """
    networks = {"": content}
    if isinstance(content, dict):
        networks = {key: value for key, value in content.items() if isinstance(key, str)}
    for where, value in networks.items():
        is_network = isinstance(value, Inert) and bool(getattr(value, "_modules", None))
        if is_network and not (value.name.startswith("timm.") or is_of_transforms(where)):
            attributes = arguments(value)
            if value.name.startswith("torchvision.") and "patch_size" in attributes:
                attributes.pop("image_size", None)
            yield where, attributes


def pickled_timm(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of each network of timm that is pickled, and its attributes."""
    seen: list[Any] = []
    waiting = [("", content)]
    while waiting:
        where, value = waiting.pop(0)
        if not is_new(value, seen):
            continue
        if isinstance(value, Inert) and value.name.startswith("timm."):
            yield where, arguments(value)
        inside = value if isinstance(value, dict) else getattr(value, "_modules", None)
        if isinstance(inside, dict) and len(waiting) < MAX_OBJECTS:
            waiting += [
                (f"{where}.{key}".lstrip("."), x)
                for key, x in inside.items()
                if isinstance(key, str) and isinstance(x, dict | Inert)
            ]


def of_pickled_timm(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what timm keeps of how images are prepared, for the outermost network, and where."""
    for where, attributes in pickled_timm(content):
        for key in ("pretrained_cfg", "default_cfg"):
            if settings := attributes.get(key):
                yield f"{where}.{key}".lstrip("."), arguments(settings)
                return


def told_by_timm(where: str, settings: Mapping[str, Any]) -> Training:
    """Return what timm keeps of how a network's images are prepared."""
    told = told_in(where, settings)
    return replace(told, script="", network="", labels=())


def pooled_otherwise(content: Any) -> str:
    """Return how a pickled network of timm pools, if that is not by averages; else ""."""
    poolings = (text(attributes.get("pool_type")) for _, attributes in pickled_timm(content))
    return next((f"global_pool={pooling!r}" for pooling in poolings if "max" in pooling), "")


def openmmlab_config(content: Any) -> str:
    """Return the configuration that a checkpoint of OpenMMLab was trained with, "" without one."""
    meta = content.get("meta") if isinstance(content, dict) else None
    config = meta.get("cfg", meta.get("config")) if isinstance(meta, dict) else None
    return config if isinstance(config, str) else ""


def told_by_openmmlab(config: str) -> Training:
    """Return what a configuration of OpenMMLab tells, the text of a Python file.

    Images are as MMPretrain's ImageNet has them, unless it says otherwise.
    """
    network = re.findall(r"GeneralizedMeanPooling", config)
    for name, usual in (("strides", [1, 2, 2, 2]), ("dilations", [1, 1, 1, 1])):
        for shape in re.findall(rf"\b{name}\s*=\s*[(\[]([\d,\s]+)[)\]]", config):
            if [int(x) for x in re.findall(r"\d{1,9}", shape)] != usual:
                network.append(f"{name}=({shape})")
    images = re.findall(r"to_rgb\s*=\s*False", config)
    for name, expected in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        for values in re.findall(rf"\b{name}\s*=\s*\[([^\[\]]*)\]", config):
            if tuple(round(float(x) / 255, 3) for x in NUMBER.findall(values)) != expected:
                images.append(f"{name}=[{values}]")
    sizes = re.findall(r"\bcrop_size\s*=\s*(\d+)", config)
    images += [f"crop_size={size}" for size in sizes if size != "224"]
    resizes = re.findall(r"type='(Resize(?:Edge)?)',\s*(\w+)=(\([^()]*\)|\w+)", config)
    images += [f"{kind} {name}={value}" for kind, name, value in resizes if value not in SHORTER]
    images += [f"img_scale={x}" for x in re.findall(r"\bimg_scale\s*=\s*(\([^()]*\))", config)]
    head = re.search(r"\bMultiLabel\w*Head\b", config)
    return Training(
        where="meta.cfg",
        head=head[0] if head else "",
        of_network=", ".join(dict.fromkeys(network)),
        of_images=", ".join(dict.fromkeys(images)),
    )


def told_in(where: str, entries: Mapping[str, Any]) -> Training:
    """Return what some arguments tell."""
    is_weights = any("." in key and isinstance(x, Tensor) for key, x in entries.items())
    if is_weights:  # and what else is among them is the network's own
        return Training(where=where)
    unread: list[Unread] = []
    if not is_of_images(where, entries):
        unread += doubtful_in(where, entries)
        entries = without_others(where, entries)
    unread += unread_in(entries)
    unread += unknown_in(where, entries)
    sizes = dict(found(entries, SIZE, size_of)) or dict(found(entries, ("size",), size_of))
    for names in SIDES:
        if size := size_of([entries.get(name) for name in names]):
            sizes[names[0]] = size
    resizes = dict(found(entries, RESIZE, size_of))
    means, stds = dict(found(entries, MEAN, numbers)), dict(found(entries, STD, numbers))
    networks = dict(found(entries, NETWORK, text))
    crops = dict(found(entries, ("crop_pct", "eval_crop_ratio"), share))
    filters = dict(found(entries, ("interpolation",), filter_name))
    modes: dict[str, str] = {}
    for name, value in transforms_in(entries):
        try:
            steps = read_transform(value)
        except UnknownStepError as error:
            unread.append(Unread(name, str(error), ("image_size", "mean", "std")))
            continue
        means[name], stds[name] = steps.mean, steps.std
        if steps.resize_mode:
            # Some call the side before the crop the size of the image.
            sizes = {key: x for key, x in sizes.items() if x != steps.resize_size}
            sizes[name], resizes[name] = steps.image_size, steps.resize_size
            filters[name], modes[name] = steps.interpolation, steps.resize_mode
        elif not sizes and name not in NORMALISATIONS:
            problem = "without a Resize, so that it does not tell the size"
            unread.append(Unread(name, f"{shown(value)} {problem}", ("image_size",)))
    for name in filter(is_of_transforms, entries):
        if isinstance(entries[name], str) and entries[name].lower() in STANDARD:
            means[name], stds[name] = IMAGENET_MEAN, IMAGENET_STD
    mean, std = as_bytes(first(means), first(stds))
    if not mean and {"eval_crop_ratio", "imagenet_default_mean_and_std"} & entries.keys():
        # So the scripts of DeiT, BEiT and ConvNeXt, whatever network they begin with.
        is_imagenet = entries.get("imagenet_default_mean_and_std", True) is not False
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if is_imagenet else ((0.5,) * 3, (0.5,) * 3)
    script = script_of(where, entries)
    if script == "torchvision" and "val_crop_size" in sizes:
        sizes = {"val_crop_size": sizes["val_crop_size"]}
    prefix = f"{where}." * bool(where)
    limits = thresholds_in(where, entries)
    return Training(
        where=where,
        script=script,
        network=next(iter(networks.values()), ""),
        image_size=first(sizes),
        resize_size=first(resizes),
        crop_pct=first(crops),
        mean=mean,
        std=std,
        interpolation=first(filters) or "",
        of_network=timm_network(entries) if script == "timm" else "",
        of_images=", ".join(
            [*unlike_images(entries), *unlike(sizes, resizes, means, stds, filters, modes)]
        ),
        resize_mode=first(modes) or "",
        calibration=calibration_in(where, entries),
        thresholds=next((x for _, x in found(limits, THRESHOLDS, shares)), ()),
        unread_thresholds=", ".join(
            f"{prefix}{key}={shown(x)}" for key, x in limits.items() if not shares(x)
        ),
        unread=tuple(replace(one, name=(prefix + one.name)[:MAX_SHOWN]) for one in unread),
        labels=(
            *((prefix + key, value) for key in LABELS if (value := name_of(entries.get(key)))),
            *(  # as losses of segmentation_models_pytorch have it
                (f"{prefix}{key}.mode", mode)
                for key in LABELS
                if (mode := text(arguments(entries.get(key)).get("mode")))
            ),
            *((prefix + key, shown(x)) for key, x in limits.items() if len(shares(x)) != 1),
            *((prefix + key, shown(entries[key])) for key in WEIGHT if is_set(entries.get(key))),
        ),
    )


def calibration_in(where: str, entries: Mapping[str, Any]) -> str:
    """Return what a checkpoint says beside its weights that scores go through; "" if nothing."""
    prefix = f"{where}." * bool(where)
    told = told_calibration((prefix + name, value) for name, value in entries.items())
    return shortened(", ".join(f"{place}={shown(x)}" for place, x in told.items()))


def thresholds_in(where: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says beside its weights from which probability on a class is there.

    Among the arguments of a training, a threshold is that of a schedule or of pseudo-labels. One
    number may be any, if it is no probability.
    """
    if where.partition(".")[0] not in RESULTS:
        return {}
    given = {key: entries[key] for key in THRESHOLDS if is_set(entries.get(key))}
    return {key: x for key, x in given.items() if shares(x) or not isinstance(x, str | int | float)}


def read_transform(value: Any) -> Composed:
    """Return what a transform does.

    Raises:
        UnknownStepError: There are no answers that say the same.
    """
    if isinstance(value, Inert) and value.name.endswith(".Normalize"):
        mean, std = statistics(value)
        return Composed(mean=mean, std=std)
    return composed(value)


def transforms_in(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the transforms among arguments by their keys: those of training if there is no other.

    What is no object, such as a name or the settings of transforms, is left out.
    """
    mine: list[tuple[str, Any]] = []
    of_training: list[tuple[str, Any]] = []
    for key, value in entries.items():
        if TRAINING_TRANSFORMS.fullmatch(key):
            of_training += [(key, value)] if is_transform(value) else []
        elif is_of_transforms(key):
            if is_transform(value):
                mine.append((key, value))
            elif isinstance(value, dict):
                inside = {name: x for name, x in value.items() if is_transform(x)}
                chosen = [name for name in inside if name in EVALUATION]
                mine += [(f"{key}.{name}", inside[name]) for name in chosen]
                others = [name for name in inside if name not in EVALUATION]
                of_training += [(f"{key}.{name}", inside[name]) for name in others]
    return mine or of_training


def example(*, inside: bool | None = None, size: int | None = None) -> str:
    """Return options that say how images are prepared.

    Args:
        inside: Whether the network itself scales and normalises them; None if that is not known.
        size: Of the image in pixels, if that is known.
    """
    options = f"-d transforms=custom -d image_size={size or 224}"
    if inside is False:
        options += " -d resize_mode=stretch -d interpolation=bilinear"
    return f"{options} -d mean='[0.5, 0.5, 0.5]' -d std='[0.5, 0.5, 0.5]'"


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
    return ", ".join(f"{key}={shown(value)}" for key, value in changed.items())


def unlike_images(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings of images that answers do not have: sides that differ, other cuts."""
    for name in (*SIZES, *RESIZE):
        if (sides := sides_of(settings.get(name))) and sides[0] != sides[1]:
            yield f"{name}={shown(settings[name])}"
    for names in SIDES:
        sides = sides_of([settings.get(name) for name in names])
        if sides and sides[0] != sides[1]:
            yield ", ".join(f"{name}={settings[name]}" for name in names)
    for name, unusual in (("bgr", True), ("to_rgb", False)):
        if settings.get(name) is unusual:
            yield f"{name}={unusual}"
    for name in ORDERS:
        if text(settings.get(name)).lower() in OTHER_ORDERS:
            yield f"{name}={settings[name]}"
    if settings.get("crop_mode") not in (None, "", "center"):
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
