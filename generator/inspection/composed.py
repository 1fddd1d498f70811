"""Reads the transforms of torchvision that a checkpoint holds, pickled, without building them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from generator.inspection.pickles import Global, Inert, Tensor
from generator.inspection.values import as_python

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # of Pillow
MAX_STEPS = 50  # of one preparation
MAX_SIZE = 4096  # pixels
LARGE = 1e6  # no mean of channels is as large
MAX_SHOWN = 100  # characters of a value
MAX_LISTED = 1000  # characters of several
# From the values of bytes to those between 0 and 1, or nothing at all.
CONVERSIONS = ("PILToTensor", "ToImage", "ToImageTensor", "ToPureTensor")
# Functions that make an image RGB, which the service does, too.
TO_RGB = ("clip.clip._convert_image_to_rgb", "open_clip.transform._convert_to_rgb")


class UnknownStepError(ValueError):
    """A step has no answer that says the same; the message shows it."""


@dataclass(frozen=True)
class Composed:
    """How torchvision's transforms prepare an image.

    Attributes:
        image_size: side of the square that comes out in pixels; 0 if they scale nothing.
        resize_size: to which the shorter side, or both, are scaled before the crop; 0 likewise.
        resize_mode: "crop" or "stretch"; "" if they scale nothing.
        mean: of each channel, between 0 and 1.
        std: likewise.
        interpolation: of the resize; "" if they scale nothing.
    """

    image_size: int = 0
    resize_size: int = 0
    resize_mode: str = ""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    interpolation: str = ""


def composed(value: Any) -> Composed:
    """Return what a transform of torchvision does.

    Args:
        value: one transform, or a `Compose`, an `nn.Sequential` or a list of them.

    Raises:
        UnknownStepError: It has a step that no answers describe.
    """
    resized: tuple[str, int] = ("", 0)
    size, interpolation, is_scaled = 0, "", False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    is_normalised = is_tensor = False
    for step in steps_of(value):
        if isinstance(step, Global) and step.name in TO_RGB:
            continue
        name, state = named(step)
        if name == "ImageClassification" and not (resized[1] or size or is_scaled):
            size, interpolation = side(step, "crop_size"), filter_of(step)
            resized = ("crop", side(step, "resize_size"))
            mean, std, is_scaled, is_normalised = *statistics(step), True, True
        elif name in ("Resize", "Scale") and not (resized[1] or size):
            square = square_of(state.get("size"))
            resized = ("stretch", square) if square else ("crop", side(step, "size"))
            interpolation = filter_of(step)
            if is_tensor and state.get("antialias") is not True:
                raise UnknownStepError(f"{name}({resized[1]}) of a tensor, without antialias")
        elif name == "CenterCrop" and resized[1] and not size:
            size = square_of(state.get("size")) or side(step, "size")
        elif name == "ToTensor" or (name in ("ConvertImageDtype", "ToDtype") and scales(step)):
            is_scaled = is_tensor = True
        elif name == "Normalize" and is_scaled and not is_normalised:
            mean, std, is_normalised = *statistics(step), True
        elif name == "Grayscale" and state.get("num_output_channels", 1) == 1:
            continue  # the network then takes one channel, as its weights show
        elif name in CONVERSIONS:
            is_tensor = True
        else:
            raise UnknownStepError(shown(step))
    if not is_scaled:
        raise UnknownStepError("no ToTensor in it, which would scale bytes to 1")
    mode, whole = resized
    if mode == "crop" and not size:
        raise UnknownStepError(f"Resize({whole}) without a CenterCrop, which leaves no square")
    if size > whole:
        raise UnknownStepError(f"CenterCrop({size}) of less than {size} pixels")
    return Composed(size or whole, whole, mode, mean, std, interpolation)


def steps_of(value: Any) -> Iterator[Any]:
    """Yield the transforms one after the other, those inside of others, too."""
    waiting, count = [value], 0
    while waiting:
        step = waiting.pop(0)
        count += 1
        if count > MAX_STEPS:
            raise UnknownStepError("more steps than a preparation has")
        name, state = named(step) if isinstance(step, Inert) else ("", {})
        inside: Any = None
        if isinstance(step, list | tuple):
            inside = step
        elif name == "Compose":
            inside = state.get("transforms")
        elif isinstance(step, Inert) and step.name == "torch.nn.modules.container.Sequential":
            inside = list(step._modules.values()) if hasattr(step, "_modules") else None
        if isinstance(inside, list | tuple):
            waiting = [*inside[: MAX_STEPS + 1], *waiting]
        else:
            yield step


def named(step: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the class of one of torchvision's transforms and its attributes; "" for others."""
    if not isinstance(step, Inert) or not step.name.startswith("torchvision.transforms."):
        return "", {}
    state = step.state if isinstance(step.state, dict) else {}
    state = {key: as_python(x) for key, x in state.items()}
    return step.name.rpartition(".")[2], state


def state_of(step: Any) -> Mapping[str, Any]:
    """Return the attributes of one of torchvision's transforms."""
    return named(step)[1]


def shown(value: Any) -> str:
    """Return a value as people may know it again, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {value.shape}"
    if isinstance(value, Global):
        return value.name[:MAX_SHOWN]
    if isinstance(value, Inert) and value.name.endswith("multiarray._reconstruct"):
        return "an array of numpy"
    if isinstance(value, Inert) and value.name.endswith("multiarray.scalar"):
        return "a number of numpy"
    if isinstance(value, bytes) or (isinstance(value, Inert) and value.name == "_codecs.encode"):
        return "bytes"
    if isinstance(value, Inert):
        name, state = named(value)
        plain = {
            key: x
            for key, x in state.items()
            if isinstance(x, bool | int | float | str) and key != "training"
        }
        values = ", ".join(f"{key}={plain_of(x)}" for key, x in plain.items())
        return f"{name or value.name}{f'({values})' if values else ''}"[:MAX_SHOWN]
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, [*value][:5]))}"[:MAX_SHOWN]
    if isinstance(value, list | tuple):
        inner = (listed(x) if isinstance(x, list | tuple) else plain_of(x) for x in value[:5])
        return f"[{', '.join(inner)}{', ...' * (len(value) > 5)}]"[:MAX_SHOWN]
    return plain_of(value)[:MAX_SHOWN]


def shortened(text: str) -> str:
    """Return a text that is made of many keys and values, as much of it as people read."""
    return text if len(text) <= MAX_LISTED else f"{text[:MAX_LISTED]} ..."


def listed(values: list[Any] | tuple[Any, ...]) -> str:
    """Return the first numbers and texts of a list."""
    return f"[{', '.join(map(plain_of, values[:5]))}{', ...' * (len(values) > 5)}]"


def plain_of(value: Any) -> str:
    """Return a number or a text as it is, and the class of anything else."""
    if isinstance(value, int) and abs(value) > sys.maxsize:  # Python writes none of many digits
        return "a large number"
    if isinstance(value, bool | int | float | str | None):
        return repr(value[:MAX_SHOWN] if isinstance(value, str) else value)
    return value.name if isinstance(value, Inert | Global) else type(value).__name__


def side(step: Inert, name: str) -> int:
    """Return the one number of an attribute.

    Raises:
        UnknownStepError: It is no length of an image.
    """
    value = state_of(step).get(name)
    if isinstance(value, list | tuple) and (len(value) == 1 or square_of(value)):
        value = value[0]
    if type(value) is not int or not 1 <= value <= MAX_SIZE or state_of(step).get("max_size"):
        raise UnknownStepError(f"{step.name.rpartition('.')[2]}({name}={shown(value)})")
    return value


def square_of(value: Any) -> int:
    """Return the side of [224, 224], 0 for anything else."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return 0
    height, width = value
    is_size = type(height) is int and type(width) is int and 1 <= height <= MAX_SIZE
    return height if is_size and height == width else 0


def filter_of(step: Inert) -> str:
    """Return how a step scales images.

    Raises:
        UnknownStepError: The service cannot scale so.
    """
    value = state_of(step).get("interpolation", "bilinear")
    found = RESAMPLE.get(value, "") if type(value) is int else interpolation(value)
    if not found or state_of(step).get("antialias") is False:
        raise UnknownStepError(
            f"{step.name.rpartition('.')[2]}(interpolation={shown(enumerated(value))}"
            f"{', antialias=False' if state_of(step).get('antialias') is False else ''})"
        )
    return found


def interpolation(value: Any) -> str:
    """Return the answer to `interpolation` of a text or of an enumeration; "" for any other."""
    value = enumerated(value)
    if type(value) is int and value in RESAMPLE:  # of PIL.Image.Resampling alone
        return RESAMPLE[value]
    name = value.rpartition(".")[2].lower() if isinstance(value, str) else ""
    return name if name in INTERPOLATIONS else ""


def enumerated(value: Any) -> Any:
    """Return the value of torchvision's or Pillow's enumeration, and anything else as it is."""
    if isinstance(value, Inert) and value.name.endswith((".InterpolationMode", ".Resampling")):
        return value.arguments[0] if len(value.arguments) == 1 else value
    is_member = isinstance(value, Inert) and value.name == "builtins.getattr"  # Python 3.11.0
    return value.arguments[-1] if is_member and value.arguments else value


def statistics(step: Inert) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std.

    Raises:
        UnknownStepError: They are not numbers for 1 or 3 channels, as ToTensor makes them.
    """
    mean, std = paired(*(channels(state_of(step).get(name)) for name in ("mean", "std")))
    if not is_normal(mean, std):
        given = ", ".join(f"{key}={shown(state_of(step).get(key))}" for key in ("mean", "std"))
        raise UnknownStepError(f"{step.name.rpartition('.')[2]}({given})")
    return mean, std


def channels(value: Any) -> tuple[float, ...]:
    """Return one number for each channel, or one for all."""
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) not in (1, 3):
        return ()
    are_numbers = all(type(x) in (float, int) and -LARGE < x < LARGE for x in values)
    return tuple(map(float, values)) if are_numbers else ()


def paired(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std with one number for each channel, if one of them has that."""
    if {len(mean), len(std)} == {1, 3}:
        mean, std = (values * (3 // len(values)) for values in (mean, std))
    return mean, std


def is_normal(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Tell whether images between 0 and 1 are normalised with these."""
    are_within = all(0 <= x <= 1 for x in mean) and all(0 < x <= 1 for x in std)
    return bool(mean) and len(mean) == len(std) and are_within


def scales(step: Inert) -> bool:
    """Tell whether a step makes numbers between 0 and 1 of bytes."""
    dtype = state_of(step).get("dtype")
    is_float = isinstance(dtype, Global) and dtype.name == "torch.float32"
    return is_float and (
        step.name.endswith(".ConvertImageDtype") or bool(state_of(step).get("scale"))
    )
