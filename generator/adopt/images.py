"""Reads how a handler prepares its images: torchvision's transforms, as answers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from generator import catalogue
from generator.source import Source, argument, chain
from generator.tasks import Task

TRANSFORMS = "torchvision.transforms."
FUNCTIONAL = ("torchvision.transforms.functional.", "torchvision.transforms.v2.functional.")
OTHER_WORK = ("cv2.", "skimage.", "albumentations.", "imgaug.", "kornia.", "PIL.ImageOps.")
TIMM = ("timm.data.create_transform", "timm.data.transforms_factory.create_transform")
MAX_FOUND = 5  # pipelines that differ: there is no telling which of so many counts
METHODS = ("crop", "thumbnail", "rotate")  # of PIL's images
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# Steps that are in every project, or change nothing there.
PLAIN = {
    "ToTensor", "PILToTensor", "ToImage", "ToImageTensor", "ToDtype", "ConvertImageDtype",
    "ConvertDtype", "ToPILImage", "ToPureTensor", "Identity", "RGB",
}  # fmt: skip
INTERPOLATION = {
    "BILINEAR": "bilinear", "BICUBIC": "bicubic", "NEAREST": "nearest",
    "bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest",
    "2": "bilinear", "3": "bicubic", "0": "nearest",
}  # fmt: skip


@dataclass(frozen=True)
class Preparation:
    """How an image is prepared.

    Attributes:
        where: file:line.
        resize: (n,) for the shorter side, (height, width) for both, in pixels; () for none.
        crop: side of the centre that is kept, in pixels; 0 if none is cut out.
        mean: per channel, on the scale 0 to 1; () if nothing is normalised.
        std: likewise.
        interpolation: an answer to the question of that name.
        gray: the channels that Grayscale leaves; 0 if there is none.
        weights: torchvision's weights whose transforms these are, as in ResNet18_Weights.DEFAULT;
            "timm" for timm's.
        unclear: what no answer covers, each with its place.
    """

    where: str
    resize: tuple[int, ...] = ()
    crop: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bilinear"
    gray: int = 0
    weights: str = ""
    unclear: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing that an answer covers."""
        return not (self.resize or self.crop or self.mean or self.weights)

    def unlike(self, why: str, **changes: Any) -> Preparation:
        """Return the same, with one more thing that no answer covers."""
        return replace(self, unclear=(*self.unclear, why), **changes)

    @property
    def meaning(self) -> tuple[Any, ...]:
        """All but the place."""
        return (
            self.resize, self.crop, self.mean, self.std, self.interpolation, self.gray,
            self.weights, len(self.unclear),
        )  # fmt: skip


def built_in(name: str) -> Preparation:
    """Return how TorchServe's own handlers of images prepare them, by the name of one."""
    return Preparation(f"TorchServe's {name}", (256,), 224, *IMAGENET)


def find_preparations(source: Source) -> list[Preparation]:
    """Return the ways in which a file prepares images, those of training aside."""
    found: dict[tuple[Any, ...], Preparation] = {}
    inner: set[int] = set()
    for node in source.nodes:
        if not isinstance(node, ast.Call) or id(node) in inner or len(found) == MAX_FOUND:
            continue
        name = source.full_name(node.func)
        if name.startswith(TRANSFORMS) and name.endswith(".Compose"):
            inner |= {id(x) for x in ast.walk(node)}
            preparation = read_compose(source, node)
        elif name in TIMM:
            preparation = Preparation(source.at(node), weights="timm")
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "transforms":
            weights = weights_of(source, node.func.value)
            if not weights:
                continue
            preparation = Preparation(source.at(node), weights=weights)
            if any(keyword.arg != "antialias" for keyword in node.keywords) or node.args:
                preparation = preparation.unlike(without_answer(source, node))
        else:
            continue
        if not is_random(source, node):
            found.setdefault(preparation.meaning, preparation)
    return [with_work_by_hand(source, x) for x in found.values()]


def work_by_hand(source: Source) -> Preparation | None:
    """Return what a file without torchvision's pipelines does to images; None if nothing."""
    preparation = with_work_by_hand(source, Preparation(source.name))
    for node in source.nodes:
        if isinstance(node, ast.Call):
            name = source.full_name(node.func)
            if name in ("numpy.array", "numpy.asarray"):
                preparation = preparation.unlike(without_answer(source, node))
    return preparation if preparation != Preparation(source.name) else None


def weights_of(source: Source, node: ast.AST) -> str:
    """Return the weights that an expression stands for, as in ResNet18_Weights.DEFAULT, or ""."""
    for candidate in (node, source.only(chain(node))):
        if candidate is not None:
            match = re.search(r"(\w+_Weights\.\w+)$", source.full_name(candidate))
            if match:
                return match[1]
    return ""


def is_random(source: Source, call: ast.Call) -> bool:
    """Tell whether a pipeline draws, as those for training do."""
    names = (source.full_name(x.func) for x in ast.walk(call) if isinstance(x, ast.Call))
    return any(
        name.startswith(TRANSFORMS) and re.search(r"\.(Random\w+|ColorJitter|\w*Augment\w*)$", name)
        for name in names
    )


def steps_of(source: Source, node: ast.AST | None) -> Iterator[ast.expr]:
    """Yield the steps of a pipeline, those of pipelines in it, too."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        node = source.only(chain(node))
    match node:
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            for part in parts:
                if isinstance(part, ast.Call) and source.full_name(part.func).endswith(".Compose"):
                    yield from steps_of(source, argument(part, 0, "transforms"))
                elif isinstance(part, ast.Name) and source.only(part.id) is not None:
                    yield source.only(part.id) or part
                else:
                    yield part
        case ast.expr():
            yield node


def read_compose(source: Source, call: ast.Call) -> Preparation:
    """Read one pipeline."""
    found = Preparation(source.at(call))
    scaled = False
    on_tensors = False
    for step in steps_of(source, argument(call, 0, "transforms")):
        name = source.full_name(step.func) if isinstance(step, ast.Call) else ""
        kind = name.rpartition(".")[2] if name.startswith(TRANSFORMS) else ""
        if not isinstance(step, ast.Call) or not kind:
            found = found.unlike(without_answer(source, step))
        elif kind == "Resize":
            found = read_resize(source, step, found, on_tensors)
        elif kind == "CenterCrop":
            size = square(source.value_or(argument(step, 0, "size"), None))
            if found.crop or not size:
                found = found.unlike(without_answer(source, step))
            found = replace(found, crop=size)
        elif kind == "Normalize":
            mean = channels(source.value_or(argument(step, 0, "mean"), None))
            std = channels(source.value_or(argument(step, 1, "std"), None))
            if not mean or not std or found.mean:
                found = found.unlike(without_answer(source, step))
            else:
                found = replace(found, mean=mean, std=std)
        elif kind == "Grayscale":
            given = argument(step, 0, "num_output_channels")
            found = replace(found, gray=1 if given is None else source.value_or(given, 0) or 3)
        elif kind == "Lambda" and is_to_rgb(argument(step, 0, "lambd")):
            pass
        elif kind not in PLAIN:
            found = found.unlike(without_answer(source, step))
        on_tensors |= kind in ("ToTensor", "PILToTensor", "ToImage", "ToImageTensor")
        scaled |= kind in ("ToTensor", "ConvertImageDtype", "ConvertDtype")
        if kind == "ToDtype" and isinstance(step, ast.Call):
            scaled |= source.value_or(argument(step, 1, "scale"), False) is True
    if not scaled:
        found = found.unlike(f"{found.where}: no step brings the values to the scale 0 to 1")
    return found


def without_answer(source: Source, node: ast.AST) -> str:
    """Return a remark on code that no answer covers."""
    return f"{source.at(node)}: no answer covers {ast.unparse(node)[:60]}"


def read_resize(source: Source, step: ast.Call, found: Preparation, tensor: bool) -> Preparation:
    """Add what Resize(size, interpolation) says."""
    shown = without_answer(source, step)
    size = source.value_or(argument(step, 0, "size"), None)
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    rest = {keyword.arg for keyword in step.keywords} - {"size", "interpolation", "antialias"}
    plain = source.value_or(argument(step, 3, "antialias"), True) is False and tensor
    if found.resize or found.crop or not all_pixels(sides) or len(sides) > 2 or rest or plain:
        return found.unlike(shown)
    given = argument(step, 1, "interpolation")
    interpolation = interpolation_of(given) if given is not None else "bilinear"
    if not interpolation:
        return found.unlike(shown, resize=sides)
    return replace(found, resize=sides, interpolation=interpolation)


def interpolation_of(node: ast.AST) -> str:
    """Return the answer for InterpolationMode.BICUBIC, Image.BICUBIC, 3; "" for another filter."""
    name = chain(node).rpartition(".")[2]
    if isinstance(node, ast.Constant):
        name = str(node.value)
    return INTERPOLATION.get(name, "")


def with_work_by_hand(source: Source, found: Preparation) -> Preparation:
    """Add what a file does to images outside of the pipeline."""
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        name = source.full_name(node.func)
        shown = without_answer(source, node)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        sides = source.value_or(argument(node, 0, "size"), None)
        if name.startswith((*OTHER_WORK, *FUNCTIONAL)):
            found = found.unlike(shown)
        elif method == "resize" and isinstance(sides, (tuple, list)) and len(sides) == 2:
            given = argument(node, 1, "resample")
            interpolation = interpolation_of(given) if given is not None else "bicubic"
            if found.resize or found.weights or not all_pixels(sides) or not interpolation:
                found = found.unlike(shown)
            else:  # PIL's sizes are width and height
                found = replace(found, resize=(sides[1], sides[0]), interpolation=interpolation)
        elif method in METHODS or (method == "resize" and not name.startswith(TRANSFORMS)):
            found = found.unlike(shown)
    return found


def converted_modes(source: Source) -> dict[str, str]:
    """Return the modes to which images are converted, as in image.convert("L"), with places."""
    modes: dict[str, str] = {}
    for node in source.nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(attr="convert"), args=[ast.Constant(value="L" | "RGB" as mode)]
            ):
                modes.setdefault(str(mode), source.at(node))
    return modes


def is_to_rgb(node: ast.AST | None) -> bool:
    """Tell whether a function is lambda image: image.convert("RGB")."""
    match node:
        case ast.Lambda(
            body=ast.Call(func=ast.Attribute(attr="convert"), args=[ast.Constant(value="RGB")])
        ):
            return True
    return False


def all_pixels(sides: Any) -> bool:
    """Tell whether all are whole numbers of pixels."""
    return all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 10_000 for n in sides)


def square(size: Any) -> int:
    """Return the side of a square; 0 if it is none."""
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    return sides[0] if all_pixels(sides) and len(set(sides)) == 1 else 0


def channels(values: Any) -> tuple[float, ...]:
    """Return numbers per channel; () if they are none."""
    values = (values,) if isinstance(values, (int, float)) else values
    if not isinstance(values, (tuple, list)) or len(values) not in (1, 3):
        return ()
    return tuple(values) if all(isinstance(x, (int, float)) for x in values) else ()


# ---------------------------------------------------------------------------------------- answers


def answers_of(
    found: Preparation, architecture: str, color_mode: str, task: Task
) -> tuple[dict[str, Any], list[str]]:
    """Return the answers on how images are prepared, and what no answer covers.

    Args:
        found: What the code does.
        architecture: An answer to that question; "" if it is not known.
        color_mode: Likewise.
        task: What the network is for.
    """
    unclear = list(found.unclear)
    arch = catalogue.load().get(architecture)
    if found.weights == "timm":
        unclear.append(f"{found.where}: taken for what timm prepares for this network by itself")
        return ({"transforms": "pretrained"} if arch is None else {}), unclear
    if found.weights:
        if arch is not None and is_default(found.weights, arch.weights):
            return {"transforms": "pretrained"}, unclear
        preset = preset_of(found.weights)
        if preset is None:
            return {}, [*unclear, f"{found.where}: torchvision has no {found.weights}"]
        found = replace(preset, where=found.where, unclear=found.unclear)
    is_whole = bool(task.facts["keeps_whole_image"])
    size, resize, mode = (whole_geometry if is_whole else geometry)(found, unclear)
    if found.mean and not all(0 <= x <= 1 for x in (*found.mean, *found.std)):
        unclear.append(f"{found.where}: mean and std are not on the scale 0 to 1")
        return {}, unclear
    if color_mode == "L" and len(found.mean) == 3:
        unclear.append(f"{found.where}: mean and std are of three channels, the network takes one")
    if found.gray == 3 and color_mode == "RGB":
        unclear.append(f"{found.where}: the grey channel is repeated three times")
    is_default_size = {"image_size": size} if size else {}
    if (
        not found.mean
        and mode == "stretch"
        and resize == size
        and found.interpolation == "bilinear"
    ):
        return {"transforms": "to_tensor", **is_default_size}, unclear
    is_imagenet = (found.mean, found.std, found.interpolation) == (*IMAGENET, "bilinear")
    takes_224 = arch is None or arch.size_rule != "fixed" or arch.input_size == 224
    is_offered = "imagenet" in task.facts["transforms"] and takes_224
    if is_imagenet and (size, resize, mode) == (224, 256, "crop") and is_offered:
        return {"transforms": "imagenet"}, unclear
    return {
        "transforms": "custom",
        **is_default_size,
        "resize_mode": mode,
        **({} if mode == "shorter_side" else {"resize_size": 0 if resize == size else resize}),
        "mean": list(found.mean) or [0.0],
        "std": list(found.std) or [1.0],
        "interpolation": found.interpolation,
    }, unclear


def geometry(found: Preparation, unclear: list[str]) -> tuple[int, int, str]:
    """Return image_size (0 if the code does not tell), resize_size and resize_mode."""
    if len(set(found.resize)) > 1:
        unclear.append(f"{found.where}: images of {found.resize[0]} x {found.resize[1]} pixels")
        return 0, 0, "stretch"
    if not found.resize:
        if found.crop:
            unclear.append(
                f"{found.where}: the centre is cut out of the image as it was sent; a project "
                f"scales its shorter side to {found.crop} pixels first"
            )
        return found.crop, found.crop, "crop" if found.crop else "stretch"
    side = found.resize[0]
    size = found.crop or side
    if size > side:
        unclear.append(f"{found.where}: the crop is larger than the image, which pads it")
        return size, size, "crop"
    if len(found.resize) == 1 and not found.crop:
        unclear.append(
            f"{found.where}: only the shorter side has a size; a project also cuts the centre out"
        )
    return size, side, "stretch" if len(found.resize) == 2 else "crop"


def whole_geometry(found: Preparation, unclear: list[str]) -> tuple[int, int, str]:
    """Return the same for a task that keeps the whole image."""
    if len(set(found.resize)) > 1:
        unclear.append(f"{found.where}: images of {found.resize[0]} x {found.resize[1]} pixels")
        return 0, 0, "stretch"
    if found.crop:
        unclear.append(f"{found.where}: the centre is cut out; a project keeps the whole image")
    elif not found.resize:
        unclear.append(
            f"{found.where}: images keep their size; a project scales their shorter side"
        )
    side = found.resize[0] if found.resize else 0
    return side, side, "stretch" if len(found.resize) == 2 else "shorter_side"


def is_default(weights: str, default: str | None) -> bool:
    """Tell whether weights are an architecture's default ones."""
    if default is None:
        return False
    return weights in (default, f"{default.partition('.')[0]}.DEFAULT")


def preset_of(weights: str) -> Preparation | None:
    """Return how torchvision prepares images for its weights; None if it has no such."""
    for arch in catalogue.load().values():
        if is_default(weights, arch.weights):
            return Preparation(
                "", (arch.resize_size,), arch.input_size if "classifier" in arch.kinds else 0,
                tuple(arch.mean), tuple(arch.std), arch.interpolation,
            )  # fmt: skip
    from torchvision.models import get_weight

    try:
        preset = get_weight(weights).transforms()
        return Preparation(
            "", tuple(preset.resize_size), getattr(preset, "crop_size", [0])[0],
            tuple(preset.mean), tuple(preset.std), preset.interpolation.value,
        )  # fmt: skip
    except (AttributeError, ValueError, KeyError):
        return None
