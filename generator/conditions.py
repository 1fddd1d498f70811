"""When a question is asked, in words: with the names of questions that people answer.

A condition in template/questions/ reads values that follow from answers, such as `task_facts`. Here
it is tried with the answers themselves, as `generator.schema` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from generator import facts, options
from generator.schema import TIMM, Branch, Questions, Tree, UndecidedError, leaves

LISTED = 8  # values that are all named
# Answers that are to be others: questions, each with the values of which it needs one.
Change = tuple[tuple[str, tuple[Any, ...]], ...]


@cache
def questions() -> Questions:
    """Return what tries the conditions."""
    return Questions()


@cache
def condition(name: str) -> Tree:
    """Return whether a question is asked, by the answers that it depends on.

    Raises:
        UndecidedError: It depends on one with endless values.
    """
    asking = questions()
    asking.root = name
    return asking.tree(lambda: asking.is_asked(name))


def asked_if(name: str, answers: Mapping[str, Any]) -> str:
    """Return which answers make a question apply, as "weights is checkpoint".

    Args:
        name: The question.
        answers: Those that there are. What they fulfil is not named; without any, all is.
    """
    try:
        tree = condition(name)
    except UndecidedError:
        return options.questions()[name].condition
    changes = sorted(dict.fromkeys(changes_of(tree, answers)), key=len)
    return ", or if ".join(", and ".join(in_words(*each) for each in change) for change in changes)


def without_effect(names: Iterable[str], answers: Mapping[str, Any]) -> Iterator[str]:
    """Yield which answers have no effect, for their questions are not asked; each with what to do.

    Args:
        names: The questions that were answered.
        answers: Those of a project, as its answers file has them.
    """
    for name in sorted({*names} - answers.keys() - facts.ways()):
        reason = asked_if(name, answers)
        yield f"{name} has no effect with these answers; it is asked if {reason}"


def changes_of(tree: Tree, answers: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what would have to change for the outcome of a tree to be True."""
    if not isinstance(tree, Branch):
        yield ()
        return
    able = [(values, below) for values, below in tree.parts if True in leaves(below)]
    value = known_value(tree.variable, answers.get(tree.variable))
    fulfilled = [below for values, below in able if value in values]
    if fulfilled:
        yield from changes_of(fulfilled[0], answers)
        return
    for values, below in able:
        for change in changes_of(below, answers):
            yield ((tree.variable, values), *change)


def known_value(name: str, answer: Any) -> Any:
    """Return the value that stands for an answer where questions are told apart by answers."""
    spans = questions().spans.get(name)
    if spans is not None and isinstance(answer, int | float):
        return next((span.value for span in reversed(spans) if answer >= span.value), answer)
    if name == "architecture" and TIMM.fullmatch(str(answer)):
        return next(x for x in questions().domains[name] if TIMM.fullmatch(str(x)))
    return answer


def in_words(name: str, values: Sequence[Any]) -> str:
    """Return that a question has one of some answers, the shorter way."""
    others = [value for value in questions().domains[name] if value not in values]
    if len(values) <= LISTED and len(values) <= 2 * len(others):
        return f"{name} is {listed(values, 'or')}"
    if len(others) <= LISTED:
        return f"{name} is not {listed(others, 'or')}"
    first = ", ".join(map(as_text, values[:3]))
    return f"{name} is one of {len(values)}, such as {first}"


def listed(values: Sequence[Any], last: str) -> str:
    """Return values with commas, and a word before the last of them."""
    *before, end = map(as_text, values)
    return f"{', '.join(before)} {last} {end}" if before else end


def as_text(value: Any) -> str:
    """Return an answer as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "timm/NAME" if TIMM.fullmatch(str(value)) else str(value)
