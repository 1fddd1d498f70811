"""Catalogue of the networks that a project can be generated for.

Every classifier, segmenter and detector registered in torchvision is described by one
:class:`Arch`, plus the hand-written :data:`OTHERS`. The descriptions live in ``archs.json`` beside
this module, one line per architecture. The questionnaire, the generator and the tests read that
file; ``build`` derives it anew from the installed torchvision and ``write`` stores it.

Nothing here imports torch until a network has to be built, so that reading the catalogue is quick.
Networks are built on the meta device: no memory, no initialisation; no weights are downloaded.

How sizes are found
-------------------
A size is *accepted* when a batch of two square images of that size gives logits of the right shape
in eval mode from a network with 7 classes: ``(2, 7)``, or ``(2, 7, size, size)`` from a segmenter.
Only shapes matter, so the trials run on the meta device, whose kernels raise the same errors on the
same sizes as the real ones, and skip the normalisations. The tests compare with the untouched
networks, on the meta device and on real ones.

1. A network whose constructor takes ``image_size`` (ViT) is rebuilt for each multiple of its patch
   size, and the first multiple that it accepts is ``min_size``: rule ``"argument"``.
2. Otherwise the preset's ``input_size`` must be accepted. If neither one pixel more nor the double
   is accepted, nothing but ``input_size`` is promised: rule ``"fixed"`` (MaxViT, whose windows must
   divide the feature maps). Its ``min_size`` is ``input_size``, though rounding in the stem lets
   one pixel less pass.
3. Otherwise the rule is ``"free"``: ``min_size`` is found by doubling from 1 px up to the first
   accepted size and bisecting down from there. Bisection supposes that whatever is accepted once
   is accepted from there on, so one pixel above ``min_size``, the ``input_size``, one pixel above
   that and its double must be accepted too, else the build stops with :class:`CatalogueError`.

A detector scales images itself, and how it is built tells its sizes: it takes any image.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from generator.files import in_one_step

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHS_PATH = Path(__file__).with_name("archs.json")

# What a person is likely to look for first, first. A family that is not named here is still listed:
# it comes after these, in alphabetical order, so a newer torchvision needs no edit.
FAMILY_ORDER = (
    "resnet",
    "resnext",
    "wide_resnet",
    "efficientnet",
    "efficientnet_v2",
    "convnext",
    "regnet",
    "mobilenet_v2",
    "mobilenet_v3",
    "mnasnet",
    "shufflenet_v2",
    "squeezenet",
    "vit",
    "swin",
    "swin_v2",
    "maxvit",
    "densenet",
    "inception",
    "googlenet",
    "vgg",
    "alexnet",
    "deeplabv3",
    "fcn",
    "lraspp",
    "fasterrcnn",
    "retinanet",
    "fcos",
    "ssd",
    "ssdlite",
    "maskrcnn",
    "keypointrcnn",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of network: what it computes from a batch of images.

    Attributes:
        module: torchvision's module that registers the builders; "" if there is none.
        metric: keys that lead to the figure in the weights' metadata, below ``_metrics``.
        unit: what a menu writes after that figure.
        dimensions: number of dimensions of the logits; None if there are no logits.
    """

    module: str
    metric: tuple[str, str]
    unit: str
    dimensions: int | None


KINDS = {
    # Logits (N, classes).
    "classifier": Kind("torchvision.models", ("ImageNet-1K", "acc@1"), "% top-1", 2),
    # Logits (N, classes, H, W); the background is a class.
    "segmenter": Kind(
        "torchvision.models.segmentation", ("COCO-val2017-VOC-labels", "miou"), "% mIoU", 4
    ),
    # A dict of boxes, labels and scores for each image.
    "detector": Kind(
        "torchvision.models.detection", ("COCO-val2017", "box_map"), "% box mAP", None
    ),
    # The same with a mask for each box; those of torchvision are detectors as well.
    "instance segmenter": Kind("", ("COCO-val2017", "box_map"), "% box mAP", None),
    # The same with the places of keypoints for each box, likewise.
    "keypoint detector": Kind("", ("COCO-val2017", "box_map"), "% box mAP", None),
    # Logits (N, classes) of texts. torchvision has none.
    "text classifier": Kind("", ("", ""), "", 2),
    # Embeddings (N, features) of texts, pooled from those of their tokens.
    "text encoder": Kind("", ("", ""), "", 2),
}

# Classes of the trial networks. Any two numbers that differ show which layer gives the classes.
IMAGENET_CLASSES = 1000
TRIAL_CLASSES = 7
TRIAL_BATCH = 2
DETECTOR_MIN_SIZE = 32  # pixels; detectors pad images to a multiple of as many


class CatalogueError(RuntimeError):
    """An architecture does not fit what the catalogue can describe."""


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture. Sizes are pixels of a square image; ``mean`` and ``std`` are in [0, 1].

    Attributes:
        kinds: keys of ``KINDS``: what the network may be.
        module: the module to import the builder from. "" for ``OTHERS``.
        family: lowercase name of the group of variants, such as ``"resnet"``.
        title: one line for a menu.
        params: number of parameters with the classes of ``weights``, without auxiliary heads and,
            where the number depends on the image size, at ``input_size``. None for ``OTHERS``.
        acc1: ImageNet-1K top-1 accuracy of ``weights`` in percent. None for all but classifiers.
        miou: mean intersection over union of ``weights`` in percent, for the classes of Pascal VOC
            in COCO's val2017. None for all but segmenters.
        box_map: mean average precision of the boxes of ``weights`` in percent, on COCO's val2017.
            None for all but detectors.
        classes: number of classes of ``weights``. None for ``OTHERS``.
        input_size: side of the centre crop that the network was trained for, in pixels; of a
            segmenter and a detector, whose images are not cropped, the same as ``resize_size``.
        resize_size: length of the image's shorter side before that crop, in pixels.
        mean: per-channel mean subtracted from RGB values in [0, 1] (one value if grayscale).
        std: per-channel divisor, in the same order and scale.
        interpolation: filter of the resize, ``"bilinear"`` or ``"bicubic"``.
        weights: full name of torchvision's default weights. None for ``OTHERS``.
        classifier: dotted path of the layer whose output channels are the classes; the last, where
            the outputs of several are added (LR-ASPP).
        classifier_kind: class of that layer. A Conv2d there is 1x1; a classifier's is averaged over
            the image.
        classifier_in: input features (Linear) or input channels (Conv2d) of that layer.
        classifier_bias: whether that layer has a bias.
        whole_in: shape, without the batch, of what the module gets that is named by the first part
            of ``classifier``, ``(features,)`` or ``(features, 1, 1)``: layers of one's own may
            replace it as a whole. () if it gets whole maps of features, and for segmenters.
        first_conv: dotted path of the one convolution that sees the image's channels.
        first_conv_args: that convolution's constructor arguments after ``in_channels``, as Python.
        min_size: smallest input side that the network accepts, in pixels.
        size_step: every accepted side is a multiple of this many pixels.
        size_rule: ``"free"``: any side from ``min_size`` on. ``"argument"``: any multiple of
            ``size_step``, which the constructor must be given as ``image_size``. ``"fixed"``: only
            ``input_size``.
        transform_input: whether the constructor takes ``transform_input``, which torchvision
            switches on with pretrained weights and which no state_dict shows.
        aux: attributes that hold auxiliary heads in networks built for training; the networks
            built with ``kwargs`` do not have them.
        kwargs: constructor arguments, besides ``num_classes`` and perhaps ``image_size``, for a
            network that serves: without auxiliary heads, slow initialisation and downloads.
        detection: what a detector does beside its layers; None for all else.
    """

    kinds: tuple[str, ...]
    module: str
    family: str
    title: str
    params: int | None
    acc1: float | None
    miou: float | None
    box_map: float | None
    classes: int | None
    input_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    weights: str | None
    classifier: str
    classifier_kind: Literal["Linear", "Conv2d"]
    classifier_in: int
    classifier_bias: bool
    whole_in: tuple[int, ...]
    first_conv: str
    first_conv_args: str
    min_size: int
    size_step: int
    size_rule: Literal["free", "argument", "fixed"]
    transform_input: bool
    aux: tuple[str, ...]
    kwargs: Mapping[str, bool | None]
    detection: Mapping[str, Any] | None


CUSTOM = Arch(
    kinds=("classifier", "segmenter", "detector", "instance segmenter", "keypoint detector"),
    module="",
    family="custom",
    title="custom (your own nn.Module; starts as a small CNN for 28x28 grayscale digits)",
    params=None,
    acc1=None,
    miou=None,
    box_map=None,
    classes=None,
    input_size=28,
    resize_size=28,
    mean=(0.5,),
    std=(0.5,),
    interpolation="bilinear",
    weights=None,
    classifier="classifier",
    classifier_kind="Linear",
    classifier_in=128,
    classifier_bias=True,
    whole_in=(),
    first_conv="features.0",
    first_conv_args="16, kernel_size=3, padding=1",
    min_size=4,
    size_step=1,
    size_rule="free",
    transform_input=False,
    aux=(),
    kwargs={},
    detection=None,
)

TIMM = replace(
    CUSTOM,
    kinds=("classifier",),
    family="timm",
    title="timm (a network of the timm library; its name is the next question)",
    input_size=224,
    resize_size=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    min_size=1,
)

HUGGINGFACE = replace(
    CUSTOM,
    kinds=("text classifier", "text encoder"),
    family="huggingface",
    title="huggingface (a network of transformers; its folder tells which)",
)

# What torchvision does not register; last in every menu.
OTHERS = {"timm": TIMM, "huggingface": HUGGINGFACE, "custom": CUSTOM}


# ---------------------------------------------------------------------------------------- reading


@cache
def load(path: Path = ARCHS_PATH) -> dict[str, Arch]:
    """Return the stored catalogue, by name and in menu order. Does not import torch.

    The answer is cached and shared: do not change it.
    """
    stored: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: _from_json(entry) for name, entry in stored.items()}


def _from_json(entry: dict[str, Any]) -> Arch:
    # A missing or an unknown key is a TypeError of the constructor.
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Arch(**fields)


# ---------------------------------------------------------------------------------------- writing


def write(path: Path = ARCHS_PATH) -> bool:
    """Build the catalogue and store it at ``path``. Return whether the file changed."""
    text = dumps(build())
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    with in_one_step(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    load.cache_clear()
    return True


def dumps(archs: Mapping[str, Arch]) -> str:
    """Return the JSON text of a catalogue: one line per architecture, so that diffs are short."""
    lines = (f"{json.dumps(name)}: {json.dumps(asdict(arch))}" for name, arch in archs.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


# --------------------------------------------------------------------------------------- building


def build() -> dict[str, Arch]:
    """Derive the whole catalogue from the installed torchvision, in menu order."""
    archs = {name: build_one(name) for name in names()}
    return {name: archs[name] for name in menu_order(archs)} | OTHERS


def menu_order(archs: Mapping[str, Arch]) -> list[str]:
    """Return the names of torchvision's architectures by family, then number of parameters."""

    def key(name: str) -> tuple[int, str, int, str]:
        family = archs[name].family
        known = family in FAMILY_ORDER
        rank = FAMILY_ORDER.index(family) if known else len(FAMILY_ORDER)
        return rank, family, archs[name].params or 0, name

    return sorted(archs, key=key)


def names() -> list[str]:
    """Return the names of torchvision's networks of every kind, in torchvision's order."""
    from torchvision import models

    modules = [importlib.import_module(kind.module) for kind in KINDS.values() if kind.module]
    return [name for module in modules for name in models.list_models(module=module)]


def kind_of(name: str) -> str:
    """Return the kind of a torchvision network: a key of ``KINDS``."""
    from torchvision import models

    package = models.get_model_builder(name).__module__.rpartition(".")[0]
    return next(key for key, kind in KINDS.items() if kind.module == package)


def build_one(name: str) -> Arch:
    """Derive the catalogue's entry for one torchvision network."""
    fields = preset(name)
    fields |= structure(name, fields["input_size"], fields["classes"])
    fields |= sizes(name, fields["input_size"])
    return Arch(title=title(name, **fields), **fields)


def title(name: str, *, params: int, input_size: int, **fields: Any) -> str:
    """Return what a person sees in a menu: the name, and what helps to choose."""
    millions = f"{params / 1e6:.1f} M parameters"
    figure = next(x for key in ("acc1", "miou", "box_map") if (x := fields[key]) is not None)
    return f"{name} ({millions}, {input_size} px, {figure:.1f} {KINDS[kind_of(name)].unit})"


def preset(name: str) -> dict[str, Any]:
    """Return the fields of ``Arch`` that torchvision states with its default weights."""
    from torchvision import models

    kind = kind_of(name)
    weights = models.get_model_weights(name).DEFAULT
    dataset, metric = KINDS[kind].metric
    figure = weights.meta["_metrics"][dataset][metric]
    stated = {
        "kinds": (*finds_more(name), kind),
        "module": KINDS[kind].module,
        "family": family_of(name),
        "acc1": figure if kind == "classifier" else None,
        "miou": figure if kind == "segmenter" else None,
        "box_map": figure if kind == "detector" else None,
        "classes": len(weights.meta["categories"]),
        "weights": f"{type(weights).__name__}.{weights.name}",
        "detection": detection(name) if kind == "detector" else None,
    }
    if kind == "detector":
        return stated | own_transform(name)
    transforms = weights.transforms()
    resize_size = transforms.resize_size[0]
    return stated | {
        "input_size": transforms.crop_size[0] if kind == "classifier" else resize_size,
        "resize_size": resize_size,
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
        "interpolation": transforms.interpolation.value,
    }


def own_transform(name: str) -> dict[str, Any]:
    """Return the fields about how a detector scales and normalises its images."""
    transform: Any = meta_model(name, TRIAL_CLASSES, **serving_kwargs(name)).transform
    size = transform.min_size[-1]
    return {
        "input_size": size,
        "resize_size": size,
        "mean": tuple(transform.image_mean),
        "std": tuple(transform.image_std),
        "interpolation": "bilinear",
    }


# What the builders call the constructor arguments of a detector that `detection` has.
LIMITS = ("score_thresh", "nms_thresh", "detections_per_img")
# What a detector with these modules is besides: keys of ``KINDS``.
MORE = {"mask_roi_pool": "instance segmenter", "keypoint_roi_pool": "keypoint detector"}


def detection(name: str) -> dict[str, Any]:
    """Return the field `detection` of a detector.

    ``max_size`` is the greatest length in pixels of the longer side of a scaled image, 0 if images
    become squares. Of ``LIMITS`` it has the defaults, and ``arguments`` has what the constructor
    calls them. ``boxes_alone`` names the module without which the network finds boxes alone, "" if
    it finds nothing else; ``keypoints`` is how many keypoints it finds by default, 0 if none.
    ``coco_eps`` tells whether torchvision's COCO weights set the eps of its
    normalisations to 0; ``has_background`` whether class 0 is the background and never returned.
    ``heads`` names the modules that all numbers pass through which boxes are found by.
    ``wide_tail`` tells whether the backbone is another one when it is built with ImageNet weights.
    """
    from torchvision import models

    network: Any = meta_model(name, TRIAL_CLASSES, **serving_kwargs(name))
    is_rcnn = hasattr(network, "roi_heads")
    holder = network.roi_heads if is_rcnn else network
    alone = [x for x in MORE if is_rcnn and getattr(holder, x) is not None]
    finds_points = is_rcnn and holder.has_keypoint()
    return {
        "max_size": 0 if network.transform.fixed_size else network.transform.max_size,
        **{key: getattr(holder, key) for key in LIMITS},
        "arguments": [f"box_{key}" if is_rcnn else key for key in LIMITS],
        "boxes_alone": "".join(alone),
        "keypoints": network.roi_heads.keypoint_predictor.out_channels if finds_points else 0,
        "coco_eps": "overwrite_eps" in inspect.getsource(models.get_model_builder(name)),
        "has_background": is_rcnn or family_of(name) in ("ssd", "ssdlite"),
        "heads": ["rpn.head", "roi_heads.box_predictor"] if is_rcnn else ["head"],
        "wide_tail": "reduce_tail" in inspect.getsource(models.get_model_builder(name)),
    }


def finds_more(name: str) -> tuple[str, ...]:
    """Return what a torchvision network is besides a detector: keys of ``KINDS``."""
    alone = detection(name)["boxes_alone"] if kind_of(name) == "detector" else ""
    return (MORE[alone],) if alone else ()


def family_of(name: str) -> str:
    """Return the family of a torchvision network, derived from its name and its module.

    Segmenters and detectors are named for their heads and backbones, and the head is the family. A
    classifier's family is the leading word of the name (with ``wide_``), and its version (``_v2``)
    where that tells families apart: where the module is named for it (``mobilenetv2``), or where
    the module holds variants without it too (``efficientnet``, but not ``inception``).
    """
    from torchvision import models

    kind, head = kind_of(name), name.partition("_")[0]
    if kind != "classifier":  # ssd300 is made for 300 pixels
        return head.rstrip("0123456789") if kind == "detector" else head
    match = re.match(r"((?:wide_)?[a-z]+)(?:_(v\d+))?", name)
    if match is None:
        raise CatalogueError(f"{name}: no family can be read from this name")
    stem, version = match.groups()
    if version is None:
        return stem
    module = models.get_model_builder(name).__module__
    siblings = [n for n in names() if models.get_model_builder(n).__module__ == module]
    if module.endswith(version) or any(f"_{version}" not in n for n in siblings):
        return f"{stem}_{version}"
    return stem


def meta_model(name: str, num_classes: int, **kwargs: Any) -> nn.Module:
    """Build a torchvision model on the meta device, in eval mode.

    ``torch.device("meta")`` as a context fails for regnet, which computes its widths with tensors
    and reads them. Here tensors are made as usual and moved as they are registered with a module;
    memory that is never written costs nothing. Initialisation comes later and finds meta tensors.

    Args:
        name: any name of ``torchvision.models.list_models()``.
        num_classes: number of classes of the head.
        kwargs: further constructor arguments, such as ``Arch.kwargs`` or ``image_size``.
    """
    from torchvision import models

    with on_meta():
        model: nn.Module = models.get_model(name, num_classes=num_classes, **kwargs)
    return model.eval()


@contextlib.contextmanager
def on_meta() -> Iterator[None]:
    """Put every parameter and buffer that is registered meanwhile on the meta device.

    Unlike ``torch.device("meta")`` this leaves the computations of constructors alone: RegNet reads
    numbers from tensors.
    """
    from torch import nn
    from torch.nn.modules import module as hooks

    # The hooks are global: networks that other threads build meanwhile must stay what they are.
    thread = threading.get_ident()

    # torch annotates what these return as None, yet it registers what they return.
    def parameter(module: nn.Module, key: str, value: nn.Parameter | None) -> Any:
        if value is None or threading.get_ident() != thread:
            return value
        return nn.Parameter(value.detach().to("meta"), value.requires_grad)

    def buffer(module: nn.Module, key: str, value: Tensor | None) -> Any:
        return value if value is None or threading.get_ident() != thread else value.to("meta")

    handles = [
        hooks.register_module_parameter_registration_hook(parameter),
        hooks.register_module_buffer_registration_hook(buffer),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def structure(name: str, input_size: int, classes: int) -> dict[str, Any]:
    """Return the fields of ``Arch``, except sizes, that inspection of the built network gives."""
    kwargs = serving_kwargs(name)
    sized = {"image_size": input_size} if "image_size" in _constructor(name) else {}
    trial = meta_model(name, TRIAL_CLASSES, **kwargs, **sized)
    full = meta_model(name, classes, **kwargs, **sized)
    classifier = _classifier(name, trial, full)
    return {
        "params": sum(p.numel() for p in full.parameters()),
        **classifier,
        "whole_in": _whole_in(name, trial, classifier["classifier"], input_size),
        **_first_conv(name, trial),
        "transform_input": "transform_input" in _constructor(name),
        "aux": _auxiliary(name, trial),
        "kwargs": kwargs,
    }


def wide_tailed(name: str, num_classes: int) -> nn.Module:
    """Build an SSDlite on the meta device as torchvision does with ImageNet weights.

    Its backbone then has a last stage of full width; torchvision would fetch these weights.
    """
    from functools import partial

    from torch import nn
    from torchvision.models import mobilenet_v3_large
    from torchvision.models.detection import _utils, ssdlite

    model: Any = meta_model(name, num_classes, **serving_kwargs(name))
    norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    with on_meta():
        layers = mobilenet_v3_large(norm_layer=norm_layer).features
        model.backbone = ssdlite.SSDLiteFeatureExtractorMobileNet(layers, 13, norm_layer)
        channels = _utils.retrieve_out_channels(model.backbone, (320, 320))
        anchors = model.anchor_generator.num_anchors_per_location()
        model.head = ssdlite.SSDLiteHead(channels, anchors, num_classes, norm_layer)
    built: nn.Module = model.eval()
    return built


def _constructor(name: str) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of the class that a builder builds; the builder takes ``**kwargs``."""
    from torchvision import models

    return inspect.signature(get_type_hints(models.get_model_builder(name))["return"]).parameters


def serving_kwargs(name: str) -> dict[str, bool | None]:
    """Return the constructor arguments for a network that serves.

    Classifiers with auxiliary heads also initialise slowly, and warn, unless told not to.
    Segmenters have no auxiliary heads unless asked for, and download their backbone unless told not
    to, as detectors do.
    """
    if kind_of(name) != "classifier":
        return {"weights_backbone": None}
    known = _constructor(name)
    if "aux_logits" not in known:
        return {}
    return {key: False for key in ("aux_logits", "init_weights") if key in known}


def _auxiliary(name: str, serving: nn.Module) -> tuple[str, ...]:
    """Return the attributes that a network built for training has and the serving one has not."""
    from torchvision import models

    kwargs = serving_kwargs(name)
    if "aux_loss" in inspect.signature(models.get_model_builder(name)).parameters:
        kwargs["aux_loss"] = True
    elif kwargs.pop("aux_logits", None) is None:
        return ()
    kept = dict(serving.named_children())
    training = meta_model(name, TRIAL_CLASSES, **kwargs)
    return tuple(key for key, _ in training.named_children() if key not in kept)


def _classifier(name: str, trial: nn.Module, full: nn.Module) -> dict[str, Any]:
    """Return the fields about the classifier: the layer whose shape follows the class count."""
    shapes = {key: value.shape for key, value in full.state_dict().items()}
    changed = [key for key, value in trial.state_dict().items() if value.shape != shapes[key]]
    paths = list(dict.fromkeys(key.rpartition(".")[0] for key in changed))
    if len(paths) != 1 and kind_of(name) == "classifier":
        raise CatalogueError(f"{name}: the classes reach {sorted(paths)}, not one layer")
    # A detector's first such layer gives the classes, others boxes and masks of each.
    path = paths[0] if kind_of(name) == "detector" else paths[-1]
    layer: Any = trial.get_submodule(path)
    kind = type(layer).__name__
    if kind not in ("Linear", "Conv2d"):
        raise CatalogueError(f"{name}: the classifier {path} is a {kind}")
    return {
        "classifier": path,
        "classifier_kind": kind,
        "classifier_in": layer.in_features if kind == "Linear" else layer.in_channels,
        "classifier_bias": layer.bias is not None,
    }


def _whole_in(name: str, model: nn.Module, classifier: str, size: int) -> tuple[int, ...]:
    """Return the field `whole_in` of a network with this last layer, for images of this size."""
    import torch

    if kind_of(name) != "classifier":
        return ()
    shapes: list[tuple[int, ...]] = []
    module = model.get_submodule(classifier.partition(".")[0])
    hook = module.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    with torch.inference_mode():
        model(torch.zeros(TRIAL_BATCH, 3, size, size, device="meta"))
    hook.remove()
    ((_, features, *rest),) = shapes
    return (features, *rest) if set(rest) <= {1} else ()


def _first_conv(name: str, model: nn.Module) -> dict[str, str]:
    """Return the fields about the convolution that sees the image's channels."""
    from torch import nn

    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return {"first_conv": path, "first_conv_args": _arguments(name, module)}
    raise CatalogueError(f"{name}: no convolution takes 3 channels")


def _arguments(name: str, conv: nn.Conv2d) -> str:
    """Return what to write after ``nn.Conv2d(in_channels, ``: what is not torch's own default."""
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        raise CatalogueError(f"{name}: {conv} has arguments that are not written down")
    written = [str(conv.out_channels)]
    for key, default in {"kernel_size": None, "stride": (1, 1), "padding": (0, 0)}.items():
        value = getattr(conv, key)
        if value != default:
            written.append(f"{key}={value[0] if len(set(value)) == 1 else value}")
    if conv.bias is None:
        written.append("bias=False")
    return ", ".join(written)


# ------------------------------------------------------------------------------------ input sizes


def accepts(model: nn.Module, size: int) -> bool:
    """Tell whether a network with ``TRIAL_CLASSES`` classes accepts a batch of square images.

    Runs on the device of the network, in the mode (train or eval) that the network is in.

    Args:
        model: the network; its input is ``(TRIAL_BATCH, 3, size, size)`` and float32.
        size: side of the images in pixels.
    """
    import torch

    device = next(model.parameters()).device
    try:
        with torch.inference_mode():
            output = model(torch.zeros(TRIAL_BATCH, 3, size, size, device=device))
    except (RuntimeError, AssertionError):  # what torch and torch._assert raise for shapes
        return False
    if isinstance(output, Mapping):  # of a segmenter
        return tuple(output["out"].shape) == (TRIAL_BATCH, TRIAL_CLASSES, size, size)
    return tuple(output.shape) == (TRIAL_BATCH, TRIAL_CLASSES)


def sizes(name: str, input_size: int) -> dict[str, Any]:
    """Return ``min_size``, ``size_step`` and ``size_rule``, as the module's docstring explains."""
    if kind_of(name) == "detector":
        is_fixed = not detection(name)["max_size"]
        smallest = input_size if is_fixed else DETECTOR_MIN_SIZE
        return {
            "min_size": smallest,
            "size_step": 1,
            "size_rule": "fixed" if is_fixed else "free",
        }
    if "image_size" in _constructor(name):
        return _sizes_by_argument(name)
    model = without_norms(meta_model(name, TRIAL_CLASSES, **serving_kwargs(name)))
    if not accepts(model, input_size):
        raise CatalogueError(f"{name} refuses the size of its own preset, {input_size} px")
    greater = [accepts(model, size) for size in (input_size + 1, 2 * input_size)]
    if not any(greater):
        return {"min_size": input_size, "size_step": 1, "size_rule": "fixed"}
    smallest = smallest_accepted(lambda size: accepts(model, size), limit=input_size)
    if not all(greater) or not accepts(model, smallest + 1):
        raise CatalogueError(f"{name} accepts {smallest} px but not every greater size")
    return {"min_size": smallest, "size_step": 1, "size_rule": "free"}


def without_norms(model: nn.Module) -> nn.Module:
    """Make a network's normalisations pass their input on, for trials of shapes. Return it.

    In eval mode they keep every shape, and they take most of a forward pass on the meta device.
    """
    from torch import nn

    identity = nn.Identity()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            vars(module)["forward"] = identity.forward
    return model


def smallest_accepted(accepted: Callable[[int], bool], limit: int) -> int:
    """Return the least size >= 1 that is accepted, given that all sizes above it are.

    Args:
        accepted: tells for a size in pixels.
        limit: a size that is known to be accepted.
    """
    high = 1
    while high < limit and not accepted(high):
        high *= 2
    low, high = high // 2, min(high, limit)  # low is refused (or 0), high is accepted
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accepted(middle) else (middle, high)
    return high


def _sizes_by_argument(name: str) -> dict[str, Any]:
    step: Any = meta_model(name, TRIAL_CLASSES).patch_size
    if not isinstance(step, int):
        raise CatalogueError(f"{name}: no whole patch size")
    for size in (step, 2 * step, 3 * step, 4 * step):
        if accepts(meta_model(name, TRIAL_CLASSES, image_size=size), size):
            return {"min_size": size, "size_step": step, "size_rule": "argument"}
    raise CatalogueError(f"{name} accepts no multiple of its patch size, {step} px")
