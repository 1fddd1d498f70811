"""Renders thousands of projects quickly, through Copier's own engine.

To Copier each project is the first one: it compiles every Jinja string anew, asks every question,
and renders every file, though the neighbour got the same. Here a render is a row of steps: each
question, the name of each file and folder, each file. Copier's own code takes each step, but not
twice: the result is kept by the variables that the step has read, see `Memo`.

What comes out is the same to the byte, which tests compare with `copier.run_copy`. `Worker` is
internal to Copier: nothing but the matrix depends on this module.
"""

from __future__ import annotations

import copy
import marshal
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from itertools import chain
from os import DirEntry
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar
from unittest import mock

import copier._main
from copier._jinja_ext import SandboxedEnvironment
from copier._main import Worker, as_operation
from copier._settings import SettingsModel
from copier._template import Template
from copier._tools import scantree
from copier._types import MISSING, LazyDict, Phase
from copier._user_data import AnswersMap
from jinja2.runtime import Context

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class File:
    """A rendered file: what is in it, and its mode as in st_mode."""

    content: bytes
    mode: int

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the content."""
        return sha256(self.content).digest()


@dataclass(frozen=True)
class Project:
    """A rendered project in memory; the names are relative paths with slashes."""

    folders: list[str]
    files: dict[str, File]

    def write(self, destination: Path) -> None:
        """Write the project to a folder that does not exist yet."""
        destination.mkdir(parents=True)
        try:
            for name in self.folders:
                Path(destination, name).mkdir(parents=True, exist_ok=True)
            for name, file in self.files.items():
                path = destination / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.content)
                path.chmod(file.mode)
        except BaseException:
            shutil.rmtree(destination, ignore_errors=True)
            raise


class FastRenderer:
    """Renders projects from a template in a plain folder.

    Args:
        template: The folder that holds copier.yml; without a .git, which Copier would ask. What is
            in it must not change any more.
    """

    def __init__(self, template: Path) -> None:
        first = Worker(src_path=str(template), settings=SettingsModel())
        first._check_unsafe("copy")
        self._source, self._shared = str(template), Shared(first)

    def project(self, destination: Path, answers: Mapping[str, Any]) -> Project:
        """Render one project in memory.

        Args:
            destination: Where the project would be; there must be nothing yet.
            answers: Answers by question; the rest take their defaults.

        Raises:
            FileExistsError: There is something.
            ValueError: An answer, or the combination, is not valid.
        """
        if destination.exists():  # Copier would take the answers from there
            raise FileExistsError(f"{destination} exists; give a path where nothing is yet")
        return self._worker(destination, answers).project()

    def complete(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Return all answers of a project, as its answers file would have them.

        Args:
            answers: Answers by question; the rest take their defaults.

        Raises:
            ValueError: An answer, or the combination, is not valid.
        """
        return self._worker(Path("unwritten"), answers).complete()

    def _worker(self, destination: Path, answers: Mapping[str, Any]) -> FastWorker:
        worker = FastWorker(
            src_path=self._source,
            dst_path=destination,
            data=dict(answers),
            defaults=True,
            quiet=True,
            settings=SettingsModel(),
        )
        worker.shared = self._shared
        return worker

    def render(self, destination: Path, answers: Mapping[str, Any]) -> None:
        """Render one project and write it; arguments and errors are those of `project`."""
        self.project(destination, answers).write(destination)


# -------------------------------------------------------------------------------------- the memory

# A value in a form to compare: a text itself, all else as bytes, for Python takes 1, 1.0 and True
# for equal. None stands for a variable that there is not.
Token = object
NEVER: Token = object()  # of a value that equals no other


def token_of(value: Any) -> Token:
    """Return what is equal for values that look alike to every template, and for no others."""
    if type(value) is str:
        return value
    try:
        return marshal.dumps(value, 2)  # a version that does not tell which parts are one object
    except ValueError:  # more than None, bool, int, float, str, list and dict
        return NEVER


class Branch(dict[Token, Any]):
    """A variable that a step reads: by its value, the branch of what it reads next, or a result."""

    def __init__(self, name: str) -> None:
        self.name = name


class Memo:
    """The results of a step, by the variables that it read.

    Rendering is deterministic. Which variable a step reads first never changes, and which it reads
    next depends on the values read before: the results are the leaves of a tree.
    """

    LIMIT = 1000  # how many are kept; most READMEs never come again

    def __init__(self) -> None:
        self.tree: dict[Token, Any] = {}
        self.count = 0

    def find(self, tokens: Mapping[str, Token]) -> Any:
        """Return the result of the step that read these values, or None."""
        node = self.tree.get(None)
        while type(node) is Branch:
            node = node.get(tokens.get(node.name))
        return node

    def keep(self, reads: Iterable[str], tokens: Mapping[str, Token], result: Any) -> None:
        """Keep a result, if it can come again.

        Args:
            reads: The names of the variables that were read, in that order.
            tokens: The tokens of all variables.
            result: Anything but None.

        Raises:
            RuntimeError: Rendering is not deterministic.
        """
        path = [(name, tokens.get(name)) for name in reads]
        if any(token is NEVER for _, token in path):
            return
        if self.count == self.LIMIT:
            self.tree, self.count = {}, 0
        self.count += 1
        node, key = self.tree, None
        for name, token in path:
            node = node.setdefault(key, Branch(name))
            if type(node) is not Branch or node.name != name:
                raise RuntimeError(f"a template reads {name}, but did not before")
            key = token
        node[key] = result


READS = "_fast_reads"  # under this name the variables hold where to note what is read


class WatchedContext(Context):
    """Jinja's view of the variables, which notes those that a template reads.

    What a template includes gets the same variables, and so notes what it reads in the same place.
    A name that a template has set itself is noted, too; that costs a comparison and does no harm.
    """

    def resolve_or_missing(self, key: str) -> Any:
        """Return a variable."""
        if (reads := self.parent.get(READS)) is not None:
            reads[key] = None
        return super().resolve_or_missing(key)


# --------------------------------------------------------------------------------------- rendering


@dataclass(frozen=True)
class Answer:
    """What came of a question: a value, if any, and whether the answers file leaves it out."""

    value: Any
    token: Token
    hidden: bool


@dataclass(frozen=True)
class Paths:
    """What an entry of the template becomes: folders, or files with their paths in the template.

    All are relative, and those in the project have slashes. With each file comes what a `yield` in
    its name gives it.
    """

    folders: list[str]
    files: list[tuple[Path, str, dict[str, Any]]]


class Shared:
    """What all renders from a template share, and what they have rendered.

    Attributes:
        template: the template.
        single: by question, the template with this question alone.
        environment: Jinja's.
        tokens: those of the variables that are no answers, but not always the same either.
        entries: by folder of the template, all that is below it.
        questions, paths, files: the memos of the steps.
    """

    def __init__(self, worker: Worker) -> None:
        self.template = worker.template
        self.environment = keep_compiled(worker.jinja_env)
        self.environment.context_class = WatchedContext
        filters = self.environment.filters
        filters["to_nice_yaml"] = entry_by_entry(filters["to_nice_yaml"])
        variables = {*worker._render_context(), *WatchedConf.VARYING.values()}
        constant = {"_copier_conf", "_copier_phase", "_copier_python", "_src_path"}
        self.tokens = dict.fromkeys(variables - constant, NEVER)
        self.single = {}
        for name, details in self.template.questions_data.items():
            self.single[name] = copy.copy(self.template)
            self.single[name].questions_data = {name: details}
        self.questions = {name: Memo() for name in self.single}
        self.entries = cache(
            lambda folder: [*scantree(folder, not worker.template.preserve_symlinks)]
        )
        self.paths: dict[str, Memo] = defaultdict(Memo)
        self.files: dict[tuple[Path, Token], Memo] = defaultdict(Memo)


class FastWorker(Worker):
    """Copier's worker for one project, which takes the steps that are new.

    Attributes:
        shared: what other renders know.
        tokens: those of the answers so far, and of what else varies.
        reads: which variables the present step has read.
        context: the variables.
    """

    shared: Shared
    tokens: dict[str, Token]
    reads: dict[str, None]
    context: dict[str, Any]

    @as_operation("copy")
    def project(self) -> Project:
        """Render the project in memory."""
        shared = self.shared
        self.ask_all()
        with Phase.use(Phase.RENDER):
            self.context, self.reads = self.variables(), {}
            folders: list[str] = []
            files: dict[str, File] = {}
            for entry in shared.entries(str(self.template_copy_root)):
                paths = self.step(shared.paths[entry.path], self.take_paths, entry)
                folders += paths.folders
                for source, target, given in paths.files:
                    if target in files:
                        raise RuntimeError(f"{target} has two templates; one is {source}")
                    memo = shared.files[source, token_of(given)]
                    files[target] = self.step(memo, self.take_file, source, target, given)
        return Project(folders, files)

    @as_operation("copy")
    def complete(self) -> dict[str, Any]:
        """Return the answers that the answers file would have."""
        self.ask_all()
        remembered = self._answers_to_remember()
        return {name: x for name, x in remembered.items() if not name.startswith("_")}

    def ask_all(self) -> None:
        """Take the steps of the questions."""
        self.tokens = {**self.shared.tokens, **{name: token_of(x) for name, x in self.data.items()}}
        self.answers = AnswersMap(
            init=self.data, metadata=self.template.metadata, external=self._external_data()
        )
        with Phase.use(Phase.PROMPT):
            for name, memo in self.shared.questions.items():
                answer = self.step(memo, self.take_question, name)
                if answer.hidden:
                    self.answers.hide(name)
                if answer.value is not MISSING:
                    self.answers.user[name], self.tokens[name] = answer.value, answer.token

    def step(self, memo: Memo, take: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a step, which is taken if it is new."""
        result: T | None = memo.find(self.tokens)
        if result is None:
            self.reads = {}
            result = take(*args, **kwargs)
            self.refuse_changes()
            memo.keep(self.reads, self.tokens, result)
        return result

    def refuse_changes(self) -> None:
        """Raise RuntimeError if a template has changed an answer in place, in a list for instance.

        Later templates would see that, but not if the result is found in the memo.
        """
        for name in self.reads:
            token, value = self.tokens.get(name), self.answers.user.get(name, self.data.get(name))
            if isinstance(token, bytes) and token_of(value) != token:
                raise RuntimeError(f"a template changes the answer {name}")

    def take_question(self, name: str) -> Answer:
        """Let Copier ask one question."""
        self.reads[name] = None  # the answer that is given, if any
        asking = copy.copy(self)
        asking.template = self.shared.single[name]
        asking.context = self.variables()
        asking._ask()
        value = asking.answers.user.get(name, MISSING)
        token = token_of(value)
        if isinstance(value, list | dict) and isinstance(token, bytes):
            value = marshal.loads(token)  # YAML shows whether two answers are one object
        return Answer(value, token, name in asking.answers.hidden)

    def take_paths(self, entry: DirEntry[str]) -> Paths:
        """Let Copier walk through a template that has but one entry."""
        self.paths = Paths([], [])
        vars(self).pop("match_exclude", None)  # or the first entry alone would note what it reads
        with mock.patch.object(copier._main, "scantree", lambda *_: [entry]):
            self._render_template()
        return self.paths

    def take_file(self, source: Path, target: str, given: dict[str, Any]) -> File:
        """Let Copier render one file."""
        forget_yield(self.shared.environment)
        super()._render_file(source, Path(target), given)
        return self.file

    def variables(self) -> dict[str, Any]:
        """Return the variables, as they are after the answers so far."""
        variables = super()._render_context()
        return {**variables, "_copier_conf": WatchedConf(variables["_copier_conf"], self)}

    # What follows stands in place of Copier's own.

    @cached_property
    def template(self) -> Template:
        """The template."""
        return self.shared.template

    @cached_property
    def jinja_env(self) -> SandboxedEnvironment:
        """The Jinja environment."""
        return self.shared.environment

    @cached_property
    def answers_relpath(self) -> Path:
        """The name of the answers file. Copier renders it; here it holds nothing to render."""
        return self.template.answers_relpath

    def _render_context(self) -> dict[str, Any]:
        return {**self.context, READS: self.reads}

    def _render_folder(self, dst_relpath: Path) -> None:
        self.paths.folders.append(dst_relpath.as_posix())

    def _render_file(
        self, src_relpath: Path, dst_relpath: Path, extra_context: dict[str, Any] | None = None
    ) -> None:
        given = extra_context or {}
        if token_of(given) is NEVER:
            raise NotImplementedError(f"{src_relpath} yields what cannot be compared: {given}")
        self.paths.files.append((src_relpath, dst_relpath.as_posix(), given))

    def _render_allowed(
        self,
        dst_relpath: Path,
        is_dir: bool = False,
        is_symlink: bool = False,
        expected_contents: bytes | Path = b"",
        expected_mode: int | None = None,
    ) -> bool:
        # Copier asks before it writes. It is told no, and what it would write is kept.
        assert isinstance(expected_contents, bytes) and expected_mode is not None
        self.file = File(expected_contents, expected_mode)
        return False


class WatchedConf(LazyDict[str, Any]):
    """Copier's `_copier_conf`, which notes when a template reads what is not always the same."""

    VARYING: ClassVar = {key: f"_copier_conf.{key}" for key in ("dst_path", "data")}

    def __init__(self, conf: Mapping[str, Any], worker: FastWorker) -> None:
        super().__init__({key: lambda key=key: conf[key] for key in conf})  # type: ignore[misc]
        self._worker = worker

    def __getitem__(self, key: str) -> Any:
        """Return an item."""
        if key in self.VARYING:
            self._worker.reads[self.VARYING[key]] = None
        return super().__getitem__(key)


# ------------------------------------------------------------------------------------------- Jinja


def keep_compiled(environment: SandboxedEnvironment) -> SandboxedEnvironment:
    """Make an environment remember the templates that it made of strings."""
    remembered = cache(environment.from_string)

    def from_string(source: Any) -> Any:
        if not isinstance(source, str):
            raise TypeError  # as Jinja does; Copier then takes the value as it is
        forget_yield(environment)
        return remembered(source)

    environment.from_string = from_string  # type: ignore[assignment,method-assign]
    environment.auto_reload = False
    return environment


def forget_yield(environment: SandboxedEnvironment) -> None:
    """Forget the last `yield`, as Copier does whenever a text is compiled."""
    environment.preprocess("")


def entry_by_entry(to_nice_yaml: Callable[..., str]) -> Callable[..., str]:
    """Make the filter remember the entries that it wrote: in the answers file, few are new."""

    @lru_cache(10_000)
    def entry(name: str, token: Token) -> str:
        return to_nice_yaml({name: marshal.loads(token) if isinstance(token, bytes) else token})

    def faster(value: Any, *args: Any, **kwargs: Any) -> str:
        if args or kwargs or not stand_alone(value):
            return to_nice_yaml(value, *args, **kwargs)
        return "".join(entry(name, token_of(value[name])) for name in sorted(value))

    return faster


def stand_alone(mapping: Any) -> bool:
    """Tell whether YAML writes each entry of a mapping as if it were the only one.

    Where two entries hold the same list, it would refer from one to the other.
    """
    if type(mapping) is not dict or not mapping:
        return False
    lists = [value for value in mapping.values() if type(value) is list]
    scalars = [value for value in mapping.values() if type(value) is not list]
    return (
        all(type(name) is str for name in mapping)
        and all(type(x) in {str, int, float, bool, type(None)} for x in chain(scalars, *lists))
        and len({id(value) for value in lists}) == len(lists)
    )
