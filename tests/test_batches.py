"""Batches in which requests are bad: each gets its own prediction, whatever the others are."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from conftest import (
    Project,
    Reply,
    Service,
    announce,
    build_and_save,
    copy_of,
    encode,
    labels_of,
    noise,
)
from engines import one_worker
from generator.hostile import bombs, form, other_media, random_image, text_of
from generator.matrix.imports import imported_from
from generator.workers import ready_workers

BATCH = 8
IMAGES = [encode(random_image(seed)) for seed in range(BATCH)]
BINARY, JSON, TEXT = "application/octet-stream", "application/json", "text/plain"

# What is sent, as which content type, and the status and words of the reply.
BAD: dict[str, tuple[bytes, str, int, str]] = {
    "a truncated JPEG": (encode(noise(0), "JPEG")[:-200], BINARY, 400, "damaged"),
    "text": (b"hello, is anybody there?", TEXT, 400, "base64"),
    "nothing": (b"", BINARY, 400, "empty"),
    "wrong base64": (text_of(IMAGES[0])[:-3].encode() + b"!", TEXT, 400, "base64"),
    "base64 of text": (base64.b64encode(b"hello"), TEXT, 400, "base64"),
    "unknown JSON": (json.dumps({"image": text_of(IMAGES[0])}).encode(), JSON, 400, '"data"'),
    "half of a JSON object": (b'{"data": "iVBOR', JSON, 400, "JSON"),
    "absurdly much JSON": (b"[" + b"{}," * 20_000 + b"{}]", JSON, 413, "10000"),
    "an SVG": (other_media()["SVG"], "image/svg+xml", 415, "SVG"),
    "a video": (other_media()["MP4"], "video/mp4", 415, "video"),
    "a TIFF": (other_media()["TIFF"], "image/tiff", 415, "TIFF"),
    "a PPM": (other_media()["PPM"], BINARY, 415, "PPM"),
    "an image without pixels": (bombs()["a PNG without pixels"], "image/png", 400, "pixels"),
    "a large image": (bombs()["a PNG of 400 megapixels"], "image/png", 413, "50000000"),
    "a narrow image": (bombs()["an image 1 pixel high"], "image/png", 422, "40000 x 1"),
    "a JPEG of many scans": (bombs()["a JPEG of 5000 scans"], "image/jpeg", 422, "scans"),
    "a run-length encoded BMP": (bombs()["a BMP of 49 megapixels in 5 KB"], BINARY, 422, "run"),
    "many images": (
        json.dumps({"instances": [{"data": text_of(IMAGES[0])}] * 65}).encode(),
        JSON,
        413,
        "64",
    ),
}


@pytest.fixture(scope="module")
def project(with_archive: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one worker that waits for batches of 8."""
    project = copy_of(with_archive, tmp_path_factory.mktemp("batches") / "project")
    config = project.path / "model-config.yaml"
    text = config.read_text().replace("maxBatchDelay: 1\n", "maxBatchDelay: 500\n")
    config.write_text(text.replace("# minWorkers", "minWorkers").replace("# maxWork", "maxWork"))
    project.archive()
    return project


@pytest.fixture(scope="module")
def local(project: Project) -> Iterator[Any]:
    """The archive, loaded in this process through TorchServe's own loader."""
    with imported_from(project.path):
        from tools import inprocess

        with inprocess.open_archive(project.path / "model-store" / "image-classifier.mar") as found:
            yield found


def assert_same(prediction: list[dict[str, Any]], alone: list[dict[str, Any]]) -> None:
    """Compare two predictions; numbers differ a little in a batch of another size."""
    assert [entry["index"] for entry in prediction] == [entry["index"] for entry in alone]
    for one, other in zip(prediction, alone, strict=True):
        assert abs(one["probability"] - other["probability"]) < 1e-5


def assert_distinct(predictions: list[list[dict[str, Any]]]) -> None:
    """Check that a prediction shows which image it belongs to."""
    rounded = {tuple((x["index"], round(x["probability"], 4)) for x in one) for one in predictions}
    assert len(rounded) == len(predictions)


def test_every_combination_of_good_and_bad_in_a_batch(local: Any) -> None:
    alone = [local.predict([{"body": data}])[0].body for data in IMAGES]
    assert_distinct(alone)
    bad = list(BAD.values())
    for combination in range(2**BATCH):
        batch = [
            bad[(combination + place) % len(bad)] if combination >> place & 1 else None
            for place in range(BATCH)
        ]
        rows = [
            {"body": bytearray(x[0]) if x else data} for x, data in zip(batch, IMAGES, strict=True)
        ]
        for x, prediction, expected in zip(batch, local.predict(rows), alone, strict=True):
            if x:
                assert prediction.status == x[2]
                assert x[3] in prediction.body["error"]
            else:
                assert prediction.status == 200
                assert_same(prediction.body, expected)


def test_a_batch_of_none(local: Any) -> None:
    assert local.predict([]) == []


def test_the_images_of_a_request_share_a_limit(local: Any) -> None:
    png = bombs()["a PNG of 49 megapixels"]
    (prediction,) = local.predict([{"body": {"instances": [{"data": text_of(png)}] * 6}}])
    assert prediction.status == 200
    assert ["error" in item for item in prediction.body] == [False] * 4 + [True] * 2
    assert "200000000 pixels together" in prediction.body[4]["error"]


@pytest.mark.serve
def test_batches_over_http(project: Project) -> None:
    with project.serve() as service, ThreadPoolExecutor(BATCH) as pool:
        alone = [service.post(data).json for data in IMAGES]
        assert_distinct(alone)
        before = workers(service)
        bad = list(BAD.values())
        for number in range(BATCH + 1):  # of bad ones; they lie at other places each time
            batch = [
                bad[(3 * number + place) % len(bad)] if (place + number) % BATCH < number else None
                for place in range(BATCH)
            ]
            together = threading.Barrier(BATCH)

            def send(place: int, batch: list[Any] = batch, gate: Any = together) -> Reply:
                gate.wait()
                body, content_type, *_ = batch[place] or (IMAGES[place], BINARY)
                return service.post(body, content_type)

            for x, reply, expected in zip(batch, pool.map(send, range(BATCH)), alone, strict=True):
                assert reply.content_type == "application/json"
                if x:
                    assert reply.status == x[2], reply.body
                    assert x[3] in reply.json["error"]
                else:
                    assert reply.status == 200, reply.body
                    assert_same(reply.json, expected)
        log = (project.path / "logs" / "model_log.log").read_text()
        received = log.count("Backend received inference at")
        assert received < BATCH + BATCH * (BATCH + 1) / 2  # so there were batches

        for name, (body, content_type, status, _) in BAD.items():
            assert service.post(body, content_type).status == status, name
        lists(service, alone)
        assert announce(service.url, 20_000_000)[0] == 100
        assert announce(service.url, 20_000_001)[0] == 413
        assert workers(service) == before  # none of all that ended a worker


def lists(service: Service, alone: list[Any]) -> None:
    """Send several images in a request, some of them bad."""
    items = [{"data": text_of(data)} for data in IMAGES[:3]]
    items.insert(1, {"data": text_of(BAD["an SVG"][0])})
    reply = service.post(json.dumps({"instances": items}).encode(), JSON)
    assert reply.status == 200
    assert "SVG" in reply.json[1]["error"]
    for found, expected in zip((reply.json[0], *reply.json[2:]), alone[:3], strict=True):
        assert_same(found, expected)

    fields = form(("first", IMAGES[4]), ("second", b"no image"), ("third", IMAGES[2]))
    reply = service.post(fields, "multipart/form-data; boundary=X")
    assert reply.status == 200
    assert_same(reply.json[0], alone[4])
    assert "error" in reply.json[1]
    assert_same(reply.json[2], alone[2])

    # JSON is known by how it begins, for many clients send it as something else.
    reply = service.post(json.dumps(items[0]).encode(), "application/x-unknown")
    assert_same(reply.json, alone[0])
    assert service.post(b'{"instances": []}', JSON).json == []


def workers(service: Service) -> list[int]:
    """Return the process ids of the workers when all are ready."""
    return [worker["pid"] for worker in ready_workers(service.model, 60)]


def test_exif_does_not_turn_twice(local: Any) -> None:
    upright = noise(3)
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = encode_with(upright.transpose(Image.Transpose.ROTATE_90), turned)
    expected, prediction = local.predict([{"body": encode(upright)}, {"body": sideways}])
    assert_same(prediction.body, expected.body)


def test_damaged_exif_data_do_not_matter(local: Any) -> None:
    plain, damaged = io.BytesIO(), io.BytesIO()
    noise(3).save(plain, "JPEG")
    noise(3).save(damaged, "JPEG", exif=b"Exif\0\0MM}wYSY5")
    expected, prediction = local.predict([{"body": x.getvalue()} for x in (plain, damaged)])
    assert_same(prediction.body, expected.body)


@pytest.mark.parametrize("error", ["AttributeError('bug of mine')", "MemoryError()"])
def test_a_bug_in_preprocessing_is_no_fault_of_the_client(
    copy_project: Callable[..., Project], error: str
) -> None:
    """Nor does a bug hide that a file is damaged."""
    project = copy_project(own_files=["preprocessing.py"])
    preprocessing = project.path / "service" / "preprocessing.py"
    beginning = "def preprocess(image: Image.Image) -> torch.Tensor:\n"
    text = preprocessing.read_text()
    assert beginning in text
    preprocessing.write_text(text.replace(beginning, f"{beginning}    raise {error}\n"))
    code = """
import io, json
from service.images import read_items
from service import task
from tools.samples import sample_images
images = sample_images()
sent = [images["JPEG"], images["JPEG"][:-99], images["PNG"], images["PNG"][:-99]]
print(json.dumps([[x.status, str(x)] for x in read_items(sent, task.prepare)]))
"""
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    jpeg, half_jpeg, png, half_png = json.loads(result.stdout)
    assert jpeg == png == [500, "the service fails on this image"]
    assert half_jpeg[0] == half_png[0] == 400
    assert "damaged" in half_jpeg[1] and "damaged" in half_png[1]
    assert result.stderr.count(error.partition("(")[0] + ":" * ("bug" in error)) >= 2


def encode_with(image: Image.Image, exif: Image.Exif) -> bytes:
    """Return the image as a PNG with EXIF data."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


@pytest.mark.serve
def test_the_longest_response_does_not_end_the_worker(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=1000, top_k=1000)
    labels_of(project.path, [f"{index:04}" + '"\\猫🐱\x01' * 38 for index in range(1000)])
    build_and_save(project)
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        before = workers(service)
        instances = json.dumps({"instances": [{"data": text_of(IMAGES[0])}] * 64}).encode()
        reply = service.post(instances, JSON)
        assert reply.status == 200
        assert len(reply.body) > 20_000_000
        assert [len(prediction) for prediction in reply.json] == [1000] * 64
        assert workers(service) == before
