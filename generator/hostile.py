"""What a client may send that is no usable image: damaged files, bombs, garbage. All seeded."""

from __future__ import annotations

import base64
import functools
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

BINARY = "application/octet-stream"
JSON = "application/json"
FORM = "multipart/form-data; boundary=X"


@dataclass(frozen=True)
class HostileRequest:
    """One request with no usable image, or hardly one.

    Attributes:
        kind: What is wrong with it, for people.
        body: The body of the request; the whole request, down to the first line, if `raw`.
        content_type: As the client declares it.
        raw: Whether it is no valid HTTP, so that the connection may simply end.
    """

    kind: str
    body: bytes
    content_type: str = BINARY
    raw: bool = False


# --------------------------------------------------------------------------------------- real files


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def random_image(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """Return an image of coloured blobs; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 256, (*rng.integers(2, 7, 2), 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def good_file(seed: int) -> bytes:
    """Return an image as clients send them: any format and colour mode that is served."""
    rng = random.Random(seed)
    image = random_image(seed, (rng.randint(20, 200), rng.randint(20, 200)))
    mode, file_format = rng.choice(
        [(mode, name) for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF") for mode in ("RGB", "L")]
        + [("CMYK", "JPEG"), ("P", "PNG"), ("1", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP")]
    )
    data = encode(image.convert(mode), file_format)
    if file_format in ("JPEG", "PNG") and rng.random() < 0.2:
        data += rng.randbytes(50_000)  # as phones put a video behind the still
    return data


@functools.cache
def seed_files() -> tuple[bytes, ...]:
    """Return files of every kind that the decoders know, small enough to be hit in the header."""
    image = random_image(0)
    frames = [random_image(seed) for seed in range(1, 4)]
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010F] = "maker"
    many = {"save_all": True, "append_images": frames}
    files = [
        encode(image, "JPEG", exif=exif, comment=b"a comment"),
        encode(image, "JPEG", progressive=True, subsampling=0),
        encode(image.convert("L"), "JPEG", icc_profile=b"profile" * 9),
        encode(image.convert("CMYK"), "JPEG"),
        encode(image, "MPO", **many),
        encode(image, "PNG", exif=exif),
        encode(image.convert("P"), "PNG", transparency=3),
        encode(image.convert("LA"), "PNG"),
        encode(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"),
        encode(image.convert("1"), "PNG"),
        encode(image, "PNG", **many),
        encode(image, "WEBP", quality=50, exif=exif),
        encode(image, "WEBP", lossless=True),
        encode(image.convert("RGBA"), "WEBP", **many),
        encode(image, "BMP"),
        encode(image.convert("P"), "BMP"),
        encode(image.convert("1"), "BMP"),
        encode(image, "GIF"),
        encode(image, "GIF", **many),
    ]
    return tuple(files)


# ---------------------------------------------------------------------------------------- mutations


def mutant(rng: random.Random) -> bytes:
    """Return a real file after one to four mutations."""
    data = bytearray(rng.choice(seed_files()))
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(MUTATIONS)(data, rng)
    return bytes(data)


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    """Flip some bits, most of them in the header."""
    for _ in range(rng.randint(1, 8)):
        end = min(len(data), rng.choice([64, 700, len(data)]))
        if end:
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return data


def set_number(data: bytearray, rng: random.Random) -> bytearray:
    """Write a number at which programs often fail."""
    width = rng.choice([1, 2, 4])
    value = rng.choice([0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32])
    at = rng.randrange(max(1, min(len(data), rng.choice([64, 700, len(data)]))))
    order = rng.choice(["little", "big"])
    data[at : at + width] = (value % 256**width).to_bytes(width, order)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    """Cut the end off."""
    return data[: rng.randrange(len(data) + 1)]


def move_slice(data: bytearray, rng: random.Random) -> bytearray:
    """Leave a part out, repeat it, or put it elsewhere."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice([1, 4, 16, 256])]
    how = rng.randrange(3)
    if how == 0:
        del data[start : start + len(part)]
    elif how == 1:
        data[start:start] = part * rng.choice([1, 2, 50])
    else:
        at = rng.randrange(len(data) + 1)
        data[at:at] = part
    return data


def insert_noise(data: bytearray, rng: random.Random) -> bytearray:
    """Put random bytes somewhere."""
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice([1, 2, 30, 1000]))
    return data


def splice(data: bytearray, rng: random.Random) -> bytearray:
    """Go on with another file."""
    other = rng.choice(seed_files())
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def edit_chunk(data: bytearray, rng: random.Random) -> bytearray:
    """Change, drop or repeat a chunk of a PNG with its checksum set right, or a JPEG's segment."""
    if data.startswith(b"\x89PNG"):
        chunks = list(png_chunks(bytes(data)))
        if not chunks:
            return data
        at = rng.randrange(len(chunks))
        name, content = chunks[at]
        how = rng.randrange(3)
        if how == 0:
            changed = bytes(flip_bits(bytearray(content), rng))
            chunks[at] = (name, bytes(set_number(bytearray(changed), rng)))
        elif how == 1:
            del chunks[at]
        else:
            chunks.insert(rng.randrange(len(chunks)), chunks[at])
        return bytearray(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    marker = data.find(b"\xff", rng.randrange(len(data) + 1))
    if marker >= 0 and data.startswith(b"\xff\xd8"):
        data[marker + 1 : marker + 4] = rng.randbytes(3)
    return data


MUTATIONS: list[Callable[[bytearray, random.Random], bytearray]] = [
    flip_bits,
    set_number,
    truncate,
    move_slice,
    insert_noise,
    splice,
    edit_chunk,
]


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file with the right checksum."""
    return struct.pack(">I", len(content)) + name + content + crc(name + content)


def crc(content: bytes) -> bytes:
    """Return a PNG's checksum."""
    return struct.pack(">I", zlib.crc32(content))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each whole chunk."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


# -------------------------------------------------------------------------------------------- bombs


@functools.cache
def bombs() -> dict[str, bytes]:
    """Return small files that ask for much memory or time, by what they do.

    All but one are beyond the limits that a project has by default.
    """
    tiny = encode(Image.new("L", (8, 8)), "JPEG")
    progressive = encode(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    exif = b"\xff\xe1\0\x09Exif\0\0a" * 60_000
    last_scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    webp = encode(Image.new("RGB", (64, 64)), "WEBP", lossless=True)
    gif = encode(Image.new("P", (8, 8)), "GIF")
    gif_size = gif.index(b",\0\0\0\0") + 5
    png = encode(Image.new("L", (8, 8)), "PNG")
    before_pixels = png.index(b"IDAT") - 4
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 10_000_000))
    return {
        "a PNG of 49 megapixels": blank_png(7000, 7000),
        "a PNG of 400 megapixels": blank_png(20_000, 20_000),
        "a PNG that claims 4 gigapixels": blank_png(65_500, 65_500, b""),
        "a WebP of 268 megapixels": webp[:21] + b"\xff\xff\xff\x0f" + webp[25:],
        "an image 1 pixel high": blank_png(40_000, 1),
        "a JPEG of 5000 scans": progressive[:-2] + last_scan * 5000 + b"\xff\xd9",
        "a JPEG of 60,000 blocks of EXIF": tiny[:2] + exif + tiny[2:],
        "a JPEG that begins with its end": tiny[:2] + b"\xff\xd9" + exif + tiny[2:],
        "a JPEG of 60,000 comments": tiny[:2] + b"\xff\xfe\0\x02" * 60_000 + tiny[2:],
        "a JPEG that claims 65,500 x 65,500": resized_jpeg(tiny, 65_500, 65_500),
        "a GIF whose frame is larger than itself": gif[:gif_size]
        + struct.pack("<HH", 65_535, 65_535)
        + gif[gif_size + 4 :],
        "a PNG with 40 MB of compressed text": png[:before_pixels] + text * 4 + png[before_pixels:],
        "a BMP of 49 megapixels in 5 KB": rle_bmp(49_000, 1000, b"\x01\x05\0\0" * 1000),
        "a PNG without pixels": blank_png(0, 7),
    }


def blank_png(width: int, height: int, pixels: bytes | None = None) -> bytes:
    """Return a black PNG of 1 bit per pixel; `pixels` is what it holds in place of all of them."""
    if pixels is None:
        pixels = bytes((1 + (width + 7) // 8) * height)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG that claims another size."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def rle_bmp(width: int, height: int, content: bytes) -> bytes:
    """Return a run-length encoded BMP of 8 bits per pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(content), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    size = offset + len(content)
    return (
        b"BM" + struct.pack("<IHHI", size, 0, 0, offset) + header + bytes(range(256)) * 4 + content
    )


@functools.cache
def other_media() -> dict[str, bytes]:
    """Return files of kinds that the service does not read, by their kind."""
    image = random_image(1)
    return {
        "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
        "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
        "PDF": encode(image, "PDF"),
        "TIFF": encode(image, "TIFF"),
        "ICO": encode(image, "ICO"),
        "PPM": encode(image, "PPM"),
        "TGA": encode(image, "TGA"),
        "EPS": encode(image, "EPS"),
        "JPEG 2000": encode(image, "JPEG2000"),
        "AVIF": encode(image, "AVIF"),
        "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500),
        "WebM": b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01" + bytes(500),
        "ZIP": b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(500),
    }


# ----------------------------------------------------------------------------------------- requests


def form(*parts: tuple[str, bytes]) -> bytes:
    """Return a multipart form: name and content of each field."""
    fields = [
        f'--X\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in parts
    ]
    return b"".join(fields) + b"--X--\r\n"


def text_of(data: bytes) -> str:
    """Return base64 text."""
    return base64.b64encode(data).decode()


def wrong_json(rng: random.Random) -> bytes:
    """Return a body that is no valid JSON, or not of a form that the service knows."""
    data = text_of(encode(random_image(2), "PNG"))
    good = json.dumps({"instances": [{"data": data}, {"data": data}]}).encode()
    choices: list[Callable[[], bytes]] = [
        lambda: good[: rng.randrange(len(good))],
        lambda: bytes(flip_bits(bytearray(good), rng)),
        lambda: b"[" * rng.choice([10, 1000, 100_000]),
        lambda: b'{"data":' * rng.choice([10, 1000, 100_000]),
        lambda: b"[" + b"{}," * 300_000 + b"{}]",
        lambda: b'{"instances": [' + b"{}," * 200 + b"{}]}",
        lambda: b'{"instances": []}',
        lambda: b'{"instances": {"0": 1}}',
        lambda: b'{"instances": [NaN, 1e999, -0, null, true, "\\ud800", [], {}]}',
        lambda: b'{"data": null, "data": 1, "DATA": "x"}',
        lambda: b'{"data": ' + b"9" * 5000 + b"}",
        lambda: json.dumps({"data": data[:-7]}).encode(),
        lambda: json.dumps({"data": f"data:image/png;base64,{data[3:]}"}).encode(),
        lambda: json.dumps({"image": data}).encode(),
        lambda: json.dumps(data[: rng.randrange(len(data))]).encode(),
        lambda: json.dumps({"instances": [data]}).encode("utf-16"),
        lambda: b'\xef\xbb\xbf{"data": "\xff\xfe"}',
    ]
    return rng.choice(choices)()


def wrong_form(rng: random.Random) -> bytes:
    """Return a form that is damaged, or that holds what is no image."""
    good = form(("data", encode(random_image(3), "PNG")))
    choices: list[Callable[[], bytes]] = [
        lambda: good[: rng.randrange(len(good))],
        lambda: bytes(flip_bits(bytearray(good), rng)),
        lambda: good.replace(b"X", b"Y"),
        lambda: good.replace(b'name="data"', b'name=""'),
        lambda: good.replace(b'name="data"', b'name="\xff\xfe\0"'),
        lambda: good.replace(b"Content-Disposition", b"Content-Nothing"),
        lambda: b"--X--\r\n",
        lambda: form(*((f"f{number}", b"") for number in range(200))),
        lambda: form(("a", b"no image"), ("b", mutant(rng))),
    ]
    return rng.choice(choices)()


def broken_http(rng: random.Random, path: str) -> bytes:
    """Return what is no valid HTTP request, or only the beginning of one."""
    data = encode(random_image(4), "PNG")
    line = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
    length = b"Content-Length: %d\r\n" % len(data)
    choices: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(rng.choice([1, 30, 3000])) + b"\r\n\r\n",
        lambda: line + b"Content-Length: -1\r\n\r\n" + data,
        lambda: line + b"Content-Length: 99999999999999999999\r\n\r\n" + data,
        lambda: line + length + b"Content-Length: 3\r\n\r\n" + data,
        lambda: line + length + b"\r\n" + data[: rng.randrange(len(data))],
        lambda: line + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + data,
        lambda: line + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" + data,
        lambda: line + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        lambda: line + b"no colon here\r\n\r\n",
        lambda: f"POST {path}?{'a' * 20_000} HTTP/1.1\r\n\r\n".encode(),
        lambda: b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + rng.randbytes(100),  # TLS
    ]
    return rng.choice(choices)()


def requests(seed: int, path: str = "/predictions/model") -> Iterator[HostileRequest]:
    """Yield hostile requests for ever.

    Args:
        seed: Decides which.
        path: Where the model is served, for the requests that are raw HTTP.
    """
    rng = random.Random(seed)
    kinds = ["mutated file"] * 60 + ["mutated base64"] * 5 + ["other media"] * 8 + ["bomb"] * 3
    kinds += ["garbage"] * 6 + ["JSON"] * 8 + ["form"] * 6 + ["wrong content type"] * 2
    kinds += ["broken HTTP"] * 2
    while True:
        kind = rng.choice(kinds)
        match kind:
            case "mutated file":
                yield HostileRequest(kind, mutant(rng))
            case "mutated base64":
                text = bytearray(text_of(mutant(rng)).encode())
                yield HostileRequest(kind, bytes(move_slice(text, rng)), "text/plain")
            case "other media":
                name, data = rng.choice(list(other_media().items()))
                yield HostileRequest(f"{kind}: {name}", data)
            case "bomb":
                name, data = rng.choice(list(bombs().items()))
                yield HostileRequest(f"{kind}: {name}", data)
            case "garbage":
                sizes = [0, 1, 2, 100, 5000, 100_000]
                yield HostileRequest(kind, rng.randbytes(rng.choice(sizes)))
            case "JSON":
                yield HostileRequest(kind, wrong_json(rng), rng.choice([JSON, JSON, BINARY]))
            case "form":
                yield HostileRequest(kind, wrong_form(rng), FORM)
            case "wrong content type":
                types = [JSON, FORM, "text/plain", "text/plain; charset=utf-16", "video/mp4"]
                types += ["application/x-www-form-urlencoded", "multipart/form-data", "\xff/\xfe"]
                yield HostileRequest(kind, mutant(rng), rng.choice(types))
            case "broken HTTP":
                yield HostileRequest(kind, broken_http(rng, path), raw=True)
