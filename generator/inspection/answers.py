"""From what a checkpoint is to the answers that follow, and the questions that stay open."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator import catalogue
from generator.inspection.class_names import agreed
from generator.inspection.heads import UNKNOWN, as_answer
from generator.inspection.reading import GRAPHS, Reading
from generator.inspection.transforms import proposed
from generator.shared.heads import HEADS
from generator.tasks import Task, serving, tasks

if TYPE_CHECKING:
    from generator.inspection import Inspection

PREFIX = re.compile(r"[A-Za-z0-9_.-]+\.")  # as the validator in copier.yml
MANY = 5  # keys that are named
COLOR_MODES = {3: "RGB", 1: "L"}
# What is put on a network of torchvision: the values of the question `head`.
SERVED_HEADS = (*HEADS.values(), "layers")


def answers_of(inspection: Inspection, reading: Reading) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the answers that follow, and the questions that stay open, each with why."""
    answers: dict[str, Any] = {}
    questions: dict[str, str] = {}
    possible = serving(inspection.network_kind)
    if inspection.task is not None:
        answers["task"] = inspection.task
    elif possible:
        questions["task"] = meanings_of(possible)
    else:
        return {}, {"task": f"none takes a {inspection.network_kind}"}
    architecture = architecture_of(inspection, questions)
    if architecture:
        answers["architecture"] = architecture
    means_two = [task for task in possible if "model_output" in task.answers_for(1)]
    if inspection.classes == 1 and means_two:
        meanings = " or ".join(meaning_of_one(task) for task in possible)
        questions["num_classes"] = f"one output means {meanings}"
    elif inspection.classes:
        answers["num_classes"] = inspection.classes
    else:
        questions["num_classes"] = "the file does not tell how many classes there are"
    if inspection.channels in COLOR_MODES:
        answers["color_mode"] = COLOR_MODES[inspection.channels]
    elif inspection.channels:
        questions["color_mode"] = (
            f"the network takes {inspection.channels} channels; a service gives it 3 or 1"
        )
    else:
        questions["color_mode"] = "the file does not tell the channels of the images"
    add_weights(answers, questions, inspection, reading)
    arch = catalogue.load().get(architecture or "")
    known = arch is not None and architecture not in catalogue.OTHERS
    if known and reading.kind not in GRAPHS:
        if any(task.facts["has_heads"] for task in possible):
            add_head(answers, questions, inspection)
        if arch is not None and arch.transform_input and inspection.transform_input is not None:
            answers["transform_input"] = inspection.transform_input
        elif arch is not None and arch.transform_input and inspection.channels == 3:
            questions["transform_input"] = (
                "networks that were built with torchvision's pretrained weights rescale their "
                "input, which weights do not show"
            )
    if inspection.classes == 1 and means_two:
        questions["model_output"] = "weights do not show whether the network ends in a sigmoid"
    elif architecture in (None, "custom") or reading.kind in GRAPHS:
        outputs = [x["value"] for x in possible[0].facts["outputs"] if "outputs" not in x]
        if len(outputs) > 1:
            questions["model_output"] = (
                f"weights do not show whether the network returns {' or '.join(outputs)}"
            )
    add_transforms(answers, questions, inspection, arch.input_size if arch and known else None)
    if architecture not in (None, "custom"):
        answers |= inspection.told
        questions = {name: why for name, why in questions.items() if name not in inspection.told}
        if arch is not None and arch.detection is not None:
            add_detection(answers, questions, arch.detection)
    questions["label_format"] = "weights do not name the classes"
    if lists := agreed(reading.class_names, inspection.classes):
        questions["label_format"] = f"ts-template new writes down the names under {lists[0].place}"
    return answers, questions


def add_detection(
    answers: Mapping[str, Any], questions: dict[str, str], detection: Mapping[str, Any]
) -> None:
    """Add what weights do not show of a detector."""
    if "nms_threshold" not in answers:
        questions["nms_threshold"] = "weights do not show how far boxes of one class may overlap"
    if detection["coco_eps"] and "coco_eps" not in answers:
        questions["coco_eps"] = (
            "networks that were built with torchvision's COCO weights have normalisations with "
            "eps=0, which weights do not show"
        )
    if detection["keypoints"] and "keypoint_names" not in answers:
        questions["keypoint_names"] = "weights do not name the keypoints"


def meanings_of(possible: Sequence[Task]) -> str:
    """Return why the weights leave the task open."""
    if len(possible) == 1:
        return f"likely {possible[0].value}; a network that is not known may be for something else"
    meanings = ", or ".join(
        f"{task.value} ({task.meaning})" if task.meaning else task.value for task in possible
    )
    return f"weights do not show what the network is for: {meanings}"


def meaning_of_one(task: Task) -> str:
    """Return what a task makes of one output."""
    answers = task.answers_for(1)
    given = ", ".join(f"{name}={value}" for name, value in answers.items())
    return f"{given} for task={task.value}"


def architecture_of(inspection: Inspection, questions: dict[str, str]) -> str | None:
    """Return the answer to `architecture`, None if it is open.

    Args:
        inspection: What the checkpoint is.
        questions: Gets why it is open.
    """
    heads = SERVED_HEADS if inspection.architecture and not inspection.timm_name else ("linear",)
    is_served = inspection.head in heads and not inspection.differences
    if inspection.architecture or inspection.timm:
        if inspection.kind not in GRAPHS and not is_served:
            return "custom"  # the template builds no such network
        if inspection.timm_name:
            return f"timm/{inspection.timm_name}"
        if inspection.others:
            names = ", ".join([str(inspection.architecture), *inspection.others])
            questions["architecture"] = f"these have the same names and shapes: {names}"
            return None
        if inspection.architecture:
            return inspection.architecture
        if len(inspection.timm) == 1:
            return f"timm/{inspection.timm[0]}"
        names = ", ".join(f"timm/{name}" for name in inspection.timm)
        questions["architecture"] = f"these have the same names and shapes: {names}"
        return None
    questions["architecture"] = (
        "it is none that is known here; custom is for a network of your own"
        if inspection.kind not in GRAPHS
        else "it is not known, and matters to transforms=pretrained alone: else answer custom"
    )
    return None


def add_weights(
    answers: dict[str, Any], questions: dict[str, str], inspection: Inspection, reading: Reading
) -> None:
    """Answer how the weights were saved, and where in the file they are."""
    if reading.unreadable:
        questions["weights"] = (
            f"it holds {reading.unreadable}, which is not read without running code: convert it "
            "first, as below"
        )
        return
    prefixes = {(place.key, place.prefix) for place in inspection.places}
    keys = list(dict.fromkeys(place.key for place in inspection.places))
    prefix = inspection.prefix
    if inspection.head in ("outside", "none"):
        # The network that is served is what is around it and its head's matrices.
        matrices = [name for name, shape in inspection.head_layers.items() if len(shape) == 2]
        prefix = common_prefix([f"{prefix}*", *matrices])
    if reading.kind in (*GRAPHS, "safetensors"):
        answers["weights"] = reading.kind
    elif reading.is_bare and not reading.objects:
        answers["weights"] = "wrapped" if prefix else "state_dict"
    else:
        answers["weights"] = "checkpoint"
    if answers["weights"] == "checkpoint":
        if len(keys) > 1:
            names = ", ".join(keys[:MANY]) + ", ..." * (len(keys) > MANY)
            questions["checkpoint_key"] = f"weights of a network are under {names}"
        elif len(reading.states) > 1 and keys[0].isprintable():
            answers["checkpoint_key"] = keys[0]
    if answers["weights"] in ("wrapped", "checkpoint", "safetensors"):
        if len(prefixes) > len(keys):
            names = ", ".join(dict.fromkeys(p or "nothing" for _, p in sorted(prefixes)))
            questions["state_dict_prefix"] = f"a network's names follow after {names}"
        elif PREFIX.fullmatch(prefix):
            answers["state_dict_prefix"] = prefix
        elif prefix:
            questions["state_dict_prefix"] = f"no answer can be {prefix}: rename the weights"


def conversion(inspection: Inspection) -> tuple[Path, list[str]]:
    """Return a file of weights alone, and the lines of Python that make it of such a checkpoint."""
    path = inspection.path
    weights = path.with_name(f"{path.name.partition('.')[0] or 'model'}-weights.pth")
    keys = "".join(f"[{key!r}]" for key in inspection.places[0].key.split(".") if key)
    return weights, [
        "import torch",
        f"x = torch.load({str(path)!r}, weights_only=False){keys}",
        f"torch.save(x.state_dict() if hasattr(x, 'state_dict') else x, {str(weights)!r})",
    ]


def common_prefix(names: Collection[str]) -> str:
    """Return the parts that all dotted names begin with, with the dot after them."""
    first, last = min(names), max(names)  # what these share, all share
    parts = zip(first.split(".")[:-1], last.split(".")[:-1], strict=False)
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], parts)
    return "".join(f"{part}." for part, _ in shared)


def is_without_bias(inspection: Inspection) -> bool:
    """Tell whether the classes are the rows of a matrix alone, of which no file shows the use."""
    described = inspection.described
    return (
        described is not None
        and not inspection.is_shown
        and described.texts[-1] == "linear bias=False"
    )


def add_head(answers: dict[str, Any], questions: dict[str, str], inspection: Inspection) -> None:
    """Answer what the last layer is; a layer that the file does not show stays open."""
    described = inspection.described
    if described is None or (inspection.head != "layers" and not described.is_open):
        answers["head"] = inspection.head
        if inspection.head_units:
            answers["head_units"] = inspection.head_units
        if inspection.head != "linear" and not inspection.is_shown:
            questions["head"] = (
                "it is taken for a dropout, which changes nothing, what stands before its first "
                "weights: weights do not show it"
            )
        return
    answers["head"] = "layers"
    if "." in catalogue.load()[str(inspection.architecture)].classifier:
        answers["head_place"] = inspection.head_place
    answers["head_layers"] = described.layers
    if is_without_bias(inspection):
        questions["head_layers"] = (
            "a last layer without a bias may be a plain linear one, or compare directions (a "
            "cosine head, as ArcFace's): weights do not show it"
        )
    if described.is_open:
        questions["head_layers"] = (
            f"weights do not show what stands at {UNKNOWN} in {as_answer(described.layers)}: relu, "
            "another activation, or dropout"
        )


def add_transforms(
    answers: dict[str, Any], questions: dict[str, str], inspection: Inspection, own: int | None
) -> None:
    """Answer how images are prepared, as far as the file tells.

    It tells the size where it depends on it, and all where a training script kept its arguments.
    """
    size = inspection.image_size
    task = tasks().get(inspection.task or inspection.likely.get("task", ""))
    is_whole = task is not None and task.facts["keeps_whole_image"]
    architecture = answers.get("architecture")
    is_timm = str(architecture).startswith("timm/")
    training = inspection.training
    unlike = [training.of_images] * bool(training.of_images)
    unlike += [f"{one.name} ({one.value})" for one in training.unread]
    if training.script in ("timm", "torchvision") and task is not None and not unlike:
        is_known = inspection.timm_name or training.script == "torchvision"
        found, _ = proposed(inspection, architecture, task.facts)
        if is_known and found:
            answers |= found
            return
    if size and (size != own or is_whole) and not is_timm:
        answers |= {"transforms": "custom", "image_size": size}
        if is_whole:  # and the network takes squares alone
            answers["resize_mode"] = "stretch"
        questions["mean"] = questions["std"] = questions["interpolation"] = (
            f"the file takes images of {size} pixels, and does not tell how they are prepared"
        )
    else:
        questions["transforms"] = (
            "weights do not show how images were prepared: sizes, mean, std, interpolation"
        )
    if unlike:
        questions["transforms"] = (
            "the file has settings of images that are not understood, or that no answers describe: "
            + ", ".join(unlike)
        )
