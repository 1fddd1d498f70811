"""The `ts-template` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

# Heavy modules are imported by the commands that need them: --help must be instant.

app = typer.Typer(
    help="Model services for PyTorch image classifiers: rendered, checked, served.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


class UserError(Exception):
    """Something that the user can mend; the message says how."""


@app.command()
def demo(
    destination: Annotated[
        Path, typer.Argument(help="Folder for the project; must not exist yet.")
    ] = Path("ts-template-demo"),
) -> None:
    """Train a digit classifier, render its service, archive it, and classify held-out digits.

    Takes under a minute on a laptop, and leaves a project to look at.

    Example: ts-template demo my-first-service
    """
    from generator.demo import run_demo

    run_demo(destination)


@app.command()
def catalogue() -> None:
    """Rebuild generator/archs.json from the torchvision that is installed.

    For maintainers, after torchvision has gained an architecture or changed its weights.
    """
    from generator import catalogue as builder
    from generator.rendering import HERE

    builder.write(HERE / "archs.json")
    typer.echo(f"wrote {HERE / 'archs.json'}")


@app.command()
def options(
    question: Annotated[
        str, typer.Argument(help="Print only this question, with all its values.")
    ] = "",
    docs: Annotated[
        bool, typer.Option("--docs", help="Write the tables in the docs anew, for maintainers.")
    ] = False,
) -> None:
    """Print the questions that `copier copy` asks, their values, and what each means.

    Examples: ts-template options / ts-template options architecture
    """
    from rich.console import Console
    from rich.table import Table

    from generator import options as module

    if docs:
        for path in module.write_docs():
            typer.echo(f"wrote {path}")
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
def check(
    answers: Annotated[Path, typer.Argument(help="A file for copier copy --data-file.")],
) -> None:
    """Check a file of answers: unknown keys, bad values, combinations that do not work.

    Example: ts-template check answers.yml
    """
    from generator import options as module

    problems = list(module.check(answers))
    for problem in problems:
        typer.echo(f"{answers}: {problem}", err=True)
    if problems:
        raise SystemExit(1)
    typer.echo(f"{answers}: ok. Use it with: copier copy --data-file {answers} TEMPLATE PROJECT")


@app.command()
def matrix(
    sample: Annotated[
        int, typer.Option(help="Check only so many combinations, drawn at random. 0: all.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides how values are dealt and drawn.")] = 0,
    processes: Annotated[int, typer.Option(help="How many work at once.")] = 2,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Only time the ways to render, in turns.")
    ] = False,
) -> None:
    """Render and check every combination of answers.

    Each failure comes with the `copier copy` line that shows it again.

    Example: ts-template matrix --sample 500
    """
    import random
    import statistics

    from rich.console import Console
    from rich.progress import Progress

    from generator import matrix as module

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


def main() -> None:
    """Run the command line; a UserError ends it with its message and status 1."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
