"""The page of a project with demo=true, in a real browser, beside a real service."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import text_folders
from PIL import Image
from pycocotools.mask import encode as run_lengths
from test_detection import COLOURS, finder, scene

from conftest import REPOSITORY, Project, encode, render
from generator import facts
from generator.fast import FastRenderer
from generator.rendering import plain_copy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Without these it looks for updates, and cannot be started by root.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt install chromium"
)
pytestmark = pytest.mark.serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def demo(project: Project, *options: str) -> Iterator[str]:
    """Run demo.py on a free port; yield the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "demo.py", "--port", "0", *options],
        cwd=project.path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextlib.contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Open an address in a window of its own; the page must ask no other address for anything."""
    context = browser.new_context(**options)
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.goto(address)
    try:
        yield page
    except Exception as error:  # what a person would see then
        error.add_note(f"The page says: {page.locator('body').inner_text()[:2000]}")
        error.add_note(f"Its problems: {problems}")
        raise
    context.close()
    assert {url for url in asked if not url.startswith(("blob:", "data:", address))} == set()
    # Chromium writes a line for each status of an error, too.
    assert [line for line in problems if "Failed to load resource" not in line] == []


def given(name: str, content: bytes, kind: str = "image/png") -> Any:
    """Return a file as Playwright puts it into an input."""
    return {"name": name, "mimeType": kind, "buffer": content}


def pixel(page: Page, x: int, y: int) -> list[int]:
    """Return red, green and blue of the shown image."""
    code = "([x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"
    found: list[int] = page.evaluate(code, [x, y])
    return found


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that finds colours, with its archive."""
    path = tmp_path_factory.mktemp("detector")

    def copy(name: str, **answers: Any) -> Project:
        render(path / name, answers)
        return Project(path / name)

    project = finder(copy, deploy=["asgi"], demo=True, project_name='Colours & "Shapes" <b>')
    project.archive()
    return project


@needs_chromium
def test_an_image_is_sent_and_its_objects_are_drawn_over_it(
    detector: Project, browser: Browser
) -> None:
    image = encode(scene(red=(10, 20, 60, 50)))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right by a quarter
    turned = io.BytesIO()
    scene(red=(10, 20, 60, 50)).rotate(90, expand=True).save(turned, "JPEG", exif=exif)
    with (
        detector.serve("--engine", "asgi") as service,
        demo(detector, "--url", service.url) as address,
        opened(browser, address) as page,
    ):
        assert page.get_by_role("heading", level=1).inner_text() == 'Colours & "Shapes" <b>'
        # By the keyboard alone: the first is the file, the second the camera.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "camera"

        assert not page.locator("#video").is_visible()
        place = page.get_by_label("Choose, drop or paste an image")
        place.set_input_files(given("red.png", image))
        page.get_by_role("listitem").wait_for()
        assert page.get_by_role("listitem").inner_text().split() == ["red", "100.0", "%"]
        assert page.get_by_role("status").inner_text().startswith("Predicted in ")
        drawn = pixel(page, 35, 49)  # on the border of the box
        assert drawn not in (list(COLOURS["red"]), [128, 128, 128])
        assert pixel(page, 35, 40) == list(COLOURS["red"])
        assert json.loads(page.locator("#response").text_content() or "")[0]["label"] == "red"

        page.evaluate("objects.replaceChildren()")
        place.set_input_files(given("turned.jpg", turned.getvalue(), "image/jpeg"))
        page.get_by_role("listitem").wait_for()
        assert page.evaluate("[canvas.width, canvas.height]") == [120, 90]
        assert pixel(page, 35, 49)[0] == drawn[0]

        place.set_input_files(given("broken.png", image[:60]))
        page.get_by_role("alert").wait_for()
        assert "image" in page.get_by_role("alert").inner_text()
        assert not page.locator("#found").is_visible()

        place.set_input_files(given("none.png", encode(scene())))
        page.get_by_text("Nothing was found.").wait_for()
        assert not page.get_by_role("alert").is_visible()

        for event in ("paste", "drop"):
            page.evaluate(
                """([event, bytes]) => {
                    const data = new DataTransfer();
                    data.items.add(new File([new Uint8Array(bytes)], "x.png", {type: "image/png"}));
                    const made = event === "drop"
                        ? new DragEvent("drop", {dataTransfer: data, bubbles: true})
                        : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
                    document.body.dispatchEvent(made);
                }""",
                [event, list(image)],
            )
            page.get_by_role("listitem").wait_for()
            place.set_input_files(given("none.png", encode(scene())))
            page.get_by_text("Nothing was found.").wait_for()

        for scheme, letters in (("light", 0), ("dark", 255)):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("getComputedStyle(document.body).color") == (
                f"rgb({letters}, {letters}, {letters})"
            )
        page.set_viewport_size({"width": 320, "height": 600})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


@needs_chromium
def test_a_service_that_does_not_run_is_named(detector: Project, browser: Browser) -> None:
    with (
        demo(detector, "--url", "http://127.0.0.1:9/predictions/x") as address,
        opened(browser, address) as page,
    ):
        page.get_by_label("Choose, drop or paste an image").set_input_files(
            given("red.png", encode(scene()))
        )
        page.get_by_role("alert").wait_for()
        assert "python serve.py" in page.get_by_role("alert").inner_text()


def status_of(url: str, **headers: str) -> int:
    """Return the status of a request; with a body, if it has a Content-Type."""
    body = b"x" if "Content-Type" in headers else None
    request = urllib.request.Request(url, body, headers)
    try:
        return int(urllib.request.urlopen(request, timeout=30).status)
    except urllib.error.HTTPError as error:
        return error.code


def test_other_sites_and_other_files_are_refused(detector: Project) -> None:
    with demo(detector, "--url", "http://127.0.0.1:9/predictions/x") as address:
        assert status_of(address) == 200
        assert status_of(f"{address}/page.js") == 200
        assert status_of(f"{address}/../demo.py") == 404
        assert status_of(f"{address}/%2e%2e/demo.py") == 404
        assert status_of(address, Host="evil.example") == 404
        kind = {"Content-Type": "image/png"}
        assert status_of(f"{address}/predict", **kind) == 502  # there is no service
        assert status_of(f"{address}/predict", Origin="http://evil.example", **kind) == 404
        assert status_of(f"{address}/other", **kind) == 404
        port = address.rpartition(":")[2]
        result = detector.run("demo.py", "--port", port)
        assert result.returncode == 1
        assert f"port {port} cannot be used" in result.stderr
    assert "expected http://127" in detector.run("demo.py", "--url", "x").stderr


def test_no_proxy_comes_between_the_page_and_its_service(
    detector: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with detector.serve("--engine", "asgi") as service:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with demo(detector, "--url", service.url) as address:
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
            headers = {"Content-Type": "image/png"}
            connection.request("POST", "/predict", encode(scene()), headers)
            assert connection.getresponse().status == 200


@needs_chromium
def test_a_text_is_sent(copy_project: Callable[..., Project], browser: Browser) -> None:
    project = copy_project(
        task="text_classification", num_classes=3, max_tokens=64, deploy=["asgi"], demo=True
    )
    text_folders.bert(project.path / "weights" / "bert")
    project.archive()
    pair = {"text": "this is good", "text_pair": "<i>a bad dog</i>"}
    result = project.run("predict.py", "--json", json.dumps(pair))
    (expected,) = json.loads(result.stdout)
    with (
        project.serve("--engine", "asgi") as service,
        demo(project, "--url", service.url) as address,
        opened(browser, address) as page,
    ):
        page.get_by_label("Text", exact=True).fill(pair["text"])
        page.get_by_label("Second text").fill(pair["text_pair"])
        page.keyboard.press("Control+Enter")
        page.get_by_role("listitem").first.wait_for()
        lines = [line.split()[:2] for line in page.get_by_role("listitem").all_inner_texts()]
        assert lines == [[x["label"], f"{100 * x['probability']:.1f}"] for x in expected]


MASK = np.zeros((70, 90), dtype=np.uint8)
MASK[10:60, 5:33] = 1
RUNS = run_lengths(np.asfortranarray(MASK))
RLE = {"size": RUNS["size"], "counts": RUNS["counts"].decode()}
FLOATS = base64.b64encode(np.array([3, 4], dtype="<f4").tobytes()).decode()
CLASSES = [{"label": "cat", "index": 1, "pixels": 1400, "share": 0.25}]
OBJECT = {"label": "cat", "index": 1, "score": 0.25, "box": [1, 2, 3, 4]}
COCO = {"category_id": 1, "bbox": [1, 2, 2, 2], "score": 0.25}

# A response, and what the page shows of it: names, scores, boxes, how many pixels a mask has,
# points and polygons.
READ: dict[tuple[str, str], tuple[Any, list[Any]]] = {
    ("image_classification", "label"): ({"label": "cat", "index": 1}, [["cat"]]),
    ("image_classification", "predictions"): (
        [{"label": "cat", "index": 1, "probability": 0.25}],
        [["cat", 0.25]],
    ),
    ("image_classification", "scores"): ({"cat": 0.25, "dog": 0.1}, [["cat", 0.25], ["dog", 0.1]]),
    ("multi_label_classification", "labels"): (["cat", "dog"], [["cat"], ["dog"]]),
    ("text_classification", "pipeline"): ([{"label": "cat", "score": 0.25}], [["cat", 0.25]]),
    ("object_detection", "detections"): ([OBJECT], [["cat", 0.25, [1, 2, 3, 4]]]),
    ("object_detection", "coco"): ([COCO], [["class 1", 0.25, [1, 2, 3, 4]]]),
    ("object_detection", "torchserve"): (
        [{"cat": [1, 2, 3, 4], "score": 0.25}],
        [["cat", 0.25, [1, 2, 3, 4]]],
    ),
    ("instance_segmentation", "rle"): (
        [{**OBJECT, "area": 1400, "segmentation": RLE}],
        [["cat", 0.25, [1, 2, 3, 4], 1400]],
    ),
    ("instance_segmentation", "coco"): (
        [{**COCO, "segmentation": RLE}],
        [["class 1", 0.25, [1, 2, 3, 4], 1400]],
    ),
    ("instance_segmentation", "polygons"): (
        [{**OBJECT, "area": 1, "segmentation": [[1, 2, 3, 2, 3, 4]]}],
        [["cat", 0.25, [1, 2, 3, 4], [[1, 2, 3, 2, 3, 4]]]],
    ),
    ("keypoint_detection", "keypoints"): (
        [{**OBJECT, "keypoints": [{"name": "nose", "x": 2, "y": 3, "score": 0.5}]}],
        [["cat", 0.25, [1, 2, 3, 4], [[2, 3]]]],
    ),
    ("keypoint_detection", "coco"): (
        [{**COCO, "keypoints": [2, 3, 2, 4, 5, 2]}],
        [["class 1", 0.25, [1, 2, 3, 4], [[2, 3], [4, 5]]]],
    ),
    ("semantic_segmentation", "areas"): (CLASSES, [["cat", 0.25]]),
    ("semantic_segmentation", "rle"): (
        [{"label": "cat", "index": 1, "area": 1400, "segmentation": RLE}],
        [["cat", 1400 / MASK.size, 1400]],
    ),
    ("semantic_segmentation", "png"): (
        {"mask": base64.b64encode(encode(Image.fromarray(MASK))).decode(), "classes": CLASSES},
        [["cat", 0.25, 1400]],
    ),
    ("text_embedding", "list"): ({"embedding": [3, 4]}, []),
    ("text_embedding", "base64"): ({"embedding": FLOATS}, []),
}
# What is a file, and what is read as the same form of another task.
OTHERS = {
    ("object_detection", "image"),
    ("instance_segmentation", "image"),
    ("keypoint_detection", "image"),
    ("semantic_segmentation", "png_body"),
    ("multi_label_classification", "predictions"),
    ("multi_label_classification", "scores"),
    ("text_classification", "predictions"),
    ("text_classification", "scores"),
    ("feature_extraction", "list"),
    ("feature_extraction", "base64"),
}
LISTED = """async ([code, content]) => {
    const url = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
    const {read} = await import(url);
    const {objects, text} = await read(content);
    const second = await read(content);
    return [objects.map(({label, score, box, mask, points, polygons}) => [
        label, score, box, mask && mask.inside.reduce((sum, is) => sum + is, 0), points, polygons,
    ].filter((value) => value !== undefined && value !== null)), second.text ?? ""];
}"""


@needs_chromium
def test_every_response_is_read(browser: Browser, tmp_path: Path) -> None:
    known = {
        (task, name)
        for task in facts.tasks()
        for name, fact in facts.responses(task).items()
        if (REPOSITORY / fact["path"]).with_name("demo.js.jinja").exists()
    }
    assert known == READ.keys() | OTHERS
    renderer = FastRenderer(plain_copy(tmp_path / "template"))
    page = browser.new_page()
    for (task, name), (content, expected) in READ.items():
        answers = {"task": task, "response_format": name, "num_classes": 2, "demo": True}
        files = renderer.project(tmp_path / "project", answers).files
        code = files["demo/prediction.js"].content.decode()
        found, text = page.evaluate(LISTED, [code, content])
        assert found == expected, (task, name)
        if not expected:
            assert text == (
                "An embedding of 2 numbers. Its cosine similarity to the one before is 1.000."
            )
    page.close()


def test_an_own_response_is_shown_as_it_is(tmp_path: Path) -> None:
    renderer = FastRenderer(plain_copy(tmp_path / "template"))
    files = renderer.project(
        tmp_path / "project", {"demo": True, "own_files": ["response.py"]}
    ).files
    assert "as it came" in files["demo/prediction.js"].content.decode()
    assert "demo.py" not in renderer.project(tmp_path / "project", {}).files
    assert os.fsencode("demo.py") in files["README.md"].content
