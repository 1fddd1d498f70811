"""`ts-template new --data`: from data with labels to a service of a network trained on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from rich.console import Console

from generator import facts, making
from generator.errors import UserError
from generator.inspection import inspect_file
from generator.inspection.refusals import printable
from generator.inspection.transforms import as_answered
from generator.labels import Labels, inspect_labels
from generator.making import Training
from generator.new import label_answers, put_files
from generator.shared.data_folders import are_parts
from generator.shared.label_files.entries import is_wordnet_id
from generator.tables import folders_in, has_colours, tables_in
from generator.tasks import DataSet, Task, tasks

TRAINING = ("train", "training")  # names of folders
VALIDATION = ("val", "valid", "validation")
SHOWN = 10  # names of classes that are printed


def make_from_data(
    destination: Path,
    data: Path,
    labels: Path | None,
    answers: Mapping[str, Any],
    *,
    ask: bool,
    validation: Path | None = None,
    start: Path | None = None,
    options: Sequence[str] = (),
    model: Path | None = None,
    picture: Path | None = None,
    label_order: str = "",
    tuned: Callable[[Path], making.Changes | None] | None = None,
) -> None:
    """Render a project for data with labels, train its network on them, archive it, and try it.

    Args:
        destination: The project's folder; must not exist, or be empty.
        data: A folder or a file; of a folder with the folders train and val, these.
        labels: A label file, whose order the network's outputs get; None takes that of the data.
        answers: Answers by question, which come before what the data tell.
        ask: Whether to ask what is left; else it takes its defaults.
        validation: Data to validate with; None takes a part of `data`.
        start: A checkpoint to begin training with.
        options: More of train.py.
        model: The Python file that defines build_model(num_classes), for a network of one's own.
        picture: The image to predict for at the end; None takes one of the data.
        label_order: What the keys of the label file are, as `inspect_labels` has it.
        tuned: Finds the fastest answers for the project, which is then rendered with them.

    Raises:
        UserError: They do not make a service; the message says why. The project is removed, unless
            it is a script of its own that refuses: that names the command that fixes it.
    """
    making.refuse_missing(destination, picture, model)
    making.refuse_no_network(model)
    # No markup: names from the data may have brackets.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"1. Look at {data}")
    told = what_is_told(
        data,
        labels,
        answers,
        validation=validation,
        start=start,
        model=model,
        label_order=label_order,
    )
    data, validation, known, names = told.data, told.validation, told.known, told.names
    for line in told.lines():
        console.print(f"   {printable(line)}")

    def put() -> None:
        """Put the user's files into the project."""
        put_files(destination, None, labels, names)
        if model is not None:
            shutil.copyfile(model, destination / "service" / "model.py")

    words = [str(data.resolve())]
    if validation is not None:
        words += ["--validation", str(validation.resolve())]
    if start is not None:
        words += ["--from", str(start.resolve())]
    if names is not None and are_indices(told.found.classes, names.names):
        words.append("--keep-labels")
    facts_of_task = facts.tasks()[known["task"]]
    begun = facts_of_task.get("from_scratch", {}) if "--from-scratch" in options else {}
    making.make(
        destination,
        known,
        {"project_name": making.title_of(destination), **begun},
        put,
        console,
        ask=ask,
        given=answers,
        assumed=lambda chosen: assumptions(known, chosen),
        training=Training([*words, *options], validation),
        picture=picture or told.found.sample,
        tuned=tuned,
    )


@dataclass(frozen=True)
class Told:
    """What data with labels and people tell of a project.

    Attributes:
        data: what is trained on.
        validation: what is validated with; None for a part of `data`.
        found: what the data tell.
        known: answers that follow, those of people among them.
        names: what is in the label file.
    """

    data: Path
    validation: Path | None
    found: DataSet
    known: dict[str, Any]
    names: Labels | None

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield f"{self.data}: {self.found.what}"
        if self.validation is not None:
            yield f"{self.validation}: to validate with"
        if classes := self.found.classes:
            shown = ", ".join(classes[:SHOWN]) + ", ..." * (len(classes) > SHOWN)
            yield f"{len(classes)} classes: {shown}"
        for name, value in self.known.items():
            yield f"{name}: {value}"


def what_is_told(
    data: Path,
    labels: Path | None,
    answers: Mapping[str, Any],
    *,
    validation: Path | None = None,
    start: Path | None = None,
    model: Path | None = None,
    label_order: str = "",
) -> Told:
    """Return the answers that follow from data, with arguments of `make_from_data`.

    Raises:
        UserError: They do not make a service.
    """
    if answers.get("training") is False:
        raise UserError("-d training=false: what --data names is to train on; leave the answer out")
    data, part = parts_of(data)
    validation = validation or part
    if validation is not None and not validation.exists():
        raise UserError(f"there are no data {validation}; expected what --data takes, too")
    task, found = told_by(data, answers)
    known = {"task": task.value, **found.answers, **answers, "training": True}
    if model is not None:
        known = {"architecture": "custom", **known}
    elif start is not None:
        known = {**told_by_start(start, task), **known}
    item = facts.inputs()[task.facts["input"]]
    if "color_mode" in item["questions"] and "color_mode" not in known and has_colours(data):
        known["color_mode"] = "RGB"
    names = None
    if labels is not None:
        names = names_of(labels, known["num_classes"], label_order)
        refuse_other_names(labels, names.names, found.classes)
    if "label_format" not in known and (names is not None or not found.classes):
        known |= label_answers(names, known["num_classes"])
    return Told(data, validation, found, {"evaluation": True, **known}, names)


def parts_of(data: Path) -> tuple[Path, Path | None]:
    """Return the data to train on, and those to validate with if a folder has both.

    They are in the folder, or as YOLO often has them in its folder images.
    """
    for folder in (data, data / "images"):
        if folder.is_dir():
            folders = {x.name.lower(): x for x in folders_in(folder)}
            training, validation = (
                next((folders[name] for name in names if name in folders), None)
                for names in (TRAINING, VALIDATION)
            )
            # A folder of images beside those of other classes may be the class of trains.
            is_class = len(folders) > 1 and not are_parts([*folders])
            if training is not None and (folders_in(training) or not is_class):
                return training, validation
    return data, None


def told_by(data: Path, answers: Mapping[str, Any]) -> tuple[Task, DataSet]:
    """Return the task that data have the form of, and what they tell.

    Raises:
        UserError: They have that of none, or of several.
    """
    known = [task for task in tasks().values() if "trains" in task.facts]
    if "task" in answers:
        known = [task for task in known if task.value == answers["task"]]
        if not known:
            raise UserError(f"task={answers['task']}: train.py trains no networks of this task")
    if not data.exists():
        raise UserError(f"there are no data {data}; expected a folder or a file")
    found = [(task, told) for task in known if (told := task.read_data(data)) is not None]
    found = [(task, told) for task, told in found if told.sure] or found
    if not found:
        forms = "".join(f"\n    {task.value}: {task.facts['data']}" for task in known)
        held = [*folders_in(data), *tables_in(data)] if data.is_dir() else []
        names = ", ".join(x.name for x in held[:SHOWN])
        parts = f"\nIf one of these, which it holds, has one, name that: {names}" if held else ""
        raise UserError(f"{data} has none of the forms of data that train.py takes:{forms}{parts}")
    if len(found) > 1:
        lines = "".join(f"\n    -d task={task.value}: {task.facts['title']}" for task, _ in found)
        raise UserError(f"{data} may be for several tasks. Add the one that it is:{lines}")
    for question, reason in found[0][1].doubts.items():
        if question not in answers:
            raise UserError(f"{data}: {reason}")
    return found[0]


def told_by_start(start: Path, task: Task) -> dict[str, Any]:
    """Return the answers that follow from a checkpoint to begin with, whatever its classes are.

    Raises:
        UserError: It is of a network for something else.
    """
    found = inspect_file(start)
    if found.network_kind not in (None, task.networks):
        raise UserError(f"{start} is of a {found.network_kind}; expected a {task.networks}")
    names = ("architecture", "timm_name", *facts.inputs()[task.facts["input"]]["questions"])
    return {name: found.answers[name] for name in names if name in found.answers}


def names_of(labels: Path, classes: int, order: str) -> Labels:
    """Return the names in a label file.

    Raises:
        UserError: They are not as many as the classes.
    """
    found = inspect_labels(labels, classes, (), order)
    if found.problem:
        raise UserError(f"{found.problem}; the data have {classes} classes")
    return found


def refuse_other_names(labels: Path, names: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError if the data have classes without a name, whose own train.py would write."""
    known = {normalize("NFC", name) for name in names}
    others = [name for name in classes if normalize("NFC", name) not in known]
    if others and not are_indices(classes, names) and not all(map(is_wordnet_id, classes)):
        raise UserError(
            f"the data have the classes {', '.join(others[:SHOWN])}, which {labels} does not name; "
            "expected the same names in both, or in the data the indices of those in the file"
        )


def are_indices(classes: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether data have the indices of names for classes."""
    indices = {str(index) for index in range(len(names))}
    return bool(classes) and {*classes} <= indices and indices.isdisjoint(names)


def assumptions(known: Mapping[str, Any], answers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a project assumes of the network that is trained, each with what changes it."""
    if "architecture" not in known:
        yield f"architecture: {answers['architecture']} (assumed; another: -d architecture=NAME)"
    if "color_mode" in answers and "color_mode" not in known:
        yield f"color_mode: {answers['color_mode']} (assumed; another: -d color_mode=RGB|L)"
    if "transforms" in answers and "transforms" not in known:
        transforms = as_answered(answers)
        described = f"{answers['transforms']}" + f", {transforms}" * bool(transforms)
        yield (
            f"transforms: {described} (assumed, in training and serving alike; others: "
            "-d transforms=custom -d image_size=PIXELS)"
        )
