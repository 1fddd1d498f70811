"""Shows an inspection: as a table for people, as JSON, and as a file of answers."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.text import Text

from generator.files import in_one_step
from generator.inspection import Inspection
from generator.inspection.answers import SERVED_HEADS, conversion
from generator.inspection.heads import as_answer
from generator.inspection.reading import GRAPHS, KINDS
from generator.inspection.refusals import printable
from generator.layouts import plain_name
from generator.origin import EDITORS
from generator.rendering import runner, template_root
from generator.tasks import tasks

if TYPE_CHECKING:
    from generator.labels import Labels

INDENT = 14  # characters, of the second column
MANY = 12  # lines of places, or of a head's layers, that are shown
HEAD_TITLES = {
    "linear": "the architecture's own layer",
    "dropout": "nn.Sequential(Dropout, Linear)",
    "mlp": "nn.Sequential(Linear, ReLU, Linear)",
    "mlp_dropout": "nn.Sequential(Linear, ReLU, Dropout, Linear)",
    "layers": "layers in place of the architecture's",
    "other": "layers of your own in place of the architecture's",
    "outside": "beside the network, in what wraps it",
    "none": "there is none",
    "graph": "part of the graph",
}
NOT_KNOWN = "not known"


def as_json(inspection: Inspection, labels: Labels | None) -> str:
    """Return the inspection as JSON, for programs. docs/inspection.md has the keys."""
    content = {
        "file": str(inspection.path),
        "size": inspection.size,
        "kind": inspection.kind,
        "what": inspection.what,
        "network_kind": inspection.network_kind,
        "task": inspection.task,
        "places": [
            {"key": x.key, "prefix": x.prefix, "network": x.network, "is_copy": x.is_copy}
            for x in inspection.places
        ],
        "prefix": inspection.prefix,
        "architecture": inspection.architecture,
        "others": inspection.others,
        "timm": inspection.timm,
        "classes": inspection.classes,
        "channels": inspection.channels,
        "image_size": inspection.image_size,
        "head": inspection.head,
        "head_units": inspection.head_units,
        "head_layers": inspection.head_layers,
        "layers": inspection.described.layers if inspection.described else None,
        "differences": inspection.differences,
        "precision": inspection.precision,
        "parameters": inspection.parameters,
        "nearest": [
            {
                "architecture": near.name,
                "prefix": near.prefix,
                "share": round(near.share, 4),
                "missing": near.missing,
                "unknown": near.unknown,
                "reshaped": near.reshaped,
                "renamed": near.renamed,
            }
            for near in inspection.nearest
        ],
        "objects": inspection.objects,
        "unreadable": inspection.unreadable or None,
        "notes": inspection.notes,
        "layouts": inspection.layouts,
        "advice": inspection.advice or None,
        "class_names": {one.place: one.names for one in inspection.class_names},
        "answers": inspection.answers | (labels.answers if labels else {}),
        "open_questions": open_questions(inspection, labels),
        "likely": inspection.likely,
        "labels": None
        if labels is None
        else {
            "format": labels.format,
            "count": len(labels.names),
            "encoding": labels.encoding,
            "fits": labels.fits,
            "problem": labels.problem,
            "notes": labels.notes,
        },
    }
    return json.dumps(content, indent=2)


def open_questions(inspection: Inspection, labels: Labels | None) -> dict[str, str]:
    """Return what is left to ask, given the labels."""
    questions = dict(inspection.open_questions)
    if labels is not None:
        questions.pop("label_format", None)
    return questions


# ------------------------------------------------------------------------------------- for people


def show(
    inspection: Inspection,
    labels: Labels | None = None,
    labels_file: Path | None = None,
    answers_file: Path | None = None,
) -> None:
    """Print all that is known, what is not, and the commands that come next."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for title, text in (*rows(inspection), *label_rows(labels)):
        # Wrapped at spaces alone: paths and names are there to be copied.
        lines = textwrap.wrap(
            printable(text),
            max(console.width - INDENT, INDENT),
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = Text(f"{title:{INDENT}}" + f"\n{' ' * INDENT}".join(lines))
        line.stylize("bold", 0, len(title))
        console.print(line)
    console.print("\nWhat the file cannot tell", style="bold")
    for name, why in open_questions(inspection, labels).items():
        console.print(f"  {name}: {why}")
    console.print("\nNext", style="bold")
    for command in commands(inspection, labels, labels_file, answers_file):
        console.print(f"  {printable(command)}")


def rows(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what is known, as titles and texts."""
    what = f", {inspection.what}" if inspection.what else ""
    if inspection.folder is not None:
        yield "folder", str(inspection.folder.path)
    yield "file", str(inspection.path)
    yield "kind", f"{KINDS[inspection.kind]}{what}"
    size = inspection.size
    yield "size", f"{size / 1e6:,.1f} MB" if size > 1e5 else f"{size:,} bytes"
    for number, place in enumerate(inspection.places[:MANY]):
        where = place.key or "the top"
        names = f", names after {place.prefix}" if place.prefix else ""
        copy = ", a copy" if place.is_copy else ""
        network = f": {place.network}" if len(inspection.places) > 1 and place.network else ""
        yield "weights at" if not number else "", f"{where}{names}{copy}{network}"
    if len(inspection.places) > MANY:
        yield "", f"... {len(inspection.places)} in all"
    yield "architecture", architecture(inspection)
    yield "task", task(inspection)
    for number, near in enumerate(inspection.nearest):
        yield "nearest" if not number else "", str(near)
    known = tasks().get(inspection.task or "")
    if known is None or known.facts["has_labels"] or inspection.folder is None:
        yield "classes", str(inspection.classes or NOT_KNOWN)
    colors = {3: " (colour)", 1: " (grayscale)"}.get(inspection.channels or 0, "")
    if inspection.folder is None:
        yield "channels", f"{inspection.channels or NOT_KNOWN}{colors}"
    if inspection.image_size:
        yield "image size", f"{inspection.image_size} pixels, no other"
    yield from head_rows(inspection)
    counts = inspection.precision.items()
    mixed = ", ".join(f"{dtype} ({count} tensors)" for dtype, count in counts)
    yield "precision", mixed if len(counts) > 1 else next(iter(inspection.precision), NOT_KNOWN)
    parameters = inspection.parameters
    yield "parameters", NOT_KNOWN if parameters is None else f"{parameters:,}"
    if inspection.objects:
        more = ", ..." if len(inspection.objects) > 3 else ""
        names = ", ".join(inspection.objects[:3])
        yield "objects", f"of {names}{more}: torch.load(weights_only=True) refuses the file"
    for number, note in enumerate(inspection.notes):
        yield "notes" if not number else "", note


def architecture(inspection: Inspection) -> str:
    """Return the row of the architecture."""
    if inspection.architecture:
        return f"torchvision's {' or '.join([inspection.architecture, *inspection.others])}"
    if inspection.folder is not None:
        return f"transformers' {inspection.folder.network}"
    if inspection.timm:
        return f"timm's {' or '.join(inspection.timm)}"
    if inspection.kind == "onnx":
        return f"{NOT_KNOWN}: an ONNX file keeps some of the names alone"
    if inspection.precision:
        return f"{NOT_KNOWN}: no network of torchvision or timm"
    return NOT_KNOWN


def task(inspection: Inspection) -> str:
    """Return the row of the task."""
    if inspection.task is not None:
        return inspection.task
    likely = inspection.likely.get("task")
    if likely is None:
        return f"none: it is a {inspection.network_kind}"
    return f"{likely} likely; weights do not tell"


def head_rows(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield the rows of the last layers."""
    if inspection.head is None:
        return
    text = HEAD_TITLES[inspection.head]
    if (described := inspection.described) is not None and inspection.answers.get("head_layers"):
        text = f"{HEAD_TITLES['layers']}: {as_answer(described.layers)}"
    elif inspection.head_units:
        text += f", {inspection.head_units} units"
    if inspection.answers.get("architecture") == "custom":
        text += "; the project needs architecture=custom, and the network in its service/model.py"
    yield "head", text
    for number, line in enumerate(inspection.differences):
        yield "differs" if not number else "", line
    if inspection.head not in SERVED_HEADS:
        for name, shape in list(inspection.head_layers.items())[:MANY]:
            yield "", f"{name} {tuple(shape)}"
        if len(inspection.head_layers) > MANY:
            yield "", f"... {len(inspection.head_layers)} in all"


def label_rows(labels: Labels | None) -> Iterator[tuple[str, str]]:
    """Yield what is known of the label file."""
    if labels is None:
        return
    fits = {True: ", as many as the network has", False: "", None: ""}[labels.fits]
    yield "labels", f"{labels.format}, {len(labels.names)} names{fits}, {labels.encoding}"
    for note in (labels.problem, *labels.notes):
        if note:
            yield "", note


def commands(
    inspection: Inspection,
    labels: Labels | None,
    labels_file: Path | None,
    answers_file: Path | None,
) -> Iterator[str]:
    """Yield the commands that make a project of the file, or first a file that can be served."""
    if inspection.unreadable:
        weights, lines = conversion(inspection)
        yield "If you trust the file, convert it where it was made, in Python:"
        yield from (f"  {line}" for line in lines)
        yield f"and then: {runner()}ts-template inspect {shlex.quote(str(weights))}"
        return
    if inspection.advice:
        yield from f"{inspection.path}: {inspection.advice}".split("\n")
        return
    if labels is not None and labels.problem:
        yield f"first correct the labels: {labels.problem}"
    if inspection.task is None and "task" not in inspection.likely:
        yield f"nothing: no task of this template takes a {inspection.network_kind}"
        return
    source = inspection.folder.path if inspection.folder else inspection.path
    name = source.resolve().name.removesuffix(".tar")  # as in model_best.pth.tar
    project = shlex.quote(f"{Path(name).stem or 'my'}-service")
    template = shlex.quote(str(template_root()))
    if answers_file is not None:
        given = f"--data-file {shlex.quote(str(answers_file))}"
    else:
        answers = inspection.answers | (labels.answers if labels else {})
        given = " ".join(f"-d {shlex.quote(f'{name}={as_text(x)}')}" for name, x in answers.items())
    if inspection.layouts:
        plain = shlex.quote(str(inspection.path.with_name(plain_name(inspection.path))))
        yield f"{runner()}ts-template convert {shlex.quote(str(inspection.path))} {plain}"
    yield f"{runner()}copier copy {given} {template} {project}"
    new = f"{runner()}ts-template new {project} --weights {shlex.quote(str(source))}"
    if labels_file is not None:
        new += f" --labels {shlex.quote(str(labels_file))}"
    # A network that is known in part or not at all is built by a file of the user's.
    own = inspection.answers.get("architecture") == "custom" or not (
        inspection.architecture or inspection.timm or inspection.folder
    )
    yield f"{new} --model model.py" if own and inspection.kind not in GRAPHS else new


def as_text(answer: Any) -> str:
    """Return an answer as Copier reads it on the command line."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


# ---------------------------------------------------------------------------- the file of answers


def write_answers(path: Path, inspection: Inspection, labels: Labels | None) -> None:
    """Write a file for `copier copy --data-file`; what is left to answer stands there as comments.

    An old file stays as it is until the new one is complete.
    """
    answers = inspection.answers | (labels.answers if labels else {})
    lines = [f"# What ts-template inspect found in {printable(inspection.path.name)}.", EDITORS]
    lines += [yaml.safe_dump({name: x}, allow_unicode=True).rstrip() for name, x in answers.items()]
    lines += ["", "# What it could not tell:"]
    lines += [f"# {name}: {why}" for name, why in open_questions(inspection, labels).items()]
    with in_one_step(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
