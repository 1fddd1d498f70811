"""Proposed answers, each with where it was read and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from generator.options import questions


@dataclass(frozen=True)
class Finding:
    """A proposed answer.

    Attributes:
        answer: to the question.
        places: where it was read: file:line, or a file.
        sure: whether it is certain; else it is asked, with the answer as its default.
        why: why it is not.
    """

    answer: Any
    places: tuple[str, ...]
    sure: bool
    why: str = ""


@dataclass
class Findings:
    """What reading the files has brought.

    Attributes:
        found: proposed answers by question.
        contradictions: what two places say differently.
        unknown: questions that nothing answers, each with why.
        dropped: what the service does that the project does not, each with its place and, after a
            semicolon, what to do about it.
        remarks: what people should know of the service that they get, and of their files.
    """

    found: dict[str, Finding] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def propose(
        self, question: str, answer: Any, place: str, *, sure: bool = True, why: str = ""
    ) -> None:
        """Propose an answer. The first one counts; a second that differs is a contradiction."""
        if question not in questions():  # which an older template has not
            return
        first = self.found.get(question)
        if first is None:
            self.found[question] = Finding(answer, (place,), sure, why)
        elif first.answer == answer:
            places = tuple(dict.fromkeys((*first.places, place)))
            is_sure = first.sure or sure
            self.found[question] = Finding(answer, places, is_sure, "" if is_sure else first.why)
        elif first.places != GIVEN:
            where = ", ".join(first.places)
            self.contradictions.append(
                f"{question}: {first.answer} in {where}, {answer} in {place}"
            )
            self.found[question] = replace(first, sure=False, why="two places differ")

    def answer(self, question: str, default: Any = None) -> Any:
        """Return the proposed answer to a question."""
        finding = self.found.get(question)
        return default if finding is None else finding.answer

    def drop(self, *names: str) -> None:
        """Forget what follows from what turned out to be otherwise."""
        for name in names:
            if name in self.found and self.found[name].places != GIVEN:
                del self.found[name]

    @property
    def sure(self) -> dict[str, Any]:
        """The answers that need not be asked."""
        return {name: x.answer for name, x in self.found.items() if x.sure}

    @property
    def likely(self) -> dict[str, Any]:
        """The answers to ask, with these as defaults."""
        return {name: x.answer for name, x in self.found.items() if not x.sure}


GIVEN = ("-d",)
