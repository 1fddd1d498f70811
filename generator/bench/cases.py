"""What is measured: networks with weights, images, and the predictions that are right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.bench import images as photographs
from generator.bench.networks import classifier, kind_of, names
from generator.tasks import serving

if TYPE_CHECKING:
    from torch import nn

DIGITS = "digits"  # the small network of one's own that the demo trains
MODELS = (*names(), DIGITS)
SMALL = "28x28"  # for the digits; the others get photographs
SIZES = (SMALL, *photographs.SIZES)

NETWORK = '''\
"""The network, as TorchServe's eager mode wants it: one class, made without arguments."""

from torch import nn
{import_line}


class Network(nn.Module):
    """Wraps it."""

    def __init__(self):
        super().__init__()
        self.network = {call}

    def forward(self, images):
        """Return what the network does."""
        return self.network(images)
'''
DIGITS_TRANSFORMS = """\
from torchvision import transforms

MODE = "L"
transform = transforms.ToTensor()
"""


@dataclass(frozen=True)
class Model:
    """A network with its weights on the disk.

    Attributes:
        name: as the command line has it.
        folder: network.py with the class Network, weights.pth with its state_dict, images.py with
            its transforms: what servers other than ours are given.
        weights: the state_dict of the network itself: what our projects are given.
        answers: what a project for it is rendered with.
        examples: a folder with further images of the same classes.
        images: the files, by size.
        expected: what is right for each of them, as JSON, computed in-process.
    """

    name: str
    folder: Path
    weights: Path
    examples: Path
    answers: dict[str, Any]
    images: dict[str, list[Path]]
    expected: dict[str, list[Any]]

    @property
    def kind(self) -> str:
        """The name of the module in `generator.bench.networks` that knows what is right."""
        return classifier.KIND if self.is_digits else kind_of(self.name).KIND

    @property
    def built_in(self) -> str:
        """TorchServe's name of its own handler for it."""
        return serving(self.kind)[0].built_in

    @property
    def is_digits(self) -> bool:
        """Tell whether it reads small grayscale images."""
        return self.name == DIGITS


def sizes_for(model: str, sizes: Sequence[str]) -> list[str]:
    """Return the sizes that make sense for a model."""
    return [size for size in sizes if (size == SMALL) == (model == DIGITS)]


def make_model(name: str, sizes: Sequence[str], folder: Path) -> Model:
    """Make a network, its weights, its images and the right predictions. Always the same.

    The weights of the digits are trained in earnest; those of others are random, but for a last
    layer that `generator.bench.networks` sees to.
    """
    import torch

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    if name == DIGITS:
        network, images = make_digits(folder)
        import_line, call = "from digits_model import build_model", "build_model(10)"
        batch = photographs.read(images[SMALL], DIGITS_TRANSFORMS)
        expected = {SMALL: classifier.best_classes(network, batch)}
    else:
        kind = kind_of(name)
        pictures = photographs.load_photographs()
        images = {size: photographs.make_images(pictures, size, folder / size) for size in sizes}
        photographs.make_examples(pictures, folder / "examples")
        samples = [*images.values(), sorted((folder / "examples").iterdir())]
        network = kind.make(name, [path for paths in samples for path in paths])
        import_line = "from torchvision.models import get_model"
        call = f'get_model("{name}", weights=None, num_classes={kind.CLASSES}{kind.ARGUMENTS})'
        expected = {size: kind.expected(network, paths) for size, paths in images.items()}
    (folder / "network.py").write_text(NETWORK.format(import_line=import_line, call=call))
    (folder / "images.py").write_text(
        DIGITS_TRANSFORMS if name == DIGITS else photographs.TRANSFORMS
    )
    state = network.state_dict()
    torch.save(state, folder / "bare.pth")
    torch.save({f"network.{key}": value for key, value in state.items()}, folder / "weights.pth")
    (folder / "expected.json").write_text(json.dumps(expected))
    return Model(
        name, folder, folder / "bare.pth", folder / "examples", answers(name), images, expected
    )


def open_model(name: str, sizes: Sequence[str], folder: Path) -> Model:
    """Return what `make_model` made before, or make it."""
    made = folder / "expected.json"
    if made.is_file() and set(expected := json.loads(made.read_text())) == set(sizes):
        images = {size: sorted((folder / size).iterdir()) for size in sizes}
        return Model(
            name, folder, folder / "bare.pth", folder / "examples", answers(name), images, expected
        )
    shutil.rmtree(folder, ignore_errors=True)
    return make_model(name, sizes, folder)


def answers(name: str) -> dict[str, Any]:
    """Return what a project for a network is rendered with, without names for the classes."""
    from generator.demo import ANSWERS

    if name == DIGITS:
        return {**ANSWERS, "label_format": "none"}
    kind = kind_of(name)
    network = {"architecture": name, "num_classes": kind.CLASSES, "label_format": "none"}
    return {"task": serving(kind.KIND)[0].value, **network, **kind.ANSWERS}


def make_digits(folder: Path) -> tuple[nn.Module, dict[str, list[Path]]]:
    """Train the demo's network; return it, and images that it has not seen."""
    import torch

    from generator import demo
    from generator.rendering import render
    from generator.scripts import environment

    project = folder / "project"
    render(project, {**answers(DIGITS), "training": True})
    demo.write_images(folder / "data")
    command = [sys.executable, "train.py", str(folder / "data" / "train"), *demo.LEARNING]
    settings = {**environment(), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=project, env=settings, stdout=subprocess.DEVNULL, check=True)
    shutil.copy(project / "service" / "model.py", folder / "digits_model.py")
    network = demo.build_model(folder / "digits_model.py")
    network.load_state_dict(torch.load(project / "weights" / "digits.pth", weights_only=True))
    shutil.rmtree(project)
    counts = {SMALL: ("validation", photographs.COUNT), "examples": ("train", photographs.EXAMPLES)}
    for name, (part, count) in counts.items():
        (folder / name).mkdir()
        images = sorted((folder / "data" / part).glob("*/*.png"))
        for number, image in enumerate(images[:: len(images) // count][:count]):
            shutil.copy(image, folder / name / f"{number:02}.png")
    shutil.rmtree(folder / "data")
    return network.eval(), {SMALL: sorted((folder / SMALL).iterdir())}
