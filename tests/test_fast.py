"""The fastest exact service: which backend `ts-template new` takes by itself, and why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import text_folders
import torch
import yaml

import forked
import terminal
from conftest import REPOSITORY, Project, encode, noise, ts_template
from generator import tuning

# Plain, and as networks are that a backend cannot have.
MODEL = """
import torch


class Network(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=4)
        self.fc = torch.nn.Linear(8, num_classes)

    def forward(self, images):
        features = self.conv(images).relu().mean((2, 3))
        {}
        return self.fc(features)


def build_model(num_classes):
    return Network(num_classes)
"""
PLAIN = "features = features * 4"
BRANCHES = "features = features * 4 if features.sum() > 0 else features"
OTHERWISE = "features = features * (2 if torch.compiler.is_exporting() else 4)"
ANSWERS = ["-d", "transforms=imagenet"]


def network(folder: Path, line: str = PLAIN, model: str = MODEL) -> None:
    """Write model.py with a line of its own, and weights.pth of it."""
    (folder / "model.py").write_text(model.replace("{}", line))
    namespace: dict[str, Any] = {}
    exec((folder / "model.py").read_text(), namespace)
    torch.manual_seed(0)
    torch.save(namespace["build_model"](4).state_dict(), folder / "weights.pth")


def new(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Make the project `p` with `ts-template new`, and see that it has predicted."""
    source = ("p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    result = ts_template("new", *source, *ANSWERS, *words, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "p works. Its README.md tells the rest" in result.stdout
    return result


def answers_of(project: Path) -> dict[str, Any]:
    """Return the answers that a project remembers."""
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return answers


def members(project: Path) -> list[str]:
    """Return what is in the archive of a project."""
    (archive,) = (project / "model-store").glob("*.mar")
    return zipfile.ZipFile(archive).namelist()


def test_new_takes_the_backend_that_predicts_the_same_and_is_faster(tmp_path: Path) -> None:
    network(tmp_path)
    printed = new(tmp_path).stdout
    assert "backend: onnxruntime, which predicts as eager does and is mostly faster" in printed
    assert "-d backend=eager)" in printed
    assert answers_of(tmp_path / "p")["backend"] == "onnxruntime"
    assert "model.onnx" in members(tmp_path / "p")
    assert (tmp_path / "p" / "service" / "model.py").read_text() == MODEL.format(PLAIN)
    image = tmp_path / "image.png"
    image.write_bytes(encode(noise(0)))
    shutil.move(tmp_path / "p", tmp_path / "fast")
    printed = new(tmp_path, "-d", "backend=eager").stdout
    assert "backend: eager" in printed and "onnx" not in printed
    fast, eager = (Project(tmp_path / x).predict(image)[0] for x in ("fast", "p"))
    assert {x["index"]: x["probability"] for x in fast} == pytest.approx(
        {x["index"]: x["probability"] for x in eager}, abs=1e-5
    )


def without(modules: Sequence[str], *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `ts-template` in an environment that lacks some modules."""
    code = f"import sys; sys.modules |= dict.fromkeys({modules}); "
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "300", "PYTHONPATH": str(REPOSITORY)}
    return forked.run(
        ["-c", f"{code}from generator.cli import main; main()", *words], cwd, environment
    )


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (BRANCHES, {"backend: eager, not onnxruntime or openvino: ": "cannot be exported"}),
        (
            OTHERWISE,
            {
                "backend: openvino, if it predicts as eager does, not onnxruntime: ": "otherwise",
                "backend: eager, not openvino: ": "otherwise than the network that was trained",
            },
        ),
    ],
)
def test_new_stays_with_pytorch_where_conversions_fail_or_predict_otherwise(
    tmp_path: Path, line: str, reasons: dict[str, str]
) -> None:
    network(tmp_path, line)
    printed = new(tmp_path).stdout
    for beginning, reason in reasons.items():
        (said,) = [x for x in printed.splitlines() if beginning in x]
        assert reason in said
    assert answers_of(tmp_path / "p")["backend"] == "eager"
    assert "model.onnx" not in members(tmp_path / "p")
    assert not (tmp_path / "p" / "tools" / "conversion.py").exists()


def test_new_keeps_its_choice_where_pytorch_fails_as_well(tmp_path: Path) -> None:
    network(tmp_path)
    state = torch.load(tmp_path / "weights.pth")
    torch.save({name: x.fill_(0) for name, x in state.items()}, tmp_path / "weights.pth")
    words = ("new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults", *ANSWERS)
    result = ts_template(*words, cwd=tmp_path)
    assert result.returncode == 1
    assert "the network returns the same" in result.stderr
    assert "again, as eager fails for the same reason" in result.stdout
    assert answers_of(tmp_path / "p")["backend"] == "onnxruntime"


def test_new_takes_openvino_where_onnx_runtime_does_not_run(tmp_path: Path) -> None:
    network(tmp_path)
    broken = tmp_path / "broken" / "onnxruntime"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot open it')\n")
    source = ("new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    paths = {"PYTHONPATH": f"{broken.parent}{os.pathsep}{REPOSITORY}", "COLUMNS": "300"}
    words = ["-m", "generator.cli", *source, *ANSWERS]
    result = forked.run(words, tmp_path, {**os.environ, **paths})
    assert result.returncode == 0, result.stdout + result.stderr
    said = "backend: openvino, if it predicts as eager does, not onnxruntime: the archive does not"
    assert f"{said} run: ImportError: libgomp.so.1" in result.stdout
    assert "backend: openvino, which predicts as eager does" in result.stdout
    assert answers_of(tmp_path / "p")["backend"] == "openvino"


# As PSPNet pools: a conversion holds the shape that it was made with.
PYRAMID = """
import torch
from torch import nn
from torch.nn.functional import interpolate


class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 8)
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(bins) for bins in (1, 2, 3, 6))
        self.last = nn.Conv2d(40, num_classes, 1)

    def forward(self, images):
        x = self.down(images)
        pooled = [interpolate(pool(x), size=x.shape[2:]) for pool in self.pools]
        return self.last(torch.cat([x, *pooled], dim=1))


def build_model(num_classes):
    return Network(num_classes)
"""


def new_segmenter(folder: Path, model: str) -> subprocess.CompletedProcess[str]:
    """Make a service of a network that segments images of any shape."""
    network(folder, model=model)
    words = ("-d", "task=semantic_segmentation", "-d", "resize_mode=shorter_side")
    source = ("new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    size = ("-d", "image_size=96", "-d", "num_classes=4")
    return without(["openvino"], *source, *words, *size, cwd=folder)


def test_backends_are_compared_on_images_of_all_shapes(tmp_path: Path) -> None:
    result = new_segmenter(tmp_path, PYRAMID)
    assert result.returncode == 0, result.stdout + result.stderr
    (said,) = [x for x in result.stdout.splitlines() if "backend: eager, not onnxruntime: " in x]
    assert "the archive does not run" in said and "copier" not in said
    project = Project(tmp_path / "p")
    images = [encode(noise(0, size)) for size in ((90, 40), (40, 90), (64, 64))]
    for number, data in enumerate(images):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        assert project.predict(path)


def test_what_is_not_the_backends_fault_is_said_once(tmp_path: Path) -> None:
    network(tmp_path)
    (tmp_path / "model.py").write_text("def build_model(num_classes):\n    return absent\n")
    source = ("p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    result = ts_template("new", *source, *ANSWERS, cwd=tmp_path)
    assert result.returncode == 1
    assert "absent" in result.stderr and "backend: eager" not in result.stdout


def test_new_says_what_to_install(tmp_path: Path) -> None:
    network(tmp_path)
    source = ["new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults"]
    result = without(["onnxruntime", "openvino"], *source, *ANSWERS, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        "backend: eager (for onnxruntime: pip install onnxruntime; or for openvino: pip install "
        "openvino)"
    ) in result.stdout
    assert answers_of(tmp_path / "p")["backend"] == "eager"


def test_new_keeps_what_was_answered_in_a_terminal(tmp_path: Path) -> None:
    network(tmp_path)
    words = ["p", "--weights", "weights.pth", "--model", "model.py", *ANSWERS]
    keys = {"Change the rest": ["y"]}
    command = [sys.executable, "-m", "generator.cli", "new", *words]
    asked, shown = terminal.answer(command, tmp_path, keys)
    assert (tmp_path / "p" / "model-store" / "p.mar").is_file(), shown
    assert any("What runs the network" in text for text in asked)
    assert answers_of(tmp_path / "p")["backend"] == "eager"
    assert "backend: " not in shown


# ------------------------------------------------------------------------------- ts-template tune


def images(folder: Path, count: int = 3) -> Path:
    """Write images of noise, and return their folder."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encode(noise(number)))
    return folder


# Runs `ts-template`; what predicts without a server does so for a short time.
SHORTLY = "from generator import cli, tuning; tuning.SECONDS = 0.2; {}; cli.main()"


def shortly(folder: Path, *words: str, more: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run `ts-template` so in a folder, after some more code."""
    paths = {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "300"}
    return forked.run(["-c", SHORTLY.format(more), *words], folder, {**os.environ, **paths})


def tune(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run `ts-template tune`, and return what it wrote, too."""
    result = shortly(folder, "tune", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads((folder / "ts-template-tune" / "tuning.json").read_text("utf-8"))
    plot = ElementTree.parse(folder / "ts-template-tune" / "tuning.svg")
    measured = [row for row in figures["candidates"] if row["rates"]]
    assert len(list(plot.iterfind(".//{*}circle"))) == len(measured)
    return result, figures


@pytest.fixture
def released(copy_released: Callable[..., Project], tmp_path: Path) -> Project:
    """A project that a user of a release has, in bf16, with an archive."""
    network(tmp_path)
    answers = {"architecture": "custom", "num_classes": 4, "precision": "bf16"}
    transforms = {"color_mode": "RGB", "transforms": "imagenet", "image_size": 32}
    project = copy_released(**answers, **transforms, resize_size=32)
    shutil.copy(tmp_path / "model.py", project.path / "service" / "model.py")
    shutil.copy(tmp_path / "weights.pth", project.path / "weights")
    return project


def test_tune_names_what_is_fastest_and_gives_it_to_the_project(
    released: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
    fixed = ("-d", "backend=onnxruntime", "-d", "precision=fp32", "--clients", "none")
    words = (released.path.name, str(images(tmp_path / "images")), *fixed)
    result, figures = tune(tmp_path, *words, "--yes")
    eager, onnx = figures["candidates"]
    assert onnx["answers"] == {"backend": "onnxruntime", "precision": "fp32", "decode": "exact"}
    assert (eager["agreement"], onnx["agreement"]) == (1, 1)
    assert 0 < onnx["difference"] < 1e-4 and eager["difference"] == 0
    assert all(row["start"] > 0 and row["memory_mb"] > 0 for row in (eager, onnx))
    assert all(row["alone_per_second"] > 0 for row in (eager, onnx))
    assert figures["exact"] == figures["allowed"] == onnx["answers"]
    assert "The fastest that predicts the same: " in result.stdout
    assert "-d precision=fp32" in result.stdout and "python archive.py" in result.stdout
    assert figures["exact"].items() <= answers_of(released.path).items()
    assert (released.path / "service" / "model.py").read_text() == MODEL.format(PLAIN)
    assert "model.onnx" in members(released.path)


@pytest.mark.slow
def test_tune_goes_on_without_what_fails(released: Project, tmp_path: Path) -> None:
    network(tmp_path, BRANCHES)
    shutil.copy(tmp_path / "model.py", released.path / "service" / "model.py")
    words = (released.path.name, str(images(tmp_path / "images")), "--clients", "none")
    before = answers_of(released.path)
    result, figures = tune(tmp_path, *words, "-d", "backend=onnxruntime")
    assert answers_of(released.path) == before
    reasons = {row["answers"]["precision"]: row["why_not"] for row in figures["candidates"][1:]}
    assert "cannot" in reasons["fp32"]
    assert "20 or more" in reasons["int8"]
    assert figures["exact"]["backend"] == "eager"
    assert reasons["int8"] in result.stdout
    assert "Nothing that was asked for can be had" in result.stdout


def test_tune_says_what_it_cannot_use(released: Project, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    name = released.path.name
    for words, said in {
        (name, "absent.png"): "there is no file or folder absent.png",
        (".", "text.png"): "name the folder of a project",
        (name, "text.png", "-d", "top_k=3"): "-d top_k: expected one of backend",
        (name, "text.png", "--clients", "0"): "--clients is 0",
        (name, "text.png", "--min-agreement", "99"): "from 0 to 1",
        (name, "text.png"): "text.png gets 400: {'error': 'the text is neither an image",
    }.items():
        result = ts_template("tune", *words, cwd=tmp_path)
        assert result.returncode == 1
        assert said in result.stderr and "Traceback" not in result.stderr, result.stderr


@pytest.mark.slow
def test_tune_takes_each_line_of_a_file_for_a_text(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    answers = {"task": "text_classification", "num_classes": 3, "max_tokens": 64}
    project = copy_project(**answers, label_format="none").path
    text_folders.bert(project / "weights" / "bert")
    file = tmp_path / "some" / "texts.txt"
    file.parent.mkdir()
    file.write_text("\n".join(["", *text_folders.SENTENCES, " "]))
    fixed = ("-d", "backend=onnxruntime", "-d", "precision=fp32", "--clients", "none")
    result, figures = tune(tmp_path, str(project), "some", *fixed)
    _, onnx = figures["candidates"]
    assert onnx["agreement"] == 1 and 0 < onnx["difference"] < 1e-4, onnx
    assert figures["exact"] == onnx["answers"] == {"backend": "onnxruntime", "precision": "fp32"}
    assert f"python archive.py --texts {file.parent}" in result.stdout
    places = tuning.lines_of([file], tmp_path / "lines")  # errors name them
    assert [*places.values()] == [f"{file}:{number}" for number in range(2, 8)]
    assert [path.read_text() for path in places] == text_folders.SENTENCES


@pytest.mark.slow
@pytest.mark.serve
def test_new_tunes_with_images_of_the_users(tmp_path: Path) -> None:
    network(tmp_path)
    fixed = ("-d", "backend=eager", "-d", "precision=fp32")
    source = ("new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    words = [*source, *ANSWERS, *fixed, "--tune", str(images(tmp_path / "images"))]
    fewer = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "  # to try
        "from functools import partial; tuning.Settings = partial(tuning.Settings, seconds=0.3)"
    )
    result = shortly(tmp_path, *words, more=fewer)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "p-tune" / "tuning.json").read_text("utf-8"))
    (served,) = figures["candidates"]
    assert [row["clients"] for row in served["loads"][0]] == [1, 16]
    assert all(row["per_second"] > 0 and not row["errors"] for row in served["loads"][0])
    best = figures["workers"][0]
    assert f"python tune.py --set {best['workers']} {best['batch']}" in result.stdout

    def values() -> dict[str, int]:
        config = yaml.safe_load((tmp_path / "p" / "model-config.yaml").read_text("utf-8"))
        return {name: config[name] for name in ("minWorkers", "maxWorkers", "batchSize")}

    workers = best["workers"]
    assert values() == {"minWorkers": workers, "maxWorkers": workers, "batchSize": best["batch"]}

    project, image = Project(tmp_path / "p"), str(tmp_path / "images" / "0.png")
    result = project.run("benchmark.py", "--profile", "--json", "--seconds", "0.5", image)
    assert result.returncode == 0, result.stderr
    stages = json.loads(result.stdout)
    before = ["read", "decode", "resize", "normalize"]
    assert list(stages) == [*before, "forward", "postprocess", "front end"]
    assert all(milliseconds > 0 for milliseconds in stages.values())
    code = f"from tools.profiling import operators; print(operators(open({image!r}, 'rb').read()))"
    assert "convolution" in project.run("-c", code).stdout
    text = tmp_path / "text.png"
    text.write_text("no image")
    for words, said in {
        (str(text),): "image 1 gets 400: {'error': 'the text is neither",
        (image, "--url", "http://127.0.0.1:1/p"): "leave out --url",
    }.items():
        refused = project.run("benchmark.py", "--profile", *words)
        assert refused.returncode and said in refused.stderr, refused.stderr

    setting = ["tune.py", "--set", "3", "5"]
    commands = tuning.commands_for(tmp_path / "p", {}, setting, tuning.Settings([]))
    assert commands == ["python tune.py --set 3 5"]
    tuning.apply(tmp_path / "p", commands)
    assert values() == {"minWorkers": 3, "maxWorkers": 3, "batchSize": 5}
