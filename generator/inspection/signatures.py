"""The names and shapes of the weights of every network that can be recognised.

`signatures.json.gz` has, for each network of the catalogue, the shapes of its parameters and
buffers by name; a dimension is null where it follows the number of classes, the image's channels or
the image's size. `timm-signatures.json.gz` has, for timm's many networks, a digest of the same
without the last layer. Both are built on the meta device by `ts-template catalogue`, and read
without torch.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from generator import catalogue
from generator.files import in_one_step
from generator.rendering import HERE

PATH = HERE / "signatures.json.gz"
TIMM_PATH = HERE / "timm-signatures.json.gz"
TIMM_TRANSFORMS_PATH = HERE / "timm-transforms.json.gz"

Shape = tuple[int | None, ...]

# Which torch before 0.4.1 did not save, and which no two architectures differ in.
COUNTER = "num_batches_tracked"
WIDE = " with a wide tail"  # after the name of a detector, for the answer wide_tail=true


@dataclass(frozen=True)
class Signature:
    """What is in the state_dict of a network.

    Attributes:
        shapes: by name, in order, without the counters of batches; None is a dimension that may
            have any size.
        buffers: names of what is not trained.
        rows: how many rows each class has in the weights of the layers that it reaches, by name;
            empty for classifiers and segmenters, where it is one row.
        keypoints: the name of the weight with a number for each keypoint that the network finds;
            "" if it finds none.
    """

    shapes: Mapping[str, Shape]
    buffers: frozenset[str]
    rows: Mapping[str, int]
    keypoints: str


@dataclass(frozen=True)
class TimmSignatures:
    """timm's networks by digest.

    Attributes:
        version: of the timm that they were built with.
        layers: pairs of the last layers and the first ones.
        names: the names of the networks by the digest of their weights' names and shapes.
    """

    version: str
    layers: list[tuple[tuple[str, ...], tuple[str, ...]]]
    names: Mapping[str, list[str]]


@dataclass(frozen=True)
class TimmTransforms:
    """How timm evaluates the weights of one of its networks.

    Attributes:
        image_size: side of the image in pixels.
        crop_pct: what share of the scaled image's shorter side is kept.
        mean: of each channel, between 0 and 1.
        std: likewise.
        interpolation: of the resize.
        crop_mode: "center", or another way that only timm itself has.
    """

    image_size: int
    crop_pct: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_mode: str


# ---------------------------------------------------------------------------------------- reading


@cache
def load() -> dict[str, Signature]:
    """Return the signatures of torchvision's networks; shared, so do not change them."""
    stored = read(PATH)
    return {
        name: Signature(
            {key: tuple(shape) for key, shape in entry["shapes"].items()},
            frozenset(entry["buffers"]),
            entry.get("rows", {}),
            entry.get("keypoints", ""),
        )
        for name, entry in stored.items()
    }


@cache
def load_timm() -> TimmSignatures:
    """Return the signatures of timm's networks; shared, so do not change them."""
    stored = read(TIMM_PATH)
    layers = [(tuple(last), tuple(first)) for last, first in stored["layers"]]
    return TimmSignatures(stored["version"], layers, stored["names"])


@cache
def timm_transforms() -> dict[str, TimmTransforms]:
    """Return how timm evaluates each of its networks, by name, without a tag and with it."""
    stored = read(TIMM_TRANSFORMS_PATH)
    each = [
        TimmTransforms(size, crop, tuple(mean), tuple(std), interpolation, mode)
        for size, crop, mean, std, interpolation, mode in stored["transforms"]
    ]
    return {name: each[number] for name, number in stored["networks"].items()}


def read(path: Path) -> Any:
    """Return the content of a compressed JSON file."""
    return json.loads(gzip.decompress(path.read_bytes()))


def digest(
    shapes: Iterable[tuple[str, tuple[int, ...]]], last: tuple[str, ...], first: tuple[str, ...]
) -> str:
    """Return what identifies a network whatever its number of classes and of the image's channels.

    Args:
        shapes: names and shapes of its weights.
        last: the layers that give the classes; they are left out.
        first: the layers that see the image; their input channels are.
    """
    outside = tuple(f"{name}." for name in last)
    seeing = {f"{name}.weight" for name in first}
    lines = [f"{last} {first}\n"]  # else what is left without a layer might be another network
    for name, shape in shapes:
        if name.startswith(outside) or name.endswith(COUNTER):
            continue
        sizes = ["*" if i == 1 and name in seeing else str(n) for i, n in enumerate(shape)]
        lines.append(f"{name} {' '.join(sizes)}\n")
    return hashlib.sha256("".join(sorted(lines)).encode(errors="surrogatepass")).hexdigest()[:20]


# --------------------------------------------------------------------------------------- building


def write() -> bool:
    """Build and store the signatures of torchvision's networks. Return whether they changed.

    The catalogue must be up to date.
    """
    return store(build(), PATH)


def write_timm() -> bool:
    """Build the signatures of timm's networks, which takes minutes, and store them likewise."""
    return store(build_timm(), TIMM_PATH)


def write_timm_transforms() -> bool:
    """Store how the installed timm evaluates its networks, likewise."""
    return store(build_timm_transforms(), TIMM_TRANSFORMS_PATH)


def store(content: Any, path: Path) -> bool:
    """Write compressed JSON, the same bytes for the same content. Return whether it changed."""
    text = json.dumps(content, separators=(",", ":"))
    # As text: the order counts, too.
    if path.exists() and gzip.decompress(path.read_bytes()) == text.encode():
        return False
    with in_one_step(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
    load.cache_clear()
    load_timm.cache_clear()
    timm_transforms.cache_clear()
    return True


def build() -> dict[str, Any]:
    """Derive the content of signatures.json.gz from the installed torchvision."""
    archs = catalogue.load()
    names = [name for name in archs if name not in catalogue.OTHERS]
    built = {name: build_one(name, archs[name]) for name in names}
    for name in names:
        if (archs[name].detection or {}).get("wide_tail"):
            built[f"{name}{WIDE}"] = build_one(name, archs[name], catalogue.wide_tailed)
    return built


def build_one(
    name: str, arch: catalogue.Arch, make: Callable[[str, int], Any] | None = None
) -> dict[str, Any]:
    """Derive one entry of signatures.json.gz: what changes with the classes and sizes is null."""
    kwargs = dict(arch.kwargs)
    make = make or (lambda name, classes: catalogue.meta_model(name, classes, **kwargs))
    network: Any = make(name, catalogue.IMAGENET_CLASSES)
    others = [make(name, catalogue.TRIAL_CLASSES).state_dict()]
    if arch.size_rule == "argument":
        size: Any = arch.min_size
        others.append(
            catalogue.meta_model(
                name, catalogue.IMAGENET_CLASSES, **kwargs, image_size=size
            ).state_dict()
        )
    shapes: dict[str, list[int | None]] = {}
    for key, tensor in network.state_dict().items():
        if key.endswith(COUNTER):
            continue
        shape: list[int | None] = list(tensor.shape)
        for other in others:
            shape = [n if n == m else None for n, m in zip(shape, other[key].shape, strict=True)]
        shapes[key] = shape
    rows = {
        key: len(network.get_parameter(key)) // catalogue.IMAGENET_CLASSES
        for key, shape in shapes.items()
        if shape[:1] == [None]
    }
    more: dict[str, Any] = {"rows": rows} if arch.detection else {}
    if arch.detection and arch.detection["keypoints"]:
        more["keypoints"] = free_keypoints(name, arch, shapes)
    shapes[f"{arch.first_conv}.weight"][1] = None
    trained = {key for key, _ in network.named_parameters()}
    entry = {"shapes": shapes, "buffers": [key for key in shapes if key not in trained]}
    return entry | more


def free_keypoints(name: str, arch: catalogue.Arch, shapes: dict[str, list[int | None]]) -> str:
    """Make null what changes with the keypoints, and return which weight has one row for each."""
    count = arch.detection["keypoints"] + 1 if arch.detection else 0
    other: Any = catalogue.meta_model(
        name, catalogue.IMAGENET_CLASSES, **arch.kwargs, num_keypoints=count
    )
    vectors: list[str] = []
    for key, tensor in other.state_dict().items():
        if key in shapes and len(tensor) == count and len(tensor.shape) == 1:
            vectors.append(key)
        if key in shapes:
            pairs = zip(shapes[key], tensor.shape, strict=True)
            shapes[key] = [n if n == m else None for n, m in pairs]
    (vector,) = vectors
    return vector


def build_timm() -> dict[str, Any]:
    """Derive the content of timm-signatures.json.gz from the installed timm."""
    import timm

    names: dict[str, list[str]] = {}
    layers = set()
    for name, shapes, last, first in timm_networks():
        layers.add((last, first))
        same = names.setdefault(digest(shapes.items(), last, first), [])
        if name not in same:
            same.append(name)
    return {
        "version": timm.__version__,
        "layers": [[list(last), list(first)] for last, first in sorted(layers)],
        "names": dict(sorted(names.items())),
    }


def build_timm_transforms() -> dict[str, Any]:
    """Derive the content of timm-transforms.json.gz from the installed timm."""
    import timm
    from timm.data.config import resolve_data_config

    resolve: Any = resolve_data_config
    transforms: list[list[Any]] = []
    networks = {}
    for name in sorted({*timm.list_models(), *timm.list_models(pretrained=True)}):
        config: Any = timm.get_pretrained_cfg(name)
        if config is None:
            continue
        data = resolve(pretrained_cfg=config.to_dict())
        entry = [
            data["input_size"][-1],
            data["crop_pct"],
            list(data["mean"]),
            list(data["std"]),
            data["interpolation"],
            data["crop_mode"],
        ]
        if entry not in transforms:
            transforms.append(entry)
        networks[name] = transforms.index(entry)
    return {"version": timm.__version__, "transforms": transforms, "networks": networks}


Layers = tuple[str, ...]
UNUSUAL = 9973  # classes; no layer inside a network has so many channels


def timm_networks(
    names: Iterable[str] | None = None,
) -> Iterator[tuple[str, dict[str, tuple[int, ...]], Layers, Layers]]:
    """Yield timm's networks: name, shapes of the weights, last layers, first layers.

    Those that timm builds without classes come twice, with and without. The last layers are found
    by their number of classes: timm's configurations do not name all.

    Args:
        names: which, if not all that timm lists.
    """
    import timm
    import torch

    for name in timm.list_models() if names is None else names:
        with torch.device("meta"):
            networks = [timm.create_model(name, num_classes=UNUSUAL)]
            config: Any = networks[0].pretrained_cfg
            if not config.get("num_classes"):
                networks.append(timm.create_model(name))
        first = config.get("first_conv") or ()
        first = (first,) if isinstance(first, str) else tuple(first)
        for network in networks:
            shapes = {key: tuple(x.shape) for key, x in network.state_dict().items()}
            last = {k.rpartition(".")[0] for k, shape in shapes.items() if shape[:1] == (UNUSUAL,)}
            yield name, shapes, tuple(sorted(last)), first
