# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From what a client sent to an image: request forms, file formats and colour modes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

T = TypeVar("T")

# The formats that the service reads; Pillow's many others are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|BM|GIF8", re.DOTALL)
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
    "video": rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|\0\0\x01[\xb3\xba]",
    "audio": rb"RIFF....WAVE|ID3|OggS|fLaC",
    "ZIP or gzip": rb"PK\x03\x04|\x1f\x8b",
}

# What one client may ask for. A file of a few bytes can hold, or be scaled to, gigabytes.
MAX_IMAGES = 64  # in one request
MAX_PIXELS = 50_000_000  # of one image: width times height, as in the file
MAX_REQUEST_PIXELS = 4 * MAX_PIXELS  # of all images in one request
MAX_RATIO = 50  # of the longer side to the shorter one, which scaling keeps
MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the image, and few bytes
MAX_BLOCKS = 1000  # of EXIF data in a JPEG; Pillow joins them, in time that grows with the square
MARKERS = re.compile(rb"\xff[\xda\xe1]")  # begin a scan, a block; no compressed pixels contain them
MAX_VALUES = 10_000  # in a JSON body; in memory, each takes ten times its text and more
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
        row: {"body": <bytes, text or JSON>}, or one entry per field of a multipart form. JSON
            {"instances": [...]} and forms of several fields carry a list.
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
    else:
        request = Request(list(row.values()) or [b""], is_list=len(row) > 1)
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
            image = open_image(payload_bytes(payload))
            left -= image.width * image.height
            if left < 0:
                message = f"the images have more than {MAX_REQUEST_PIXELS} pixels together"
                raise ItemError(message, 413)
            with decoding():
                items.append(prepare(image))
        except ItemError as error:
            items.append(error)
    return items


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
    # No other image file is pure ASCII, so this is text; `base64` breaks its lines.
    text = b"".join(item.split())
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        refuse_other_media(item)
        raise ItemError("the text is neither an image file nor valid base64") from None


def open_image(data: bytes) -> Image.Image:
    """Return an image whose header has been read, but not its pixels.

    Raises:
        ItemError: `data` is no file in one of FORMATS, or is beyond the limits.
    """
    if not SIGNATURES.match(data):
        refuse_other_media(data)
        raise ItemError(f"the data is no image; expected one of {', '.join(FORMATS)}")
    if data.startswith(b"\xff\xd8"):
        markers = islice(MARKERS.finditer(data), MAX_SCANS + MAX_BLOCKS + 1)
        counts = Counter(marker[0] for marker in markers)
        scans, blocks = counts[b"\xff\xda"], counts[b"\xff\xe1"]
        if scans > MAX_SCANS or blocks > MAX_BLOCKS:
            raise ItemError(f"the JPEG has {scans} scans and {blocks} blocks of EXIF data", 422)
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
    return image


def decode_image(image: Image.Image) -> Image.Image:
    """Return the image upright and in mode "RGB"; of an animation, the first frame.

    A JPEG file that is so already stays unread, for pixels.py decodes it faster than Pillow.

    Raises:
        ItemError: The file is damaged.
    """
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if (image.format, image.mode, orientation) == ("JPEG", "RGB", 1):
            return image
    # Damaged EXIF data leave the image as it is; damaged pixels are reported below.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    with decoding():
        if image.mode.startswith("I"):  # 16 bits per pixel: keep the upper 8
            image = image.point(lambda value: value / 256).convert("L")
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")


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
    except ItemError:
        raise
    except UnidentifiedImageError:
        raise ItemError("the image file is damaged, or has no pixels") from None
    except Exception as error:
        raise ItemError(f"the image file is damaged: {error}") from error
