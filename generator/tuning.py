"""`ts-template tune`: which backend, precision, decoding, workers and batches are fastest here.

Each candidate is the project, rendered with other answers into a scratch folder and archived there,
by its own archive.py. First all of them predict in turns in processes of their own, with no server;
what cannot win is left out. The best are then served by TorchServe. With the fastest that is asked
for, its own tune.py tries workers and batches.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from generator import facts, speed
from generator.answers_file import ANSWERS_FILE, questions_in
from generator.bench.contenders import cores, reason_in
from generator.errors import UserError
from generator.rendering import installing, plain_copy, render
from generator.scripts import trusted

CHOICES = ("backend", "precision", "decode")
MAX_FILES = 128  # to compare predictions on
MAX_SENT = 32  # to put load on a server with
MIN_FITTED = 20  # that int8 is fitted to, at least; with twice as many, others are compared on
ROUNDS = 3
SECONDS = 1.0  # that a candidate predicts for, in a round
CANNOT_WIN = 0.6  # share of the best candidate's speed below which another is left out
NEAR = 0.9  # share of it from which another is served, too
WORKERS = 0.2  # share of the budget that is kept for workers and batches, at most
SERVING = 4  # seconds that a server takes to start and to end, besides what its workers take
PATIENCE = 90  # seconds that whatever is started may take beyond its load
# Not of a project's own, or not needed to build an archive.
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "venv", "__pycache__", ".*_cache", "logs", "model-store", "key_file.json"
)

# How alike scores are, by the measure that the project's archive.py takes. In its folder.
JUDGE = """
import json, sys
import torch
from tools import outputs
def judge(expected, found):
    pairs = [outputs.compare_scores(*pair) for pair in zip(expected, found, strict=True)]
    return sum(x for x, _ in pairs) / len(pairs), max(x for _, x in pairs)
first, *others = map(torch.load, sys.argv[1:])
print(json.dumps({
    "limits": [outputs.MIN_AGREEMENT, outputs.MAX_DIFFERENCE],
    "words": [outputs.AGREEMENT, outputs.DIFFERENCE],
    "found": [judge(first, other) for other in others],
}))
"""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to try.

    Attributes:
        paths: images or texts such as will come, or folders with them.
        budget: seconds that all may take.
        min_agreement: that a candidate must have; None leaves the limits of archive.py.
        clients: that send at once to TorchServe, in turns; without any it is not started.
        seconds: of each load.
        fixed: answers that all candidates have, of CHOICES.
    """

    paths: Sequence[Path]
    budget: float = 300
    min_agreement: float | None = None
    clients: Sequence[int] = (1, 16)
    seconds: float = 3
    fixed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[Path]:
        """The files, those in folders among them."""
        return files_in(self.paths)

    @property
    def folder(self) -> Path | None:
        """A folder with them, if one was named."""
        return next((path.resolve() for path in self.paths if path.is_dir()), None)


@dataclass
class Candidate:
    """A way to serve the project.

    Attributes:
        answers: to the questions of CHOICES that the project has.
        folder: where it is rendered.
        why_not: why it is out; "" if it is not.
        start, memory_mb: seconds to the first prediction, and memory, of a worker.
        threads: of a worker.
        rates: predictions a second by the size of batches, of a worker, a round each.
        agreement, difference: to PyTorch as it is, by the measure of the task.
        loads: what the project's benchmark.py printed, a round each.
    """

    answers: dict[str, str]
    folder: Path
    why_not: str = ""
    start: float | None = None
    memory_mb: float | None = None
    threads: int = 1
    rates: list[dict[str, float]] = field(default_factory=list)
    agreement: float | None = None
    difference: float | None = None
    loads: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return its name, for people."""
        return ", ".join(self.answers.values()) or "as it is"

    @property
    def is_measured(self) -> bool:
        """Tell whether it has predicted."""
        return bool(self.rates)

    @property
    def estimate(self) -> float:
        """Return how many predictions a second all workers may give together."""
        if not self.rates:
            return 0.0
        # The best of all rounds: other programs can only have slowed it down.
        most = max(rate for rates in self.rates for rate in rates.values())
        return most * max(1, cores() // self.threads)

    def served(self, clients: int, figure: str) -> float | None:
        """Return a figure of benchmark.py for so many clients: the median of the rounds."""
        values = [row[figure] for rows in self.loads for row in rows if row["clients"] == clients]
        return statistics.median(values) if values else None


@dataclass
class Result:
    """What came of tuning.

    Attributes:
        candidates: all that were tried; the first is PyTorch as it is.
        exact: the fastest that predicts the same, of those that are wanted; else PyTorch as it is.
        allowed: the fastest of them whose predictions agree enough, likewise.
        wanted: that of the two which is asked for; PyTorch as it is, if nothing is that is.
        workers: what its tune.py printed of workers and batches, the best first; none untried.
        words: what the agreement and the difference of candidates are, for people.
        notes: what should be known of the figures.
        seconds: that it took.
    """

    candidates: list[Candidate]
    exact: Candidate
    allowed: Candidate
    wanted: Candidate
    workers: list[dict[str, Any]]
    words: tuple[str, str]
    notes: list[str]
    seconds: float


def files_in(paths: Sequence[Path]) -> list[Path]:
    """Return files, and those that are in folders.

    Raises:
        UserError: There are none.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}")
        visible = path.rglob("[!.]*") if path.is_dir() else [path]
        found += sorted(x.resolve() for x in visible if x.is_file())
    if not found:
        raise UserError(f"there is no file in {', '.join(map(str, paths))}")
    return found


def some(items: Sequence[Path], most: int) -> Sequence[Path]:
    """Return up to so many of them, from all over."""
    return items[:: -(-len(items) // most)]


def lines_of(files: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Write each line that is not empty to a file of its own; return these, and where they are of.

    Raises:
        UserError: There are none.
    """
    folder.mkdir()
    found: dict[Path, str] = {}
    for file in files:
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if line.strip():
                path = folder / f"{len(found):06}{file.suffix}"
                path.write_bytes(line)
                found[path] = f"{file}:{number}"
    if not found:
        raise UserError(f"{', '.join(map(str, files))}: there is no line with text")
    return found


def tune(project: Path, settings: Settings, log: Log) -> Result:
    """Try all that a project can be on this machine, and name the fastest.

    Args:
        project: Its folder, with weights; it is left as it is.
        settings: What to try.
        log: Gets a line for what happens.

    Raises:
        UserError: Not even PyTorch as it is serves these files.
    """
    with tempfile.TemporaryDirectory(prefix="ts-template-tune-") as scratch:
        tuning = Tuning(project.resolve(), Path(scratch), settings, log)
        with contextlib.ExitStack() as tuning.stack:
            return tuning.run()


class Tuning:
    """What the steps of tuning share.

    Args:
        project: The folder of the project.
        scratch: A folder to work in.
        settings: What to try.
        log: Gets a line for what happens.
    """

    stack: contextlib.ExitStack

    def __init__(self, project: Path, scratch: Path, settings: Settings, log: Log) -> None:
        self.project, self.scratch, self.settings, self.log = project, scratch, settings, log
        self.answers = questions_in(project)
        self.begun = time.monotonic()
        self.template = plain_copy(scratch / "template")
        self.input = facts.inputs()[facts.tasks()[self.answers["task"]]["input"]]
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.notes: list[str] = []
        self.slowest = 0.0  # seconds that a candidate took to be built
        self.places = {path: str(path) for path in settings.files}
        if self.input["is_written"]:
            self.places = lines_of(settings.files, scratch / "lines")
        self.files = files = some([*self.places], MAX_FILES)
        halves = self.input["fits_int8"] and len(files) >= 2 * MIN_FITTED
        self.fitted, self.compared = (files[::2], files[1::2]) if halves else (files, files)
        self.limits, self.words = (1.0, 0.0), ("", "")

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.settings.budget - (time.monotonic() - self.begun)

    def run(self) -> Result:
        """Take all steps."""
        rng = random.Random(0)
        plain, *others = self.candidates()
        if not self.build(plain):
            raise UserError(f"{self.project} does not serve these files as it is: {plain.why_not}")
        self.plain = plain
        self.note_edits()
        # What the last steps take: the first prediction of a worker tells how busy the machine is.
        loads = len(self.settings.clients) * (self.settings.seconds + 1)
        each = SERVING + 2 * (plain.start or 0) + loads if loads else 0
        # And workers and batches, but these are to keep no candidate from being tried.
        needed = self.seconds_of_workers(plain) if loads else 0
        needed = min(needed, WORKERS * self.settings.budget)
        serving = 3 * each + needed
        for one in others:
            rounds = (len(self.processes) + 2) * SECONDS * ROUNDS
            rest = serving + rounds + self.slowest  # that the best takes with another decoding
            if self.is_present(one):  # without it, what others are faster than is not known
                self.build(one)
            elif self.left() < rest:
                one.why_not = "not tried: no time was left (--budget SECONDS)"
                self.log(f"{one.title}: {one.why_not}")
            else:
                self.build(one, self.left() - rest)
        everyone = [plain, *others]
        self.judge(everyone)
        self.round(everyone, rng)
        best = self.best(everyone, exact=False)
        for one in self.variants(best):
            if self.left() < serving:
                break
            everyone.append(one)
            if self.build(one, self.left() - serving):
                self.judge(everyone)
                self.round([one], rng)
        for _ in range(ROUNDS - 1):
            if self.left() < serving:
                break
            self.leave_out(everyone)
            self.round(everyone, rng)
        finalists = self.finalists(everyone)
        while len(finalists) > 3 and self.left() < len(finalists) * each + needed:
            finalists.pop()
        for process in self.processes.values():
            process.kill()  # what it holds would be in the way of the servers
        for number in range(0 if not loads else 1 if len(finalists) == 1 else 2):
            if number and self.left() < len(finalists) * each + needed:
                break
            for one in rng.sample(finalists, len(finalists)):
                self.serve(one)
        exact, allowed = (self.best(everyone, exact=x) for x in (True, False))
        may = (exact, allowed)[self.settings.min_agreement is not None :]
        wanted = next((one for one in may if self.is_wanted(one.answers)), None)
        workers = self.workers(wanted) if loads and wanted else []
        is_fitted = any("int8" in one.answers.values() and one.rates for one in everyone)
        if is_fitted and self.fitted is self.compared and self.input["fits_int8"]:
            self.notes.append(
                f"int8 was compared on what it was fitted to; {2 * MIN_FITTED} or more files "
                "would be divided"
            )
        seconds = time.monotonic() - self.begun
        return Result(
            candidates=everyone,
            exact=exact,
            allowed=allowed,
            wanted=wanted or self.plain,
            workers=workers,
            words=self.words,
            notes=self.notes,
            seconds=seconds,
        )

    def candidates(self) -> list[Candidate]:
        """Return PyTorch as it is, then all others with one way to decode.

        First of them is how the project runs its network; then come the quick ones.
        """
        exact = str(facts.questions()["decode"]["default"])
        pixels = {"decode": exact} if "decode" in self.answers else {}
        pairs = list(speed.possible(self.answers))
        backends = facts.backends()
        present = (self.answers.get("backend"), self.answers.get("precision"))
        pairs.sort(
            key=lambda pair: (
                pair != (speed.PLAIN, speed.EXACT),
                pair != present,
                pair[0] != speed.PLAIN and "is_quick" not in backends[pair[0]],
            )
        )
        chosen = [{"backend": x, "precision": y} for x, y in pairs] or [{}]
        plain = {**chosen[0], **pixels}
        pixels = {name: self.settings.fixed.get(name, value) for name, value in pixels.items()}
        others = [x for x in ({**x, **pixels} for x in chosen) if x != plain and self.is_wanted(x)]
        return [self.candidate(x) for x in (plain, *others)]

    def is_present(self, one: Candidate) -> bool:
        """Tell whether a candidate runs the network as the project does."""
        return all(self.answers.get(x) == y for x, y in one.answers.items() if x != "decode")

    def is_wanted(self, answers: Mapping[str, str]) -> bool:
        """Tell whether a candidate has the answers that all are to have."""
        fixed = {x: y for x, y in self.settings.fixed.items() if x in self.answers}
        return fixed.items() <= answers.items()

    def note_edits(self) -> None:
        """Note which files of the project are not in the candidates as they are."""
        folder = self.scratch / "present"
        if not self.render(folder, {}):
            return
        differing = []
        for path in sorted(x for x in folder.rglob("*") if x.is_file()):
            name = path.relative_to(folder).as_posix()
            own = self.project / name
            if name == ANSWERS_FILE or (own.is_file() and own.samefile(path)):
                continue
            if not own.is_file() or not filecmp.cmp(own, path, shallow=False):
                differing.append(name)
        if differing:
            names = ", ".join(differing[:3])
            more = f" and {len(differing) - 3} more" * (len(differing) > 3)
            self.notes.append(
                f"the candidates have {names}{more} as this version of the template renders them; "
                "yours differ"
            )

    def candidate(self, answers: dict[str, str]) -> Candidate:
        """Return one that is not built yet."""
        return Candidate(answers, self.scratch / ("-".join(answers.values()) or "plain"))

    def variants(self, best: Candidate) -> Iterator[Candidate]:
        """Yield the best with each other way to decode, if there is a JPEG file to see it with."""
        if "decode" not in best.answers or "decode" in self.settings.fixed:
            return
        if not any(path.read_bytes()[:2] == b"\xff\xd8" for path in self.files):
            return
        for value in facts.menu("decode", self.answers["task"]):
            if value != best.answers["decode"]:
                one = self.candidate({**best.answers, "decode": value})
                if self.render(one.folder, one.answers):
                    yield one

    def render(self, folder: Path, answers: Mapping[str, Any]) -> bool:
        """Render the project anew with other answers; False where the template refuses them."""
        if not folder.exists():
            shutil.copytree(
                self.project,
                folder,
                copy_function=self.link,
                ignore=lambda path, names: {
                    *IGNORED(path, names),
                    *([self.input["examples"]] if Path(path) == self.project else []),
                },
            )
        try:
            render(folder, {**self.answers, **answers}, self.template, overwrite=True)
        except ValueError:
            return False
        return True

    def link(self, source: str, target: str) -> str:
        """Copy a file; weights, which nothing writes to, are not copied but linked if possible."""
        if Path(source).is_relative_to(self.project / "weights"):
            with contextlib.suppress(OSError):
                os.link(source, target)
                return target
        return str(shutil.copy2(source, target))

    def build(self, one: Candidate, timeout: float = 600) -> bool:
        """Render a candidate, build its archive and start a process with it; tell whether it can.

        Args:
            one: The candidate.
            timeout: Seconds that this may take.
        """
        begun = time.monotonic()
        try:
            lacking = speed.missing(one.answers["backend"]) if "backend" in one.answers else []
            if lacking:
                raise UserError(installing(lacking))
            if not self.render(one.folder, one.answers):
                raise UserError("the template refuses it for this project")
            examples = one.folder / self.input["examples"]
            examples.mkdir(exist_ok=True)
            suffix = Path(self.input["example"]).suffix
            for number, path in enumerate(self.fitted):
                shutil.copy(path, examples / f"{number:04}{suffix}")
            command = [sys.executable, "archive.py", *trusted(one.folder)]
            if self.settings.min_agreement is not None and is_converted(one.answers):
                command += ["--min-agreement", str(self.settings.min_agreement)]
            call(command, one.folder, timeout)
            self.start(one)
        except UserError as error:
            one.why_not = str(error).splitlines()[0]
            if self.left() < 0 or time.monotonic() - begun > timeout:
                one.why_not = f"no time was left (--budget SECONDS): {one.why_not}"
        seconds = time.monotonic() - begun
        self.slowest = max(self.slowest, 0 if one.why_not else seconds)
        self.log(f"{one.title}: {one.why_not or f'ready after {seconds:.0f} s'}")
        return not one.why_not

    def start(self, one: Candidate) -> None:
        """Start a process that predicts with a candidate's archive.

        Raises:
            UserError: It does not start, or refuses a file.
        """
        errors = self.stack.enter_context((one.folder / "worker.log").open("w+", encoding="utf-8"))
        process = subprocess.Popen(
            [sys.executable, "-m", "generator.tuning_worker"],
            cwd=one.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        self.processes[one.title] = process
        files = [*map(str, self.compared)]
        scores = str(one.folder / "scores.pt")
        found = self.ask(one, {"files": files, "scores": scores, "begun": time.time()})
        if "refused" in found:
            path, reason = next(iter(found["refused"].items()))
            raise UserError(f"{self.places[Path(path)]} gets {reason}")
        one.start, one.memory_mb, one.threads = (
            found[x] for x in ("start", "memory_mb", "threads")
        )

    def ask(self, one: Candidate, what: Any) -> dict[str, Any]:
        """Send a line to a candidate's process, and return its reply.

        Raises:
            UserError: It has ended, or does not reply in time.
        """
        process = self.processes[one.title]
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{json.dumps(what)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            process.wait()
            log = (one.folder / "worker.log").read_text(encoding="utf-8", errors="replace")
            raise UserError(reason_in(log) or f"its process ended ({process.returncode})")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def predict(self, one: Candidate) -> dict[str, float]:
        """Return how many predictions a second a candidate's process makes, by size of batches."""
        return self.ask(one, SECONDS)

    def round(self, everyone: Sequence[Candidate], rng: random.Random) -> None:
        """Let all that are not out predict, one after another."""
        still = [one for one in everyone if not one.why_not]
        for one in rng.sample(still, len(still)):
            try:
                one.rates.append(self.predict(one))
            except UserError as error:
                one.why_not = str(error).splitlines()[0]
        rates = ", ".join(f"{one.title} {one.estimate:.0f}" for one in still if not one.why_not)
        self.log(f"predictions a second, about: {rates}")

    def judge(self, everyone: Sequence[Candidate]) -> None:
        """Find out how alike the predictions are to those of PyTorch as it is."""
        plain, *others = [one for one in everyone if not one.why_not]
        plain.agreement, plain.difference = 1.0, 0.0
        others = [one for one in others if one.agreement is None]
        if not others:
            return
        # A project has the measure only where it converts the network.
        folder = self.scratch / "judge"
        if not folder.exists():
            answers = {} if "backend" in self.answers else {"weights": "state_dict"}
            whole = {**self.answers, **answers, "accelerator": "cpu", "backend": speed.PLAIN}
            whole["precision"] = speed.EXACT
            name = next((x for x, _ in speed.possible(whole) if x != speed.PLAIN), speed.PLAIN)
            answers |= {"accelerator": "cpu", "backend": name, "precision": speed.EXACT}
            pixels = {x: y for x, y in self.plain.answers.items() if x == "decode"}
            if not self.render(folder, {**answers, **pixels}):
                raise UserError("the template has no measure for what this project is")
        scores = [str(one.folder / "scores.pt") for one in (plain, *others)]
        printed = call([sys.executable, "-c", JUDGE, *scores], folder, PATIENCE)
        result = json.loads(printed.splitlines()[-1])
        self.limits, self.words = tuple(result["limits"]), tuple(result["words"])
        for one, (agreement, difference) in zip(others, result["found"], strict=True):
            one.agreement, one.difference = agreement, difference

    def is_exact(self, one: Candidate) -> bool:
        """Tell whether a candidate predicts as PyTorch does, for all that is known."""
        if one is self.plain:
            return True
        if one.agreement is None or one.difference is None:
            return False
        chosen = (one.answers.get("precision"), one.answers.get("decode"))
        plain = (self.plain.answers.get("precision"), self.plain.answers.get("decode"))
        least, most = self.limits
        return chosen == plain and one.agreement >= least and one.difference <= most

    def is_allowed(self, one: Candidate) -> bool:
        """Tell whether a candidate's predictions agree enough."""
        least = self.settings.min_agreement
        if least is None:  # that of its archive.py, which has no limit for PyTorch as it is
            text = (one.folder / "tools" / "outputs.py").read_text(encoding="utf-8")
            own = re.search(r"^MIN_AGREEMENT = ([\d.]+)$", text, re.MULTILINE)
            least = float(own[1]) if own else self.limits[0]
        return (one.agreement or 0) >= least

    def of_class(self, everyone: Sequence[Candidate], exact: bool) -> list[Candidate]:
        """Return those that may be chosen, as `best` has it: the fastest first."""
        may = self.is_exact if exact else self.is_allowed
        most = max(self.settings.clients, default=0)
        found = [one for one in everyone if one.is_measured and not one.why_not and may(one)]
        found = [one for one in found if self.is_wanted(one.answers)]
        is_served = any(one.loads for one in found)
        found = [one for one in found if one.loads or not is_served]
        return sorted(found, key=lambda x: x.served(most, "per_second") or x.estimate, reverse=True)

    def best(self, everyone: Sequence[Candidate], *, exact: bool) -> Candidate:
        """Return the fastest that predicts the same, or whose predictions agree enough."""
        found = self.of_class(everyone, exact)
        return found[0] if found else self.plain

    def leave_out(self, everyone: Sequence[Candidate]) -> None:
        """Leave out what is much slower than what is at least as good."""
        for one in everyone:
            if one.why_not or one is self.plain:
                continue
            if not self.is_allowed(one):
                one.why_not = "agrees too little"
                continue
            rival = self.best(everyone, exact=self.is_exact(one))
            if one.estimate < CANNOT_WIN * rival.estimate:
                one.why_not = f"slower than {rival.title}"
                self.log(f"{one.title}: out, {one.why_not}")

    def finalists(self, everyone: Sequence[Candidate]) -> list[Candidate]:
        """Return those that are served: PyTorch as it is, the best of both kinds, others near."""
        best, near = [self.plain], []
        for exact in (True, False):
            first, *others = self.of_class(everyone, exact) or [self.plain]
            best.append(first)
            near += [one for one in others[:1] if one.estimate >= NEAR * first.estimate]
        found: list[Candidate] = []
        for one in (*best, *near):
            if one not in found:
                found.append(one)
        return found

    def serve(self, one: Candidate) -> None:
        """Let the project's benchmark.py measure a candidate in TorchServe."""
        self.log(f"{one.title}: served by TorchServe")
        settings = self.settings
        command = [sys.executable, "benchmark.py", "--json", "--seconds", str(settings.seconds)]
        command += ["--clients", ",".join(map(str, settings.clients))]
        loads = len(settings.clients) * (settings.seconds + 1)
        sent = map(str, some(self.files, MAX_SENT))
        try:
            printed = call([*command, *sent], one.folder, loads + PATIENCE)
        except UserError as error:
            if one is self.plain:
                raise
            one.why_not = str(error).splitlines()[0]
            self.log(f"{one.title}: {one.why_not}")
        else:
            one.loads.append(json.loads(printed))

    def seconds_of_workers(self, one: Candidate) -> float:
        """Return how long a candidate's tune.py takes to try workers and batches, about."""
        count = "from tools.tuning import settings; print(len(settings()))"
        loads = 2 * (self.settings.seconds + 1)
        each = SERVING + 2 * (one.start or 0) + loads
        return int(call([sys.executable, "-c", count], one.folder, PATIENCE)) * each

    def workers(self, one: Candidate) -> list[dict[str, Any]]:
        """Return what a candidate's tune.py prints of workers and batches.

        It is nothing if that fails, or would take longer than there is time.
        """
        needed = self.seconds_of_workers(one)
        if self.left() < needed:
            self.notes.append(
                f"workers and batches were not tried: that takes {needed:.0f} s (--budget SECONDS)"
            )
            return []
        self.log(f"{one.title}: tries workers and batches, for about {needed:.0f} s")
        command = [sys.executable, "tune.py", "--json", "--seconds", str(self.settings.seconds)]
        sent = map(str, some(self.files, MAX_SENT))
        try:
            printed = call([*command, *sent], one.folder, needed + PATIENCE)
        except UserError as error:
            self.notes.append(f"workers and batches were not tried: {str(error).splitlines()[0]}")
            return []
        tried: list[dict[str, Any]] = json.loads(printed)
        return tried


def is_converted(answers: Mapping[str, str]) -> bool:
    """Tell whether archive.py compares what is served with the network as it was trained."""
    pair = (answers.get("backend"), answers.get("precision"))
    return pair not in ((None, None), (speed.PLAIN, speed.EXACT))


def call(command: Sequence[str], folder: Path, timeout: float) -> str:
    """Run a program of a project, and return what it printed.

    Raises:
        UserError: It failed, or was not done in time.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[1]} was not done after {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            process.terminate()  # it stops what it has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            if hasattr(os, "killpg"):  # what it has left behind
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
    if process.returncode:
        reason = reason_in(errors) or reason_in(printed) or f"status {process.returncode}"
        raise UserError(reason)
    return printed


def apply(project: Path, commands: Sequence[str]) -> None:
    """Run what `commands_for` returns.

    Raises:
        UserError: A command failed.
    """
    # That `copier` is found, and is the one that has rendered the candidates.
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    environment = {**os.environ, "PATH": os.pathsep.join(places)}
    for command in commands:
        result = subprocess.run(
            command,
            shell=True,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if result.returncode:
            reason = reason_in(result.stderr) or result.stdout.strip()
            raise UserError(f"{reason}\n(in {project}: {command})")


def changes_for(project: Path, result: Result) -> tuple[dict[str, str], list[str]]:
    """Return the answers that a project is to get, and the words that set workers and batches.

    Either is empty if the project is so already, or nothing was found.
    """
    answers = dict(result.wanted.answers)
    if answers.items() <= questions_in(project).items():
        answers = {}
    if not result.workers:
        return answers, []
    workers, batch = (result.workers[0][x] for x in ("workers", "batch"))
    config = yaml.safe_load((project / "model-config.yaml").read_text(encoding="utf-8"))
    present = {config.get(x) for x in ("minWorkers", "maxWorkers")}
    if present == {workers} and config.get("batchSize") == batch:
        return answers, []
    return answers, ["tune.py", "--set", str(workers), str(batch)]


def commands_for(
    project: Path, answers: Mapping[str, str], setting: Sequence[str], settings: Settings
) -> list[str]:
    """Return the commands that give a project what `changes_for` returns, and build its archive."""
    commands = []
    present = questions_in(project)
    if answers:
        code = (
            "import json, sys; from tools.project import change_answer; "
            "print(change_answer(**json.loads(sys.argv[1])))"
        )
        words = [sys.executable, "-c", code, json.dumps(dict(answers))]
        commands.append(call(words, project.resolve(), PATIENCE).strip())
    if answers or not (project / "model-store" / f"{present['model_name']}.mar").is_file():
        options = archive_options(present["task"], {**present, **answers}, settings)
        commands.append(shlex.join(["python", "archive.py", *options]))
    if setting:
        commands.append(shlex.join(["python", *setting]))
    return commands


def archive_options(task: str, answers: Mapping[str, str], settings: Settings) -> list[str]:
    """Return the options of archive.py with which it builds what was tuned."""
    if not is_converted(answers):
        return []
    options = []
    if settings.folder is not None:
        item = facts.inputs()[facts.tasks()[task]["input"]]
        options += [f"--{item['examples']}", str(settings.folder)]
    if settings.min_agreement is not None:
        options += ["--min-agreement", str(settings.min_agreement)]
    return options
