"""ts-template inspect with damaged and hostile files: nothing is run, and nothing wrong is said."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import shlex
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from conftest import slow
from generator.errors import UserError
from generator.inspection import inspect_file
from generator.rendering import template_root
from inspected import (
    CLASSES,
    CONTAINERS,
    build,
    save_exported,
    save_onnx,
    save_safetensors,
    save_state,
    save_traced,
    trained,
)


def refusal(path: Path) -> str:
    """Return what is said of a file that is refused."""
    with pytest.raises(UserError) as caught:
        inspect_file(path)
    return str(caught.value)


# ------------------------------------------------------------------------------------ damaged files


def small_files(folder: Path) -> dict[str, Path]:
    """Write small files of each kind, with real weights."""
    network = trained(models.squeezenet1_1(num_classes=CLASSES))
    images = torch.zeros(1, 3, 64, 64)
    files = {
        name: folder / name for name in ("x.pth", "x.legacy", "x.safetensors", "x.pt", "x.pt2")
    }
    save_state(network, files["x.pth"])
    CONTAINERS["legacy"].save(network, files["x.legacy"])
    save_safetensors(network, files["x.safetensors"])
    save_traced(network, files["x.pt"], images)
    save_exported(network, files["x.pt2"], images)
    files["x.onnx"] = folder / "x.onnx"
    save_onnx(network, files["x.onnx"], images, external_data=False)
    return files


def test_files_that_are_cut_short_or_changed(tmp_path: Path) -> None:
    chance = random.Random(0)
    for name, path in small_files(tmp_path).items():
        content = path.read_bytes()
        assert inspect_file(path).architecture == "squeezenet1_1", name
        ends = [chance.randrange(len(content)) for _ in range(20)]
        ends += [chance.randrange(3000) for _ in range(20)] + [len(content) - 1]
        for end in ends:
            path.write_bytes(content[:end])
            message = refusal(path)
            assert "Traceback" not in message
        for _ in range(60):
            changed = bytearray(content)
            region = chance.choice([0, len(content) - 20_000])
            for _ in range(chance.choice([1, 1, 1, 50])):
                changed[region + chance.randrange(20_000)] = chance.randrange(256)
            path.write_bytes(changed)
            try:
                found = inspect_file(path)
            except UserError:
                continue
            assert found.architecture in (None, "squeezenet1_1"), name


@pytest.mark.parametrize("container", ["pickled", "EMA", "state_dict"])
def test_pickles_that_are_changed(container: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    CONTAINERS[container].save(build("squeezenet1_1"), path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(next(x for x in archive.namelist() if x.endswith("data.pkl")))
    chance = random.Random(0)
    known = 0
    for _ in range(400):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 5])):
            start, other = chance.randrange(len(changed)), chance.randrange(len(changed))
            size = chance.randrange(1, 40)
            match chance.randrange(3):
                case 0:
                    changed[start] = chance.randrange(256)
                case 1:
                    del changed[start : start + size]
                case 2:
                    changed[start : start + size] = changed[other : other + size]
        path.write_bytes(torch_zip(bytes(changed)))
        try:
            found = inspect_file(path)
        except UserError:
            continue
        assert found.architecture in (None, "squeezenet1_1")
        known += found.architecture is not None
    assert known  # some changes do not matter


# ------------------------------------------------------------------------------------ hostile files


def torch_zip(
    pickled: bytes,
    compression: int = zipfile.ZIP_STORED,
    others: Sequence[str] = (),
    **contents: bytes,
) -> bytes:
    """Return a file as torch.save writes it, with this pickle, and with other files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        for name in others:
            archive.writestr(f"archive/{name}", b"{}")
        for name, content in contents.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def legacy(pickled: bytes) -> bytes:
    """Return a file as torch before 1.6 wrote it, with this pickle."""
    header = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    return header + pickled + pickle.dumps([], 2)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def calls(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Yield pickles that create `canary` when a real unpickler reads them; all ways to call."""
    command = text(f"touch {shlex.quote(str(canary))}")
    code = text(f"open({str(canary)!r}, 'w')")
    yield "reduce", b"\x80\x02cposix\nsystem\n" + command + b"\x85R."
    yield "eval", b"\x80\x02cbuiltins\neval\n" + code + b"\x85R."
    yield "exec", b"\x80\x02cbuiltins\nexec\n" + code + b"\x85R."
    yield (
        "stack_global",
        b"\x80\x04" + text("posix") + text("system") + b"\x93" + command + b"\x85R.",
    )
    yield "inst", b"(" + command + b"iposix\nsystem\n."
    yield "obj", b"(cposix\nsystem\n" + command + b"o."
    yield "newobj", b"\x80\x02cbuiltins\nopen\n" + text(str(canary)) + text("w") + b"\x86\x81."
    yield (
        "newobj_ex",
        b"\x80\x04cbuiltins\nopen\n" + text(str(canary)) + text("w") + b"\x86}\x92.",
    )
    yield (
        "setstate",
        b"\x80\x02c__main__\nX\n)\x81}"
        + text("__setstate__")
        + b"cposix\nsystem\nsb"
        + command
        + b"b.",
    )
    yield (
        "getattr",
        b"\x80\x02cbuiltins\ngetattr\ncos\n__dict__\n" + text("x") + b"\x86R" + command + b"\x85R.",
    )
    yield (
        "known function with a hostile argument",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nN"
        + command + b"\x85NtR.",
    )  # fmt: skip
    yield (
        "append",
        b"\x80\x02cposix\nsystem\n" + command + b"\x85R" + command + b"a.",
    )
    yield "persistent id", b"\x80\x02cposix\nsystem\n" + command + b"\x85RQ."
    yield "extension", b"\x80\x02\x82\x01" + command + b"\x85R."
    yield (
        "key",
        b"\x80\x02}cposix\nsystem\n" + command + b"\x85RK\x01s.",
    )


def bombs(in_all: bool) -> Iterator[tuple[str, bytes]]:
    """Yield files that would take all memory, all time, or the interpreter's stack.

    Args:
        in_all: Yield each pickle in all three kinds of files, and not in one of them by turns.
    """
    nested = b")" + b"\x85" * 300_000
    pickles = {
        "memo": b"\x80\x02]r\xff\xff\xff\x7f.",
        "text memo": b"\x80\x02]p999999999999\n.",
        "nested lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
        "nested key": b"\x80\x02}" + nested + b"K\x01s.",
        "nested objects": b"\x80\x02cx\ny\nq\x00" + b"h\x00)\x81" * 200_000 + b"b" * 199_999 + b".",
        "nested dicts": b"\x80\x02" + (b"}" + text("a")) * 200_000 + b"}" + b"s" * 200_000 + b".",
        "nested marks": b"\x80\x02" + b"(" * 300_000 + b".",
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "a dict in itself": b"\x80\x02}q\x00" + text("a") + b"h\x00s.",
        "dicts in dicts": dict_bomb(),
        "pairs of pairs": b"\x80\x02]q\x00" + b"h\x00h\x00\x86q\x00" * 200 + b".",
        "modules in modules": module_bomb(),
        "a module in itself": b"\x80\x02cx\nM\n)\x81q\x00}(" + text("_modules") + b"}" + text("m")
        + b"h\x00s" + text("_parameters") + b"}" + text("_buffers") + b"}ub.",
        "a module that is none": b"\x80\x02cx\nM\n)\x81}(" + text("_modules") + b"K\x05"
        + text("_parameters") + b"K\x06" + text("_buffers") + b"Nub.",
        "again and again": b"\x80\x02ccollections\nOrderedDict\nq\x00("
        + b"K\x01K\x02\x86" * 20_000 + b"lq\x010" + b"h\x00h\x01\x85R0" * 100_000 + b"N.",
        "equal hashes": b"\x80\x02}(" + b"".join(
            b"\x8a\x10" + ((2**61 - 1) * n).to_bytes(16, "little") + b"N" for n in range(100_000)
        ) + b"u.",
        "long text": b"\x80\x02X\xff\xff\xff\xffabc.",
        "long bytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.",
        "long number": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        "many digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "long frame": b"\x80\x04\x95" + b"\xff" * 8 + b".",
        "no end": b"\x80\x02" + b"N" * 100,
        "negative shape": tensor(b"J\xff\xff\xff\xff"),
        "huge shape": tensor(b"\x8a\x09" + b"\xff" * 8 + b"\x00"),
        "shape of text": tensor(text("a")),
        "many dimensions": tensor(b"K\x01" * 100_000),
        "odd items": b"\x80\x02}(K\x01u.",
        "nothing on the stack": b"\x80\x02R.",
        "wrong arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    }  # fmt: skip
    forms = [
        ("zip", torch_zip),
        ("legacy", legacy),
        ("TorchScript", lambda content: torch_zip(content, others=["constants.pkl"])),
    ]
    for number, (name, content) in enumerate(pickles.items()):
        for form, write in forms if in_all else forms[number % 3 : number % 3 + 1]:
            yield f"{name}, {form}", write(content)
    yield "many state_dicts", torch_zip(
        b"\x80\x02" + shared_tensor((64, 3, 11, 11)) + b"q\x000}("
        + b"".join(text(str(n)) + b"}" + text("a.weight") + b"h\x00s" for n in range(30_000))
        + b"u."
    )  # fmt: skip
    body = {k: x for k, x in build("alexnet").state_dict().items() if k.startswith("features")}
    shapes = list(dict.fromkeys(tuple(x.shape) for x in body.values()))
    yield (
        "many networks",
        torch_zip(
            b"\x80\x02"
            + b"".join(shared_tensor(shape) + b"q%c0" % n for n, shape in enumerate(shapes))
            + b"}("
            + b"".join(
                text(f"n{n}.{key}") + b"h%c" % shapes.index(tuple(x.shape))
                for n in range(4_000)
                for key, x in body.items()
            )
            + b"u."
        ),
    )
    yield "deep JSON of an export", torch_zip(
        b"", others=["archive_format", "models/model.json"],
        **{"data/weights/model_weights_config.json": b'{"config":' + b"[" * 1_000_000},
    )  # fmt: skip
    yield "zip bomb", torch_zip(bytes(200_000_000), zipfile.ZIP_DEFLATED)
    lying = bytearray(torch_zip(b"\x80\x02" + b"N0" * 5_000_000 + b".", zipfile.ZIP_DEFLATED))
    size = struct.pack("<I", 10_000_003)
    yield "a zip that lies", bytes(lying.replace(size, struct.pack("<I", 100)))
    name = b"archive/data.pkl"
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", len(name)) + bytes(16) + name
    directory = entry * 300_000
    end = (
        b"PK\5\6"
        + bytes(4)
        + b"\xff\xff\xff\xff"
        + struct.pack("<II", len(directory), 4)
        + bytes(2)
    )
    yield "a long list of files", b"PK\3\4" + directory + end
    yield "long header", struct.pack("<Q", 2**39) + b'{"a":' + bytes(100)
    deep = b'{"a":' * 100_000
    yield "deep JSON", struct.pack("<Q", len(deep)) + deep
    shape = b'{"a.weight":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}'
    yield "negative shape in JSON", struct.pack("<Q", len(shape)) + shape
    graph = b"\x3a\x80\x80\x80\x80\x10"
    yield "long ONNX graph", b"\x08\x08\x12\x07pytorch" + graph + b"\x2a\x00" * 1_000_000
    many = b"\x2a\x00" * 1_000_000
    yield (
        "many ONNX weights",
        b"\x08\x08\x12\x07pytorch\x42\x00\x3a" + varint(len(many)) + many,
    )


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def dict_bomb() -> bytes:
    """Return a pickle of dicts in dicts, each twice."""
    content = b"\x80\x02}q\x00"
    for _ in range(60):
        content += b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00uq\x00"
    return content + b"."


def module_bomb() -> bytes:
    """Return a pickle of modules in modules, each twice."""
    content = b"\x80\x02}q\x00"
    for depth in range(50):
        inner = b"}(" + text("a") + b"h\x01" + text("b") + b"h\x01u" if depth else b"}"
        content += b"cx\nM\n)\x81}(" + text("_modules") + inner + text("_parameters") + b"}"
        content += text("_buffers") + b"}ubq\x01"
    return content + b"."


def shared_tensor(shape: tuple[int, ...]) -> bytes:
    """Return the part of a pickle that is a tensor."""
    sizes = b"(" + b"".join(b"M" + struct.pack("<H", size) for size in shape) + b"t"
    return tensor(sizes[1:-1]).partition(b"conv1.weight")[2].removesuffix(b"s.")


def tensor(size: bytes) -> bytes:
    """Return a pickle of a state_dict with a tensor of this shape."""
    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    )
    return (
        b"\x80\x02}" + text("conv1.weight") + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage + b"K\x00(" + size + b"t(K\x01t\x89}tRs."
    )  # fmt: skip


# Inspects files under a watch: once a file was inspected, nothing more is imported, compiled, run,
# or written.
WATCHED = """
import encodings.cp437  # of names in zip archives
import json, resource, sys
from pathlib import Path
from generator.errors import UserError
from generator.inspection import inspect_file

first, *others = map(Path, sys.argv[1:])
print(inspect_file(first).architecture)
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
allowed = {"open", "os.listdir", "os.scandir", "mmap.__new__"}

def watch(event, arguments):
    if event == "open" and (arguments[1] not in ("r", "rb", None) or arguments[2] & 3):
        print("WRITTEN", arguments, flush=True)
    elif event not in allowed and not event.startswith(("object.", "sys._get", "gc.")):
        print("EVENT", event, arguments, flush=True)

sys.addaudithook(watch)
for path in others:
    try:
        found = inspect_file(path)
        print(json.dumps([path.name, found.architecture, found.objects]), flush=True)
    except UserError as error:
        print(json.dumps([path.name, None, str(error)]), flush=True)
"""


def watched(first: Path, *files: Path) -> list[list[Any]]:
    """Inspect files under a watch; return name, architecture and objects, or what was said."""
    command = [sys.executable, "-c", WATCHED, str(first), *map(str, files)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=template_root(), timeout=600
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    architecture, *lines = result.stdout.splitlines()
    assert architecture == "resnet18"
    foreign = [line for line in lines if not line.startswith("[")]
    assert not foreign
    assert len(lines) == len(files)
    return [json.loads(line) for line in lines]


def test_no_code_from_a_file_is_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    harmed = 0
    for _, content in calls(victim):
        with contextlib.suppress(Exception):
            pickle.loads(content)
        harmed += victim.exists()
        victim.unlink(missing_ok=True)
    assert harmed > 8  # else the rest shows nothing

    canary = tmp_path / "canary"
    network = tmp_path / "network.pth"
    save_state(build("resnet18"), network)
    with zipfile.ZipFile(network) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        good = archive.read(name)
    files = []
    for number, (_, content) in enumerate(calls(canary)):
        inner = content.removeprefix(b"\x80\x02").removeprefix(b"\x80\x04").removesuffix(b".")
        # Alone; in a file of old; and next to real weights.
        beside = b"\x80\x02}(" + text("net") + good.removeprefix(b"\x80\x02").removesuffix(b".")
        beside += text("x") + inner + b"u."
        for form, data in (
            ("zip", torch_zip(content)),
            ("legacy", legacy(content)),
            ("beside", torch_zip(beside)),
        ):
            files.append(tmp_path / f"{number}-{form}.pth")
            files[-1].write_bytes(data)
    outcomes = watched(network, *files)
    assert not canary.exists()
    for name, architecture, objects in outcomes:
        if name.endswith("-beside.pth") and architecture is not None:
            assert architecture == "resnet18"
            assert objects, name


@pytest.mark.parametrize("in_all", [False, slow(True)], ids=["some", "all"])
def test_bombs_are_refused(in_all: bool, tmp_path: Path) -> None:
    network = tmp_path / "network.pth"
    save_state(build("resnet18"), network)
    files = []
    for number, (name, content) in enumerate(bombs(in_all)):
        files.append(tmp_path / f"{number} {name}.pth")
        files[-1].write_bytes(content)
    for name, architecture, _ in watched(network, *files):
        assert architecture is None, name


def test_a_large_onnx_file_takes_little_memory(tmp_path: Path) -> None:
    def part(number: int, content: bytes, more: int = 0) -> bytes:
        """Return a field of bytes, without the last so many of them."""
        size, length = len(content) + more, b""
        while size > 127:
            size, length = size >> 7, length + bytes([size & 127 | 128])
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    count, size = 150, 2_300_000
    tensors = [b"\x10\x01" + part(8, b"w%d" % number) for number in range(count)]
    heads = [part(5, x + part(9, b"", size), size) for x in tensors]
    start = b"\x08\x08" + part(8, b"\x10\x12") + part(7, b"", sum(map(len, heads)) + count * size)
    path = tmp_path / "x.onnx"
    with path.open("wb") as file:
        file.write(start)
        for head in heads:
            file.write(head + bytes(size))
    code = """
import pathlib, resource, sys
from generator.inspection import inspect_file

def peak():
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

before = peak()
found = inspect_file(pathlib.Path(sys.argv[1]))
print(found.precision["float32"], peak() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=template_root(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found, added = result.stdout.split()
    assert path.stat().st_size > 340_000_000
    assert int(found) == count
    assert float(added) < 50  # MB
