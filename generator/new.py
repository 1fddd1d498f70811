"""`ts-template new`: from a checkpoint to a service that has answered, in one command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from generator import catalogue, facts, making
from generator.answers_file import answers_in
from generator.errors import UserError
from generator.inspection import Inspection, inspect_file, onnx
from generator.inspection.answers import conversion, is_without_bias
from generator.inspection.class_names import ClassNames, agreed
from generator.inspection.frameworks import without_labels
from generator.inspection.heads import UNKNOWN, answered, as_answer
from generator.inspection.hub import Hub, read_json
from generator.inspection.reading import GRAPHS
from generator.inspection.refusals import printable
from generator.inspection.report import as_text
from generator.inspection.text_folders import needed
from generator.inspection.training import example, together, told_by
from generator.inspection.transforms import (
    ASKED,
    TRACED,
    as_answered,
    average,
    likely_size,
    proposed,
)
from generator.layouts import convert, plain_name
from generator.making import Changes, item_of
from generator.rendering import installing
from generator.tasks import Task, only_asked_by_others, serving, tasks

MANY = 8  # lines of what differs that are printed
# What is not asked, or means something else, once another question has another answer.
DEPENDENT = {
    "architecture": ("head", "head_units", "head_place", "head_layers", "transform_input"),
    "head": ("head_units", "head_place", "head_layers"),
}

if TYPE_CHECKING:
    from generator.labels import Labels


def make_project(
    destination: Path,
    weights: Path,
    labels: Path | None,
    answers: Mapping[str, Any],
    *,
    ask: bool,
    model: Path | None = None,
    picture: Path | None = None,
    label_order: str = "",
    tuned: Callable[[Path], Changes | None] | None = None,
) -> None:
    """Render a project for a checkpoint, put the files into it, archive it, and try it.

    Args:
        destination: The project's folder; must not exist, or be empty.
        weights: The checkpoint, as it was saved.
        labels: A label file or an ImageFolder tree; None if the classes have no names.
        answers: Answers by question, which come before what the files tell.
        ask: Whether to ask what is left; else it takes its defaults.
        model: The Python file that defines build_model(num_classes), for a network of one's own.
        picture: The image to predict for at the end; None takes an image of noise.
        label_order: What the keys of the label file are, as `inspect_labels` has it.
        tuned: Finds the fastest answers for the project, which is then rendered with them.

    Raises:
        UserError: The files do not make a service; the message says why. The project is removed,
            unless it is its own archive.py that refuses: that names the command that fixes it.
    """
    making.refuse_missing(destination, picture, model)
    making.refuse_no_network(model)
    if model is not None:
        answers = {"architecture": "custom", **answers}
    # No markup: names from the files may have brackets.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"1. Inspect {weights}{f' and {labels}' if labels else ''}")
    found = inspect_file(weights)
    # Of a folder, the file in it, unless it is served as a whole.
    weights = found.path if found.folder is None else found.folder.path
    for note in found.notes:
        console.print(f"   {printable(note)}")
    told = what_is_told(
        found, labels, answers, destination, console, ask=ask, model=model, label_order=label_order
    )
    known, likely, labels, names, hub = told.known, told.likely, told.labels, told.names, told.hub
    for name, value in known.items():
        console.print(f"   {name}: {printable(str(value))}")

    def put() -> None:
        """Put the user's files into the project."""
        is_copied = not found.layouts and hub is None
        put_files(destination, weights if is_copied else None, labels, names)
        if found.layouts:
            convert(weights, destination / "weights" / plain_name(weights))
        if model is not None:
            shutil.copyfile(model, destination / "service" / "model.py")
        if hub is not None:
            put_network(destination, weights, hub)

    making.make(
        destination,
        known,
        likely,
        put,
        console,
        ask=ask,
        given=answers,
        assumed=lambda chosen: assumptions(found, known, chosen),
        picture=picture,
        tuned=tuned,
    )


@dataclass(frozen=True)
class Told:
    """What a checkpoint, labels and people tell of a project.

    Attributes:
        known: answers that follow, those of people among them.
        likely: answers that are asked, or assumed.
        labels: the label file, or the folder of them; that of the checkpoint if nobody named one.
        names: what is in it.
        hub: what the checkpoint's folder tells, if it is one of the Hugging Face Hub.
    """

    known: dict[str, Any]
    likely: dict[str, Any]
    labels: Path | None
    names: Labels | None
    hub: Hub | None


def what_is_told(
    found: Inspection,
    labels: Path | None,
    answers: Mapping[str, Any],
    destination: Path,
    console: Console,
    *,
    ask: bool,
    model: Path | None = None,
    label_order: str = "",
) -> Told:
    """Return the answers that follow from a checkpoint, labels and the answers of people.

    Args:
        found: What the checkpoint tells.
        labels: A label file or an ImageFolder tree.
        answers: Answers by question, which come before what the files tell.
        destination: The project's folder, which names it.
        console: Gets what is found in the labels.
        ask: Whether what is left is asked.
        model: The Python file that defines build_model(num_classes), for a network of one's own.
        label_order: What the keys of the label file are, as `inspect_labels` has it.

    Raises:
        UserError: They do not make a service.
    """
    weights = found.path if found.folder is None else found.folder.path
    refuse_unreadable(found)
    found = with_settings_in(found, labels)
    hub = found.hub if model is None else None
    if hub is not None:
        labels = labels or hub.labels
        if hub.problem and "transforms" not in answers:
            raise UserError(hub.problem)
        if importlib.util.find_spec("transformers") is None:
            raise UserError(
                f"{found.path} is of transformers' {hub.network}, and transformers is not "
                f"installed here, so that nothing could build it: {installing(['transformers'])}"
            )
    if found.task is None and not {"task"} & {*found.likely, *answers}:
        raise UserError(
            f"{weights} is of a {found.network_kind}, which no task of this template takes; if "
            f"that is wrong, name the task: -d task={' or '.join(tasks())}"
        )
    refuse_other_training(found, answers, is_built=model is not None)
    task = tasks().get(str(answers.get("task") or found.task or found.likely.get("task")))
    if labels is not None and task is not None and not task.facts["has_labels"]:
        raise UserError(f"task={task.value} names no classes: leave out --labels")
    known = answers_of(found, answers)
    if task is not None:
        known = task.answers_on_weights(found, known)
    if model is None:
        refuse_other_number(found, answers)
    known |= answers
    refuse_other_kind(found, known)
    refuse_framework(found, known, is_built=model is not None)
    if not ask:
        refuse_open_layers(found, known, answers)
    # What brings its own network needs no file that builds it.
    is_built = model is not None or hub is not None or known.get("weights") in GRAPHS
    if known["architecture"] == "custom" and not is_built:
        raise UserError(own_network(found))
    given = answers if labels is None else {"label_format": labels, **answers}
    refuse_unanswered(found, given, is_built=model is not None)
    likely = likely_of(found, known, destination)
    names = None
    chosen = tasks().get({**likely, **known}["task"])  # Copier refuses another
    has_labels = chosen is None or chosen.facts["has_labels"]
    if has_labels and (labels is not None or "label_format" not in answers):
        # A guessed number of classes does not outweigh the names; the number of outputs does.
        count = known.get("num_classes") or (likely.get("num_classes") if found.classes else None)
        own = found.class_names
        value = str({**likely, **known}.get("task"))
        names = names_for(labels, count, console, value, own, label_order)
    if is_open(known.get("head_layers")) or is_unsure(found, known, answers):
        # What the file does not show is asked.
        likely["head_layers"] = known.pop("head_layers")
    if has_labels and "label_format" not in answers:
        known |= label_answers(names, count)
    return Told(known, likely, labels, names, hub)


def with_settings_in(found: Inspection, labels: Path | None) -> Inspection:
    """Add what a label file tells of images, where the names of the classes are a part of it."""
    if labels is None or labels.suffix != ".json" or not labels.is_file():
        return found
    content = read_json(labels)
    has_parts = any(isinstance(x, dict | list) for x in content.values())  # else keys are classes
    if not has_parts or "model_type" in content:  # of transformers, which hub.py reads
        return found
    told = replace(told_by({"metadata": content}), network="", labels=())
    if not (told.tells_transforms or told.unread or told.of_images):
        return found
    where = told.where.replace("metadata", labels.name, 1)
    return replace(found, training=together(found.training, replace(told, where=where)))


def refuse_unreadable(found: Inspection) -> None:
    """Raise UserError with the lines that convert a file that archive.py could not read."""
    if found.unreadable:
        weights, lines = conversion(found)
        code = "".join(f"\n    {line}" for line in lines)
        raise UserError(
            f"{found.path} holds {found.unreadable}, which is not read without running code. If "
            f"you trust the file, convert it where it was made, in Python:{code}\n"
            f"and serve what that writes: --weights {shlex.quote(str(weights))}"
        )


OWN_PREPARATION = "service/preprocessing.py, which is yours with -d 'own_files=[preprocessing.py]'"
WHOLE = ("pretrained", "imagenet")  # answers to `transforms` that leave nothing open


def prepares_inside(task: Task | None) -> bool:
    """Tell whether the networks of a task scale and normalise images themselves."""
    return task is not None and "preprocessing" in task.facts


def task_of(found: Inspection, answers: Mapping[str, Any]) -> Task | None:
    """Return the task that a project will have, as far as that is known."""
    return tasks().get(str(answers.get("task") or found.task or found.likely.get("task")))


def refuse_other_training(found: Inspection, answers: Mapping[str, Any], is_built: bool) -> None:
    """Raise UserError if a file tells of a network, or of images, that no answers describe.

    Args:
        found: What the file tells.
        answers: Those of the user.
        is_built: Whether a file of the user's builds the network.
    """
    training = found.training
    where = f"{found.path} tells under {training.where or 'its keys'} that"
    if training.of_network and not is_built:
        raise UserError(
            f"{where} its network was built with {printable(training.of_network)}, which no answer "
            "has: bring the file that defines build_model(num_classes) with --model FILE"
        )
    if training.of_embeddings and found.task is None and "task" not in answers:
        headless = [x.value for x in serving(found.network_kind) if x.facts["is_headless"]]
        raise UserError(
            printable(
                f"{found.path} tells that it was trained with {training.of_embeddings}, which "
                "compares embeddings, and not which layer gives them. For what comes before its "
                f"last layer: -d task={'|'.join(headless)}. If it tells classes apart: "
                f"-d task={found.likely.get('task')}"
            )
        )
    if training.of_numbers and found.task is None and "task" not in answers:
        raise UserError(
            printable(
                f"{found.path} tells that it was trained with {training.of_numbers}, as "
                "numbers or ranks are, which no task serves. If it tells classes apart: -d task="
                f"{found.likely.get('task')}"
            )
        )
    if training.of_images and "transforms" not in answers:
        inside = prepares_inside(task_of(found, answers))
        options = example(inside=inside, size=training.image_size)
        own = "" if inside else f"; what none can say goes into {OWN_PREPARATION}"
        raise UserError(
            f"{where} its images were prepared with {printable(training.of_images)}, which no "
            f"answer has; name what is the same, as in {options}{own}"
        )
    refuse_unread(found, answers)


def refuse_unread(found: Inspection, answers: Mapping[str, Any]) -> None:
    """Raise UserError if settings of images in a file are not understood, and nobody answers.

    Args:
        found: What the file tells.
        answers: Those of the user.
    """
    task = task_of(found, answers)
    is_inside = prepares_inside(task)  # the network does the rest
    is_custom = answers.get("transforms") == "custom"
    if "transforms" in answers and not is_custom:
        return
    lines, wanted = [], []
    for one in found.training.unread:
        names = [name for name in one.questions if not is_inside or name in ASKED]
        if is_custom and answers.keys() >= set(names):
            continue
        lines.append(f"{one.name}: {one.value}")
        wanted += [name for name in names if name not in answers and name not in wanted]
    if not lines:
        return
    usual = [x for x in task.facts["transforms"] if x in WHOLE] if task is not None else []
    whole = [f"-d transforms={x}" for x in usual]
    raise UserError(
        printable_lines(
            f"{found.path} has settings that may tell how images are prepared, and that are not "
            "understood:",
            *(f"    {line}" for line in lines[:MANY]),
            f"Answer {', '.join(wanted)} yourself, such as "
            f"{example(inside=is_inside, size=found.training.image_size)}"
            + f"; if images are prepared as usual, {' or '.join(whole)}"
            * bool(whole),
        )
    )


def refuse_unanswered(found: Inspection, answers: Mapping[str, Any], is_built: bool) -> None:
    """Raise UserError for a question whose usual answer would be against what the file tells.

    Args:
        found: What the file tells.
        answers: Those of the user.
        is_built: Whether a file of the user's builds the network: a detector with all that it is.
    """
    arch = catalogue.load().get(found.architecture or "")
    if is_built and arch is not None and arch.detection:
        return
    is_own = answers.get("architecture") == "custom"
    others = only_asked_by_others(task_of(found, answers))
    missing = [
        printable(why)
        for question, why in found.must_answer.items()
        # Another network of torchvision's has its own anchors as well. Where the network comes with
        # a file, that says what becomes of its scores.
        if (question not in answers or (question == "architecture" and not is_own))
        and not (is_built and question == "task")
        and question not in others
    ]
    if missing:
        place = found.path if found.folder is None else found.folder.path
        raise UserError("\n".join(f"{place} tells {why}" for why in missing))


def refuse_other_kind(found: Inspection, known: Mapping[str, Any]) -> None:
    """Raise UserError if the task takes networks of another kind than the file's."""
    task = tasks().get(known.get("task", ""))
    arch = catalogue.load().get(str(known["architecture"]).partition("/")[0])
    if task is not None and arch is not None and task.networks not in arch.kinds:
        raise UserError(
            f"{found.path} is of {known['architecture']}, which is a {' or '.join(arch.kinds)}; "
            f"task={task.value} takes a {task.networks}"
        )


def refuse_other_number(found: Inspection, answers: Mapping[str, Any]) -> None:
    """Raise UserError for a number of classes that is not the file's."""
    own, given = found.answers.get("num_classes"), answers.get("num_classes")
    if own is not None and given is not None and str(own) != str(given):
        raise UserError(
            f"{found.path} is of a network with {own} classes, not {given}: leave out "
            f"-d num_classes={given}"
        )


def refuse_framework(found: Inspection, known: Mapping[str, Any], is_built: bool) -> None:
    """Raise UserError for weights that by themselves are no classifier, or not the one they seem.

    Args:
        found: What the file tells.
        known: The answers.
        is_built: Whether a file of the user's builds the network, and may know better.
    """
    task = tasks().get(known.get("task", ""))
    if task is not None and task.facts["is_headless"] and found.advice == without_labels():
        return
    is_exported = known.get("weights") in GRAPHS and found.kind not in GRAPHS
    if found.advice and not (is_built or is_exported):
        raise UserError(f"{found.path} cannot be served as it is: {found.advice}")


def refuse_open_layers(
    found: Inspection, known: Mapping[str, Any], answers: Mapping[str, Any]
) -> None:
    """Raise UserError if the head has layers that the file does not show, and nobody names them."""
    layers = known.get("head_layers", [])
    if is_unsure(found, known, answers):
        option = shlex.quote(f"head_layers={as_answer(layers)}")
        raise UserError(
            f"{found.path} has a last layer without a bias, and does not show what it does. If it "
            f"is nn.Linear(..., bias=False): -d {option}; if it compares directions (a cosine "
            "head, as ArcFace's), bring the file that defines build_model(num_classes) with "
            "--model FILE"
        )
    if not is_open(layers):
        return
    is_mlp = found.head in ("mlp", "mlp_dropout")
    example = as_answer(answered(layers, (("relu", "dropout") * 20)))
    option = f"head={found.head}" if is_mlp else f"head_layers={example}"
    raise UserError(
        f"{found.path} does not show which layers without weights its head has, at {UNKNOWN} in "
        f"{as_answer(layers)}. If it is ReLU{' and Dropout' * (as_answer(layers).count('?') > 1)}: "
        f"-d {shlex.quote(option)}; else name what was there in training in its place: "
        f"-d {shlex.quote(f'head_layers={as_answer(layers)}')}, or answer without --defaults"
    )


def is_unsure(found: Inspection, known: Mapping[str, Any], answers: Mapping[str, Any]) -> bool:
    """Tell whether a head without a bias was found, which no answer confirms."""
    is_answered = {"head", "head_layers"} & answers.keys()
    return "head_layers" in known and is_without_bias(found) and not is_answered


def is_open(layers: Any) -> bool:
    """Tell whether layers have some that a file does not show."""
    return not isinstance(layers, str) and UNKNOWN in (
        layers.values() if isinstance(layers, dict) else layers or ()
    )


def own_network(found: Inspection) -> str:
    """Return what to bring for a network that the template cannot build by itself."""
    bring = "bring the file that defines build_model(num_classes) with --model FILE"
    arch = catalogue.load().get(found.architecture or "")
    if arch is not None and found.differences:
        return printable_lines(
            f"{found.path} is of torchvision's {found.architecture}, changed: {bring}. In the file",
            *(f"    {line}" for line in found.differences[:MANY]),
            *[f"    and {len(found.differences) - MANY} more"] * (len(found.differences) > MANY),
        )
    if arch is None or found.head != "other":
        return (
            f"{found.path} is of a network of your own, or of one whose last layer is: {bring}. It "
            "has the code that built the network in training"
        )
    name = next(iter(found.head_layers)).removeprefix(found.prefix).split(".")[0]
    return printable_lines(
        f"{found.path} is of torchvision's {found.architecture} with layers of your own as its "
        f"{name}: {bring}, such as",
        f"    from {arch.module} import {found.architecture}",
        "    def build_model(num_classes):",
        f"        network = {found.architecture}({keywords(arch.kwargs)})",
        f"        network.{name} = ...  # as in training, with num_classes",
        "        return network",
    )


def keywords(arguments: Mapping[str, Any]) -> str:
    """Return arguments as they are written in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def printable_lines(*lines: str) -> str:
    """Return lines that cannot steer a terminal: names come from the file."""
    return "\n".join(map(printable, lines))


def answers_of(found: Inspection, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers that follow from a checkpoint, and are not given.

    Raises:
        UserError: It is one of several networks of timm, and there is no telling which.
    """
    known = {name: value for name, value in found.answers.items() if name not in given}
    for name, dependents in DEPENDENT.items():
        if given.get(name, known.get(name)) != found.answers.get(name):
            left_out = {*dependents, *(found.told if name == "architecture" else ())}
            known = {key: value for key, value in known.items() if key not in left_out}
    if str(given.get("head")).startswith("mlp") and found.head_units:
        known["head_units"] = found.head_units
    if "architecture" not in known and "architecture" not in given:
        if found.timm:
            commands = "".join(f"\n    -d architecture=timm/{name}" for name in found.timm)
            raise UserError(
                f"{found.path} is of one of several networks that weights cannot tell apart. Add "
                f"the one that it is:{commands}"
            )
        if found.others:
            names = [str(found.architecture), *found.others]
            commands = "".join(f"\n    -d architecture={name}" for name in names)
            raise UserError(
                f"{found.path} is of one of several networks that weights cannot tell apart, and "
                f"that predict otherwise. Add the one that it is:{commands}"
            )
        known["architecture"] = "custom"
    return known


def likely_of(found: Inspection, known: Mapping[str, Any], destination: Path) -> dict[str, Any]:
    """Return answers that are likely, not certain: defaults to be confirmed."""
    likely = {"project_name": making.title_of(destination), **found.likely}
    task = tasks().get(known.get("task", ""))
    if task is not None and likely.pop("model_output", None):  # of one output, for another task
        likely |= task.answers_for(1)
    if "checkpoint_key" in found.open_questions:
        likely["checkpoint_key"] = found.places[0].key
    if "state_dict_prefix" in found.open_questions:
        likely["state_dict_prefix"] = found.places[0].prefix
    # What the file itself tells of its images comes before what its network is mostly fed.
    likely = likely_transforms(found, {**likely, **known}) | likely
    return {name: value for name, value in likely.items() if name not in known}


def likely_transforms(found: Inspection, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return how images are likely prepared: as for the network that was recognised."""
    task = tasks().get(answers.get("task", ""))
    if task is None or answers.get("transforms", "custom") != "custom":
        return {}
    if "transforms" not in item_of(answers)["questions"]:
        return {}
    likely, whole = proposed(found, str(answers["architecture"]), task.facts)
    if whole is None:
        size = likely_size(found, task.facts)
        return {"image_size": size} if size else {}
    if "transforms" in answers or "image_size" in answers:  # the rest is not known
        likely = whole.answers
    is_told = found.training.resize_size or found.training.crop_pct
    is_other = answers.get("resize_mode", whole.resize_mode) != whole.resize_mode
    if answers.get("image_size", whole.image_size) != whole.image_size or (
        is_other and not is_told  # a margin is usual before a crop, and not where both are scaled
    ):
        likely.pop("resize_size", None)
    if answers.get("color_mode") == "L" and "mean" in likely:
        likely |= {key: [average(likely[key])] for key in ("mean", "std")}
    return likely


# transformers itself loads the weights, whose names it has changed since many were saved.
CONVERT = """
import sys
import transformers
from safetensors.torch import save_file
_, network, folder, target = sys.argv
load = getattr(transformers, network).from_pretrained
model, found = load(folder, local_files_only=True, output_loading_info=True)
lacking = [*found["missing_keys"], *found["mismatched_keys"]]
if lacking:
    sys.exit(f"it lacks {len(lacking)} weights of {network}, such as {lacking[0]}")
save_file({key: x.contiguous() for key, x in model.state_dict().items()}, target)
"""


def put_network(project: Path, weights: Path, hub: Hub) -> None:
    """Write the network and the weights of transformers into a project.

    Raises:
        UserError: transformers does not load the weights.
    """
    (project / "service" / "model.py").write_text(hub.model, encoding="utf-8")
    major = int(importlib.metadata.version("transformers").partition(".")[0])
    with (project / "requirements-own.txt").open("a", encoding="utf-8") as file:
        file.write(f"transformers>={major},<{major + 1}\n")
    target = project.resolve() / "weights" / "model.safetensors"
    words = [hub.network, str(weights.parent.resolve()), str(target)]
    result = subprocess.run(
        [sys.executable, "-c", CONVERT, *words], capture_output=True, encoding="utf-8", check=False
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"transformers does not load {weights}: {printable(reason)}")


def assumptions(
    found: Inspection, known: Mapping[str, Any], answers: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what a project assumes that changes its predictions, each with what changes it.

    Args:
        found: What the file tells.
        known: Answers that it tells, or that were given.
        answers: Those of the project.
    """
    for name, others in other_answers(found, answers).items():
        if name in answers and name not in known:
            yield f"{name}: {as_text(answers[name])} (assumed; another: -d {name}={others})"
    if (other := other_architecture(found)) and known.get("architecture") == found.architecture:
        yield (
            f"architecture: {found.architecture} (assumed, of torchvision; if timm built it: "
            f"-d architecture={other})"
        )
    if answers.get("head") == "dropout" and known.get("head") and not found.is_shown:
        yield (
            "head: dropout (assumed, as the file shows no more than that a layer without weights "
            "comes first; another: -d head=layers -d 'head_layers=[relu, linear]')"
        )
    if "transforms" not in answers:  # it takes no images
        return
    transforms = as_answered(answers)
    task = tasks()[answers["task"]]
    is_cut = not task.facts["keeps_whole_image"]
    unknown = [
        name for name in TRANSFORMS if name not in known and (is_cut or name != "resize_size")
    ]
    if "preprocessing" in task.facts:  # the network does the rest, as its code has it
        unknown = [name for name in unknown if name in ASKED and transforms is not None]
    if known.get("transforms", "custom") != "custom" or not unknown:
        return
    _, whole = proposed(found, str(answers["architecture"]), task.facts)
    is_traced = "image_size" in unknown and likely_size(found, task.facts) is not None
    why = f", {whole.why}" if whole is not None else f", {TRACED}" if is_traced else ""
    if "transforms" in found.likely:
        why = ", as the export tells of itself"
    described = f"transforms: {answers['transforms']}" + f", {transforms}" * bool(transforms)
    possible = TRANSFORMS | {"resize_mode": "|".join(task.facts.get("resize_modes", []))}
    options = [f"-d {name}={possible[name]}" for name in unknown]
    command = " ".join(["-d transforms=custom", *options])
    if answers["color_mode"] == "L":
        command = command.replace("R, G, B", "GRAY")
    yield f"{described} (assumed{why}; others: {command})"


# Questions on how images are prepared, each with what an answer looks like.
TRANSFORMS = {
    "image_size": "PIXELS",
    "resize_size": "PIXELS",
    "resize_mode": "MODE",  # those of the task
    "mean": "'[R, G, B]'",
    "std": "'[R, G, B]'",
    "interpolation": "bilinear|bicubic|nearest",
}


def other_answers(found: Inspection, answers: Mapping[str, Any]) -> dict[str, str]:
    """Return questions that predictions depend on, each with other answers to it."""
    task = tasks()[answers["task"]]
    same = [x for x in serving(found.network_kind) if x.facts["input"] == task.facts["input"]]
    kinds = [x.value for x in same if x is not task]
    outputs = [
        x["value"] for x in task.facts["outputs"] if x["value"] != answers.get("model_output")
    ]
    chosen = answers.get("checkpoint_key")  # empty where there is one place alone
    keys = [place.key for place in found.places if chosen and place.key != chosen]
    prefix = answers.get("state_dict_prefix")
    prefixes = [place.prefix for place in found.places if prefix and place.prefix != prefix]
    others = {
        "task": "|".join(kinds),
        "num_classes": "N",
        "color_mode": "L" if answers.get("color_mode") == "RGB" else "RGB",
        "checkpoint_key": "|".join(dict.fromkeys(keys)),
        "state_dict_prefix": "|".join(dict.fromkeys(prefixes)),
        "transform_input": "false" if answers.get("transform_input") else "true",
        "model_output": "|".join(outputs),
        **task.decisive,
    }
    return {name: other for name, other in others.items() if other}


def other_architecture(found: Inspection) -> str:
    """Return timm's name of a network that may be torchvision's as well, "" if there is none."""
    is_told = found.timm_name or found.kind in GRAPHS or found.what.startswith("a pickled")
    return f"timm/{found.timm[0]}" if found.architecture and found.timm and not is_told else ""


def label_answers(names: Labels | None, num_classes: int | None) -> dict[str, Any]:
    """Return the answers that follow from the names of the classes.

    How many classes there are is one of them, if nothing else tells.
    """
    if names is None:
        return {"label_format": "none"}
    return names.answers | ({} if num_classes else {"num_classes": len(names.names)})


def names_for(
    labels: Path | None,
    num_classes: int | None,
    console: Console,
    task: str,
    own: Sequence[ClassNames] = (),
    order: str = "",
) -> Labels | None:
    """Return the names in a label file, else those that the checkpoint brings; print the notes.

    Args:
        labels: The label file.
        num_classes: How many classes the network has, if known.
        console: Takes the notes.
        task: What the network is for.
        own: Names that the checkpoint brings.
        order: What the keys of the label file are, as `inspect_labels` has it.
    """
    from generator.labels import inspect_labels, written_down

    if labels is None and not agreed(own, num_classes):
        return None
    found = inspect_labels(labels, num_classes, own, order)
    if found.problem:
        advice = "name the file or folder of this network with --labels"
        if num_classes and len(found.names) < num_classes:
            advice = "complete it, or name another with --labels"
        if task in tasks() and num_classes:
            advice = tasks()[task].advice_on_labels(found.names, num_classes) or advice
        raise UserError(f"{found.problem}; {advice}")
    for note in found.notes:
        console.print(f"   {printable(note)}")
    return written_down(found)


def put_files(
    project: Path, weights: Path | None, labels: Path | None, names: Labels | None = None
) -> None:
    """Copy the checkpoint and the label file to where the project has them.

    Args:
        project: Its folder.
        weights: The checkpoint.
        labels: The label file.
        names: What it holds, to be written down if a project could not read it.
    """
    if weights is not None:
        for name, source in files_of(weights).items():
            target = project / "weights" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    answers = answers_in(project)
    file = facts.labels()[answers.get("label_format", "none")]["file"]
    if names is not None and names.is_written and file:
        from generator.labels import write_labels

        element = answers.get("label_element", -1)
        write_labels(project / file, names.names, answers["label_format"], element)
    elif labels is not None and labels.is_file() and file:
        shutil.copyfile(labels, project / file)


def files_of(weights: Path) -> dict[str, Path]:
    """Return the files of a checkpoint by the names that they have in a project.

    They are several if it is a folder, or an ONNX file that keeps its tensors in others.
    """
    if weights.is_dir():
        folder = weights.resolve()
        name = folder.name.lstrip(".") or "folder"
        return {f"{name}/{x.relative_to(folder)}": x for x in needed(folder)}
    name = weights.name.lstrip(".")  # hidden files do not count there
    with weights.open("rb") as file:
        may_be_onnx = file.read(1) == b"\x08"  # the first field's tag
    try:
        model = onnx.read(weights) if may_be_onnx else None
    except onnx.OnnxError:
        model = None
    if model is None:
        return {name: weights}
    beside = [weights.with_name(x) for x in model.data_files if Path(x).name == x]
    others = {path.name: path for path in beside if path.is_file()}
    return {f"{name.removesuffix('.onnx')}.onnx": weights, **others}
