"""Describes layers that replace a network's last ones, as the question `head_layers` has them.

Weights show the layers that have some, and in an `nn.Sequential` that counts its layers, where
others stand between them. What those are, an activation or a dropout, a pickled network shows; else
`UNKNOWN` takes their place, which no project is rendered with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from keyword import iskeyword
from typing import Any

from generator.inspection.modules import Module, Modules
from generator.inspection.signatures import COUNTER
from generator.rendering import HERE

UNKNOWN = "?"
MAX_LAYERS = 40
# What a service computes by itself from the scores, so that it is no part of the network there.
ENDS = {"Softmax", "LogSoftmax", "Sigmoid"}

Layers = str | list[str] | dict[str, str]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Described:
    """Layers in place of a network's last ones.

    Attributes:
        layers: the answer to `head_layers`: the only layer, or a list, or layers by their names.
        classes: how many they tell apart.
        source: the name of the weight whose rows are the classes, below the module's.
        end: the class of a last layer that is left out, as a service computes it; "" if none is.
    """

    layers: Layers
    classes: int
    source: str
    end: str = ""

    @property
    def texts(self) -> list[str]:
        """The layers, without their names."""
        if isinstance(self.layers, str):
            return [self.layers]
        return list(self.layers.values() if isinstance(self.layers, dict) else self.layers)

    @property
    def is_open(self) -> bool:
        """Whether the file does not tell all that stands there."""
        return UNKNOWN in self.texts


@cache
def kinds() -> dict[str, dict[str, Any]]:
    """Return what is known of each layer but `linear`, by its name in an answer."""
    content: dict[str, dict[str, Any]] = json.loads((HERE / "layers.json").read_text("utf-8"))
    return content


def describe(shapes: Shapes, inputs: tuple[int, ...], modules: Modules | None) -> Described | None:
    """Describe the layers in a module; None if they are no chain of layers that answers name.

    Args:
        shapes: names below the module, and shapes.
        inputs: shape of what the module gets, as `Arch.whole_in`.
        modules: what is below it in a pickled network, "" itself; None if weights alone are known.
    """
    groups = grouped(shapes)
    if groups is None or not inputs:
        return None
    known: dict[str, str] = {}
    features = inputs[0]
    for name in ordered(groups, features):
        text, features = layer_of(groups[name], features)
        if text is None:
            return None
        known[name] = text
    linear = [name for name, text in known.items() if text.startswith("linear")]
    if not linear:
        return None
    source = linear[-1]
    classes = groups[source]["weight"][0]
    # The last one has as many units as there are classes, whatever a project is rendered for.
    known[source] = known[source].replace(f" {classes}", "", 1)
    found = with_modules(known, modules) if modules else with_gaps(known, inputs)
    if found is None:
        return None
    return replace(found, classes=classes, source=f"{source}.weight".lstrip("."))


def grouped(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]] | None:
    """Return the shapes by layer; None if there are layers in layers."""
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        module, _, name = key.rpartition(".")
        if "." in module:
            return None
        if name != COUNTER:
            groups.setdefault(module, {})[name] = shape
    are_numbers = {name.isdecimal() for name in groups}
    are_names = all(not name or name.isdecimal() or is_name(name) for name in groups)
    return groups if len(are_numbers) == 1 and are_names and len(groups) <= MAX_LAYERS else None


def is_name(text: str) -> bool:
    """Tell whether Python takes this as the name of a layer, and `head_layers` as well."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", text) is not None and not iskeyword(text)


def ordered(groups: Mapping[str, Shapes], features: int) -> Iterator[str]:
    """Yield the layers in the order that they are applied in.

    Numbers tell it. Names of one's own are in the file's order, which safetensors sort: then the
    shapes tell it, where each layer fits one place alone.
    """
    if all(name.isdecimal() for name in groups):
        yield from sorted(groups, key=int)
        return
    left = dict(groups)
    while left:
        fitting = [name for name, shapes in left.items() if takes(shapes, features)]
        # A normalisation fits wherever its size does: it comes after what makes this size.
        name = next(iter(fitting or left))
        yield name
        features = left.pop(name).get("weight", (features,))[0]


def takes(shapes: Shapes, features: int) -> bool:
    """Tell whether a layer takes so many features."""
    weight = shapes.get("weight", ())
    return bool(weight) and weight[-1] == features


def layer_of(shapes: Shapes, features: int) -> tuple[str | None, int]:
    """Return a layer as an answer has it, and how many features it gives; None for another."""
    names, weight = set(shapes), shapes.get("weight", ())
    match weight:
        case (rows, columns) if columns == features and names <= {"weight", "bias"}:
            return f"linear {rows}" + " bias=False" * ("bias" not in names), rows
        case (count,) if count == features and all(x == weight for x in shapes.values()):
            if names == {"weight", "bias", "running_mean", "running_var"}:
                return "batchnorm", features
            if names == {"weight", "bias"}:
                return "layernorm", features
        case (1,) if names == {"weight"}:
            return "prelu", features
    return None, 0


def with_gaps(known: Mapping[str, str], inputs: tuple[int, ...]) -> Described | None:
    """Return the layers with `UNKNOWN` where weights do not show what stands there.

    Before the first weights it is taken for a dropout, which changes nothing in a service, or where
    there are maps of features for what makes vectors of these.
    """
    if list(known) == [""]:
        return Described(known[""], 0, "") if len(inputs) == 1 else None
    if not all(name.isdecimal() for name in known):
        return Described(named(known), 0, "")
    last = max(map(int, known))
    if last >= MAX_LAYERS:
        return None
    layers = [known.get(str(number), UNKNOWN) for number in range(last + 1)]
    if layers[0] == UNKNOWN and len(layers) > 1 and layers[1] != UNKNOWN:
        layers[0] = "dropout" if len(inputs) == 1 else "flatten"
    return Described(layers, 0, "")


def named(known: Mapping[str, str]) -> dict[str, str]:
    """Return named layers, with a question between each two linear ones that follow each other."""
    layers: dict[str, str] = {}
    has_linear = False
    for name, text in known.items():
        if text.startswith("linear"):
            if has_linear:
                layers[f"before_{name}"] = UNKNOWN
            has_linear = True
        layers[name] = text
    return layers


def with_modules(known: Mapping[str, str], modules: Modules) -> Described | None:
    """Return the layers as a pickled network has them; None if an answer cannot name one."""
    top = modules.get("", Module(""))
    if list(known) == [""]:
        return Described(known[""], 0, "") if top.name.endswith("Linear") else None
    if top.name != "Sequential" or any("." in path for path in modules):
        return None
    layers = {}
    end = ""
    children = {path: module for path, module in modules.items() if path}
    for number, (path, module) in enumerate(children.items()):
        if module.has_hooks or module.is_patched:
            return None
        if number == len(children) - 1 and module.name in ENDS and path not in known:
            end = module.name
            continue
        text = text_of(module, known.get(path, ""))
        if text is None:
            return None
        layers[path] = text
    if all(name.isdecimal() for name in layers):
        return Described(list(layers.values()), 0, "", end)
    return Described(layers, 0, "", end)


def text_of(module: Module, known: str) -> str | None:
    """Return a layer of a pickled network as an answer has it.

    Args:
        module: the layer.
        known: what its weights show; "" if it has none.
    """
    if known.startswith("linear"):
        return known if module.name == "Linear" else None
    if not module.cls.startswith("torch.nn."):
        return None
    for name, kind in kinds().items():
        if kind["class"] != module.name or (known and name != known):
            continue
        if module.attributes.get("approximate", "none") != "none":
            return None  # of GELU
        argument = kind.get("argument")
        value = module.attributes.get(str(argument))
        if argument in ("negative_slope", "alpha", "eps") and value != DEFAULTS[name]:
            return f"{name} {value}"
        return name
    return None


DEFAULTS = {"leaky_relu": 0.01, "elu": 1.0, "celu": 1.0, "batchnorm": 1e-5, "layernorm": 1e-5}


def as_answer(layers: Layers) -> str:
    """Return layers as they are written after -d."""
    if isinstance(layers, str):
        return layers
    if isinstance(layers, dict):
        return "{" + ", ".join(f"{name}: {quoted(text)}" for name, text in layers.items()) + "}"
    return "[" + ", ".join(map(quoted, layers)) + "]"


def quoted(text: str) -> str:
    """Return a layer as YAML takes it inside brackets."""
    return f'"{text}"' if text == UNKNOWN else text


def answered(layers: Layers, by: Iterable[str]) -> Layers:
    """Return layers in which answers take the place of what is not known, in turn."""
    turn = iter(by)
    if isinstance(layers, dict):
        return {name: next(turn) if x == UNKNOWN else x for name, x in layers.items()}
    if isinstance(layers, list):
        return [next(turn) if x == UNKNOWN else x for x in layers]
    return layers
