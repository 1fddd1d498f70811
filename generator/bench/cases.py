"""What is measured: networks with weights, images, and the predictions that are right."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

DIGITS = "digits"  # the small network of one's own that the demo trains
MODELS = ("resnet18", "mobilenet_v3_small", "vit_b_16", DIGITS)
SMALL = "28x28"  # for the digits; the others get photographs
SIZES = (SMALL, "640x480", "1920x1080", "4000x3000")
COUNT = 8  # images of each size
EXAMPLES = 64  # images of 640 x 480 that int8 is fitted to, and other backends compared on
CLASSES = 1000
MARGIN = 10  # logits between the right class and the others, so that rounding flips no prediction
GRAIN = 1.5  # grey levels of noise, as a sensor has; without, a scaled photograph is too easy

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
        """Return scores."""
        return self.network(images)
'''
TRANSFORMS = {
    True: """\
from torchvision import transforms

MODE = "L"
transform = transforms.ToTensor()
""",
    False: """\
from torchvision import transforms

MODE = "RGB"
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
""",
}


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
        expected: the class that comes first for each of them, computed in-process.
    """

    name: str
    folder: Path
    weights: Path
    examples: Path
    answers: dict[str, Any]
    images: dict[str, list[Path]]
    expected: dict[str, list[str]]

    @property
    def is_digits(self) -> bool:
        """Tell whether it reads small grayscale images."""
        return self.name == DIGITS


def sizes_for(model: str, sizes: Sequence[str]) -> list[str]:
    """Return the sizes that make sense for a model."""
    return [size for size in sizes if (size == SMALL) == (model == DIGITS)]


def make_model(name: str, sizes: Sequence[str], folder: Path) -> Model:
    """Make a network, its weights, its images and the right predictions. Always the same.

    Random weights predict the same for every image, so the last layer is fitted: each photograph
    has a class of its own, by a wide margin. The digits are trained in earnest.
    """
    import torch

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    if name == DIGITS:
        network, images, answers = make_digits(folder)
        import_line, call = "from digits_model import build_model", "build_model(10)"
    else:
        photographs = load_photographs()
        images = {size: make_images(photographs, size, folder / size) for size in sizes}
        make_examples(photographs, folder / "examples")
        samples = [*images.values(), sorted((folder / "examples").iterdir())]
        network = make_network(name, [path for paths in samples for path in paths])
        answers = {"architecture": name, "num_classes": CLASSES, "label_format": "none"}
        import_line = "from torchvision.models import get_model"
        call = f'get_model("{name}", weights=None, num_classes={CLASSES})'
    (folder / "network.py").write_text(NETWORK.format(import_line=import_line, call=call))
    (folder / "images.py").write_text(TRANSFORMS[name == DIGITS])
    state = network.state_dict()
    torch.save(state, folder / "bare.pth")
    torch.save({f"network.{key}": value for key, value in state.items()}, folder / "weights.pth")
    expected = {}
    for size, paths in images.items():
        with torch.inference_mode():
            best = network(read(paths, digits=name == DIGITS)).argmax(dim=1)
        expected[size] = [str(index) for index in best.tolist()]
    (folder / "expected.json").write_text(json.dumps(expected))
    return Model(name, folder, folder / "bare.pth", folder / "examples", answers, images, expected)


def open_model(name: str, sizes: Sequence[str], folder: Path) -> Model:
    """Return what `make_model` made before, or make it."""
    made = folder / "expected.json"
    if made.is_file() and set(expected := json.loads(made.read_text())) == set(sizes):
        images = {size: sorted((folder / size).iterdir()) for size in sizes}
        answers = {"architecture": name, "num_classes": CLASSES, "label_format": "none"}
        if name == DIGITS:
            answers = digits_answers()
        return Model(
            name, folder, folder / "bare.pth", folder / "examples", answers, images, expected
        )
    shutil.rmtree(folder, ignore_errors=True)
    return make_model(name, sizes, folder)


def digits_answers() -> dict[str, Any]:
    """Return the answers that the demo is rendered with, without names for the classes."""
    from generator.demo import ANSWERS

    return {**ANSWERS, "label_format": "none"}


def make_digits(folder: Path) -> tuple[nn.Module, dict[str, list[Path]], dict[str, Any]]:
    """Train the demo's network; return it, held-out images, and a project's answers."""
    from PIL import Image
    from rich.console import Console

    from generator import demo
    from generator.rendering import render

    answers = digits_answers()
    render(folder / "project", answers)
    shutil.copy(folder / "project" / "service" / "model.py", folder / "digits_model.py")
    shutil.rmtree(folder / "project")
    x, y = demo.load_images()
    network = demo.train(
        demo.build_model(folder / "digits_model.py"), x[:-COUNT], y[:-COUNT], Console(quiet=True)
    )
    for name, few in ((SMALL, x[-COUNT:]), ("examples", x[:EXAMPLES])):
        (folder / name).mkdir()
        for number, pixels in enumerate(few):
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return network, {SMALL: sorted((folder / SMALL).iterdir())}, answers


def make_network(name: str, paths: Sequence[Path]) -> nn.Module:
    """Return a network of torchvision's with seeded weights that tell the photographs apart.

    Args:
        name: As torchvision has it.
        paths: Images of the photographs, COUNT for each after another.
    """
    import torch
    from torch import nn
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, num_classes=CLASSES)
    classes = torch.arange(COUNT).repeat(len(paths) // COUNT)
    images = read(paths, digits=False)
    network.eval()
    features: list[torch.Tensor] = []
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # statistics as training leaves them, else signals die or explode
        norm.train()
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        network(images)
        network.eval()
        hook = head.register_forward_hook(lambda _, inputs, __: features.append(inputs[0]))
        network(images)
        hook.remove()
        x = features[0].double()
        centred = x - x.mean(dim=0)
        wanted = MARGIN * nn.functional.one_hot(classes, CLASSES).double()
        gram = centred @ centred.T
        ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(x), dtype=torch.double)
        weight = wanted.T @ torch.linalg.solve(gram + ridge, centred)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ x.mean(dim=0))
        best = network(images).argmax(dim=1)
    if not torch.equal(best, classes):
        raise UserError(f"{name}: the photographs cannot be told apart; this is a bug in bench")
    return network


def read(paths: Sequence[Path], *, digits: bool) -> torch.Tensor:
    """Return images as float32 (N, C, H, W), by torchvision's transforms on Pillow's images."""
    import torch
    from PIL import Image

    place: dict[str, Any] = {}
    exec(TRANSFORMS[digits], place)
    transform: Callable[[Image.Image], torch.Tensor] = place["transform"]
    return torch.stack([transform(Image.open(path).convert(place["MODE"])) for path in paths])


def load_photographs() -> list[Image.Image]:
    """Return COUNT photographs that differ."""
    from PIL import Image

    try:
        from skimage import data
    except ImportError:
        raise UserError(
            "the photographs come from scikit-image: pip install scikit-image"
        ) from None
    sources = [
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket()),
        *(data.stereo_motorcycle()[0], data.hubble_deep_field(), data.retina()),
        data.immunohistochemistry(),
    ]
    return [Image.fromarray(pixels) for pixels in sources[:COUNT]]


def make_images(photographs: Sequence[Image.Image], size: str, folder: Path) -> list[Path]:
    """Save photographs in a size, such as "640x480", as JPEG of quality 90."""
    import numpy as np
    from PIL import Image, ImageOps

    width, height = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    paths = []
    folder.mkdir()
    for number, photograph in enumerate(photographs):
        image = ImageOps.fit(photograph, (width, height), Image.Resampling.LANCZOS)
        grain = rng.standard_normal((height, width, 3), dtype=np.float32) * GRAIN
        grainy = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number:02}.jpg")
        Image.fromarray(grainy).save(paths[-1], quality=90)
    return paths


def make_examples(photographs: Sequence[Image.Image], folder: Path) -> None:
    """Save EXAMPLES parts of photographs, each of them in turn."""
    rng = random.Random(0)
    parts = []
    for number in range(EXAMPLES):
        photograph = photographs[number % len(photographs)]
        share = rng.uniform(0.6, 0.9)
        width, height = (round(share * side) for side in photograph.size)
        left = rng.randint(0, photograph.width - width)
        top = rng.randint(0, photograph.height - height)
        parts.append(photograph.crop((left, top, left + width, top + height)))
    make_images(parts, "640x480", folder)
