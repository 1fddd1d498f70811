"""Reads how a detector was built from the arguments that lie beside its weights.

The names are those of torchvision's builders, which its reference training and most modules of
Lightning hand on. Weights show none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from generator.catalogue import Arch, load
from generator.inspection import modules
from generator.inspection.composed import shortened, shown
from generator.inspection.modules import LIMITS
from generator.inspection.pickles import Inert
from generator.inspection.settings import GROUPS, MAX_OBJECTS, arguments, is_new, numbers
from generator.inspection.training import Training, example

# What people call these beside the weights, and where they give their own predictions.
ALIASES = {
    "score_threshold": (
        *("score_threshold", "box_score_threshold", "detection_threshold", "conf_threshold"),
        *("confidence_threshold", "conf_thresh", "conf_thres"),
    ),
    "nms_threshold": ("nms_threshold", "nms_iou_threshold", "nms_iou", "iou_thres"),
    "max_detections": ("max_detections", "max_det"),
    "mask_threshold": ("mask_threshold", "mask_thresh", "mask_thr_binary"),
}
RANGES = {
    "score_threshold": "from 0 to below 1",
    "mask_threshold": "from 0 to below 1",
    "nms_threshold": "above 0, at most 1",
    "max_detections": "1 to 1000",
}
SCALED = {"min_size": "image_size", "max_size": "max_size"}
NORMALISED = {"image_mean": "mean", "image_std": "std"}
MASKS = "mask_roi_pool"  # what a network that finds a mask for each object has
QUESTIONS = (*ALIASES, *SCALED.values(), *NORMALISED.values(), "coco_eps")
# What no question asks for, with where a network of torchvision has its own value.
UNASKED = {
    "rpn_score_thresh": ("rpn", "score_thresh"),
    "rpn_nms_thresh": ("rpn", "nms_thresh"),
    "rpn_pre_nms_top_n_test": ("rpn", "pre_nms_top_n"),
    "rpn_post_nms_top_n_test": ("rpn", "post_nms_top_n"),
    "topk_candidates": ("", "topk_candidates"),
    **dict.fromkeys(("anchor_sizes", "anchor_size"), ("anchor generator", "sizes")),
    **dict.fromkeys(("aspect_ratios", "anchor_ratios"), ("anchor generator", "aspect_ratios")),
}
ANCHORS = ("rpn.anchor_generator", "anchor_generator")
WEIGHTS = ("weights", "pretrained")
# Among the arguments that torchvision's references/detection/train.py keeps, in all its versions.
SCRIPT = "aspect_ratio_group_factor"
NAMES = {
    *(f"{prefix}{name}" for name in LIMITS for prefix in ("box_", "")),
    *(name for names in ALIASES.values() for name in names),
    *(*SCALED, *NORMALISED, *UNASKED, *WEIGHTS, "weights_backbone", SCRIPT),
}
COCO = re.compile(r"(\w+_Weights\.)?(COCO_V1|DEFAULT)")
OTHER_COCO = re.compile(r"\w+_Weights\.COCO_LEGACY")
MAX_DEPTH = 4
# What holds arguments of a network. Elsewhere, a max_size may be that of a data set.
OF_NETWORK = {
    *("args", "opt", "opts", "hyper_parameters", "hparams", "config", "cfg", "params", "kwargs"),
    *("model_config", "train_config", "training_args", "train_args", "model_kwargs", "model_args"),
    *("model", "net", "network", "detector"),
}

Found = Mapping[str, Any]


def settings_in(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arguments of a detector that a checkpoint keeps, by their place in it."""
    found: dict[str, Any] = {}
    for group in GROUPS:
        found |= arguments_in(group, content.get(group)) if group else {}
    own = arguments(content).items()  # "weights" are weights there
    found |= {name: x for name, x in own if name in NAMES - {*WEIGHTS}}
    return found


def arguments_in(group: str, value: Any) -> dict[str, Any]:
    """Return the arguments of a detector in a dict or a Namespace, and in those inside of it."""
    found: dict[str, Any] = {}
    seen: list[Any] = []
    waiting = [(group, value, 0)]
    while waiting:
        where, value, depth = waiting.pop(0)
        if not is_new(value, seen):
            continue
        entries = arguments(value)
        found |= {f"{where}.{name}": x for name, x in entries.items() if name in NAMES}
        if depth < MAX_DEPTH and len(waiting) < MAX_OBJECTS:
            inside = ((name, x) for name, x in entries.items() if isinstance(x, dict | Inert))
            waiting += [(f"{where}.{name}", x, depth + 1) for name, x in inside]
    return found


def is_of_network(place: str) -> bool:
    """Tell whether an argument is of a network: not of its data, its training and the like."""
    return {*place.lower().split(".")[:-1]} <= OF_NETWORK


def answers_to(name: str, training: Training) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the answers that the arguments of a detector give, and what they leave unclear.

    Args:
        name: Of the network, one of torchvision's detectors.
        training: What the checkpoint tells.

    Returns:
        Answers by question; and what people have to answer, by question: what the file tells, and
        the options to choose from.
    """
    arch = load()[name]
    assert arch.detection is not None
    settings = {place: x for place, x in training.detector.items() if x is not None}
    answers: dict[str, Any] = {}
    unclear: dict[str, str] = {}
    limits = dict(zip(arch.detection["arguments"], LIMITS.values(), strict=True))
    if arch.detection["boxes_alone"] == MASKS:  # its masks are compared with that afterwards
        limits["mask_threshold"] = "mask_threshold"
    for own, question in limits.items():
        names = (own, own.removeprefix("box_"))
        given = at(settings, own) or at(settings, *names) or at(settings, *ALIASES[question])
        number = one_of(
            {
                place: x if is_of_network(place) and is_limit(question, x) else None
                for place, x in given.items()
            }
        )
        if number is not None:
            answers[question] = number
        elif given:
            unclear[question] = (
                f"{written(given)}: name the one that holds, {RANGES[question]}, with "
                f"-d {question}=N"
            )
    answers |= transforms(arch, settings, unclear)
    if "transforms" not in {*answers, *unclear} and training.tells_transforms:
        add_size_of_data(arch, training, unclear)
    others = [*unlike(name, settings)]
    if others:
        unclear["architecture"] = (
            f"{', '.join(others)}, which no answer has: bring the file that defines "
            "build_model(num_classes) with --model FILE"
        )
    if arch.detection["coco_eps"]:
        add_eps(training.detector, answers, unclear)
    return answers, unclear


def transforms(arch: Arch, settings: Found, unclear: dict[str, str]) -> dict[str, Any]:
    """Return how the network scales and normalises images, if arguments tell.

    Args:
        arch: Of torchvision, a detector.
        settings: The arguments, by their place.
        unclear: Gets what contradicts itself, or cannot be.
    """
    longest = (arch.detection or {})["max_size"]
    own: dict[str, Any] = {"image_size": arch.input_size, "max_size": longest}
    own |= {"mean": list(arch.mean), "std": list(arch.std)}
    told: dict[str, Any] = {}
    unread: dict[str, Any] = {}
    for name, question in (SCALED | NORMALISED).items():
        given = at(settings, name)
        value = one_of(
            {place: plain(name, x) if is_of_network(place) else None for place, x in given.items()}
        )
        if value is not None:
            told[question] = value
        elif given:
            unread |= given
    if unread:
        unclear["transforms"] = f"{written(unread)}: {OPTIONS}"
    if not told or unread:
        return {}
    if not own["max_size"]:  # images become squares of one size, whatever these are
        told = {name: x for name, x in told.items() if name in ("mean", "std")}
    if own | told == own:
        return {"transforms": "pretrained"}
    answers = {"transforms": "custom"} | own | told
    if not own["max_size"]:
        del answers["max_size"]
    return answers


OPTIONS = (
    f"name what holds, as in {example(inside=True)}, with max_size where the architecture takes "
    "it; or, for all that the architecture itself has, -d transforms=pretrained"
)


def told_sizes(training: Training) -> str:
    """Return what arguments tell of images, for people who are to choose a network first."""
    return f"{written(at(training.detector, *SCALED, *NORMALISED))}: {OPTIONS}"


def add_size_of_data(arch: Arch, training: Training, unclear: dict[str, str]) -> None:
    """Add that arguments which are not torchvision's may be of the network, or of what is before.

    A detector scales and normalises images itself, and many scale them once more before it.
    """
    size, mean = training.image_size or training.resize_size, training.mean
    others = [f"images of {size} pixels"] * bool(size and size != arch.input_size)
    others += [f"a mean of {[*mean]}"] * bool(mean and mean != tuple(arch.mean))
    if others:
        unclear["transforms"] = (
            f"{' and '.join(others)}, which may be as the network makes them, or as they were made "
            f"before it: {OPTIONS}"
        )


def add_eps(settings: Found, answers: dict[str, Any], unclear: dict[str, str]) -> None:
    """Add whether the network was built with torchvision's COCO weights, which set eps to 0.

    With other weights, or those of its backbone alone, it stays 1e-5.
    """
    given = at(settings, "weights")
    of_backbone = at(settings, "weights_backbone")
    is_script = bool(at(settings, SCRIPT))
    told: set[bool] = set()
    for place, value in given.items():
        if isinstance(value, str) and COCO.fullmatch(value):
            told.add(True)
        elif is_other(value) or (
            value in (None, "") and (is_script or f"{place}_backbone" in of_backbone)
        ):
            told.add(False)
        elif isinstance(value, str | Inert) and value != "":
            told |= {True, False}
    before = at(settings, "pretrained")
    if is_script and not given and True in before.values():
        told.add(True)
    if len(told) == 1:
        answers["coco_eps"] = told.pop()
    elif before or len(told) > 1:
        weights = written({**given, **before})
        unclear["coco_eps"] = (
            f"{weights}, which does not show whether the network was built with torchvision's COCO "
            "weights, whose normalisations have eps=0: -d coco_eps=true if it was, else "
            "-d coco_eps=false"
        )


def is_other(value: Any) -> bool:
    """Tell whether weights of COCO are meant that leave the normalisations as they are."""
    return isinstance(value, str) and OTHER_COCO.fullmatch(value) is not None


def unlike(network: str, settings: Found) -> Iterator[str]:
    """Yield the arguments that no question asks for, where the network's own are others."""
    own = modules.load(network)
    anchors = next((own[path] for path in ANCHORS if path in own), None)
    for place, value in settings.items():
        if (name := place.rpartition(".")[2]) not in UNASKED:
            continue
        path, attribute = UNASKED[name]
        module = anchors if path == "anchor generator" else own.get(path)
        wanted = None if module is None else module.attributes.get(attribute)
        rows = wanted if isinstance(wanted, list) else []
        given = modules.plain(value) if modules.is_plain(value) else ...  # more than any has
        if given != wanted and not (rows and all(row == given for row in rows)):
            yield f"{place}={shown(value)}"


def at(settings: Found, *names: str) -> dict[str, Any]:
    """Return the arguments of these names, by their place."""
    return {place: x for place, x in settings.items() if place.rpartition(".")[2] in names}


def one_of(given: Found) -> Any:
    """Return the value of arguments that agree; None without one, and where they differ."""
    values = [*given.values()]
    return values[0] if values and all(x == values[0] for x in values) else None


def plain(name: str, value: Any) -> Any:
    """Return an argument as an answer has it; None if it can be none.

    Of several smaller sides, training takes each and prediction the last.
    """
    if name in NORMALISED:
        values = [*numbers(value)] if isinstance(value, list | tuple) else []
        are_within = all(0 <= x <= 1 for x in values) and (name != "image_std" or all(values))
        return values or None if are_within else None
    if isinstance(value, list | tuple) and value and name == "min_size":
        value = value[-1]
    return value if type(value) is int and 1 <= value < 100_000 else None


def is_limit(question: str, value: Any) -> bool:
    """Tell whether a number can be an answer."""
    if question == "max_detections":
        return type(value) is int and 1 <= value <= 1000
    is_number = type(value) in (int, float)
    return is_number and (0 < value <= 1 if question == "nms_threshold" else 0 <= value < 1)


def written(given: Found) -> str:
    """Return arguments for people."""
    return shortened(", ".join(f"{place}={shown(x)}" for place, x in given.items()))
