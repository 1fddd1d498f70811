"""`ts-template demo`: from pictures in folders to predictions of an archive, in one go."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from generator.errors import UserError
from generator.rendering import render, runner
from generator.scripts import Scripts
from generator.torture import serving

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ANSWERS = {
    "project_name": "Handwritten Digits",
    "model_name": "digits",
    "architecture": "custom",
    "color_mode": "L",
    "num_classes": len(NAMES),
    "top_k": 3,
}
AROUND = {"training": True, "evaluation": True, "demo": True}
SIZE = 28  # pixels; what the template's own small network is made for
# Of train.py: so small a network learns fast, and images of 28 pixels need no process to read them.
LEARNING = ("--epochs", "12", "--lr", "0.01", "--batch-size", "16", "--workers", "0")
SHOWN = 5  # images


def run_demo(destination: Path, *, is_opened: bool = False) -> None:
    """Render, train, archive, evaluate and predict, telling what happens.

    Args:
        destination: The folder of the project. Removed again if anything fails.
        is_opened: Whether to serve it at the end, with its page in the browser, until Ctrl-C.

    Raises:
        UserError: The folder exists already.
    """
    if destination.exists():
        raise UserError(f"{destination} exists; name another folder: ts-template demo FOLDER")
    console = Console(highlight=False)
    try:
        make_project(destination, console)
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise
    image = next((destination / "data" / "validation").glob("*/*.png")).relative_to(destination)
    console.print(
        f"\n[bold]{destination}[/] is a project as `copier copy` makes it. "
        "Look at its README.md; then:\n\n"
        f"    cd {shlex.quote(str(destination))}\n"
        f"    {runner()}python serve.py\n"
        f"    curl -T {image} http://127.0.0.1:8080/predictions/digits\n"
        f"    {runner()}python demo.py --open\n",
        soft_wrap=True,
    )
    if is_opened:
        show(destination, console)


def make_project(destination: Path, console: Console) -> None:
    """Do the demo's work in `destination`."""
    console.print("[bold]1.[/] Render a project for ten handwritten digits, 28 x 28, grayscale")
    note = render(destination, {**ANSWERS, **AROUND}).note
    if note:
        console.print(f"   {note}", markup=False, soft_wrap=True)
    write_images(destination / "data")

    training, validation = destination / "data" / "train", destination / "data" / "validation"
    # With one thread so small a network learns faster, and the same everywhere.
    with Scripts(OMP_NUM_THREADS="1") as scripts:
        console.print("[bold]2.[/] Train its network on scikit-learn's digits: python train.py")
        words = [str(training), "--validation", str(validation), *LEARNING]
        scripts.run(destination, "train.py", *words)

        console.print("[bold]3.[/] Build the archive: python archive.py")
        scripts.run(destination, "archive.py")

        console.print("[bold]4.[/] Measure it with digits that it has not seen: python evaluate.py")
        words = [str(validation), "--against", str(destination / "runs" / "1")]
        scripts.run(destination, "evaluate.py", *words)

        console.print(f"[bold]5.[/] Classify {SHOWN} of them: python predict.py")
        images = sorted(validation.glob("*/*.png"))
        chosen = images[:: len(images) // SHOWN][:SHOWN]
        scripts.run(destination, "predict.py", *map(str, chosen))


def write_images(folder: Path) -> None:
    """Write the digits as PNGs, in a folder for each class: four fifths in train."""
    images, classes = load_images()
    parts = train_test_split(
        images, classes, np.arange(len(images)), test_size=0.2, random_state=0, stratify=classes
    )
    train_x, test_x, train_y, test_y, train_numbers, test_numbers = parts
    for part, *columns in (
        ("train", train_x, train_y, train_numbers),
        ("validation", test_x, test_y, test_numbers),
    ):
        for pixels, index, number in zip(*columns, strict=True):
            path = folder / part / NAMES[index] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, scaled up: uint8 (1797, 28, 28), and their classes (1797,)."""
    digits = load_digits()
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    large = [Image.fromarray(x).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for x in small]
    return np.stack([np.asarray(image) for image in large]), digits.target


def build_model(path: Path) -> nn.Module:
    """Return the network of a rendered project, from its model.py, seeded."""
    spec = importlib.util.spec_from_file_location("demo_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.build_model(len(NAMES))
    return network


def show(project: Path, console: Console) -> None:
    """Serve a project, with its page in the browser, until Ctrl-C."""
    console.print("[bold]6.[/] Serve it, with a page: python serve.py, python demo.py --open")
    with serving(project) as (url, *_), contextlib.suppress(KeyboardInterrupt):
        command = [sys.executable, "demo.py", "--open", "--port", "0", "--url", url]
        subprocess.run(command, cwd=project, check=False)
