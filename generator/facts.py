"""Reads what the template knows: its questions, and the facts of each task, backend and the like.

Facts are YAML files beside the pieces that they are about, such as template/backends/eager/
backend.yml, with `value`, `title`, `order` and more. copier.yml includes the same files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from generator.rendering import template_root

Facts = dict[str, dict[str, Any]]  # value -> what is known of it, in the order of the menu

# Settings that copier.yml and what it includes may each have a part of.
CONCATENATED = ("_exclude", "_jinja_extensions", "_secret_questions", "_skip_if_exists")


def config() -> dict[str, Any]:
    """Return copier.yml with what it includes, merged as Copier merges it."""
    root = template_root()
    return merged(root / "copier.yml", root)


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions of `config`, computed ones included."""
    return {
        name: entry if isinstance(entry, dict) else {"default": entry}
        for name, entry in config().items()
        if not name.startswith("_")
    }


def ways() -> set[str]:
    """Return the questions that only lead to others; their answers are in no answers file."""
    return {name for name, entry in questions().items() if entry.get("secret")}


def tasks() -> Facts:
    """Return the tasks that a project may be for."""
    return by_value(read(template_root(), "template/tasks/*/task.yml"))


def inputs() -> Facts:
    """Return what a service may take: the values of `input` in the facts of a task."""
    return by_value(read(template_root(), "template/inputs/*/input.yml"))


def responses(task: str) -> Facts:
    """Return the response formats of a task."""
    found = read(template_root(), "template/tasks/*/responses/*/response.yml")
    return by_value(fact for fact in found if fact["task"] == task)


def backends() -> Facts:
    """Return what may run a network."""
    return by_value(read(template_root(), "template/backends/*/backend.yml"))


def checkpoints() -> Facts:
    """Return the ways that weights may be saved in: the values of `weights`."""
    return by_value(read(template_root(), "template/checkpoints/*/checkpoint.yml"))


def labels() -> Facts:
    """Return the forms that labels may be written down in: the values of `label_format`."""
    return by_value(read(template_root(), "template/labels/*/label.yml"))


def targets() -> Facts:
    """Return where a project may run besides TorchServe on one machine: the values of `deploy`."""
    return by_value(read(template_root(), "template/deploy/*/target.yml"))


def questions_of_tasks() -> set[str]:
    """Return the questions that stand in a task's folder: they are not asked for every task."""
    root = template_root()
    paths = (root / task["path"] for task in tasks().values())
    return {name for path in paths for name in merged(path.with_name("questions.yml"), root)}


def questions_of_inputs() -> set[str]:
    """Return the questions that are not asked for every input."""
    return {name for fact in inputs().values() for name in fact["questions"]}


def deciding_questions() -> set[str]:
    """Return the questions whose answers decide what a service predicts, computed ones included."""
    root = template_root()
    names = ("network", "weights", "labels", "images", "predictions")
    paths = [root / "template" / "questions" / f"{name}.yml" for name in names]
    owners = (*inputs().values(), *labels().values())
    paths += [root / Path(owner["path"]).with_name("questions.yml") for owner in owners]
    return {"task", *(name for path in paths for name in merged(path, root)), *questions_of_tasks()}


def menu(question: str, task: str) -> dict[str, str]:
    """Return the values of a question with choices, each with what it means, for one task.

    Raises:
        ValueError: The values depend on more than the task.
    """
    choices = questions()[question]["choices"]
    if isinstance(choices, str):
        # The reasons against a value may depend on other answers; those are of no interest here.
        defaults = {
            name: entry["default"]
            for name, entry in questions().items()
            if "{" not in str(entry.get("default", "{"))
        }
        entries = yaml.safe_load(text_of(choices, task, defaults))
        pairs = [entry if isinstance(entry, list) else (entry, entry) for entry in entries]
    elif isinstance(choices, dict):
        pairs = list(choices.items())
    else:
        pairs = [(value, value) for value in choices]
    meanings = {}
    for title, choice in pairs:
        value = choice["value"] if isinstance(choice, dict) else choice
        meanings[value] = title.removeprefix(value).removeprefix(":").strip()
    return meanings


def text_of(template: Any, task: str, answers: Mapping[str, Any] | None = None) -> str:
    """Render a text of a question, such as its help, for one task.

    Args:
        template: The text, with Jinja in it.
        task: The task.
        answers: Other answers that it may depend on.

    Raises:
        ValueError: It depends on more.
    """
    variables = {
        name: entry["default"]
        for name, entry in questions().items()
        if isinstance(entry.get("default"), list) and entry.get("when") is False
    }
    fact = tasks()[task]
    variables |= {**(answers or {}), "task": task, "task_facts": fact}
    variables["input_facts"] = inputs()[fact["input"]]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_root()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["to_json"] = json.dumps
    try:
        return environment.from_string(str(template)).render(variables)
    except jinja2.TemplateError as error:
        raise ValueError(f"{template} depends on more than the task: {error}") from error


@cache
def read(root: Path, pattern: str) -> list[dict[str, Any]]:
    """Return the facts in the files that match a pattern, sorted by `order`, then by value.

    Each gets its file as `path`, relative to the root. Do not change them: they are kept.

    Raises:
        ValueError: A file is not one mapping with `value` and `order`.
    """
    found = []
    for path in sorted(root.glob(pattern)):
        name = path.relative_to(root).as_posix()
        documents = list(flattened(documents_of(path, root)))
        if len(documents) != 1 or not {"value", "order"} <= documents[0].keys():
            raise ValueError(f"{name} must be one mapping that has value and order")
        found.append({**documents[0], "path": name})
    return sorted(found, key=lambda fact: (fact["order"], fact["value"]))


def by_value(found: Iterable[dict[str, Any]]) -> Facts:
    """Return facts by their values.

    Raises:
        ValueError: Two have the same value.
    """
    facts: Facts = {}
    for fact in found:
        if facts.setdefault(fact["value"], fact) is not fact:
            raise ValueError(f"{facts[fact['value']]['path']} and {fact['path']} have one value")
    return facts


@cache
def merged(path: Path, root: Path) -> dict[str, Any]:
    """Return the questions of a file, if there is one; do not change them, for they are kept."""
    documents = list(flattened(documents_of(path, root))) if path.is_file() else []
    whole: dict[str, Any] = {}
    for document in documents:
        whole |= document
    parts: dict[str, list[Any]] = defaultdict(list)
    for document in documents:
        for name in CONCATENATED:
            parts[name] += document.get(name, [])
    return whole | {name: values for name, values in parts.items() if values}


def documents_of(path: Path, root: Path) -> list[Any]:
    """Return the YAML documents of a file; `!include PATTERN` stands for those of other files.

    A pattern is relative to the root. The files come sorted by their paths.
    """

    class Loader(yaml.SafeLoader):
        """Knows `!include`."""

    def include(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
        assert isinstance(node, yaml.ScalarNode)
        pattern = str(loader.construct_scalar(node))
        found: list[Any] = []
        for included in sorted(root.glob(pattern)):
            found += flattened(documents_of(included, root))
        return found

    Loader.add_constructor("!include", include)
    return [*yaml.load_all(path.read_bytes(), Loader=Loader)]


def flattened(documents: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the documents, those that are included among them; skip empty ones."""
    for document in documents:
        if isinstance(document, list):
            yield from flattened(document)
        elif document:
            yield document
