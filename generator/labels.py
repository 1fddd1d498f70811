"""Tells what a label file is, by the same rules by which a project reads it."""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generator import facts
from generator.answers_file import answers_in
from generator.errors import UserError
from generator.files import in_one_step
from generator.foreign_labels import read_foreign
from generator.inspection import inspect_file
from generator.inspection.class_names import BACKGROUND, ClassNames, agreed
from generator.inspection.refusals import printable
from generator.label_formats import (
    element_of_names,
    encoding_of_file,
    folder_format,
    format_of_file,
    has_elements,
    reader_of,
)
from generator.label_keys import by_folder, refuse_contradiction, starts_at_zero
from generator.rendering import runner, template_root
from generator.shared.label_files.entries import is_wordnet_id
from generator.shared.label_files.folder_numbers import UnclearOrderError
from generator.shared.label_files.names import LabelFileError, abbreviate, in_order


class LabelError(UserError):
    """A label file that is broken, ambiguous, or something else; the message says what."""


@dataclass(frozen=True)
class Labels:
    """The names of the classes, and how they are written down.

    Attributes:
        format: a value of the question label_format; else one of `generator.foreign_labels`, or
            "checkpoint" for names that a checkpoint brings.
        names: in the order of the network's outputs.
        encoding: "utf-8", "utf-8 with BOM", "utf-16", "folders", or "" if there is no file.
        notes: what people should know, such as names that several classes have.
        answers: the answers that follow, for copier.
        fits: whether these are as many names as the network has classes; None if that is not known.
        problem: why they do not fit; empty if they do.
        is_written: whether a project's label file has to be written, since there is none that it
            could read.
    """

    format: str
    names: list[str]
    encoding: str
    notes: list[str]
    answers: dict[str, Any]
    fits: bool | None = None
    problem: str = ""
    is_written: bool = False


ORDERS = ("folders", "outputs")  # values of --label-order
WRITTEN = "index_to_name"  # the label_format of files that are written here


def inspect_labels(
    path: Path | None,
    num_classes: int | None = None,
    own: Sequence[ClassNames] = (),
    order: str = "",
) -> Labels:
    """Find out in which format the names of the classes are, and read them.

    Args:
        path: A label file, or the folder of an ImageFolder tree; None takes what the checkpoint
            brings.
        num_classes: How many classes the network has, if known.
        own: Names that the checkpoint brings.
        order: What the keys of the file, or without keys its order, are: "folders", by their names,
            or "outputs", whatever the checkpoint brings; "" for what the files show.

    Raises:
        LabelError: The file is broken, ambiguous, does not hold labels, or contradicts the
            checkpoint; or the checkpoint has no names, or several lists that differ.
    """
    if order not in ("", *ORDERS):
        raise LabelError(f"--label-order {order} must be one of {', '.join(ORDERS)}")
    lists = agreed(own, num_classes)
    if path is None:
        return of_checkpoint(lists, num_classes)
    if not path.exists():
        raise LabelError(f"there is no label file and no folder {path}")
    try:
        return named(path, num_classes, lists, order)
    except LabelFileError as error:
        raise LabelError(f"{printable(str(error))}{advice_on(error, path)}") from error


def written_down(labels: Labels) -> Labels:
    """Return the names of folders as those of a file that a project has.

    Read from the folders each time, all names would shift when one of these comes, goes or is
    renamed, and there would be none on another machine.
    """
    if labels.format != "folders":
        return labels
    return replace(labels, answers={"label_format": WRITTEN}, is_written=True)


def of_checkpoint(lists: Sequence[ClassNames], num_classes: int | None) -> Labels:
    """Return the names that a checkpoint brings.

    Raises:
        LabelError: It brings none for so many classes, or several lists that differ.
    """
    if len(lists) != 1:
        shown = "".join(f"\n    {printable(str(one))}" for one in lists)
        what = f"names its classes in {len(lists)} ways" if lists else "names no classes"
        raise LabelError(f"the checkpoint {what}; name a label file with --labels{shown}")
    (one,) = lists
    return Labels(
        format="checkpoint",
        names=list(one.names),
        encoding="",
        notes=[
            f"the names are those under {one.place} in the checkpoint"
            + ", after the background, which is class 0" * (one.background == "added")
        ],
        answers={"label_format": WRITTEN},
        fits=None if num_classes is None else True,
        is_written=True,
    )


def named(path: Path, num_classes: int | None, own: Sequence[ClassNames], order: str) -> Labels:
    """Return what `inspect_labels` does for a file.

    Raises:
        LabelFileError: The file is broken, ambiguous, does not hold labels, or contradicts the
            checkpoint.
    """
    folders = max(own, key=lambda one: one.place.endswith("class_to_idx"), default=None)
    is_completed = folders is not None and folders.background == "added"
    keys = replace(folders, names=folders.names[1:]) if folders and is_completed else folders
    keyed = {} if order == "outputs" else by_folder(path, keys, order)
    if keyed and is_completed:
        keyed = {BACKGROUND: BACKGROUND, **keyed}
    found = None
    try:
        found = read(path, num_classes, order)
    except LabelFileError:
        if not keyed:
            raise
    if not keyed:
        assert found is not None
        if order != "outputs" and found.fits is not False:
            refuse_contradiction(path, found.names, own)
        return found
    names = [keyed[key] for key in (folders.names if folders else sorted(keyed))]
    if found is not None:
        if found.names == names:
            return found
        if not order and starts_at_zero(keyed):
            raise UnclearOrderError(
                f"{path} numbers its classes, and the checkpoint has folders with these numbers "
                f"for names, in another order ({folders})",
                [],
            )
    where = f"in the order of {folders.place} in the checkpoint" if folders else "sorted as text"
    fits = None if num_classes is None else len(names) == num_classes
    return Labels(
        format=found.format if found else "index_to_name",
        names=names,
        encoding=encoding_of_file(path),
        notes=[f"its keys are taken as names of folders, {where}"],
        answers={"label_format": WRITTEN},
        fits=fits,
        problem="" if fits is not False else misfit(path, names, num_classes),
        is_written=True,
    )


def advice_on(error: LabelFileError, path: Path) -> str:
    """Return the command that fixes a label file, as the end of a sentence; "" if none does."""
    if isinstance(error.__cause__, UnicodeDecodeError):
        return readings(path, error.__cause__.start)
    meanings = {
        "--label-order folders": "its keys, or its order, are those of the folders",
        "--label-order outputs": "it is in the order of the outputs",
    }
    if options := [f"{x} if {meanings[x]}" for x in error.conversions if x]:
        return f". Add {', '.join(options)}"
    if folder := error.answers.get("label_folder"):
        return f". Name {shlex.quote(str(folder))} in its place"
    return f". Run: {copy_with(**error.answers)}" if error.answers else ""


def readings(path: Path, position: int) -> str:
    """Return how the line at a position would read in encodings that are frequent."""
    data = path.read_bytes()
    end = data.find(b"\n", position)
    line = data[data.rfind(b"\n", 0, position) + 1 : None if end < 0 else end].strip()
    texts = {}
    for encoding in ("windows-1252", "windows-1251", "gb18030", "shift_jis", "big5", "euc-kr"):
        with contextlib.suppress(UnicodeDecodeError):
            texts[encoding] = line.decode(encoding)[:40]
    shown = ", ".join(f"{text!r} in {encoding}" for encoding, text in texts.items())
    return f"\nThe line would be {shown}" if shown else ""


def read(path: Path, num_classes: int | None, order: str) -> Labels:
    """Return what `inspect_labels` does for a file by itself.

    Raises:
        LabelFileError: The file is broken, ambiguous, or does not hold labels.
    """
    foreign = read_foreign(path)
    if foreign is not None:
        label_format, labels, notes = foreign
        answers: dict[str, Any] = {"label_format": WRITTEN}
    else:
        label_format = folder_format() if path.is_dir() else format_of_file(path)
        answers = {"label_format": label_format}
        element = -1
        if path.is_dir():
            answers["label_folder"] = path.resolve().as_posix()
        elif has_elements(label_format) and (element := element_of_names(path)) != -1:
            answers["label_element"] = element
        notes = []
        try:
            labels, notes = reader_of(label_format, element)(path)
        except UnclearOrderError as error:
            if order != "outputs":
                raise
            labels = error.labels
            answers = {"label_format": WRITTEN}
    if not labels:
        raise LabelFileError(f"{path} names no class")
    try:
        names, more = in_order(path, labels, len(labels))
    except LabelFileError:
        if num_classes is not None:  # what lacks follows from that, if it is known
            in_order(path, labels, num_classes)
        raise
    if foreign is None and has_elements(label_format) and all(map(is_wordnet_id, names)):
        more.append("the names are WordNet ids")
    fits = None if num_classes is None else len(names) == num_classes
    return Labels(
        format=label_format,
        names=names,
        encoding=encoding_of_file(path),
        notes=notes + more,
        answers=answers,
        fits=fits,
        problem=misfit(path, names, num_classes) if fits is False else "",
        is_written=foreign is not None or (answers["label_format"] != label_format),
    )


def misfit(path: Path, names: Sequence[str], num_classes: int | None) -> str:
    """Return why names are not one for each class."""
    return f"{path} names {len(names)} classes, the network has {num_classes}"


def write_labels(path: Path, names: Sequence[str], label_format: str, element: int = -1) -> None:
    """Write names as the label file of a project.

    Args:
        path: The file.
        names: In the order of the network's outputs.
        label_format: A value of the question label_format that has a file.
        element: The answer label_element.
    """
    content: Any = {str(index): name for index, name in enumerate(names)}
    match label_format:
        case "list":
            content = list(names)
        case "class_to_idx":
            content = {name: index for index, name in enumerate(names)}
        case "imagenet":
            content = {key: [""] * max(element, 0) + [name] for key, name in content.items()}
        case "huggingface":
            content = {"id2label": content}
    with in_one_step(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            if label_format == "csv":
                table = csv.writer(file, lineterminator="\n")
                table.writerows([("index", "name"), *enumerate(names)])
            elif label_format == "text":
                file.writelines(f"{index} {name}\n" for index, name in enumerate(names))
            else:
                json.dump(content, file, ensure_ascii=False, indent=2)
                file.write("\n")
        refuse_misread(temporary, names, label_format, element)


def refuse_misread(path: Path, names: Sequence[str], label_format: str, element: int) -> None:
    """Raise LabelError if a project would read other names than those that were written."""
    try:
        labels, _ = reader_of(label_format, element)(path)
        found, _ = in_order(path, labels, len(names))
    except LabelFileError:
        found = []
    if found != list(names):
        raise LabelError(
            f"these names cannot be written with label_format={label_format}; take "
            "label_format=list"
        )


def write_into(
    project: Path, path: Path, weights: Path | None, order: str
) -> tuple[Path, str, list[str]]:
    """Write the label file of a project.

    Args:
        project: Its folder.
        path: The names of the classes, in whatever form.
        weights: The checkpoint, if its names of folders give the order.
        order: What the keys of the file are, as `inspect_labels` has it.

    Returns:
        The file, the first of the names, and notes for people.

    Raises:
        UserError: It is no project, has no label file, or the names are not one for each class.
    """
    answers = answers_in(project)
    label_format = answers["label_format"]
    file = facts.labels()[label_format]["file"]
    if not file:
        raise LabelError(
            f"{project} has no label file (label_format={label_format}). Run there: copier update "
            f"--defaults --vcs-ref=:current: -d label_format={WRITTEN}"
        )
    own = inspect_file(weights).class_names if weights else ()
    found = inspect_labels(path, answers["num_classes"], own, order)
    if found.problem:
        raise LabelError(found.problem)
    write_labels(project / file, found.names, label_format, answers.get("label_element", -1))
    return project / file, abbreviate(found.names, 5), found.notes


def copy_with(**answers: object) -> str:
    """Return the command that a message names, where a project would name `copier update`."""
    data = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    return f"{runner()}copier copy {data} {shlex.quote(str(template_root()))} PROJECT"
