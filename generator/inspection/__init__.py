"""Tells what a checkpoint file is, from names and shapes alone.

No code from the file is run, no tensor is read, torch is not imported. What is told is certain, or
is said not to be known.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generator import catalogue, facts
from generator.inspection import detectors, hub
from generator.inspection.answers import COLOR_MODES, SERVED_HEADS, answers_of, meanings_of
from generator.inspection.class_names import ClassNames, with_background
from generator.inspection.heads import Described
from generator.inspection.hub import Hub
from generator.inspection.kinds import DETECTORS, Sign, sign_of
from generator.inspection.matching import (
    TORCH_NAME,
    Match,
    Near,
    count_parameters,
    is_copy,
    nearest,
    recognise,
    recognise_onnx,
    wrapper_of,
)
from generator.inspection.modules import LIMITS, is_inert
from generator.inspection.pickles import Tensor
from generator.inspection.reading import GRAPHS, Reading, State, read
from generator.inspection.refusals import printable
from generator.inspection.text_folders import TextFolder, text_folder, weights_in
from generator.inspection.training import Training, example, together, told_by
from generator.shared.scores import TEMPERATURE
from generator.tasks import Task, serving, tasks

# What many call the values that a layer before a network normalises images with.
STATISTICS = re.compile(
    r"(.*\.)?_?((pixel|image|img|norm(alize)?|new)_)?(means?|stds?|mu|sigma)", re.IGNORECASE
)

# What has a mean of its own in modules that training alone has.
OF_TRAINING = re.compile(
    r"(^|[._])(loss|criterion|metrics?|acc(uracy)?|perceptual|lpips|fid|teacher)[._]", re.IGNORECASE
)

# What many call the layer that gives the classes.
LAST = re.compile(
    r"(^|\.)(\w*classifier|heads?|fc|logits|cls|out(put)?|last_linear)(\.\w+)?\.weight$"
)


@dataclass(frozen=True)
class Place:
    """Weights in a file.

    Attributes:
        key: where the state_dict is in a training checkpoint, as in "ema.model"; "" for all of it.
        prefix: what comes before the network's own names.
        network: the one of torchvision, or else of timm if it is one alone; None if not known.
        is_copy: whether the place is called a copy of other weights, such as EMA's.
    """

    key: str
    prefix: str
    network: str | None
    is_copy: bool


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint is. What is not known is None.

    Attributes:
        path: the file.
        size: bytes.
        kind: a key of `reading.KINDS`, such as "torch" or "safetensors".
        what: what it is beyond its kind, such as "a training checkpoint".
        network_kind: of the network: a key of `catalogue.KINDS`.
        task: the one that the network is for, where no other is possible.
        places: where weights of a network are. Where there are several, the first is described
            below, and it is for people to choose.
        prefix: what comes before the network's own names there.
        architecture: torchvision's name of the network.
        others: torchvision's other networks with the same names and shapes.
        told: answers on a detector that names or a pickled network give.
        timm: names of timm's networks with the same names and shapes, apart from the last layer.
        classes: how many the network tells apart.
        channels: of the image.
        image_size: in pixels, if the weights or the graph depend on it.
        head: an answer to the `head` question, as far as shapes show it; "other" for further
            layers in its place; "outside" for layers beside the network; "none" if there is none;
            "graph" if the file does not keep its names.
        head_units: of the head's hidden layer.
        head_layers: names and shapes of the head's weights.
        described: the layers of the head as answers have them, if they replace the network's own.
        head_place: an answer to the question of this name, for them.
        is_shown: whether the file shows the head's layers without weights, too.
        differences: in what a pickled network differs from the architecture that its weights fit.
        transform_input: whether a pickled network rescales its input, None if that is not shown.
        timm_name: the name that a pickled network of timm's or its training gives; "" if none does.
        training: what the file tells of the network's training.
        hub: what lies beside weights of transformers.
        folder: of transformers, with a network for texts; it is served as a whole.
        traced_size: in pixels, of the square images that it was traced with; it may take others.
        must_answer: questions whose usual answer would be against what the file tells, each with
            what that is, and the options to choose from.
        precision: how many tensors have each dtype.
        parameters: how many numbers are trained.
        nearest: for a network that is not known, those of torchvision that have most in common.
        objects: Python classes in it, for which `torch.load(weights_only=True)` refuses it.
        unreadable: what in it torch cannot read without running code, "" if nothing; it then has to
            be converted where it was made, as `answers.conversion` has it.
        notes: what else people should know.
        answers: the answers for `copier copy` that follow.
        open_questions: the questions that the file cannot answer, each with why.
        likely: answers that are likely, not certain; of a network that is not known, if its weights
            are in the usual order.
        evidence: what in the file speaks for the likely task; "" if it is merely the first.
        class_names: names of classes that the file brings.
        advice: how to export weights with which only their framework can compute; else "".
        layouts: what makes a plain state_dict of the file, which no project reads as it is.
    """

    path: Path
    size: int
    kind: str
    what: str
    network_kind: str | None
    task: str | None
    places: tuple[Place, ...]
    prefix: str
    architecture: str | None
    timm: tuple[str, ...]
    classes: int | None
    channels: int | None
    image_size: int | None
    head: str | None
    head_units: int | None
    head_layers: dict[str, tuple[int, ...]]
    precision: dict[str, int]
    parameters: int | None
    nearest: tuple[Near, ...]
    objects: tuple[str, ...]
    unreadable: str
    notes: tuple[str, ...]
    answers: dict[str, Any] = field(default_factory=dict)
    open_questions: dict[str, str] = field(default_factory=dict)
    likely: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""
    class_names: tuple[ClassNames, ...] = ()
    layouts: tuple[str, ...] = ()
    advice: str = ""
    described: Described | None = None
    head_place: str = "whole"
    is_shown: bool = False
    differences: tuple[str, ...] = ()
    transform_input: bool | None = None
    others: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    timm_name: str = ""
    training: Training = field(default_factory=Training)
    hub: Hub | None = None
    folder: TextFolder | None = None
    traced_size: int | None = None
    must_answer: Mapping[str, str] = field(default_factory=dict)


def inspect_file(path: Path) -> Inspection:
    """Inspect a checkpoint file, or a folder as the Hugging Face Hub has it.

    Raises:
        UserError: It is no checkpoint, or damaged; the message says what it is.
    """
    if (folder := text_folder(path)) is not None:
        return network_for_texts(folder)
    path = (hub.weights_of(path) if path.is_dir() else None) or path
    reading = read(path)
    if (training := hub.timm_training(path)).script:
        reading = replace(reading, training=training, class_names=hub.names_beside(path))
    elif config := hub.settings_beside(path):
        told = told_by(config)
        names = reading.class_names or hub.names_beside(path)
        reading = replace(reading, training=together(reading.training, told), class_names=names)
    heads = {
        key: (reading.states[key], modules)
        for key, modules in reading.modules.items()
        if key in reading.states and modules[""].name == "Sequential"
    }
    found = [
        (key, match)
        for key, state in reading.states.items()
        for match in (
            recognise_onnx(state)
            if reading.kind == "onnx"
            else recognise(state, reading.modules.get(key), heads)
        )
    ]
    found.sort(key=lambda item: copied(item[0], item[1].prefix))
    inspection = recognised(path, reading, found) if found else unknown(path, reading)
    arch = catalogue.load().get(inspection.architecture or "")
    if arch is not None and arch.detection and arch.detection["has_background"]:
        names = with_background(reading.class_names, inspection.classes)
        reading = replace(reading, class_names=names)
    inspection = with_task(inspection, reading)
    if (size := inspection.image_size) is not None:  # which the weights tell: it may be told, too
        told = inspection.training
        unread = tuple(
            x for x in told.unread if (*x.questions, x.value) != ("image_size", str(size))
        )
        inspection = replace(inspection, training=replace(told, unread=unread))
    if calibration := reading.training.calibration or scaled_by(inspection, reading):
        task = inspection.task or inspection.likely.get("task")
        why = (
            f"that scores go through {calibration} behind its network, which the service does not "
            "do: bring a file with build_model(num_classes) whose forward does it, with --model "
            f"FILE. For predictions without it: -d task={task}"
        )
        inspection = replace(inspection, must_answer={**inspection.must_answer, "task": why})
    place, numbers = reading.training.embedding
    if numbers and numbers == inspection.classes and inspection.task is None:
        headless = [x.value for x in serving(inspection.network_kind) if x.facts["is_headless"]]
        why = (
            f"under {place} of embeddings of {numbers} numbers, as many as its last layer returns. "
            f"To serve them: -d task={'|'.join(headless)} and --model FILE, whose build_model "
            f"keeps that layer. If it tells {numbers} classes apart: "
            f"-d task={inspection.likely.get('task')}"
        )
        inspection = replace(inspection, must_answer={**inspection.must_answer, "task": why})
    if averages := reading.training.averages:
        key = inspection.places[0].key
        why = (
            f"under {averages} of averaged weights, which have no names and are not read. To "
            f"serve those under {key}: -d checkpoint_key={shlex.quote(key)}. To serve the averaged "
            "ones, save them where the network is: ema.copy_to(model.parameters()); "
            "torch.save(model.state_dict(), 'averaged.pth')"
        )
        inspection = replace(
            inspection, must_answer={**inspection.must_answer, "checkpoint_key": why}
        )
    answers, open_questions = answers_of(inspection, reading)
    named = [f"{one}, of its classes perhaps" for one in reading.class_names]
    advice = reading.advice or advice_on_graph(inspection, reading)
    beside_it = None if inspection.architecture else hub.hub_of(path)
    if beside_it is None:
        doubts = doubts_on_images(inspection, reading)
        inspection = replace(inspection, must_answer={**doubts, **inspection.must_answer})
    if beside_it is not None:
        answers |= beside_it.answers
        answers = {name: x for name, x in answers.items() if name != "task" or x in tasks()}
        open_questions = {name: x for name, x in open_questions.items() if name not in answers}
        inspection = replace(
            inspection,
            network_kind="classifier",
            classes=answers["num_classes"],
            nearest=(),
            likely={"task": serving("classifier")[0].value},
            notes=(f"config.json beside it tells that it is transformers' {beside_it.network}",),
            hub=beside_it,
        )
    return replace(
        inspection,
        what=printable(inspection.what),
        notes=tuple(map(printable, [*inspection.notes, *named])),
        class_names=reading.class_names,
        layouts=tuple(map(printable, reading.layouts)),
        advice="\n".join(map(printable, advice.split("\n"))),
        answers=answers,
        open_questions={
            name: printable(why)
            for name, why in {**open_questions, **inspection.must_answer}.items()
        },
    )


def scaled_by(inspection: Inspection, reading: Reading) -> str:
    """Return the tensor that scores are divided by, if it stands among those of the network."""
    state = reading.states[inspection.places[0].key]
    return next(
        (
            f"a division by the tensor {name}"
            for name, tensor in state.items()
            if name.rpartition(".")[2] in TEMPERATURE and math.prod(tensor.shape) == 1
        ),
        "",
    )


def network_for_texts(folder: TextFolder) -> Inspection:
    """Describe a folder of transformers with a network for texts.

    Raises:
        UserError: Its weights cannot be read.
    """
    path = weights_in(folder.path)
    found = unknown(path, read(path))
    (task,) = serving(folder.kind)
    return replace(
        found,
        network_kind=folder.kind,
        task=task.value,
        architecture=None,
        prefix="",
        classes=folder.answers["num_classes"] if task.facts["has_labels"] else None,
        channels=None,
        image_size=None,
        nearest=(),
        notes=tuple(map(printable, folder.notes)),
        likely={},
        answers={"task": task.value, **folder.answers}
        if "task" not in folder.must_answer
        else dict(folder.answers),
        open_questions={**folder.open_questions, **folder.must_answer},
        must_answer=folder.must_answer,
        folder=folder,
    )


def with_task(inspection: Inspection, reading: Reading) -> Inspection:
    """Add what the network is for, as far as its kind and its weights tell."""
    kind = inspection.network_kind
    possible = serving(kind)
    if kind is not None and not possible:
        served = ", ".join(tasks())
        note = f"it is a {kind}, which no task of this template takes (they are {served})"
        return replace(inspection, notes=(*inspection.notes, note), nearest=(), likely={})
    likely, notes = dict(inspection.likely), list(inspection.notes)
    if len(possible) == 1 and (classes := inspection.classes or likely.get("num_classes")):
        notes += possible[0].notes_on_classes(classes)
    names = [*reading.states[inspection.places[0].key], *reading.outputs]
    classes, head = inspection.classes or likely.get("num_classes"), inspection.head
    end = (inspection.described and inspection.described.end) or reading.training.head
    settings, told = reading.training.labels, reading.training.thresholds
    found = [
        (task, task.evidence_in_weights(names, classes, head, end, settings)) for task in possible
    ]
    proposed, evidence = next((pair for pair in found if pair[1]), found[0])
    limits = proposed.answers_on_thresholds(told, classes)
    must_answer = {
        **inspection.must_answer,
        **proposed.doubts_on_training(names, classes, end, settings, told),
        **doubts_on_thresholds(proposed, classes, reading.training, limits),
    }
    likely |= likely_outputs(proposed, inspection, likely) | limits
    if len(possible) == 1 and (inspection.architecture is not None or inspection.timm):
        return replace(
            inspection,
            task=proposed.value,
            must_answer=must_answer,
            notes=tuple(notes),
            likely=likely,
        )
    if evidence:
        notes.append(f"task={proposed.value} is likely: {evidence}")
    return replace(
        inspection,
        must_answer=must_answer,
        notes=tuple(notes),
        likely={"task": proposed.value, **likely},
        evidence=evidence,
    )


def doubts_on_thresholds(
    task: Task, classes: int | None, training: Training, limits: Mapping[str, Any]
) -> dict[str, str]:
    """Return the question that thresholds seem to answer which are told otherwise than it asks."""
    told, unread = training.thresholds, training.unread_thresholds
    if not unread and (limits or not told):
        return {}
    return {
        question: f"{unread or [*told]}, which is not "
        + ("one number for each class in their order" if isinstance(usual, list) else "one number")
        + f": -d '{question}={'[0.3, 0.5]' if isinstance(usual, list) else usual}'"
        for question, usual in task.answers_on_thresholds((0.5,), classes).items()
    }


def likely_outputs(task: Task, inspection: Inspection, likely: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one output likely means for a task; {} for other numbers of outputs."""
    outputs = inspection.classes or likely.get("num_classes")
    return task.answers_for(1) if outputs == 1 else {}


def recognised(path: Path, reading: Reading, found: list[tuple[str, Match]]) -> Inspection:
    """Describe the first of the networks that were found."""
    key, match = found[0]
    names = [match.name, *match.others]
    if match.others and reading.training.network in names:  # which the training tells
        match = replace(match, name=reading.training.network, others=())
    differences = [*match.differences, *normalising(reading, key, match)]
    told, must_answer, told_notes = told_of_detector(reading, match)
    places = [
        Place(k, m.prefix, m.name or (m.timm[0] if len(m.timm) == 1 else None), copied(k, m.prefix))
        for k, m in found
    ]
    return Inspection(
        path=path,
        size=path.stat().st_size,
        kind=reading.kind,
        what=reading.what,
        network_kind=match.kind,
        task=None,
        places=tuple(places),
        prefix=match.prefix,
        architecture=match.name,
        others=match.others,
        told=told,
        must_answer={**hidden_end(reading, match), **reading.must_answer, **must_answer},
        timm=match.timm,
        classes=match.head.classes or classes_of(reading),
        channels=match.channels or channels_of(reading),
        image_size=match.image_size or size_of(reading),
        traced_size=traced_size_of(reading),
        head=match.head.kind,
        head_units=match.head.units,
        head_layers=dict(match.head.layers),
        described=match.head.described,
        head_place=match.head.place,
        is_shown=match.head.is_shown,
        differences=tuple(map(printable, differences)),
        transform_input=match.transform_input,
        timm_name=timm_name(reading, key, match),
        training=reading.training,
        precision=precision(reading.states[key], match.prefix),
        parameters=match.parameters,
        nearest=(),
        objects=tuple(reading.objects),
        unreadable=printable(reading.unreadable),
        notes=(
            *reading.notes,
            *notes_on(reading, match, key),
            *beside(reading, key, match),
            *told_notes,
        ),
        likely=dict(reading.likely),
    )


def hidden_end(reading: Reading, match: Match) -> dict[str, str]:
    """Return what people have to answer where a layer without weights follows the last one."""
    head = match.head
    is_alone = head.described is not None and head.described.layers == ["linear"]
    if not is_alone or head.is_shown or reading.training.labels:
        return {}
    possible = serving(match.kind)
    return {
        "task": f"that {head.source} is alone in a Sequential, so that a layer without weights "
        f"follows, it seems, and not which: {meanings_of(possible)}. Name the task, such as "
        f"-d task={possible[0].value}"
    }


def doubts_on_images(inspection: Inspection, reading: Reading) -> dict[str, str]:
    """Return what tells how images are prepared, and is not read, for people to answer."""
    if reading.training.script or reading.kind in GRAPHS:
        return {}
    if settings := hub.images_of(inspection.path):
        return {
            "transforms": f"in {hub.PROCESSOR} beside it how its images are prepared, which is not "
            f"read for such a network ({settings}); name what is the same, {CUSTOM}"
        }
    statistics = [
        name
        for name, tensor in reading.states[inspection.places[0].key].items()
        if STATISTICS.fullmatch(name)
        and not OF_TRAINING.search(name)
        and math.prod(tensor.shape) in COLOR_MODES
    ]
    if not statistics or (inspection.architecture and not inspection.differences):
        return {}
    return {
        "transforms": f"that {' and '.join(statistics)} normalise its images, it seems, and their "
        f"numbers are not read. Name them, {CUSTOM}; where the code of the network has them, "
        "-d mean='[0, 0, 0]' -d std='[1, 1, 1]'"
    }


CUSTOM = (
    f"as in {example()}, "
    "and where the task asks for them resize_mode, resize_size and interpolation"
)


def told_of_detector(
    reading: Reading, match: Match
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return answers on a detector, what people have to answer, and notes."""
    told = dict(match.told)
    arch = catalogue.load().get(match.name or "")
    if arch is None or not arch.detection or not reading.training.detector:
        has_size = arch is not None and arch.detection and reading.training.tells_transforms
        if not has_size or "transforms" in told:
            return told, {}, []
    found, unclear = detectors.answers_to(str(match.name), reading.training)
    if "transforms" in told:  # a pickled network, which shows all but the scores
        unclear.pop("architecture", None)
        unclear.pop("transforms", None)
        found = {name: x for name, x in found.items() if name in LIMITS.values()}
    found = {name: x for name, x in found.items() if name not in told}
    unclear = {name: why for name, why in unclear.items() if name not in told}
    if match.others:  # told of what is chosen later
        if "transforms" in found:  # all but what is told are those of one of these networks
            unclear["transforms"] = detectors.told_sizes(reading.training)
        for name in ("transforms", *detectors.SCALED.values(), *detectors.NORMALISED.values()):
            found.pop(name, None)
        for name, value in found.items():
            unclear.setdefault(name, f"{name} is {value}: -d {shlex.quote(f'{name}={value}')}")
        found = {}
    shown = ", ".join(f"{name} {value}" for name, value in found.items())
    notes = [f"the arguments of its detector tell {shown}"] if found else []
    return told | found, unclear, notes


def timm_name(reading: Reading, place: str, match: Match) -> str:
    """Return the name of timm's that a checkpoint gives, of those that its weights fit."""
    top = reading.modules.get(place, {}).get(match.prefix.removesuffix("."))
    told = [top.timm] if top is not None else []
    if reading.training.script == "timm" or reading.training.network != match.name:
        told.append(reading.training.network.rpartition("/")[2])
    return next((name for name in told if name.partition(".")[0] in match.timm), "")


def normalising(reading: Reading, place: str, match: Match) -> list[str]:
    """Return how the network is a part of one that prepares images itself, for people."""
    lines = []
    for key, tensor in reading.states[place].items():
        is_inside = key.startswith(match.prefix) or not key.isprintable()
        if not is_inside and STATISTICS.fullmatch(key) and math.prod(tensor.shape) in (1, 3):
            lines.append(f"{key} lies beside the network, which normalises its images, it seems")
    modules = reading.modules.get(place, {})
    parent = match.prefix.removesuffix(".").rpartition(".")[0]
    if match.prefix and match.wrapper and modules[parent].name == "Sequential":
        others = {
            path: module
            for path, module in modules.items()
            if path.rpartition(".")[0] == parent and path not in ("", match.prefix[:-1])
        }
        lines += [
            f"{path}, {module}, comes before or after the network"
            for path, module in others.items()
            if not is_inert(module)
        ]
    return lines


def beside(reading: Reading, place: str, match: Match) -> list[str]:
    """Return a note on the weights that are not the network's."""
    names = [key for key in reading.states[place] if not key.startswith(match.prefix)]
    if reading.kind == "onnx":  # which has values of the graph among them
        names = [key for key in names if TORCH_NAME.fullmatch(key)]
    if not names or match.head.kind == "outside":
        return []
    more = f", ... ({len(names)} in all)" if len(names) > 3 else ""
    return [f"beside the network, and no part of it: {', '.join(names[:3])}{more}"]


def unknown(path: Path, reading: Reading) -> Inspection:
    """Describe a network that is not known: what can be told without knowing it."""
    main = min(reading.states, key=lambda key: (is_copy(key), -len(reading.states[key])))
    state = reading.states[main]
    prefix = wrapper_of(state)
    sign = sign_of(state)
    likely, hints = ends_of(reading.constants if reading.kind in GRAPHS else state, sign)
    likely |= reading.likely
    return Inspection(
        path=path,
        size=path.stat().st_size,
        kind=reading.kind,
        what=reading.what,
        network_kind=sign.kind if sign is not None else kind_of(reading),
        task=None,
        places=tuple(
            Place(key, wrapper_of(other), None, is_copy(key))
            for key, other in sorted(reading.states.items(), key=lambda item: item[0] != main)
        ),
        prefix=prefix,
        architecture=None,
        timm=(),
        classes=classes_of(reading),
        channels=channels_of(reading),
        image_size=size_of(reading),
        traced_size=traced_size_of(reading),
        must_answer=reading.must_answer,
        head=None,
        head_units=None,
        head_layers={},
        training=reading.training,
        precision=precision(state, prefix),
        parameters=count_parameters(
            {key: x.shape for key, x in state.items() if not x.dtype.startswith(("int", "bool"))}
        )
        or None,
        nearest=tuple(nearest(state)),
        objects=tuple(reading.objects),
        unreadable=printable(reading.unreadable),
        notes=(*reading.notes, *notes_on(reading, None), *hints),
        likely=likely,
    )


def ends_of(state: State, sign: Sign | None) -> tuple[dict[str, Any], list[str]]:
    """Return what the first and the last weights of a network would mean, and a note on each.

    Their order is that of the code that built the network, which most write from first to last.

    Args:
        state: names and shapes.
        sign: what shows that the network is no classifier.
    """
    images = [key for key, x in state.items() if len(x.shape) == 4]
    matrices = [key for key, x in state.items() if len(x.shape) == 2]
    likely: dict[str, Any] = {}
    notes = []
    if images and state[images[0]].shape[1] in COLOR_MODES:
        likely["color_mode"] = COLOR_MODES[state[images[0]].shape[1]]
        notes.append(
            f"{images[0]} {state[images[0]].shape} comes first, so images may be "
            f"{'in colour' if likely['color_mode'] == 'RGB' else 'grayscale'}"
        )
    if sign is not None:
        notes.append(f"{sign.name} is what a {sign.kind} has")
        if sign.classes:
            likely["num_classes"] = sign.classes
            notes.append(f"its rows may be the classes: {sign.classes}")
    elif matrices:
        name, why = last_of(matrices, state)
        likely["num_classes"] = state[name].shape[0]
        notes.append(
            f"{name} {state[name].shape} is {why}, so there may be {likely['num_classes']} classes"
        )
    return likely, notes


def last_of(matrices: list[str], state: State) -> tuple[str, str]:
    """Return the matrix that gives the classes, most likely, and why.

    Files in alphabetical order, such as safetensors, have it anywhere.
    """
    taken = {state[key].shape[1] for key in matrices}
    ends = [key for key in matrices if state[key].shape[0] not in taken]
    called = [key for key in ends or matrices if LAST.search(key)]
    if called:
        return called[-1], "called as a last layer is"
    if ends:
        return ends[-1], "a matrix whose output no other takes"
    return matrices[-1], "the last matrix"


def copied(key: str, prefix: str) -> bool:
    """Tell whether a place or its prefix is called a copy."""
    return is_copy(key) or is_copy(prefix)


def precision(state: State, prefix: str) -> dict[str, int]:
    """Count the tensors of each dtype, the most frequent first; counters and the like aside."""
    inside: list[Tensor] = [x for key, x in state.items() if key.startswith(prefix)]
    floats = [x.dtype for x in inside if "float" in x.dtype]
    return dict(Counter(floats or [x.dtype for x in inside]).most_common())


# What a file with a graph says of images (N, C, H, W) and of logits, as `catalogue.KINDS` has them.


def kind_of(reading: Reading) -> str | None:
    """Return the kind of network that the shape of the graph's logits fits."""
    dimensions = len(reading.output_shape or ())
    kinds = (key for key, kind in catalogue.KINDS.items() if kind.dimensions == dimensions)
    return next(kinds, None)


def classes_of(reading: Reading) -> int | None:
    """Return the number of classes that the graph gives."""
    return reading.output_shape[1] if reading.output_shape and kind_of(reading) else None


def channels_of(reading: Reading) -> int | None:
    """Return the channels of the image that the graph takes."""
    shape = reading.input_shape
    return shape[-1 if is_channels_last(reading) else 1] if shape and len(shape) == 4 else None


def size_of(reading: Reading) -> int | None:
    """Return the side of the image that the graph takes, if it takes no other."""
    return None if reading.kind == "torchscript" else side_of(reading)


def traced_size_of(reading: Reading) -> int | None:
    """Return the side of the images that TorchScript was traced with."""
    return side_of(reading) if reading.kind == "torchscript" else None


def side_of(reading: Reading) -> int | None:
    """Return the side of the images that the graph was made with, if they are squares."""
    shape = reading.input_shape
    if not shape or len(shape) != 4:
        return None
    height, width = shape[1:3] if is_channels_last(reading) else shape[2:]
    return height if height == width else None


def is_channels_last(reading: Reading) -> bool:
    """Tell whether the graph takes images (N, H, W, C), as those of TensorFlow do."""
    shape = reading.input_shape or ()
    return len(shape) == 4 and shape[3] in COLOR_MODES and shape[1] not in COLOR_MODES


def advice_on_graph(inspection: Inspection, reading: Reading) -> str:
    """Return what to do where a file with a graph holds what no project takes; else ""."""
    if reading.kind not in GRAPHS:
        return ""
    if is_channels_last(reading):
        return (
            "it takes images as (N, height, width, channels), as TensorFlow does, and a project "
            "sends (N, channels, height, width). Export it so; tf2onnx has --inputs-as-nchw"
        )
    loader = facts.checkpoints()[reading.kind]["loader"]
    able = serving(inspection.network_kind)
    if not able or any(loader in task.facts.get("loaders", [loader]) for task in able):
        return ""
    return (
        f"no project serves such a network ({inspection.network_kind}) from such a file: what "
        "makes boxes of its outputs lies outside of it, in as many forms as there are libraries. "
        "Bring the weights (a state_dict), and the file that builds the network"
    )


def notes_on(reading: Reading, match: Match | None, place: str = "") -> list[str]:
    """Return what people should know of the graph, and of where the classes were read."""
    notes = []
    shape = reading.input_shape
    if shape and len(shape) == 4 and not is_channels_last(reading):
        sizes = " x ".join("any" if n is None else str(n) for n in shape[2:])
        if reading.kind == "torchscript":
            notes.append(f"traced with images of {sizes} pixels")
        elif isinstance(shape[0], int):
            notes.append(f"exported for batches of exactly {shape[0]}, of {sizes} pixels")
        if reading.kind != "torchscript" and None not in shape[2:] and shape[2] != shape[3]:
            notes.append(
                f"it takes images of {sizes} pixels alone, and a project makes squares: export it "
                "for a square, or with free height and width"
            )
    if match is None:
        return notes
    if count := match.told.get("keypoint_names"):
        notes.append(f"it finds {count} keypoints, whose names are not in the file")
    if match.kind in DETECTORS and not match.told.get("transforms"):
        notes.append(
            "weights do not show the sizes of a detector's anchors: they are torchvision's own, "
            "else bring the file that builds the network"
        )
    head = match.head
    training = reading.training
    if training.script or training.tells_transforms:
        where = f"under {training.where}" if training.where else "in the checkpoint"
        script = {
            "timm": "timm's train.py, with its arguments",
            "torchvision": "torchvision's reference training, with its arguments",
            "imagenet": "torch's ImageNet example",
        }.get(training.script, "training parameters")
        notes.append(f"{where} it tells how it was trained: {script}")
    if match.wrapper and not match.wrapper.startswith(("torch.nn.", "torch._dynamo.")):
        notes.append(
            f"the network is inside a {match.wrapper}; what that computes besides is not in the "
            "file, and not served"
        )
    if head.described is not None and head.described.end:
        notes.append(f"the last layer, {head.described.end}, is left out: the service computes it")
    if match.auxiliary:
        names = ", ".join(f"{name}*" for name in match.auxiliary)
        notes.append(f"{names} is left out: only training needs this auxiliary head")
    if head.source and head.kind not in SERVED_HEADS:
        notes.append(f"the classes are the rows of {head.source}, its last matrix")
    if timm_name(reading, place, match):
        return notes
    if match.name and match.timm:
        names = ", ".join(match.timm)
        notes.append(
            f"timm's {names} {'has' if len(match.timm) == 1 else 'have'} the same names and "
            "shapes, and some of timm's compute something else; weights cannot tell"
        )
    elif len(match.timm) > 1:
        notes.append(f"it may be each of timm's {', '.join(match.timm)}; weights cannot tell")
    return notes
