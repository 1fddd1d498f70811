"""Under what names checkpoints keep how images were prepared, and how their values are read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from generator.inspection.composed import (
    LARGE,
    MAX_SIZE,
    channels,
    interpolation,
    is_normal,
    paired,
)
from generator.inspection.pickles import Global, Inert
from generator.inspection.values import as_python
from generator.shared.preparation import MEAN, SIZE, SMALLEST, STD
from generator.shared.scores import LOSS

# Under what the arguments for images are kept, at any depth.
IMAGES = (
    *("data_config", "preprocessing", "preprocess", "normalize", "normalization", "settings"),
    *("norm", "norm_stats", "transform", "transforms"),
)
# Under what arguments are kept, and some (RESULTS) what came of them; "" is the checkpoint itself.
BESIDE = (  # names of files beside the weights, which are read as if they were such groups
    *("config.json", "args.json", "hparams.json", "params.json", "metadata.json"),
    *("args.yaml", "hparams.yaml", "config.yaml", "params.yaml"),
)
GROUPS = (
    *BESIDE,
    *("hyperparams", "hyperparameters", "hyper_params", "configs", "model_args", "model_params"),
    *("args", "opt", "opts", "hyper_parameters", "hparams", "config", "cfg", "params", ""),
    *("datamodule_hyper_parameters", "metadata", "model_config", "model_info", "info", "meta"),
    *("data", "dataset", "train_config", "training_args", "train_args", *IMAGES),
)
# Under what these have more of them.
EVALUATION = ("val", "valid", "validation", "test", "eval", "inference")
NESTED = (
    *("args", "cfg", "config", "hparams", "data", "dataset", "datamodule", "image"),
    *(*IMAGES, *EVALUATION),
)
NETWORK = ("model", "arch", "architecture", "model_name", "backbone", "model_arch", "encoder_name")
SIZES = (*SIZE, "size")  # the last may be another's, so that it counts as a number of pixels alone
SIDES = (
    ("img_height", "img_width"),
    ("image_height", "image_width"),
    ("input_height", "input_width"),
    ("img_h", "img_w"),
    ("image_h", "image_w"),
    ("input_h", "input_w"),
    ("height", "width"),
)
RESIZE = ("resize_size", "val_resize_size")
ORDERS = (  # of colours
    *("input_space", "color_space", "color_order", "channel_order", "color_mode", "color_format"),
)
OTHER_ORDERS = ("bgr", "hsv", "lab", "ycbcr", "yuv")  # than RGB, of the values of a pixel
PAIR = ("mean", "std")  # as questions and as the shortest names of arguments
# Under what a transform is kept, or several by what they are for.
TRANSFORMS = re.compile(
    r"((val|valid|validation|test|eval|inference|image|img|data|input)_)?(transforms?|tfms)"
    r"|preprocess(ing|or)?",
    re.IGNORECASE,
)
NORMALISATIONS = ("normalize", "normalization")
# Under what all that stands there prepares images, and which of it is read, or changes nothing.
PREPARATIONS = ("preprocess", "preprocessing", "preprocessor")
KNOWN = {
    *(*SIZES, *RESIZE, *MEAN, *STD, *(name for pair in SIDES for name in pair), "interpolation"),
    *("crop_pct", "crop_mode", "resize", "resize_mode", "resize_to", "bgr", "to_rgb"),
    *("num_classes", "classes", "class_names", "in_chans", "in_channels", "channels", "name"),
    *("num_channels", "train", "training", *EVALUATION, *IMAGES),
}
TRAINING_TRANSFORMS = re.compile(r"train(ing)?_(transforms?|tfms)", re.IGNORECASE)
STANDARD = ("imagenet", "torch", "torchvision")  # as names of a normalisation
# What tells whether the classes of an image exclude one another; tasks judge the values.
LABELS = (
    *LOSS,
    *("multilabel", "multi_label", "is_multilabel", "is_multi_label", "problem_type"),
    *("task", "task_type", "classification_type", "final_activation", "output_activation"),
    "last_activation",
)
MAX_TEXT = 100_000  # characters of arguments that are written down
MANY = 50  # of a list, as are looked at
MAX_OBJECTS = 500  # of one place in a pickle, that are searched


def is_new(value: Any, seen: list[Any]) -> bool:
    """Tell whether an object was not seen before, and add it to those that were.

    More than a checkpoint has are not looked at.
    """
    if len(seen) == MAX_OBJECTS or any(value is other for other in seen):
        return False
    seen.append(value)
    return True


def arguments(value: Any) -> dict[str, Any]:
    """Return arguments by name, from a dict or from what stands for an argparse.Namespace.

    Or from a text of either, as JSON, YAML and Python write them.
    """
    if isinstance(value, str):
        value = written(value)
    if isinstance(value, Inert):
        value = value.state
    if not isinstance(value, dict):
        return {}
    entries = {key: as_python(x) for key, x in value.items() if isinstance(key, str)}
    own = {key: x for key, x in entries.items() if key == key.lower()}
    return {key.lower(): x for key, x in entries.items()} | own  # IMG_SIZE is as good


class YamlLoader(yaml.SafeLoader):
    """The loader in Python, whatever others are installed: that in C crashes on a deep text."""


def written(value: str) -> Any:
    """Return the plain values that a text of arguments stands for; None if it is none."""
    is_call = re.match(r"(argparse\.)?Namespace\(", value) is not None
    is_many = "\n" in value and ":" in value and "&" not in value  # where YAML names a part again
    if len(value) > MAX_TEXT or not (is_call or value.startswith("{") or is_many):
        return None
    try:
        if not is_call:
            return yaml.load(value, YamlLoader)  # JSON is YAML
        call = ast.parse(value, mode="eval").body
        given = call.keywords if isinstance(call, ast.Call) else []
        return {str(x.arg): ast.literal_eval(x.value) for x in given}
    except Exception:  # whatever the readers raise at a text that is something else
        return None


def shares(value: Any) -> tuple[float, ...]:
    """Return one probability, or one for each class; () for anything else."""
    values = value if isinstance(value, list | tuple) else [value]
    are_shares = all(type(x) is float and 0 < x < 1 for x in values)
    return tuple(values) if values and are_shares else ()


def as_bytes(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of images between 0 and 1, also if they are on the scale of bytes."""
    mean, std = paired(mean or (), std or ())
    if not mean or len(mean) != len(std):
        return (), ()
    if max(mean) > 1 or (not any(mean) and min(std) > 2):
        mean, std = (tuple(round(x / 255, 6) for x in values) for values in (mean, std))
    return (mean, std) if is_normal(mean, std) else ((), ())


def is_of_transforms(key: str) -> bool:
    """Tell whether a transform is kept under a key."""
    return TRANSFORMS.fullmatch(key) is not None or key in NORMALISATIONS


def is_transform(value: Any) -> bool:
    """Tell whether a value is an object or a function, or a list of such."""
    items = value[:MANY] if isinstance(value, list | tuple) else [value]
    return any(isinstance(x, Inert | Global) for x in items)


def is_set(value: Any) -> bool:
    """Tell whether an argument has a value, beyond a switch."""
    is_empty = isinstance(value, str | list | tuple | dict) and not value
    return not (value is None or isinstance(value, bool) or is_empty)


def is_word(value: Any) -> bool:
    """Tell whether a text has no digits, as the name of a size has."""
    return isinstance(value, str) and not re.match(r"\s*[(\[]?\s*\d", value)


def name_of(value: Any) -> str:
    """Return a name, or that of a class or function, or what a switch says."""
    if isinstance(value, dict):  # as hydra and OpenMMLab have classes
        value = next((value[key] for key in ("_target_", "type", "name") if key in value), "")
    if isinstance(value, Inert | Global):
        return value.name.rpartition(".")[2]
    return str(value) if isinstance(value, bool) else text(value)


def sides_of(value: Any) -> tuple[int, int] | None:
    """Return the last two of up to four lengths, or a height and a width."""
    if isinstance(value, dict) and value.keys() == {"height", "width"}:
        value = [value["height"], value["width"]]
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= 4:
        return None
    is_last = len(value) == 3 and value[2] in (1, 3) and value[0] not in (1, 3)  # of channels
    height, width = value[:2] if is_last else value[-2:]
    are_lengths = all(type(x) is int and abs(x) < LARGE for x in (height, width))
    return (height, width) if are_lengths else None


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
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    elif sides := sides_of(value):
        value = sides[0] if sides[0] == sides[1] else None
    return value if type(value) is int and SMALLEST <= value <= MAX_SIZE else 0


def numbers(value: Any) -> tuple[float, ...]:
    """Return one number for each channel, or one for all.

    A single 0 is none of those: it may as well be the mean of random numbers.
    """
    return channels(value) if isinstance(value, list | tuple) or value else ()


def share(value: Any) -> float:
    """Return a share of 1."""
    return float(value) if type(value) in (float, int) and 0.3 <= value <= 1 else 0.0


def filter_name(value: Any) -> str:
    """Return an answer to `interpolation`; Pillow's numbers are others than OpenCV's."""
    return "" if type(value) is int else interpolation(value)
