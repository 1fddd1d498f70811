"""`ts-template demo`: from training data to predictions of an archive, in one go."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from generator.errors import UserError
from generator.rendering import render, runner

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ANSWERS = {
    "project_name": "Handwritten Digits",
    "model_name": "digits",
    "architecture": "custom",
    "num_classes": len(NAMES),
    "top_k": 3,
}
SIZE = 28  # pixels; what the template's own small network is made for
EPOCHS = 25
BATCH = 64


def run_demo(destination: Path) -> None:
    """Train, render, archive and predict, telling what happens.

    Args:
        destination: The folder of the project. Removed again if anything fails.

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
    image = min((destination / "pictures").iterdir()).relative_to(destination)
    console.print(
        f"\n[bold]{destination}[/] is a project as `copier copy` makes it. "
        "Look at its README.md; then:\n\n"
        f"    cd {shlex.quote(str(destination))}\n"
        f"    {runner()}python serve.py\n"
        f"    curl -T {image} http://127.0.0.1:8080/predictions/digits\n",
        soft_wrap=True,
    )


def make_project(destination: Path, console: Console) -> None:
    """Do the demo's work in `destination`."""
    console.print("[bold]1.[/] Render a project for ten handwritten digits, 28 x 28, grayscale")
    note = render(destination, ANSWERS).note
    if note:
        console.print(f"   {note}", markup=False, soft_wrap=True)
    labels = {str(index): name for index, name in enumerate(NAMES)}
    (destination / "index_to_name.json").write_text(json.dumps(labels, indent=2) + "\n")

    console.print("[bold]2.[/] Train its model.py on scikit-learn's digits")
    images, classes = load_images()
    train_x, test_x, train_y, test_y = train_test_split(
        images, classes, test_size=0.2, random_state=0, stratify=classes
    )
    network = train(build_model(destination / "service" / "model.py"), train_x, train_y, console)
    torch.save(network.state_dict(), destination / "weights" / "digits.pth")

    console.print("[bold]3.[/] Build the archive: python archive.py")
    run(destination, "archive.py")

    console.print(
        f"[bold]4.[/] Classify {len(test_y)} digits that it has not seen: python predict.py"
    )
    folder = destination / "pictures"
    folder.mkdir()
    paths = []
    for index, (image, label) in enumerate(zip(test_x, test_y, strict=True)):
        paths.append(folder / f"{index:03}-{NAMES[label]}.png")
        Image.fromarray(image).save(paths[-1])
    names = [str(path.relative_to(destination)) for path in paths]
    predictions = json.loads(run(destination, "predict.py", "--json", *names, quiet=True))
    bests = [prediction[0] for prediction in predictions]
    for name, best in list(zip(names, bests, strict=True))[:5]:
        console.print(f"   {name:26} [green]{best['label']:6}[/] {best['probability']:.1%}")
    right = sum(best["index"] == label for best, label in zip(bests, test_y, strict=True))
    console.print(f"   right: {right} of {len(bests)} ({right / len(bests):.1%})")


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
    torch.manual_seed(0)
    network: nn.Module = module.build_model(len(NAMES))
    return network


def train(network: nn.Module, x: np.ndarray, y: np.ndarray, console: Console) -> nn.Module:
    """Train on images uint8 (N, 28, 28) and classes (N,); seeded, on one thread."""
    images = torch.from_numpy(x)[:, None].float() / 255
    classes = torch.from_numpy(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    shuffle = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster for so small a network, and the same everywhere
    for _ in track(range(EPOCHS), description="   training", console=console):
        for batch in torch.randperm(len(classes), generator=shuffle).split(BATCH):
            loss = nn.functional.cross_entropy(network(images[batch]), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return network.eval()


def run(project: Path, script: str, *arguments: str, quiet: bool = False) -> str:
    """Run a script of the project in this environment and return what it printed.

    Raises:
        UserError: It failed.
    """
    command = [sys.executable, script, *arguments]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"{script} failed:\n{result.stdout}{result.stderr}")
    if not quiet:
        print("".join(f"   {line}\n" for line in result.stdout.splitlines() if line), flush=True)
    return result.stdout
