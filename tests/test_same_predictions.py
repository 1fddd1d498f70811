"""Image classification responds with the very bytes of the last release before there were tasks."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from copier import Settings, run_copy
from PIL import Image

from conftest import REPOSITORY, Project, build_and_save, encode, noise
from generator.matrix import imported_from

BEFORE = REPOSITORY / "tests" / "releases" / "0.2.0.tar.xz"

SMALL: dict[str, Any] = {"transforms": "custom", "image_size": 64, "num_classes": 6}
CUSTOM: dict[str, Any] = {"architecture": "custom", "num_classes": 4}
PROJECTS: dict[str, dict[str, Any]] = {
    "digits": CUSTOM,
    "colour": {**CUSTOM, "color_mode": "RGB", "response_format": "scores", "top_k": 3},
    "best alone": {**CUSTOM, "response_format": "label"},
    "softmax inside": {**CUSTOM, "model_output": "probabilities", "label_format": "none"},
    "ImageNet": {"architecture": "resnet18", "label_format": "none"},
    "margin": {
        **SMALL,
        "architecture": "squeezenet1_1",
        "resize_size": 80,
        "mean": [0.4, 0.5, 0.6],
    },
    "stretched": {
        **SMALL,
        "architecture": "mobilenet_v3_small",
        "resize_mode": "stretch",
        "interpolation": "bicubic",
    },
    "nearest": {**SMALL, "architecture": "shufflenet_v2_x0_5", "interpolation": "nearest"},
    "wrapped": {**SMALL, "architecture": "resnet18", "weights": "wrapped", "head": "mlp_dropout"},
    "gray": {**SMALL, "architecture": "mnasnet0_5", "color_mode": "L", "mean": 0.4},
    "timm": {"architecture": "timm/resnet10t", "num_classes": 3, "label_format": "class_to_idx"},
    "ONNX Runtime": {**CUSTOM, "backend": "onnxruntime", "label_format": "csv"},
    "half": {**SMALL, "architecture": "mobilenet_v3_small", "precision": "bf16"},
}


def requests() -> list[dict[str, Any]]:
    """Return requests of all forms, as TorchServe hands them over; some are refused."""
    photo = noise(1, (90, 130))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    turned = io.BytesIO()
    photo.save(turned, "JPEG", exif=rotated)
    text = base64.b64encode(encode(noise(2))).decode()
    return [
        {"body": encode(photo, "JPEG")},
        {"body": turned.getvalue()},
        {"body": encode(noise(3, (300, 200)), "WEBP")},
        {"body": encode(noise(4).convert("L"))},
        {"body": encode(noise(5).convert("RGBA"))},
        {"data": encode(noise(6), "BMP")},
        {"body": text},
        {"body": json.dumps({"data": text}).encode()},
        {"body": {"instances": [{"data": text}, {"data": f"data:image/png;base64,{text}"}]}},
        {"one": encode(noise(7)), "other": encode(noise(8))},
        {"body": b"no image"},
        {"body": b""},
    ]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of the release before."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextlib.contextmanager
def flat_modules_from(path: Path) -> Iterator[None]:
    """Let `import` find the modules of a project whose modules lie in its own folder."""
    names = {file.stem for file in path.glob("*.py")}
    own = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(own)


@pytest.mark.parametrize("name", PROJECTS)
def test_the_responses_are_those_of_the_release_before(
    before: Path, tmp_path: Path, copy_project: Callable[..., Project], name: str
) -> None:
    answers = PROJECTS[name]
    old = tmp_path / "old"
    run_copy(str(before), old, answers, defaults=True, quiet=True, settings=Settings())
    new = copy_project("new", **answers).path
    prefix = "module." if answers.get("weights") == "wrapped" else ""
    classes = answers.get("num_classes", 1000)
    limits = "" if "precision" not in answers and "backend" not in answers else "limits"

    torch.manual_seed(0)
    with flat_modules_from(old):
        archive, inprocess, model = map(importlib.import_module, ("archive", "inprocess", "model"))
        network = model.build_model(classes)
        for parameter in network.parameters():
            parameter.data.mul_(1.5)
        state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
        for folder in (old, new):
            torch.save(state, folder / "weights" / "w.pth")
        loose = {limits: archive.Limits(1, 0)} if limits else {}
        with inprocess.open_archive(archive.build(old / "weights" / "w.pth", **loose)) as service:
            expected = [(reply.status, reply.text) for reply in service.reply(requests())]
    with imported_from(new):
        archive, inprocess = map(importlib.import_module, ("archive", "tools.inprocess"))
        loose = {limits: archive.Limits(1, 0)} if limits else {}
        with inprocess.open_archive(archive.build(new / "weights" / "w.pth", **loose)) as service:
            found = [(reply.status, reply.body) for reply in service.reply(requests())]

    assert [status for status, _ in found] == [status for status, _ in expected]
    for (status, one), (_, other) in zip(found, expected, strict=True):
        if status == 200:  # what is refused is refused in other words
            assert one == other
    assert [status for status, _ in found] == [200] * 10 + [400] * 2


@pytest.mark.slow
@pytest.mark.serve
def test_the_responses_are_the_same_over_http(
    before: Path, tmp_path: Path, copy_project: Callable[..., Project]
) -> None:
    answers = {"architecture": "custom", "num_classes": 4, "color_mode": "RGB"}
    run_copy(str(before), tmp_path / "old", answers, defaults=True, quiet=True, settings=Settings())
    old, new = Project(tmp_path / "old"), copy_project("new", **answers)
    build_and_save(new)
    shutil.copy(new.path / "weights" / "w.pth", old.path / "weights")
    bodies = [
        (row["body"], "text/plain" if isinstance(row["body"], str) else "application/json")
        for row in requests()
        if isinstance(row.get("body"), bytes | str)
    ]
    replies = []
    for project in (old, new):
        project.archive()
        with project.serve() as service:
            replies.append(
                [
                    service.post(body.encode() if isinstance(body, str) else body, kind)
                    for body, kind in bodies
                ]
            )
    for one, other in zip(*replies, strict=True):
        assert (one.status, one.content_type) == (other.status, other.content_type)
        if one.status == 200:
            assert one.body == other.body
    assert [reply.status for reply in replies[1]].count(200) == 7
