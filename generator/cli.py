"""The `ts-template` command."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generator import completion
from generator.errors import UserError

if TYPE_CHECKING:
    from generator.making import Changes
    from generator.tuning import Settings

# Heavy modules are imported by the commands that need them: --help must be instant.

app = typer.Typer(
    help="Services for PyTorch models: rendered, checked, served.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

# Options that several commands have.
Data = Annotated[
    list[str] | None,
    typer.Option(
        "-d",
        "--data",
        help="An answer, as for copier copy: question=value.",
        autocompletion=completion.answers,
    ),
]
LabelOrder = Annotated[
    str,
    typer.Option(
        help="What the keys of the label file are, or its order, if the files do not show it: "
        "folders (their names in training) or outputs.",
        autocompletion=completion.one_of("folders", "outputs"),
    ),
]
Defaults = Annotated[
    bool, typer.Option("--defaults", help="Ask nothing: what the files do not tell is assumed.")
]


@app.command()
def demo(
    destination: Annotated[
        Path, typer.Argument(help="Folder for the project; must not exist yet.")
    ] = Path("ts-template-demo"),
    is_opened: Annotated[
        bool, typer.Option("--open", help="Serve it at the end, with its page in the browser.")
    ] = False,
) -> None:
    """Render a digit classifier's service, train it, archive it, and measure it on held-out digits.

    Takes under a minute on a laptop, and leaves a project to look at.

    Examples: ts-template demo / ts-template demo my-first-service --open
    """
    from generator.demo import run_demo

    run_demo(destination, is_opened=is_opened)


@app.command()
def start(
    folder: Annotated[
        Path, typer.Argument(help="The folder whose files it shows, and where it makes projects.")
    ] = Path(),
    port: Annotated[int, typer.Option(help="On this machine alone; 0 takes a free one.")] = 0,
    is_opened: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Ask in a local web page, which shows the project while the answers change.

    Examples: ts-template start / ts-template start ~/runs --port 8000 --no-open
    """
    from generator.page.server import start as serve

    serve(folder, port, is_opened=is_opened)


@app.command()
def new(
    destination: Annotated[Path, typer.Argument(help="Folder for the project; must be new.")],
    weights: Annotated[Path | None, typer.Option(help="The checkpoint, as it was saved.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="The names of the classes: a file, or an ImageFolder tree."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d",
            "--data",
            help="An answer, as for copier copy: question=value. Or in place of --weights data "
            "with labels, a folder or a file, on which the network is trained.",
            autocompletion=completion.answers,
        ),
    ] = None,
    defaults: Defaults = False,
    model: Annotated[
        Path | None,
        typer.Option(help="For a network of your own: the file with build_model(num_classes)."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Predict for this image at the end.")] = None,
    label_order: LabelOrder = "",
    tune: Annotated[
        list[Path] | None,
        typer.Option(help="Find what is fastest, as `ts-template tune` does, with these images."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="With data: others to validate with; else a fifth of them is taken."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="With data: a checkpoint to begin training with.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With data: begin with random weights.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(help="With data: how often to go through them; else 20, texts 5.")
    ] = None,
) -> None:
    """From a checkpoint, or data with labels, to a service that has predicted.

    It inspects them, asks, renders, trains if need be, builds the archive and predicts. What the
    files tell is not asked; -d comes before both. What runs the network is ONNX Runtime where that
    predicts as PyTorch does, unless another backend is answered.

    Examples: ts-template new my-service --weights best.pth --labels classes.txt /
    ts-template new my-service --weights best.pth --labels data/train --defaults --picture cat.jpg /
    ts-template new my-service --data data/train --epochs 10
    """
    from generator import tuning
    from generator.compiled import remember
    from generator.options import parse

    remember()
    words, sets = answers_and_data(data or [])
    answers = parse(words)
    settings = tuning.Settings(
        tune or [], fixed={name: x for name, x in answers.items() if name in tuning.CHOICES}
    )
    if tune:
        settings.files  # noqa: B018  # refuses what is not there
    more = {"--validation": validation, "--from": start, "--epochs": epochs}
    options = [name for name, value in more.items() if value is not None]
    options += ["--from-scratch"] * from_scratch
    common: dict[str, Any] = {
        "ask": not defaults,
        "model": model,
        "picture": picture,
        "label_order": label_order,
        "tuned": (lambda project: tuned_new(project, settings, defaults)) if tune else None,
    }
    if weights is not None and sets:
        raise UserError(
            f"--weights {weights} is a checkpoint to serve, and --data {sets[0]} is to train on; "
            "name one of them. To begin training with a checkpoint: --data DATA --from FILE"
        )
    if weights is not None:
        if options:
            raise UserError(f"{options[0]} is for training, which needs --data")
        from generator.new import make_project

        make_project(destination, weights, labels, answers, **common)
        return
    if len(sets) != 1:
        raise UserError(
            "name a checkpoint to serve, --weights FILE, or one folder or file of data with labels "
            "to train on: --data DATA"
        )
    if start is not None and from_scratch:
        raise UserError("name --from or --from-scratch, not both")
    from generator.data_sets import make_from_data

    options = ["--from-scratch"] * from_scratch
    options += ["--epochs", str(epochs)] if epochs is not None else []
    make_from_data(
        *(destination, sets[0], labels, answers),
        **common,
        validation=validation,
        start=start,
        options=options,
    )


def answers_and_data(words: list[str]) -> tuple[list[str], list[Path]]:
    """Return which of the values of -d are answers, and which are data to train on.

    What begins with a question and = is an answer, whatever files there are.
    """
    from generator.options import questions

    answers = [word for word in words if "=" in word and word.partition("=")[0] in questions()]
    others = [word for word in words if word not in answers]
    data = [Path(word) for word in others if "=" not in word or Path(word).exists()]
    return [word for word in words if Path(word) not in data], data


def tuned_new(project: Path, settings: Settings, is_wanted: bool) -> Changes | None:
    """Tune a new project, and return what to give it."""
    from generator import tuning
    from generator.answers_file import questions_in
    from generator.making import Changes

    answers, setting = tuned(project, settings, Path(f"{project.resolve()}-tune"))
    if not (answers or setting) or not (is_wanted or asked(f"Give {project} that?")):
        return None
    task = questions_in(project)["task"]
    return Changes(answers, tuning.archive_options(task, answers, settings), setting)


@app.command()
def adopt(
    folder: Annotated[Path, typer.Argument(help="The folder with the handler and the rest.")],
    handler: Annotated[
        Path | None, typer.Option(help="The handler, if there are several files that may be it.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The checkpoint, if the files there do not name it.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The names of the classes, if the files do not tell.")
    ] = None,
    data: Data = None,
    defaults: Defaults = False,
    label_order: LabelOrder = "",
) -> None:
    """From a hand-written handler, model file and archive command to a project in the same folder.

    They are read, never run. `git diff` then shows what changes.

    Examples: ts-template adopt my-service / ts-template adopt . --weights ~/runs/best.pth
    """
    from generator.adopt import adopt as adopt_service
    from generator.options import parse

    adopt_service(
        folder,
        parse(data or []),
        ask=not defaults,
        handler=handler,
        weights=weights,
        labels=labels,
        label_order=label_order,
    )


@app.command()
def inspect(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint, as it was saved.")],
    labels: Annotated[
        Path | None, typer.Option(help="The names of the classes: a file, or a folder of folders.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    answers: Annotated[
        Path | None, typer.Option(help="Write a file for copier copy --data-file.")
    ] = None,
    label_order: LabelOrder = "",
) -> None:
    """Tell what a checkpoint is, and which answers follow, without running anything in it.

    What weights cannot tell, it says.

    Examples: ts-template inspect best.pth / ts-template inspect best.pth --labels names.txt
    """
    from generator.inspection import inspect_file, report

    inspection = inspect_file(checkpoint)
    found = None
    if labels is not None:
        from generator.labels import inspect_labels

        found = inspect_labels(labels, inspection.classes, inspection.class_names, label_order)
    if answers is not None:
        report.write_answers(answers, inspection, found)
    if as_json:
        typer.echo(report.as_json(inspection, found))
    else:
        report.show(inspection, found, labels, answers)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint, or the index of its parts.")],
    target: Annotated[Path, typer.Argument(help="The file to write, as torch.save does.")],
) -> None:
    """Write the plain state_dict of a checkpoint in the layout of another tool.

    It may be pruned, in several files, of MMPretrain, of an old timm, or have compiled parts.
    Nothing in it is run.

    Example: ts-template convert pruned.pth my-service/weights/plain.pth
    """
    from generator.layouts import convert as write

    for note in write(checkpoint, target):
        typer.echo(note)
    typer.echo(f"wrote {target}")


@app.command()
def labels(
    file: Annotated[Path, typer.Argument(help="The names of the classes, in whatever form.")],
    project: Annotated[Path, typer.Argument(help="The project whose label file is written.")],
    weights: Annotated[
        Path | None, typer.Option(help="The checkpoint, if its class_to_idx gives the order.")
    ] = None,
    label_order: LabelOrder = "",
) -> None:
    """Write the label file of a project from a file that the project does not read.

    It may be COCO's categories, YAML, JSON lines, TensorFlow's label map, or have names of folders
    as its keys.

    Example: ts-template labels instances_val2017.json my-service
    """
    from generator.labels import write_into

    path, names, notes = write_into(project, file, weights, label_order)
    for note in notes:
        typer.echo(note)
    typer.echo(f"wrote {path}: {names}")


@app.command()
def catalogue(
    timm: Annotated[
        bool, typer.Option("--timm", help="Rebuild what is known of timm's networks, too: minutes.")
    ] = False,
) -> None:
    """Rebuild what is known of the networks of the torchvision that is installed.

    For maintainers, after torchvision has gained an architecture or changed its weights.
    """
    from generator import catalogue as builder
    from generator.inspection import modules, signatures

    builder.write(builder.ARCHS_PATH)
    signatures.write()
    modules.write()
    written = [builder.ARCHS_PATH, signatures.PATH, modules.PATH]
    if timm:
        signatures.write_timm()
        signatures.write_timm_transforms()
        written += [signatures.TIMM_PATH, signatures.TIMM_TRANSFORMS_PATH]
    for path in written:
        typer.echo(f"wrote {path}")


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="The version, as PEP 440 has them: 1.2.0.")],
) -> None:
    """Name what is committed a release: changelog, version, commit, tag. For maintainers.

    Push it with: git push --follow-tags

    Example: ts-template release 1.2.0
    """
    from generator.release import make_release

    make_release(version)
    typer.echo(f"released {version}; publish it with: git push --follow-tags")


@app.command()
def options(
    question: Annotated[
        str,
        typer.Argument(
            help="Print only this question, with all its values.",
            autocompletion=completion.questions,
        ),
    ] = "",
    docs: Annotated[
        bool,
        typer.Option(
            "--docs", help="Write the tables in the docs and the schema, for maintainers."
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print a JSON Schema of files of answers, for editors.")
    ] = False,
) -> None:
    """Print the questions that `copier copy` asks, their values, and what each means.

    `ts-template presets` has ready answers.

    Examples: ts-template options / ts-template options architecture / ts-template options
    --schema > answers.schema.json
    """
    from rich.console import Console
    from rich.table import Table

    from generator import options as module
    from generator.origin import SCHEMA
    from generator.rendering import template_root

    if docs:
        for path in module.write_docs():
            typer.echo(f"wrote {path}")
        return
    if schema:
        path = template_root() / SCHEMA
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    known = module.questions()
    if question and question not in known:
        raise UserError(f"there is no question {question}{module.nearest(question, known)}")
    table = Table(show_lines=True)
    for title in ("question", "what it asks", "values", "default"):
        table.add_column(title, overflow="fold")
    for name in [question] if question else known:
        entry = known[name]
        lines = [f"{value}: {text}" if text else value for value, text in entry.values.items()]
        if len(lines) > 10 and not question:
            lines = [f"{len(lines)} of them: ts-template options {name}"]
        table.add_row(name, entry.help, "\n".join(lines) or entry.type, entry.default)
    Console(highlight=False, markup=False).print(table)


@app.command()
def presets(
    name: Annotated[
        str,
        typer.Argument(
            help="Print the answers of this one, to make a file of your own of.",
            autocompletion=completion.presets,
        ),
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Render samples/ anew, for maintainers.")
    ] = False,
) -> None:
    """Print the ready files of answers, for `copier copy --data-file`.

    Each is rendered into a sample project, which is in the repository under samples/.

    Examples: ts-template presets / ts-template presets digits > answers.yml
    """
    import shlex

    from generator import presets as module
    from generator.options import nearest
    from generator.rendering import runner, template_root

    if write:
        for path in module.write_samples():
            typer.echo(f"wrote {path}")
        return
    known = module.presets()
    if name:
        if name not in known:
            raise UserError(f"there is no preset {name}{nearest(name, known)}")
        typer.echo(known[name].text, nl=False)
        return
    for each, preset in known.items():
        words = ["copier", "copy", "--data-file", str(preset.path), str(template_root()), each]
        typer.echo(f"{each}: {preset.title}\n    {runner()}{shlex.join(words)}")


@app.command()
def check(
    answers: Annotated[Path, typer.Argument(help="A file for copier copy --data-file.")],
) -> None:
    """Check a file of answers: unknown keys, bad values, combinations that do not work.

    `copier copy --pretend --data-file` then prints which files would be written.

    Example: ts-template check answers.yml
    """
    import shlex

    from generator import options as module
    from generator.rendering import runner, template_root

    problems = list(module.check(answers))
    for problem in problems:
        typer.echo(f"{answers}: {problem}", err=True)
    if problems:
        raise SystemExit(1)
    words = ["copier", "copy", "--data-file", str(answers), str(template_root()), "PROJECT"]
    typer.echo(f"{answers}: ok. Use it with: {runner()}{shlex.join(words)}")


@app.command()
def diff(
    project: Annotated[Path, typer.Argument(help="The folder of a project.")],
    data: Data = None,
    vcs_ref: Annotated[
        str,
        typer.Option(
            help="A release, branch or commit of the template. [default: the newest release; with "
            "-d, the one that the project has]"
        ),
    ] = "",
    answers_file: Annotated[
        str, typer.Option("-a", "--answers-file", help="The project's, if it has another name.")
    ] = ".copier-answers.yml",
    stat: Annotated[
        bool, typer.Option("--stat", help="Only how many lines change in each file.")
    ] = False,
) -> None:
    """Print what an answer or a newer release would change in a project, which stays as it is.

    That is what `copier update` does, your edits included, committed or not. Where you and the
    template changed the same lines, it says so.

    Examples: ts-template diff my-service / ts-template diff my-service -d backend=onnxruntime
    --stat / ts-template diff . --vcs-ref v1.2.0
    """
    import os
    import sys

    from generator import update
    from generator.options import parse

    words = data or []
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    found = update.difference(
        project, parse(words), vcs_ref, answers_file=answers_file, stat=stat, colour=colour
    )
    sys.stdout.buffer.write(found.text.encode("utf-8", errors="surrogateescape"))
    sys.stdout.flush()
    for name in found.unused:
        typer.echo(f"{name} has no effect with the other answers of {project}", err=True)
    if not found.files:
        typer.echo(f"nothing would change: {project} is so already", err=True)
        return
    count = "1 file" if len(found.files) == 1 else f"{len(found.files)} files"
    releases = f" (template {found.before} to {found.after})" * (found.before != found.after)
    typer.echo(f"{count} would change{releases}. To change them:", err=True)
    typer.echo(f"    {update.command(project, words, vcs_ref, answers_file)}", err=True)
    for name in found.conflicts:
        typer.echo(f"conflict: you and the template changed the same lines of {name}", err=True)


@app.command()
def matrix(
    sample: Annotated[
        int, typer.Option(help="Check only so many combinations, drawn at random. 0: all.")
    ] = 0,
    of: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Only those with this answer: question=value.",
            autocompletion=completion.answers,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides how values are dealt and drawn.")] = 0,
    processes: Annotated[int, typer.Option(help="How many work at once.")] = 2,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Only time the ways to render, in turns.")
    ] = False,
) -> None:
    """Render and check every combination of answers.

    Each failure comes with the `copier copy` line that shows it again.

    Examples: ts-template matrix --sample 500 / ts-template matrix --sample 100 --with
    backend=openvino
    """
    import random
    import statistics

    from rich.console import Console
    from rich.progress import Progress

    from generator import matrix as module
    from generator.options import parse

    if benchmark:
        times = module.benchmark(sample or 20, seed)
        slowest = statistics.median(next(iter(times.values())))
        for way, each in times.items():
            median = statistics.median(each)
            typer.echo(
                f"{way:32} {median:7.1f} ms a render (median of {len(each)}; {min(each):.1f} to "
                f"{max(each):.1f}), {slowest / median:5.1f} times as fast as the first"
            )
        return
    combinations = module.combinations(seed)
    for name, value in parse(of or []).items():
        combinations = [x for x in combinations if x.get(name) == value]
        if not combinations:
            raise UserError(f"no combination has {name}={value}; see ts-template options")
    if sample:
        drawn = random.Random(seed).sample(range(len(combinations)), min(sample, len(combinations)))
        combinations = [combinations[i] for i in sorted(drawn)]  # neighbours have much in common
    with Progress(console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        outcome = module.run(combinations, processes, progress)
    typer.echo(
        f"{outcome.rendered} projects rendered, {outcome.refused} combinations refused as they "
        f"should be, {outcome.distinct} distinct files checked, {outcome.checked} projects "
        f"imported, in {outcome.seconds:.0f} s "
        f"({1000 * outcome.render_seconds / processes / len(combinations):.1f} ms a render in "
        f"{processes} processes)"
    )
    for failure in outcome.failures[:20]:
        typer.echo(f"FAILED {failure}", err=True)
    if outcome.failures:
        raise UserError(f"{len(outcome.failures)} combinations failed")


@app.command()
def torture(
    project: Annotated[Path, typer.Argument(help="The folder of a project, with its archive.")],
    requests: Annotated[int, typer.Option(help="How many requests to send in all.")] = 2000,
    hostile: Annotated[int, typer.Option(help="How many of them are hostile.")] = 200,
    clients: Annotated[int, typer.Option(help="How many clients send at once.")] = 16,
    seed: Annotated[int, typer.Option(help="Decides what is sent.")] = 0,
    engine: Annotated[
        str, typer.Option(help="What serves it, as serve.py takes it. [default: TorchServe]")
    ] = "",
    decode: Annotated[
        int, typer.Option(help="No server: only read so many hostile inputs in-process.")
    ] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write the figures to this file, as Markdown.")
    ] = None,
) -> None:
    """Serve a project under load and hostile input, and check every prediction.

    Hostile are damaged files of every format, bombs, other media, broken JSON, forms and HTTP, and
    connections that are held open. The predictions for good requests must be those of predict.py,
    whatever is sent beside them.

    Example: ts-template torture my-service --requests 10000 --hostile 1000
    """
    from rich.console import Console
    from rich.progress import Progress

    from generator import torture as module

    if not 0 <= hostile <= requests or clients < 1:
        raise UserError("--hostile must be from 0 to --requests, and --clients 1 or more")
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("torture", total=decode or requests)

        def progress(done: int, of: int) -> None:
            bars.update(task, completed=done, total=of)

        if decode:
            command = f"ts-template torture PROJECT --decode {decode} --seed {seed}"
            decoded = module.decode(project, decode, seed, progress)
            text, failed = module.decode_report(decoded, command), bool(decoded.failures)
        else:
            command = (
                f"ts-template torture PROJECT --requests {requests} --hostile {hostile} "
                f"--clients {clients} --seed {seed}"
            )
            command += f" --engine {engine}" * bool(engine)
            outcome = module.torture(project, requests, hostile, clients, seed, progress, engine)
            text, failed = module.report(outcome, command), outcome.failed
    typer.echo(text)
    if report:
        module.write(report, text)
    if failed:
        raise UserError("the service did not withstand; see above")


@app.command()
def tune(
    project: Annotated[Path, typer.Argument(help="The folder of a project, with its weights.")],
    files: Annotated[
        list[Path],
        typer.Argument(help="Images or texts such as will come, or folders with them."),
    ],
    min_agreement: Annotated[
        float | None,
        typer.Option(
            help="Take the fastest whose predictions agree so much with PyTorch's, from 0 to 1. "
            "[default: the fastest that predicts the same]"
        ),
    ] = None,
    budget: Annotated[float, typer.Option(help="Seconds that all may take.")] = 300,
    clients: Annotated[
        str, typer.Option(help="How many send at once to TorchServe, in turns; or none.")
    ] = "1,16",
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 3,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d",
            "--data",
            help="Try only those with this answer: question=value.",
            autocompletion=completion.answers,
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the figures and the plot.")] = Path(
        "ts-template-tune"
    ),
    yes: Annotated[
        bool, typer.Option("--yes", help="Give the project the answers at once.")
    ] = False,
) -> None:
    """Find the backend, precision, decoding, workers and batches that are fastest here.

    All that the project can have is converted, compared, and measured in turns, with files of
    yours. Of files with texts, each line is one.

    Examples: ts-template tune my-service photos/ / ts-template tune my-service a.jpg b.jpg
    --min-agreement 0.99 --yes
    """
    from generator import tuning
    from generator.compiled import remember
    from generator.options import parse

    remember()
    fixed = parse(data or [])
    if unknown := fixed.keys() - set(tuning.CHOICES):
        raise UserError(f"-d {min(unknown)}: expected one of {', '.join(tuning.CHOICES)}")
    counts = [] if clients == "none" else clients.split(",")
    if not all(count.isdecimal() and int(count) for count in counts):
        raise UserError(f"--clients is {clients}; expected numbers, as in 1,16, or none")
    if seconds <= 0 or budget <= 0:
        raise UserError("--seconds and --budget must be more than 0")
    if not 0 <= (min_agreement or 0) <= 1:
        raise UserError(f"--min-agreement is {min_agreement}; expected a number from 0 to 1")
    settings = tuning.Settings(
        files, budget, min_agreement, sorted(map(int, counts)), seconds, fixed
    )
    answers, setting = tuned(project, settings, output)
    if setting and '"--set"' not in (project / "tune.py").read_text(encoding="utf-8"):
        typer.echo(f"The tune.py of {project} is older: it finds workers and batches itself")
        setting = []
    if not (answers or setting):
        return
    commands = tuning.commands_for(project, answers, setting, settings)
    typer.echo("\nFor that, in {}:\n    {}".format(project, "\n    ".join(commands)))
    if yes or asked("Run that now?"):
        tuning.apply(project, commands)
        typer.echo(f"{project} is so now")


def tuned(project: Path, settings: Settings, output: Path) -> tuple[dict[str, str], list[str]]:
    """Tune a project, print and write what was found, and return what `changes_for` does."""
    from generator import tuning, tuning_report

    result = tuning.tune(project, settings, lambda line: typer.echo(line, err=True))
    typer.echo(f"\n{tuning_report.table(result, settings.clients)}\n")
    typer.echo(tuning_report.winners(result))
    tuning_report.write(output, result, settings.clients)
    typer.echo(f"figures and plot: {output}", err=True)
    asked_for = {x: y for x, y in settings.fixed.items() if x in result.candidates[0].answers}
    if not asked_for.items() <= result.wanted.answers.items():
        typer.echo(f"\nNothing that was asked for can be had; {project} stays as it is.")
        return {}, []
    answers, setting = tuning.changes_for(project, result)
    if not (answers or setting):
        typer.echo(f"\n{project} is so already.")
    return answers, setting


def asked(question: str) -> bool:
    """Ask for a yes, if there is a terminal."""
    import sys

    return sys.stdin.isatty() and typer.confirm(question)


@app.command()
def bench(
    output: Annotated[Path, typer.Option(help="Folder for the report; must be new.")] = Path(
        "ts-template-bench"
    ),
    models: Annotated[
        str,
        typer.Option(
            help="resnet18, mobilenet_v3_small, vit_b_16, digits; detectors: "
            "ssdlite320_mobilenet_v3_large, fasterrcnn_mobilenet_v3_large_320_fpn; segmenters: "
            "lraspp_mobilenet_v3_large, deeplabv3_mobilenet_v3_large; or all."
        ),
    ] = "resnet18",
    pictures: Annotated[
        str, typer.Option(help="640x480, 1920x1080, 4000x3000, for digits 28x28; or all.")
    ] = "28x28,640x480",
    clients: Annotated[str, typer.Option(help="How many send at once, in turns.")] = "1,4,16",
    contenders: Annotated[
        str,
        typer.Option(
            help="handler (TorchServe's own), handler-one-thread, handler-batches, tutorial, ours, "
            "limit (ours without a server), asgi, litserve, ray, bentoml; ours-BACKEND, "
            "ours-BACKEND-PRECISION, asgi-BACKEND."
        ),
    ] = "",
    targets: Annotated[
        bool,
        typer.Option("--targets", help="The table of docs/benchmarks.md: its models and all else."),
    ] = False,
    rounds: Annotated[int, typer.Option(help="How often all is repeated, in another order.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 3,
    broken: Annotated[
        int, typer.Option(help="One image of so many breaks off, for example 20; 0: none does.")
    ] = 0,
    add: Annotated[
        bool, typer.Option("--add", help="Add the rounds to those in the folder.")
    ] = False,
    plot: Annotated[
        str,
        typer.Option(
            help="svg, png or none.", autocompletion=completion.one_of("svg", "png", "none")
        ),
    ] = "svg",
    peers_python: Annotated[
        Path | None, typer.Option(help="The Python that has LitServe, Ray Serve, BentoML.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d",
            "--data",
            help="An answer for ours: question=value.",
            autocompletion=completion.answers,
        ),
    ] = None,
) -> None:
    """Measure a project of this template beside other servers of the same model, in turns.

    Every prediction is checked. The report has throughput, p50, p99, start and memory, as ratios.

    Examples: ts-template bench / ts-template bench --models all --pictures all --output big /
    ts-template bench --contenders handler-one-thread,ours-onnxruntime --rounds 5 /
    ts-template bench --models all --contenders handler-one-thread,handler-batches,ours --broken 20
    """
    import sys

    from generator.bench import cases, report
    from generator.bench import rounds as module
    from generator.bench.contenders import BASIC, TARGETS
    from generator.options import parse

    if plot not in ("svg", "png", "none"):
        raise UserError(f"--plot is {plot}; expected svg, png or none")
    if plot != "none":
        report.refuse_without_matplotlib()
    if rounds < 0 or seconds <= 0 or broken < 0 or broken == 1:
        raise UserError(
            "--rounds must not be less than 0, --seconds more than 0, and --broken 0, 2 or more"
        )
    if targets:
        chosen = {model: [size] for model, size in report.TARGET_CASES}
    else:
        wanted = picked("--pictures", pictures, cases.SIZES)
        chosen = {
            model: cases.sizes_for(model, wanted)
            for model in picked("--models", models, cases.MODELS)
        }
    for model, sizes in chosen.items():
        if not sizes:
            raise UserError(f"none of --pictures {pictures} is for {model}")
    counts = clients.split(",")
    if not all(count.isdecimal() and int(count) for count in counts):
        raise UserError(f"--clients is {clients}; expected numbers, as in 1,4,16")
    settings = module.Settings(
        cases=chosen,
        contenders=(contenders or (TARGETS if targets else BASIC)).split(","),
        clients=sorted(map(int, counts)),
        rounds=rounds,
        seconds=seconds,
        broken=broken,
        output=output.absolute(),  # what is measured runs in folders of its own
        add=add,
        peers_python=(peers_python or Path(sys.executable)).absolute(),
        data=parse(data or []),
    )
    result = module.bench(settings, lambda line: typer.echo(line, err=True))
    if rounds:
        result["commands"].append(report.command_line())
    typer.echo(report.finish(output, result, plot))
    typer.echo(f"written to {output}", err=True)


def picked(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """Return the values of an option with commas in between."""
    values = list(known) if text == "all" else text.split(",")
    if unknown := [value for value in values if value not in known]:
        raise UserError(f"{option} is {text}; {unknown[0]} is none of {', '.join(known)}")
    return values


def main() -> None:
    """Run the command line; a UserError ends it with its message and status 1."""
    # `kill` ends it as Ctrl-C does: what it has started is stopped, what is half written removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    completion.join_words()
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
