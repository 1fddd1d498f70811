"""Instance segmentation: torchvision's own masks, in pixels of the image that was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.mask import decode, frPyObjects, merge
from skimage import measure
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.transforms import functional as transforms

from conftest import Project, slow, ts_template
from generator.inspection import inspect_file

BARE: dict[str, Any] = {"weights": None, "weights_backbone": None}


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


def pedestrians(hidden: int = 256, **sizes: Any) -> nn.Module:
    """Return Mask R-CNN with the heads that torchvision's tutorial puts on it."""
    network = detection.maskrcnn_resnet50_fpn(**BARE, **sizes)
    network.roi_heads.box_predictor = FastRCNNPredictor(1024, 2)
    network.roi_heads.mask_predictor = MaskRCNNPredictor(256, hidden, 2)
    return network


@torch.inference_mode()
def assert_same(
    prediction: list[dict[str, Any]], network: nn.Module, image: Image.Image, threshold: float
) -> None:
    """Compare a prediction with what torchvision finds in an image by itself."""
    (expected,) = network([transforms.to_tensor(image)])
    assert len(prediction) == len(expected["boxes"]) > 3
    areas = set()
    for found, box, score, label, mask in zip(
        prediction, *(expected[key] for key in ("boxes", "scores", "labels", "masks")), strict=True
    ):
        x1, y1, x2, y2 = box.tolist()
        if "bbox" in found:
            assert found["category_id"] == label
            assert found["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], rel=1e-4, abs=0.01)
        else:
            assert found["index"] == label
            assert found["box"] == pytest.approx([x1, y1, x2, y2], rel=1e-4, abs=0.01)
        assert found["score"] == pytest.approx(score.item(), abs=1e-4)
        served = decode(found["segmentation"])
        assert served.shape == (image.height, image.width)
        wanted = (mask[0] > threshold).numpy()
        # Rounding to whole pixels may go another way where a box ends.
        assert np.mean(served != wanted) < 0.01
        assert found.get("area", served.sum()) == served.sum()
        areas.add(int(served.sum()))
    assert len(areas) > 3, "masks differ, so that their order is right"


@pytest.mark.parametrize("backend", ["eager", slow("onnxruntime")])
def test_the_tutorials_checkpoint_becomes_a_service(
    tmp_path: Path, chelsea: Image.Image, backend: str
) -> None:
    sizes = {"min_size": 64, "max_size": 96, "box_detections_per_img": 8, "box_score_thresh": 0.4}
    network = seeded(pedestrians(**sizes))
    state = {f"module.{name}": x for name, x in network.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "classes.txt").write_text("background\nperson\n")
    result = ts_template(
        *("new", "people", "--weights", "w.pth", "--labels", "classes.txt", "--defaults"),
        *("-d", "transforms=custom", "-d", "image_size=64", "-d", "max_size=96"),
        *("-d", "max_detections=8", "-d", "score_threshold=0.4"),
        *(("-d", "backend=eager") if backend == "eager" else ()),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "task: instance_segmentation" in result.stdout
    is_chosen = "backend: onnxruntime, which predicts as eager does" in result.stdout
    assert is_chosen == (backend != "eager")
    assert "mask_threshold: 0.5 (assumed; another: -d mask_threshold=" in result.stdout
    project = Project(tmp_path / "people")
    image = chelsea.resize((150, 100))
    image.save(tmp_path / "cat.png")
    project.archive()
    (prediction,) = project.predict(tmp_path / "cat.png")
    assert_same(prediction, network, image, 0.5)
    assert {found["label"] for found in prediction} == {"person"}


def test_heads_of_another_width_are_refused(
    tmp_path: Path, copy_project: Callable[..., Project]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(pedestrians(hidden=128).state_dict(), path)
    found = inspect_file(path)
    assert found.architecture is None and found.network_kind == "instance segmenter"
    result = ts_template("new", "p", "--weights", str(path), "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert "--model" in result.stderr
    answers = {"architecture": "maskrcnn_resnet50_fpn", "num_classes": 2}
    project = copy_project(task="instance_segmentation", label_format="none", **answers)
    path.rename(project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "use custom" in result.stderr


def test_masks_or_boxes_are_possible(tmp_path: Path, copy_project: Callable[..., Project]) -> None:
    with torch.device("meta"):
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        other = detection.MaskRCNN(backbone, num_classes=5)
    torch.save(other.to_empty(device="cpu").state_dict(), tmp_path / "other.pth")
    found = inspect_file(tmp_path / "other.pth")
    assert found.task is None and found.likely["task"] == "instance_segmentation"
    with torch.device("meta"):
        known = detection.maskrcnn_resnet50_fpn_v2(**BARE, num_classes=3)
    torch.save(known.to_empty(device="cpu").state_dict(), tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    assert found.task == "instance_segmentation"
    assert found.answers["architecture"] == "maskrcnn_resnet50_fpn_v2"
    assert found.answers["num_classes"] == 3
    for task, is_cut in (("object_detection", True), ("instance_segmentation", False)):
        project = copy_project(task, task=task, architecture="maskrcnn_resnet50_fpn_v2")
        text = (project.path / "service" / "model.py").read_text()
        assert ("mask_roi_pool = None" in text) == is_cut


# Masks with holes in holes, parts that meet at a corner, and none at all.
POLYGONS = """
import json
import numpy as np
import torch
from service.response import make_answers

generator = np.random.default_rng(0)
masks = [generator.random((rows, 11)) < share for rows in (1, 7, 30) for share in (0.2, 0.6, 0.9)]
rings = np.zeros((40, 50), dtype=bool)
rings[5:35, 5:45] = True
rings[10:30, 10:40] = False
rings[12:28, 12:20] = True
rings[14:20, 14:18] = False
rings[29:31, 41:43] = False
masks += [rings, np.zeros((3, 3), dtype=bool), np.ones((4, 6), dtype=bool)]
rows = torch.tensor([[0.0, 0, 4, 4, 0.5, 1]])
made = [make_answers([rows], [iter([torch.from_numpy(x)])], ["", "cat"])[0][0] for x in masks]
print(json.dumps([[x.tolist(), answer] for x, answer in zip(masks, made)]))
"""


def test_polygons_enclose_exactly_the_pixels_of_masks(copy_project: Callable[..., Project]) -> None:
    project = copy_project(
        task="instance_segmentation", response_format="polygons", label_format="none"
    )
    result = project.run("-c", POLYGONS)
    assert result.returncode == 0, result.stderr
    for pixels, answer in json.loads(result.stdout):
        mask = np.array(pixels)
        assert answer["area"] == mask.sum()
        assert len(answer["segmentation"]) == measure.label(mask, connectivity=1).max()
        if not mask.any():
            continue
        polygons = frPyObjects(answer["segmentation"], *mask.shape)
        assert (decode(merge(polygons)) == mask).all()
    assert answer == {
        "label": "cat",
        "index": 1,
        "score": 0.5,
        "box": [0, 0, 4, 4],
        "area": 24,
        "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]],
    }


def test_masks_are_drawn(copy_project: Callable[..., Project]) -> None:
    project = copy_project(task="instance_segmentation", response_format="image")
    code = (
        "import torch; from service.response import make_answers\n"
        "image = torch.full((3, 90, 120), 200, dtype=torch.uint8)\n"
        "best, other = torch.zeros(2, 90, 120, dtype=torch.bool)\n"
        "best[50:80, 10:60] = True; other[50:80, 30:110] = True\n"
        "found = torch.tensor([[10.0, 50, 60, 80, 0.9, 2], [30, 50, 110, 80, 0.6, 1]])\n"
        "(data,) = make_answers([found], [iter([best, other])], [image], ['', 'a', 'b'])\n"
        "open('drawn.jpg', 'wb').write(data)\n"
        "assert (image == 200).all()"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    drawn = Image.open(project.path / "drawn.jpg")
    assert (drawn.format, drawn.size) == ("JPEG", (120, 90))
    first, both, second, nothing = (drawn.getpixel((x, 70)) for x in (20, 45, 90, 115))
    assert first[2] > first[0] + 50, "class 2 is blue"
    assert np.abs(np.subtract(first, both)).max() < 20, "the best object lies above the other"
    assert second[1] > second[0] + 50, "class 1 is green"
    assert min(nothing) > 180


NETWORK = """
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
import torch
from torch import nn


def build_model(num_classes: int) -> nn.Module:
    backbone = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
    backbone.out_channels = 8
    return MaskRCNN(
        backbone,
        num_classes,
        min_size=96,
        max_size=128,
        box_detections_per_img=8,
        box_score_thresh=0.3,
        rpn_anchor_generator=AnchorGenerator(((16, 32, 64),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        mask_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),  # of masks of 14 x 14 numbers
    )
"""
WRAPPER = """

class Wrapper(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)


own = build_model
build_model = lambda num_classes: Wrapper(own(num_classes))
"""


def built(project: Project, text: str) -> Any:
    """Put a network into a project, with seeded weights; return it."""
    (project.path / "service" / "model.py").write_text(text)
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    network = namespace["build_model"](3)
    seeded(getattr(network, "network", network))
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    return network


def test_a_network_of_ones_own(copy_project: Callable[..., Project], chelsea: Image.Image) -> None:
    answers = {"task": "instance_segmentation", "architecture": "custom", "num_classes": 3}
    project = copy_project(
        **answers,
        label_format="none",
        response_format="coco",
        mask_threshold=0.3,
        score_threshold=0.3,
    )
    network = built(project, NETWORK)
    project.archive()
    image = chelsea.resize((150, 100))
    image.save(project.path / "cat.png")
    (prediction,) = project.predict(project.path / "cat.png")
    assert_same(prediction, network, image, 0.3)

    built(project, NETWORK + WRAPPER)
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "returns a Wrapper, which does not find masks as torchvision" in result.stderr

    network = built(project, NETWORK)
    network.roi_heads.mask_predictor.mask_fcn_logits.bias.data[1:] = torch.nan
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "NaN or infinity; are the weights damaged?" in result.stderr
