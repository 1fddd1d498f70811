"""Renders every combination of answers, and checks each."""

from __future__ import annotations

from generator.matrix.checks import check_text, expected_files
from generator.matrix.dealing import (
    AXES,
    Answers,
    combinations,
    command_line,
    covered,
    is_forbidden,
    questions,
    speeds,
)
from generator.matrix.imports import imported_from
from generator.matrix.rendering import Outcome, run
from generator.matrix.smoke import run_smoke_tests, smoke_sample
from generator.matrix.timing import benchmark

__all__ = [
    "AXES",
    "Answers",
    "Outcome",
    "benchmark",
    "check_text",
    "combinations",
    "command_line",
    "covered",
    "expected_files",
    "imported_from",
    "is_forbidden",
    "questions",
    "run",
    "run_smoke_tests",
    "smoke_sample",
    "speeds",
]
