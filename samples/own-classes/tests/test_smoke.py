# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The service, tried through TorchServe's own loader.

With a checkpoint in weights/ it is the real one, else one with random weights of the right shape.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import archive
from images import MAX_PICTURES, MAX_PIXELS
from inprocess import Answer, LocalService, open_archive
from labels import LABELS
from model import build_model
from project import NUM_CLASSES, ROOT, WEIGHTS_DIR, ProjectError
from response import TOP_K
from samples import NOT_A_PICTURE, encode, sample_pictures

PICTURES = sample_pictures()
TEXT = base64.b64encode(PICTURES["PNG"]).decode()


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
    labels = LABELS
    if not labels.exists():  # the data lie elsewhere: folders of the same number will do
        labels = folder / "classes"
        for index in range(NUM_CLASSES):
            (labels / f"class {index:06}").mkdir(parents=True)
    built = archive.build(weights, labels, output=folder)
    with open_archive(built) as loaded:
        yield loaded


def classes(answer: Answer) -> list[str]:
    """Return the labels that an answer names, after checking its form."""
    assert answer.status == 200, answer.body
    assert len(answer.body) == TOP_K
    probabilities = [entry["probability"] for entry in answer.body]
    assert probabilities == sorted(probabilities, reverse=True)
    return [entry["label"] for entry in answer.body]


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_is_answered(service: LocalService, kind: str) -> None:
    (answer,) = service.predict([{"body": PICTURES[kind]}])
    assert classes(answer)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"body": PICTURES["PNG"]}, id="bytes"),
        pytest.param({"body": bytearray(PICTURES["PNG"])}, id="bytearray"),
        pytest.param({"data": PICTURES["PNG"]}, id="form field data"),
        pytest.param({"file": PICTURES["PNG"]}, id="form field of another name"),
        pytest.param({"body": TEXT}, id="base64 text"),
        pytest.param({"body": TEXT.encode()}, id="base64 bytes"),
        pytest.param({"body": f"data:image/png;base64,{TEXT}"}, id="data URL"),
        pytest.param({"body": {"data": TEXT}}, id="JSON"),
    ],
)
def test_every_way_to_send_a_picture_gives_the_same_answer(
    service: LocalService, row: dict[str, object]
) -> None:
    (expected,) = service.predict([{"body": PICTURES["PNG"]}])
    assert service.predict([row]) == [expected]


def test_instances_give_a_list_of_answers(service: LocalService) -> None:
    instances = [{"data": TEXT}, {"data": "not base64!"}]
    (answer,) = service.predict([{"body": {"instances": instances}}])
    (expected,) = service.predict([{"body": PICTURES["PNG"]}])
    assert answer.status == 200
    assert answer.body[0] == expected.body
    assert "base64" in answer.body[1]["error"]


def test_a_bad_picture_leaves_the_rest_of_its_batch_alone(service: LocalService) -> None:
    kinds = ["JPEG", "grayscale PNG", "GIF"]
    alone = [service.predict([{"body": PICTURES[kind]}])[0] for kind in kinds]
    batch = [{"body": PICTURES[kind]} for kind in kinds]
    batch[1:1] = [{"body": NOT_A_PICTURE}, {"body": b""}, {"body": {"picture": TEXT}}]
    answers = service.predict(batch)
    assert [answer.status for answer in answers] == [200, 400, 400, 400, 200, 200]
    assert all(answer.body["error"] for answer in answers[1:4])
    assert [classes(answer) for answer in (answers[0], *answers[4:])] == list(map(classes, alone))


@pytest.mark.parametrize(
    ("bad", "status", "said"),
    [
        pytest.param(b"", 400, "empty", id="nothing"),
        pytest.param(b"hello", 400, "base64", id="text"),
        pytest.param(b'{"data":', 400, "JSON", id="half of a JSON object"),
        pytest.param(PICTURES["JPEG"][:-99], 400, "damaged", id="truncated"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG", id="SVG"),
        pytest.param(b"%PDF-1.7", 415, "PDF", id="PDF"),
        pytest.param(encode(Image.new("1", (20_000, 1)), "PNG"), 422, "pixels", id="narrow"),
    ],
)
def test_what_is_no_usable_picture_is_refused_in_words(
    service: LocalService, bad: bytes, status: int, said: str
) -> None:
    refused, answer = service.predict([{"body": bad}, {"body": PICTURES["PNG"]}])
    assert refused.status == status
    assert said in refused.body["error"]
    assert classes(answer)


def test_a_small_file_that_would_take_gigabytes_is_refused(service: LocalService) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    bomb = encode(Image.new("1", (side, side)), "PNG")
    refused, answer = service.predict([{"body": bomb}, {"body": PICTURES["PNG"]}])
    assert refused.status == 413
    assert str(MAX_PIXELS) in refused.body["error"]
    assert classes(answer)


def test_a_request_may_not_hold_any_number_of_pictures(service: LocalService) -> None:
    (answer,) = service.predict([{"body": {"instances": [{"data": TEXT}] * (MAX_PICTURES + 1)}}])
    assert answer.status == 413
    assert str(MAX_PICTURES) in answer.body["error"]


def test_the_probabilities_add_up_to_one(service: LocalService) -> None:
    probabilities = service.probabilities(list(PICTURES.values()))
    assert probabilities.shape == (len(PICTURES), NUM_CLASSES)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(PICTURES)))


def test_answers_are_plain_json_text(service: LocalService) -> None:
    (answer,) = service.predict([{"body": PICTURES["JPEG"]}])
    assert json.loads(json.dumps(answer.body, allow_nan=False)) == answer.body


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(ProjectError, match="web page"):
        archive.build(weights, output=tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.skipif(shutil.which("git") is None, reason="git finds the lines")
def test_no_update_has_left_a_conflict() -> None:
    command = ["git", "grep", "--line-number", "-E", "^(<<<<<<<|>>>>>>>) "]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not result.stdout, f"lines that you and the template changed:\n{result.stdout}"
