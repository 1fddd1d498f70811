"""evaluate.py: what it measures of an archive, and what it says of data that it cannot read."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import text_folders
import torch
import transformers
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_demo_page import browser, needs_chromium, opened
from test_detection import finder, scene
from test_instances import NETWORK as MASKS
from test_instances import built
from test_multi_label import tagger
from test_segmentation import segmenter, stripes

from conftest import Project, encode, labels_of, noise, render
from generator import facts

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]

NAMES = ["猫", "<b>Hund</b>", "crème brûlée"]
# The best class is the brightest of red, green and blue.
NETWORK = """
import torch
from torch import nn


class Colours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        return self.factor * images.mean(dim=(2, 3))


def build_model(num_classes: int) -> nn.Module:
    return Colours()
"""
SAVE = (
    "import torch; from service.model import build_model; "
    "torch.save(build_model(3).state_dict(), 'weights/w.pth')"
)


def evaluated(project: Project, *words: str) -> dict[str, Any]:
    """Run evaluate.py, and return what metrics.json holds."""
    result = project.run("evaluate.py", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    content: dict[str, Any] = json.loads((project.path / "evaluation/metrics.json").read_text())
    return content


def colour(number: int) -> tuple[int, ...]:
    """Return red, green and blue, by a seed."""
    return tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())


def write_image(path: Path, number: int) -> None:
    """Write an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(Image.new("RGB", (20, 16), colour(number))))


def write_csv(path: Path, *rows: Sequence[object]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def brightness(numbers: Sequence[int]) -> np.ndarray:
    """Return what the network multiplies: (N, 3), from 0 to 1."""
    return np.array([colour(number) for number in numbers]) / 255


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities (N, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    total: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return total


def measures(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the metrics of one class for each, as their definitions say."""
    best = probabilities.argmax(axis=1)
    f1 = []
    for c in range(probabilities.shape[1]):
        hits = ((best == c) & (targets == c)).sum()
        if (best == c).any() or (targets == c).any():
            f1.append(2 * hits / ((best == c).sum() + (targets == c).sum()))
    sure, error = probabilities.max(axis=1), 0.0
    for i in range(15):
        inside = (sure > i / 15) & (sure <= (i + 1) / 15)
        if inside.any():
            error += abs((best == targets)[inside].mean() - sure[inside].mean()) * inside.mean()
    return {
        "accuracy": (best == targets).mean(),
        "macro_f1": float(np.mean(f1)),
        "calibration_error": error,
    }


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose responses hold neither probabilities nor all classes, with its archive."""
    project = Project(tmp_path_factory.mktemp("classifier") / "project")
    answers = {"architecture": "custom", "num_classes": 3, "color_mode": "RGB", "image_size": 16}
    answers |= {"transforms": "to_tensor", "response_format": "label", "evaluation": True}
    render(project.path, answers)
    (project.path / "service/model.py").write_text(NETWORK)
    labels_of(project.path, NAMES)
    assert project.run("-c", SAVE).returncode == 0
    project.archive()
    return project


@needs_chromium
def test_images_in_folders_and_in_a_table(classifier: Project, browser: Browser) -> None:
    data = classifier.path / "data"
    targets = np.random.default_rng(7).integers(0, 3, 40)
    for number, target in enumerate(targets):
        write_image(data / str(target) / f"{number}.png", number)
        write_image(classifier.path / "images" / f"{number}.png", number)
    (data / "1" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (data / "1" / ".DS_Store").write_bytes(b"of macOS")
    found = evaluated(classifier, "data")
    expected = measures(softmax(4 * brightness(range(40))), targets)
    assert 0.2 < expected["accuracy"] < 0.8
    assert found["metrics"] == pytest.approx(expected, abs=1e-5)
    assert (found["count"], list(found["refused"])) == (40, ["data/1/broken.jpg"])
    archive = next((classifier.path / "model-store").iterdir())
    assert found["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert [x["support"] for x in found["classes"]] == np.bincount(targets).tolist()
    wrong = sum(x["count"] for x in found["confusions"])
    assert wrong == round(40 * (1 - expected["accuracy"]))

    report = (classifier.path / "evaluation/report.html").resolve()
    with opened(browser, report.as_uri()) as page:
        assert page.get_by_role("heading", level=1).inner_text().endswith(": 40 images")
        assert page.get_by_role("rowheader", name="<b>Hund</b>", exact=True).first.is_visible()
        assert page.locator("b").count() == 0
        assert "broken.jpg" in page.get_by_role("table").nth(2).inner_text()
        shown = page.get_by_role("listitem")
        assert shown.count() == min(24, wrong)
        assert page.evaluate("[...document.images].every((x) => x.naturalWidth > 0)")
        # The worst comes first.
        texts = shown.all_inner_texts()
        shares = [float(re.findall(r"predicted: .+, (.+)%", x)[0]) for x in texts]
        assert shares == sorted(shares, reverse=True)

    # The same by a table, with names, and several images at once. On macOS an accent may be a
    # character of its own.
    names = [*NAMES[:2], "cre\u0300me bru\u0302le\u0301e"]
    rows = [(f"images/{i}.png", names[target]) for i, target in enumerate(targets)]
    write_csv(classifier.path / "table.csv", ("file", "label"), *rows)
    again = evaluated(classifier, "table.csv", "--batch-size", "16")
    assert again["metrics"] == pytest.approx(found["metrics"], abs=1e-6)
    assert again["refused"] == {}


def test_a_worse_archive_fails_and_wrong_data_are_named(classifier: Project) -> None:
    for number, pixel in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 0, 0)]):
        image = Image.new("RGB", (20, 16), pixel)
        (classifier.path / f"{number}.png").write_bytes(encode(image))
    rows = [(f"{number}.png", NAMES[number % 3]) for number in range(3)]
    table = classifier.path / "table.csv"
    write_csv(table, ("file", "label"), *rows, ("3.png", NAMES[2]))
    run = classifier.path / "run"
    run.mkdir()
    metrics = {"accuracy": 0.754, "macro_f1": 0.7}
    (run / "metrics.json").write_text(json.dumps({"metrics": metrics}))
    assert evaluated(classifier, "table.csv", "--against", "run")["metrics"]["accuracy"] == 0.75
    result = classifier.run("evaluate.py", "table.csv", "--against", "run", "--tolerance", "0")
    assert result.returncode == 1
    assert "accuracy is 0.7500, less than 0.7540 in run" in result.stdout
    assert "macro_f1 is" not in result.stdout

    (classifier.path / "nan").mkdir()
    (classifier.path / "nan/metrics.json").write_text('{"metrics": {"accuracy": NaN}}')
    write_csv(table, ("file", "label"), *rows, ("3.png", "Vogel"))
    for name in ("train2017", "val2017"):
        (classifier.path / "coco" / name).mkdir(parents=True)
    for words, message in [
        (["coco"], "coco holds train2017, val2017, which are no classes; name one of them"),
        (["table.csv"], "table.csv, line 5: 'Vogel' is no class of the network; expected one of"),
        (["table.csv", "--against", "table.csv"], "table.csv cannot be compared with"),
        (["table.csv", "--against", "nan"], "has the metrics {'accuracy': nan}; expected"),
        (["nowhere"], "there are no data nowhere"),
        (["run"], "run has no folders; expected one for each class"),
    ]:
        result = classifier.run("evaluate.py", *words)
        assert result.returncode == 1, result.stdout
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    for rows_, message in [
        ([("file", "label"), ("9.png", NAMES[0])], "line 2: there is no image 9.png"),
        ([("image", "label"), ("0.png", NAMES[0])], "the columns image, label; expected file and"),
        ([("file", "label"), ("0.png", "3")], "line 2: '3' is no class"),
        ([("file", "label"), ("0.png",)], "line 2: 1 columns; expected 2"),
    ]:
        write_csv(table, *rows_)
        result = classifier.run("evaluate.py", "table.csv")
        assert result.returncode == 1
        assert message in result.stderr


def average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Return the mean, over what is right, of the precision down to its score."""
    return float(np.mean([right[scores >= score].mean() for score in scores[right]]))


def test_several_classes_of_an_image(copy_project: Callable[..., Project]) -> None:
    score = "(images.mean(dim=(2, 3)) - 0.5) * self.factor"
    answers = {"transforms": "to_tensor", "response_format": "labels", "evaluation": True}
    project = tagger(copy_project, returned=score, **answers, thresholds=[0.5, 0.6, 0.4])
    project.archive()
    scores = 4 * (brightness(range(30)) - 0.5)
    right = scores + np.random.default_rng(1).normal(0, 2, scores.shape) > 0
    names = np.array(["red", "green", "blue"])
    for number in range(30):
        write_image(project.path / "images" / f"{number}.png", number)
    rows = [(f"{i}.png", "|".join(names[row])) for i, row in enumerate(right)]
    write_csv(project.path / "images/table.csv", ("file", "labels"), *rows)
    flags = [(f"{i}.png", *row.astype(int)[::-1]) for i, row in enumerate(right)]
    write_csv(project.path / "images/flags.csv", ("file", *names[::-1]), *flags)
    found = evaluated(project, "images/table.csv")
    precisions = [average_precision(scores[:, c], right[:, c]) for c in range(3)]
    predicted = 1 / (1 + np.exp(-scores)) >= [0.5, 0.6, 0.4]
    hits = (predicted & right).sum(axis=0)
    f1 = 2 * hits / (predicted.sum(axis=0) + right.sum(axis=0))
    assert found["metrics"] == pytest.approx(
        {
            "map": np.mean(precisions),
            "macro_f1": f1.mean(),
            "micro_f1": 2 * hits.sum() / (predicted.sum() + right.sum()),
            "all_right": (predicted == right).all(axis=1).mean(),
        },
        abs=1e-5,
    )
    for c, entry in enumerate(found["classes"]):
        reached = 1 / (1 + np.exp(-scores[:, c])) >= entry["suggested_threshold"]
        best = 2 * (reached & right[:, c]).sum() / (reached.sum() + right[:, c].sum())
        assert best >= f1[c]
    assert evaluated(project, "images/flags.csv")["metrics"] == found["metrics"]
    flags[3] = ("3.png", 1, 2, 0)
    write_csv(project.path / "images/flags.csv", ("file", *names[::-1]), *flags)
    result = project.run("evaluate.py", "images/flags.csv")
    assert "flags.csv, line 5: green is '2'; expected 0 or 1" in result.stderr


def test_texts_and_pairs(copy_project: Callable[..., Project]) -> None:
    project = copy_project(
        task="text_classification", num_classes=3, max_tokens=64, evaluation=True, top_k=1
    )
    network = text_folders.bert(project.path / "weights/bert")
    project.archive()
    tokenizer = transformers.AutoTokenizer.from_pretrained(project.path / "weights/bert")
    words = [word for text in text_folders.SENTENCES for word in text.split()]
    shuffled = np.random.default_rng(0).choice(words, (20, 5)).tolist()
    texts = [" ".join(row) for row in shuffled]
    pairs: list[Any] = [(text, "a cat") if i % 4 == 0 else (text,) for i, text in enumerate(texts)]
    targets = np.random.default_rng(2).integers(0, 3, 20)
    with torch.inference_mode():
        rows = [network(**tokenizer(*pair, return_tensors="pt")).logits for pair in pairs]
    expected = measures(softmax(torch.cat(rows).double().numpy()), targets)
    lines = [
        dict(zip(("text", "text_pair"), pair, strict=False)) | {"label": int(target)}
        for pair, target in zip(pairs, targets, strict=True)
    ]
    path = project.path / "texts.jsonl"
    refused = [{"text": " ", "label": 1}] * 2  # the service wants a text
    path.write_text("".join(json.dumps(line) + "\n" for line in lines + refused))
    found = evaluated(project, "texts.jsonl")
    assert found["metrics"] == pytest.approx(expected, abs=1e-5)
    assert (found["count"], found["refused"]) == (20, {" ": "the text is empty"})
    labels = [text_folders.NAMES[target] for target in targets]
    table = [(*(*pair, "")[:2], label) for pair, label in zip(pairs, labels, strict=True)]
    write_csv(project.path / "texts.csv", ("text", "text_pair", "label"), *table)
    assert evaluated(project, "texts.csv")["metrics"] == pytest.approx(found["metrics"], abs=1e-6)
    path.write_text('{"text": "good", "label": "good"}\n{"text": ["good"], "label": "bad"}\n')
    result = project.run("evaluate.py", "texts.jsonl")
    assert 'texts.jsonl, line 2: text is ["good"]; expected text' in result.stderr


def test_pixels(copy_project: Callable[..., Project]) -> None:
    project = segmenter(copy_project, evaluation=True, response_format="areas")
    data = project.path / "data"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    confusion = np.zeros((3, 3), dtype=np.int64)
    for number, size in enumerate([(120, 90), (150, 90), (120, 90)]):
        image, predicted = stripes(*size)
        image.save(data / "images" / f"猫 {number}.png")
        mask = predicted.copy()
        mask[:, : 10 * number] = 1  # otherwise than the network finds
        mask[-5:] = 255
        Image.fromarray(mask).save(data / "masks" / f"猫 {number}.png")
        known = mask != 255
        np.add.at(confusion, (mask[known], predicted[known]), 1)
    (data / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("L", (8, 8)).save(data / "masks" / "broken.png")
    found = evaluated(project, "data")
    hits = confusion.diagonal()
    iou = hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)
    assert 0.5 < iou.mean() < 0.99
    metrics = {"mean_iou": iou.mean(), "pixel_accuracy": hits.sum() / confusion.sum()}
    assert found["metrics"] == pytest.approx(metrics, abs=0.005)  # borders are scaled
    assert found["refused"].keys() == {"data/images/broken.png"}
    for mask, message in [
        (Image.new("L", (120, 90), 3), "0.png has the class 3; expected 0 to 2, or 255"),
        (Image.new("L", (90, 120)), "0.png has 90 x 120 pixels, and not the size of"),
        (Image.new("RGB", (120, 90)), "0.png has the mode RGB; expected P or L"),
    ]:
        mask.save(data / "masks" / "猫 0.png")
        assert message in project.run("evaluate.py", "data").stderr


def coco_map(folder: Path, content: dict[str, Any], found: list[dict[str, Any]]) -> np.ndarray:
    """Return mean average precision, at all overlaps and at one half, as pycocotools has it."""
    (folder / "truth.json").write_text(json.dumps({"info": {}, **content}))
    truth = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats: np.ndarray = evaluation.stats
    return stats


def test_objects(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    project = finder(copy_project, evaluation=True, response_format="coco", score_threshold=0.9)
    project.archive()
    data = project.path / "data"
    (data / "labels").mkdir(parents=True)
    (data / "images").mkdir()
    # What is found in each image, and what is there.
    found = [{"red": (10, 20, 60, 50)}, {"red": (5, 5, 45, 45), "score": (70, 10, 110, 40)}, {}]
    there = [
        [("red", (10, 20, 60, 50))],
        [("red", (5, 5, 45, 57)), ("score", (72, 10, 110, 40)), ("score", (0, 60, 20, 80))],
        [],
    ]
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 7, "name": "red"}, {"id": 4, "name": "score"}]
    ids = {"red": 7, "score": 4}
    results, lines = [], 0
    for number, (objects, boxes) in enumerate(zip(found, there, strict=True)):
        image = scene((120, 90), **objects)
        if number == 1:  # less of the colour: less certain than the service's threshold
            ImageDraw.Draw(image).rectangle((15, 15, 34, 34), fill="gray")
        image.save(data / "images" / f"{number}.png")
        content["images"].append(
            {"id": number, "file_name": f"{number}.png", "width": 120, "height": 90}
        )
        for name, (x1, y1, x2, y2) in objects.items():
            score = 0.75 if (number, name) == (1, "red") else 1.0
            box = [x1, y1, x2 - x1, y2 - y1]
            result = {"image_id": number, "category_id": ids[name], "bbox": box, "score": score}
            results.append(result)
        text = ""
        for name, (x1, y1, x2, y2) in boxes:
            w, h = x2 - x1, y2 - y1
            content["annotations"].append(
                {
                    "id": (lines := lines + 1),
                    "image_id": number,
                    "category_id": ids[name],
                    "bbox": [x1, y1, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
            index = ["score", "red"].index(name)
            text += f"{index} {(x1 + w / 2) / 120} {(y1 + h / 2) / 90} {w / 120} {h / 90}\n"
        if text:
            (data / "labels" / f"{number}.txt").write_text(text)
    (data / "classes.txt").write_text("score\nred\n")
    (data / "objects.json").write_text(json.dumps(content))
    expected = coco_map(tmp_path, content, results)
    metrics = evaluated(project, "data/objects.json")["metrics"]
    assert 0.3 < expected[0] < 0.9
    assert [metrics[name] for name in ("map", "map_50", "map_75")] == pytest.approx(expected[:3])
    # Of what is served, both boxes are right; two that are there are missed.
    assert (metrics["precision"], metrics["recall"]) == (1.0, 0.5)
    assert evaluated(project, "data")["metrics"] == pytest.approx(metrics, abs=1e-6)
    (data / "labels/0.txt").write_text("0 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n")
    assert "0.txt, line 2: '2 0.5" in project.run("evaluate.py", "data").stderr
    content["categories"][0]["name"] = "blue"
    (data / "objects.json").write_text(json.dumps(content))
    result = project.run("evaluate.py", "data/objects.json")
    assert "objects.json, annotation 1: 'blue' is no class" in result.stderr


def test_only_the_threshold_of_what_is_served_is_lowered(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(task="instance_segmentation", num_classes=3, evaluation=True)
    code = (
        "from types import SimpleNamespace; from service.model import build_model\n"
        "from tools.evaluation import Evaluation\n"
        "network = build_model(3)\n"
        "Evaluation(SimpleNamespace(labels=['', 'a', 'b'], model=network))\n"
        "print(network.roi_heads.score_thresh, network.rpn.score_thresh)"
    )
    result = project.run("-c", code)
    assert result.stdout == "0.05 0.0\n", result.stderr


def test_masks(copy_project: Callable[..., Project]) -> None:
    answers = {"num_classes": 3, "response_format": "coco", "score_threshold": 0.3}
    project = copy_project(
        task="instance_segmentation", architecture="custom", evaluation=True, **answers
    )
    built(project, MASKS)
    labels_of(project.path, ["background", "猫", "犬"])
    project.archive()
    noise(3, (120, 90)).save(project.path / "0.png")
    (prediction,) = project.predict(project.path / "0.png")
    assert len(prediction) > 1
    annotations = [{**x, "id": i, "image_id": 0} for i, x in enumerate(prediction)]
    content = {
        "images": [{"id": 0, "file_name": "0.png", "width": 120, "height": 90}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "猫"}, {"id": 2, "name": "犬"}],
    }
    (project.path / "objects.json").write_text(json.dumps(content))
    metrics = evaluated(project, "objects.json")["metrics"]
    assert metrics["mask_map"] == metrics["map"] == metrics["recall"] == 1
    # Half of a mask is another one.
    x, y, w, h = annotations[0]["bbox"]
    annotations[0]["segmentation"] = [[x, y, x + w, y, x + w, y + h / 4, x, y + h / 4]]
    (project.path / "objects.json").write_text(json.dumps(content))
    metrics = evaluated(project, "objects.json")["metrics"]
    assert metrics["mask_map"] < 1
    assert metrics["map"] == 1


@pytest.mark.parametrize("task", [x for x, fact in facts.tasks().items() if "data" not in fact])
def test_a_task_without_data_refuses(tmp_path: Path, task: str) -> None:
    with pytest.raises(ValueError, match="leave evaluation=false"):
        render(tmp_path / "project", {"task": task, "evaluation": True})


def test_more_classes_than_a_mask_can_name_are_refused(tmp_path: Path) -> None:
    answers = {"task": "semantic_segmentation", "architecture": "custom", "evaluation": True}
    render(tmp_path / "most", answers | {"num_classes": 255})
    with pytest.raises(ValueError, match="255 classes at most, and num_classes is 256"):
        render(tmp_path / "more", answers | {"num_classes": 256})
