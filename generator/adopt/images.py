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
ALBUMENTATIONS = "albumentations."
OTHER_WORK = ("cv2.", "skimage.", ALBUMENTATIONS, "imgaug.", "kornia.", "PIL.ImageOps.")
# What a project does as well, or in its own way.
DECODING = ("cv2.imread", "cv2.imdecode", "cv2.imencode", "PIL.ImageOps.exif_transpose")
TIMM = ("timm.data.create_transform", "timm.data.transforms_factory.create_transform")
MAX_FOUND = 5  # pipelines that differ: there is no telling which of so many counts
METHODS = ("crop", "paste", "thumbnail", "rotate")  # of PIL's images
TRAINING = re.compile(
    r"\.(Random\w+|\w*(Jitter|Augment|Flip|Rotate|OneOf|Dropout|Cutout|Blur|Noise|Brightness)\w*)$"
)
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
OPENCV = {
    "INTER_LINEAR": "bilinear", "INTER_CUBIC": "bicubic", "INTER_NEAREST": "nearest",
    "1": "bilinear", "2": "bicubic", "0": "nearest",
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
        if name.startswith((TRANSFORMS, ALBUMENTATIONS)) and name.endswith(".Compose"):
            inner |= {id(x) for x in ast.walk(node)}
            read = read_compose if name.startswith(TRANSFORMS) else read_albumentations
            preparation = read(source, node)
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
    """Return what a file without pipelines does to images; None if nothing."""
    preparation = with_work_by_hand(source, Preparation(source.name))
    for node in source.nodes:
        if isinstance(node, ast.Call):
            name = source.full_name(node.func)
            is_array = name in ("numpy.array", "numpy.asarray")
            if is_array and source.value_or(node, None) is None and preparation.is_empty:
                preparation = preparation.unlike(without_answer(source, node))
    if preparation == Preparation(source.name):
        return None
    by_hand = normalised_by_hand(source)
    is_of_bytes = by_hand is not None and max(by_hand[0]) > 1
    if not preparation.is_empty and not is_of_bytes and not is_scaled(source):
        preparation = preparation.unlike(
            f"{source.name}: no step brings the values to the scale 0 to 1"
        )
    return preparation


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
        name.startswith((TRANSFORMS, ALBUMENTATIONS)) and TRAINING.search(name) for name in names
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


def read_albumentations(source: Source, call: ast.Call) -> Preparation:
    """Read one pipeline of albumentations."""
    found = Preparation(source.at(call))
    scaled = False
    for step in steps_of(source, argument(call, 0, "transforms")):
        name = source.full_name(step.func) if isinstance(step, ast.Call) else ""
        kind = name.rpartition(".")[2] if name.startswith(ALBUMENTATIONS) else ""
        shown = without_answer(source, step)
        if not isinstance(step, ast.Call):
            found = found.unlike(shown)
            continue
        height, width = (
            source.value_or(argument(step, i, x), 0) for i, x in enumerate(("height", "width"))
        )
        if kind == "Resize" and not found.resize and all_pixels((height, width)):
            found = read_opencv(argument(step, 2, "interpolation"), found, (height, width), shown)
        elif kind == "SmallestMaxSize" and not found.resize:
            side = source.value_or(argument(step, 0, "max_size"), 0)
            given = argument(step, 1, "interpolation")
            found = read_opencv(given, found, (side,) if all_pixels((side,)) else (), shown)
        elif kind == "CenterCrop" and not found.crop and square((height, width)):
            found = replace(found, crop=square((height, width)))
        elif kind == "Normalize" and not found.mean:
            mean = channels(source.value_or(argument(step, 0, "mean"), IMAGENET[0]))
            std = channels(source.value_or(argument(step, 1, "std"), IMAGENET[1]))
            top = source.value_or(argument(step, 2, "max_pixel_value"), 255)
            rest = {x.arg for x in step.keywords} - {"mean", "std", "max_pixel_value", "p"}
            is_readable = all(
                argument(step, i, x) is None or source.value_or(argument(step, i, x), None)
                for i, x in enumerate(("mean", "std", "max_pixel_value"))
            )
            if mean and std and top == 255 and is_readable and not rest - {"always_apply"}:
                found = replace(found, mean=mean, std=std)
            else:
                found = found.unlike(shown)
            scaled = True
        elif kind == "ToFloat":
            scaled = True
        elif kind not in ("ToTensorV2", "ToTensor"):
            found = found.unlike(shown)
    if not scaled and not is_scaled(source):
        found = found.unlike(f"{found.where}: no step brings the values to the scale 0 to 1")
    return found


def read_opencv(
    given: ast.AST | None, found: Preparation, sides: tuple[int, ...], shown: str
) -> Preparation:
    """Add that OpenCV scales an image.

    Args:
        given: The filter, if the code names one.
        found: What is known before.
        sides: As `Preparation.resize` has them; () if they are not known.
        shown: A remark on the code.
    """
    last = chain(given).rpartition(".")[2] if given is not None else "INTER_LINEAR"
    filter_name = str(given.value) if isinstance(given, ast.Constant) else last
    if not sides or filter_name not in OPENCV:
        return found.unlike(shown)
    place = shown.partition(": ")[0]
    return replace(found, resize=sides, interpolation=OPENCV[filter_name]).unlike(
        f"{place}: OpenCV scales without smoothing first, a project scales as Pillow does: large "
        "images differ a little"
    )


def is_scaled(source: Source) -> bool:
    """Tell whether a file brings values from 0 to 255 to the scale 0 to 1."""
    for node in source.nodes:
        match node:
            case (
                ast.BinOp(op=ast.Div(), right=right)
                | ast.AugAssign(op=ast.Div(), value=right)
                | ast.Call(func=ast.Attribute(attr="div" | "div_" | "divide"), args=[right])
            ):
                if source.value_or(right, None) in (255, 127.5):
                    return True
            case ast.BinOp(op=ast.Mult(), right=right) | ast.AugAssign(op=ast.Mult(), value=right):
                value = source.value_or(right, None)
                if isinstance(value, float) and abs(value * 255 - 1) < 0.01:
                    return True
            case ast.Call():
                name = source.full_name(node.func)
                if name.startswith(TRANSFORMS) and name.endswith(("ToTensor", "to_tensor")):
                    return True
    return False


def normalised_by_hand(
    source: Source,
) -> tuple[tuple[float, ...], tuple[float, ...], ast.AST] | None:
    """Return mean, std and the place of (image - mean) / std; None if a file has no such."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    place: ast.AST | None = None
    for node in source.nodes:
        match node:
            case ast.BinOp(op=ast.Div(), left=ast.BinOp(op=ast.Sub(), right=one), right=two):
                mean = channels(source.value_or(one, None))
                std, place = channels(source.value_or(two, None)), node
            case ast.BinOp(op=ast.Sub(), left=ast.BinOp(op=ast.Div(), right=two), right=one) if (
                source.value_or(two, None) == 127.5 and source.value_or(one, None) == 1
            ):
                return (0.5,), (0.5,), node
            case (
                ast.BinOp(op=ast.Sub(), right=right)
                | ast.AugAssign(op=ast.Sub(), value=right)
                | ast.Call(func=ast.Attribute(attr="sub" | "sub_" | "subtract"), args=[right])
            ):
                if len(found := channels(source.value_or(right, None))) == 3 and not mean:
                    mean, place = found, node
            case (
                ast.BinOp(op=ast.Div(), right=right)
                | ast.AugAssign(op=ast.Div(), value=right)
                | ast.Call(func=ast.Attribute(attr="div" | "div_" | "divide"), args=[right])
            ):
                if len(found := channels(source.value_or(right, None))) == 3 and not std:
                    std = found
        if mean and std and place is not None:
            return mean, std, place
    return None


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
        if isinstance(node, ast.Subscript) and is_cut(node):
            found = found.unlike(without_answer(source, node))
        if not isinstance(node, ast.Call):
            continue
        name = source.full_name(node.func)
        shown = without_answer(source, node)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        sides = source.value_or(argument(node, 0, "size"), None)
        is_pair = isinstance(sides, (tuple, list)) and len(sides) == 2 and all_pixels(sides)
        if name in DECODING or (name == "cv2.cvtColor" and target_of(source, node)):
            continue
        if name == "cv2.resize" and not found.resize and not found.weights:
            sides = source.value_or(argument(node, 1, "dsize"), None)
            is_pair = isinstance(sides, (tuple, list)) and len(sides) == 2 and all_pixels(sides)
            given = argument(node, 5, "interpolation")
            found = read_opencv(given, found, (sides[1], sides[0]) if is_pair else (), shown)
        elif name.startswith(ALBUMENTATIONS):
            continue  # in a pipeline, or another name of one
        elif name.startswith((*OTHER_WORK, *FUNCTIONAL)):
            found = found.unlike(shown)
        elif method == "resize" and is_pair and not name.startswith(TRANSFORMS):
            given = argument(node, 1, "resample")
            interpolation = interpolation_of(given) if given is not None else "bicubic"
            if found.resize or found.weights or not interpolation:
                found = found.unlike(shown)
            else:  # PIL's sizes are width and height
                found = replace(found, resize=(sides[1], sides[0]), interpolation=interpolation)
        elif method in METHODS or (method == "resize" and not name.startswith(TRANSFORMS)):
            found = found.unlike(shown)
    if (by_hand := normalised_by_hand(source)) is not None:
        mean, std, place = by_hand
        if found.mean or found.weights:
            return found.unlike(without_answer(source, place))
        if max(mean) > 1:  # of values from 0 to 255
            mean, std = (tuple(round(x / 255, 6) for x in values) for values in (mean, std))
        return replace(found, mean=mean, std=std)
    return found


def is_cut(node: ast.Subscript) -> bool:
    """Tell whether it cuts a part out of an array, as in image[top:bottom, left:right]."""
    slices = node.slice.elts[:2] if isinstance(node.slice, ast.Tuple) else []
    return len(slices) == 2 and all(
        isinstance(x, ast.Slice) and x.step is None and (x.lower or x.upper) for x in slices
    )


# What a colour order is changed by: the last of a pixel's values first.
REVERSED = re.compile(
    r"((:, ){2,}|\.\.\., )(::-1|\[2, 1, 0\])|(:, )?\[2, 1, 0\](, :)*|::-1(, :){2}"
)


def target_of(source: Source, call: ast.Call) -> str:
    """Return to which of RGB, BGR and L cv2.cvtColor converts; "" for another conversion."""
    code = chain(argument(call, 1, "code")).rpartition(".")[2]
    match = re.fullmatch(r"COLOR_(RGB|BGR)A?2(RGB|BGR|GRAY)", code)
    return {"GRAY": "L"}.get(match[2], match[2]) if match else ""


def blue_first(source: Source) -> str:
    """Return where a file gives the network images whose first channel is blue; "" if it does not.

    OpenCV reads them so. Functions that read no images are taken to be called after those that do.
    """
    reads: list[tuple[str, ast.AST]] = []
    effects: list[tuple[str, ast.AST]] = []
    for nodes in bodies(source):
        order, place, steps = "", None, []
        for node in nodes:
            step = colour_step(source, node)
            if step.startswith("read "):
                order, place = step.removeprefix("read "), node
            elif step and place is not None:
                order, place = after(order, step), node
            elif step:
                steps.append((step, node))
        if place is None:
            effects += steps
        else:
            reads.append((order, place))
    for order, place in reads or [("RGB", source.tree)]:
        for step, node in effects:
            order, place = after(order, step), node
        if order == "BGR":
            return source.at(place)
    return ""


def bodies(source: Source) -> Iterator[list[ast.AST]]:
    """Yield the nodes of each function of a file, and of the rest, as they are computed."""
    nodes = sorted(source.nodes, key=end_of)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [x for x in source.nodes if isinstance(x, kinds)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for function in functions:
        own = {id(node) for node in ast.walk(function)}
        yield [x for x in nodes if id(x) in own]
    yield [x for x in nodes if id(x) not in inside]


def end_of(node: ast.AST) -> tuple[int, int]:
    """Return where a node ends: what is within it ends before."""
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def colour_step(source: Source, node: ast.AST) -> str:
    """Return what a node does to the order of colours: "read BGR", "RGB", "turn", or ""."""
    if isinstance(node, ast.Subscript):
        return "turn" if REVERSED.fullmatch(ast.unparse(node.slice).strip("()")) else ""
    if not isinstance(node, ast.Call):
        return ""
    name = source.full_name(node.func)
    if name in ("cv2.imread", "cv2.imdecode"):
        flag = argument(node, 1, "flags")
        shown = ast.unparse(flag) if flag is not None else ""
        if shown == "0" or shown.endswith("GRAYSCALE"):
            return "read L"
        return "read RGB" if shown.endswith("COLOR_RGB") else "read BGR"
    if name in ("PIL.Image.open", "imageio.imread", "skimage.io.imread"):
        return "read RGB"
    return target_of(source, node) if name == "cv2.cvtColor" else ""


def after(order: str, step: str) -> str:
    """Return the order of colours after a step."""
    turned = {"RGB": "BGR", "BGR": "RGB"}
    return turned.get(order, order) if step == "turn" else step


def converted_modes(source: Source) -> dict[str, str]:
    """Return the modes to which images are converted, as in image.convert("L"), with places."""
    modes: dict[str, str] = {}
    for node in source.nodes:
        match node:
            case ast.Call() if source.full_name(node.func) == "cv2.cvtColor":
                if target_of(source, node) == "L":
                    modes.setdefault("L", source.at(node))
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
    while isinstance(values, (tuple, list)) and len(values) == 1 and not is_plain(values[0]):
        values = values[0]  # of the shape (1, 3, 1, 1)
    if isinstance(values, (tuple, list)):
        values = [x[0] if not is_plain(x) and len(x) == 1 else x for x in values]
        values = [x[0] if not is_plain(x) and len(x) == 1 else x for x in values]
    if not isinstance(values, (tuple, list)) or len(values) not in (1, 3):
        return ()
    return tuple(values) if all(isinstance(x, (int, float)) for x in values) else ()


def is_plain(value: Any) -> bool:
    """Tell whether a value is no list of others."""
    return not isinstance(value, (tuple, list))


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
    if not all(found.std or (1,)):
        unclear.append(f"{found.where}: std is 0")
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
