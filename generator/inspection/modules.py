"""Compares the layers of a pickled network with those of the architecture that its weights fit.

A pickle of a whole network (`torch.save(model)`) names the class of each layer and keeps its
attributes: a stride, a padding, an activation, which weights do not show. `modules.json.gz` has
the same of torchvision's networks. It is built by `ts-template catalogue` and read without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from generator import catalogue
from generator.inspection import signatures
from generator.rendering import HERE

PATH = HERE / "modules.json.gz"
MANY, MAX_DEPTH = 64, 4  # entries of a list, and lists in lists, that attributes have


@dataclass(frozen=True)
class Module:
    """A layer, or what holds layers.

    Attributes:
        cls: full name of its class.
        attributes: those of its own that are numbers, texts or lists of them.
        has_hooks: whether functions run before or after it.
        is_patched: whether its `forward` is not its class's.
        transform_input: whether it rescales its input, if it is a network that may.
        timm: the name under which timm built the network, "" if it did not.
    """

    cls: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    has_hooks: bool = False
    is_patched: bool = False
    transform_input: bool | None = None
    timm: str = ""

    @property
    def name(self) -> str:
        """The name of its class, without the package."""
        return self.cls.rpartition(".")[2]

    def __str__(self) -> str:
        """Return its class as people write it."""
        return f"nn.{self.name}" if self.cls.startswith("torch.nn.") else self.cls


Modules = Mapping[str, Module]  # by dotted path; "" is the network itself

# What shapes show, what training alone needs, and what changes no output.
UNTOLD = re.compile(
    r"_.*|training|inplace|momentum|p|.*drop.*|in_.*|out_.*|num_features|normalized_shape|inplanes"
    r"|num_classes|image_size|seq_length|aux_logits|aux_loss|memory_efficient|transform_input"
    r"|representation_size|num_parameters|track_running_stats|output_padding|transposed|layer_id"
)
# Layers that change nothing in a network that serves.
INERT = re.compile(r"Dropout(1d|2d|3d)?|AlphaDropout|FeatureAlphaDropout|Identity|StochasticDepth")
# Other classes that compute the same with the same weights.
SAME = {
    "SyncBatchNorm": "BatchNorm2d",
    "FrozenBatchNorm2d": "BatchNorm2d",
    "NonDynamicallyQuantizableLinear": "Linear",
    "_LinearWithBias": "Linear",
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def module_of(cls: str, state: dict[str, Any]) -> Module:
    """Return what is told of a module by its class and its `__dict__`."""
    serving = {  # of a detector's proposals, for training and for serving
        name.removeprefix("_"): value["testing"]
        for name, value in state.items()
        if name.endswith("_nms_top_n") and isinstance(value, dict) and "testing" in value
    }
    return Module(
        cls,
        {
            name: plain(value)
            for name, value in (state | serving).items()
            if not UNTOLD.fullmatch(name) and is_plain(value)
        },
        has_hooks=any(bool(state.get(name)) for name in HOOKS),
        is_patched="forward" in state,
        transform_input=x if isinstance(x := state.get("transform_input"), bool) else None,
        timm=timm_name(state) if cls.startswith("timm.") else "",
    )


def timm_name(state: Mapping[str, Any]) -> str:
    """Return the name of one of timm's networks, which keep it among their attributes."""
    for key in ("pretrained_cfg", "default_cfg"):
        match state.get(key):
            case {"architecture": str() as name, **rest}:
                tag = rest.get("tag")
                return f"{name}.{tag}" if isinstance(tag, str) and tag else name
    return ""


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether a value is a number, a text, None, or a short list of these or of such lists."""
    if isinstance(value, list | tuple):
        is_short = len(value) <= 8 and depth < MAX_DEPTH
        return is_short and all(x is not None and is_plain(x, depth + 1) for x in value)
    return value is None or isinstance(value, bool | int | float | str)


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON has it; of lists no more than modules have."""
    if not isinstance(value, list | tuple):
        return value
    return [plain(x, depth + 1) for x in value[:MANY]] if depth < MAX_DEPTH else []


# ------------------------------------------------------------------------------------- comparing


# What a detector is built with and weights do not show: attributes by the paths of modules.
TRANSFORM = {
    "min_size": "image_size",
    "max_size": "max_size",
    "image_mean": "mean",
    "image_std": "std",
}
# Attributes of what finds the boxes, and arguments of what builds it, with the question of each.
LIMITS = {
    "score_thresh": "score_threshold",
    "nms_thresh": "nms_threshold",
    "detections_per_img": "max_detections",
}


def detection(arch: catalogue.Arch, found: Modules) -> dict[str, Any]:
    """Return the answers that a pickled detector gives; {} for other networks, and without one.

    Args:
        arch: what the weights fit.
        found: its modules.
    """
    if not arch.detection or "transform" not in found:
        return {}
    own = {"image_size": arch.input_size, "max_size": arch.detection["max_size"]}
    own |= {"mean": list(arch.mean), "std": list(arch.std)}
    scaled = {
        TRANSFORM[key]: x for key, x in found["transform"].attributes.items() if key in TRANSFORM
    }
    if sizes := scaled.get("image_size"):
        scaled["image_size"] = sizes[-1] if isinstance(sizes, list) else sizes
    if not own["max_size"]:  # images become squares of one size
        scaled["max_size"] = 0
    answers: dict[str, Any] = {"transforms": "pretrained"}
    if own | scaled != own:
        answers = {"transforms": "custom"} | own | scaled
        if not own["max_size"]:
            del answers["max_size"]
    holder = found.get("roi_heads", found[""])
    for name, question in LIMITS.items():
        limit = holder.attributes.get(name)
        # The others' own values are for the measures of training: they tell nothing of a service.
        is_usual = name != "nms_thresh" and limit == arch.detection[name]
        if isinstance(limit, int | float) and not is_usual:
            answers[question] = limit
    if arch.detection["coco_eps"]:
        eps = {
            x.attributes["eps"]
            for x in found.values()
            if "BatchNorm2d" in x.name and "eps" in x.attributes
        }
        if eps in ({0.0}, {1e-5}):
            answers["coco_eps"] = eps == {0.0}
    return answers


def differences(
    name: str, found: Modules, outside: tuple[str, ...], told: Mapping[str, Any]
) -> list[str]:
    """Return in what a pickled network differs from torchvision's of this name, for people.

    Args:
        name: of the network.
        found: its modules.
        outside: what the paths begin with that are not compared: of the last layers.
        told: answers that say in what it differs.
    """
    own = load(name)
    lines: list[str] = []
    for path, wanted in own.items():
        if f"{path}.".startswith(outside):
            continue
        there = found.get(path)
        parent = own.get(path.rpartition(".")[0])
        if there is not None:
            lines += compare(path, wanted, there, told)
        elif parent is not None and parent.name == "Sequential" and not is_inert(wanted):
            lines.append(f"{path}, {wanted}, is missing")
    for path, there in found.items():
        parent = own.get(path.rpartition(".")[0])
        is_more = parent is not None and parent.name == "Sequential" and path not in own
        if is_more and not f"{path}.".startswith(outside) and not is_inert(there):
            lines.append(f"{path}, {there}, is more than the architecture has")
    return lines


def is_told(path: str, key: str, told: Mapping[str, Any]) -> bool:
    """Tell whether an answer says what an attribute of a detector is."""
    if path == "transform":
        return key in TRANSFORM and "transforms" in told
    if path in ("", "roi_heads") and key in LIMITS:
        return "nms_threshold" in told
    return key == "eps" and "coco_eps" in told


def compare(path: str, wanted: Module, found: Module, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what two modules at one path differ."""
    shown = path or "the network"
    if found.has_hooks:
        yield f"{shown} has a forward hook, which changes what it computes"
    if found.is_patched:
        yield f"{shown} has a forward() of its own"
    if is_inert(wanted) and is_inert(found):
        return
    if not is_same_class(wanted, found):
        yield f"{shown} is {found}, not {wanted}"
        return
    for key, value in wanted.attributes.items():
        if is_told(path, key, told):
            continue
        if key in found.attributes and not is_same(value, found.attributes[key]):
            yield f"{shown}.{key} is {written(found.attributes[key])}, not {written(value)}"


def written(value: Any) -> str:
    """Return a value as people write it."""
    return repr(as_tuples(value))


def as_tuples(value: Any) -> Any:
    """Return a value with tuples in place of lists."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def is_inert(module: Module) -> bool:
    """Tell whether a module returns what it gets, once it serves."""
    return INERT.fullmatch(module.name) is not None


def is_same_class(wanted: Module, found: Module) -> bool:
    """Tell whether one class computes as the other; those of torchvision changed their names."""
    if wanted.cls.startswith("torchvision."):
        return found.cls.startswith("torchvision.") or SAME.get(found.name) == wanted.name
    if found.cls.startswith("torchvision.") and wanted.name in ("Sequential", "ModuleList"):
        return True
    names = (SAME.get(module.name, module.name) for module in (wanted, found))
    return len(set(names)) == 1 and found.cls.startswith(("torch.", "torchvision."))


def is_same(wanted: Any, found: Any) -> bool:
    """Tell whether two values mean the same: 3 is as good as [3, 3]."""
    one, other = ([x] if not isinstance(x, list) else x for x in (wanted, found))
    is_nested = any(isinstance(x, list) for x in (*one, *other))
    if not is_nested and len(one) != len(other) and 1 in (len(one), len(other)):
        return len({*one, *other}) == 1
    return one == other


# -------------------------------------------------------------------------------- what is stored


@cache
def stored() -> Any:
    """Return the content of modules.json.gz; shared, so do not change it."""
    return signatures.read(PATH)


@cache
def load(name: str) -> Modules:
    """Return the modules of a network of torchvision; shared, so do not change them."""
    kinds = [Module(cls, attributes) for cls, attributes in stored()["kinds"]]
    return {path: kinds[number] for path, number in stored()["networks"][name].items()}


def build() -> dict[str, Any]:
    """Derive the content of modules.json.gz from the installed torchvision."""
    archs = catalogue.load()
    kinds: list[list[Any]] = []
    networks: dict[str, dict[str, int]] = {}
    for name, arch in archs.items():
        if name in catalogue.OTHERS:
            continue
        network = catalogue.meta_model(name, catalogue.IMAGENET_CLASSES, **arch.kwargs)
        networks[name] = {}
        for path, module in network.named_modules():
            cls = f"{type(module).__module__}.{type(module).__qualname__}"
            found = module_of(cls, vars(module))
            kind = [found.cls, dict(found.attributes)]
            if kind not in kinds:
                kinds.append(kind)
            networks[name][path] = kinds.index(kind)
    return {"kinds": kinds, "networks": networks}


def write() -> bool:
    """Build and store the modules of torchvision's networks. Return whether they changed."""
    stored.cache_clear()
    load.cache_clear()
    return signatures.store(build(), PATH)
