"""The combinations of answers: for each task, the product of the axes, with all else dealt out.

Values come from the questions and from the facts of the tasks, backends and the like, so that the
matrix grows with them. A question that is answered in free text needs values in `SAMPLES` or, if it
is of one task, input or label format alone, under `samples` in the facts of that.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from generator import catalogue, facts
from generator.fast import FastRenderer
from generator.rendering import plain_copy, template_root
from generator.speed import EXACT, PLAIN, takes

Answers = dict[str, Any]

AXES = ("task", "architecture", "num_classes", "weights", "label_format", "transforms")

QUICK_AXES = AXES[2:]  # of the product, in which the last changes most often
MANY = 100  # combinations
FEW = 5  # architectures
ENOUGH = 14  # times that two values meet on average, so that hardly any two never do

# For the questions without choices: one value that is common, and one that is not.
SAMPLES: dict[str, list[Any]] = {
    "project_name": ["Cats and Dogs", 'Katzen & "Hunde" – it\'s 猫 🐱'],
    "model_name": ["cats-and-dogs", "A" + "b-_9" * 15],
    "num_classes": [3, 100],
    "timm_name": ["resnet18", "mobilenetv3_small_050.lamb_in1k"],
    "checkpoint_key": ["", "model_ema.state_dict"],
    "output_key": ["", "scores"],
    "state_dict_prefix": ["module.", "model.backbone."],
    "head_units": [512, 64],
    "head_layers": [
        ["flatten", "linear 64", "batchnorm", "relu", "dropout 0.2", "linear"],
        {"flat": "flatten", "fc1": "linear 48 bias=False", "act": "tanh", "fc2": "linear"},
    ],
    "transform_input": [True, False],
    "demo": [False, True],
    "evaluation": [False, True],
    "training": [False, True],
    "image_size": [0, 224],
    "resize_size": [0, 640],
    "mean": [[0.5], 0.1307],
    "std": [[0.5], 0.3081],
    "top_k": [5, 1],
    "max_request_mb": [20, 3],
    "max_megapixels": [50, 4],
    "max_pictures": [64, 1],
    "max_label_length": [200, 30],
}
# How many numbers these return without their last layer.
TIMM_FEATURES = {"resnet18": 512, "mobilenetv3_small_050.lamb_in1k": 1024}
NOT_ASKED = facts.ways()  # they leave no trace in a project

# What the network depends on, besides its architecture and classes. These are dealt out over the
# axes here and not over all, for building a network takes a hundred times as long as rendering.
OF_THE_NETWORK = (
    "color_mode", "head", "head_units", "head_place", "head_layers", "transform_input",
    "image_size",
)  # fmt: skip
NETWORK_AXES = ("architecture", "num_classes", "transforms")

# Of these, a task takes some values only: those that its facts have under this name.
OF_THE_TASK = {"resize_mode": "resize_modes", "decode": "decodes"}

# Which fact a task must have, so that it is not refused.
NEEDED = {"evaluation": "data", "training": "trains"}

# Not every accelerator, backend and precision go together: these are dealt out as one.
SPEED = ("accelerator", "backend", "precision")


@cache
def questions(task: str) -> dict[str, list[Any]]:
    """Return the values to try for each question that is asked for a task, in their order.

    Raises:
        LookupError: A free-text question has no values to try.
    """
    fact = facts.tasks()[task]
    item = facts.inputs()[fact["input"]]
    samples = SAMPLES | item["samples"] | fact.get("samples", {})
    for label in facts.labels().values():
        samples |= label.get("samples", {})
    skipped = NOT_ASKED | facts.questions_of_tasks() - set(fact.get("questions", []))
    skipped |= facts.questions_of_inputs() - set(item["questions"])
    if not fact["has_heads"]:
        skipped |= {"head", "head_units", "head_place", "head_layers"}
    values: dict[str, list[Any]] = {}
    for name, question in facts.questions().items():
        if question.get("when") is False or name in skipped:
            continue
        if name == "task":
            values[name] = [task]
        elif name == "architecture":
            values[name] = architectures(task)
        elif name == "backend" and "speeds" in fact:
            values[name] = [*fact["speeds"]]
        elif name == "precision" and "speeds" in fact:
            values[name] = [*dict.fromkeys(itertools.chain.from_iterable(fact["speeds"].values()))]
        elif name == "label_format" and not fact["has_labels"]:
            values[name] = ["none"]
        elif NEEDED.get(name, "value") not in fact:  # it is refused
            values[name] = [False]
        elif OF_THE_TASK.get(name) in fact:
            values[name] = fact[OF_THE_TASK[name]]
        elif "choices" in question:
            each = list(facts.menu(name, task))
            values[name] = subsets(each) if question.get("multiselect") else each
        elif name in samples:
            values[name] = samples[name]
        else:
            raise LookupError(
                f"{name} has no choices: add values to try to SAMPLES in {__file__}, or to samples "
                f"in {fact['path']}"
            )
    return {name: each for name, each in values.items() if each}


def architectures(task: str) -> list[str]:
    """Return the networks that a task takes."""
    kind = facts.tasks()[task]["networks"]
    return [name for name, arch in catalogue.load().items() if kind in arch.kinds]


def subsets(values: list[Any]) -> list[list[Any]]:
    """Return what may be chosen where several may be: none, each alone, each two, all together."""
    sizes = {0, 1, 2, len(values)}
    return [list(some) for size in sizes for some in itertools.combinations(values, size)]


@cache
def asker() -> tuple[FastRenderer, tempfile.TemporaryDirectory[str]]:
    """Return a renderer to ask which answers are taken, and the folder that it needs for that."""
    folder = tempfile.TemporaryDirectory(prefix="questions-")
    return FastRenderer(plain_copy(Path(folder.name))), folder


@cache
def speeds(task: str, weights: str) -> list[tuple[str, ...]]:
    """Return which accelerators, backends and precisions go together, as the questions have it.

    All, if none do: the questions refuse these weights for the task.
    """
    renderer, _ = asker()
    every = list(itertools.product(*(questions(task)[name] for name in SPEED)))
    found = []
    for speed in every:
        with contextlib.suppress(ValueError):
            renderer.complete({"task": task, "weights": weights, **zipped(SPEED, speed)})
            found.append(speed)
    return found or every


def zipped(names: Iterable[str], values: Iterable[Any]) -> Answers:
    """Return answers by question."""
    return dict(zip(names, values, strict=True))


def combinations(seed: int = 0) -> list[Answers]:
    """Return the whole matrix: one dict of answers for each project."""
    return [answers for task in facts.tasks() for answers in combinations_of(task, seed)]


def combinations_of(task: str, seed: int = 0) -> Iterator[Answers]:
    """Yield the combinations for one task."""
    values = questions(task)
    deal = random.Random(seed)
    # Shuffled packs, not single draws: no value can be missing for long.
    packs = {name: dealt(values[name], deal) for name in values if name not in (*AXES, *SPEED)}
    packs_of_speeds = {weights: dealt(speeds(task, weights), deal) for weights in values["weights"]}
    of_the_network = [name for name in OF_THE_NETWORK if name in packs]
    # A pack for each architecture: it meets few combinations, and these have each value. Where
    # there are few architectures, chance would not do for the rest: a pack for each preparation.
    is_small = len(values["architecture"]) < FEW
    packed = [name for name in ("architecture", "transforms")[: 1 + is_small] if name in values]
    packs_of_networks = {
        each: {name: dealt(values[name], deal) for name in of_the_network}
        for each in itertools.product(*(values[name] for name in packed))
    }
    networks: dict[tuple[Any, ...], Answers] = {}
    axes = [name for name in AXES if name in values]
    product = list(itertools.product(*(values[name] for name in axes)))
    for combination in product * rounds(task):
        answers = zipped(axes, combination)
        answers |= {name: next(pack) for name, pack in packs.items() if name not in of_the_network}
        answers |= zipped(SPEED, next(packs_of_speeds[answers["weights"]]))
        key = tuple(answers.get(name) for name in NETWORK_AXES)
        if key not in networks:
            of_this = packs_of_networks[tuple(answers[name] for name in packed)]
            networks[key] = {name: next(pack) for name, pack in of_this.items()}
        answers |= networks[key]
        yield made_possible(answers)


def rounds(task: str) -> int:
    """Return how often the product of a task's axes is dealt, so that each value comes.

    Where there are many combinations, each value also meets each value of the axes. Those that
    change slowly, as the architecture, meet all values in turn; with others chance decides.
    """
    counts = {name: len(each) for name, each in questions(task).items()}
    size = math.prod(counts[name] for name in AXES if name in counts)
    needed = max(counts.values())
    if size >= MANY:
        most = max(count for name, count in counts.items() if name not in AXES)
        needed = ENOUGH * most * max(counts[name] for name in QUICK_AXES if name in counts)
    return math.ceil(needed / size)


def made_possible(answers: Answers) -> Answers:
    """Replace what the questions would refuse for the values of the axes."""
    arch, task = catalogue.load()[answers["architecture"]], facts.tasks()[answers["task"]]
    changes: Answers = {}
    if "head" in answers and arch.classifier_kind != "Linear":
        changes["head"] = "linear"  # the other heads replace a linear layer
    if "head" in answers and not arch.whole_in:
        changes["head_place"] = "last"
    if task["is_headless"] and answers["architecture"] == "timm":
        changes["num_classes"] = TIMM_FEATURES[answers["timm_name"]]
    elif answers["weights"] == "pretrained":
        known = task["pretrained_classes"] and arch.classes
        changes["num_classes"] = known or answers["num_classes"]
        if "keypoint_names" in answers and arch.detection:
            changes["keypoint_names"] = arch.detection["keypoints"]
    if "model_output" in answers:
        changes |= fitting_output(answers, {x["value"]: x for x in task["outputs"]})
    decode = answers.get("decode")
    if (answers["accelerator"], decode) == ("cpu", "gpu") or (
        decode not in task.get("decodes", [decode])
    ):
        changes["decode"] = "exact"
    if answers.get("training") and "trains" not in facts.checkpoints()[answers["weights"]]:
        changes["training"] = False
    if (answers.get("training"), changes.get("decode", decode)) == (True, "gpu"):
        changes["decode"] = "exact"
    network = (answers["task"], answers["architecture"])
    if not takes(*network, answers["backend"], answers["precision"]):
        changes |= {"backend": PLAIN, "precision": EXACT}
    if arch.size_rule == "fixed" and "preprocessing" in task:
        changes["image_size"] = 0
    return answers | changes


def fitting_output(answers: Answers, outputs: Mapping[str, Mapping[str, Any]]) -> Answers:
    """Return what makes an answer to `model_output` possible: two classes, for one output.

    Args:
        answers: The combination.
        outputs: What the task says of the values.
    """
    if "outputs" not in outputs[answers["model_output"]]:
        return {}
    if answers["weights"] == "pretrained":
        return {"model_output": "logits"}
    is_own = (
        answers["architecture"] == "custom"
        or facts.checkpoints()[answers["weights"]]["loader"] != "state_dict"
    )
    changes: Answers = {"num_classes": 2}
    returns_dict = facts.tasks()[answers["task"]]["torchvision_returns_dict"]
    if "own" in outputs[answers["model_output"]] and (
        not is_own or (returns_dict and answers["architecture"] not in catalogue.OTHERS)
    ):
        changes["model_output"] = next(
            name for name, x in outputs.items() if "outputs" in x and "own" not in x
        )
    return changes


def dealt(values: list[Any], deal: random.Random) -> Iterator[Any]:
    """Yield the values for ever, in packs that are each shuffled anew."""
    while True:
        yield from deal.sample(values, len(values))


def is_forbidden(answers: Mapping[str, Any]) -> bool:
    """Tell whether the questions must refuse this combination."""
    task = facts.tasks()[answers["task"]]
    if answers["weights"] == "pretrained" and (
        answers["architecture"] in catalogue.OTHERS or not task["pretrained_classes"]
    ):
        return True
    if "transforms" not in answers:  # it takes no images
        return False
    if answers["transforms"] not in task["transforms"]:
        return True
    loader = facts.checkpoints()[answers["weights"]]["loader"]
    if loader not in task.get("loaders", [loader]):
        return True
    is_custom = (answers["architecture"], answers["transforms"]) == ("custom", "custom")
    if "preprocessing" in task and is_custom:  # the network prepares images, as its code has it
        return True
    return (answers["architecture"], answers["transforms"]) == ("custom", "pretrained")


# What the checks must know of each project, and the files of answers may leave out.
DEFAULTS: Answers = {"backend": "eager", "precision": "fp32", "deploy": []}


def with_defaults(answers: Mapping[str, Any]) -> Answers:
    """Return answers of which none is missing that the checks need."""
    return {"task": next(iter(facts.tasks())), **DEFAULTS, **answers}


def command_line(answers: Mapping[str, Any]) -> str:
    """Return the `copier copy` line that renders the same project."""
    words = ["copier", "copy", "--defaults", "--vcs-ref=HEAD"]
    for name, value in answers.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["-d", f"{name}={text}"]
    return shlex.join([*words, str(template_root()), "project"])


def covered(matrix: Iterable[Answers]) -> set[tuple[str, str, str, str]]:
    """Return which value of which question meets which value of which axis."""
    met: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for answers in matrix:
        others = {(name, json.dumps(x)) for name, x in answers.items() if name not in AXES}
        for axis in AXES:
            if axis in answers:
                met[axis, str(answers[axis])] |= others
    return {(*one, *other) for one, others in met.items() for other in others}
