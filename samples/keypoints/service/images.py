# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From what a client sent to an image: request forms, file formats and colour modes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

T = TypeVar("T")
logger = logging.getLogger(__name__)

# The formats that the service reads; Pillow's many others are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|BM|GIF8", re.DOTALL)
BASE64 = re.compile(rb"\s*(b')?((?i:data:)|[/_]9j[/_]|iVBORw0K|UklGR|Qk|R0lGOD)")  # of these
URL_SAFE = bytes.maketrans(b"-_", b"+/")  # from the other alphabet of base64
# Other media that clients send, by how they begin, to be told apart from damaged images.
OTHER_MEDIA = {
    "HTML": rb"(?i)\s*<(!doctype )?html",
    "SVG or other XML": rb"\s*<[?!a-z]",
    "PDF": rb"%PDF-",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "HEIC or AVIF": rb"....ftyp(hei|hev|mif|msf|avi)",
    "JPEG 2000 or JPEG XL": rb"\0\0\0\x0c(jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a",
    "ICO": rb"\0\0\x01\0",
    "Photoshop": rb"8BPS",
    "PBM, PGM or PPM": rb"P[1-6]\s",
    "a camera's raw file": rb"FUJIFILM|II(RO|RS|U\0)|....ftypcrx",
    "video": rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|\0\0\x01[\xb3\xba]",
    "audio": rb"RIFF....WAVE|ID3|OggS|fLaC",
    "ZIP or gzip": rb"PK\x03\x04|\x1f\x8b",
    "text that begins with a byte order mark": rb"\xff\xfe|\xfe\xff|\xef\xbb\xbf",
    "a form without Content-Type: multipart/form-data; boundary=...": rb"(?i)--[^\n]+\ncontent-",
}

# What one client may ask for. A file of a few bytes can hold, or be scaled to, gigabytes.
MAX_IMAGES = 64  # in one request
MAX_PIXELS = 50_000_000  # of one image: width times height, as in the file
MAX_REQUEST_PIXELS = 4 * MAX_PIXELS  # of all images in one request
MAX_RATIO = 50  # of the longer side to the shorter one, which scaling keeps
MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the image, and few bytes
MAX_SEGMENTS = 1000  # of a JPEG; Pillow joins those with EXIF data, in quadratic time
# Begins a segment with a length, or ends the image (D9). No compressed pixels contain one.
SEGMENT = re.compile(rb"\xff[\xc0-\xc7\xc9-\xcf\xd9-\xef\xfe]")
MAX_VALUES = 10_000  # in a JSON body; in memory, each takes ten times its text and more
MAX_NAME = 200  # characters of a form's field; a longer name is a body that was read as a form
MISREAD = (
    "the body was read as a form, and there are no fields in it; send an image file as "
    "application/octet-stream, base64 as text/plain, JSON as application/json, a form as "
    "multipart/form-data with its boundary"
)
Image.MAX_IMAGE_PIXELS = None  # the limits here stand in for Pillow's own


class ItemError(ValueError):
    """An item of a request that gets no prediction; message and HTTP status are for its client."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The images of one request, still encoded; `is_list` if a list of predictions is expected."""

    items: list[Any]
    is_list: bool = False


def read_request(row: dict[str, Any]) -> Request:
    """Return the images of one request.

    Args:
        row: {"body": <bytes, text or JSON>}, or one entry per field of a form. JSON
            {"instances": [...]} and forms of several fields carry a list; texts beside one image
            are left out.
    """
    body = row.get("body")
    if isinstance(body, (bytes, bytearray)) and re.match(rb"(\xef\xbb\xbf)?\s*[{[\"]", body):
        try:
            body = parse_json(body)
        except ItemError as error:
            return Request([error])
        row = {"body": body}
    if isinstance(body, dict) and isinstance(body.get("instances"), list):
        request = Request(body["instances"], is_list=True)
    elif not row or max(map(len, row)) > MAX_NAME:
        return Request([ItemError(MISREAD)])
    else:
        images = [value for value in row.values() if not is_text(value)]
        items = images if len(images) == 1 else list(row.values())
        request = Request(items, is_list=len(items) > 1)
    if (found := len(request.items)) > MAX_IMAGES:
        message = f"{found} images; at most {MAX_IMAGES} in one request"
        return Request([ItemError(message, 413)])
    return request


def read_items(payloads: Iterable[Any], prepare: Callable[[Image.Image], T]) -> list[T | ItemError]:
    """Return each image of a request as `prepare` makes it, or what is wrong with it.

    Args:
        payloads: What `read_request` found.
        prepare: Takes an image whose pixels are not decoded yet.
    """
    items: list[T | ItemError] = []
    left = MAX_REQUEST_PIXELS
    for payload in payloads:
        try:
            data = payload_bytes(payload)
            image = open_image(data)
            left -= image.width * image.height
            if left < 0:
                message = f"the images have more than {MAX_REQUEST_PIXELS} pixels together"
                raise ItemError(message, 413)
            try:
                items.append(prepare(image))
            except ItemError:
                raise
            except Exception:
                refuse_damaged(data)
                raise
        except ItemError as error:
            items.append(error)
        except Exception:  # nothing is wrong with the image
            logger.exception("the service fails on an image")
            items.append(ItemError("the service fails on this image", 500))
    return items


def is_text(field: Any) -> bool:
    """Tell whether a field of a form is text, and no image in any of the ways to send one."""
    if not isinstance(field, (bytes, bytearray)) or b"\0" in field or BASE64.match(field):
        return False
    try:
        field.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_json(text: bytes | bytearray) -> Any:
    """Return the content of a JSON body, unless it holds absurdly many values."""
    if sum(map(text.count, (b"{", b"[", b","))) > MAX_VALUES:
        raise ItemError(f"the JSON has more than {MAX_VALUES} values", 413)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ItemError(f"the JSON cannot be read: {error}") from None


def payload_bytes(item: Any) -> bytes:
    """Return the bytes of an encoded image.

    Args:
        item: The bytes themselves, base64 text, a data URL, or {"data": <one of these>}.

    Raises:
        ItemError: It is none of these.
    """
    if isinstance(item, ItemError):
        raise item
    if isinstance(item, dict) and isinstance(item.get("data"), str):
        item = item["data"]
    if isinstance(item, str):
        item = item.encode(errors="replace")  # half a surrogate pair has no encoding
    if not isinstance(item, (bytes, bytearray)):
        raise ItemError('expected an image file, base64 text, or JSON {"data": "<base64>"}')
    if not item:
        raise ItemError("empty; expected an image file, or base64 sent as text/plain")
    if not item.isascii() or SIGNATURES.match(item):
        return bytes(item)
    # No other image file is pure ASCII, so this is text.
    text = bytes(item).strip()
    if text[:5].lower() == b"data:":
        text = text.partition(b",")[2]
    try:
        data = decode_base64(text)
    except binascii.Error:
        data = b""
    if SIGNATURES.match(data):
        return data
    refuse_other_media(data)
    refuse_other_media(item)
    raise ItemError("the text is neither an image file nor the base64 of one")


def decode_base64(text: bytes) -> bytes:
    """Return what base64 text stands for, however clients write it, if that is unambiguous.

    Args:
        text: Of either alphabet, with or without padding, in lines or not, percent-encoded or not,
            in the quotes of Python's bytes or not. Blanks between lines are left out, others were
            "+" before somebody took the text for a form.

    Raises:
        binascii.Error: It is not valid.
    """
    text = text.removeprefix(b"b'").removesuffix(b"'").translate(URL_SAFE)
    if b"%" in text:
        text = unquote_to_bytes(text)
    words = b"".join(text.splitlines()).split(b" ")
    text = b"".join(words)
    if len(text) % 4 or any(len(word) != len(words[0]) for word in words[:-1]):
        text = b"+".join(words)
    text = text.rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def open_image(data: bytes) -> Image.Image:
    """Return an image whose header has been read, but not its pixels.

    Raises:
        ItemError: `data` is no file in one of FORMATS, or is beyond the limits.
    """
    if not SIGNATURES.match(data):
        refuse_other_media(data)
        raise ItemError(f"the data is no image; expected one of {', '.join(FORMATS)}")
    if data.startswith(b"\xff\xd8"):
        data = data[: end_of_jpeg(data)]
    with decoding():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        message = f"the image has {width} x {height} pixels; at most {MAX_PIXELS} are allowed"
        raise ItemError(message, 413)
    if max(image.size) > MAX_RATIO * min(image.size):
        message = f"the image has {width} x {height} pixels; one side may be {MAX_RATIO} times as "
        raise ItemError(message + "long as the other", 422)
    if image.format == "BMP" and image.info["compression"] in (1, 2):
        raise ItemError("the BMP is run-length encoded, which takes Pillow seconds", 422)
    if image.mode.startswith("I"):
        raise ItemError(
            "the image is grayscale with 16 bits, which libraries read in different ways; send 8 "
            "bits",
            422,
        )
    return image


def end_of_jpeg(data: bytes) -> int:
    """Return the length of a JPEG without the video or the images that phones put behind it.

    Raises:
        ItemError: It has more scans or segments than any camera writes.
    """
    at, scans = 2, 0
    for _ in range(MAX_SEGMENTS):
        found = SEGMENT.search(data, at)
        if found is None:
            return len(data)
        marker, at = found[0][1], found.end()
        if marker != 0xD9:
            scans += marker == 0xDA
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        elif scans:
            return at
        if scans > MAX_SCANS:
            raise ItemError(f"the JPEG has more than {MAX_SCANS} scans", 422)
    raise ItemError(f"the JPEG has more than {MAX_SEGMENTS} segments", 422)


def decode_image(image: Image.Image) -> Image.Image:
    """Return the image upright and in mode "RGB"; of an animation, the first frame.

    A JPEG file that is so already stays unread, for pixels.py decodes it faster than Pillow.

    Raises:
        ItemError: The file is damaged.
    """
    if isinstance(image, JpegImageFile) and image.mode == "RGB":
        with contextlib.suppress(Exception):  # what is wrong with EXIF data is no reason to fail
            if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                return image
    with decoding():
        image.load()
    # Not before: damaged pixels, too, would be ignored here, and raise nothing when loaded again.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "RGB":
        return image
    with decoding():  # a palette may be damaged
        return image.convert("RGB")


def refuse_damaged(data: bytes) -> None:
    """Raise ItemError for an image file whose pixels Pillow cannot decode."""
    image = open_image(data)
    with decoding():
        image.load()


def refuse_other_media(data: bytes | bytearray) -> None:
    """Raise ItemError with status 415 for media that this service does not read."""
    for name, beginning in OTHER_MEDIA.items():
        if re.match(beginning, data, re.DOTALL):
            raise ItemError(f"the data is {name}; expected one of {', '.join(FORMATS)}", 415)


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever a damaged file makes Pillow's decoders raise into an ItemError."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ItemError("the image file is damaged, or has no pixels") from None
    except Exception as error:
        raise ItemError(f"the image file is damaged: {error}") from error
