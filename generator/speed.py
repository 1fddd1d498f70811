"""Which backends a project can have on this machine, as the facts and what is installed tell."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from generator import catalogue, facts
from generator.rendering import installing

PLAIN = "eager"  # PyTorch as it is: what `copier copy` takes, and what all others are compared with
EXACT = "fp32"


def takes(task: str, architecture: str, backend: str, precision: str) -> bool:
    """Tell whether the facts let the networks of a task be run so; "" is any architecture."""
    fact, arch = facts.tasks()[task], catalogue.load().get(architecture)
    is_own = arch is not None and arch.family == "custom"
    speeds = (is_own and fact.get("own_speeds")) or fact.get("speeds")
    return speeds is None or precision in speeds.get(backend, [])


def possible(answers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the backends that a project can have, each with a precision, by the facts.

    Args:
        answers: Of the project; those without a `backend` have no choice.
    """
    if "backend" not in answers:
        return
    task, architecture = answers["task"], answers.get("architecture", "")
    for name, backend in facts.backends().items():
        if facts.tasks()[task]["input"] not in backend.get("inputs", ["image"]):
            continue
        for precision in backend["precisions"].get(answers["accelerator"], []):
            if takes(task, architecture, name, precision):
                yield name, precision


def missing(backend: str) -> list[str]:
    """Return the packages that a backend needs, and that are not installed here."""
    return [
        x
        for x in facts.backends()[backend].get("modules", [])
        if importlib.util.find_spec(x) is None
    ]


def quick(answers: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the backends that `new` may try by itself, in their order, and why not others before.

    They are quick to make, give the same predictions as PyTorch, and are installed here.

    Args:
        answers: Of the project.
    """
    names, reasons = [], []
    for name, precision in possible(answers):
        if precision != EXACT or not facts.backends()[name].get("is_quick"):
            continue
        lacking = missing(name)
        if not lacking:
            names.append(name)
        elif not names:
            reasons.append(f"for {name}: {installing(lacking)}")
    if not (names or reasons):
        task = answers["task"]
        reasons.append(
            f"nothing else that is quickly made runs task={task} on {answers['accelerator']}"
        )
    return names, reasons
