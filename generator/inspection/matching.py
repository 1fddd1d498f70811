"""Compares the names and shapes in a file with those of the networks that are known.

A network is recognised when all of its weights are there under one prefix, each with its shape, and
nothing else is under that prefix: a ResNet-18 is in each ResNet-34, a ResNet in its relatives with
attention, and in a segmenter, whose backbone it is. Free are the last layers, the channels of the
image, and the image's size where the weights depend on it. What is not recognised gets the nearest
networks, with what differs.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from generator import catalogue
from generator.catalogue import Arch
from generator.inspection import modules as pickled
from generator.inspection import signatures
from generator.inspection.heads import Described, describe
from generator.inspection.modules import Modules
from generator.inspection.pickles import Tensor
from generator.inspection.refusals import printable
from generator.inspection.signatures import COUNTER, WIDE, Shape
from generator.shared.heads import HEADS

State = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
# Pickled modules, each with the names and shapes of its weights.
Heads = Mapping[str, tuple[State, Modules]]

MAX_PREFIX = 10  # parts of a prefix
MIN_SHARE = 0.2  # of a network's weights, for it to count as near
MIN_TIMM_SHARE = 0.3  # of a file's weights, for a prefix to be compared with timm's networks
MAX_MATCHES = 20  # of networks in a state_dict
MAX_TIMM = 5_000  # weights; no network of timm has as many
NEAREST = 3
EXAMPLES = 3  # of names that differ
STATISTICS = ("running_mean", "running_var", COUNTER)  # which no network trains
# How places and prefixes of a copy are called that training keeps beside what it trains.
COPY = re.compile(
    r"(?<![a-z])(ema|swa|avg|averaged?|shadow|momentum|teacher|target)(?![a-z])", re.IGNORECASE
)
# torchvision's own files of DenseNet still have the names that it used before 2018.
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
NEW_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")

# Names of weights as torch has them; those of values in a graph look like val_3 or onnx::Conv_7.
TORCH_NAME = re.compile(r"(?!onnx::)[A-Za-z_][\w-]*(\.[\w-]+)+")
# What DataParallel and torch.compile put before all names.
WRAPPER = re.compile(r"((module|_orig_mod)\.)*")


@dataclass(frozen=True)
class Head:
    """The last layers.

    Attributes:
        kind: an answer to the `head` question, as far as shapes show it; "other" for layers that
            are none of these; "outside" for layers beside the network, in what wraps it; "none";
            "graph" where the file does not keep its names.
        classes: number of classes, None where the layers do not tell.
        units: of the hidden layer, for the answers that have one.
        layers: names and shapes, as in the file.
        source: the name of the weight whose rows are the classes.
        described: the layers as answers have them, if they replace the architecture's own.
        place: an answer to the `head_place` question.
        is_shown: whether a pickled network shows all of them, those without weights as well.
    """

    kind: str
    classes: int | None = None
    units: int | None = None
    layers: Shapes = field(default_factory=dict)
    source: str = ""
    described: Described | None = None
    place: str = "whole"
    is_shown: bool = False


@dataclass(frozen=True)
class Match:
    """A network that is in a state_dict.

    Attributes:
        name: as torchvision calls it; None for a network of timm alone.
        kind: of network, a key of `catalogue.KINDS`.
        timm: timm's networks with these names and shapes, apart from the last layers.
        prefix: what comes before the network's own names.
        head: the last layers.
        channels: of the image; None where that cannot be told.
        image_size: in pixels, where the weights depend on it.
        parameters: number of trained numbers.
        auxiliary: what the names of auxiliary heads begin with, which only training needs.
        differences: in what a pickled network differs from the architecture, for people.
        transform_input: whether it rescales its input, which a pickled network shows.
        wrapper: the class of the pickled network that the network is a part of; "" if of none.
        others: torchvision's other networks with the same names and shapes.
        told: answers on a detector that names or a pickled network give.
    """

    name: str | None
    kind: str
    timm: tuple[str, ...]
    prefix: str
    head: Head
    channels: int | None
    image_size: int | None
    parameters: int
    auxiliary: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    transform_input: bool | None = None
    wrapper: str = ""
    others: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Near:
    """A network of torchvision that is not in the file, and how far it is from what is.

    Attributes:
        name: as torchvision calls it.
        prefix: what comes before the network's own names.
        share: of its weights that are there with the right shape, 0 to 1.
        missing: names that the network has and the file has not.
        unknown: names that the file has and the network has not.
        reshaped: names with another shape, and both shapes.
        renamed: whether its shapes are there under other names; the lists are empty then.
    """

    name: str
    prefix: str
    share: float
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    renamed: bool = False

    def __str__(self) -> str:
        """Describe it in a line."""
        if self.renamed:
            return f"{self.name}: its shapes are all there, in order, under other names"
        parts = []
        for title, names in (
            ("lacking", self.missing), ("unknown", self.unknown), ("other shape", self.reshaped)
        ):  # fmt: skip
            if names:
                more = ", ..." if len(names) > EXAMPLES else ""
                parts.append(f"{len(names)} {title} ({', '.join(names[:EXAMPLES])}{more})")
        after = f" after {self.prefix}" if self.prefix else ""
        differing = "; ".join(parts) or "what lies beside it makes another network of it"
        return printable(
            f"{self.name}{after}: {self.share:.0%} of its weights are there; {differing}"
        )


# ------------------------------------------------------------------------------------- the known


@dataclass(frozen=True)
class Known:
    """A network of torchvision, prepared for comparison.

    Attributes:
        name: as torchvision calls it.
        arch: what else is known of it.
        shapes: of all its weights.
        buffers: names of the weights that are not trained.
        region: what the names of its last layers begin with. Of a classifier, what comes there
            before the very last may have been replaced with it.
        body: names outside of the region.
        inner: names in the region, before the classifier.
        sized: names whose shape follows the image's size.
        rows: how many rows each class has in a detector's last layers, by name.
        keypoints: the name of the weight with a number for each keypoint; "" if there is none.
    """

    name: str
    arch: Arch
    shapes: Mapping[str, Shape]
    buffers: frozenset[str]
    region: tuple[str, ...]
    body: tuple[str, ...]
    inner: tuple[str, ...]
    sized: tuple[str, ...]
    rows: Mapping[str, int]
    keypoints: str

    @property
    def kind(self) -> str:
        """The kind of network."""
        return self.arch.kinds[0]

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """What the names of its auxiliary heads begin with."""
        return tuple(f"{name}." for name in self.arch.aux)

    def own(self, state: State, prefix: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes below a prefix, under the names that torchvision has for them now.

        Auxiliary heads, which only training has, are left out.
        """
        shapes = below(state, prefix)
        if self.auxiliary:
            return {key: x for key, x in shapes.items() if not key.startswith(self.auxiliary)}
        if self.arch.family == "densenet":
            return {OLD_NAME.sub(r"\1\2", key): x for key, x in shapes.items()}
        return shapes

    def is_known(self, key: str) -> bool:
        """Tell whether the network has a weight of this name."""
        if key in self.shapes or key.startswith(self.region):
            return True
        module, _, last = key.rpartition(".")
        return last == COUNTER and f"{module}.running_mean" in self.shapes


@cache
def known() -> dict[str, Known]:
    """Return torchvision's networks; shared, so do not change them."""
    archs = catalogue.load()
    networks = {}
    for name, signature in signatures.load().items():
        arch = archs[name.removesuffix(WIDE)]
        shapes = signature.shapes
        last: tuple[str, ...] = (f"{arch.classifier}.",)
        region: tuple[str, ...] = (arch.classifier.partition(".")[0] + ".",)
        if arch.kinds[0] != "classifier":
            # What comes before a segmenter's last layers tells one of them from another.
            names = signature.rows or (key for key, x in shapes.items() if x[0] is None)
            paths = (key.rpartition(".")[0] for key in names)
            last = region = tuple(dict.fromkeys(f"{path}." for path in paths))
        first = (f"{arch.first_conv}.",)
        points = (f"{signature.keypoints.rpartition('.')[0]}.",) if signature.keypoints else ()
        networks[name] = Known(
            name=name,
            arch=arch,
            shapes=shapes,
            buffers=signature.buffers,
            region=region,
            body=tuple(key for key in shapes if not key.startswith(region)),
            inner=tuple(k for k in shapes if k.startswith(region) and not k.startswith(last)),
            sized=tuple(
                key
                for key, shape in shapes.items()
                if None in shape and not key.startswith(last + first + points)
            ),
            rows=signature.rows,
            keypoints=signature.keypoints,
        )
    return networks


@cache
def index() -> dict[str, list[tuple[str, Shape]]]:
    """Return, for each name of a weight in a body, the networks that have it, and its shape."""
    found: dict[str, list[tuple[str, Shape]]] = defaultdict(list)
    for name, network in known().items():
        for key in network.body:
            found[key].append((name, network.shapes[key]))
            if network.arch.family == "densenet" and (old := NEW_NAME.sub(r"\1.\2", key)) != key:
                found[old].append((name, network.shapes[key]))
    return found


def below(state: State, prefix: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes below a prefix, without it."""
    return {key[len(prefix) :]: x.shape for key, x in state.items() if key.startswith(prefix)}


def fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    """Tell whether a tensor has the shape that a network wants."""
    return shape == wanted or (
        len(shape) == len(wanted)
        and all(m is None or n == m for n, m in zip(shape, wanted, strict=True))
    )


# ------------------------------------------------------------------------------------ recognising


def recognise(
    state: State, modules: Modules | None = None, heads: Heads | None = None
) -> list[Match]:
    """Return the networks in a state_dict: plain ones first, then copies such as EMA's.

    Args:
        state: names and shapes.
        modules: those of the pickled network that it is of, if it is.
        heads: pickled modules that lie beside it, of which one may be its last layers, by name.
    """
    networks = known()
    complete = [
        (networks[name], prefix)
        for (name, prefix), count in shared_weights(state).items()
        if count >= len(networks[name].body)
    ]
    found = [
        match
        for network, prefix in complete[:MAX_MATCHES]
        if (match := verify(network, state, prefix, modules, heads or {})) is not None
    ]
    found = with_outer_heads(together(without_backbones(found)), state)
    if not found:
        found = with_outer_heads(recognise_timm(state), state)
    return sorted(found, key=lambda match: (is_copy(match.prefix), match.prefix.count(".")))


def without_backbones(matches: list[Match]) -> list[Match]:
    """Leave out the classifiers that are part of a segmenter or a detector."""
    whole = tuple(match.prefix for match in matches if match.kind != "classifier")
    return [m for m in matches if m.kind != "classifier" or not m.prefix.startswith(whole)]


def together(matches: list[Match]) -> list[Match]:
    """Make one match of those that are at one place: of networks with the same names and shapes."""
    by_prefix: dict[str, list[Match]] = defaultdict(list)
    for match in matches:
        by_prefix[match.prefix].append(match)
    found = []
    for same in by_prefix.values():
        shown = [match for match in same if match.told.get("transforms") == "pretrained"]
        first, *rest = shown if len(shown) == 1 else same
        found.append(replace(first, others=tuple(str(match.name) for match in rest)))
    return found


def is_copy(place: str) -> bool:
    """Tell whether the weights at a place are called a copy, such as EMA's."""
    return bool(COPY.search(place))


def shared_weights(state: State) -> Counter[tuple[str, str]]:
    """Count, for each network and prefix, how many weights of the body are there."""
    counts: Counter[tuple[str, str]] = Counter()
    for key, tensor in state.items():
        start = 0
        for _ in range(MAX_PREFIX):
            for name, wanted in index().get(key[start:], ()):
                if fits(tensor.shape, wanted):
                    counts[name, key[:start]] += 1
            start = key.find(".", start) + 1
            if not start:
                break
    return counts


def verify(
    network: Known, state: State, prefix: str, modules: Modules | None, heads: Heads
) -> Match | None:
    """Return the match if the network is there as a whole, with nothing unknown beside it."""
    arch = network.arch
    own = network.own(state, prefix)
    for key in network.body:
        if key not in own or not fits(own[key], network.shapes[key]):
            return None
    if not all(map(network.is_known, own)):
        return None
    is_classifier = network.kind == "classifier"
    timm = [name for _, _, names in timm_pairs(own) for name in names] if is_classifier else []
    present = {key for key in network.auxiliary if any(x.startswith(prefix + key) for x in state)}
    shown = modules_below(modules, prefix) if modules else None
    is_timm = shown is not None and bool(timm) and shown[""].cls.startswith("timm.")
    if shown is not None and not is_timm:  # the classes tell that it is none of timm's
        timm = []
    if is_classifier:
        head = head_of(network, own, prefix, shown or head_beside(network, own, heads))
    else:
        head = head_by_rows(network, own, prefix)
    differences: list[str] = []
    told = pickled.detection(arch, shown or {})
    if arch.detection and arch.detection["coco_eps"] and not told and counts(state, prefix):
        told = {
            "coco_eps": False
        }  # with COCO weights, torchvision builds layers that count nothing
    if arch.detection and arch.detection["wide_tail"]:
        told = {**told, "wide_tail": network.name.endswith(WIDE)}
    outside: tuple[str, ...] = ()  # of what is compared
    if arch.detection and (points := network.keypoints):
        outside = (points.rpartition(".")[0] + ".",)
        if (count := own[points][0]) != arch.detection["keypoints"]:
            told = {**told, "keypoint_names": count}
    if shown is not None and not is_timm:
        last = (f"{arch.classifier}.",) if head.place == "last" else network.region
        outside += (*last, *network.auxiliary)
        differences = pickled.differences(network.name.removesuffix(WIDE), shown, outside, told)
    return Match(
        name=None if is_timm else network.name.removesuffix(WIDE),
        kind=network.kind,
        timm=tuple(timm),
        prefix=prefix,
        head=head,
        channels=own[f"{arch.first_conv}.weight"][1],
        image_size=image_size(network, own),
        parameters=count_parameters(own, network.buffers),
        auxiliary=tuple(prefix + key for key in network.auxiliary if key in present),
        differences=tuple(differences),
        transform_input=shown[""].transform_input if shown else None,
        wrapper=modules[""].cls if modules and prefix else "",
        told=told,
    )


def head_beside(network: Known, own: Shapes, heads: Heads) -> Modules | None:
    """Return the modules of the last layers that lie pickled beside the weights, by their paths."""
    for start in (*network.region, f"{network.arch.classifier}."):
        name = start.removesuffix(".")
        state, modules = heads.get(name, ({}, {}))
        shapes = {f"{start}{key}": tensor.shape for key, tensor in state.items()}
        if shapes and shapes == {key: x for key, x in own.items() if key.startswith(start)}:
            return {f"{name}.{path}".removesuffix("."): x for path, x in modules.items()}
    return None


def counts(state: State, prefix: str) -> bool:
    """Tell whether layers below a prefix count batches, as plain batch normalisation does."""
    return any(key.startswith(prefix) and key.endswith(COUNTER) for key in state)


def modules_below(modules: Modules, prefix: str) -> Modules:
    """Return the modules below a prefix, without it; "" is what they are in."""
    top = prefix.removesuffix(".")
    inside = {path[len(prefix) :]: x for path, x in modules.items() if path.startswith(prefix)}
    return {"": modules[top], **inside} if top in modules else {"": pickled.Module(""), **inside}


def image_size(network: Known, own: Shapes) -> int | None:
    """Return the side of the image, from the number of positions: one for each patch and one."""
    patch = own[f"{network.arch.first_conv}.weight"][-1]
    for key in network.sized:
        (count,) = (n for n, m in zip(own[key], network.shapes[key], strict=True) if m is None)
        side = math.isqrt(max(count - 1, 0))
        return side * patch if side and side * side == count - 1 else None
    return None


def count_parameters(shapes: Shapes, buffers: Iterable[str] = ()) -> int:
    """Return how many numbers a network trains."""
    left_out = set(buffers)
    return sum(
        math.prod(shape)
        for key, shape in shapes.items()
        if key not in left_out and not key.endswith(STATISTICS)
    )


# -------------------------------------------------------------------------------------- the head


def head_of(network: Known, own: Shapes, prefix: str, modules: Modules | None) -> Head:
    """Return the last layers of a classifier whose body is there."""
    arch = network.arch
    region = {key: shape for key, shape in own.items() if key.startswith(network.region)}
    if not region:
        return Head("none")
    last = f"{arch.classifier}."
    layers = {key[len(last) :]: x for key, x in region.items() if key.startswith(last)}
    shown = {prefix + key: shape for key, shape in region.items()}
    is_whole = len(region) - len(layers) == len(network.inner) and all(
        key in region and fits(region[key], network.shapes[key]) for key in network.inner
    )
    (start,) = network.region
    place, inputs = "whole", arch.whole_in
    if is_whole:
        shown = {prefix + last + name: shape for name, shape in layers.items()}
        if last != start:
            place, inputs, start = "last", (arch.classifier_in,), last
        matrices = tuple(sorted((name for name in layers if name.endswith("weight")), key=natural))
        kind = HEADS.get(matrices)
        wanted = head_shapes(arch, kind, [layers[name] for name in matrices]) if kind else None
        if kind and layers == wanted:
            rows = [layers[name][0] for name in matrices]
            units = rows[0] if len(rows) > 1 else None
            head = Head(kind, rows[-1], units, shown, prefix + last + matrices[-1], place=place)
            return with_layers(head, layers, inputs, modules, start)
    source = last_matrix(shown, arch.classifier_in if is_whole else None)
    head = Head("other", shown[source][0] if source else None, None, shown, source, place=place)
    if arch.classifier_kind != "Linear":
        return head
    replacing = {key[len(start) :]: x for key, x in region.items() if key.startswith(start)}
    return with_layers(head, replacing, inputs, modules, start, prefix)


def with_layers(
    head: Head,
    layers: Shapes,
    inputs: tuple[int, ...],
    modules: Modules | None,
    start: str,
    prefix: str = "",
) -> Head:
    """Return the head with the layers that it is of, as far as answers can name them.

    Args:
        head: as shapes alone show it.
        layers: names below the module that is replaced, and shapes.
        inputs: shape of what this module gets.
        modules: of a pickled network, which shows layers without weights, too.
        start: the name of the module, with the dot after it.
        prefix: what comes before the network's own names.
    """
    shown = modules_below(modules, start) if modules else None
    described = describe(layers, inputs, shown)
    if shown is not None:
        is_plain = head.kind == "linear" and shown[""].name in ("Linear", "Conv2d")
        if is_plain and not (shown[""].has_hooks or shown[""].is_patched):
            return replace(head, is_shown=True)
        if described is None:
            return replace(head, kind="other", units=None)
        found = "layers" if head.kind == "other" else simple_head(described)
        units = head.units if found.startswith("mlp") else None
        classes, source = described.classes, f"{prefix}{start}{described.source}"
        return replace(
            head, kind=found, classes=classes, units=units, described=described, is_shown=True,
            source=head.source or source,
        )  # fmt: skip
    if described is None or head.kind == "linear":
        return head
    head = replace(head, described=described)
    if head.kind == "other":
        source = f"{prefix}{start}{described.source}"
        return replace(head, kind="layers", classes=described.classes, source=source)
    return head


def simple_head(described: Described) -> str:
    """Return the answer to the `head` question for layers that are all known."""
    match described.layers:
        case ["dropout", "linear"]:
            return "dropout"
        case [first, "relu", "linear"] if first.startswith("linear ") and "=" not in first:
            return "mlp"
        case [first, "relu", "dropout", "linear"] if first.startswith("linear ") and (
            "=" not in first
        ):
            return "mlp_dropout"
    return "layers"


def head_by_rows(network: Known, own: Shapes, prefix: str) -> Head:
    """Return the last layers of a segmenter or a detector whose body is there."""
    shown = {prefix + key: x for key, x in own.items() if key.startswith(network.region)}
    if not shown:
        return Head("none")
    wanted = {key: x for key, x in network.shapes.items() if key.startswith(network.region)}
    source = f"{prefix}{network.arch.classifier}.weight"
    is_plain = shown.keys() == {prefix + key for key in wanted} and all(
        fits(shown[prefix + key], shape) for key, shape in wanted.items()
    )
    classes = {
        shape[0] / network.rows.get(key.removeprefix(prefix), 1)
        for key, shape in shown.items()
        if shape
    }
    if is_plain and len(classes) == 1 and (count := classes.pop()).is_integer():
        return Head("linear", int(count), None, shown, source)
    source = last_matrix(shown, None) if len(network.region) == 1 else ""
    return Head("other", shown[source][0] if source else None, None, shown, source)


def head_shapes(
    arch: Arch, kind: str, found: list[tuple[int, ...]]
) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes that a head of this kind has, with the units and classes that were found.

    None if it cannot be: a convolution is not replaced by these heads.
    """
    (matrices,) = (names for names, value in HEADS.items() if value == kind)
    inputs = arch.classifier_in
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in zip(matrices, found, strict=True):
        kernel = (1, 1) if arch.classifier_kind == "Conv2d" else ()
        if not shape or (kernel and kind != "linear"):
            return None
        shapes[name] = (shape[0], inputs, *kernel)
        if kind != "linear" or arch.classifier_bias:
            shapes[name.removesuffix("weight") + "bias"] = (shape[0],)
        inputs = shape[0]
    return shapes


def last_matrix(layers: Shapes, inputs: int | None) -> str:
    """Return the name of the matrix that gives the classes, "" if that cannot be told.

    It can be where the layers form a chain: each takes what the one before it gives.

    Args:
        layers: names and shapes.
        inputs: what the first takes, if that is known.
    """
    matrices = [
        key for key, x in layers.items() if len(x) == 2 or (len(x) == 4 and x[2:] == (1, 1))
    ]
    if all(any(part.isdecimal() for part in key.split(".")) for key in matrices):
        matrices.sort(key=natural)  # safetensors come in alphabetical order: 10 before 2
    for key in matrices:
        if inputs is not None and layers[key][1] != inputs:
            return ""
        inputs = layers[key][0]
    return matrices[-1] if matrices else ""


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key to sort by that has 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def with_outer_heads(matches: list[Match], state: State) -> list[Match]:
    """Find the heads of networks that go on in what wraps them; leave out what is none then.

    A backbone of a detector or of a segmenter is no classifier: what is beside it convolves.
    """
    prefixes = tuple(match.prefix for match in matches)
    outer = {key: x.shape for key, x in state.items() if not key.startswith(prefixes)}
    inputs = {shape[1] for shape in outer.values() if len(shape) == 2}
    is_classifier = all(len(shape) <= 2 for shape in outer.values())
    found = []
    for match in matches:
        if match.kind != "classifier":
            found.append(match)
        elif match.head.kind == "none" and outer:
            network = known().get(match.name or "")
            features = network.arch.classifier_in if network and not network.inner else None
            if is_classifier:
                found.append(replace(match, head=outer_head(outer, features)))
        elif match.head.classes in inputs:  # its scores are not the last
            found.append(replace(match, head=outer_head(outer, match.head.classes)))
        else:
            found.append(match)
    return found


def outer_head(layers: Shapes, inputs: int | None) -> Head:
    """Return the head that lies beside a network."""
    source = last_matrix(layers, inputs)
    return Head("outside", layers[source][0] if source else None, None, layers, source)


# ------------------------------------------------------------------------------------------ ONNX


def recognise_onnx(weights: State) -> list[Match]:
    """Return the one network of torchvision whose weights an ONNX file has, or none.

    An export folds the normalisation of a batch into the convolution before it, which has a bias
    then; it turns matrices around, and computes what depends on no image, which then get other
    names. What is left must be there, and nothing unknown; and it must fit one network alone.
    """
    found = [
        match
        for (name, prefix), _ in shared_weights(weights).most_common(MAX_MATCHES)
        if (match := verify_onnx(known()[name], weights, prefix)) is not None
    ]
    found = [
        match
        for match in without_backbones(found)
        if match.kind != "classifier" or not convolves_beside(weights, match.prefix)
    ]
    return found if len(found) == 1 else []


def convolves_beside(weights: State, prefix: str) -> bool:
    """Tell whether convolutions lie beside what is below a prefix, as beside a backbone."""
    return any(
        len(x.shape) == 4 and x.shape[2:] != (1, 1)
        for key, x in weights.items()
        if TORCH_NAME.fullmatch(key) and not key.startswith(prefix)
    )


def verify_onnx(network: Known, weights: State, prefix: str) -> Match | None:
    """Return the match if what an export leaves of the network is there, and nothing unknown."""
    own = {
        key: shape
        for key, shape in below(weights, prefix).items()
        if (key in network.shapes or TORCH_NAME.fullmatch(prefix + key))
        and not key.startswith(network.auxiliary)
    }
    unnamed = {x.shape for key, x in weights.items() if not TORCH_NAME.fullmatch(key)}
    normalised = {
        key.removesuffix("running_mean") for key in network.buffers if key.endswith("running_mean")
    }
    folded = set()  # shapes
    for key in network.body:
        module, _, last = key.rpartition(".")
        wanted = network.shapes[key]
        may_fold = f"{module}." in normalised
        if key in own:
            if not fits(own[key], wanted):
                return None
            if may_fold and last == "weight" and f"{module}.running_mean" not in own:
                return None
        elif may_fold:
            folded.add(wanted)
        elif not (len(wanted) == 2 or key in network.buffers or is_computed(wanted, unnamed)):
            return None
    convolutions = {key.removesuffix("weight") for key, x in network.shapes.items() if len(x) == 4}
    for key, shape in own.items():
        if key.removesuffix("weight_bias").removesuffix("bias") in convolutions:
            folded.discard(shape)
        elif not network.is_known(key):
            return None
    if folded:  # into nothing
        return None
    channels = own[f"{network.arch.first_conv}.weight"][1]
    rows = own.get(f"{network.arch.classifier}.weight", ())
    return Match(
        name=network.name,
        kind=network.kind,
        timm=(),
        prefix=prefix,
        head=Head("graph", rows[0] if len(rows) == 4 else None),
        channels=channels,
        image_size=None,
        parameters=count_parameters(below(weights, "")),
    )


def is_computed(wanted: Shape, unnamed: Iterable[tuple[int, ...]]) -> bool:
    """Tell whether an export may have computed something of a weight, and kept that without a name.

    Of its shape, or expanded to the number of images. Convolutions keep their names.
    """
    made = (None, *wanted[1:]) if wanted[0] == 1 else wanted
    return len(wanted) != 4 and any(fits(shape, made) for shape in unnamed)


# ------------------------------------------------------------------------------------------ timm


def recognise_timm(state: State) -> list[Match]:
    """Return the networks of timm alone that are in a state_dict, none of them part of another."""
    found: list[Match] = []
    for prefix in sorted(main_prefixes(state), key=len):
        if any(prefix.startswith(other.prefix) for other in found):
            continue
        if (match := verify_timm(state, prefix)) is not None:
            found.append(match)
    return found


def main_prefixes(state: State) -> list[str]:
    """Return the prefixes that a great part of the weights share."""
    counts = Counter({"": len(state)})
    for key in state:
        start = key.find(".") + 1
        for _ in range(MAX_PREFIX):
            if not start:
                break
            counts[key[:start]] += 1
            start = key.find(".", start) + 1
    return [prefix for prefix, count in counts.items() if count >= MIN_TIMM_SHARE * len(state)]


def verify_timm(state: State, prefix: str) -> Match | None:
    """Return the match if what is below a prefix is a network of timm."""
    own = below(state, prefix)
    for last, first, names in timm_pairs(own):
        outside = tuple(f"{name}." for name in last)
        layers = {prefix + key: x for key, x in own.items() if outside and key.startswith(outside)}
        sources = [f"{prefix}{name}.weight" for name in last]
        plain = {*sources, *(f"{prefix}{name}.bias" for name in last)}
        source = sources[0] if sources and sources[0] in layers else ""
        if not layers:
            head = Head("none")
        elif source and plain >= layers.keys():
            head = Head("linear", layers[source][0], None, layers, source)
        else:
            source = last_matrix(layers, None) if len(last) == 1 else ""
            head = Head("other", layers[source][0] if source else None, None, layers, source)
        seeing = own.get(f"{first[0]}.weight", ()) if first else ()
        return Match(
            name=None,
            kind="classifier",
            timm=tuple(names),
            prefix=prefix,
            head=head,
            channels=seeing[1] if len(seeing) == 4 else None,
            image_size=None,
            parameters=count_parameters(own),
        )
    return None


def timm_pairs(
    own: Shapes,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], list[str]]]:
    """Yield last layers, first layers and names of timm's networks with these shapes."""
    if len(own) > MAX_TIMM:
        return
    stored = signatures.load_timm()
    for last, first in stored.layers:
        if all(f"{name}.weight" in own for name in first) and (
            names := stored.names.get(signatures.digest(own.items(), last, first))
        ):
            yield last, first, names


def wrapper_of(state: State) -> str:
    """Return what DataParallel and torch.compile put before all names."""
    prefixes = {match[0] for key in state if (match := WRAPPER.match(key))}
    return min(prefixes, key=len, default="")


# ----------------------------------------------------------------------------------- the nearest


def nearest(state: State) -> list[Near]:
    """Return the networks of torchvision that have most in common with a state_dict."""
    networks = known()
    best: dict[str, tuple[int, str]] = {}
    for (name, prefix), count in shared_weights(state).items():
        best[name] = max(best.get(name, (0, "")), (count, prefix))
    shares = {name: min(count / len(networks[name].body), 1) for name, (count, _) in best.items()}

    # Of a deeper network, a shallower one may have all; the nearer is who knows more of the file.
    def order(name: str) -> tuple[float, int]:
        count = best[name][0]
        return 2 * count / (len(networks[name].body) + len(state)), count

    names = [name for name in shares if shares[name] >= MIN_SHARE]
    names = sorted(names, key=order, reverse=True)[:NEAREST]
    if not names:
        return renamed(state)
    return [differences(networks[name], state, best[name][1], shares[name]) for name in names]


def differences(network: Known, state: State, prefix: str, share: float) -> Near:
    """Return what differs between a network and what is below a prefix."""
    own = network.own(state, prefix)
    return Near(
        name=network.name.removesuffix(WIDE),
        prefix=prefix,
        share=share,
        missing=tuple(key for key in network.body if key not in own),
        unknown=tuple(key for key in own if not network.is_known(key)),
        reshaped=tuple(
            f"{key} {own[key]}, not {wanted}".replace("None", "any")
            for key in network.body
            if key in own and not fits(own[key], wanted := network.shapes[key])
        ),
    )


def renamed(state: State) -> list[Near]:
    """Return the networks whose shapes are all there, in their order, under other names."""
    found = [x.shape for key, x in state.items() if not key.endswith(COUNTER)]
    return [
        Near(network.name, "", 0.0, renamed=True)
        for network in known().values()
        if len(network.body) <= len(found) <= len(network.shapes) + 8
        and all(
            fits(shape, network.shapes[key])
            for shape, key in zip(found, network.body, strict=False)
        )
    ]
