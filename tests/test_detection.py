"""Object detection: right boxes in the image that was sent, from files as people save them."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms import functional as transforms

from conftest import Project, encode, slow, ts_template
from engines import config_for, ray_cluster, send
from generator import catalogue
from generator.inspection import Inspection, inspect_file
from generator.labels import LabelError, inspect_labels

LABELS = '{"0": "background", "1": "red", "2": "score"}'
COLOURS = {"red": (250, 10, 10), "score": (10, 250, 10)}

# Finds the rectangle of red pixels, of class 1, and of green ones, of class 2; the score is the
# share of the rectangle that has the colour.
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
        boxes, scores, labels = [], [], []
        for label, channel in ((1, 0), (2, 1)):
            is_colour = image[channel] - image.sum(dim=0) / 2 > 0.3
            rows, columns = is_colour.nonzero(as_tuple=True)
            if len(rows):
                x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                boxes.append(torch.stack([x1, y1, x2, y2]).float())
                scores.append(self.factor * is_colour.sum() / ((x2 - x1) * (y2 - y1)))
                labels.append(label)
        return RETURNED


def build_model(num_classes: int) -> nn.Module:
    return Finder()
"""
RETURNED = """{
            "boxes": torch.stack(boxes) if boxes else torch.zeros(0, 4),
            "scores": torch.stack(scores) if scores else torch.zeros(0),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }"""


def scene(size: tuple[int, int] = (120, 90), **boxes: tuple[int, int, int, int]) -> Image.Image:
    """Return a gray image of this width and height with rectangles in colours."""
    image = Image.new("RGB", size, "gray")
    for name, (x1, y1, x2, y2) in boxes.items():
        ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLOURS[name])
    return image


def finder(
    copy_project: Callable[..., Project],
    name: str = "project",
    returned: str = RETURNED,
    **answers: Any,
) -> Project:
    """Render a project for the network that finds colours, with its weights."""
    answers = {"num_classes": 3, "architecture": "custom", **answers}
    project = copy_project(name, task="object_detection", **answers)
    (project.path / "service" / "model.py").write_text(NETWORK.replace("RETURNED", returned))
    (project.path / "index_to_name.json").write_text(LABELS)
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(3).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    return project


def in_process(project: Project, *bodies: bytes) -> list[Any]:
    """Return status and body for images that are sent as one batch, through TorchServe's loader."""
    for number, body in enumerate(bodies):
        (project.path / f"{number}.bin").write_bytes(body)
    code = (
        "import json, sys; from pathlib import Path; from tools.inprocess import open_archive\n"
        "from tools.project import ARCHIVE\n"
        "rows = [{'body': Path(name).read_bytes()} for name in sys.argv[1:]]\n"
        "with open_archive(ARCHIVE) as service:\n"
        "    found = [(x.status, x.body) for x in service.predict(rows)]\n"
        "print(json.dumps(found, default=lambda data: data.hex()))"
    )
    names = [f"{number}.bin" for number in range(len(bodies))]
    result = project.run("-c", code, *names)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_boxes_are_in_pixels_of_the_image_that_was_sent(
    copy_project: Callable[..., Project],
) -> None:
    project = finder(copy_project)
    project.archive()
    box, other = (10, 20, 60, 50), (70, 5, 110, 80)
    image = scene(red=box, score=other)
    tall = scene((50, 400), red=(5, 300, 45, 390))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right by a quarter
    turned = io.BytesIO()
    image.rotate(90, expand=True).save(turned, "PNG", exif=exif)
    clear = image.convert("RGBA")
    bodies = [encode(image), b"\xff\xd8\xff broken", encode(tall), turned.getvalue()]
    bodies += [encode(clear), encode(Image.new("L", (31, 17), 9))]
    answered = in_process(project, *bodies)
    assert [status for status, _ in answered] == [200, 400, 200, 200, 200, 200]
    both = [
        {"label": "red", "index": 1, "score": 1.0, "box": list(box)},
        {"label": "score", "index": 2, "score": 1.0, "box": list(other)},
    ]
    expected = {"label": "red", "index": 1, "score": 1.0, "box": [5, 300, 45, 390]}
    assert [body for status, body in answered if status == 200] == [
        both,
        [expected],
        both,
        both,
        [],
    ]
    (project.path / "image.png").write_bytes(bodies[0])
    lines = project.run("predict.py", "image.png", "5.bin").stdout.splitlines()
    assert lines[1].split() == ["100.00%", "red", "(1)", "at", "10,", "20,", "60,", "50"]
    assert lines[-1].strip() == "nothing"


def answers_of(project: Project, rows: list[list[float]], *arguments: str) -> Any:
    """Return what the project's response makes of rows for one image, as JSON has it."""
    code = (
        "import json, torch; from service.response import make_answers\n"
        "labels = ['background', 'red', 'score']\n"
        f"found = make_answers([torch.tensor({rows})], {', '.join([*arguments, 'labels'])})\n"
        "print(json.dumps(found, default=lambda data: data.hex()))"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)[0]


def test_each_response_has_its_form(copy_project: Callable[..., Project]) -> None:
    rows = [[10, 20, 60, 50, 0.75, 2]]
    project = finder(copy_project, "coco", response_format="coco")
    expected = {"category_id": 2, "bbox": [10, 20, 50, 30], "score": 0.75}
    assert answers_of(project, rows) == [expected]
    project = finder(copy_project, "torchserve", response_format="torchserve")
    # Under "score", the box would be lost.
    assert answers_of(project, rows) == [{"score (2)": rows[0][:4], "score": 0.75}]
    project = finder(copy_project, "image", response_format="image")
    image = "[torch.full((3, 90, 120), 200, dtype=torch.uint8)]"
    data = bytes.fromhex(answers_of(project, rows, image))
    drawn = Image.open(io.BytesIO(data))
    assert (drawn.format, drawn.size) == ("JPEG", (120, 90))
    blue, inside = drawn.getpixel((35, 49)), drawn.getpixel((35, 40))
    assert blue[2] > blue[0] + 50, "a line is around the box"
    assert min(inside) > 180


def test_only_the_best_objects_above_the_threshold_are_returned(
    copy_project: Callable[..., Project],
) -> None:
    half = scene(red=(0, 0, 40, 40))
    ImageDraw.Draw(half).rectangle((10, 10, 39, 39), fill="gray")  # 44 % of the square are left
    both = half.copy()
    ImageDraw.Draw(both).rectangle((60, 10, 99, 49), fill=COLOURS["score"])
    thin = scene(red=(0, 0, 40, 40))
    ImageDraw.Draw(thin).rectangle((4, 4, 39, 39), fill="gray")
    project = finder(copy_project, score_threshold=0.4, max_detections=1)
    project.archive()
    answered = in_process(project, *map(encode, (half, both, thin)))
    assert [[x["label"] for x in found] for _, found in answered] == [["red"], ["score"], []]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("torch.zeros(5)", "returns a list of a tensor (5,), not a list of one dict"),
        ("{'boxes': torch.zeros(0, 4)}", "returns a list of a dict of boxes, not"),
        (RETURNED.replace("torch.tensor(labels", "torch.tensor([x + 1 for x in labels]"),
         "-d num_classes=4"),
        (RETURNED.replace("torch.stack(boxes)", "torch.tensor([[9.0, 9, 5, 5]] * len(boxes))"),
         "x1, y1, x2, y2"),
        (
            RETURNED.replace("torch.stack(boxes)", "torch.stack(boxes) / 200"),
            "must be in pixels of the image",
        ),
        (RETURNED.replace("torch.stack(scores)", "torch.stack(scores) / 0"), "NaN or infinity"),
    ],
)  # fmt: skip
def test_an_output_that_is_none_of_a_detector_is_refused(
    copy_project: Callable[..., Project], returned: str, message: str
) -> None:
    project = finder(copy_project, returned=returned, score_threshold=0.0)
    result = project.run("archive.py")
    assert result.returncode == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"precision": "bf16"}, "choose fp32"),
        ({"weights": "torchscript"}, "choose a file of weights, such as state_dict"),
        ({"backend": "openvino"}, "choose eager or onnxruntime"),
        (
            {"backend": "onnxruntime", "architecture": "custom"},
            "choose eager for a network of your",
        ),
        ({"decode": "draft"}, "choose exact or gpu"),
        ({"architecture": "custom", "transforms": "custom"}, "choose to_tensor"),
        ({"architecture": "resnet18"}, "choose another task or architecture"),
        ({"score_threshold": 1}, "from 0 to less than 1"),
        ({"transforms": "custom", "image_size": 800, "max_size": 400}, "or at least image_size"),
    ],
)
def test_what_a_detector_cannot_do_is_refused(
    copy_project: Callable[..., Project], answers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        copy_project(task="object_detection", **answers)


# ------------------------------------------------------------------ torchvision's own networks

BARE: dict[str, Any] = {"weights": None, "weights_backbone": None}


def seeded(network: nn.Module) -> nn.Module:
    """Give a network weights that find something in most images, each something else."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                scale = (2 / parameter[0].numel()) ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return network.eval()


def in_proportion(network: Any) -> Any:
    """Seed a Faster R-CNN so that no class has all objects, and few boxes are at the borders."""
    seeded(network)
    with torch.no_grad():
        for layer in (network.roi_heads.box_predictor.cls_score, network.rpn.head.cls_logits):
            layer.weight *= 0.01
        for layer in (network.roi_heads.box_predictor.bbox_pred, network.rpn.head.bbox_pred):
            layer.weight *= 0.01
    return network


@torch.inference_mode()
def reference(network: nn.Module, image: Image.Image) -> list[tuple[int, float, list[float]]]:
    """Return class, score and box of what torchvision finds in an image."""
    (found,) = network([transforms.to_tensor(image.convert("RGB"))])
    rows = zip(found["labels"], found["scores"], found["boxes"], strict=True)
    return [(int(label), score.item(), box.tolist()) for label, score, box in rows]


def assert_same(body: Any, expected: list[tuple[int, float, list[float]]]) -> None:
    """Compare a prediction with what torchvision finds."""
    assert len(expected) > 3
    assert [x["index"] for x in body] == [label for label, _, _ in expected]
    for found, (_, score, box) in zip(body, expected, strict=True):
        assert found["score"] == pytest.approx(score, abs=1e-4)
        assert found["box"] == pytest.approx(box, rel=1e-4, abs=0.01)


@pytest.mark.serve
@pytest.mark.parametrize("engine", ["torchserve", slow("ray_serve")])
def test_a_checkpoint_becomes_a_service_in_one_command(
    tmp_path: Path, photographs: list[Image.Image], engine: str
) -> None:
    network = seeded(detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=4))
    # As torchvision's reference script saves it.
    content = {
        "model": network.state_dict(),
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {},
        "args": argparse.Namespace(model="ssdlite320_mobilenet_v3_large", lr=0.15, epochs=660),
        "epoch": 29,
    }
    torch.save(content, tmp_path / "model_29.pth")
    (tmp_path / "classes.txt").write_text("background\ncat\nmug\nperson\n")
    result = ts_template(
        *("new", "things", "--weights", "model_29.pth", "--labels", "classes.txt", "--defaults"),
        *("-d", "deploy=[ray_serve, monitoring]", "-d", "score_threshold=0.4"),
        *("-d", "backend=eager"),  # others give almost equal scores another order
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "task: object_detection" in result.stdout
    assert "nms_threshold: 0.55 (assumed; another: -d nms_threshold=" in result.stdout
    project = Project(tmp_path / "things")
    network.score_thresh = 0.4
    bodies = [encode(image) for image in photographs]
    bodies[1:1] = [b"\xff\xd8\xff broken"]
    with ThreadPoolExecutor(len(bodies)) as clients:
        if engine == "torchserve":
            with project.serve() as service:
                replies = list(clients.map(service.post, bodies))
            answered = [(reply.status, reply.body) for reply in replies]
        else:
            with ray_cluster(project.path) as cluster:
                cluster.run(config_for(cluster))
                cluster.wait_until()
                answered = list(clients.map(lambda body: send(cluster.url, body), bodies))
    assert [status for status, _ in answered] == [200, 400, 200, 200]
    good = [json.loads(body) for status, body in answered if status == 200]
    for found, image in zip(good, photographs, strict=True):
        assert_same(found, reference(network, image))
        assert {x["label"] for x in found} <= {"cat", "mug", "person"}


def test_what_weights_do_not_show_is_answered_and_built_so(
    copy_project: Callable[..., Project], chelsea: Image.Image
) -> None:
    own = {"min_size": 200, "max_size": 260, "image_mean": [0.4] * 3, "image_std": [0.3] * 3}
    network = in_proportion(
        detection.fasterrcnn_mobilenet_v3_large_320_fpn(
            **BARE, **own, num_classes=3, box_nms_thresh=0.2, box_score_thresh=0.4
        )
    )
    project = copy_project(
        task="object_detection",
        architecture="fasterrcnn_mobilenet_v3_large_320_fpn",
        num_classes=3,
        label_format="none",
        transforms="custom",
        image_size=200,
        max_size=260,
        mean=0.4,
        std=0.3,
        nms_threshold=0.2,
        score_threshold=0.4,
    )
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    project.archive()
    chelsea.save(project.path / "cat.png")
    (found,) = project.predict(project.path / "cat.png")
    assert_same(found, reference(network, chelsea))


@pytest.mark.slow
def test_new_takes_what_computes_the_layers_faster_and_finds_the_same(
    tmp_path: Path, photographs: list[Image.Image]
) -> None:
    network = in_proportion(detection.fasterrcnn_mobilenet_v3_large_320_fpn(**BARE, num_classes=3))
    torch.save(network.state_dict(), tmp_path / "model.pth")
    (tmp_path / "classes.txt").write_text("background\ncat\nmug\n")
    result = ts_template(
        *("new", "things", "--weights", "model.pth", "--labels", "classes.txt", "--defaults"),
        *("-d", "architecture=fasterrcnn_mobilenet_v3_large_320_fpn", "-d", "score_threshold=0.4"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "backend: onnxruntime, which predicts as eager does" in result.stdout
    project = Project(tmp_path / "things")
    network.roi_heads.score_thresh = 0.4
    paths = [tmp_path / f"{number}.png" for number in range(len(photographs))]
    for image, path in zip(photographs, paths, strict=True):
        image.save(path)
    for found, image in zip(project.predict(*paths), photographs, strict=True):
        expected = reference(network, image)
        assert len(found) == len(expected) > 3
        rows = [[x["index"], x["score"], x["box"]] for x in found]
        alike = [
            [label, pytest.approx(score, abs=1e-4), pytest.approx(box, abs=0.1)] in rows
            for label, score, box in expected
        ]
        # Of two that overlap and have almost the same score, either may be left.
        assert alike.count(True) >= 0.95 * len(alike)

    archive = next((project.path / "model-store").iterdir())
    before = archive.read_bytes()
    loading = project.path / "service" / "loading.py"
    right = "map(torch.from_numpy, self.session.run(None, feed))"
    assert right in loading.read_text()
    wrong = right.replace("torch.from_numpy", "lambda x: torch.from_numpy(x) * 1.1")
    loading.write_text(loading.read_text().replace(right, wrong))
    result = project.run("archive.py")
    assert result.returncode != 0
    assert "onnxruntime in fp32 predicts otherwise than the network that was trained" in (
        result.stderr
    )
    assert archive.read_bytes() == before


def test_weights_that_are_no_numbers_are_refused(copy_project: Callable[..., Project]) -> None:
    answers = {"architecture": "ssdlite320_mobilenet_v3_large", "num_classes": 3}
    project = copy_project(task="object_detection", label_format="none", **answers)
    network = seeded(detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=3))
    network.backbone.features[0][0][1].running_var[0] = -1  # NaN scores, of which none is more
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "NaN or infinity; are the weights damaged?" in result.stderr


def test_a_network_of_another_architecture_or_class_count_is_named(
    copy_project: Callable[..., Project],
) -> None:
    answers = {"architecture": "ssdlite320_mobilenet_v3_large", "num_classes": 3}
    project = copy_project(task="object_detection", label_format="none", **answers)
    path = project.path / "weights" / "w.pth"
    torch.save(detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=7).state_dict(), path)
    result = project.run("archive.py")
    assert "it has 7 classes, the project expects 3" in result.stderr
    assert "-d num_classes=7" in result.stderr
    wide = catalogue.wide_tailed("ssdlite320_mobilenet_v3_large", 3).to_empty(device="cpu")
    torch.save(wide.state_dict(), path)
    assert inspect_file(path).answers["wide_tail"] is True
    assert "-d wide_tail=true" in project.run("archive.py").stderr
    built = copy_project("wide", task="object_detection", wide_tail=True, **answers)
    code = "from service.model import build_model; import torch; build_model(3).load_state_dict("
    assert built.run("-c", f"{code}torch.load({str(path)!r}))").returncode == 0
    other = detection.fasterrcnn_mobilenet_v3_large_fpn(**BARE, num_classes=5)
    torch.save(other.state_dict(), path)
    result = project.run("archive.py")
    assert "fasterrcnn_mobilenet_v3_large_320_fpn or fasterrcnn_mobilenet_v3_large_fpn" in (
        result.stderr
    )
    assert "-d architecture=fasterrcnn_mobilenet_v3_large_fpn -d num_classes=5" in result.stderr


def test_an_eps_against_the_evidence_is_refused(copy_project: Callable[..., Project]) -> None:
    answers = {"architecture": "retinanet_resnet50_fpn", "num_classes": 3, "coco_eps": True}
    project = copy_project(task="object_detection", label_format="none", **answers)
    state = detection.retinanet_resnet50_fpn(**BARE, num_classes=3).state_dict()
    state["backbone.body.bn1.num_batches_tracked"] += 9  # COCO weights have no such layers
    torch.save(state, project.path / "weights" / "w.pth")
    result = project.run("archive.py")
    assert result.returncode == 1
    assert "-d coco_eps=false" in result.stderr


# ------------------------------------------------------------------ recognising


def frozen(network: nn.Module, eps: float) -> nn.Module:
    """Normalise as networks do that torchvision builds with weights: without counting batches."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, FrozenBatchNorm2d(module.num_features, eps))
    return network


def checkpoints() -> Iterator[tuple[str, Callable[[], Any], dict[str, Any], set[str]]]:
    """Yield what people save: a name, what makes it, the answers, questions that stay open."""

    def tutorial() -> Any:
        network: Any = frozen(detection.fasterrcnn_resnet50_fpn(**BARE), 0.0)
        network.roi_heads.box_predictor = FastRCNNPredictor(1024, 2)
        return network.state_dict()

    def whole() -> Any:
        network: Any = detection.retinanet_resnet50_fpn(
            **BARE, num_classes=4, min_size=(480, 600), max_size=1000, nms_thresh=0.3
        )
        return frozen(network, 0.0)

    yield "tutorial", tutorial, {
        "architecture": "fasterrcnn_resnet50_fpn", "num_classes": 2,
    }, {"coco_eps", "nms_threshold"}  # fmt: skip
    yield "from scratch", detection.fasterrcnn_resnet50_fpn(**BARE, num_classes=3).state_dict, {
        "architecture": "fasterrcnn_resnet50_fpn", "num_classes": 3, "coco_eps": False,
    }, {"nms_threshold"}  # fmt: skip
    yield "fcos", detection.fcos_resnet50_fpn(**BARE, num_classes=7).state_dict, {
        "architecture": "fcos_resnet50_fpn", "num_classes": 7,
    }, {"nms_threshold"}  # fmt: skip
    yield "a whole network", whole, {
        "architecture": "retinanet_resnet50_fpn", "num_classes": 4, "transforms": "custom",
        "image_size": 600, "max_size": 1000, "nms_threshold": 0.3, "coco_eps": True,
    }, set()  # fmt: skip


def test_detectors_are_recognised_with_what_their_files_tell(tmp_path: Path) -> None:
    for name, make, answers, open_questions in checkpoints():
        path = tmp_path / "w.pth"
        torch.save(make(), path)
        found = inspect_file(path)
        assert found.task == "object_detection", name
        assert answers.items() <= found.answers.items(), name
        asked = {"coco_eps", "nms_threshold", "architecture"} & found.open_questions.keys()
        assert asked == open_questions, name


def test_a_file_that_builds_the_network_comes_before_what_weights_tell(tmp_path: Path) -> None:
    network = detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=3)
    torch.save(seeded(network).state_dict(), tmp_path / "w.pth")
    (tmp_path / "m.py").write_text(
        "from torchvision.models.detection import ssdlite320_mobilenet_v3_large\n\n\n"
        "def build_model(num_classes):\n"
        "    return ssdlite320_mobilenet_v3_large(\n"
        "        num_classes=num_classes, weights_backbone=None, nms_thresh=0.3\n"
        "    )\n"
    )
    words = ("--weights", "w.pth", "--model", "m.py", "--defaults")
    result = ts_template("new", "p", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "score_threshold: 0.5 (assumed" in result.stdout
    assert "nms_threshold" not in result.stdout


def two_alike(path: Path, content: Callable[[Any], Any]) -> Inspection:
    """Save the network that weights cannot tell from another, and inspect the file."""
    torch.save(content(detection.fasterrcnn_mobilenet_v3_large_fpn(**BARE, num_classes=3)), path)
    return inspect_file(path)


def test_weights_that_two_architectures_have_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    found = two_alike(path, lambda network: network.state_dict())
    assert "architecture" not in found.answers
    result = ts_template("new", "p", "--weights", str(path), "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert "-d architecture=fasterrcnn_mobilenet_v3_large_320_fpn" in result.stderr
    assert "-d architecture=fasterrcnn_mobilenet_v3_large_fpn" in result.stderr
    assert not (tmp_path / "p").exists()
    # A whole network shows its sizes, and the reference script its own argument.
    named = "fasterrcnn_mobilenet_v3_large_fpn"
    assert two_alike(path, lambda network: network).answers["architecture"] == named
    told = two_alike(
        path,
        lambda network: {
            "model": network.state_dict(),
            "optimizer": {},
            "args": argparse.Namespace(model=named, data_path="coco", epochs=26, lr=0.02),
            "epoch": 25,
        },
    )
    assert told.answers["architecture"] == named


# -------------------------------------------------------------------------- names in checkpoints


@cache
def of_three_classes() -> dict[str, torch.Tensor]:
    """Return the weights of a detector of three classes, the background among them."""
    network = detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=3)
    return dict(network.state_dict())


# Names in a checkpoint, in a label file, and what is wrong with these.
NAMES: list[tuple[dict[str, Any], list[str], str]] = [
    ({"classes": ["cat", "dog"]}, [], ""),
    ({"class_to_idx": {"cat": 1, "dog": 2}}, [], ""),
    ({"classes": ["__background__", "cat", "dog"]}, [], ""),
    ({"classes": ["cat", "dog"]}, ["none", "cat", "dog"], ""),
    ({"classes": ["__background__", "cat", "dog"]}, ["none", "cat", "dog"], ""),
    ({"classes": ["1", "2"]}, ["background", "cat", "dog"], ""),
    ({"classes": ["cat", "dog"]}, ["background", "dog", "cat"], "class 1 is 'dog' in"),
    ({"classes": ["bg", "cat", "dog"]}, ["background", "dog", "cat"], "class 1 is 'dog' in"),
    ({"classes": ["cat", "dog"]}, ["background", "cat", "horse"], "class 2 is 'horse' in"),
]


def test_names_in_a_checkpoint_may_leave_out_the_background(tmp_path: Path) -> None:
    for names, lines, message in NAMES:
        torch.save({"model": of_three_classes(), **names}, tmp_path / "w.pth")
        found = inspect_file(tmp_path / "w.pth")
        path = tmp_path / "classes.txt" if lines else None
        if path:
            path.write_text("\n".join(lines))
        if message:
            with pytest.raises(LabelError, match=message):
                inspect_labels(path, found.classes, found.class_names)
            continue
        labels = inspect_labels(path, found.classes, found.class_names)
        assert labels.names[1:] == ["cat", "dog"]
        assert labels.fits
    (tmp_path / "german.json").write_text('{"cat": "Katze", "dog": "Hund"}')
    torch.save({"model": of_three_classes(), "classes": ["cat", "dog"]}, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    labels = inspect_labels(tmp_path / "german.json", found.classes, found.class_names)
    assert labels.names == ["background", "Katze", "Hund"]


def test_a_retrained_checkpoint_with_other_names_is_refused(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(
        task="object_detection",
        architecture="ssdlite320_mobilenet_v3_large",
        num_classes=3,
        weights="checkpoint",
        label_format="list",
    )
    (project.path / "labels.json").write_text('["background", "cat", "dog"]')
    for names in (["dog", "cat"], ["__background__", "dog", "cat"]):
        content = {"model": of_three_classes(), "classes": names}
        torch.save(content, project.path / "weights" / "w.pth")
        result = project.run("archive.py")
        assert result.returncode == 1
        assert "class 1 is 'dog' there, 'cat' by the labels" in result.stderr
