"""What the page shows: the questions as they stand with some answers, and the rendered files.

It runs in a process of its own, which `prepare` has made ready: what Jinja compiled is kept from
one render to the next, and no git is found, which Copier would ask about each file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from generator import catalogue, options
from generator.answers_file import ANSWERS_FILE
from generator.compiled import remember
from generator.conditions import asked_if
from generator.errors import UserError
from generator.page import services
from generator.rendering import plain_copy, render, runner, template_root
from generator.schema import ABSENT, RAW, TIMM, Questions
from generator.update import command as update_command

LARGEST = 200_000  # characters of a file that get colours


class Form(Questions):
    """The questions, with answers that a person has given so far."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Any] = {}
        self.known: dict[str, Any] = {}

    def read(self, variable: str) -> Any:
        """Return an answer."""
        if variable.startswith(RAW):
            return self.given.get(variable.removeprefix(RAW), ABSENT)
        return self.assumed[variable]

    def once(self, key: str, name: str, render: Any) -> Any:
        """Return what a function renders for a question; once for these answers."""
        if key not in self.known:
            outer = (self.asking, self.local)
            self.asking, self.local = name, {}
            try:
                self.known[key] = render()
            finally:
                self.asking, self.local = outer
        return self.known[key]

    def cast(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return answers of the page as Copier reads them, but for those that are refused."""
        answers = {}
        for name, value in given.items():
            with contextlib.suppress(UserError):
                answers[name] = cast(options.questions()[name], value)
        return answers

    def filled_in(
        self, given: Mapping[str, Any], *, has_reasons: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the questions with answers, as the page shows them.

        Args:
            given: Answers of people.
            has_reasons: Whether those that do not apply have the reason, which takes a second or
                two the first time.
        """
        self.given, self.known, self.assumed = dict(given), {}, {}
        for name, question in options.questions().items():
            if name in self.ways:
                continue
            is_asked, default = self.is_asked(name), self.default(name)
            if not is_asked:
                self.given.pop(name, None)
            problem = ""
            try:
                value = cast(question, self.given[name]) if name in self.given else default
                problem = self.problem(question, value) if name in self.given else ""
            except UserError as error:
                value, problem = default, str(error)
            is_given = name in self.given
            if problem:  # what comes after it goes on without it
                del self.given[name]
                self.known.clear()
                self.assumed[name] = self.default(name)
            else:
                self.assumed[name] = value
            if name in self.given:
                self.given[name] = value
            row = {
                "name": name,
                "help": self.rendered(name, self.entries[name]["help"]),
                "type": "list" if question.several else question.type,
                "is_asked": is_asked,
                "reason": "",
                "value": value if isinstance(value, bool | list) else as_text(value),
                "is_given": is_given,
                "problem": problem,
                "choices": self.menu(name) if is_asked else [],
            }
            if has_reasons and not is_asked:
                row["reason"] = f"Asked if {asked_if(name, self.assumed)}"
            yield row

    def rendered(self, name: str, text: Any, answer: Any = ABSENT) -> str:
        """Render a text of a question, maybe with an answer to it."""
        return self.about(name, answer, lambda: str(self.render(text)).strip())

    def problem(self, question: options.Question, value: Any) -> str:
        """Return why an answer is refused; empty if it is not."""
        name = question.name
        if name == "architecture" and value not in question.values and not TIMM.fullmatch(value):
            hint = options.nearest(value, question.values)
            return f"there is no architecture {value}{hint or '; others of timm are timm/NAME'}"
        if not question.several:
            return self.about(name, value, lambda: self.complaint(name, value))
        refused = {x["value"]: x["problem"] for x in self.menu(name)}
        wrong = [refused.get(x, f"{x} is no choice") for x in value]
        validator = self.entries[name].get("validator", "")
        return next(filter(None, wrong), "") or self.rendered(name, validator, value)

    def menu(self, name: str) -> list[dict[str, Any]]:
        """Return the choices of a question: value, title, and why it is refused."""
        if name == "architecture":  # the family, which the terminal asks first, follows from it
            archs = catalogue.load().items()
            return [{"value": x, "title": arch.title, "problem": ""} for x, arch in archs]
        found = self.entries[name].get("choices", {})

        def pairs() -> Any:
            if isinstance(found, str):
                return self.once(f"choices of {name}", name, lambda: self.pairs(found))
            return found.items() if isinstance(found, dict) else [(x, x) for x in found]

        shown = []
        for title, choice in self.about(name, ABSENT, pairs):
            entry = choice if isinstance(choice, dict) else {"value": choice}
            refusal = self.rendered(name, entry.get("validator", ""), entry["value"])
            shown.append({"value": entry["value"], "title": title, "problem": refusal})
        return shown


def cast(question: options.Question, value: Any) -> Any:
    """Return an answer of the page as Copier reads it.

    Raises:
        UserError: It is of another type.
    """
    if question.type == "str" and not question.several:
        return str(value)
    try:
        value = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise UserError(f"{value} is not {options.kind(question.type)}") from None
    is_wrong = question.type == "float" and type(value) not in (int, float)
    if is_wrong or not options.has_type(value, question.type):
        raise UserError(f"{as_text(value)} is not {options.kind(question.type)}")
    if question.several and not isinstance(value, list):
        raise UserError(f"{as_text(value)} is no list")
    return value


def as_text(value: Any) -> str:
    """Return an answer as it is written after -d."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------- in its own process


def prepare() -> None:
    """Make this process ready to render often."""
    global FORM, TEMPLATE
    os.environ["PATH"] = ""
    os.environ["COLUMNS"] = "100"
    folder = tempfile.TemporaryDirectory(prefix="ts-template-start-")
    TEMPLATE = plain_copy(Path(folder.name, "template"))
    KEPT.append(folder)
    FORM = Form()
    remember()


FORM: Form
TEMPLATE: Path
KEPT: list[Any] = []


@dataclass(frozen=True)
class Of:
    """What a preview is of, besides answers.

    Attributes:
        given: those of the answers that people gave, which commands name.
        has_reasons: whether questions that do not apply have the reason.
        service: the folder of a hand-written service, and what was chosen besides.
        project: the folder of a project.
        line: the ts-template command that makes it, if that is not `copier copy`.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    has_reasons: bool = False
    service: services.Files | None = None
    project: Path | None = None
    line: Sequence[str] = ()


def preview(answers: Mapping[str, Any], of: Of) -> dict[str, Any]:
    """Return what the page shows with some answers.

    Returns:
        `questions`, as `Form.filled_in` has them; `files`, texts by path, None if an answer is
        refused; `replaced`, files of a service, by what replaces them; `command`, which makes the
        same; `error`, a refusal that is of no question.
    """
    questions = list(FORM.filled_in(answers, has_reasons=of.has_reasons))
    result: dict[str, Any] = {"questions": questions, "files": None, "command": "", "error": ""}
    result["replaced"] = {}
    if any(question["problem"] for question in questions):
        return result
    effective = dict(FORM.given)
    with tempfile.TemporaryDirectory(prefix="ts-template-start-") as folder:
        project = Path(folder, "project")
        try:
            render(project, effective, TEMPLATE)
        except ValueError as error:
            named = re.search(r"question '(\w+)'|choice for '(\w+)'|\"(\w+)\"", str(error))
            name = next(filter(None, named.groups()), "") if named else ""
            found = [question for question in questions if question["name"] == name]
            message = re.sub(r"^Validation error for question '\w+': ", "", str(error))
            if found:
                found[0]["problem"] = message
            else:
                result["error"] = message
            return result
        if of.service is not None:
            result["replaced"] = services.fill(of.service, project)
        result["files"] = dict(texts(project))
    result["command"] = command(effective, of)
    return result


def command(answers: Mapping[str, Any], of: Of) -> str:
    """Return the command that makes what a preview shows."""
    given = [f"{name}={as_text(x)}" for name, x in answers.items() if name in of.given]
    if of.project is not None:
        return update_command(of.project, given, "", ANSWERS_FILE)
    if of.line:
        return runner() + shlex.join(["ts-template", *of.line, *after_d(given)])
    whole = [f"{name}={as_text(x)}" for name, x in answers.items()]
    words = ["copier", "copy", "--defaults", *after_d(whole)]
    return runner() + shlex.join([*words, str(template_root()), "my-service"])


def after_d(answers: Iterable[str]) -> list[str]:
    """Return answers as words of a command."""
    return [word for answer in answers for word in ("-d", answer)]


def texts(project: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a project, each with its text."""
    for path in sorted(project.rglob("*")):
        if path.is_file():
            name = path.relative_to(project).as_posix()
            text = path.read_text(encoding="utf-8", errors="replace")
            if name == ANSWERS_FILE:  # where this preview was rendered from is of no use
                text = re.sub(r"^_src_path: .*\n", "", text, flags=re.MULTILINE)
            yield name, text


def coloured(name: str, text: str) -> list[list[list[str]]]:
    """Return the lines of a file, each as pieces: [kind, text].

    A kind is one of the classes in style.css; empty for plain text.
    """
    from pygments import token
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    kinds = {
        token.Comment: "comment",
        token.String: "string",
        token.Keyword: "keyword",
        token.Number: "number",
        token.Name.Tag: "keyword",
        token.Name.Function: "name",
        token.Name.Class: "name",
        token.Generic.Inserted: "inserted",
        token.Generic.Deleted: "deleted",
        token.Generic.Heading: "keyword",
        token.Generic.Subheading: "keyword",
    }
    pieces: Any = [(token.Text, text)]
    with contextlib.suppress(ClassNotFound):
        if len(text) <= LARGEST:
            lexer = get_lexer_for_filename(name, stripnl=False, ensurenl=False)
            pieces = lexer.get_tokens(text)
    lines: list[list[list[str]]] = [[]]
    for kind, piece in pieces:
        found = next((css for known, css in kinds.items() if kind in known), "")
        for place, part in enumerate(piece.split("\n")):
            if place:
                lines.append([])
            if part:
                lines[-1].append([found, part])
    return lines if lines[-1] else lines[:-1]
