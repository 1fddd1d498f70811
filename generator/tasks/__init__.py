"""What the generator knows of each task, beyond the facts in template/tasks/<task>/task.yml.

A task may have a module here that is named for it and defines a subclass of `Task` as `TASK`. A
task without one is inspected, rendered and served all the same; the generator then knows nothing by
which weights or code could tell it from other tasks with the same kind of network.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from generator import facts
from generator.source import Source, argument, called

if TYPE_CHECKING:
    from generator.inspection import Inspection


@dataclass(frozen=True)
class Evidence:
    """What in a handler's code speaks for a task.

    Attributes:
        where: file:line.
        what: what stands there.
        sure: whether it speaks for no other task.
    """

    where: str
    what: str
    sure: bool


@dataclass(frozen=True)
class Response:
    """What a handler returns.

    Attributes:
        form: an answer to response_format; "" if the code does not tell.
        where: file:line; "" if nowhere in particular.
        sure: whether clients get the very same form.
        answers: to the task's own questions, each with its place.
        remarks: what the project does otherwise.
    """

    form: str = ""
    where: str = ""
    sure: bool = False
    answers: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """Data with labels, on which a network may be trained.

    Attributes:
        what: what they are, for people.
        answers: what follows from them, num_classes among it.
        classes: the names of the classes; () if the data have their indices alone.
        sample: an item to predict for; None if there is no file of it.
        sure: whether they have the form of no other task.
        doubts: questions that people must answer, for the data speak against the form that they
            have; each with the reason.
    """

    what: str
    answers: Mapping[str, Any]
    classes: Sequence[str] = ()
    sample: Path | None = None
    sure: bool = False
    doubts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task: what a network is for.

    Attributes:
        value: its name, as the question `task` has it.
        facts: the content of its task.yml.
        meaning: what tells it from other tasks with the same kind of network, in a few words.
        handler_class: TorchServe's class of handlers for it; "" if there is none.
        built_in: TorchServe's name of its own handler for it; "" if there is none.
        endings: answers to `model_output` by the function that a network may end in.
        decisive: those of its own questions that change what is predicted, each with what an answer
            looks like.
    """

    value: str
    facts: Mapping[str, Any]

    meaning: ClassVar[str] = ""
    handler_class: ClassVar[str] = ""
    built_in: ClassVar[str] = ""
    endings: ClassVar[Mapping[str, str]] = MappingProxyType({})
    decisive: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    def networks(self) -> str:
        """The kind of network that it takes: a key of `catalogue.KINDS`."""
        return str(self.facts["networks"])

    def answers_for(self, outputs: int) -> dict[str, Any]:
        """Return the answers on a network that returns so many numbers.

        One number tells two classes apart, if the task knows such an output.
        """
        kinds = (x["value"] for x in self.facts["outputs"] if x.get("outputs") == outputs)
        if kind := next(kinds, None):
            return {"num_classes": outputs + 1, "model_output": kind}
        return {"num_classes": outputs}

    def answers_on_thresholds(self, told: tuple[float, ...], classes: int | None) -> dict[str, Any]:
        """Return the answers that follow from thresholds in a checkpoint: one, or one a class."""
        return {}

    def evidence_in_weights(
        self,
        names: Collection[str],
        classes: int | None,
        head: str | None,
        end: str,
        settings: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Return what in a checkpoint speaks for this task alone, "" if nothing does.

        Args:
            names: of all tensors beside and in the network, and of what it returns.
            classes: how many the network tells apart; None if that is not known.
            head: what the last layer of a known network is, as `Inspection.head` has it.
            end: the class of a layer after it that has no weights, or of the head that training
                names; "" if neither is known.
            settings: of training, each with its value, that may tell whether the classes of an
                image exclude one another, as `Training.labels` has them.
        """
        return ""

    def doubts_on_training(
        self,
        names: Collection[str],
        classes: int | None,
        end: str,
        settings: Sequence[tuple[str, str]],
        told: Sequence[float],
    ) -> dict[str, str]:
        """Return questions that people have to answer, each with what a checkpoint tells.

        They are about what this task does otherwise than the training.

        Args:
            names: of all tensors, as in `evidence_in_weights`.
            classes: how many there are, likewise.
            end: the class of a layer at the end, likewise.
            settings: of training, likewise.
            told: probabilities from which on a class was predicted.
        """
        return {}

    def answers_on_weights(self, found: Inspection, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers that follow from a checkpoint, for this task.

        Args:
            found: what the checkpoint is.
            known: the answers that follow from it for tasks whose network has its last layer.
        """
        return dict(known)

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return what in a handler speaks for this task; None if nothing does.

        Args:
            source: the handler.
            nodes: its nodes, those of networks' classes aside.
        """
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return what a handler returns.

        Args:
            source: the handler.
            nodes: its nodes, those of networks' classes aside.
            base: TorchServe's class that it is derived from; "" if none.
            is_inherited: whether that class makes what it returns.
        """
        return Response()

    def read_data(self, path: Path) -> DataSet | None:
        """Return what data with labels tell; None if they have not the form of this task.

        Whether each item is right, train.py finds out.

        Args:
            path: a folder or a file.

        Raises:
            UserError: they are damaged.
        """
        return None

    @property
    def built_in_response(self) -> Response:
        """What TorchServe's own handler returns."""
        return Response()

    def notes_on_classes(self, classes: int) -> list[str]:
        """Return what to know of a number of classes that was read from weights."""
        return []

    def advice_on_labels(self, names: Sequence[str], classes: int) -> str:
        """Return how to complete a label file that names other than all classes, "" if unknown."""
        return ""


ABOVE = ("gt", "ge", "greater", "greater_equal")  # of torch and its tensors


def thresholds(source: Source, nodes: Sequence[ast.AST]) -> Iterator[tuple[list[float], str]]:
    """Yield what probabilities are compared with, and where."""
    for node in nodes:
        limit: ast.AST | None = None
        match node:
            case ast.Compare(left=left, ops=[ast.Gt() | ast.GtE()], comparators=[right]):
                limit = right
            case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE()], comparators=[right]):
                limit = left if probabilities(source.value_or(left, None)) else right
            case ast.Call():
                if called(node) in ABOVE:
                    position = 1 if source.full_name(node.func).startswith("torch.") else 0
                    limit = argument(node, position, "other")
        if values := probabilities(source.value_or(limit, None)):
            yield values, source.at(node)


def probabilities(value: Any) -> list[float]:
    """Return a threshold, or one for each class; [] if it is none."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    are_all = all(isinstance(x, float) and 0 < x < 1 for x in values)
    return values if are_all else []


@cache
def tasks() -> dict[str, Task]:
    """Return the tasks by their names, in the order of the menu."""
    known = {module.name for module in pkgutil.iter_modules(__path__)}
    found = {}
    for value, fact in facts.tasks().items():
        kind = Task
        if value in known:
            kind = importlib.import_module(f"{__name__}.{value}").TASK
        found[value] = kind(value, fact)
    return found


def only_asked_by_others(task: Task | None) -> set[str]:
    """Return the questions that belong to other tasks; none if the task is not known."""
    if task is None:
        return set()
    every = {question for one in tasks().values() for question in one.facts["questions"]}
    return every - {*task.facts["questions"]}


def serving(kind: str | None) -> list[Task]:
    """Return the tasks that take a kind of network; all, if the kind is not known."""
    return [task for task in tasks().values() if kind in (None, task.networks)]
