"""Hand-written services for texts: what makes a project in place of each.

Such a service is a folder of transformers and a few lines around it, which a project has anew; none
of them is carried over. What they decide is read, for the command that makes the project.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.adopt.commands import files_below
from generator.errors import UserError
from generator.inspection.hub import CONFIG, read_json
from generator.inspection.text_folders import CLASS
from generator.source import Source, called, calls_of
from generator.tasks import serving

if TYPE_CHECKING:
    from generator.adopt.reading import Service

NETWORK = re.compile(r"transformers(\.\w+)*\.\w+ForSequenceClassification")
PIPELINE = ("text-classification", "sentiment-analysis")
BUILT_IN = ("text_classifier", "TextClassifier")
SETTINGS = "setup_config.json"  # of TorchServe's examples


def refuse_texts(service: Service) -> None:
    """Raise UserError for a service that classifies texts, with the command that replaces it."""
    root = service.root
    named = service.command.handler if service.command else ""
    folder = folder_of(root)
    if named in BUILT_IN or service.base in BUILT_IN:
        command = service.command.where if service.command else ""
        where = service.handler.name if service.handler else command
        raise UserError(
            f"{where} serves texts with TorchServe's text_classifier, whose vocabulary is of "
            "torchtext. That loads beside no current torch, and no project reads it. What "
            "classifies texts here is a folder of transformers, with its tokenizer: "
            f"ts-template new PROJECT --weights {folder}"
        )
    sources = [service.handler, *service.modules.values()]
    for source in filter(None, sources):
        if (found := network_in(source)) is None:
            continue
        options = "".join(f" -d {name}={value}" for name, value in answers_in(source, root).items())
        raise UserError(
            f"{found} classifies texts with a network of transformers. Nothing of such a handler "
            "is carried over: the folder that it loads makes a project, with what the handler "
            "sets:\n"
            f"    ts-template new PROJECT --weights {folder}{options}\n"
            "Its predictions name every class with its probability (response_format), where such "
            "handlers mostly return the best name alone"
        )


def folder_of(root: Path) -> str:
    """Return the folder of transformers in a folder, for a command line; else FOLDER."""
    for path in files_below(root):
        names = read_json(path).get("architectures") if path.name == CONFIG else None
        if isinstance(names, list) and names and CLASS.fullmatch(str(names[0])):
            return shlex.quote(str(path.parent))
    return "FOLDER"


def network_in(source: Source) -> str | None:
    """Return where a file takes a sequence classifier of transformers; None if it does not."""
    for name, full in source.imported.items():
        if NETWORK.fullmatch(full):
            return f"{source.name} ({name})"
    for call in calls_of(source.nodes):
        task = source.value_or(call.args[0], None) if call.args else None
        if called(call) == "pipeline" and task in PIPELINE:
            return source.at(call)
    return None


def answers_in(source: Source, root: Path) -> dict[str, Any]:
    """Return the answers that a handler of texts gives."""
    answers: dict[str, Any] = {}
    settings = [read_json(path) for path in files_below(root) if path.name == SETTINGS]
    lengths = [*lengths_in(source), *(x.get("max_length") for x in settings)]
    known = [int(x) for x in lengths if str(x).isdecimal() and int(str(x)) > 0]
    if known:
        answers["max_tokens"] = known[0]
    if known or any(x.arg in ("truncation", "max_length") for x in keywords_in(source)):
        answers["long_texts"] = "truncate"
    if any(called(call) in ("sigmoid", "Sigmoid") for call in calls_of(source.nodes)):
        (task,) = serving("text classifier")
        answers["problem_type"] = task.decisive["problem_type"]
    return answers


def keywords_in(source: Source) -> Iterator[ast.keyword]:
    """Yield the keywords of all calls in a file."""
    for call in calls_of(source.nodes):
        yield from call.keywords


def lengths_in(source: Source) -> Iterator[Any]:
    """Yield what a file says of the most tokens of a text, where it is a number."""
    for keyword in keywords_in(source):
        if keyword.arg == "max_length":
            yield source.value_or(keyword.value, None)
