"""`ts-template new`: from a checkpoint to a service that has answered, in one command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from generator import catalogue, facts
from generator.errors import UserError
from generator.inspection import Inspection, inspect_file, onnx
from generator.inspection.answers import conversion
from generator.inspection.class_names import ClassNames, agreed
from generator.inspection.reading import GRAPHS
from generator.inspection.refusals import printable
from generator.layouts import convert, plain_name
from generator.rendering import render, runner
from generator.shared.heads import HEADS
from generator.tasks import tasks

if TYPE_CHECKING:
    from generator.labels import Labels

# Runs scripts one after another: each by itself would take seconds to import torch. That happens at
# once, while the project is rendered. A line with a zero says that a script has succeeded.
SCRIPTS = r"""
import contextlib, json, os, runpy, sys
with contextlib.suppress(ImportError):
    import torch, torchvision.models
for line in sys.stdin:
    folder, sys.argv = json.loads(line)
    sys.path[0] = folder
    sys.argv[0] = os.path.join(folder, sys.argv[0])
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    print("\0", flush=True)
"""


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

    Raises:
        UserError: The files do not make a service; the message says why. The project is removed,
            unless it is its own archive.py that refuses: that names the command that fixes it.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} exists; name another folder")
    for path in filter(None, (picture, model)):
        if not path.is_file():
            raise UserError(f"there is no file {path}")
    if model is not None:
        answers = {"architecture": "custom", **answers}
    # No markup: names from the files may have brackets.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"1. Inspect {weights}{f' and {labels}' if labels else ''}")
    found = inspect_file(weights)
    for note in found.notes:
        console.print(f"   {printable(note)}")
    refuse_unreadable(found)
    if found.task is None and not {"task"} & {*found.likely, *answers}:
        raise UserError(
            f"{weights} is of a {found.network_kind}, which no task of this template takes; if "
            f"that is wrong, name the task: -d task={' or '.join(tasks())}"
        )
    known = {**answers_of(found, answers), **answers}
    refuse_other_kind(found, known)
    # What brings its own network needs no file that builds it.
    if known["architecture"] == "custom" and model is None and known.get("weights") not in GRAPHS:
        raise UserError(own_network(found))
    likely = likely_of(found, known, destination)
    proposed = {**likely, **known}
    names = None
    if labels is not None or "label_format" not in answers:
        own, count = found.class_names, proposed.get("num_classes")
        names = names_for(labels, count, console, str(proposed.get("task")), own, label_order)
    if "label_format" not in answers:
        known |= label_answers(names, proposed.get("num_classes"))
    for name, value in known.items():
        console.print(f"   {name}: {printable(str(value))}")
    if not ask:
        for name, value in likely.items():
            if name not in known:
                console.print(
                    f"   {name}: {printable(str(value))} (assumed, not found in the file)"
                )

    with Scripts() as scripts:
        console.print(f"2. Render {destination}")
        existed = destination.exists()
        try:
            note = render(destination, known, proposals=likely, ask=ask)
            put_files(destination, None if found.layouts else weights, labels, names)
            if found.layouts:
                convert(weights, destination / "weights" / plain_name(weights))
            if model is not None:
                shutil.copyfile(model, destination / "service" / "model.py")
        except BaseException as error:
            shutil.rmtree(destination, ignore_errors=True)
            if existed:
                destination.mkdir()
            if isinstance(error, ValueError):  # Copier's, for an answer that is not valid
                raise UserError(str(error)) from error
            raise

        if note:
            console.print(f"   {note}")
        console.print("3. Build the archive: python archive.py")
        advice = (
            f"\n{destination} is rendered and has your files. Fix it there, then: "
            f"cd {shlex.quote(str(destination))} && {runner()}python archive.py"
        )
        scripts.run(destination, "archive.py", advice=advice)

        console.print("4. Predict for an image: python predict.py")
        sample = picture.resolve() if picture else noise(destination)
        scripts.run(destination, "predict.py", str(sample), advice=advice)
        if picture is None:
            sample.unlink()
            console.print("   (an image of noise, so any prediction will do)")
    name = next((destination / "model-store").glob("*.mar")).stem
    console.print(
        f"\n{destination} works. Its README.md tells the rest; next:\n\n"
        f"    cd {shlex.quote(str(destination))}\n"
        '    git init && git add -A && git commit -m "Start"\n'
        f"    {runner()}python serve.py\n"
        f"    curl -T IMAGE http://127.0.0.1:8080/predictions/{name}\n"
    )


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


def refuse_other_kind(found: Inspection, known: Mapping[str, Any]) -> None:
    """Raise UserError if the task takes networks of another kind than the file's."""
    task = tasks().get(known.get("task", ""))
    arch = catalogue.load().get(str(known["architecture"]).partition("/")[0])
    if task is not None and arch is not None and task.networks not in arch.kinds:
        raise UserError(
            f"{found.path} is of {known['architecture']}, which is a {' or '.join(arch.kinds)}; "
            f"task={task.value} takes a {task.networks}"
        )


def own_network(found: Inspection) -> str:
    """Return what to bring for a network that the template cannot build by itself."""
    if found.advice:
        return f"{found.path} needs a file that is exported: {found.advice}"
    bring = "bring the file that defines build_model(num_classes) with --model FILE"
    arch = catalogue.load().get(found.architecture or "")
    if arch is not None and found.head in HEADS.values():
        return (
            f"{found.path} is of torchvision's {found.architecture} with "
            f"{found.open_questions.get('num_classes', 'other outputs')}: {bring}"
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
    if "architecture" not in known and "architecture" not in given:
        if found.timm:
            commands = "".join(f"\n    -d architecture=timm/{name}" for name in found.timm)
            raise UserError(
                f"{found.path} is of one of several networks that weights cannot tell apart. Add "
                f"the one that it is:{commands}"
            )
        known["architecture"] = "custom"
    return known


def likely_of(found: Inspection, known: Mapping[str, Any], destination: Path) -> dict[str, Any]:
    """Return answers that are likely, not certain: defaults to be confirmed."""
    name = destination.resolve().name.replace("-", " ").replace("_", " ")
    likely = {"project_name": name.title(), **found.likely}
    if "checkpoint_key" in found.open_questions:
        likely["checkpoint_key"] = found.places[0].key
    arch = catalogue.load().get(str(known["architecture"]))
    if arch is not None and arch.params is not None and "image_size" in known:
        # The size is in the weights, the rest of the transforms is not.
        likely |= normalisation(arch)
    likely |= likely_transforms(found, {**likely, **known})
    return {name: value for name, value in likely.items() if name not in known}


def likely_transforms(found: Inspection, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return how images are likely prepared for a network that is built by a file of the user's.

    It is as for the architecture that it is made from, or else as for the task's default one where
    the whole image is kept: what custom starts with has tiny images of digits.
    """
    task = tasks().get(answers.get("task", ""))
    is_colour = answers.get("color_mode", "RGB") == "RGB"
    if answers["architecture"] != "custom" or "transforms" in answers or not is_colour:
        return {}
    name = found.architecture
    if name is None and task is not None and task.facts["keeps_whole_image"]:
        name = task.facts["architecture"]
    arch = catalogue.load().get(name or "")
    if arch is None:
        return {}
    sizes = {"image_size": arch.input_size}
    if arch.kinds == ("classifier",):
        sizes["resize_size"] = arch.resize_size
    return {"transforms": "custom", **sizes, **normalisation(arch)}


def normalisation(arch: catalogue.Arch) -> dict[str, Any]:
    """Return the answers on the values of the images that an architecture was trained on."""
    return {
        "mean": list(arch.mean),
        "std": list(arch.std),
        "interpolation": arch.interpolation,
    }


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
    from generator.labels import inspect_labels

    if labels is None and not agreed(own, num_classes):
        return None
    found = inspect_labels(labels, num_classes, own, order)
    if found.problem:
        advice = ""
        if task in tasks() and num_classes:
            advice = tasks()[task].advice_on_labels(found.names, num_classes)
        raise UserError(
            f"{found.problem}; {advice or 'complete the file, or name another with --labels'}"
        )
    for note in found.notes:
        console.print(f"   {printable(note)}")
    return found


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
            shutil.copyfile(source, project / "weights" / name)
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    file = facts.labels()[answers["label_format"]]["file"]
    if names is not None and names.is_written and file:
        from generator.labels import write_labels

        element = answers.get("label_element", -1)
        write_labels(project / file, names.names, answers["label_format"], element)
    elif labels is not None and labels.is_file() and file:
        shutil.copyfile(labels, project / file)


def files_of(weights: Path) -> dict[str, Path]:
    """Return the files of a checkpoint by the names that they have in a project.

    They are several if an ONNX file keeps its tensors in others.
    """
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


def noise(project: Path) -> Path:
    """Save an image of the project's own samples, and return it."""
    code = (
        "from tools.samples import sample_images; "
        "open('sample.jpg', 'wb').write(sample_images()['JPEG'])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)
    return project.resolve() / "sample.jpg"


def path_of_user() -> str:
    """Return the PATH of the user's shell, in which a command that a script prints is run.

    `uv run` puts the programs of this environment before it.
    """
    places = os.environ.get("PATH", "").split(os.pathsep)
    if runner():
        places = [place for place in places if Path(place) != Path(sys.executable).parent]
    return os.pathsep.join(places)


class Scripts:
    """A process in this environment that runs scripts of a project: SCRIPTS."""

    def __enter__(self) -> Scripts:
        """Start it."""
        with contextlib.ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            self._process = subprocess.Popen(
                [sys.executable, "-c", SCRIPTS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env={**os.environ, "PYTHONIOENCODING": "utf-8", "PATH": path_of_user()},
            )
            stack.enter_context(self._process)
            stack.callback(self._process.kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._stack.close()

    def run(self, project: Path, script: str, *arguments: str, advice: str) -> None:
        """Run a script; what it prints is shown, indented.

        Args:
            project: Its folder.
            script: The file in it.
            arguments: Of its command line.
            advice: What to print after its error.

        Raises:
            UserError: It failed, and nothing can be run after it.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its errors tell
            self._process.stdin.write(json.dumps([str(project.resolve()), [script, *arguments]]))
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line == "\0\n":
                return
            if line.strip():
                print(f"   {line}", end="", flush=True)
        self._process.wait()
        self._errors.seek(0)
        # Warnings of libraries may come before.
        message = re.split(r"^error: ", self._errors.read(), maxsplit=1, flags=re.MULTILINE)[-1]
        raise UserError(f"{message.strip()}{advice}")
