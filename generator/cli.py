"""The `ts-template` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def main() -> None:
    """Run the command line; a UserError ends it with its message and status 1."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
