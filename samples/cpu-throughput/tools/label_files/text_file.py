# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The text of a label file, whatever stands in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .names import LabelFileError

# What a file begins with that is no text with labels.
NO_LABELS = {
    b"\x80": "is a pickle, which can run code when it is read; save the names as JSON",
    b"(dp": "is a pickle, which can run code when it is read; save the names as JSON",
    b"\xff\xd8\xff": "is an image; expected the names of the classes",
    b"\x89PNG": "is an image; expected the names of the classes",
    b"PK\x03\x04": "is a zip file, such as a checkpoint or a spreadsheet; save the names as text",
    b"\x93NUMPY": "is a NumPy array; save the names as JSON",
    b"version https://git-lfs": "is a Git LFS pointer; run: git lfs pull",
    b"<!doctype": "is a web page, saved in place of the file; download it again",
    b"<html": "is a web page, saved in place of the file; download it again",
}
LABEL_MAP = re.compile(r"(\s|#[^\n]*\n)*item\s*:?\s*\{")
YAML = (".yaml", ".yml")


class ForeignFileError(LabelFileError):
    """A label file of another tool."""

    conversions = ("",)


def read_text(path: Path) -> str:
    """Return the text of a label file, in UTF-8 or UTF-16, with line ends as on Unix.

    Raises:
        LabelFileError: There is no such file, or it holds something else.
    """
    text = read_any_text(path)
    if path.suffix.lower() in YAML:
        raise ForeignFileError(f"{path} is YAML, where no is false and 1 a number")
    if LABEL_MAP.match(text):
        raise ForeignFileError(f"{path} is a label map of TensorFlow")
    return text


def read_any_text(path: Path) -> str:
    """Return the text of a file, in UTF-8 or UTF-16, with line ends as on Unix.

    Raises:
        LabelFileError: There is no such file, or it holds no text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LabelFileError(
            f"there is no label file {path}; README.md shows its form, --labels names another"
        ) from None
    except IsADirectoryError:
        raise LabelFileError(
            f"{path} is a folder; its sub-folders may be the classes, as ImageFolder has them",
            label_format="folders",
            label_folder=path.resolve().as_posix(),
        ) from None
    except OSError as error:
        raise LabelFileError(f"{path} cannot be read as a label file: {error.strerror}") from error
    head = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in NO_LABELS.items():
        if head.startswith(start.lower()):
            raise LabelFileError(f"{path} {what}")
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelFileError(
            f"{path} is not UTF-8 text (line {line}). Convert it from its own encoding, such as: "
            + recoding(path, "WINDOWS-1252")
        ) from error
    if "\0" in text:
        width = 32 if b"\0\0" in data else 16
        encoding = f"UTF-{width}{'LE' if data[0] else 'BE'}"
        raise LabelFileError(
            f"{path} holds zero bytes, as {encoding} does. Convert it: {recoding(path, encoding)}"
        )
    if not text.strip():
        raise LabelFileError(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def recoding(path: Path, encoding: str) -> str:
    """Return the command that writes a file anew as UTF-8."""
    target = path.with_name(f"{path.stem}-utf8{path.suffix}")
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(str(target))}"


def encoding_of(data: bytes) -> str:
    """Return the encoding that the byte order mark tells, UTF-8 if there is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
