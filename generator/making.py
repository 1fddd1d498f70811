"""What `ts-template new` does once the answers are known: render, train, archive, predict."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from generator import facts
from generator.answers_file import answers_in
from generator.errors import UserError
from generator.inspection.reading import GRAPHS
from generator.inspection.refusals import printable
from generator.rendering import render, runner
from generator.scripts import ScriptError, Scripts, environment
from generator.speed import EXACT, PLAIN, quick
from generator.tasks import tasks

# Of archive.py, in which a backend may fail that is not eager.
BLAMED = ("conversion", "trial")
PATIENCE = 180  # seconds until archive.py must have converted the network and compared


@dataclass(frozen=True)
class Changes:
    """What tuning found for a project.

    Attributes:
        answers: to give it; empty if it has them.
        options: of its archive.py, which builds it with these.
        setting: the words of the command that sets workers and batches; empty if it has them.
    """

    answers: Mapping[str, str]
    options: Sequence[str]
    setting: Sequence[str]


@dataclass(frozen=True)
class Training:
    """How a project's network is trained, and measured.

    Attributes:
        arguments: of train.py.
        validation: data to measure the archive with, as evaluate.py does; None for none.
    """

    arguments: Sequence[str]
    validation: Path | None


class Steps:
    """Numbers what is done, from 2: reading what the user has named is the first."""

    def __init__(self, console: Console) -> None:
        self.number = 1
        self.console = console

    def begin(self, title: str) -> None:
        """Print what is done next."""
        self.number += 1
        self.console.print(f"{self.number}. {title}")


def make(
    destination: Path,
    known: Mapping[str, Any],
    likely: Mapping[str, Any],
    put: Callable[[], None],
    console: Console,
    *,
    ask: bool,
    is_answered: bool,
    assumed: Callable[[Mapping[str, Any]], Iterable[str]],
    training: Training | None = None,
    picture: Path | None = None,
    tuned: Callable[[Path], Changes | None] | None = None,
) -> None:
    """Render a project, put the user's files into it, train it if need be, archive it, and try it.

    Args:
        destination: The project's folder; must not exist, or be empty.
        known: Answers by question.
        likely: Answers that are asked, or assumed.
        put: Puts the user's files into the project.
        console: Gets what is done.
        ask: Whether to ask what is left; else it takes its defaults.
        is_answered: Whether the user has chosen a backend.
        assumed: Tells of the project's answers what is assumed.
        training: How its network is trained; None if it has its weights.
        picture: The image to predict for at the end; None takes an image of noise.
        tuned: Finds what is fastest for the project, which is then rendered with it.

    Raises:
        UserError: The files do not make a service; the message says why. The project is removed,
            unless it is a script of its own that refuses: that names the command that fixes it.
    """
    steps = Steps(console)
    with contextlib.ExitStack() as stack:
        scripts = None if training else stack.enter_context(Scripts())
        steps.begin(f"Render {destination}")
        existed = destination.exists()
        with emptied_by_errors(destination, existed):
            # Rendered with it at once where nobody is asked: to render twice takes a second.
            guess = {} if ask or is_answered or tuned else likely_backend({**likely, **known})
            rendered = render(destination, known, proposals={**likely, **guess}, ask=ask)
            chosen = answers_in(destination)
            has_backend = "backend" in chosen
            if guess and has_backend:
                chosen["backend"] = PLAIN
            # Who was asked has seen the question, with eager as its default.
            is_answered = is_answered or bool(ask and rendered.answers.get("change_rest"))
            fast, reasons = ([], []) if is_answered or tuned else fast_backends(chosen)
            why = f" ({'; or '.join(reasons)})" if reasons else ""
            if why and not fast:
                console.print(f"   backend: {PLAIN}{why}")
            wanted = {"backend": fast[0] if fast else PLAIN} if has_backend else {}
            if guess == wanted or not (guess or fast):
                put()
            else:
                again(destination, put, existed=existed, **wanted)
        if not ask:
            for line in assumed(chosen):
                console.print(f"   {printable(line)}")
        if rendered.note:
            console.print(f"   {rendered.note}")

        if training is not None:
            steps.begin(f"Train: {shlex.join(['python', 'train.py', *training.arguments])}")
            train(destination, training)
        advice = (
            f"\n{destination} is rendered and has your files. Fix it there, then: "
            f"{inside(destination, 'python archive.py')}"
        )
        scripts = scripts or stack.enter_context(Scripts())
        steps.begin("Build the archive: python archive.py")
        if fast:
            console.print(f"   backend: {fast[0]}, if it predicts as {PLAIN} does{why}")
        while fast:
            try:
                scripts.run(destination, "archive.py", advice=advice, timeout=PATIENCE)
                console.print(
                    f"   backend: {fast[0]}, which predicts as {PLAIN} does and is mostly faster "
                    f"(another: -d backend={PLAIN})"
                )
                break
            except ScriptError as error:
                if error.step not in BLAMED and not error.is_late:
                    raise
                failed, fast = without_failed(fast, error.step)
                reason = printable(error.reason.splitlines()[0])
            following = f"{fast[0]}, if it predicts as {PLAIN} does" if fast else PLAIN
            console.print(f"   backend: {following}, not {' or '.join(failed)}: {reason}")
            again(destination, put, existed=existed, backend=fast[0] if fast else PLAIN)
            scripts = stack.enter_context(Scripts())
        else:
            scripts.run(destination, "archive.py", advice=advice)

        item = item_of(chosen)
        steps.begin(f"Predict for {item['one']}: python predict.py")
        if item["is_written"]:
            words = ["--files", str(picture.resolve())] if picture else ["This is a good one."]
            scripts.run(destination, "predict.py", *words, advice=advice)
        else:
            sample = picture.resolve() if picture else noise(destination)
            scripts.run(destination, "predict.py", str(sample), advice=advice)
            if picture is None:
                sample.unlink()
                console.print("   (an image of noise, so any prediction will do)")
        if training is not None and training.validation is not None and chosen["evaluation"]:
            steps.begin("Measure the archive, and compare with training: python evaluate.py")
            run = destination / "runs" / "1"
            words = [str(training.validation), "--against", str(run)]
            scripts.run(destination, "evaluate.py", *words, advice=advice)
        if tuned is not None:
            steps.begin("Tune")
            changes = tuned(destination)
            if changes and changes.answers:
                again(destination, put, existed=existed, **changes.answers)
                words = ["archive.py", *changes.options]
                steps.begin(f"Build the archive: {shlex.join(['python', *words])}")
                scripts = stack.enter_context(Scripts())
                scripts.run(destination, *words, advice=advice)
            if changes and changes.setting:
                steps.begin(f"Set workers and batches: {shlex.join(['python', *changes.setting])}")
                scripts.run(destination, *changes.setting, advice=advice)
    name = next((destination / "model-store").glob("*.mar")).stem
    console.print(
        f"\n{destination} works. Its README.md tells the rest; next:\n\n"
        f"    cd {shlex.quote(str(destination))}\n"
        '    git init && git add -A && git commit -m "Start"\n'
        f"    {runner()}python serve.py\n"
        f"    curl -T {item['metavar']} http://127.0.0.1:8080/predictions/{name}\n"
    )


def refuse_missing(destination: Path, *files: Path | None) -> None:
    """Raise UserError if there is no place for a project, or a file that was named is missing."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} exists; name another folder")
    for path in files:
        if path is not None and not path.is_file():
            raise UserError(f"there is no file {path}")


def title_of(destination: Path) -> str:
    """Return what a project in a folder is called."""
    return destination.resolve().name.replace("-", " ").replace("_", " ").title()


def train(project: Path, training: Training) -> None:
    """Run train.py, whose progress and errors are shown as it prints them.

    Raises:
        UserError: It failed, or was stopped. The project stays, with the epochs that were done.
    """
    command = ["train.py", *training.arguments]
    try:
        status = subprocess.run(
            [sys.executable, *command], cwd=project, env=environment(), check=False
        ).returncode
    except KeyboardInterrupt:
        status = -1
    if status:
        why = "train.py was stopped" if status < 0 else "train.py has refused, as above"
        if any(project.glob("runs/*/last.pt")):
            command = ["train.py", "--resume"]
        raise UserError(
            f"{why}. {project} is rendered; go on there: "
            f"{inside(project, shlex.join(['python', *command]))} && {runner()}python archive.py"
        )


def inside(project: Path, command: str) -> str:
    """Return the line that runs a command in a project."""
    return f"cd {shlex.quote(str(project))} && {runner()}{command}"


def again(project: Path, put: Callable[[], None], *, existed: bool, **changed: Any) -> None:
    """Render a project that nobody has changed yet with other answers, and give it its files back.

    What it has learned stays.
    """
    answers = {name: x for name, x in answers_in(project).items() if not name.startswith("_")}
    labels = facts.labels()[answers.get("label_format", "none")]["file"]
    is_trained = (project / "runs").exists()
    with contextlib.nullcontext() if is_trained else emptied_by_errors(project, existed):
        for path in project.iterdir():
            if not (is_trained and path.name in ("runs", "weights", labels)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        render(project, {**answers, **changed}, overwrite=True)
        put()


@contextlib.contextmanager
def emptied_by_errors(destination: Path, existed: bool) -> Iterator[None]:
    """Leave no project where one cannot be completed, and an empty folder where one was.

    Raises:
        UserError: An answer is not valid.
    """
    try:
        yield
    except BaseException as error:
        shutil.rmtree(destination, ignore_errors=True)
        if existed:
            destination.mkdir()
        if isinstance(error, ValueError):  # Copier's, for an answer that is not valid
            raise UserError(str(error)) from error
        raise


def likely_backend(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return the answer that `fast_backends` will likely name first, from answers so far.

    It is empty if there is none, or if they do not tell.
    """
    defaults = {x: facts.questions()[x]["default"] for x in ("accelerator", "precision")}
    whole = {**defaults, **answers}
    if whole.get("task") not in facts.tasks() or whole.get("weights") in GRAPHS:
        return {}
    names, _ = quick({**whole, "backend": PLAIN})
    return {"backend": names[0]} if names and whole["precision"] == EXACT else {}


def fast_backends(answers: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the backends to try in place of eager, in turns, and why not others before them."""
    if answers.get("backend") != PLAIN or answers["precision"] != EXACT:
        return [], []
    return quick(answers)


def without_failed(names: Sequence[str], step: str) -> tuple[list[str], list[str]]:
    """Return the backends that failed, and those that are left to try.

    Args:
        names: What was to be tried; the first has failed.
        step: Of archive.py, in which it failed. Where the network could not be converted, it cannot
            be for another backend that needs the same.
    """
    known = facts.backends()
    forms = [known[name].get("form") for name in names]
    is_shared = step == "conversion" and forms[0] is not None
    failed = [x for x, form in zip(names, forms, strict=True) if is_shared and form == forms[0]]
    failed = failed or [names[0]]
    return failed, [name for name in names if name not in failed]


def item_of(answers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is known of the items that a project takes."""
    return facts.inputs()[tasks()[answers["task"]].facts["input"]]


def noise(project: Path) -> Path:
    """Save an image of the project's own samples, and return it."""
    code = (
        "from tools.samples import sample_images; "
        "open('sample.jpg', 'wb').write(sample_images()['JPEG'])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)
    return project.resolve() / "sample.jpg"
