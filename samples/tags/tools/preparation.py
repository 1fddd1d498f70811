# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Finds what a checkpoint tells of how images were prepared, under the names that are usual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# As in img_size, imgsz and target_resolution; input_dim may be a number of features.
OF_SIZE = ("img", "im", "image", "input", "target", "eval_img", "val_img", "test_img", "inference")
SIZE = (
    *(
        of + gap + what
        for of in OF_SIZE
        for gap in ("_", "")
        for what in ("size", "sz", "shape", "res", "resolution", "side")
    ),
    *("crop_size", "val_crop_size", "resolution", "img_dim", "im_dim", "image_dim"),
)
OF_CHANNELS = (
    *("image", "img", "pixel", "channel", "rgb", "input", "norm", "normalize", "normalization"),
    *("dataset", "data", "imagenet"),
)
MEAN = ("mean", "means", *(f"{x}_mean" for x in OF_CHANNELS), "mean_rgb", "mean_pixel")
STD = ("std", "stds", *(f"{x}_std" for x in OF_CHANNELS), "std_rgb", "std_pixel")
SMALLEST = 8  # pixels


def told_preparation(entries: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, list[float]]]:
    """Yield where a size in pixels, a mean or a standard deviation of channels is told.

    Args:
        entries: What a checkpoint holds, by its place, as in args.img_size.

    Yields:
        The place; image_size, mean or std; one number for a size, of squares alone, and one for
        each channel for the others, on the scale 0 to 1.
    """
    for place, value in entries:
        key = place.rpartition(".")[2].lower()
        numbers = list(value) if isinstance(value, (list, tuple)) else [value]
        if not numbers or not all(type(number) in (int, float) for number in numbers):
            continue
        if key in SIZE and min(numbers[-2:]) == max(numbers[-2:]) >= SMALLEST:
            yield place, "image_size", numbers[-1:]
        elif key in (*MEAN, *STD) and isinstance(value, (list, tuple)):
            scale = 255 if max(numbers) > 1 else 1  # some count in bytes
            yield place, "mean" if key in MEAN else "std", [number / scale for number in numbers]


def told_otherwise(
    entries: Iterable[tuple[str, Any]], known: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, list[float]]]:
    """Return what a checkpoint tells, and nowhere as it is known: numbers by name and place.

    A checkpoint may tell of several preparations: of training, of a teacher, of the weights that
    were begun with. One that is the same is taken for the service's.

    Args:
        entries: What it holds, by its place.
        known: image_size, mean and std, as `told_preparation` has them.
    """
    told: dict[str, dict[str, list[float]]] = {}
    for place, name, numbers in told_preparation(entries):
        if len(numbers) == len(known[name]):  # else of images with other channels
            told.setdefault(name, {})[place] = numbers
    return {
        name: x for name, x in told.items() if not any(is_near(y, known[name]) for y in x.values())
    }


def is_near(told: Sequence[float], known: Sequence[float]) -> bool:
    """Tell whether as many numbers are the same, up to what people round."""
    return all(abs(one - other) < 0.005 for one, other in zip(told, known, strict=True))
