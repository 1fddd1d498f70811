# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The service, tried through TorchServe's own loader.

With a checkpoint in weights/ it is the real one, else one with random weights of the right shape.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import archive
from service import NUM_CLASSES
from service.images import MAX_IMAGES, MAX_PIXELS
from service.model import build_model
from tools.inprocess import LocalService, Prediction, open_archive
from tools.project import ANSWERS_FILE, ROOT, WEIGHTS_DIR, ProjectError
from tools.samples import NOT_AN_IMAGE, SIZE, encode, sample_images

IMAGES = sample_images()
TEXT = base64.b64encode(IMAGES["PNG"]).decode()
URL_SAFE = str.maketrans("+/", "-_")
GRAY = Image.linear_gradient("L")
SIXTEEN_BITS = encode(GRAY.convert("I;16"), "PNG")


def random_weights(folder: Path) -> Path:
    """Save an untrained network as the project expects it, and return the file."""
    torch.manual_seed(0)
    path = folder / "weights.pth"
    weights = build_model(NUM_CLASSES).state_dict()
    state = {f"module.{key}": tensor for key, tensor in weights.items()}
    torch.save({"epoch": 1, "state_dict": state}, path)
    return path


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """The service, loaded from an archive that is made for these tests."""
    folder = tmp_path_factory.mktemp("archive")
    has_weights = any(not path.name.startswith(".") for path in WEIGHTS_DIR.iterdir())
    weights = archive.find_weights() if has_weights else random_weights(folder)
    # An untrained network may return about anything.
    built = archive.build(weights, output=folder, trust_outputs=not has_weights, trust_scores=True)
    with open_archive(built) as loaded:
        yield loaded


def labels_of(prediction: Prediction) -> list[str]:
    """Return the labels that a prediction names, after checking its form."""
    assert prediction.status == 200, prediction.body
    for entry in prediction.body:
        x1, y1, x2, y2 = entry["box"]
        assert 0 <= x1 <= x2 <= SIZE[0] and 0 <= y1 <= y2 <= SIZE[1]
    return [entry["label"] for entry in prediction.body]


@pytest.fixture(scope="session")
def expected(service: LocalService) -> Prediction:
    """What the service predicts for the PNG file."""
    return service.predict([{"body": IMAGES["PNG"]}])[0]


@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_of_image_is_answered(service: LocalService, kind: str) -> None:
    (prediction,) = service.predict([{"body": IMAGES[kind]}])
    labels_of(prediction)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"body": IMAGES["PNG"]}, id="bytes"),
        pytest.param({"body": bytearray(IMAGES["PNG"])}, id="bytearray"),
        pytest.param({"data": IMAGES["PNG"]}, id="form field data"),
        pytest.param({"file": IMAGES["PNG"]}, id="form field of another name"),
        pytest.param({"body": TEXT}, id="base64 text"),
        pytest.param({"body": TEXT.encode()}, id="base64 bytes"),
        pytest.param({"body": f"data:image/png;base64,{TEXT}"}, id="data URL"),
        pytest.param({"body": TEXT.translate(URL_SAFE).rstrip("=")}, id="URL-safe base64"),
        pytest.param({"image": IMAGES["PNG"], "title": b"a cat"}, id="form with a text"),
        pytest.param({"body": {"data": TEXT}}, id="JSON"),
    ],
)
def test_every_way_to_send_an_image_gives_the_same_prediction(
    service: LocalService, expected: Prediction, row: dict[str, object]
) -> None:
    assert service.predict([row]) == [expected]


def test_instances_give_a_list_of_predictions(service: LocalService, expected: Prediction) -> None:
    instances = [{"data": TEXT}, {"data": "not base64!"}]
    (prediction,) = service.predict([{"body": {"instances": instances}}])
    assert prediction.status == 200
    assert prediction.body[0] == expected.body
    assert "base64" in prediction.body[1]["error"]


def test_a_bad_image_leaves_the_rest_of_its_batch_alone(service: LocalService) -> None:
    kinds = ["JPEG", "grayscale PNG", "GIF"]
    alone = [service.predict([{"body": IMAGES[kind]}])[0] for kind in kinds]
    batch: list[dict[str, object]] = [{"body": IMAGES[kind]} for kind in kinds]
    batch[1:1] = [{"body": NOT_AN_IMAGE}, {"body": b""}, {"body": {"image": TEXT}}]
    predictions = service.predict(batch)
    assert [prediction.status for prediction in predictions] == [200, 400, 400, 400, 200, 200]
    assert all(prediction.body["error"] for prediction in predictions[1:4])
    good = [predictions[0], *predictions[4:]]
    assert [*map(labels_of, good)] == [*map(labels_of, alone)]


@pytest.mark.parametrize(
    ("bad", "status", "message"),
    [
        pytest.param(b"", 400, "empty", id="nothing"),
        pytest.param(b"hello", 400, "base64", id="text"),
        pytest.param(b'{"data":', 400, "JSON", id="half of a JSON object"),
        pytest.param(IMAGES["JPEG"][:-99], 400, "damaged", id="truncated"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG", id="SVG"),
        pytest.param(b"%PDF-1.7", 415, "PDF", id="PDF"),
        pytest.param(encode(Image.new("1", (20_000, 1)), "PNG"), 422, "pixels", id="narrow"),
        pytest.param(SIXTEEN_BITS, 422, "16 bits", id="16 bits"),
    ],
)
def test_what_is_no_usable_image_is_refused_in_words(
    service: LocalService, bad: bytes, status: int, message: str
) -> None:
    refused, prediction = service.predict([{"body": bad}, {"body": IMAGES["PNG"]}])
    assert refused.status == status
    assert message in refused.body["error"]
    labels_of(prediction)


def test_a_small_file_that_would_take_gigabytes_is_refused(service: LocalService) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    bomb = encode(Image.new("1", (side, side)), "PNG")
    refused, prediction = service.predict([{"body": bomb}, {"body": IMAGES["PNG"]}])
    assert refused.status == 413
    assert str(MAX_PIXELS) in refused.body["error"]
    labels_of(prediction)


def test_a_request_may_not_hold_any_number_of_images(service: LocalService) -> None:
    (prediction,) = service.predict([{"body": {"instances": [{"data": TEXT}] * (MAX_IMAGES + 1)}}])
    assert prediction.status == 413
    assert str(MAX_IMAGES) in prediction.body["error"]


def test_images_of_all_sizes_are_answered_together(service: LocalService) -> None:
    sizes = [(40, 60), (60, 40), (64, 64)]  # width and height
    images = [encode(Image.new("RGB", size, "gray"), "PNG") for size in sizes]
    together = service.predict([{"body": image} for image in images])
    for prediction, image in zip(together, images, strict=True):
        assert prediction == service.predict([{"body": image}])[0]


def test_predictions_are_plain_json_text(service: LocalService) -> None:
    (reply,) = service.reply([{"body": IMAGES["JPEG"]}])
    assert reply.status == 200
    json.loads(reply.body, parse_constant=pytest.fail)  # no NaN or Infinity, which JSON lacks


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(ProjectError, match="web page"):
        archive.build(weights, output=tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def names_of(requirements: Iterable[str]) -> set[str]:
    """Return the normalized names of the packages that requirements name."""
    found = (re.match(r"(\w[\w.-]*) *($|[\[<>=!~;@#])", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match}


def test_pip_and_uv_install_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")).get("project", {})
    by_uv = names_of(project.get("dependencies", ()))
    files = [ROOT / name for name in ("requirements.txt", "requirements-own.txt")]
    by_pip = names_of(line for file in files for line in file.read_text("utf-8").splitlines())
    message = "in pyproject.toml alone; pip takes them from requirements-own.txt"
    assert by_uv <= by_pip, message
    message = "removed by uv sync; run: uv add -r requirements-own.txt"
    assert by_pip <= by_uv or not (ROOT / "uv.lock").is_file(), message


def git(*words: str) -> list[str]:
    """Return the lines that git prints for this project; skip the test where git cannot tell."""
    command = ["git", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode > 1:  # 1 means that nothing was found
        pytest.skip(result.stderr.strip())
    return result.stdout.splitlines()


@pytest.mark.skipif(shutil.which("git") is None, reason="git finds the lines")
def test_no_update_has_left_a_conflict() -> None:
    lines = git("grep", "--line-number", "-E", "^(<<<<<<<|>>>>>>>) ")
    assert not lines, "lines that you and the template changed"


@pytest.mark.skipif(shutil.which("git") is None, reason="git knows the edits")
def test_no_update_has_left_an_edit_behind() -> None:
    rendered = git("log", "--format=%h", "--", ANSWERS_FILE)
    edits = {
        name: commits
        for name in git("diff", "HEAD", "--name-only", "--diff-filter=D", "--relative")
        if (commits := [x for x in git("log", "--format=%h", "--", name) if x not in rendered])
    }
    message = "an update moved or removed these files, which you had changed in these commits"
    assert not edits, f"{message}; `git checkout HEAD -- FILE` brings one back"
