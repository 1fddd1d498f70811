"""What the shell completes where a command takes an answer, an architecture or a preset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

# Set by the shell to what is wanted, as typer reads it.
VARIABLE = "_TS_TEMPLATE_COMPLETE"
# Set here to the question whose value bash completes.
QUESTION = "_TS_TEMPLATE_QUESTION"


def answers(incomplete: str) -> list[str]:
    """Return what an option such as -d may go on with: question=value, or questions."""
    if name := os.environ.get(QUESTION, ""):
        return [value for value in values(name) if value.startswith(incomplete)]
    name, equals, value = incomplete.partition("=")
    if equals:
        return [f"{name}={each}" for each in values(name) if each.startswith(value)]
    names = [each for each in questions("") if each.startswith(name)]
    if len(names) > 1:
        return [f"{each}=" for each in names]
    # Several for the one that is left, or the shell would end the word with a space.
    return [f"{each}={value}" for each in names for value in ["", *values(each)]]


def questions(incomplete: str) -> list[str]:
    """Return the questions that begin so."""
    from generator.options import questions as known

    return [name for name in known() if name.startswith(incomplete)]


def values(name: str) -> list[str]:
    """Return the values of a question, or its default if any will do."""
    from generator.options import questions as known

    if name not in known():
        return []
    question = known()[name]
    if question.type == "bool":
        return ["false", "true"]
    return list(question.values) or [question.default] * (" " not in question.default)


def presets(incomplete: str) -> list[str]:
    """Return the presets that begin so."""
    from generator.presets import presets as known

    return [name for name in known() if name.startswith(incomplete)]


def one_of(*choices: str) -> Callable[[str], list[str]]:
    """Return what completes one of some values."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def join_words() -> None:
    """Join what bash has parted at =, so that -d question=value is two words.

    Of the word that is completed bash replaces what comes after the =, and so that alone is left.
    """
    if os.environ.get(VARIABLE) != "complete_bash":
        return
    words = os.environ.get("COMP_WORDS", "").split("\n")
    current = int(os.environ.get("COMP_CWORD", "0"))
    words = words[: current + 1]
    joined = list(parted(words))
    if "=" in words[-2:]:
        os.environ[QUESTION], _, joined[-1] = joined[-1].partition("=")
    os.environ["COMP_WORDS"] = "\n".join(joined)
    os.environ["COMP_CWORD"] = str(len(joined) - 1)


def parted(words: list[str]) -> Iterator[str]:
    """Yield words, those around a = as one."""
    word = ""
    for place, each in enumerate(words):
        follows = place > 0 and (each == "=" or words[place - 1] == "=")
        if place and not follows:
            yield word
            word = ""
        word += each
    yield word
