"""From what a client sent to a picture: request forms, file formats and colour modes."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

# The formats that the service reads; Pillow's many others are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

# What one client may ask for. A file of a few bytes can hold, or be scaled to, gigabytes.
MAX_PICTURES = 64  # in one request
MAX_PIXELS = 50_000_000  # width times height, as in the file
MAX_RATIO = 50  # of the longer side to the shorter one, which scaling keeps


class InputError(ValueError):
    """What a client sent is no usable picture; the message is for that client."""


@dataclass(frozen=True)
class Request:
    """The pictures of one request, still encoded; `is_list` if a list of answers is expected."""

    items: list[Any]
    is_list: bool = False


def read_request(row: dict[str, Any]) -> Request:
    """Return the pictures of one TorchServe request.

    Args:
        row: {"body": <bytes, text or JSON>}, or one entry per field of a multipart form. JSON
            {"instances": [...]} and forms of several fields carry a list.
    """
    body = row.get("body")
    if isinstance(body, dict) and isinstance(body.get("instances"), list):
        request = Request(body["instances"], is_list=True)
    else:
        request = Request(list(row.values()) or [b""], is_list=len(row) > 1)
    if len(request.items) > MAX_PICTURES:
        found = len(request.items)
        return Request([InputError(f"{found} pictures; at most {MAX_PICTURES} in one request")])
    return request


def payload_bytes(item: Any) -> bytes:
    """Return the bytes of an encoded picture.

    Args:
        item: The bytes themselves, base64 text, a data URL, or {"data": <one of these>}.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(item, InputError):
        raise item
    if isinstance(item, dict) and isinstance(item.get("data"), str):
        item = item["data"]
    if isinstance(item, str):
        item = item.encode(errors="replace")  # half a surrogate pair has no encoding
    if not isinstance(item, (bytes, bytearray)):
        raise InputError('expected an image file, base64 text, or JSON {"data": "<base64>"}')
    if not item:
        raise InputError("empty; expected an image file, or base64 sent as text/plain")
    if not item.isascii() or item.startswith((b"BM", b"GIF8")):
        return bytes(item)
    # No other image file is pure ASCII, so this is text; `base64` breaks its lines.
    text = b"".join(item.split())
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InputError("the text is neither an image file nor valid base64") from None


def decode_image(data: bytes) -> Image.Image:
    """Return the picture upright and in mode "RGB"; of an animation, the first frame.

    Raises:
        InputError: `data` is no readable file in one of FORMATS, or is beyond the limits.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(image.size) > MAX_RATIO * min(image.size):
                raise InputError(
                    f"the image has {width} x {height} pixels; expected at most {MAX_PIXELS} "
                    f"in all, and one side at most {MAX_RATIO} times the other"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits per pixel: keep the upper 8
                upright = upright.point(lambda value: value / 256).convert("L")
            return upright.convert("RGB")
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"the image is too large: {error}") from error
    except UnidentifiedImageError:
        raise InputError(f"the data is no image; expected one of {', '.join(FORMATS)}") from None
    # Pillow's decoders raise whatever a damaged file makes them trip over.
    except Exception as error:
        raise InputError(f"the image file is damaged: {error}") from error
