"""Files that hold no checkpoint that can be served: what each of them is, and what to do."""

from __future__ import annotations

import shlex
from pathlib import Path

from generator.errors import UserError
from generator.shared.file_start import NoCheckpointError, read_start

EXPECTED = (
    "expected is a file from torch.save, torch.jit.save, torch.export.save, safetensors or ONNX"
)


MAX_MESSAGE = 1500  # characters


INDEX = (".safetensors.index.json", ".bin.index.json")  # of weights in several files


class RefusedFileError(UserError):
    """The file is no checkpoint, or not one that can be read; the message says what it is."""

    def __init__(self, message: str, lines: str = "") -> None:
        super().__init__(printable(message)[:MAX_MESSAGE] + lines)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: names come from the file."""
    return "".join(char if char.isprintable() else "?" for char in text)


def damaged(path: Path, what: str) -> RefusedFileError:
    """Return the error for a file that is cut short or has changed on its way."""
    size = path.stat().st_size
    return RefusedFileError(
        f"{path} ({size:,} bytes) is damaged or cut short: {what}. Copy or download it again, and "
        "compare its size with the original's"
    )


# The first bytes of a file, what it is then, and what to do.
BEGINNINGS: list[tuple[bytes, str, str]] = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras saves", "only PyTorch and ONNX are served"),
    (b"\x93NUMPY", "a NumPy array", "name the checkpoint itself"),
    (b"GGUF", "a GGUF file, of a language model", "name the checkpoint of a network for images"),
    (b"ftrt", "a TensorRT engine", "name the checkpoint that it was built from"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip, or tar xzf"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2, or tar xjf"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with unxz, or tar xJf"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "unpack it with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it, and name the checkpoint in it"),
    (b"Rar!", "a RAR archive", "unpack it, and name the checkpoint in it"),
    (b"\x89PNG", "a PNG image", "name the checkpoint"),
    (b"\xff\xd8\xff", "a JPEG image", "name the checkpoint"),
    (b"GIF8", "a GIF image", "name the checkpoint"),
    (b"RIFF", "an image or a sound", "name the checkpoint"),
    (b"%PDF", "a PDF document", "name the checkpoint"),
    (b"\x7fELF", "a program or library", "name the checkpoint that it was built from"),
    (b"MZ", "a program for Windows", "name the checkpoint"),
    (b"SQLite format 3", "an SQLite database", "name the checkpoint"),
]

TFLITE = b"TFL3"  # these two at byte 4
EXECUTORCH = b"ET12"
TENSORFLOW_TABLE = bytes.fromhex("57fb808b247547db")  # at the end of a .ckpt and a .index


def refuse_other_kinds(path: Path) -> None:
    """Raise RefusedFileError for what can be told from a file's first and last bytes.

    Raises:
        RefusedFileError: It is there, and is no checkpoint; or it is not there.
    """
    if path.is_dir():
        raise RefusedFileError(f"{path} is a folder{contents(path)}")
    if not path.exists():
        raise RefusedFileError(f"there is no file {path}")
    if not path.is_file():
        raise RefusedFileError(f"{path} is no file, but a device or a pipe; name a checkpoint")
    try:
        read_start(path)
    except NoCheckpointError as error:
        raise RefusedFileError(str(error)) from error
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read(8)
    for beginning, what, fix in BEGINNINGS:
        if head.startswith(beginning):
            raise RefusedFileError(f"{path} is {what}; {fix}")
    if head[4:8] == TFLITE:
        raise RefusedFileError(
            f"{path} is a TensorFlow Lite model; only PyTorch and ONNX are served"
        )
    if head[4:8] == EXECUTORCH:
        raise RefusedFileError(f"{path} is an ExecuTorch program; name what it was exported from")
    if tail == TENSORFLOW_TABLE:
        raise RefusedFileError(
            f"{path} is a TensorFlow checkpoint; only PyTorch and ONNX are served"
        )
    if head[257:262] == b"ustar":
        raise RefusedFileError(
            f"{path} is a tar archive. If torch before 0.4 saved it, load it where it was trained "
            "and save it again with torch.save; else unpack it, and name the checkpoint in it"
        )
    if not head.strip(b"\0"):
        raise RefusedFileError(
            f"{path} begins with zeros alone; a download was cut short? Repeat it"
        )
    if is_text(head):
        start = head.decode(errors="replace").strip()[:60]
        raise RefusedFileError(f"{path} is text ({start!r}...); {EXPECTED}")


def is_text(head: bytes) -> bool:
    """Tell whether a file that begins so is text in a usual encoding."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return True
    printable = bytes(range(32, 127)) + b"\n\r\t"
    try:
        head[: 512 - 3].decode()  # not to cut a letter in two
    except UnicodeDecodeError:
        return False
    return not head.translate(None, printable + bytes(range(128, 256)))


def contents(folder: Path) -> str:
    """Return what to name instead of a folder."""
    names = {path.name for path in folder.iterdir()}
    if "saved_model.pb" in names:
        return " with a TensorFlow model; only PyTorch and ONNX are served"
    place = shlex.quote(str(folder))
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            " with a distributed checkpoint. If you trust it, run: python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {place} {place}.pth"
        )
    if "zero_to_fp32.py" in names:
        return (
            " with a checkpoint of DeepSpeed. If you trust it, run: python "
            f"{place}/zero_to_fp32.py {place} {place}-fp32"
        )
    if index := next((name for name in sorted(names) if name.endswith(INDEX)), None):
        return f" with weights in several files; name their index: {folder / index}"
    suffixes = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pt2", ".onnx", ".tar")
    found = sorted(name for name in names if name.endswith(suffixes))
    if not found:
        return "; name the checkpoint itself"
    others = f" (or another of {len(found)} files)" if len(found) > 1 else ""
    return f"; name the checkpoint itself, such as {folder / found[0]}{others}"


def refuse_archive(path: Path, names: list[str]) -> RefusedFileError:
    """Return the error for a zip archive that is no checkpoint, from the names in it."""
    inside = [name for name in names if name.endswith((".pth", ".pt", ".ckpt", ".safetensors"))]
    if "MAR-INF/MANIFEST.json" in names:
        return RefusedFileError(
            f"{path} is a TorchServe archive; name the checkpoint it was built from"
        )
    if any(name.endswith((".keras", "model.weights.h5")) for name in names):
        return RefusedFileError(f"{path} is a Keras model; only PyTorch and ONNX are served")
    if names and all(name.endswith(".npy") for name in names):
        return RefusedFileError(f"{path} is a NumPy archive; name the checkpoint itself")
    if "serialized_exported_program.json" in names:
        return RefusedFileError(
            f"{path} was written by torch.export of torch before 2.7; load it there with "
            "torch.export.load, and export the network anew with the torch that serves"
        )
    if any("/data/aotinductor/" in f"/{name}" for name in names):
        return RefusedFileError(
            f"{path} was compiled by AOTInductor; name what it was compiled from"
        )
    if any(name.endswith("/.data/extern_modules") for name in names):
        return RefusedFileError(
            f"{path} is a torch.package; load it there, and save model.state_dict() alone"
        )
    if inside:
        return RefusedFileError(f"{path} is a zip archive; unpack it, and name {inside[0]} in it")
    some = ", ".join(names[:3]) or "nothing"
    return RefusedFileError(f"{path} is a zip archive with {some} in it, no checkpoint; {EXPECTED}")
