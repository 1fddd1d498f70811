"""Finds settings that may tell how images are prepared, and are not understood.

People decide then: a service that guesses would answer wrong, without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from generator.inspection.composed import shown
from generator.inspection.pickles import Inert, Tensor
from generator.inspection.settings import (
    IMAGES,
    KNOWN,
    NORMALISATIONS,
    ORDERS,
    PAIR,
    PREPARATIONS,
    RESIZE,
    SIDES,
    SIZES,
    STANDARD,
    as_bytes,
    filter_name,
    is_of_transforms,
    is_set,
    is_transform,
    is_word,
    numbers,
    share,
    sides_of,
    size_of,
    text,
)
from generator.shared.preparation import MEAN, SIZE, SMALLEST, STD
from generator.shared.scores import RESULTS

# What such a key may name, and that is no preparation of images.
LAYERS = re.compile(
    r"(sync_?|frozen_?)?(b(atch)?|l(ayer)?|g(roup)?|i(nstance)?|rms)_?n(orm)?\d?d?|"
    r"batch|layer|group|instance|rms|spectral|weight|l[12]|pre|post",
    re.IGNORECASE,
)
SHAPE = ("image_size", "resize_mode")
# Under what such names are those of training alone, and the names.
OF_TRAINING = re.compile(r"((image|img|data|input)_)?(transforms?|tfms)", re.IGNORECASE)
AUGMENTATIONS = re.compile(
    r"(rand|auto|trivial|3)_?-?aug(ment(ation)?)?(wide)?|aug_?mix|color_?jitter|mix_?up|cut_?(mix|out)"
    r"|(random_?)?((horizontal_?|vertical_?|[hv]_?)?flips?|(resized_?)?crop|rotat(e|ion)|eras(e|ing))",
    re.IGNORECASE,
)


# Steps that no answer is proposed for, with the questions whose answers they may be.
OTHER_STEPS = {
    **dict.fromkeys(("grayscale", "greyscale", "to_grayscale", "image_mode"), ("color_mode",)),
    **dict.fromkeys(("letterbox", "pad_to_square", "keep_ratio", "keep_aspect_ratio"), SHAPE),
    "resize_method": SHAPE,
    **dict.fromkeys(("norm_type", "normalization_type", "standardize", "standardization"), PAIR),
    **dict.fromkeys(("pixel_range", "input_range", "invert", "clahe", "equalize_hist"), PAIR),
}


@dataclass(frozen=True)
class Unread:
    """A setting that seems to tell how images are prepared, and is not understood.

    Attributes:
        name: the key, with those around it, as in "hyper_parameters.mean".
        value: what it holds, or the part of that which is not understood, for people.
        questions: whose answers it may be.
    """

    name: str
    value: str
    questions: tuple[str, ...]


def unknown_in(where: str, entries: Mapping[str, Any]) -> Iterator[Unread]:
    """Yield what stands among settings that all prepare images, and is none that is known."""
    if where.rpartition(".")[2] not in PREPARATIONS:
        return
    for key, value in entries.items():
        if key not in KNOWN and not is_of_transforms(key) and changes(key, value):
            yield Unread(key, shown(value), ("image_size", "mean", "std"))


def changes(key: str, value: Any) -> bool:
    """Tell whether a setting, among those of how images are prepared, may change them."""
    if isinstance(value, dict | Inert | Tensor) or value is None or value is False or value == "":
        return False
    is_range = key == "input_range" and numbers_in(value) == [0, 1]
    is_order = key in ORDERS and text(value).lower() in ("rgb", "bgr", "l")  # BGR is told already
    return not (is_range or is_order)


def numbers_in(value: Any) -> list[float]:
    """Return a list of numbers, [] for anything else."""
    is_list = isinstance(value, list | tuple) and all(type(x) in (int, float) for x in value)
    return [*value] if is_list else []


def is_of_images(where: str, entries: Mapping[str, Any]) -> bool:
    """Tell whether arguments are of images alone, or have some that can be of nothing else."""
    inner = where.rpartition(".")[2]
    return (
        inner in (*IMAGES, "image", "images", "img")
        or any(is_set(entries.get(name)) for name in (*SIZE, *RESIZE, "interpolation", "crop_pct"))
        or any(isinstance(x, list) and numbers(x) for x in map(entries.get, (*MEAN, *STD)))
    )


def without_others(where: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without those that have the name of a setting of images by chance.

    A size may be that of a data set or a file, a mean that of a metric.
    """
    others = set() if sides_of(entries.get("size")) else {"size"}
    if where.partition(".")[0] in RESULTS:
        others |= {*SIDES[-1], *(name for name in PAIR if is_metric(entries.get(name)))}
    return {name: x for name, x in entries.items() if name.lower() not in others}


def doubtful_in(where: str, entries: Mapping[str, Any]) -> Iterator[Unread]:
    """Yield those of them that may as well be of the images that a network takes."""
    if where.partition(".")[0] not in RESULTS:
        return
    pair = [entries.get(name) for name in PAIR]
    if all(isinstance(x, int | float | dict) and is_set(x) for x in pair):
        yield Unread(", ".join(PAIR), ", ".join(map(shown, pair)), PAIR)
    sides = [entries.get(name) for name in SIDES[-1]]
    if size_of(sides):
        yield Unread(", ".join(SIDES[-1]), ", ".join(map(shown, sides)), ("image_size",))


def is_metric(value: Any) -> bool:
    """Tell whether a mean or a deviation is one number, or some that are not of channels."""
    is_other = isinstance(value, list | tuple) and len(value) not in (1, 3)
    return is_other or isinstance(value, int | float | dict)


def unread_in(entries: Mapping[str, Any]) -> Iterator[Unread]:
    """Yield the arguments that seem to tell how images are prepared, and are not understood."""
    yield from unread_statistics(entries)
    for name in (*SIZES, *RESIZE):
        value = entries.get(name)
        is_small = type(value) is int and value < SMALLEST and name in ("input_size", "size")
        is_other = name == "size" and (type(value) in (int, float) or is_word(value))
        is_unlike = len(set(sides_of(value) or ())) == 2  # which is told of otherwise
        if is_set(value) and not (size_of(value) or is_small or is_other or is_unlike):
            yield Unread(name, shown(value), ("image_size",))
    for name in ("resize", "resize_mode", "resize_to"):
        if is_set(value := entries.get(name)):
            yield Unread(name, shown(value), ("image_size", "resize_mode"))
    for name, questions in OTHER_STEPS.items():
        value = entries.get(name)
        if value is True or (is_set(value) and not is_known(value)):
            yield Unread(name, shown(value), questions)
    crop = entries.get("crop_pct")
    if is_set(crop) and not share(crop):
        yield Unread("crop_pct", shown(crop), ("resize_size",))
    value = entries.get("interpolation")
    if is_set(value) and not filter_name(value):
        yield Unread("interpolation", shown(value), ("interpolation",))
    for name in filter(is_of_transforms, entries):
        value = entries[name]
        if is_transform(value) or (
            isinstance(value, dict) and (name in IMAGES or any(map(is_transform, value.values())))
        ):
            continue
        if value is False and name in NORMALISATIONS:
            yield Unread(name, "False", ("mean", "std"))
        if is_set(value) and not is_usual(name, value) and type(value) not in (int, float):
            questions = (
                ("mean", "std") if name.startswith("norm") else ("image_size", "mean", "std")
            )
            yield Unread(name, shown(value), questions)


def is_known(value: Any) -> bool:
    """Tell whether the value of one of `OTHER_STEPS` says what a service does anyway."""
    is_name = isinstance(value, str) and value.lower() in ("rgb", "none", "false", *STANDARD)
    return is_name or (isinstance(value, list | tuple) and list(value) == [0, 1])


def is_usual(key: str, value: Any) -> bool:
    """Tell whether a name, or names, under a key say nothing more than is read elsewhere."""
    names = value if isinstance(value, list | tuple) else [value]
    usual = [LAYERS] * (key in NORMALISATIONS) + [AUGMENTATIONS] * bool(OF_TRAINING.fullmatch(key))
    return all(
        isinstance(name, str)
        and (name.lower() in STANDARD or any(pattern.fullmatch(name) for pattern in usual))
        for name in names
    )


def unread_statistics(entries: Mapping[str, Any]) -> Iterator[Unread]:
    """Yield the means and standard deviations of channels that are not understood."""
    given = [{n: entries[n] for n in names if is_set(entries.get(n))} for names in (MEAN, STD)]
    means, stds = given
    if not means and all(isinstance(x, int | float) for x in stds.values()):
        return  # as of random weights
    for name, value in [*means.items(), *stds.items()]:
        if not numbers(value):
            yield Unread(name, shown(value), ("mean", "std"))
            return
    several = any(len({numbers(x) for x in values.values()}) > 1 for values in given)
    pair = [next((numbers(x) for x in values.values()), ()) for values in given]
    if (means or stds) and not several and not as_bytes(pair[0], pair[1])[0]:
        yield Unread(
            ", ".join([*means, *stds]),
            ", ".join(map(shown, [*means.values(), *stds.values()])),
            ("mean", "std"),
        )
