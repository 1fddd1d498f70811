# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The text of a label file, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

from .names import LabelFileError

# What a file begins with that is no text with labels.
NO_LABELS = {
    b"\x80": "is a pickle, which can run code when it is read; save the names as JSON",
    b"(dp": "is a pickle, which can run code when it is read; save the names as JSON",
    b"PK\x03\x04": "is a zip file, such as a checkpoint or a spreadsheet; save the names as text",
    b"\x93NUMPY": "is a NumPy array; save the names as JSON",
    b"version https://git-lfs": "is a Git LFS pointer; run: git lfs pull",
    b"<!doctype": "is a web page, saved in place of the file; download it again",
    b"<html": "is a web page, saved in place of the file; download it again",
    b"item {": "is a label map of TensorFlow; save the names as JSON",
}


def read_text(path: Path) -> str:
    """Return the text of a label file, in UTF-8 or UTF-16, with line ends as on Unix.

    Raises:
        LabelFileError: There is no such file, or it holds something else.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        raise LabelFileError(f"{path} is YAML, where no is false and 1 a number; save it as JSON")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LabelFileError(
            f"there is no label file {path}; README.md shows its form, --labels names another"
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
        raise LabelFileError(f"{path} is not UTF-8 text (line {line}); save it as UTF-8") from error
    if "\0" in text:
        raise LabelFileError(f"{path} holds zero bytes, as no text does; save it as UTF-8")
    if not text.strip():
        raise LabelFileError(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def encoding_of(data: bytes) -> str:
    """Return the encoding that the byte order mark tells, UTF-8 if there is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
