"""What `ts-template new` does once the answers are known: render, train, archive, predict."""

from __future__ import annotations

import ast
import contextlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from generator import facts
from generator.answers_file import answers_in, questions_in
from generator.conditions import without_effect
from generator.errors import UserError
from generator.inspection.reading import GRAPHS
from generator.inspection.refusals import printable
from generator.rendering import Rendered, render, runner
from generator.scripts import ScriptError, Scripts, environment, trusted
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


@dataclass
class Making:
    """A project that is being made.

    Attributes:
        project: its folder.
        put: puts the user's files into it.
        console: gets what is done.
        stack: ends what runs the project's scripts.
        existed: whether there was an empty folder.
        number: of the step; the first is reading what the user has named.
        scripts: what runs the project's scripts, once it has been started.
    """

    project: Path
    put: Callable[[], None]
    console: Console
    stack: contextlib.ExitStack
    existed: bool
    number: int = 1
    scripts: Scripts | None = None

    def begin(self, title: str) -> None:
        """Print what is done next."""
        self.number += 1
        self.console.print(f"{self.number}. {title}")

    def start(self) -> Scripts:
        """Start what runs the project's scripts; it imports torch meanwhile."""
        self.scripts = self.stack.enter_context(Scripts())
        return self.scripts

    def run(
        self, script: str, *arguments: str, timeout: float | None = None, advice: str = ""
    ) -> None:
        """Run a script of the project.

        Args:
            script: The file in it.
            arguments: Of its command line.
            timeout: Seconds after which it is ended.
            advice: What to do if it fails; "" for the archive, which is to be built again.

        Raises:
            ScriptError: It failed; the message ends with the command that goes on.
        """
        rendered = f"\n{self.project} is rendered and has your files."
        command = inside(self.project, "python archive.py")
        advice = advice or f"{rendered} Fix it there, then: {command}"
        scripts = self.scripts or self.start()
        try:
            scripts.run(self.project, script, *arguments, advice=advice, timeout=timeout)
        except KeyboardInterrupt:
            self.console.print(f"{rendered} To go on: {command}")
            raise

    def render(
        self,
        known: Mapping[str, Any],
        likely: Mapping[str, Any],
        given: Collection[str],
        *,
        ask: bool,
        may_choose: bool,
    ) -> tuple[Rendered, list[str], str]:
        """Render the project, and give it the user's files.

        Args:
            known: Answers by question.
            likely: Answers that are asked, or assumed.
            given: Which of the known ones are the user's.
            ask: Whether to ask what is left.
            may_choose: Whether another backend than eager may be taken.

        Returns:
            What was rendered; the backends to try in place of eager, in turns; why not others.

        Raises:
            UserError: An answer is not valid, or one of the user's has no effect.
        """
        with emptied_by_errors(self.project, self.existed):
            # Rendered with it at once where nobody is asked: to render twice takes a second.
            guess = likely_backend({**likely, **known}) if may_choose and not ask else {}
            rendered = render(self.project, known, proposals={**likely, **guess}, ask=ask)
            chosen = answers_in(self.project)
            questions = facts.questions()  # whose defaults may be answered, asked or not
            lost = [name for name in given if known[name] != questions[name].get("default")]
            for problem in without_effect(lost, chosen):
                raise UserError(problem)
            has_backend = "backend" in chosen
            if guess and has_backend:
                chosen["backend"] = PLAIN
            # Who was asked has seen the question, with eager as its default.
            if ask and rendered.answers.get("change_rest"):
                may_choose = False
            fast, reasons = fast_backends(chosen) if may_choose else ([], [])
            why = f" ({'; or '.join(reasons)})" if reasons else ""
            if why and not fast:
                self.console.print(f"   backend: {PLAIN}{why}")
            wanted = {"backend": fast[0] if fast else PLAIN} if has_backend else {}
            if guess == wanted or not (guess or fast):
                self.put()
            else:
                self.render_again(**wanted)
        return rendered, fast, why

    def render_again(self, **changed: Any) -> None:
        """Render the project, which nobody has changed yet, with other answers.

        It gets its files back, and what it has learned stays.
        """
        project = self.project
        answers = questions_in(project)
        labels = facts.labels()[answers.get("label_format", "none")]["file"]
        is_trained = (project / "runs").exists()
        with contextlib.nullcontext() if is_trained else emptied_by_errors(project, self.existed):
            for path in project.iterdir():
                if not (is_trained and path.name in ("runs", "weights", labels)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            render(project, {**answers, **changed}, overwrite=True)
            self.put()

    def archive(self, fast: Sequence[str], why: str) -> None:
        """Build the archive with the first of these backends that predicts as eager does, or that.

        Args:
            fast: Backends; the project has the first of them, or eager without one.
            why: Why not others before them, for people.
        """
        self.begin("Build the archive: python archive.py")
        first, reason = next(iter(fast), ""), ""
        if fast:
            self.console.print(f"   backend: {fast[0]}, if it predicts as {PLAIN} does{why}")
        while fast:
            try:
                self.run("archive.py", *trusted(self.project), timeout=PATIENCE)
            except ScriptError as error:
                if error.step not in BLAMED and not error.is_late:
                    raise
                failed, fast = without_failed(fast, error.step)
                reason = printable(error.reason.splitlines()[0])
            else:
                self.console.print(
                    f"   backend: {fast[0]}, which predicts as {PLAIN} does and is mostly faster "
                    f"(another: -d backend={PLAIN})"
                )
                return
            following = f"{fast[0]}, if it predicts as {PLAIN} does" if fast else PLAIN
            self.console.print(f"   backend: {following}, not {' or '.join(failed)}: {reason}")
            self.render_again(backend=fast[0] if fast else PLAIN)
            self.start()
        try:
            self.run("archive.py", *trusted(self.project))
        except ScriptError as error:
            if first and printable(error.reason.splitlines()[0]) == reason:
                self.console.print(
                    f"   backend: {first} again, as {PLAIN} fails for the same reason"
                )
                self.render_again(backend=first)
            raise

    def predict(self, item: Mapping[str, Any], picture: Path | None) -> None:
        """Predict for an image of the user's, or for one of noise; for a text likewise."""
        self.begin(f"Predict for {item['one']}: python predict.py")
        if item["is_written"]:
            words = ["--files", str(picture.resolve())] if picture else ["This is a good one."]
            self.run("predict.py", *words)
            return
        sample = picture.resolve() if picture else noise(self.project)
        another = inside(self.project, f"python predict.py {item['metavar']}")
        advice = f"\n{self.project} has its archive. To try another image: {another}"
        self.run("predict.py", str(sample), advice=advice)
        if picture is None:
            sample.unlink()
            self.console.print("   (an image of noise, so any prediction will do)")

    def measure(self, validation: Path) -> None:
        """Compare the archive with what the training said."""
        self.begin("Measure the archive, and compare with training: python evaluate.py")
        run = self.project / "runs" / "1"
        self.run("evaluate.py", str(validation), "--against", str(run))

    def tune(self, tuned: Callable[[Path], Changes | None]) -> None:
        """Give the project what is fastest for it."""
        self.begin("Tune")
        changes = tuned(self.project)
        if changes and changes.answers:
            self.render_again(**changes.answers)
            words = ["archive.py", *changes.options, *trusted(self.project)]
            self.begin(f"Build the archive: {shlex.join(['python', *words])}")
            self.start()
            self.run(*words)
        if changes and changes.setting:
            self.begin(f"Set workers and batches: {shlex.join(['python', *changes.setting])}")
            self.run(*changes.setting)


def make(
    destination: Path,
    known: Mapping[str, Any],
    likely: Mapping[str, Any],
    put: Callable[[], None],
    console: Console,
    *,
    ask: bool,
    given: Collection[str],
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
        given: Which of the known answers are the user's.
        assumed: Tells of the project's answers what is assumed.
        training: How its network is trained; None if it has its weights.
        picture: The image to predict for at the end; None takes an image of noise.
        tuned: Finds what is fastest for the project, which is then rendered with it.

    Raises:
        UserError: The files do not make a service; the message says why. The project is removed,
            unless it is a script of its own that refuses: that names the command that fixes it.
    """
    with contextlib.ExitStack() as stack:
        making = Making(destination, put, console, stack, existed=destination.exists())
        if training is None:
            making.start()
        making.begin(f"Render {destination}")
        may_choose = not ("backend" in given or tuned)
        rendered, fast, why = making.render(known, likely, given, ask=ask, may_choose=may_choose)
        chosen = answers_in(destination)
        if not ask:
            for line in assumed(chosen):
                console.print(f"   {printable(line)}")
        if rendered.note:
            console.print(f"   {rendered.note}")
        if training is not None:
            making.begin(f"Train: {shlex.join(['python', 'train.py', *training.arguments])}")
            train(destination, training)
        making.archive(fast, why)
        item = item_of(chosen)
        making.predict(item, picture)
        if training is not None and training.validation is not None and chosen["evaluation"]:
            making.measure(training.validation)
        if tuned is not None:
            making.tune(tuned)
    name = next((destination / "model-store").glob("*.mar")).stem
    engines = [path.parent.name for path in sorted(destination.glob("deploy/*/server.py"))]
    others = "".join(f"    {serving_with(x)}    # or this\n" for x in engines)
    console.print(
        f"\n{destination} works. Its README.md tells the rest; next:\n\n"
        f"    cd {shlex.quote(str(destination))}\n"
        '    git init && git add -A && git commit -m "Start"\n'
        f"    {runner()}python serve.py\n{others}"
        f"    curl -T {item['metavar']} http://127.0.0.1:8080/predictions/{name}\n"
    )


def serving_with(engine: str) -> str:
    """Return the command that serves with an engine other than TorchServe."""
    needed = f"deploy/{engine}/requirements.txt"
    start = runner(needed) or f"pip install -r {needed} && "
    return f"{start}python serve.py --engine {engine}"


def refuse_no_network(path: Path | None) -> None:
    """Raise UserError for a file of Python that defines no build_model."""
    if path is None:
        return
    try:
        nodes = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no Python that can be read: {error}") from error
    if {"build_model", "*"} & {name for node in nodes for name in bound_by(node)}:
        return
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    name = classes[-1] if classes else "Network"
    defined = ", ".join([*classes, *functions]) or "nothing"
    raise UserError(
        f"{path} does not define build_model(num_classes), which returns the untrained network; it "
        f"defines {defined}. Add, as it was built in training:\n"
        "    def build_model(num_classes: int) -> nn.Module:\n"
        f"        return {name}(...)"
    )


def bound_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a file binds; those inside of it as well."""
    for part in ast.walk(node):
        match part:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name


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
