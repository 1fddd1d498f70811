"""Semantic segmentation: right masks of the original size, from checkpoints as people save them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.mask import decode
from torch import nn
from torch.nn.functional import interpolate
from torchvision.models import segmentation
from torchvision.transforms import functional as transforms

from conftest import Project, encode, slow, ts_template
from engines import config_for, one_worker, ray_cluster, send

COLOURS = {"background": (0, 0, 0), "red": (230, 20, 20), "green": (20, 230, 20)}
LABELS = '{"0": "background", "1": "red", "2": "green"}'
SIDE = 240  # pixels of the shorter side, for networks of torchvision

# The class of a pixel is the colour that it has most of; dark pixels are background.
NETWORK = """
import torch
from torch import nn


def build_model(num_classes: int) -> nn.Module:
    network = nn.Conv2d(3, num_classes, kernel_size=1)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[1, 0] = network.weight[2, 1] = 4
        network.bias[:] = torch.tensor([2.0, 0, 0])
    return network
"""


def stripes(width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Return an image of three stripes, and the class of each of its pixels (height, width)."""
    classes = np.zeros((height, width), dtype=np.uint8)
    classes[:, width // 4 : width // 2] = 1
    classes[: height // 3] = 2
    pixels = np.array(list(COLOURS.values()), dtype=np.uint8)[classes]
    return Image.fromarray(pixels), classes


def segmenter(
    copy_project: Callable[..., Project], name: str = "project", **answers: Any
) -> Project:
    """Render a project for the network that knows colours, and build its archive."""
    project = copy_project(
        name,
        task="semantic_segmentation",
        architecture="custom",
        color_mode="RGB",
        num_classes=3,
        transforms="custom",
        mean=0,
        std=1,
        image_size=90,
        **answers,
    )
    (project.path / "service" / "model.py").write_text(NETWORK)
    (project.path / "index_to_name.json").write_text(LABELS)
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(3).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    project.archive()
    return project


def mask_of(body: Any) -> np.ndarray:
    """Return the mask in a prediction of the default form."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body["mask"]))))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels that are equal; shapes must be, too."""
    assert one.shape == other.shape
    return float((one == other).mean())


@pytest.mark.serve
def test_masks_are_right_and_of_the_size_that_was_sent(
    copy_project: Callable[..., Project],
) -> None:
    project = segmenter(copy_project)
    image, classes = stripes(240, 180)
    tall, tall_classes = stripes(120, 300)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right by a quarter
    turned = io.BytesIO()
    image.rotate(90, expand=True).save(turned, "JPEG", quality=95, exif=exif)
    good = [(encode(image), classes), (encode(tall), tall_classes), (turned.getvalue(), classes)]
    bodies = [good[0][0], b"\xff\xd8\xff broken", good[1][0], good[2][0]] * 2
    one_worker(project.path)
    with project.serve() as service, ThreadPoolExecutor(len(bodies)) as clients:
        replies = list(clients.map(service.post, bodies))
    assert [reply.status for reply in replies] == [200, 400, 200, 200] * 2
    assert "damaged" in replies[1].json["error"]
    for reply, (_, expected) in zip(
        [reply for reply in replies if reply.status == 200], good * 2, strict=True
    ):
        found = mask_of(reply.json)
        assert agreement(found, expected) > 0.97  # borders, after scaling there and back
        areas = {x["label"]: x["pixels"] for x in reply.json["classes"]}
        assert sum(areas.values()) == expected.size
        assert areas["green"] == pytest.approx((expected == 2).sum(), rel=0.05)


def test_the_other_forms_of_a_mask_say_the_same(copy_project: Callable[..., Project]) -> None:
    image, _ = stripes(200, 120)
    path = copy_project("any").path.parent / "image.png"
    image.save(path)
    found = {}
    for response_format in ("png", "png_body", "rle", "areas"):
        project = segmenter(copy_project, response_format, response_format=response_format)
        (found[response_format],) = project.predict(path)
        table = project.run("predict.py", str(path)).stdout
        assert "green" in table or response_format == "png_body"
    mask = mask_of(found["png"])
    with Image.open(io.BytesIO(base64.b64decode(found["png_body"]))) as indexed:
        assert indexed.mode == "P"
        assert (np.asarray(indexed) == mask).all()
        palette = np.array(indexed.getpalette()).reshape(-1, 3)
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    for entry in found["rle"]:
        assert (decode(entry["segmentation"]).astype(bool) == (mask == entry["index"])).all()
        assert entry["area"] == (mask == entry["index"]).sum()
    assert found["areas"] == found["png"]["classes"]
    assert {x["label"] for x in found["areas"]} == set(COLOURS)


@pytest.mark.serve
def test_an_image_as_body_and_errors_beside_it(copy_project: Callable[..., Project]) -> None:
    project = segmenter(copy_project, response_format="png_body")
    image, classes = stripes(50, 40)
    text = base64.b64encode(encode(image)).decode()
    listed = json.dumps({"instances": [{"data": text}, {"data": "none"}]}).encode()
    one_worker(project.path)
    with project.serve() as service:
        good, bad = service.post(encode(image)), service.post(b"none")
        both = service.post(listed, "application/json")
    assert (good.status, good.content_type) == (200, "image/png")
    with Image.open(io.BytesIO(good.body)) as mask:
        assert agreement(np.asarray(mask), classes) > 0.95
    assert (bad.status, bad.content_type) == (400, "application/json")
    assert base64.b64decode(both.json[0]) == good.body
    assert "error" in both.json[1]


REFUSED = {
    "a classifier": (
        "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))",
        "(3,)",
    ),
    "one channel": ("nn.Conv2d(3, 1, kernel_size=1)", "-d num_classes=2 -d model_output=binary_"),
    "another number of classes": ("nn.Conv2d(3, 5, kernel_size=1)", "-d num_classes=5"),
    "sides that are multiples of 32": (
        "nn.Sequential(nn.PixelUnshuffle(32), nn.Conv2d(3072, 3072, 1), nn.PixelShuffle(32))",
        "-d resize_mode=stretch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_segment_is_refused(copy_project: Callable[..., Project], name: str) -> None:
    project = copy_project(
        task="semantic_segmentation",
        architecture="custom",
        color_mode="RGB",
        num_classes=3,
        transforms="custom",
        image_size=96,
    )
    network, message = REFUSED[name]
    (project.path / "service" / "model.py").write_text(
        f"from torch import nn\n\n\ndef build_model(num_classes):\n    return {network}\n"
    )
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(3).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert message in refused.stderr


@pytest.mark.parametrize(
    ("backend", "precision"), [("onnxruntime", "fp32"), ("openvino", "fp32"), ("eager", "bf16")]
)
def test_every_backend_gives_the_same_masks(
    copy_project: Callable[..., Project], backend: str, precision: str
) -> None:
    path = copy_project("any").path.parent / "image.png"
    image, classes = stripes(160, 120)
    image.save(path)
    project = segmenter(copy_project, "fast", backend=backend, precision=precision)
    (found,) = project.predict(path)
    assert agreement(mask_of(found), classes) > 0.97


# ------------------------------------------------------------------------ networks of torchvision


def save_seeded(network: nn.Module, path: Path, content: Callable[[Any], Any]) -> nn.Module:
    """Give a network weights whose outputs differ from pixel to pixel, and save them."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            scale = (2 / parameter[0].numel()) ** 0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    torch.save(content(network.state_dict()), path)
    return network.eval()


def reference(network: nn.Module, image: Image.Image) -> np.ndarray:
    """Return the mask (H, W) that torchvision's own evaluation gives, at the image's size.

    But for the size: images that are scaled to torchvision's 520 pixels are in test_new.py.
    """
    pixels = transforms.resize(
        transforms.pil_to_tensor(image.convert("RGB")), [SIDE], antialias=True
    )
    batch = transforms.convert_image_dtype(pixels)[None]
    batch = transforms.normalize(batch, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        scores = network(batch)["out"]
    size = (image.height, image.width)
    return interpolate(scores, size, mode="bilinear")[0].argmax(dim=0).numpy().astype(np.uint8)


@pytest.mark.serve
# In every run, test_engines.py shows that Ray answers as TorchServe does.
@pytest.mark.parametrize("engine", ["torchserve", slow("ray_serve")])
def test_a_checkpoint_becomes_a_service_in_one_command(
    tmp_path: Path, photographs: list[Image.Image], engine: str
) -> None:
    network = segmentation.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=4)
    # As torchvision's reference script saves it, from several GPUs.
    network = save_seeded(
        network,
        tmp_path / "model_29.pth",
        lambda state: {
            "model": {f"module.{name}": tensor for name, tensor in state.items()},
            "optimizer": {"state": {}, "param_groups": []},
            "epoch": 29,
        },
    )
    (tmp_path / "classes.txt").write_text("background\nroad\nwall\nsky\n")
    result = ts_template(
        *("new", "streets", "--weights", "model_29.pth", "--labels", "classes.txt", "--defaults"),
        *("-d", "deploy=[ray_serve]", "-d", "backend=eager"),
        *("-d", "transforms=custom", "-d", "resize_mode=shorter_side", "-d", f"image_size={SIDE}"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "task: semantic_segmentation" in result.stdout
    project = Project(tmp_path / "streets")
    image = photographs[0].resize((320, SIDE))
    expected = reference(network, image)
    bodies = [encode(image), b"\xff\xd8\xff broken", encode(image)]
    with answering(project, engine) as url, ThreadPoolExecutor(len(bodies)) as clients:
        answered = list(clients.map(lambda body: send(url, body), bodies))
    assert [status for status, _ in answered] == [200, 400, 200]
    assert "damaged" in json.loads(answered[1][1])["error"]
    for _, body in (answered[0], answered[2]):
        reply = json.loads(body)
        assert agreement(mask_of(reply), expected) > 0.97  # one grey level moves some borders
        names = {x["index"]: x["label"] for x in reply["classes"]}
        assert names.items() <= {0: "background", 1: "road", 2: "wall", 3: "sky"}.items()


@contextlib.contextmanager
def answering(project: Project, engine: str) -> Iterator[str]:
    """Run a project in an engine, and yield the URL of its model."""
    if engine == "torchserve":
        one_worker(project.path)
        with project.serve() as service:
            yield service.url
    else:
        with ray_cluster(project.path) as cluster:
            cluster.run(config_for(cluster))
            cluster.wait_until()
            yield cluster.url
