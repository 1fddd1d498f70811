"""What clients send, over HTTP: all ways to send an image, and images with something behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import ways
from PIL import Image

from conftest import Project, Reply, Service, copy_of, noise
from engines import one_worker
from generator import hostile
from generator.torture import alike

pytestmark = pytest.mark.serve

IMAGE, *OTHERS = (hostile.random_image(seed, (160, 120)) for seed in range(3))


@pytest.fixture(scope="module")
def service(with_archive: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running TorchServe."""
    project = copy_of(with_archive, tmp_path_factory.mktemp("requests") / "project")
    one_worker(project.path)
    with project.serve() as running:
        yield running


def jpeg(**options: Any) -> bytes:
    """Return a JPEG whose base64 is padded."""
    file = hostile.encode(IMAGE, "JPEG", **options)
    return file if len(file) % 3 else hostile.encode(IMAGE, "JPEG", comment=b"x", **options)


def prediction(reply: Reply) -> Any:
    """Return the prediction in a reply."""
    assert reply.status == 200, reply.body
    return reply.json


def test_every_way_to_send_an_image_gets_its_prediction(service: Service) -> None:
    image = jpeg()
    expected = prediction(service.post(image))
    assert not alike(expected, prediction(service.post(hostile.encode(OTHERS[0], "JPEG"))))
    for name, (body, content_type) in ways.right(image).items():
        assert alike(prediction(service.post(body, content_type)), expected), name


def test_a_misread_request_is_told_what_to_send(service: Service) -> None:
    for name, (body, content_type, status, word) in ways.wrong(jpeg()).items():
        reply = service.post(body, content_type)
        assert reply.status == status, (name, reply.body)
        assert word in reply.json["error"], name


def test_several_images_of_a_form_stay_a_list(service: Service) -> None:
    image = jpeg()
    expected = prediction(service.post(image))
    fields = [("a", image), ("title", b"two of them"), ("b", image), ("c", b"\xff\xd8\xff\xe0 no")]
    first, title, second, damaged = prediction(service.post(ways.form(*fields), ways.FORM))
    assert alike(first, expected)
    assert alike(second, expected)
    assert title["error"]
    assert "damaged" in damaged["error"]


def with_something_behind() -> dict[str, tuple[bytes, bytes]]:
    """Return files with something behind the image, each with the file without it."""
    rng = random.Random(0)
    video = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + rng.randbytes(8_000_000)
    assert video.count(b"\xff\xda") > 100  # more than the scans that a JPEG may have
    plain, progressive = jpeg(), jpeg(progressive=True)
    seft = (
        b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + video[:99_999] + b"SEFH\x6b\0\0\0\1\0\0\0SEFT"
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    many = {"save_all": True, "append_images": OTHERS}
    png = hostile.encode(IMAGE, "PNG")
    return {
        "motion photo": (plain + video, plain),
        "progressive motion photo": (progressive + video, progressive),
        "Samsung's trailer": (plain + seft, plain),
        "other images": (hostile.encode(IMAGE, "MPO", **many), plain),
        "other images and a video": (
            hostile.encode(IMAGE, "MPO", exif=turned, **many) + video,
            jpeg(exif=turned),
        ),
        "PNG": (png + video, png),
    }


def test_what_is_behind_an_image_changes_nothing(service: Service) -> None:
    for name, (whole, image) in with_something_behind().items():
        expected = prediction(service.post(image))
        assert alike(prediction(service.post(whole)), expected), name


def test_a_damaged_image_gets_no_prediction(service: Service) -> None:
    # The smaller ones end before their pixels, the larger ones before their end.
    for file_format in ("PNG", "GIF", "BMP", "WEBP", "JPEG"):
        file = hostile.encode(noise(0), file_format)
        for length in (200, len(file) // 2, len(file) - 300):
            reply = service.post(file[:length])
            assert (reply.status, "damaged" in reply.json["error"]) == (400, True), file_format


def test_small_files_that_ask_for_much_are_refused_at_once(service: Service) -> None:
    for name, bomb in hostile.bombs().items():
        status = service.post(bomb).status
        assert status == 200 if name == "a PNG of 49 megapixels" else status in (400, 413, 422), (
            name
        )


def test_grayscale_of_16_bits_is_refused_in_words_for_its_client(service: Service) -> None:
    gray = Image.linear_gradient("L").convert("I;16")
    reply = service.post(hostile.encode(gray, "PNG"))
    assert reply.status == 422
    assert "send 8 bits" in reply.json["error"]
    assert "copier" not in reply.json["error"]


def test_a_kind_that_is_not_read_is_named(service: Service) -> None:
    kinds = {**hostile.other_media(), "HEIC": b"\0\0\0\x18ftypheic" + bytes(500)}
    kinds["camera's raw"] = b"FUJIFILMCCD-RAW 0201" + bytes(500)
    unnamed = {"TGA", "EPS"}  # which begin like anything
    for kind, data in kinds.items():
        reply = service.post(data)
        assert reply.status == (400 if kind in unnamed else 415), kind
        if kind in ("HEIC", "AVIF", "TIFF", "SVG", "PPM", "camera's raw"):
            assert kind in reply.json["error"]
