"""Keypoint detection: torchvision's own keypoints, in pixels of the image that was sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.keypoint_rcnn import (
    KeypointRCNN_ResNet50_FPN_Weights,
    KeypointRCNNPredictor,
)
from torchvision.transforms import functional as transforms

from conftest import Project, encode, ts_template
from engines import one_worker
from generator.fast import FastRenderer
from generator.inspection import inspect_file
from generator.rendering import plain_copy

BARE: dict[str, Any] = {"weights": None, "weights_backbone": None}
SIZES: dict[str, Any] = {
    "min_size": 64, "max_size": 96, "box_detections_per_img": 5, "box_score_thresh": 0.4,
}  # fmt: skip


def seeded(network: Any) -> Any:
    """Give a network weights that find something in most images, each something else."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                scale = (2 / parameter[0].numel()) ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for name, parameter in network.named_parameters():
            if name.endswith("bn3.weight"):  # else numbers grow with each block
                parameter *= 0.1
        box, found = network.roi_heads.box_predictor, network.rpn.head
        for layer in (box.cls_score, box.bbox_pred, found.cls_logits, found.bbox_pred):
            layer.weight *= 0.01  # else one class has all, and its boxes are at the borders
    return network.eval()


def horses(keypoints: int = 5, classes: int = 2, **more: Any) -> Any:
    """Return Keypoint R-CNN with heads as people replace them for other animals than people."""
    network = detection.keypointrcnn_resnet50_fpn(**BARE, **more)
    network.roi_heads.box_predictor = FastRCNNPredictor(1024, classes)
    network.roi_heads.keypoint_predictor = KeypointRCNNPredictor(512, keypoints)
    return network


@torch.inference_mode()
def reference(network: nn.Module, image: Image.Image) -> list[tuple[int, float, Any, Any, Any]]:
    """Return class, score, box, keypoints and their scores as torchvision itself finds them."""
    (found,) = network([transforms.to_tensor(image.convert("RGB"))])
    keys = ("labels", "scores", "boxes", "keypoints", "keypoints_scores")
    return list(zip(*(found[key].tolist() for key in keys), strict=True))


def assert_same(
    prediction: list[dict[str, Any]],
    expected: list[tuple[int, float, Any, Any, Any]],
    names: list[str],
) -> None:
    """Compare a prediction with what torchvision finds in an image by itself."""
    assert len(prediction) == len(expected) > 3
    for found, (label, score, box, points, of_points) in zip(prediction, expected, strict=True):
        assert found["index"] == label
        assert found["score"] == pytest.approx(score, abs=1e-4)
        assert found["box"] == pytest.approx(box, rel=1e-4, abs=0.01)
        assert [x["name"] for x in found["keypoints"]] == names
        for point, (x, y, _), of_point in zip(found["keypoints"], points, of_points, strict=True):
            assert (point["x"], point["y"]) == pytest.approx((x, y), rel=1e-4, abs=0.01)
            assert point["score"] == pytest.approx(of_point, rel=1e-3, abs=1e-3)
    places = {(x["x"], x["y"]) for found in prediction for x in found["keypoints"]}
    assert len(places) > len(names), "places differ, so that their order is right"


@pytest.mark.serve
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_a_checkpoint_becomes_a_service_in_one_command(
    tmp_path: Path, photographs: list[Image.Image], backend: str
) -> None:
    network = seeded(horses(17, **SIZES))
    state = {f"module.{name}": x for name, x in network.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth")
    (tmp_path / "classes.txt").write_text("background\nhorse\n")
    result = ts_template(
        *("new", "horses", "--weights", "w.pth", "--labels", "classes.txt", "--defaults"),
        *("-d", "transforms=custom", "-d", "image_size=64", "-d", "max_size=96"),
        *("-d", "max_detections=5", "-d", "score_threshold=0.4"),
        *(("-d", "backend=eager") if backend == "eager" else ()),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "task: keypoint_detection" in result.stdout
    is_chosen = "backend: onnxruntime, which predicts as eager does" in result.stdout
    assert is_chosen == (backend != "eager")
    assert '"right_ankle"] (assumed; another: -d keypoint_names=' in result.stdout
    project = Project(tmp_path / "horses")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right by a quarter
    turned = io.BytesIO()
    photographs[0].rotate(90, expand=True).save(turned, "PNG", exif=exif)
    bodies = [encode(photographs[0]), b"\xff\xd8\xff broken", turned.getvalue()]
    bodies.append(encode(photographs[1]))
    one_worker(project.path)
    with project.serve() as service, ThreadPoolExecutor(len(bodies)) as clients:
        replies = list(clients.map(service.post, bodies))
    assert [reply.status for reply in replies] == [200, 400, 200, 200]
    first = reference(network, photographs[0])
    names = KeypointRCNN_ResNet50_FPN_Weights.DEFAULT.meta["keypoint_names"]
    assert_same(replies[0].json, first, names)
    assert_same(replies[2].json, first, names)
    assert_same(replies[3].json, reference(network, photographs[1]), names)
    assert {found["label"] for found in replies[0].json} == {"horse"}


def test_keypoints_and_classes_are_told_by_shapes(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with torch.device("meta"):
        networks = [(17, 2, horses(17, 2)), (5, 3, horses(5, 3)), (1, 91, horses(1, 91))]
        other = horses()
        other.roi_heads.keypoint_predictor = KeypointRCNNPredictor(128, 5)
    for keypoints, classes, network in networks:
        torch.save(network.to_empty(device="cpu").state_dict(), path)
        found = inspect_file(path)
        assert (found.task, found.classes) == ("keypoint_detection", classes)
        assert found.answers["architecture"] == "keypointrcnn_resnet50_fpn"
        asked = "keypoint_names" in found.open_questions
        if keypoints == 17:  # as many as COCO's, which the file does not name
            assert asked
        else:
            assert found.answers["keypoint_names"] == keypoints
    torch.save(networks[1][2].to_empty(device="cpu"), path)  # a pickled network
    assert inspect_file(path).answers["keypoint_names"] == 5
    assert inspect_file(path).answers["architecture"] == "keypointrcnn_resnet50_fpn"
    torch.save(other.to_empty(device="cpu").state_dict(), path)
    found = inspect_file(path)
    assert found.architecture is None and found.network_kind == "keypoint detector"
    assert found.likely["task"] == "keypoint_detection"


def test_another_number_of_keypoints_is_refused_with_the_command(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(task="keypoint_detection", label_format="none")
    torch.save(horses(5, 3).state_dict(), project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "it has 3 classes, the project expects 2, and it has 5 keypoints" in result.stderr
    assert "-d num_classes=3 -d keypoint_names=5" in result.stderr
    torch.save(horses(5, 2).state_dict(), project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "it has 5 keypoints, the project names 17" in result.stderr
    assert "-d keypoint_names=5\n" in result.stderr + "\n"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"keypoint_names": []}, "write a list of 1 to 1000 names"),
    ({"keypoint_names": "nose"}, "write a list of 1 to 1000 names"),
    ({"keypoint_names": True}, "write a list of 1 to 1000 names"),
    ({"keypoint_names": 0}, "or their number; keypoint_names is 0"),
    ({"keypoint_names": ["nose", False]}, "write each name in quotes: false"),
    ({"keypoint_names": ["nose", " "]}, "names of 1 to 60 characters"),
    ({"keypoint_names": ["nose", "a\nb"]}, "names of 1 to 60 characters"),
    ({"keypoint_names": ["nose", "tail", "nose"]}, "write each name once"),
    ({"keypoint_names": 5, "weights": "pretrained"}, "write 17 names"),
    ({"backend": "openvino"}, "choose eager or onnxruntime"),
    ({"architecture": "maskrcnn_resnet50_fpn"}, "choose another task or architecture"),
]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    renderer = FastRenderer(plain_copy(tmp_path / "template"))
    for answers, message in REFUSED:
        with pytest.raises(ValueError, match=message):
            renderer.complete({"task": "keypoint_detection", **answers})


# Finds the rectangle of red pixels; its keypoints are its first corner, which is visible, and its
# last, which is not.
NETWORK = """
import torch
from torch import nn


class Finder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        return [self.find(image) for image in images]

    def find(self, image):
        rows, columns = (image[0] - image.sum(dim=0) / 2 > 0.3).nonzero(as_tuple=True)
        n = min(len(rows), 1)
        x1, y1, x2, y2 = (
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if n else [0, 0, 0, 0]
        )
        box = torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32)
        points = torch.tensor([[[x1, y1, 1], [x2, y2, 0]]], dtype=torch.float32)
        return RETURNED


def build_model(num_classes: int) -> nn.Module:
    return Finder()
"""
RETURNED = """{
            "boxes": box[:n],
            "scores": self.factor.expand(n),
            "labels": torch.ones(n, dtype=torch.int64),
            "keypoints": points[:n],
            "keypoints_scores": torch.tensor([[2.5, -1.0]])[:n],
        }"""


def finder(
    copy_project: Callable[..., Project],
    name: str = "project",
    returned: str = RETURNED,
    **answers: Any,
) -> Project:
    """Render a project for the network that finds a rectangle, with its weights."""
    answers = {"keypoint_names": ["first", "last"], "label_format": "none", **answers}
    project = copy_project(name, task="keypoint_detection", architecture="custom", **answers)
    (project.path / "service" / "model.py").write_text(NETWORK.replace("RETURNED", returned))
    torch.save({"factor": torch.tensor(1.0)}, project.path / "weights" / "w.pth")
    return project


def rectangle() -> Image.Image:
    """Return a gray image with a red rectangle."""
    image = Image.new("RGB", (120, 90), "gray")
    image.paste((250, 10, 10), (10, 20, 60, 50))
    return image


def test_a_network_of_ones_own_in_each_form(copy_project: Callable[..., Project]) -> None:
    forms: dict[str, Any] = {
        "keypoints": {
            "label": "1",
            "index": 1,
            "score": 1.0,
            "box": [10, 20, 60, 50],
            "keypoints": [
                {"name": "first", "x": 10, "y": 20, "score": 2.5},
                {"name": "last", "x": 60, "y": 50, "score": -1.0},
            ],
        },
        "coco": {
            "category_id": 1,
            "bbox": [10, 20, 50, 30],
            "score": 1.0,
            "keypoints": [10, 20, 1, 60, 50, 0],
        },
    }
    for form, expected in forms.items():
        project = finder(copy_project, form, response_format=form)
        project.archive()
        rectangle().save(project.path / "image.png")
        Image.new("RGB", (31, 17), "gray").save(project.path / "none.png")
        found = project.predict(project.path / "image.png", project.path / "none.png")
        assert found == [[expected], []]
    lines = project.run("predict.py", "image.png").stdout
    assert "category 1 at 10, 20, 50, 30" in lines


def test_keypoints_are_drawn(copy_project: Callable[..., Project]) -> None:
    project = finder(copy_project, response_format="image")
    rectangle().save(project.path / "image.png")
    code = (
        "import torch; from PIL import Image; from service.response import make_answers\n"
        "from service.images import decode_image; from service.preprocessing import preprocess\n"
        "pixels = preprocess(decode_image(Image.open('image.png')))\n"
        "found = torch.tensor([[10.0, 20, 60, 50, 0.75, 1]])\n"
        "points = torch.tensor([[[35.0, 35, 1, 2.5], [110, 80, 1, 0.5]]])\n"
        "(data,) = make_answers([found], [points], [pixels], ['0', '1'])\n"
        "open('drawn.jpg', 'wb').write(data)"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    drawn = Image.open(project.path / "drawn.jpg")
    assert drawn.size == (120, 90)
    inside, outside, nothing = (drawn.getpixel(x) for x in ((35, 35), (110, 80), (90, 70)))
    assert inside[1] > 100, "the first is green on red"
    assert outside[1] > outside[0] + 50, "the second lies outside of the box"
    assert max(nothing) - min(nothing) < 20


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            RETURNED.replace('"keypoints_scores"', '"scores_of_keypoints"'),
            "the network returns a list of a dict of boxes, scores, labels, keypoints, ",
        ),
        (RETURNED.replace("points[:n]", "points[:n, :, :2]"), '"keypoints" (n, K, 3)'),
        (RETURNED.replace("points[:n]", "points[:n] / 0"), "NaN or infinity"),
        (
            RETURNED.replace("points[:n]", "points[:n] / 999"),
            "keypoints between 0 and 1; they must be in pixels",
        ),
    ],
)
def test_an_output_without_keypoints_is_refused(
    copy_project: Callable[..., Project], returned: str, message: str
) -> None:
    project = finder(copy_project, returned=returned, score_threshold=0.0)
    result = project.run("archive.py")
    assert result.returncode == 1
    assert message in result.stderr


def test_other_keypoints_than_named_are_refused(copy_project: Callable[..., Project]) -> None:
    project = finder(copy_project, keypoint_names=["a", "b", "c"])
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "the network returns 2 keypoints, the project names 3" in result.stderr
    assert "-d keypoint_names=2" in result.stderr


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_refused(copy_project: Callable[..., Project]) -> None:
    network = seeded(horses(5))
    network.roi_heads.keypoint_predictor.kps_score_lowres.bias.data[1] = torch.nan
    project = copy_project(
        task="keypoint_detection",
        label_format="none",
        keypoint_names=5,
        transforms="custom",
        image_size=32,
        max_size=48,
        max_detections=2,
        score_threshold=0.3,
    )
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "NaN or infinity; are the weights damaged?" in result.stderr
