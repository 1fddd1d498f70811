"""Finds what may tell how images were prepared by the words of its name, whatever it is called.

Names that are usual are read; there are many more, and a service that passed one over would answer
wrong, without a word. People decide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from generator.inspection.composed import shown
from generator.inspection.pickles import Inert, Tensor
from generator.inspection.settings import (
    MANY,
    OTHER_ORDERS,
    arguments,
    filter_name,
    is_new,
    size_of,
    text,
)
from generator.inspection.unread import Unread
from generator.source import IMAGENET_MEAN, IMAGENET_STD

MAX_DEPTH = 5
MOST = 5  # that are shown
# Words in the names of sizes: what they are of, what they are, and of which other things.
OF_IMAGES = {
    *("img", "image", "images", "im", "input", "in", "target", "pic", "picture", "photo"),
    *("frame", "eval", "val", "valid", "validation", "test", "inference", "infer"),
    *("resize", "crop", "load", "base"),
}
SIZES = {
    *("size", "sz", "shape", "res", "resolution", "side", "height", "width", "h", "w"),
    *("scale", "resize", "px"),
}
OF_OTHERS = {
    *("batch", "patch", "window", "kernel", "stride", "hidden", "embed", "embedding"),
    *("vocab", "queue", "step", "steps", "seq", "sequence", "token", "tokens", "max"),
    *("min", "num", "n", "train", "training", "channels", "chans", "ratio", "prob", "p"),
    *("padding", "pad", "feature", "features", "label", "labels", "mask", "grid", "latent"),
    *("epochs", "workers", "aug", "random", "dropout", "file", "memory", "text", "mlp"),
    *("out", "output", "loss", "lr", "class", "classes", "second", "anchor", "anchors"),
    *("pool", "stem", "box", "bbox", "reg", "metric", "group"),
}
OF_FEATURES = ("input_size", "in_size")  # under the name of a network, that of a vector
OF_NETWORK = {"net", "model", "network", "backbone", "encoder", "decoder"}
STATISTICS = {
    *("mean", "means", "std", "stds", "stats", "mu", "sigma", "statistics", "norm"),
    *("normalize", "normalise", "normalization", "normalisation"),
}
TO_RGB = re.compile(r"(bgr_?(2|to)_?rgb|(convert_)?(to_)?rgb)")
TO_OTHER = re.compile(r".*bgr.*|swap_?(rb|channels|rgb)|(flip|reverse)_?channels")
# What scales the values of pixels, with what says no more than that they become 0 to 1, and
# ImageNet's mean and deviation.
RANGES = re.compile(
    r"(do_)?rescale(_factor)?|(value|scale|pixel|data)_range|max_pixel_value|div(ide_by)?_?255"
    r"|preprocess(ing)?_mode|per_image_(standardi[sz]ation|norm\w*)|(use_)?imagenet_(stats|norm\w*)"
    r"|scaling|pixel_scal(e|ing)"
)
USUAL = (255, 1, [0, 1], "imagenet", "torch", "torchvision")
OWN = re.compile(  # what a service does not do
    r"(use_)?(clahe|ben_graham|circle_crop|hist(ogram)?_eq\w*|equalize(_hist)?|to_gr[ae]y(scale)?"
    r"|tta|test_time_aug\w*|(five|ten|multi)_crops?)"
)
STEPS = re.compile(r"\w*(Normalize|Resize|Crop|Scale|ToFloat|Pad)\w*", re.IGNORECASE)
PIPELINE = {
    *("augmentation", "augmentations", "augs", "transform", "transforms", "pipeline", "tfms"),
    *("preprocess", "preprocessing"),
}
KIND = ("name", "type", "_target_", "class", "__class_fullname__")
EMBEDDING = {
    *("emb_dim", "emb_size", "embedding_dim", "embedding_size", "embedding_dimension"),
    *("feat_dim", "feature_dim"),
}
ASIDE = re.compile(r"optim\w*|\w*scheduler\w*|\w*state(_?dict)?|ema\w*|history|metrics?|loss\w*")


def hints(
    content: Any, known: Mapping[str, frozenset[str]], told: Mapping[str, Any]
) -> list[Unread]:
    """Return what a checkpoint has beside its weights that may tell how images were prepared.

    Args:
        content: What is in its pickle.
        known: The keys that are read elsewhere, by the places where they are.
        told: What these tell: image_size, resize_size, mean and std.
    """
    found = []
    for place, key, value in settings_in(content):
        where = f"{place}.{key}" if place else key
        if key not in known.get(place, ()) and (questions := questions_of(where, value, told)):
            found.append(Unread(where, shown(value), questions))
    return found[:MOST]


def told_embedding(content: Any) -> tuple[str, int]:
    """Return where a checkpoint tells how many numbers an embedding has, and how many; or ("", 0).

    Args:
        content: What is in its pickle.
    """
    for place, key, value in settings_in(content):
        if key in EMBEDDING and type(value) is int:
            return f"{place}.{key}" if place else key, value
    return "", 0


def settings_in(content: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the settings of a checkpoint: where they are, their names, and their values."""
    seen: list[Any] = []
    waiting = [("", content, 0)]
    while waiting:
        place, value, depth = waiting.pop(0)
        if not is_new(value, seen) or is_network(value):
            continue
        for key, inner in arguments(value).items():
            if ASIDE.fullmatch(key):
                continue
            yield place, key, inner
            if isinstance(inner, dict | str | Inert) and depth < MAX_DEPTH and len(waiting) < MANY:
                waiting.append((f"{place}.{key}" if place else key, inner, depth + 1))


def is_network(value: Any) -> bool:
    """Tell whether these are weights, or a module."""
    if isinstance(value, dict):
        return any(isinstance(x, Tensor) and "." in str(key) for key, x in value.items())
    return bool(getattr(value, "_modules", None))


def questions_of(where: str, value: Any, told: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the questions that a setting seems to answer, () if none."""
    name = snake(where.rpartition(".")[2])
    words = {*name.split("_")}
    if words & OF_OTHERS:
        return ()
    if is_size(name, words, value) and not (
        name in OF_FEATURES and OF_NETWORK & {*snake(where).split("_")}
    ):
        is_told = size_of(value) in (told["image_size"], told["resize_size"])
        return () if is_told else ("image_size",)
    if words & STATISTICS and isinstance(value, Tensor):
        return ("mean", "std") if math.prod(value.shape) == 3 else ()
    if words & STATISTICS and (given := channels_in(value)):
        usual = (IMAGENET_MEAN, IMAGENET_STD, told["mean"], told["std"])
        are_told = all(any(is_near(x, y) for y in usual) for x in given)
        return () if are_told else ("mean", "std")
    if is_of_order(name, words, value):
        return ("color_mode",)
    if RANGES.fullmatch(name) and is_unusual(name, value):
        return ("mean", "std")
    if OWN.fullmatch(name) and value and text(value).lower() != "none":
        return ("image_size", "mean", "std")
    if name == "center_crop" and value is False:
        return ("image_size", "resize_mode")
    if name in ("resample", "resampling") and filter_name(value) != "bilinear" and value != 2:
        return ("interpolation",) if value is not None else ()
    if PIPELINE & {*snake(where).split("_")} and "train" not in where and has_steps(value):
        return ("image_size", "mean", "std")
    return ()


def snake(name: str) -> str:
    """Return a name in small letters, its words with _ between them."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|\W", "_", name).lower().strip("_")


def is_size(name: str, words: set[str], value: Any) -> bool:
    """Tell whether a setting is a size of images in pixels."""
    if isinstance(value, str) and re.fullmatch(r"\d{2,4}\s*[x,]?\s*(\d{2,4})?", value):
        value = [int(x) for x in re.findall(r"\d+", value)]
    given = value if isinstance(value, list | tuple) else [value]
    is_pixels = 0 < len(given) < 4 and all(type(x) is int for x in given) and given[-1] >= 16
    is_of_images = bool(words & OF_IMAGES and words & SIZES) or name in ("imsize", "imgsize")
    return is_of_images and is_pixels and max(given) <= 4096


def channels_in(value: Any) -> list[list[float]]:
    """Return a list with a number for each of three channels, or two such: a mean, a deviation."""
    given = [value] if is_of_channels(value) else value
    is_pair = isinstance(given, list | tuple) and 0 < len(given) <= 2
    return [[*x] for x in given] if is_pair and all(map(is_of_channels, given)) else []


def is_of_channels(value: Any) -> bool:
    """Tell whether this is a list with a number for each of three channels."""
    is_list = isinstance(value, list | tuple) and len(value) == 3
    return is_list and all(type(x) in (int, float) and abs(x) <= 1000 for x in value)


def is_near(one: list[float], other: Any) -> bool:
    """Tell whether as many numbers are the same, on the scale 0 to 1 or of bytes."""
    if not other or len(one) != len(other):
        return False
    scale = 255 if max(one) > 1 else 1
    return all(abs(x / scale - y) < 0.005 for x, y in zip(one, other, strict=True))


def is_of_order(name: str, words: set[str], value: Any) -> bool:
    """Tell whether a setting says that pixels have other values than red, green and blue."""
    if isinstance(value, bool):
        if TO_RGB.fullmatch(name):
            return not value
        return value and TO_OTHER.fullmatch(name) is not None
    of_colours = {"color", "colour", "format", "order", "space", "mode", "channel", "channels"}
    return text(value).lower() in OTHER_ORDERS and bool(words & of_colours)


def is_unusual(name: str, value: Any) -> bool:
    """Tell whether a setting of the values of pixels says more than that they become 0 to 1."""
    if isinstance(value, bool):
        return value == name.startswith("per_image")
    if value is None or value == "" or isinstance(value, dict):
        return False
    is_share = isinstance(value, float) and abs(value * 255 - 1) < 0.01
    return not is_share and (list(value) if isinstance(value, tuple) else value) not in USUAL


def has_steps(value: Any) -> bool:
    """Tell whether a value is a list of steps, each with its name, that scale or normalise."""
    steps = [x for x in value[:MANY] if isinstance(x, dict)] if isinstance(value, list) else []
    names = (text(step.get(key)).rpartition(".")[2] for step in steps for key in KIND)
    return any(STEPS.fullmatch(name) for name in names)
