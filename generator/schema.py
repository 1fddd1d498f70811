"""The JSON Schema of files of answers, made of the questions of the template.

What a question takes given other answers is found out by asking: the templates in its choices, its
validator, its default and its `when` are rendered for each value of what they read, and of that no
more than they read. The outcome is a tree of decisions, and of that a schema is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import jinja2
import yaml
from jinja2.runtime import Context
from jinja2.utils import missing
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from generator import catalogue, facts, options
from generator.origin import SCHEMA_ADDRESS
from generator.rendering import template_root

Schema = dict[str, Any]
T = TypeVar("T")

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {"str": "string", "bool": "boolean", "int": "integer", "float": "number"}
TIMM = re.compile("timm/[A-Za-z0-9][A-Za-z0-9_.-]*")  # a value of architecture, in short

# Questions of which the schema knows the form alone, each with what it leaves out. Those of one
# task or label format alone are in its forms.yml, as are their forms.
LEFT_OUT = {
    "family": "which there are, and what else it changes; architecture needs none",
    "project_name": "characters that steer a terminal",
    "timm_name": "characters that no name of timm has",
    "head_layers": "which layers there are, and in which order",
    "image_size": "which sizes the architecture takes",
    "resize_size": "at least image_size",
    "mean": "as many numbers as channels",
    "std": "as many numbers as channels",
    "state_dict_prefix": "names that end in a dot, where there must be some",
    "output_key": "characters that no key has",
}

# The forms of answers that are neither one of several values nor a number.
FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
PER_CHANNEL = {"type": "array", "items": FRACTION, "minItems": 1, "maxItems": 3}
FORMS: dict[str, Schema] = {
    "project_name": {"type": "string", "pattern": r"\S"},
    "model_name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"},
    "mean": {"anyOf": [FRACTION, PER_CHANNEL]},
    "std": {"anyOf": [FRACTION, PER_CHANNEL]},
    "head_layers": {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ]
    },
}


@cache
def forms_in_folders() -> dict[str, dict[str, Any]]:
    """Return by question what each forms.yml has: `form`, `left_out` or both."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((template_root() / "template").glob("*/*/forms.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@cache
def left_out() -> dict[str, str]:
    """Return by question what the schema leaves out of what it takes."""
    own = forms_in_folders().items()
    return LEFT_OUT | {name: x["left_out"] for name, x in own if "left_out" in x}


@cache
def forms() -> dict[str, Schema]:
    """Return by question the schema of answers that are neither one of several nor a number."""
    own = forms_in_folders().items()
    return FORMS | {name: x["form"] for name, x in own if "form" in x}


class UnknownError(Exception):
    """Something is rendered that reads an answer of which nothing is assumed yet.

    Attributes:
        variable: the answer.
    """

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable


class UndecidedError(Exception):
    """Something is rendered that reads an answer with endless values."""


RAW = "as given: "  # before the name of a question: its answer in the file, if there is one
ABSENT = "\0absent"
# The outcome where answers do not go together, which an earlier question refuses.
IMPOSSIBLE = "\0impossible"


@dataclass(frozen=True)
class Branch:
    """What depends on an answer: what follows from each of its values."""

    variable: str
    parts: tuple[tuple[tuple[Hashable, ...], Tree], ...]


Tree = Branch | Hashable


@dataclass(frozen=True)
class Span:
    """Numbers that no text of a question tells apart.

    Attributes:
        value: one of them.
        low, high: where they begin and end; None if nowhere.
        is_open: whether low and high are not among them.
    """

    value: int | float
    low: int | float | None
    high: int | float | None
    is_open: bool = False


class Lazy(Context):
    """Jinja's view of the variables, which come from a `Questions`."""

    def resolve_or_missing(self, key: str) -> Any:
        """Return a variable."""
        found = super().resolve_or_missing(key)
        asking = self.parent.get("\0questions")
        return found if found is not missing or asking is None else asking.variable(key)


class Questions:
    """Renders the texts of the questions, given some answers, which it keeps track of."""

    def __init__(self) -> None:
        self.entries = facts.questions()
        self.order = {name: place for place, name in enumerate(self.entries)}
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(template_root()),
            undefined=jinja2.StrictUndefined,
            extensions=[AnsibleCoreFiltersExtension],
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )
        self.environment.context_class = Lazy
        self.compiled: dict[str, jinja2.Template] = {}
        self.assumed: dict[str, Any] = {}
        self.asking = ""
        self.local: dict[str, Any] = {}
        # What was rendered: [it], or (the next answer that is read, {its value: ...}).
        self.kept: dict[Any, Any] = {}
        self.ways = facts.ways()
        self.reads: list[dict[str, None]] = []
        self.spans: dict[str, list[Span]] = {}
        self.known_defaults: dict[str, tuple[Any, ...]] = {}
        self.texts: dict[str, str] = {}
        self.root = ""  # the question that it is all about
        self.domains = {name: self.domain_of(name) for name in self.entries}

    # ---------------------------------------------------------------------------------- answers

    def domain_of(self, name: str) -> tuple[Any, ...]:
        """Return values of a question, one for all that make no difference; none if endless."""
        entry = self.entries[name]
        if entry.get("when") is False or entry.get("multiselect") or name in self.ways:
            return ()
        if entry["type"] == "bool":
            return (False, True)
        if name == "architecture":
            return (*catalogue.load(), "timm/resnet18")
        if "choices" in entry:
            return tuple(options.questions()[name].values)
        if entry["type"] in ("int", "float") and name not in left_out():
            return self.numbers(name)
        return ()

    def numbers(self, name: str) -> tuple[int | float, ...]:
        """Return the numbers that the texts compare an answer with, and one of each gap."""
        texts = [str(self.entries[name].get("validator", ""))]
        known: set[int | float] = set()
        if name == "num_classes":
            known |= {arch.classes for arch in catalogue.load().values() if arch.classes}
            known |= {fact["min_classes"] for fact in facts.tasks().values()}
            known |= {fact["num_classes"] for fact in facts.tasks().values()}
            known |= self.most_classes
            several = (*facts.checkpoints().values(), *self.responses, self.entries["model_output"])
            texts += [str(fact) for fact in several if name in str(fact)]
        details = [arch.detection for arch in catalogue.load().values() if arch.detection]
        known |= {
            value
            for detail in details
            for key, value in detail.items()
            if key in str(self.entries[name]) and isinstance(value, int | float)
        }
        for text in texts:
            known |= {
                int(word) if word.isdecimal() else float(word)
                for word in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", text)
            }
        default = self.entries[name]["default"]
        if isinstance(default, int | float):
            known.add(default)
        marks = sorted({*known, 0})
        is_whole = self.entries[name]["type"] == "int"
        spans = [Span(marks[0] - 1, None, marks[0] - 1 if is_whole else marks[0], not is_whole)]
        for mark, following in zip(marks, [*marks[1:], None], strict=True):
            spans.append(Span(mark, mark, mark))
            if is_whole:
                last = None if following is None else following - 1
                if last is None or last > mark:
                    spans.append(Span(mark + 1, mark + 1, last))
            else:
                middle = mark + 1 if following is None else (mark + following) / 2
                spans.append(Span(middle, mark, following, True))
        self.spans[name] = spans
        return tuple(span.value for span in spans)

    @cached_property
    def most_classes(self) -> set[int]:
        """How many classes the data of a task can name, of tasks where not any number can."""
        return {x["most_classes"] for x in facts.tasks().values() if "most_classes" in x}

    @cached_property
    def responses(self) -> list[dict[str, Any]]:
        """What is known of all response formats."""
        return facts.read(template_root(), "template/tasks/*/responses/*/response.yml")

    # -------------------------------------------------------------------------------- rendering

    def variable(self, name: str) -> Any:
        """Return what a template reads under a name.

        Raises:
            UnknownError: It is an answer of which nothing is assumed.
            UndecidedError: It is an answer with endless values.
        """
        if name in self.local:
            return self.local[name]
        if name not in self.entries:
            return missing
        if self.order[name] >= self.order[self.asking]:  # not asked yet
            value = self.read(RAW + name) if self.domains[name] else ABSENT
            return missing if value == ABSENT else value
        if self.entries[name].get("when") is False or name in self.ways:
            return self.compute(name)
        return self.read(name)

    def read(self, variable: str) -> Any:
        """Return what is assumed of an answer, and note that it was read."""
        for reads in self.reads:
            reads[variable] = None
        if variable not in self.assumed:
            if not self.domains[variable.removeprefix(RAW)]:
                raise UndecidedError(variable)
            raise UnknownError(variable)
        return self.assumed[variable]

    def compute(self, name: str) -> Any:
        """Return a value that is computed from answers."""
        return self.once(name, name, lambda: self.value(name, self.entries[name]["default"]))

    def once(self, key: str, name: str, render: Callable[[], Any]) -> Any:
        """Return what a function renders for a question; once for the answers that it reads."""
        node = self.kept.get(key)
        while isinstance(node, tuple):
            node = node[1].get(self.read(node[0]))
        if node is not None:
            return node[0]
        self.reads.append({})
        outer = (self.asking, self.local)
        self.asking, self.local = name, {}
        try:
            node = [render()]
        finally:
            self.asking, self.local = outer
            reads = self.reads.pop()
        kept: dict[Any, Any] = self.kept
        place: Any = key
        for variable in reads:
            _, kept = kept.setdefault(place, (variable, {}))
            place = self.assumed[variable]
        kept[place] = node
        return node[0]

    def value(self, name: str, text: Any) -> Any:
        """Render an answer, and return it as Copier casts it."""
        rendered = self.render(text)
        if not isinstance(rendered, str):
            return rendered
        kind = self.entries[name]["type"]
        if kind == "str":
            return rendered
        return json.loads(rendered) if kind == "json" else yaml.safe_load(rendered)

    def render(self, text: Any) -> Any:
        """Render a text of a question."""
        if not isinstance(text, str):
            return text
        if text not in self.compiled:
            self.compiled[text] = self.environment.from_string(text)
        return self.compiled[text].render({"\0questions": self})

    def about(self, name: str, given: Any, ask: Callable[[], T]) -> T:
        """Call what renders texts of a question, with an answer to it unless that is ABSENT."""
        self.asking, self.local = name, {name: missing if given is ABSENT else given}
        return ask()

    # ------------------------------------------------------------------------------ of a question

    def is_asked(self, name: str) -> bool:
        """Tell whether a question has a meaning with the answers that are assumed."""
        when = self.about(name, ABSENT, lambda: self.render(self.entries[name].get("when", True)))
        return when if isinstance(when, bool) else when.strip().lower() in ("true", "1", "yes")

    def default(self, name: str) -> Any:
        """Return the answer that is taken where there is none."""
        return self.about(name, ABSENT, lambda: self.value(name, self.entries[name]["default"]))

    def takes(self, name: str, answer: Any) -> bool:
        """Tell whether Copier takes an answer, with those that are assumed."""
        return self.about(name, answer, lambda: not self.complaint(name, answer))

    def complaint(self, name: str, answer: Any) -> str:
        """Return why a question refuses an answer; empty if it does not."""
        entry = self.entries[name]
        # What is given as the architecture is always one of its values.
        if "choices" in entry and name != "architecture":
            found = [x for x in self.choices(name) if x["value"] == answer]
            if not found:
                return "it is no choice"
            refusals = [str(self.render(x.get("validator", ""))).strip() for x in found]
            if all(refusals):
                return refusals[0]
        return str(self.render(entry.get("validator", ""))).strip()

    def offered(self, name: str) -> list[Any]:
        """Return the values that a question offers, with the answers that are assumed."""
        return self.about(name, ABSENT, lambda: [x["value"] for x in self.choices(name)])

    def choices(self, name: str) -> list[dict[str, Any]]:
        """Return the choices of a question: the value of each, and maybe its validator."""
        found = self.entries[name]["choices"]
        if isinstance(found, str):
            pairs = self.once(f"choices of {name}", name, lambda: self.pairs(found))
        else:
            pairs = [*found.items()] if isinstance(found, dict) else [(x, x) for x in found]
        return [x if isinstance(x, dict) else {"value": x} for _, x in pairs]

    def pairs(self, text: str) -> list[Any]:
        """Render choices, and return their titles and values."""
        found = yaml.safe_load(self.render(text))
        return [x if isinstance(x, list) else [x, x] for x in found]

    def possible(self, variable: str) -> Iterable[tuple[Any, ...]]:
        """Return the values of an answer that go with what is assumed, alike ones together."""
        name = variable.removeprefix(RAW)
        groups = self.alike(self.root, name)
        if variable != name:
            if name not in self.assumed:
                return [*groups, (ABSENT,)]
            effective = self.assumed[name]
            groups = [values for values in groups if effective in values]
            return [*groups, *[(ABSENT,)] * (effective in self.defaults(name))]
        given = self.assumed.get(RAW + name)
        if given is None:
            return groups
        if given == ABSENT:
            return [(value,) for value in self.defaults(name)]
        return [values for values in groups if given in values]

    @cache  # noqa: B019  # as long as there is a schema to write
    def alike(self, root: str, name: str) -> list[tuple[Any, ...]]:
        """Return the values of a question; together are those that a question does not tell apart.

        Args:
            root: The question that depends on the other.
            name: The other.
        """
        groups: dict[Hashable, list[Any]] = {}
        for value in self.domains[name]:
            groups.setdefault(self.difference(root, name, value), []).append(value)
        return [tuple(values) for values in groups.values()]

    def difference(self, root: str, name: str, value: Any) -> Hashable:
        """Return what is equal for values of a question that its texts do not tell apart."""
        texts = self.reachable(root)
        if name == "architecture":
            arch = catalogue.load()[value.partition("/")[0]]
            read = set(re.findall(r"(?:\barch|\])\.(\w+)", texts)) - {"params"}
            told = {key: getattr(arch, key) for key in sorted(read) if hasattr(arch, key)}
            return value if arch.params is None else json.dumps(told)
        if name == "num_classes" and ".classes" not in texts:
            marks = [int(word) for word in re.findall(r"(?<![\w.])\d+(?![\w.])", texts)]
            marks += self.most_classes if ".most_classes" in texts else ()
            return json.dumps([(value > mark) - (value < mark) for mark in sorted({*marks})])
        return json.dumps(value)

    def reachable(self, name: str) -> str:
        """Return the texts of a question, and those of the computed values that they name."""
        if name not in self.texts:
            found: dict[str, str] = {}
            waiting = [name]
            while waiting:
                current = waiting.pop()
                if current in found:
                    continue
                entry = self.entries.get(current)
                lists = current.endswith("_list") or current == "archs"
                if entry is None:  # a file that is included
                    text = (template_root() / current).read_text("utf-8")
                else:
                    parts = ("default", "when", "choices", "validator")
                    text = "\n".join(str(entry.get(x, "")) for x in parts if not lists)
                found[current] = text
                waiting += re.findall(r"template/questions/[\w.]+", text)
                is_read = current == name or entry is None or entry.get("when") is False
                waiting += [
                    word
                    for word in set(re.findall(r"\w+", text))
                    if is_read and self.entries.get(word, {}).get("when") is False
                ]
            extra = {"weights": facts.checkpoints(), "response_format": self.responses}
            extra |= {"model_output": {x: y["outputs"] for x, y in facts.tasks().items()}}
            self.texts[name] = "\n".join([*found.values(), str(extra.get(name, ""))])
        return self.texts[name]

    def defaults(self, name: str) -> tuple[Any, ...]:
        """Return what the default of a question may be, whatever the other answers are."""
        if name not in self.known_defaults:
            outer = (self.assumed, self.root)
            self.assumed, self.root = {}, name
            try:
                found = tuple(dict.fromkeys(leaves(self.tree(lambda: self.default(name)))))
            finally:
                self.assumed, self.root = outer
            self.known_defaults[name] = found
        return self.known_defaults[name]

    def tree(self, decide: Callable[[], Hashable]) -> Tree:
        """Return what a function returns, by the answers that it reads.

        Raises:
            UndecidedError: It reads one with endless values.
        """
        try:
            return decide()
        except UnknownError as unknown:
            variable = unknown.variable
        except (jinja2.UndefinedError, TypeError):
            return IMPOSSIBLE
        groups: dict[Tree, list[Hashable]] = {}
        for values in self.possible(variable):
            self.assumed[variable] = values[0]
            try:
                groups.setdefault(self.tree(decide), []).extend(values)
            finally:
                del self.assumed[variable]
        if len(groups) == 1:
            return next(iter(groups))
        others = [tree for tree in groups if tree != IMPOSSIBLE]
        if len(others) == 1:
            return others[0]
        return Branch(variable, tuple((tuple(values), tree) for tree, values in groups.items()))


def leaves(tree: Tree) -> Iterator[Any]:
    """Yield all outcomes of a tree."""
    if isinstance(tree, Branch):
        for _, below in tree.parts:
            yield from leaves(below)
    else:
        yield tree


# ------------------------------------------------------------------------------------- the schema


class Writer:
    """Makes schemas of trees."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self.left_out = dict(left_out())
        self.definitions: dict[str, Schema] = {}
        self.names: dict[str, str] = {}
        self.defaults: dict[str, Tree] = {}

    def default(self, name: str) -> Tree:
        """Return the default of a question by what it depends on, as a value of its domain."""
        if name not in self.defaults:
            self.questions.root = name
            self.defaults[name] = self.questions.tree(lambda: self.questions.default(name))
        return self.defaults[name]

    def values(self, name: str, chosen: Iterable[Any]) -> Schema:
        """Return the schema of some of the values of a question."""
        some = {*chosen}
        if name in self.questions.spans:
            return any_of(ranges(self.questions.spans[name], some))
        domain = self.questions.domains[name]
        listed = [x for x in domain if x in some and not TIMM.fullmatch(str(x))]
        if any(TIMM.fullmatch(str(x)) for x in some):
            return any_of([{"enum": listed}] * bool(listed) + [{"pattern": f"^{TIMM.pattern}$"}])
        return {"enum": listed}

    def holds(self, variable: str, chosen: tuple[Any, ...]) -> Schema:
        """Return the schema of files in which an answer, given or by default, is one of some."""
        name = variable.removeprefix(RAW)
        known = self.values(name, [x for x in chosen if x != ABSENT])
        if variable != name:
            return {"properties": {name: known}} | ({} if ABSENT in chosen else required(name))
        default = self.default(name)
        outcomes = {outcome in chosen for outcome in leaves(default)}
        given: Schema = {"properties": {name: known}, "required": [name]}
        if outcomes == {False}:
            return given
        if outcomes == {True}:
            return {"properties": {name: known}}
        absent = self.where(default, lambda outcome: outcome in chosen)
        return {"if": {"required": [name]}, "then": {"properties": {name: known}}, "else": absent}

    def where(self, tree: Tree, is_right: Callable[[Any], bool]) -> Schema | bool:
        """Return the schema of files for which the outcome of a tree is right."""
        if not isinstance(tree, Branch):
            return is_right(tree)
        groups: dict[str, tuple[Schema | bool, list[Any]]] = {}
        for values, below in tree.parts:
            schema = self.where(below, is_right)
            groups.setdefault(json.dumps(schema), (schema, []))[1].extend(values)
        if len(groups) == 1:
            return next(iter(groups.values()))[0]
        branches = []
        for schema, each in groups.values():
            if schema is False:
                continue
            held = self.refer(self.holds(tree.variable, tuple(each)))
            branches.append(held if schema is True else {"allOf": [held, schema]})
        return self.refer(any_of(branches))

    def refer(self, schema: Schema) -> Schema:
        """Return a reference to a schema, which is written down once; itself if it is short."""
        text = json.dumps(schema)
        if len(text) < 60 or "$ref" in schema:
            return schema
        if text not in self.names:
            self.names[text] = str(len(self.names) + 1)
            self.definitions[self.names[text]] = schema
        return {"$ref": f"#/$defs/{self.names[text]}"}

    def rules(self, name: str) -> Iterator[Schema]:
        """Yield what an answer must be, given others, and when it has no effect."""
        entry = self.questions.entries[name]
        self.questions.root = name
        if "validator" in entry and not self.questions.domains[name] and name not in forms():
            self.left_out.setdefault(name, "more than its type")
        parts = [self.limits] * bool(self.questions.domains[name])
        parts += [self.offers] * entry.get("multiselect", False)
        parts += [self.warnings] * ("when" in entry)
        for part in parts:
            try:
                yield from part(name)
            except UndecidedError as error:
                self.left_out.setdefault(name, f"what depends on {error}")

    def limits(self, name: str) -> Iterator[Schema]:
        """Yield which of its values an answer may have, given others."""
        questions, domain = self.questions, self.questions.domains[name]

        def taken() -> tuple[tuple[Any, ...], bool]:
            values = tuple(value for value in domain if questions.takes(name, value))
            return values, questions.default(name) in values

        tree = questions.tree(taken)
        outcomes = dict.fromkeys(x for x in leaves(tree) if x != IMPOSSIBLE)
        for values, is_free in outcomes:
            if len(values) == len(domain):
                continue
            where = self.where(tree, equal_to((values, is_free)))
            then = {"properties": {name: self.values(name, values)}}
            then |= {} if is_free else required(name)
            yield then if where is True else {"if": where, "then": then}

    def offers(self, name: str) -> Iterator[Schema]:
        """Yield which values a list may have, given other answers."""
        tree = self.questions.tree(lambda: tuple(self.questions.offered(name)))
        for items in dict.fromkeys(x for x in leaves(tree) if x != IMPOSSIBLE):
            where = self.where(tree, equal_to(items))
            if isinstance(where, dict):
                then = {"properties": {name: {"items": {"enum": list(items)}}}}
                yield {"if": where, "then": then}

    def warnings(self, name: str) -> Iterator[Schema]:
        """Yield when an answer has no effect."""
        tree = self.questions.tree(lambda: self.questions.is_asked(name))
        unasked = {"deprecated": True, "deprecationMessage": no_effect(name)}
        where = self.where(tree, lambda is_asked: is_asked is False)
        yield {"if": where, "then": {"properties": {name: unasked}}}

    def property(self, name: str) -> Schema:
        """Return what a question is, whatever the other answers are."""
        question, entry = options.questions()[name], self.questions.entries[name]
        lines = [question.help]
        if question.condition:
            lines.append(f"Asked when {question.condition}")
        if question.default and " " in question.default:
            lines.append(f"Default: {question.default}")
        if name in self.left_out:
            lines.append(f"Not checked by this schema: {self.left_out[name]}")
        schema: Schema = {"title": name, "description": "\n\n".join(lines)}
        values = {
            "enum": list(question.values),
            "enumDescriptions": [text or value for value, text in question.values.items()],
        }
        if question.several:
            schema |= {"type": "array", "items": {"type": "string", **values}}
        elif name == "architecture":
            schema |= {"type": "string", "anyOf": [values, {"pattern": f"^{TIMM.pattern}$"}]}
        elif question.values:
            schema |= {"type": "string", **values}
        elif name in forms():
            schema |= forms()[name]
        elif question.type in TYPES:
            schema["type"] = TYPES[question.type]
        default = entry["default"]
        if not isinstance(default, str) or "{" not in default:
            schema["default"] = yaml.safe_load(default) if question.type == "yaml" else default
        return schema

    def schema(self) -> Schema:
        """Return the whole schema."""
        names = list(options.questions())
        rules = [rule for name in names for rule in self.rules(name)]
        properties = {name: self.property(name) for name in names}
        left_out = "; ".join(f"{name} ({what})" for name, what in self.left_out.items())
        return {
            "$schema": DRAFT,
            "$id": SCHEMA_ADDRESS,
            "title": "Answers to the questions of ts-template",
            "description": "What `copier copy --data-file` takes, and the answers file of a "
            "project. What is not answered is asked, or takes its default. `ts-template check` "
            f"checks the rest, which a schema cannot express: {left_out}.",
            "type": "object",
            "properties": properties,
            "patternProperties": {"^_": True},
            "additionalProperties": False,
            "allOf": rules,
            "$defs": self.definitions,
        }


def ranges(spans: list[Span], chosen: set[Any]) -> Iterator[Schema]:
    """Yield the ranges of numbers that spans cover."""
    groups: list[list[Span]] = [[]]
    for span in spans:
        if span.value in chosen:
            groups[-1].append(span)
        elif groups[-1]:
            groups.append([])
    for group in filter(None, groups):
        first, last = group[0], group[-1]
        if first.low == last.high and not first.is_open:
            yield {"const": first.low}
            continue
        schema: Schema = {}
        if first.low is not None:
            schema["exclusiveMinimum" if first.is_open else "minimum"] = first.low
        if last.high is not None:
            schema["exclusiveMaximum" if last.is_open else "maximum"] = last.high
        yield schema


def any_of(schemas: Iterable[Schema]) -> Schema:
    """Return the schema of what is one of several things."""
    several = list(schemas)
    return several[0] if len(several) == 1 else {"anyOf": several}


def equal_to(outcome: Any) -> Callable[[Any], bool]:
    """Return what tells whether another outcome is the same."""
    return lambda other: bool(other == outcome)


def required(name: str) -> Schema:
    """Return the schema of files that have an answer."""
    return {"required": [name]}


def no_effect(name: str) -> str:
    """Return a warning."""
    condition = options.questions()[name].condition
    return f"{name} has no effect with these answers; it is asked when {condition}"


def schema() -> Schema:
    """Return the schema of files of answers."""
    return Writer(Questions()).schema()


def text() -> str:
    """Return the schema as it is written down."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
