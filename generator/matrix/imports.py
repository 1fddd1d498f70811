"""Imports the modules of rendered projects, and calls them, each no more often than it must.

A module is imported only if its file, or one that it depends on, is new: see `steps`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from hashlib import sha256
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

from generator import catalogue, facts
from generator.answers_file import answers_in

if TYPE_CHECKING:
    from torch import Tensor

# A file by name and digest; NETWORK with the digest of model.py, a size of images and a task; or
# what a step of a project is called, with digests.
Key = tuple[str | bytes, ...]
NETWORK = "network"


@contextlib.contextmanager
def imported_from(path: Path) -> Iterator[None]:
    """Let `import` find a project's modules, and forget them afterwards."""
    path = path.resolve()
    folders = [path, path / "tests"]
    modules = {name.partition(".")[0] for name in modules_of(path).values()}
    cached = [str(inner) for inner in (path, *path.rglob("*")) if inner.is_dir()]
    sys.path[:0] = map(str, folders)
    for name in cached:
        sys.path_importer_cache[name] = FileFinder(name, (CompiledOnce, [".py"]))
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(str(folder))
        for name in cached:
            sys.path_importer_cache.pop(name, None)
        for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
            del sys.modules[name]


class CompiledOnce(SourceFileLoader):
    """Imports a module without compiling what was compiled before."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module's file."""
        return compiled(self.get_data(self.path), Path(self.path).name)


@lru_cache(1000)
def compiled(source: bytes, name: str) -> CodeType:
    """Compile a file."""
    return compile(source, name, "exec", dont_inherit=True)


def modules_of(path: Path) -> dict[str, str]:
    """Return the modules of a project: by file, as a path with slashes, the name to import."""
    names = {}
    for file in path.rglob("*.py"):
        relative = file.relative_to(path)
        parts = relative.with_suffix("").parts
        if parts[0] == "tests":  # as pytest imports them
            parts = parts[1:]
        names[relative.as_posix()] = ".".join(parts).removesuffix(".__init__")
    return names


# ------------------------------------------------------------------------------------------- steps


def steps(path: Path) -> Iterator[tuple[Key, Callable[[], object]]]:
    """Yield what is to try in a project, each with all that it depends on."""
    modules = modules_of(path)
    on = dependencies(path)
    for file, digest in on.items():
        yield (file, digest), partial(importlib.import_module, modules[file])
    yield ("handler", on["service/handler.py"]), check_handler
    yield ("items", on["service/task.py"], on["tools/samples.py"]), check_items
    files = ("service/task.py", "tools/labels.py", "tools/outputs.py")
    yield (
        ("predictions", *(on[file] for file in files if file in on)),
        partial(check_predictions, path),
    )


# What modules read. All name README.md as well, but for the reader.
DATA = (".csv", ".json", ".properties", ".txt", ".yaml")
DATA_NAME = re.compile(rb"[\w-]+(?:" + b"|".join(map(re.escape, map(str.encode, DATA))) + rb")\b")


def dependencies(path: Path) -> dict[str, bytes]:
    """Return, for each module of a project by its file, a digest of all that it depends on.

    These are its own file, the modules that it imports, at once or when a function is called, the
    other files that it names, and what these depend on.
    """
    modules = modules_of(path)
    contents = {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.suffix in (".py", *DATA) and file.is_file()
    }
    files_by_name: dict[str, set[str]] = {}
    for file in contents:
        name = modules.get(file) or Path(file).name
        files_by_name.setdefault(name, set()).add(file)
    digests = {file: sha256(content).digest() for file, content in contents.items()}
    named = {
        file: named_in(content, ".".join(Path(file).parts[:-1]))
        for file, content in contents.items()
    }
    nothing: set[str] = set()
    reached_by = {
        file: nothing.union(*(files_by_name.get(name, nothing) for name in names))
        for file, names in named.items()
    }
    whole = {}
    for module in modules:
        reached: set[str] = set()
        todo = {module}
        while todo:
            reached |= todo
            todo = nothing.union(*(reached_by[file] for file in todo)) - reached
        joined = b"".join(digests[file] for file in sorted(reached))
        whole[module] = sha256(joined).digest()
    return whole


@lru_cache(1000)
def named_in(source: bytes, package: str) -> frozenset[str]:
    """Return the names of the modules that a file may import, and of the files it may read.

    Args:
        source: The file's content.
        package: The package that it is in; "" if it is in none.
    """
    names = {package, *(name.decode() for name in DATA_NAME.findall(source))}
    with contextlib.suppress(SyntaxError):  # of a file with data, or one that fails later
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                relative = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(relative, package)
                names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    # With a module, its packages are imported.
    parents = {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)}
    return frozenset(names | parents)


# ------------------------------------------------------------------------------------------ checks


def module(name: str) -> ModuleType:
    """Import a module of the project."""
    return importlib.import_module(name)


def check_handler() -> None:
    """Make a handler."""
    assert callable(module("service.handler").Handler().handle)


def items() -> list[Any]:
    """Return items of the project: its example and its sample images; texts of several lengths."""
    import torch
    from PIL import Image

    task, samples = module("service.task"), module("tools.samples")
    if hasattr(samples, "sample_texts"):  # whose tokenizer comes with the weights
        return [torch.ones(2, 3 + len(text), dtype=torch.int64) for text in samples.unlike_texts()]
    files = samples.sample_images().values()
    return [task.example(), *(task.prepare(Image.open(io.BytesIO(data))) for data in files)]


def check_items() -> None:
    """Prepare items, and put them together as the network takes them."""
    task = module("service.task")
    prepared = items()
    numbered = dict(enumerate(prepared))
    batches = task.batches(numbered)
    assert sorted(number for batch in batches for number in batch) == sorted(numbered), batches
    for batch in batches:
        tensor = task.normalize(task.collate([numbered[number] for number in batch]))
        is_right = tensor.is_floating_point() or prepared[0].ndim == 2  # of tokens
        assert is_right and len(tensor) == len(batch), tensor.shape


def check_predictions(path: Path) -> None:
    """Make predictions of random outputs, which must be found to be right ones."""
    import torch

    answers = answers_in(path)
    task = module("service.task")
    prepared = items()[:2]
    sizes = {"N": len(prepared), "num_classes": num_outputs(), "features": num_outputs()}
    shape = [sizes.get(name, 8) for name in output_dimensions(answers)]
    numbers = 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if "rows" in facts.tasks()[answers["task"]]:
        outputs = made_up_rows(len(prepared), num_outputs(), numbers_after_rows(answers))
        if "keypoint" in facts.tasks()[answers["task"]]:
            outputs[..., 6:] *= 50  # pixels
    else:
        outputs = as_returned(numbers, answers)
    module("tools.outputs").check_outputs(list(outputs))
    labels = read_labels(path, answers) if "label_format" in answers else []
    predictions = task.predictions(task.scores(outputs), prepared, labels)
    assert len(predictions) == len(prepared)
    for prediction in predictions:
        assert not isinstance(prediction, Exception), prediction
        body, content_type = task.encode(prediction)
        assert body and content_type


def numbers_after_rows(answers: Mapping[str, Any]) -> int:
    """Return how many numbers follow a box, a score and a class: of a mask or of keypoints."""
    fact = facts.tasks()[answers["task"]]
    named = answers.get("keypoint_names", 0)
    keypoints = named if isinstance(named, int) else len(named)
    return int(fact.get("mask_side", 0) ** 2 + keypoints * len(fact.get("keypoint", ())))


def made_up_rows(images: int, classes: int, more: int) -> Tensor:
    """Return rows of x1, y1, x2, y2, score, class and more numbers (N, 8, 6 + more).

    Half of them are left over.
    """
    import torch

    numbers = torch.rand(images, 8, 6, generator=torch.Generator().manual_seed(0))
    corners = (50 * numbers[..., :4]).unflatten(2, (2, 2)).sort(dim=2).values.flatten(2)
    scores = numbers[..., 4].sort(dim=1, descending=True).values
    rows = torch.cat(
        [
            *(corners, scores[..., None], (numbers[..., 5:] * classes).floor()),
            torch.rand(images, 8, more),
        ],
        dim=2,
    )
    rows[:, 4:] = -1
    return rows


def as_returned(numbers: Tensor, answers: Mapping[str, Any]) -> Tensor:
    """Return random scores as a network with this `model_output` would return them."""
    outputs = {x["value"]: x for x in facts.tasks()[answers["task"]]["outputs"]}
    layer = outputs[answers.get("model_output", next(iter(outputs)))].get("layer", "")
    if "Sigmoid" in layer:
        return numbers.sigmoid()
    if "LogSoftmax" in layer:
        return numbers.log_softmax(dim=1)
    return numbers.softmax(dim=1) if layer else numbers


def read_labels(path: Path, answers: Mapping[str, Any]) -> list[str]:
    """Return the labels that the project was rendered with."""
    classes = module("service").NUM_CLASSES
    read, label_format = module("tools.labels").read_labels, answers["label_format"]
    if label_format == "none" and "is_folder" in facts.checkpoints()[answers["weights"]]:
        with tempfile.TemporaryDirectory() as folder:
            names = {"id2label": {str(index): f"class {index}" for index in range(classes)}}
            Path(folder, "config.json").write_text(json.dumps(names), encoding="utf-8")
            labels, _ = read(classes, Path(folder))
    elif facts.labels()[label_format]["is_folder"]:
        with tempfile.TemporaryDirectory() as folder:
            for index in range(classes):
                Path(folder, f"class {index:03}").mkdir()
            labels, _ = read(classes, Path(folder))
    else:
        labels, _ = read(classes)
    assert len(labels) == classes, path
    return list(labels)


def check_network(path: Path) -> None:
    """Build the network of a project on the meta device, and give it a batch."""
    import torch

    answers = answers_in(path)
    task = module("service.task")
    batch = task.normalize(task.collate([task.example(), task.example()]))
    with catalogue.on_meta(), uninitialised():
        network = module("service.model").build_model(num_outputs()).eval()
    if "rows" in facts.tasks()[answers["task"]]:  # what is found depends on numbers
        assert all(parameter.is_meta for parameter in network.parameters())
        return
    with torch.inference_mode():
        outputs = catalogue.without_norms(network)(batch.to("meta"))
    if isinstance(outputs, Mapping):
        outputs = outputs[facts.tasks()[answers["task"]]["output_key"]]
    dimensions = output_dimensions(answers)
    assert outputs.ndim == len(dimensions), outputs.shape
    for size, name in zip(outputs.shape, dimensions, strict=True):
        expected = {"N": 2, "num_classes": num_outputs(), "features": num_outputs()}
        assert size == expected.get(name, size), outputs.shape


def num_outputs() -> int:
    """Return how many numbers the network of the project returns for an image or a pixel."""
    names = ("NUM_OUTPUTS", "NUM_CLASSES", "NUM_FEATURES")
    return next(int(getattr(service, x)) for x in names if hasattr(service := module("service"), x))


def output_dimensions(answers: Mapping[str, Any]) -> list[str]:
    """Return the dimensions of what the network returns: N, num_classes and, perhaps, more."""
    return str(facts.tasks()[answers["task"]]["output"]).partition("(")[2].rstrip(")").split(", ")


@contextlib.contextmanager
def uninitialised() -> Iterator[None]:
    """Skip torch's initialisers, which take most of the time to build a network on meta."""
    from torch.nn import init

    names = [name for name in vars(init) if name.endswith("_") and not name.startswith("_")]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(init, name, lambda tensor, *_, **__: tensor))
        yield
