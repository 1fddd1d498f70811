"""The rules that keep a task, a backend, a format, an engine in one folder each."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from copier import Settings, run_copy

from conftest import REPOSITORY, Project, build_and_save, encode, noise
from generator import catalogue, facts
from generator.fast import FastRenderer
from generator.rendering import plain_copy

# Files that a task may say something of; all others are the same in projects of all tasks with the
# same kind of input.
OF_THE_TASK = {
    ".copier-answers.yml",
    "README.md",
    "config.properties",  # the longest response
    "demo/prediction.js",
    "predict.py",  # the table
    "pyproject.toml",  # as requirements.txt
    "requirements.txt",
    "service/loading.py",  # which of a network's outputs it is
    "service/model.py",
    "service/response.py",
    "service/task.py",
    "tests/test_smoke.py",
    "tools/dataset.py",
    "tools/evaluation.py",
    "tools/outputs.py",
    "training/task.py",
    "tools/trained.py",  # as service/loading.py
}
# Files that depend on whether the network's outputs have names, whatever the task.
OF_LABELS = {
    "archive.py",
    "service/__init__.py",
    "tools/checkpoint.py",
    "tools/conversion.py",
    "tools/mismatch.py",
}
# And on whether a prediction is more or less certain.
OF_CONFIDENCE = {
    "deploy/monitoring/alerts.yml",
    "deploy/monitoring/dashboard.json",
    "metrics.yaml",
    "service/metrics.py",
}
# And on how long a request may take.
OF_DURATION = {
    "deploy/docker/nginx.conf",
    "deploy/kserve/inferenceservice.yaml",
    "deploy/kubernetes/deployment.yaml",
    "deploy/kubernetes/proxy/configmap.yaml",
    "deploy/kubernetes/proxy/deployment.yaml",
}
# And of a task whose networks scale images themselves and may find nothing in them.
OF_ITS_NETWORKS = {
    "model-config.yaml",  # whether images go through the network alone
    "service/pixels.py",
    "service/preprocessing.py",
    "tools/checkpoint.py",  # as service/loading.py
    "tools/mismatch.py",  # how its last layers follow the classes
    "tools/trial.py",  # whether all may look the same
}
EVERYWHERE = list(facts.targets())


def sources() -> Iterator[Path]:
    """Yield the files of template/ and generator/ outside of the tasks' folders."""
    for top in ("template", "generator"):
        for path in sorted((REPOSITORY / top).rglob("*")):
            parts = path.relative_to(REPOSITORY).parts
            if path.is_file() and parts[1] != "tasks" and "__pycache__" not in parts:
                yield path


def test_no_task_is_named_outside_of_its_folder() -> None:
    names = re.compile("|".join(facts.tasks()))
    # The question's own default.
    allowed = {"template/questions/project.yml": ["image_classification"]}
    for path in sources():
        if path.suffix == ".gz":
            continue
        name = path.relative_to(REPOSITORY).as_posix()
        text = path.read_text(encoding="utf-8")
        assert names.findall(text) == allowed.get(name, []), name
        assert not re.search(r"""\btask\s*[!=]=\s*['"]""", text), name


def test_every_task_has_the_facts_that_the_others_have() -> None:
    tasks = facts.tasks()
    for name, fact in tasks.items():
        others = [set(other) for key, other in tasks.items() if key != name]
        assert set.intersection(*others) <= set(fact), name


def test_no_task_takes_a_piece_from_the_folder_of_another() -> None:
    included = re.compile(r"template/tasks/(\w+)/")
    for task in facts.tasks():
        for path in (REPOSITORY / "template" / "tasks" / task).rglob("*"):
            if path.is_file():
                places = set(included.findall(path.read_text(encoding="utf-8")))
                assert places & facts.tasks().keys() <= {task}, path


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Render projects in memory, as the matrix does: the texts of a project by path."""
    folder = tmp_path_factory.mktemp("rendered")
    renderer = FastRenderer(plain_copy(folder / "template"))

    def render(**answers: Any) -> dict[str, str]:
        files = renderer.project(folder / "project", answers).files
        return {name: file.content.decode() for name, file in files.items()}

    return render


def architecture(task: str) -> str:
    """Return the last network in the menu that a task takes."""
    kind = facts.tasks()[task]["networks"]
    return [name for name, arch in catalogue.load().items() if kind in arch.kinds][-1]


def test_what_tasks_share_is_the_same_text(rendered: Callable[..., dict[str, str]]) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"backend": "onnxruntime", "precision": "int8"},
        {"evaluation": True},
    ]
    for way, item in itertools.product(ways, facts.inputs()):
        shared: dict[tuple[str, Any], set[str]] = {}
        for task, fact in facts.tasks().items():
            refused = ("backend" in way and "speeds" in fact) or (
                "evaluation" in way and "data" not in fact
            )
            if fact["input"] != item or refused:
                continue
            network = "custom" if "preprocessing" in fact else architecture(task)
            answers = {"task": task, "architecture": network, "num_classes": 3, **way}
            answers |= {"project_name": "Service", "label_format": "none", "image_size": 64}
            answers |= {"color_mode": "L"}
            own = OF_THE_TASK | (OF_ITS_NETWORKS if "preprocessing" in fact else set())
            for name, text in rendered(**answers, deploy=EVERYWHERE, demo=True).items():
                if name not in own:
                    kind = (name, fact["has_labels"] if name in OF_LABELS else True)
                    if name in OF_CONFIDENCE:
                        kind = (name, fact["has_confidence"])
                    if name in OF_DURATION:
                        kind = (name, fact.get("seconds"))
                    shared.setdefault(kind, set()).add(text)
        assert len(shared) > 30
        assert [name for name, texts in shared.items() if len(texts) > 1] == []


# Functions that projects share, and the names of their parameters, whatever the answers.
SIGNATURES = {
    "build_model": ["num_classes"],
    "load_model": ["path", "device"],
    "load_trained": ["path", "device"],
    "convert": ["weights", "target", "examples"],
    "prepare_weights": ["source", "target"],
    "check_outputs": ["outputs"],
    "answers_for": ["outputs"],
    "doubt": ["outputs"],
    "compare_scores": ["expected", "found"],
    "normalize": ["batch"],
    "preprocess": ["image"],
    "prepare": ["image|text"],
    "batches": ["items"],
    "collate": ["items"],
    "scores": ["outputs"],
    "predictions": ["scores", "items", "labels"],
    "encode": ["content"],
}


def projects() -> Iterator[dict[str, Any]]:
    """Yield answers that take each task, backend and way to save weights at least once."""
    for task, own in facts.tasks().items():
        item = own["input"]
        for backend, fact in facts.backends().items():
            if item not in fact.get("inputs", ["image"]):
                continue
            precision = next(iter(fact["precisions"].values()))[-1]
            if "speeds" not in own:
                yield {"task": task, "backend": backend, "precision": precision}
        for weights, fact in facts.checkpoints().items():
            takes = item in fact.get("inputs", ["image"])
            is_loaded = fact["loader"] in own.get("loaders", [fact["loader"]])
            if weights != "pretrained" and takes and is_loaded:
                yield {"task": task, "weights": weights}


def test_functions_have_one_signature(rendered: Callable[..., dict[str, str]]) -> None:
    seen: dict[str, set[tuple[str, ...]]] = {}
    for answers in projects():
        network = architecture(answers["task"])
        for path, text in rendered(architecture=network, num_classes=3, **answers).items():
            if not re.fullmatch(r"service/\w+\.py|tools/(?!samples)\w+\.py", path):
                continue
            for node in ast.parse(text).body:
                if isinstance(node, ast.FunctionDef) and node.name in SIGNATURES:
                    names = tuple(x.arg for x in node.args.args)
                    if node.name == "prepare":
                        names = tuple(re.sub("^(image|text)$", "image|text", x) for x in names)
                    seen.setdefault(node.name, set()).add(names)
    assert seen == {name: {tuple(names)} for name, names in SIGNATURES.items() if name in seen}
    assert seen.keys() == SIGNATURES.keys()


def test_no_module_of_a_project_imports_in_a_circle(
    rendered: Callable[..., dict[str, str]],
) -> None:
    answers = {"architecture": "custom", "backend": "openvino", "precision": "int8"}
    imports: dict[str, set[str]] = {}
    for path, text in rendered(**answers, deploy=EVERYWHERE).items():
        if not path.endswith(".py"):
            continue
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        imports[name] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module:
                imports[name] |= {node.module, *(f"{node.module}.{x.name}" for x in node.names)}
            elif isinstance(node, ast.Import):
                imports[name] |= {x.name for x in node.names}
    graph = {name: found & imports.keys() - {name} for name, found in imports.items()}
    commands = {name for name in graph if "." not in name} - {"service", "tools"}
    for name in commands:
        assert not graph[name] & commands, f"{name} imports another command"
    assert not {x for name in graph if name.startswith("service") for x in graph[name]} & {
        name for name in graph if not name.startswith("service")
    }
    while leaves := [name for name, found in graph.items() if not found]:
        for leaf in leaves:
            del graph[leaf]
        for found in graph.values():
            found -= set(leaves)
    assert not graph, f"import cycles among {sorted(graph)}"


# ------------------------------------------------------------------------------------------ a toy

TOY = {
    "task.yml": """
value: brightness
title: a number for each image
order: 99
input: image
has_labels: true
has_confidence: false
is_headless: false
networks: classifier
project_name: Light Meter
architecture: resnet18
num_classes: 1
num_classes_help: How many numbers does the network return?
min_classes: 1
pretrained_classes: 0
has_heads: false
transforms: [to_tensor, custom]
resize_modes: [crop, stretch]
keeps_whole_image: false
questions: [unit]
samples: {unit: [lux, candela]}
outputs: [{value: logits, title: numbers, must: It must return numbers.}]
output: numbers (N, num_classes)
output_key: logits
torchvision_returns_dict: false
small_network: Mean
""",
    "questions.yml": """
unit:
  type: str
  help: In which unit are the numbers?
  when: "{{ 'unit' in task_facts.questions }}"
  default: lux
""",
    "response_size.jinja": "6500000",
    "readme.md.jinja": "",
    "network.py.jinja": '''class Mean(nn.Module):
    """Returns how bright an image is."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return numbers (N, num_classes) for images (N, {{ channels }}, H, W)."""
        return images.mean(dim=(1, 2, 3))[:, None] * self.factor
''',
    "task.py.jinja": '''"""Brightness: what an item is, and how outputs become predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from service.images import decode_image
from service.preprocessing import IMAGE_SIZE, normalize, preprocess
from service.response import make_answers

__all__ = ["Item", "batches", "collate", "normalize", "predictions", "prepare", "scores"]

MAX_BATCH = 32  # images in a forward pass

{% include 'template/inputs/image/one_size.py.jinja' %}


def scores(outputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs (N, numbers) as they are."""
    return outputs


def predictions(scores: torch.Tensor, items: list[Item], labels: list[str]) -> list[Any]:
    """Return a prediction for each row."""
    return make_answers(scores, labels)


{% include 'template/tasks/encode_json.py.jinja' %}
''',
    "outputs.py.jinja": '''"""What the outputs of the network should look like."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from service import NUM_CLASSES
from tools.project import ProjectError
{% if is_converted %}

MIN_AGREEMENT = 1
MAX_DIFFERENCE = 0.1
AGREEMENT = "of the images are alike"
DIFFERENCE = "is the largest change"
{% endif %}


def check_outputs(outputs: Iterable[torch.Tensor]) -> None:
    """Raise ProjectError unless each output is as many numbers as the project has."""
    for output in outputs:
        if output.shape != (NUM_CLASSES,):
            raise ProjectError(f"the network returns {tuple(output.shape)}, not ({NUM_CLASSES},)")
{% if loader == 'state_dict' %}


def answers_for(outputs: int) -> dict[str, object]:
    """Return the answers that a network with so many outputs needs."""
    return {"num_classes": outputs}
{% endif %}
{% if is_converted %}


def compare_scores(expected: torch.Tensor, found: torch.Tensor) -> tuple[float, float]:
    """Return how much two outputs agree, and differ."""
    return 1.0, (expected - found).abs().max().item()
{% endif %}
''',
    "smoke.py.jinja": """def test_white_is_brighter_than_black(service: LocalService) -> None:
    black, white = (encode(Image.new("L", (9, 9), value), "PNG") for value in (0, 255))
    dark, light = service.scores([black, white])
    assert (dark <= light).all()
""",
    "responses/number/response.yml": """
task: brightness
value: number
title: '{"brightness": 0.5, "unit": "lux"}'
order: 1
""",
    "responses/number/response.py.jinja": '''"""From numbers to what a client reads."""

from typing import Any

import torch


def make_answers(numbers: torch.Tensor, labels: list[str]) -> list[dict[str, Any]]:
    """Return the first number of every row (N, numbers)."""
    return [{"brightness": row[0], "unit": "{{ unit }}"} for row in numbers.tolist()]
''',
    "responses/number/table.py.jinja": '''def table(prediction: dict[str, Any]) -> list[str]:
    """Return the line of a prediction."""
    return [f"{prediction['brightness']:.3f} {prediction['unit']}"]
''',
    "responses/number/smoke.py.jinja": """    assert prediction.body["unit"] == "{{ unit }}"
    return [f"{prediction.body['brightness']:.3f}"]
""",
    "responses/number/readme.md.jinja": "The prediction is a number.\n",
}


BACKEND = {
    "backend.yml": """
value: exported
title: torch.export's program, run as it is
order: 99
precisions: {cpu: [fp32]}
makes: exports the network with torch.export
""",
    "loading.py.jinja": '''"""From the file in the archive to the network that predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def load_model(path: Path, device: torch.device) -> nn.Module:
    """Return the network at `path`, ready to serve on the CPU."""
    return torch.export.load(path).module()
''',
    "conversion.py.jinja": '''"""From the trained weights to the program that is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from service import task
from tools.trained import load_trained

CONVERSION = "{{ backend }}, {{ precision }}"
SERVED_NAME = "program.pt2"  # in the archive


def convert(weights: Path, target: Path, examples: Mapping[str, bytes]) -> str:
    """Export the network with the weights of a state_dict; return what was made, for people."""
    images = task.normalize(task.collate([task.example()] * 2))
    network = load_trained(weights, torch.device("cpu"))
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), target)
    return f"exported, {target.stat().st_size / 1e6:.1f} MB"
''',
}

RESPONSE = {
    "response.yml": """
task: image_classification
value: best_name
title: '"cat", the name of the best alone'
order: 99
smoke_uses: [unicodedata]
""",
    "response.py.jinja": '''"""From probabilities to what a client reads."""

import torch


def make_answers(probabilities: torch.Tensor, labels: list[str]) -> list[str]:
    """Return the name of the most probable class of every row (N, C)."""
    return [labels[index] for index in probabilities.argmax(dim=1).tolist()]
''',
    "table.py.jinja": '''def table(prediction: str) -> list[str]:
    """Return the line of a prediction."""
    return [prediction]
''',
    "smoke.py.jinja": """    assert unicodedata.is_normalized("NFC", prediction.body)
    return [prediction.body]
""",
    "readme.md.jinja": "The prediction is a name.\n",
}

LABELS = {
    "label.yml": """
value: sections
title: "[classes], then a line for each class: 0 = cat"
order: 99
file: labels.ini
is_folder: false
modules: [names, text_file, sections]
pattern: '\\[classes\\]'
""",
    "example.jinja": """
[classes]
{% for index in range(num_classes) %}
{{ index }} = class {{ index }}
{% endfor %}
""",
    "readme.md.jinja": "Name your classes in `{{ label_file }}`, as in `0 = cat`.\n",
    "writing.py.jinja": """
    return "[classes]\\n" + "".join(f"{i} = {x}\\n" for i, x in enumerate(names))
""",
}
READER = {
    "sections.py": '''
"""The format sections: [classes], then 0 = cat."""

from __future__ import annotations

from pathlib import Path

from .names import LabelFileError, Labels
from .text_file import read_text


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people."""
    title, *lines = read_text(path).split("\\n")
    if title != "[classes]":
        raise LabelFileError(f"{path} begins with {title!r}; expected [classes]")
    labels = []
    for line in lines:
        index, _, name = line.partition(" = ")
        if not index.isdecimal():
            raise LabelFileError(f"{path}: {line!r} has no index; expected 0 = cat")
        labels.append((int(index), name))
    return labels, []
''',
}

TARGET = {
    "target.yml": """
value: systemd
title: a service of systemd
order: 99
files: [deploy/systemd/requirements.txt, deploy/systemd/service.unit, service.env]
files_with: {docker: [deploy/systemd/docker.unit]}
requirements: [sdnotify>=0.3]
""",
    "service.unit.jinja": """
[Service]
ExecStart=python serve.py --port 8080  # {{ service_name }}
""",
    "docker.unit.jinja": "[Service]\nExecStart=docker compose up\n",
    "service.env.jinja": "MODEL={{ model_name }}\n",
    "requirements.txt.jinja": "# For systemd.\n-r ../../requirements.txt\nsdnotify>=0.3\n",
    "readme.md.jinja": "## With systemd\n\nCopy `deploy/systemd/service.unit`.\n",
}

ADDED = {
    "template/tasks/brightness": TOY,
    "template/backends/exported": BACKEND,
    "template/tasks/image_classification/responses/best_name": RESPONSE,
    "template/labels/sections": LABELS,
    "generator/shared/label_files": READER,
    "template/deploy/systemd": TARGET,
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template and the generator, with a folder more for each thing of ADDED."""
    root = tmp_path_factory.mktemp("checkout") / "ts-template"
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("template", "generator"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    shutil.copy(REPOSITORY / "copier.yml", root)
    for folder, files in ADDED.items():
        for name, text in files.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip("\n"), encoding="utf-8")
    return root


def copy_from(checkout: Path, path: Path, **answers: Any) -> Project:
    """Render a project from a checkout, and run its own tests."""
    settings = Settings()
    run_copy(str(checkout), path, answers, defaults=True, quiet=True, settings=settings)
    project = Project(path)
    result = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout
    return project


def run_with(checkout: Path, script: Path, *args: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that imports the generator of a checkout."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.serve
def test_a_task_is_one_folder(checkout: Path, tmp_path: Path) -> None:
    answers = {"task": "brightness", "architecture": "custom", "label_format": "none"}
    project = copy_from(checkout, tmp_path / "meter", **answers, unit="candela", color_mode="RGB")
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(1).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    project.archive()
    image = noise(0)
    with project.serve() as service:
        bad, good = service.post(b"none"), service.post(encode(image))
    assert bad.status == 400
    assert good.json["unit"] == "candela"
    expected = torch.tensor(list(image.tobytes())).float().mean().item() / 255
    assert good.json["brightness"] == pytest.approx(expected, abs=0.02)


@pytest.mark.serve
def test_a_backend_and_a_response_format_are_one_folder_each(
    checkout: Path, tmp_path: Path
) -> None:
    answers = {"architecture": "custom", "num_classes": 4, "color_mode": "RGB"}
    made = {"backend": "exported", "response_format": "best_name"}
    project = copy_from(checkout, tmp_path / "project", **answers, **made)
    plain = copy_from(checkout, tmp_path / "plain", **answers, response_format="label")
    for one in (project, plain):
        build_and_save(one)
    project.archive()
    plain.archive()
    with zipfile.ZipFile(project.path / "model-store" / "image-classifier.mar") as archive:
        assert "program.pt2" in archive.namelist()
    images = [tmp_path / f"{seed}.png" for seed in range(4)]
    for seed, path in enumerate(images):
        path.write_bytes(encode(noise(seed)))
    expected = [prediction["label"] for prediction in plain.predict(*images)]
    assert project.predict(*images) == expected
    with project.serve() as service:
        assert [service.post(path.read_bytes()).json for path in images] == expected


INSPECT = """
import sys
from pathlib import Path
from generator.labels import LabelError, inspect_labels, write_into

file = Path(sys.argv[1])
found = inspect_labels(file)
print(found.answers, found.names)
before = file.read_text("utf-8")
try:
    write_into(file.parent, file, None, "")
except LabelError as error:
    print(error)
assert file.read_text("utf-8") == before
"""


@pytest.mark.serve
def test_a_label_format_is_a_folder_and_a_reader(checkout: Path, tmp_path: Path) -> None:
    answers = {"architecture": "custom", "num_classes": 4, "label_format": "sections"}
    project = copy_from(checkout, tmp_path / "project", **answers, training=True)
    build_and_save(project)
    project.archive()
    image = tmp_path / "image.png"
    image.write_bytes(encode(noise(0)))
    (prediction,) = project.predict(image)
    assert {x["label"] for x in prediction} == {f"class {index}" for index in range(4)}

    names = ["cat", "dog = dog", "[bird]", "Ä"]
    code = f"from training.labels import check_labels, write_labels; check_labels({names}); "
    assert project.run("-c", f"{code}write_labels({names})").returncode == 0
    (tmp_path / "inspect_labels.py").write_text(INSPECT)
    result = run_with(checkout, tmp_path / "inspect_labels.py", project.path / "labels.ini")
    found, refusal = result.stdout.splitlines()
    assert found == f"{{'label_format': 'sections'}} {names}", result.stderr
    assert "take label_format=list" in refusal  # until the generator can write this format
    assert result.returncode == 0, result.stderr


def test_a_deployment_target_is_one_folder(checkout: Path, tmp_path: Path) -> None:
    project = copy_from(checkout, tmp_path / "project", deploy=["systemd", "docker"])
    unit = (project.path / "deploy" / "systemd" / "service.unit").read_text()
    assert "# image-classifier\n" in unit
    assert (project.path / "service.env").read_text() == "MODEL=image-classifier\n"
    assert (project.path / "deploy" / "systemd" / "docker.unit").exists()
    assert "## With systemd" in (project.path / "README.md").read_text()


# Combinations of the matrix in which something added is, and what came of them.
MATRIX = """
from generator import matrix

ADDED = {
    "task": "brightness",
    "backend": "exported",
    "response_format": "best_name",
    "label_format": "sections",
    "deploy": "systemd",
}

if __name__ == "__main__":  # not in the processes that render
    found = matrix.combinations()
    chosen = []
    for name, value in ADDED.items():
        fitting = [x for x in found if value in (x[name] if name == "deploy" else [x.get(name)])]
        assert len(fitting) > 100, (name, len(fitting))
        chosen += fitting[:: len(fitting) // 5]
    outcome = matrix.run(chosen, processes=1)
    print(len(chosen), outcome.rendered + outcome.refused, outcome.checked)
    raise SystemExit("\\n".join(outcome.failures) or 0)
"""


@pytest.mark.slow
@pytest.mark.matrix
def test_the_matrix_takes_up_what_is_added(checkout: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MATRIX)
    result = run_with(checkout, script)
    assert result.returncode == 0, result.stdout + result.stderr
    chosen, done, checked = map(int, result.stdout.split())
    assert chosen == done >= 25
    assert checked > 5
