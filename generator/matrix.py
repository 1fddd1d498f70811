"""Renders every combination of answers, and checks each.

The combinations are the product of the questions in `AXES`; the values of all other questions are
dealt out over it, so that each meets each value of each axis. Values come from copier.yml and
archs.json, so that the matrix grows with them. A question that is answered in free text needs an
entry in `SAMPLES`.

Files of equal name and content are the same to every check. The first project that holds a new
file, or a new pair of network and picture size, stands for all that hold it. Even there a module is
imported only if its file, or one that it depends on, is new: see `steps`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import itertools
import json
import multiprocessing
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from hashlib import sha256
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar
from unittest import mock

import yaml

from generator import catalogue
from generator.fast import FastRenderer, Project
from generator.rendering import template_root

T = TypeVar("T")
Answers = dict[str, Any]
# A file by name and digest, or NETWORK with the digest of model.py and a size of pictures.
Key = tuple[str | bytes, ...]
NETWORK = "network"
Representative = tuple[Path, Answers, set[Key]]  # a folder, its answers, what is new in it

AXES = ("architecture", "num_classes", "weights", "label_format", "transforms")

# For the questions without choices: one value that is common, and one that is not.
SAMPLES: dict[str, list[Any]] = {
    "project_name": ["Image Classifier", 'Katzen & "Hunde" – it\'s 猫 🐱'],
    "model_name": ["image-classifier", "A" + "b-_9" * 15],
    "num_classes": [3, 100],
    "timm_name": ["resnet18", "mobilenetv3_small_050.lamb_in1k"],
    "checkpoint_key": ["", "model_ema.state_dict"],
    "label_element": [-1, 0],
    "label_folder": ["data/train", "/data/Fotos und 猫"],
    "state_dict_prefix": ["module.", "model.backbone."],
    "head_units": [512, 64],
    "transform_input": [True, False],
    "image_size": [0, 224],
    "resize_size": [0, 640],
    "mean": [[0.5], 0.1307],
    "std": [[0.5], 0.3081],
    "top_k": [5, 1],
    "max_request_mb": [20, 3],
    "max_megapixels": [50, 4],
    "max_pictures": [64, 1],
    "max_label_length": [200, 30],
}
NOT_ASKED = {"family"}  # a way to the architecture; it leaves no trace in a project

# What the network depends on, besides its architecture and classes. These are dealt out over the
# axes here and not over all, for building a network takes a hundred times as long as rendering.
OF_THE_NETWORK = ("color_mode", "head", "head_units", "transform_input", "image_size")
NETWORK_AXES = ("architecture", "num_classes", "transforms")

# Not every accelerator, backend and precision go together: these are dealt out as one.
SPEED = ("accelerator", "backend", "precision")
SPEEDS = [
    *itertools.product(["cpu"], ["eager", "aot_inductor"], ["fp32", "bf16"]),
    *itertools.product(["cpu"], ["onnxruntime"], ["fp32", "int8"]),
    *itertools.product(["cpu"], ["openvino"], ["fp32", "bf16", "int8"]),
    *itertools.product(["cuda"], ["eager", "aot_inductor"], ["fp32", "bf16", "fp16"]),
]

FILES = frozenset(
    {
        ".copier-answers.yml",
        ".gitignore",
        "NOTES.md",
        "README.md",
        "archive.py",
        "benchmark.py",
        "checkpoint.py",
        "config.properties",
        "cores.py",
        "handler.py",
        "images.py",
        "inprocess.py",
        "labels.py",
        "loading.py",
        "mismatch.py",
        "model-config.yaml",
        "model.py",
        "pixels.py",
        "predict.py",
        "preprocessing.py",
        "project.py",
        "pyproject.toml",
        "requirements-own.txt",
        "requirements.txt",
        "response.py",
        "samples.py",
        "serve.py",
        "tests/test_smoke.py",
        "tune.py",
        "weights/.gitkeep",
    }
)

IMAGE_FILES = {".dockerignore", "Dockerfile"}
# What each value of `deploy` adds.
DEPLOY_FILES = {
    "docker": {*IMAGE_FILES, "compose.yaml"},
    "kubernetes": {
        *IMAGE_FILES,
        "deploy/kubernetes/deployment.yaml",
        "deploy/kubernetes/hpa.yaml",
        "deploy/kubernetes/networkpolicy.yaml",
        "deploy/kubernetes/pdb.yaml",
        "deploy/kubernetes/service.yaml",
    },
    "monitoring": {
        "deploy/monitoring/alerts.yml",
        "deploy/monitoring/dashboard.json",
        "deploy/monitoring/prometheus.yml",
        "metrics.py",
        "metrics.yaml",
    },
    "github_actions": {".github/workflows/ci.yml"},
    "ray_serve": {
        "engine.py",
        "ray_app.py",
        "deploy/ray_serve/config.yaml",
        "deploy/ray_serve/rayservice.yaml",
        "deploy/ray_serve/requirements.txt",
    },
    "kserve": {
        "engine.py",
        "kserve_app.py",
        "deploy/kserve/inferenceservice.yaml",
        "deploy/kserve/requirements.txt",
    },
}

LABEL_FILES = {
    "index_to_name": "index_to_name.json",
    "imagenet": "index_to_name.json",
    "class_to_idx": "class_to_idx.json",
    "list": "labels.json",
    "text": "labels.txt",
    "csv": "labels.csv",
    "huggingface": "config.json",
}


def expected_files(answers: Mapping[str, Any]) -> frozenset[str]:
    """Return the exact files of a project, as paths with slashes."""
    files = set(FILES)
    if label_file := LABEL_FILES.get(answers["label_format"]):
        files.add(label_file)
    if answers["weights"] in ("torchscript", "exported_program", "onnx"):
        files.remove("mismatch.py")  # there are no names to compare
    elif is_converted(answers):
        files |= {"comparison.py", "conversion.py", "eager.py"}
    if answers["architecture"].startswith("timm") and answers["transforms"] == "pretrained":
        files.remove("pixels.py")  # timm prepares the pictures
    files |= deploy_files(answers.get("deploy", []))
    return frozenset(files)


def is_converted(answers: Mapping[str, Any]) -> bool:
    """Tell whether archive.py makes something else of the weights, and compares it with them."""
    has_weights = answers["weights"] not in ("torchscript", "exported_program", "onnx")
    speed = (answers.get("backend", "eager"), answers.get("precision", "fp32"))
    return has_weights and speed != ("eager", "fp32")


def deploy_files(deploy: Iterable[str]) -> set[str]:
    """Return what the values of `deploy` add to a project."""
    files: set[str] = set().union(*(DEPLOY_FILES[way] for way in deploy))
    if {"ray_serve", "monitoring"} <= set(deploy):
        files.add("ray_metrics.py")
    return files


@cache
def questions() -> dict[str, list[Any]]:
    """Return the values to try for each question that copier.yml asks, in its order.

    Raises:
        LookupError: A free-text question has no entry in SAMPLES.
    """
    values: dict[str, list[Any]] = {}
    config = yaml.safe_load((template_root() / "copier.yml").read_text(encoding="utf-8"))
    for name, question in config.items():
        if name.startswith("_") or question.get("when") is False or name in NOT_ASKED:
            continue
        choices = question.get("choices")
        if name == "architecture":
            values[name] = list(catalogue.load())
        elif isinstance(choices, dict):
            each = [x["value"] if isinstance(x, dict) else x for x in choices.values()]
            values[name] = subsets(each) if question.get("multiselect") else each
        elif name in SAMPLES:
            values[name] = SAMPLES[name]
        else:
            raise LookupError(f"{name} has no choices: add values to try to SAMPLES in {__file__}")
    return values


def subsets(values: list[Any]) -> list[list[Any]]:
    """Return what may be chosen where several may be: none, each alone, ..., all together."""
    sizes = range(len(values) + 1)
    return [list(some) for size in sizes for some in itertools.combinations(values, size)]


def combinations(seed: int = 0) -> list[Answers]:
    """Return the whole matrix: one dict of answers for each project."""
    values = questions()
    deal = random.Random(seed)
    # Shuffled packs, not single draws: no value can be missing for long.
    packs = {name: dealt(values[name], deal) for name in values if name not in (*AXES, *SPEED)}
    speeds = dealt(SPEEDS, deal)
    networks: dict[tuple[Any, ...], Answers] = {}
    matrix = []
    for combination in itertools.product(*(values[name] for name in AXES)):
        answers = dict(zip(AXES, combination, strict=True))
        answers |= {name: next(pack) for name, pack in packs.items() if name not in OF_THE_NETWORK}
        answers |= dict(zip(SPEED, next(speeds), strict=True))
        key = tuple(answers[name] for name in NETWORK_AXES)
        if key not in networks:
            networks[key] = {name: next(packs[name]) for name in OF_THE_NETWORK}
        answers |= networks[key]
        if catalogue.load()[answers["architecture"]].classifier_kind != "Linear":
            answers["head"] = "linear"  # the other heads replace a linear layer
        if answers["weights"] == "pretrained":
            answers["num_classes"] = 1000  # as many as torchvision's have
        if answers["weights"] == "onnx":
            answers |= dict(zip(SPEED, SPEEDS[0], strict=True))  # it has a way of its own
        decode_where_possible(answers)
        matrix.append(answers)
    return matrix


def decode_where_possible(answers: Answers) -> None:
    """Let the CPU decode pictures where there is no GPU."""
    if (answers["accelerator"], answers["decode"]) == ("cpu", "gpu"):
        answers["decode"] = "exact"


def dealt(values: list[Any], deal: random.Random) -> Iterator[Any]:
    """Yield the values for ever, in packs that are each shuffled anew."""
    while True:
        yield from deal.sample(values, len(values))


def is_forbidden(answers: Mapping[str, Any]) -> bool:
    """Tell whether the questions must refuse this combination."""
    if answers["weights"] == "pretrained" and answers["architecture"] in catalogue.OTHERS:
        return True
    return (answers["architecture"], answers["transforms"]) == ("custom", "pretrained")


def command_line(answers: Mapping[str, Any]) -> str:
    """Return the `copier copy` line that renders the same project."""
    words = ["copier", "copy", "--defaults", "--vcs-ref=HEAD"]
    for name, value in answers.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["-d", f"{name}={text}"]
    return shlex.join([*words, str(template_root()), "project"])


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        rendered: projects that were rendered.
        refused: combinations that the questions refuse, as they should.
        distinct: files of which no other has the same name and content.
        checked: projects that were imported; among them is one with each network.
        failures: what went wrong, each with the command that shows it again.
        render_seconds: the sum over all processes.
        seconds: on the clock.
    """

    rendered: int = 0
    refused: int = 0
    distinct: int = 0
    checked: int = 0
    failures: list[str] = field(default_factory=list)
    render_seconds: float = 0.0
    seconds: float = 0.0

    def fail(self, answers: Mapping[str, Any], why: str) -> None:
        """Add a failure."""
        self.failures.append(f"{why}\n    {command_line(answers)}")


def run(
    matrix: list[Answers], processes: int = 2, progress: Any = None, check: bool = True
) -> Outcome:
    """Render and check the combinations.

    Args:
        matrix: The answers, as from `combinations`.
        processes: How many work at once.
        progress: Called with (what is done: str, how many of it now: int, of how many: int).
        check: False only renders, to measure how fast that is.
    """
    say = progress or (lambda *_: None)
    start = time.perf_counter()
    total = Outcome()
    chunks = in_chunks(matrix)
    context = multiprocessing.get_context("spawn")  # a process that has never run anything else
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # spares the disk
    with tempfile.TemporaryDirectory(prefix="matrix-", dir=memory) as folder:
        template = plain_copy(Path(folder, "template"))
        kept = Path(folder, "kept")
        kept.mkdir()
        jobs = [(template, kept / str(i), chunk) for i, chunk in enumerate(chunks)]
        representatives: list[Representative] = []
        with context.Pool(processes) as pool:
            seen: set[Key] = set()
            for outcome, projects in pool.imap(render_chunk, jobs):
                merge(total, outcome)
                for path, answers, new in projects:
                    if fresh := new - seen:
                        seen |= fresh
                        representatives.append((path, answers, fresh))
                    else:
                        shutil.rmtree(path)
                say("rendered", total.rendered + total.refused, len(matrix))
            total.distinct = sum(key[0] != NETWORK for key in seen)
            if check:
                lint(kept, representatives, total)
                for outcome in pool.imap_unordered(check_projects, in_chunks(representatives)):
                    merge(total, outcome)
                    say("imported", total.checked, len(representatives))
    total.seconds = time.perf_counter() - start
    return total


def in_chunks(items: list[T], size: int = 100) -> list[list[T]]:
    """Cut a list, in the order of the matrix: neighbours share most of their files."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def merge(total: Outcome, part: Outcome) -> None:
    """Add the figures of one process to the total."""
    for name in ("rendered", "refused", "checked", "render_seconds", "failures"):
        setattr(total, name, getattr(total, name) + getattr(part, name))


def plain_copy(folder: Path) -> Path:
    """Copy the template without its repository, so that Copier need not ask git about it."""
    root = template_root()
    shutil.copytree(root / "template", folder / "template")
    shutil.copy(root / "copier.yml", folder)
    (folder / "generator").mkdir()
    for path in (root / "generator").glob("*.json"):
        shutil.copy(path, folder / "generator")
    return folder


# -------------------------------------------------------------------------------------- rendering

# What this process has parsed, and has written a project of: once is enough.
parsed: set[Key] = set()
written: set[Key] = set()


@cache
def renderer(template: Path) -> FastRenderer:
    """Return this process's renderer."""
    return FastRenderer(template)


def render_chunk(job: tuple[Path, Path, list[Answers]]) -> tuple[Outcome, list[Representative]]:
    """Render some combinations in memory, and write the projects that hold something new."""
    template, folder, chunk = job
    outcome = Outcome()
    projects = []
    for number, answers in enumerate(chunk):
        path = folder / str(number)
        start = time.perf_counter()
        try:
            project = renderer(template).project(path, answers)
        except ValueError as error:
            if is_forbidden(answers):
                outcome.refused += 1
            else:
                outcome.fail(answers, f"refused: {error}")
            continue
        except Exception as error:
            outcome.fail(answers, f"{type(error).__name__}: {error}")
            continue
        finally:
            outcome.render_seconds += time.perf_counter() - start
        outcome.rendered += 1
        if is_forbidden(answers):
            outcome.fail(answers, "rendered, though the questions should refuse it")
        if new := inspect_files(project, answers, outcome) - written:
            written.update(new)
            project.write(path)
            projects.append((path, answers, new))
    return outcome, projects


def inspect_files(project: Project, answers: Answers, outcome: Outcome) -> set[Key]:
    """Check the set of files, parse those that are new, and return what can be imported.

    What only people read (README.md, the answers) hardly ever repeats and is only parsed.
    """
    files = project.files
    if wrong := expected_files(answers) ^ files.keys():
        outcome.fail(answers, f"not the expected set of files: {', '.join(sorted(wrong))}")
    keys: dict[str, Key] = {name: (name, file.digest) for name, file in files.items()}
    for name, key in keys.items():
        if key in parsed:
            continue
        parsed.add(key)
        try:
            check_text(name, files[name].content.decode())
        except (ValueError, SyntaxError) as error:
            outcome.fail(answers, f"{name}: {error}")
    code = {key for name, key in keys.items() if name.endswith((".py", ".json", ".toml"))}
    if {"model.py", "preprocessing.py"} <= files.keys():
        size = re.search(rb"^IMAGE_SIZE.*", files["preprocessing.py"].content, re.MULTILINE)
        code.add((NETWORK, files["model.py"].digest, size[0] if size else b""))
    return code


LEFTOVERS = ("{%", "{#", "{{ ", " }}", "TODO")
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if it was built


def check_text(name: str, text: str) -> None:
    """Parse a file by its suffix; raise ValueError or SyntaxError for what is wrong with it."""
    for mark in LEFTOVERS:
        if mark in text:
            raise ValueError(f"left over from the template: {mark}")
    if re.search(r"[ \t]$", text, re.MULTILINE):
        raise ValueError("white space at the end of a line")
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        raise ValueError("does not end in exactly one newline")
    if re.search(r'[<>:"\\|?*]|[ .]$', name):
        raise ValueError("Windows refuses this name")
    match Path(name).suffix:
        case ".py":
            ast.parse(text)
        case ".json":
            json.loads(text)
        case ".yaml" | ".yml":
            yaml.load(text, Loader=YAML_LOADER)
        case ".toml":
            tomllib.loads(text)
        case ".properties":
            for line in text.splitlines():
                if line and not re.fullmatch(r"#.*|[a-z_]+=\S+", line):
                    raise ValueError(f"no setting: {line}")


def lint(folder: Path, projects: list[Representative], outcome: Outcome) -> None:
    """Run ruff over the new files of the kept projects: each brings its own settings."""
    files = [
        str(path / str(name))
        for path, _, new in projects
        for name, *_ in sorted(new)
        if str(name).endswith((".py", ".toml"))
    ]
    if not files:
        return
    listed = folder / "new.txt"
    listed.write_text("\n".join(files), encoding="utf-8")
    for command in (["check", "--output-format=json"], ["format", "--check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", f"@{listed}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == 0:
            continue
        found: dict[str, str]
        if command[0] == "check":
            found = {
                x["filename"]: f"{x['code']}: {x['message']}" for x in json.loads(result.stdout)
            }
        else:
            named = re.findall(r"(?:Would reformat: |--> )([^:\n]+)", result.stdout)
            found = {
                str(Path(file).resolve()): "ruff format would change it"
                for file in named or [str(folder)]
            }
        for file, message in found.items():
            owner = [x for x in projects if Path(file).is_relative_to(x[0].resolve())]
            answers = owner[0][1] if owner else {}
            outcome.fail(answers, f"{Path(file).name}: {message}")


# --------------------------------------------------------------------------------------- importing


# What has gone well in this process, by all that it depends on: once is enough.
tried: set[Key] = set()


def check_projects(projects: list[Representative]) -> Outcome:
    """Import the projects one after another, and build those networks that are new."""
    import torch

    torch.set_num_threads(1)
    outcome = Outcome()
    for path, answers, new in projects:
        try:
            with imported_from(path):
                for key, step in steps(path, answers):
                    if key not in tried:
                        step()
                        tried.add(key)
                if any(key[0] == NETWORK for key in new):
                    check_network(answers)
        except Exception as error:
            outcome.fail(answers, f"{type(error).__name__}: {error}")
        outcome.checked += 1
    return outcome


@contextlib.contextmanager
def imported_from(path: Path) -> Iterator[None]:
    """Let `import` find a project's modules, and forget them afterwards."""
    folders = [str(path), str(path / "tests")]
    names = [file.stem for folder in folders for file in Path(folder).glob("*.py")]
    sys.path[:0] = folders
    for folder in folders:
        sys.path_importer_cache[folder] = FileFinder(folder, (CompiledOnce, [".py"]))
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
            sys.path_importer_cache.pop(folder, None)
        for name in names:
            sys.modules.pop(name, None)


class CompiledOnce(SourceFileLoader):
    """Imports a module without compiling what was compiled before."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module's file."""
        return compiled(self.get_data(self.path), Path(self.path).name)


@lru_cache(1000)
def compiled(source: bytes, name: str) -> CodeType:
    """Compile a file."""
    return compile(source, name, "exec", dont_inherit=True)


def steps(path: Path, answers: Answers) -> Iterator[tuple[Key, Callable[[], object]]]:
    """Yield what is to try in a project, each with all that it depends on."""
    on = dependencies(path)
    for name, digest in on.items():
        yield (name, digest), partial(importlib.import_module, Path(name).stem)
    yield ("handle", on["handler.py"]), check_handler
    relevant = repr(answers["color_mode"]).encode()
    yield ("preprocess", on["preprocessing.py"], relevant), partial(check_preprocessing, answers)
    names = ("num_classes", "label_format", "response_format", "top_k")
    relevant = repr([answers[name] for name in names]).encode()
    key = ("answer", on["labels.py"], on["response.py"], relevant)
    yield key, partial(check_labels_and_response, answers)


def dependencies(path: Path) -> dict[str, bytes]:
    """Return, for each module of a project, a digest of all that it depends on.

    These are its own file, the modules that it imports, at once or when a function is called, the
    other files that it names, and what these depend on.
    """
    code = {file.name: file.read_bytes() for file in path.rglob("*.py")}
    other = {file.name: file.read_bytes() for file in path.iterdir() if file.suffix in DATA}
    files = {name: (sha256(x).digest(), named_in(x)) for name, x in (other | code).items()}
    digests = {}
    for name in code:
        reached, todo = set(), {name}
        while todo:
            reached |= todo
            todo = {new for old in todo for new in files[old][1] & files.keys()} - reached
        digests[name] = sha256(b"".join(files[x][0] for x in sorted(reached))).digest()
    return digests


# What modules read. All name README.md as well, but for the reader.
DATA = (".csv", ".json", ".properties", ".txt", ".yaml")
IMPORT = re.compile(rb"^\s*(?:from|import) (\w+)", re.MULTILINE)
DATA_NAME = re.compile(rb"[\w-]+(?:" + b"|".join(map(re.escape, map(str.encode, DATA))) + rb")\b")


@lru_cache(1000)
def named_in(source: bytes) -> frozenset[str]:
    """Return the names of the files that a file imports or may read."""
    modules = {f"{name.decode()}.py" for name in IMPORT.findall(source)}
    return frozenset(modules | {name.decode() for name in DATA_NAME.findall(source)})


def check_handler() -> None:
    """Make a handler."""
    assert callable(importlib.import_module("handler").ImageClassifierHandler().handle)


def check_preprocessing(answers: Answers) -> None:
    """Preprocess a picture."""
    import torch
    from PIL import Image

    preprocessing = importlib.import_module("preprocessing")
    channels = 3 if answers["color_mode"] == "RGB" else 1
    size = preprocessing.IMAGE_SIZE
    picture = preprocessing.preprocess(Image.new(answers["color_mode"], (60, 40)))
    assert picture.dtype == torch.uint8
    assert picture.shape == (channels, size, size), picture.shape
    batch = preprocessing.normalize(torch.stack([picture, picture]))
    assert batch.dtype == torch.float32
    assert batch.shape == (2, channels, size, size), batch.shape


def check_labels_and_response(answers: Answers) -> None:
    """Read the labels, and make the answer of chances for them."""
    import torch

    labels, response = map(importlib.import_module, ("labels", "response"))
    classes = answers["num_classes"]
    if answers["label_format"] == "none":
        names = labels.read_labels(classes)
    elif answers["label_format"] == "folders":
        with tempfile.TemporaryDirectory() as folder:
            for index in range(classes):
                Path(folder, f"class {index:03}").mkdir()
            names, _ = labels.read_labels(classes, Path(folder))
    else:
        names, _ = labels.read_labels(classes)  # those that are rendered
    assert len(names) == classes
    chances = torch.linspace(0, 1, 2 * classes).reshape(2, classes).softmax(dim=1)
    answered = response.make_answers(chances, names)
    json.dumps(answered, allow_nan=False)
    if answers["response_format"] != "label":
        assert {len(answer) for answer in answered} == {min(answers["top_k"], classes)}


def check_network(answers: Answers) -> None:
    """Build the network of a project on the meta device, and give it a batch."""
    import torch

    classes, size = answers["num_classes"], importlib.import_module("preprocessing").IMAGE_SIZE
    channels = 3 if answers["color_mode"] == "RGB" else 1
    with catalogue.on_meta(), uninitialised():
        network = importlib.import_module("model").build_model(classes).eval()
    with torch.inference_mode():
        batch = torch.zeros(2, channels, size, size, device="meta")
        scores = catalogue.without_norms(network)(batch)
    assert scores.shape == (2, classes), scores.shape


@contextlib.contextmanager
def uninitialised() -> Iterator[None]:
    """Skip torch's initialisers, which take most of the time to build a network on meta."""
    from torch.nn import init

    names = [name for name in vars(init) if name.endswith("_") and not name.startswith("_")]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(init, name, lambda tensor, *_, **__: tensor))
        yield


def covered(matrix: Iterable[Answers]) -> set[tuple[str, str, str, str]]:
    """Return which value of which question meets which value of which axis."""
    met = set()
    for answers in matrix:
        others = [(name, json.dumps(x)) for name, x in answers.items() if name not in AXES]
        for axis in AXES:
            met |= {(axis, str(answers[axis]), *other) for other in others}
    return met


# -------------------------------------------------------------------------------------- benchmark


def benchmark(count: int = 20, seed: int = 0) -> dict[str, list[float]]:
    """Time the ways to render the same projects, in turns, in one process.

    Returns:
        Milliseconds of each render, by way. The last renders in memory, as the matrix does, and has
        rendered the 30 combinations before.
    """
    from generator.rendering import render

    allowed = [answers for answers in combinations(seed) if not is_forbidden(answers)]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        template = plain_copy(Path(folder, "template"))
        one, other = FastRenderer(template), FastRenderer(template)
        ways: dict[str, Callable[[Path, Answers], object]] = {
            "run_copy from a git repository": render,
            "run_copy from a plain folder": lambda path, answers: render(path, answers, template),
            "matrix, not in its order": one.render,
            "matrix, in its order": other.project,
        }
        for number, index in enumerate(random.Random(seed).sample(range(len(allowed)), count + 1)):
            for way, function in ways.items():
                if function == other.project:
                    for answers in allowed[max(0, index - 30) : index]:
                        other.project(Path(folder, "neighbour"), answers)
                start = time.perf_counter()
                function(Path(folder, f"{number}-{way}"), allowed[index])
                if number:  # the first round warms up
                    times.setdefault(way, []).append(1000 * (time.perf_counter() - start))
    return times


# ------------------------------------------------------------------------------------ smoke tests


def smoke_sample(seed: int = 0, every: bool = False) -> list[Answers]:
    """Return answers for projects that are small enough for real forward passes.

    All values of all other questions are dealt out over the architectures.

    Args:
        seed: Of the dealing.
        every: Take every architecture, and not the smallest of each family alone.
    """
    values = questions()
    deal = random.Random(seed)
    packs = {name: dealt(values[name], deal) for name in values if name not in SPEED}
    # To convert a network takes long: each way once, by the smallest that are left.
    archs = catalogue.load()
    small = sorted(archs, key=lambda name: archs[name].params or 0)
    speeds = dict(zip(small, [speed for speed in SPEEDS if speed[0] == "cpu"], strict=False))
    sample = []
    families = {archs[name].family: name for name in reversed(small)}
    for name, arch in archs.items():
        if not (every or name in families.values() or name in speeds):
            continue
        answers = {question: next(pack) for question, pack in packs.items()}
        answers |= {"architecture": name, "num_classes": 5}
        answers |= dict(zip(SPEED, speeds.get(name, ("cpu", "eager", "fp32")), strict=True))
        decode_where_possible(answers)
        if is_converted(answers | {"weights": "state_dict"}):
            answers["weights"] = "state_dict"
        if answers["weights"] == "pretrained":
            answers |= {"num_classes": 1000} if arch.params else {"weights": "state_dict"}
        if (arch.params or 0) > 150e6 and answers["weights"] in ("exported_program", "onnx"):
            answers["weights"] = "safetensors"  # to export a gigabyte takes minutes
        if answers["transforms"] != "to_tensor":
            answers["transforms"] = "custom"  # the others would mean the full size
        answers["resize_size"] = 0
        answers["image_size"] = small_size(arch)
        if arch.classifier_kind != "Linear":
            answers["head"] = "linear"
        sample.append(answers)
    return sample


def small_size(arch: catalogue.Arch) -> int:
    """Return a size in pixels that the network takes and that does not cost much; 0 for its own."""
    if arch.size_rule == "fixed":
        return 0
    step = arch.size_step
    return max(arch.min_size, step * -(-64 // step))


def run_smoke_tests(path: Path) -> tuple[int, str]:
    """Run a project's own tests in this process; return pytest's status and what it printed."""
    import io
    import os

    import pytest
    import torch

    torch.set_num_threads(1)
    os.chdir(path)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main(
            ["-q", "-x", "-p", "no:cacheprovider", "--basetemp", str(path / ".tmp"), str(path)]
        )
    return int(code), output.getvalue()
