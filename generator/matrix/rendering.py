"""Renders combinations in several processes, and checks what is new in each project.

Files of equal name and content are the same to every check. The first project that holds a new
file, or a new pair of network and image size, stands for all that hold it.
"""

from __future__ import annotations

import multiprocessing
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from generator.fast import FastRenderer, Project
from generator.matrix.checks import check_text, expected_files, lint
from generator.matrix.dealing import Answers, command_line, is_forbidden, with_defaults
from generator.matrix.imports import NETWORK, Key, check_network, imported_from, steps
from generator.rendering import plain_copy

T = TypeVar("T")
Representative = tuple[Path, Answers, set[Key]]  # a folder, its answers, what is new in it
Progress = Callable[[str, int, int], object]  # what is done, how many of it now, of how many


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        rendered: projects that were rendered.
        refused: combinations that the questions refuse, as they should.
        distinct: files of which no other has the same name and content.
        checked: projects that were imported; among them is one with each network.
        failures: what went wrong, each with the command that shows it again.
        render_seconds: the sum over all processes.
        seconds: on the clock.
    """

    rendered: int = 0
    refused: int = 0
    distinct: int = 0
    checked: int = 0
    failures: list[str] = field(default_factory=list)
    render_seconds: float = 0.0
    seconds: float = 0.0

    def fail(self, answers: Mapping[str, Any], why: str) -> None:
        """Add a failure."""
        self.failures.append(f"{why}\n    {command_line(answers)}")


def run(
    matrix: list[Answers],
    processes: int = 2,
    progress: Progress | None = None,
    check: bool = True,
    root: Path | None = None,
) -> Outcome:
    """Render and check the combinations.

    Args:
        matrix: The answers, as from `combinations`.
        processes: How many work at once.
        progress: Called whenever something is done.
        check: False only renders, to measure how fast that is.
        root: The folder with copier.yml, if not this one.
    """
    report = progress or (lambda *_: None)
    start = time.perf_counter()
    total = Outcome()
    chunks = in_chunks([with_defaults(answers) for answers in matrix])
    # Processes that have never run anything else.
    has_server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if has_server else "spawn")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # spares the disk
    with tempfile.TemporaryDirectory(prefix="matrix-", dir=memory) as folder:
        template = plain_copy(Path(folder, "template"), root)
        kept = Path(folder, "kept")
        kept.mkdir()
        jobs = [(template, kept / str(i), chunk) for i, chunk in enumerate(chunks)]
        representatives: list[Representative] = []
        with context.Pool(processes) as pool:
            seen: set[Key] = set()
            for outcome, projects in pool.imap(render_chunk, jobs):
                merge(total, outcome)
                for path, answers, new in projects:
                    if fresh := new - seen:
                        seen |= fresh
                        representatives.append((path, answers, fresh))
                    else:
                        shutil.rmtree(path)
                report("rendered", total.rendered + total.refused, len(matrix))
            total.distinct = sum(key[0] != NETWORK for key in seen)
            if check:
                lint_projects(kept, representatives, total)
                for outcome in pool.imap_unordered(check_projects, in_chunks(representatives)):
                    merge(total, outcome)
                    report("imported", total.checked, len(representatives))
    total.seconds = time.perf_counter() - start
    return total


def in_chunks(items: list[T], size: int = 100) -> list[list[T]]:
    """Cut a list, in the order of the matrix: neighbours share most of their files."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def merge(total: Outcome, part: Outcome) -> None:
    """Add the figures of one process to the total."""
    for name in ("rendered", "refused", "checked", "render_seconds", "failures"):
        setattr(total, name, getattr(total, name) + getattr(part, name))


# -------------------------------------------------------------------------------------- rendering

# What this process has parsed, and has written a project of: once is enough.
parsed: set[Key] = set()
written: set[Key] = set()


@cache
def renderer(template: Path) -> FastRenderer:
    """Return this process's renderer."""
    return FastRenderer(template)


def render_chunk(job: tuple[Path, Path, list[Answers]]) -> tuple[Outcome, list[Representative]]:
    """Render some combinations in memory, and write the projects that hold something new."""
    template, folder, chunk = job
    outcome = Outcome()
    projects = []
    for number, answers in enumerate(chunk):
        path = folder / str(number)
        start = time.perf_counter()
        try:
            project = renderer(template).project(path, answers)
        except ValueError as error:
            if is_forbidden(answers):
                outcome.refused += 1
            else:
                outcome.fail(answers, f"refused: {error}")
            continue
        except Exception as error:
            outcome.fail(answers, f"{type(error).__name__}: {error}")
            continue
        finally:
            outcome.render_seconds += time.perf_counter() - start
        outcome.rendered += 1
        if is_forbidden(answers):
            outcome.fail(answers, "rendered, though the questions should refuse it")
        if new := inspect_files(project, answers, outcome) - written:
            written.update(new)
            project.write(path)
            projects.append((path, answers, new))
    return outcome, projects


def inspect_files(project: Project, answers: Answers, outcome: Outcome) -> set[Key]:
    """Check the set of files, parse those that are new, and return what can be imported.

    What only people read (README.md, the answers) hardly ever repeats and is only parsed.
    """
    files = project.files
    if wrong := expected_files(answers) ^ files.keys():
        outcome.fail(answers, f"not the expected set of files: {', '.join(sorted(wrong))}")
    keys: dict[str, Key] = {name: (name, file.digest) for name, file in files.items()}
    for name, key in keys.items():
        if key in parsed:
            continue
        parsed.add(key)
        try:
            check_text(name, files[name].content.decode())
        except (ValueError, SyntaxError) as error:
            outcome.fail(answers, f"{name}: {error}")
    code = {key for name, key in keys.items() if name.endswith((".py", ".json"))}
    model, preprocessing = "service/model.py", "service/preprocessing.py"
    if {model, preprocessing} <= files.keys():
        size = re.search(rb"^IMAGE_SIZE.*", files[preprocessing].content, re.MULTILINE)
        task = str(answers["task"]).encode()
        code.add((NETWORK, files[model].digest, size[0] if size else b"", task))
    return code


# --------------------------------------------------------------------------------------- checking


def lint_projects(folder: Path, projects: list[Representative], outcome: Outcome) -> None:
    """Run ruff over the new files of the kept projects: each brings its own settings."""
    files = [
        str(path / str(name))
        for path, _, new in projects
        for name, *_ in sorted(new)
        if str(name).endswith(".py")
    ]
    for file, message in lint(folder / "new.txt", files).items():
        for path, answers, _ in projects:
            if Path(file).is_relative_to(path.resolve()):
                name = Path(file).relative_to(path.resolve()).as_posix()
                outcome.fail(answers, f"{name}: {message}")
                break
        else:
            outcome.fail({}, f"{file}: {message}")


# What has gone well in this process, by all that it depends on: once is enough.
tried: set[Key] = set()


def check_projects(projects: list[Representative]) -> Outcome:
    """Import the projects one after another, and build those networks that are new."""
    import torch

    torch.set_num_threads(1)
    outcome = Outcome()
    for path, answers, new in projects:
        try:
            with imported_from(path):
                for key, step in steps(path):
                    if key not in tried:
                        step()
                        tried.add(key)
                if any(key[0] == NETWORK for key in new):
                    check_network(path)
        except Exception as error:
            outcome.fail(answers, f"{type(error).__name__}: {error}")
        outcome.checked += 1
    return outcome
