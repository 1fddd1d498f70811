"""The questions of the template, for people: tables, and a check of answer files."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from generator import catalogue, facts
from generator.answers_file import answers_in
from generator.errors import UserError
from generator.origin import SCHEMA
from generator.rendering import plain_copy, render, template_root


@dataclass(frozen=True)
class Question:
    """One question. What people read is put together when it is asked for: that takes a while.

    Attributes:
        name: the key in answer files, and on the command line after `-d`.
        entry: what copier.yml says of it.
    """

    name: str
    entry: Mapping[str, Any]

    @cached_property
    def help(self) -> str:
        """What is asked."""
        return in_words(self.entry["help"])

    @property
    def type(self) -> str:
        """One of str, int, bool and yaml."""
        return str(self.entry["type"])

    @cached_property
    def default(self) -> str:
        """The answer that `--defaults` takes, for people."""
        return in_words(self.entry["default"], "depends on the answers before")

    @cached_property
    def values(self) -> dict[str, str]:
        """The values to choose from, each with its meaning; empty if any value will do."""
        return values_of(self.name, self.entry)

    @property
    def condition(self) -> str:
        """When it is asked, as Jinja; empty if always."""
        return str(self.entry.get("when", "")).strip("{} ")

    @property
    def several(self) -> bool:
        """Whether the answer is a list of values."""
        return bool(self.entry.get("multiselect", False))


@cache
def questions() -> dict[str, Question]:
    """Return the questions that a person is asked, in their order."""
    return {
        name: Question(name, entry)
        for name, entry in facts.questions().items()
        if entry.get("when") is not False
    }


def computed() -> set[str]:
    """Return the names that only look like questions: values that follow from the answers."""
    return {name for name, entry in facts.questions().items() if entry.get("when") is False}


def in_words(text: Any, otherwise: str = "") -> str:
    """Return a text of a question, told apart by task where the tasks differ in it.

    Args:
        text: The text, with Jinja in it.
        otherwise: What to return if it is another one for each task, or with other answers.

    Raises:
        ValueError: It depends on other answers, and there is nothing else to return.
    """
    try:
        texts = {task: facts.text_of(text, task) for task in facts.tasks()}
    except ValueError:
        if otherwise:
            return otherwise
        raise
    return otherwise if otherwise and len(set(texts.values())) > 1 else by_task(texts)


def by_task(texts: Mapping[str, str]) -> str:
    """Join what the tasks have; name those that have it, unless all tasks have the same."""
    tasks: dict[str, list[str]] = {}
    for task, text in texts.items():
        tasks.setdefault(text, []).append(task)
    if len(texts) == len(facts.tasks()) and len(tasks) == 1:
        return next(iter(tasks))
    return "; ".join(f"{text} ({', '.join(each)})" for text, each in tasks.items())


def values_of(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a question with their meanings; none, if it has no choices."""
    archs = catalogue.load()
    if name == "architecture":
        return {key: arch.title for key, arch in archs.items()}
    if name == "family":
        return {
            family: ", ".join(key for key, arch in archs.items() if arch.family == family)
            for family in dict.fromkeys(arch.family for arch in archs.values())
        } | {"file": "any network that the checkpoint holds itself"}
    if "choices" not in entry:
        return {}
    meanings: dict[str, dict[str, str]] = {}
    for task in facts.tasks():
        for value, meaning in facts.menu(name, task).items():
            meanings.setdefault(value, {})[task] = meaning
    return {value: by_task(each) for value, each in meanings.items()}


# ----------------------------------------------------------------------------------------- tables


def markdown() -> str:
    """Return the table of all questions, for the docs."""
    lines = ["| question | what it asks | values | default |", "|---|---|---|---|"]
    for question in questions().values():
        if question.name == "architecture":
            values = "each of the family's; see the [list](architectures.md)"
        elif question.name == "family":
            values = ", ".join(f"`{value}`" for value in question.values)
        else:
            values = "<br>".join(
                f"`{value}`: {cell(meaning)}" if meaning else f"`{value}`"
                for value, meaning in question.values.items()
            )
        default = question.default if " " in question.default else f"`{question.default}`"
        values = values or kind(question.type)
        cells = (f"`{question.name}`", cell(question.help), values, default)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def architectures_markdown() -> str:
    """Return the page of all architectures, for the docs."""
    lines = [
        "# Architectures",
        "",
        "What `-d architecture=...` takes; `ts-template options architecture` prints the same.",
        "Parameters are those with as many classes as torchvision's own weights have. Sizes are in",
        "pixels: of the image that the network was made for, and the smallest that it accepts.",
        "[More networks](networks.md) tells of `custom`, timm and quantized ones.",
        "",
        *(
            f"{'An' if kind[0] in 'aeiou' else 'A'} {kind} is for {tasks_of(kind)}."
            for kind in catalogue.KINDS
        ),
        "",
        "| architecture | family | kind | parameters | image | smallest | quality | last layer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, arch in catalogue.load().items():
        if arch.params is None:
            continue
        smallest = arch.input_size if arch.size_rule == "fixed" else arch.min_size
        steps = f", multiples of {arch.size_step}" if arch.size_step > 1 else ""
        only = ", no other" if arch.size_rule == "fixed" else ""
        figure = next(x for x in (arch.acc1, arch.miou, arch.box_map) if x is not None)
        lines.append(
            f"| `{name}` | {arch.family} | {' or '.join(arch.kinds)} "
            f"| {arch.params / 1e6:.1f} M | {arch.input_size} "
            f"| {smallest}{steps}{only} | {figure:.1f} {catalogue.KINDS[arch.kinds[0]].unit} "
            f"| `{arch.classifier}` |"
        )
    return "\n".join(lines) + "\n"


def tasks_of(kind: str) -> str:
    """Return the tasks that take a kind of network, for the docs."""
    each = [f"`{task}`" for task, fact in facts.tasks().items() if fact["networks"] == kind]
    return " and ".join(each)


def write_docs() -> list[Path]:
    """Write the tables into docs/, and the schema; return the files."""
    from generator import schema

    root = template_root()
    table, page = root / "docs" / "questions.md", root / "docs" / "architectures.md"
    begin, end = "<!-- options: begin -->\n", "<!-- options: end -->"
    before, _, rest = table.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    table.write_text(f"{before}{begin}{markdown()}{end}{after}", encoding="utf-8")
    page.parent.mkdir(exist_ok=True)
    page.write_text(architectures_markdown(), encoding="utf-8")
    path = root / SCHEMA
    path.write_text(schema.text(), encoding="utf-8")
    return [table, page, path]


def cell(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "\\<")


def kind(type_name: str) -> str:
    """Return what a free answer may be."""
    return {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "yes or no",
        "yaml": "a list, or one value",
    }[type_name]


def parse(words: Iterable[str]) -> dict[str, Any]:
    """Return the answers of a command line, as in `-d num_classes=10`.

    Raises:
        UserError: There is no such question.
    """
    answers = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in questions():
            hint = nearest(name, questions())
            raise UserError(f"-d {word}: expected question=value{hint}")
        # As copier reads -d, but for texts that only look like numbers.
        is_text = questions()[name].type == "str" and not questions()[name].several
        try:
            answers[name] = value if is_text else yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"-d {word}: expected {kind(questions()[name].type)}") from None
        if questions()[name].several and isinstance(answers[name], str):
            answers[name] = value.split(",")
    return answers


# ------------------------------------------------------------------------------------------ check


def check(path: Path) -> Iterator[str]:
    """Yield what is wrong with an answer file, for `--data-file` or as Copier writes it.

    Copier takes unknown keys without a word, stops at the first bad value, and shows a traceback
    for files that it cannot read.
    """
    try:
        answers = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        yield f"there is no file {path}"
        return
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        yield f"{path} is not valid YAML: {error}"
        return
    if not isinstance(answers, dict):
        yield f"{path} holds a {type(answers).__name__}; expected lines such as num_classes: 10"
        return
    answers = {str(key): x for key, x in answers.items() if not str(key).startswith("_")}
    for name in list(answers):
        if name in computed():
            yield f"{name} is computed from other answers; remove it"
        elif name not in questions():
            yield f"unknown question {name}{nearest(name, questions())}"
        elif wrong := complaint(questions()[name], answers[name]):
            yield f"{name} {wrong}"
        else:
            continue
        del answers[name]
    yield from refusals(answers)


def complaint(question: Question, answer: Any) -> str:
    """Return what is wrong with an answer, given the question alone; nothing if it is right."""
    values = list(question.values)
    if question.several and not isinstance(answer, list):
        return f"is {answer!r}; expected a list, as in [{', '.join(values[:2])}]"
    for value in answer if question.several else [answer]:
        if values and value not in values:
            hint = nearest(str(value), values) or f"; expected {' or '.join(values)}"
            return f"cannot be {value!r}{hint}"
        if not has_type(value, question.type):
            return f"is {value!r}; expected {kind(question.type)}"
    return ""


def has_type(answer: Any, type_name: str) -> bool:
    """Tell whether Copier can read the answer as the question's type."""
    if type_name == "bool":
        return isinstance(answer, bool)
    if type_name == "int":
        return isinstance(answer, int) and not isinstance(answer, bool)
    return True


def nearest(word: str, known: Any) -> str:
    """Return a suggestion for a misspelt word, or nothing if none is near."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def refusals(answers: dict[str, Any]) -> Iterator[str]:
    """Yield what Copier's own validation refuses, one question after another.

    Last, yield the answers that it does not ask for, given the others.
    """
    with tempfile.TemporaryDirectory() as folder:
        template, project = plain_copy(Path(folder, "template")), Path(folder, "project")
        while True:
            try:
                render(project, answers, template)
                break
            except Exception as error:
                message = str(error)
                yield re.sub(r"^Validation error for question '\w+': ", "", message)
                named = re.search(r"question '(\w+)'|choice for '(\w+)'|\"(\w+)\"", message)
                name = next(filter(None, named.groups()), "") if named else ""
                if answers.pop(name, None) is None:
                    return
        kept = answers_in(project)
    from generator.conditions import without_effect  # which needs the questions of this

    yield from without_effect(answers, kept)
