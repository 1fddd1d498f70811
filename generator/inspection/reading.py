"""Reads checkpoint files into plain data. No code from a file is run, no tensor data is read."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from generator.inspection import onnx
from generator.inspection.class_names import (
    ClassNames,
    find_names,
    names_in_texts,
    parsed,
    without_order,
)
from generator.inspection.detectors import settings_in
from generator.inspection.frameworks import (
    SERVE,
    advice_on,
    advice_on_export,
    learner_command,
    preparation_in,
)
from generator.inspection.modules import Module, module_of
from generator.inspection.pickles import (
    MAX_BYTES,
    MAX_SIZE,
    Inert,
    Machine,
    PickleError,
    Tensor,
    refused_by_torch,
)
from generator.inspection.refusals import (
    EXPECTED,
    INDEX,
    RefusedFileError,
    damaged,
    refuse_archive,
    refuse_other_kinds,
)
from generator.inspection.training import Training, told_by
from generator.layouts import parts_of, plan_for, planned
from generator.shared.states import find_states

MAX_JSON = 8_000_000  # bytes; of a header or a config, 200 for each tensor
MAX_EXTRA = 1_000_000  # bytes; of a file that people add to an export
MAX_DIRECTORY = 8_000_000  # bytes; of a zip archive's list of files, 80 for each tensor
MAX_NODES = 100_000  # dicts, modules and tensors on the way through a checkpoint
MAX_DEPTH = 60  # of modules in modules
DICTS = 4  # of dicts in dicts, as deep as find_states goes
MAX_STATES = 1_000  # state_dicts in a checkpoint
MAX_NAME = 500  # characters of a weight's name

PART = re.compile(r"(.+)-\d+-of-\d+\.(safetensors|bin)")
TOKENS = "input_ids"  # an input of transformers' networks for texts
MANY_INPUTS = 5  # names of inputs that a message has
GRAPHS = ("torchscript", "exported_program", "onnx")  # kinds that bring their network

KINDS = {
    "torch": "torch.save",
    "torch_legacy": "torch.save before torch 1.6",
    "safetensors": "safetensors",
    "torchscript": "TorchScript",
    "exported_program": "torch.export",
    "onnx": "ONNX",
}

State = dict[str, Tensor]
Shape = tuple[int | None, ...]  # None: any size


@dataclass(frozen=True)
class Reading:
    """What a file says, before it is compared with anything.

    Attributes:
        kind: a key of KINDS.
        states: the state_dicts in it by their place, as `find_states` names it.
        what: what the file is beyond its kind, such as "traced".
        objects: Python classes for which `torch.load(weights_only=True)` refuses the file.
        unreadable: what in it torch cannot read without running code, even if its classes are
            stood in for; "" if there is no such thing.
        is_bare: whether the file is a state_dict and nothing else.
        constants: tensors without names, in the order of the code that uses them.
        input_shape: shape of the batch of images that the network was exported with.
        output_shape: shape of its scores then.
        outputs: names of what it returns, if the file has them.
        modules: those of pickled networks by their place, then by their path.
        training: what the file tells of how the network was trained.
        notes: what else should be known.
        class_names: names of classes that it brings.
        layouts: what makes the state_dicts of the file plain ones, for people; see
            `generator.layouts`.
        saved: the state_dicts as they are in the file.
        likely: answers that are likely, from what its framework says of itself.
        must_answer: as `Inspection` has it.
        advice: how to export weights with which only their framework can compute; else "".
    """

    kind: str
    states: dict[str, State]
    what: str = ""
    objects: list[str] = field(default_factory=list)
    unreadable: str = ""
    is_bare: bool = False
    constants: State = field(default_factory=dict)
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    outputs: list[str] = field(default_factory=list)
    modules: dict[str, dict[str, Module]] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    notes: list[str] = field(default_factory=list)
    class_names: tuple[ClassNames, ...] = ()
    layouts: list[str] = field(default_factory=list)
    saved: dict[str, State] = field(default_factory=dict)
    advice: str = ""
    likely: dict[str, Any] = field(default_factory=dict)
    must_answer: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Reading:
    """Read a file, whatever it is.

    Raises:
        RefusedFileError: It is no checkpoint, or cannot be read as one.
    """
    try:
        is_index = path.name.endswith(INDEX) and path.is_file()
        if is_index:
            reading = read_parts(path)
        else:
            refuse_other_kinds(path)
            refuse_part(path)
            reading = read_kind(path)
        if any(len(name) > MAX_NAME for state in reading.states.values() for name in state):
            raise damaged(path, "a weight has a name that is longer than names are")
        return reading if reading.kind in GRAPHS else made_plain(reading, is_index)
    except PickleError as error:
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise RefusedFileError(f"{path} cannot be read: {error.strerror or error}") from error


def refuse_part(path: Path) -> None:
    """Raise RefusedFileError for one of several files with weights, if their index is there."""
    if match := PART.fullmatch(path.name):
        index = path.with_name(f"{match[1]}.{match[2]}.index.json")
        if index.is_file() and not path.is_symlink():
            raise RefusedFileError(f"{path} has a part of the weights; name their index: {index}")


def made_plain(reading: Reading, is_index: bool) -> Reading:
    """Return what a file holds once its layout is a plain one."""
    states: dict[str, State] = {}
    notes = ["put the parts together"] if is_index else []
    for key, state in reading.states.items():
        plan, done = plan_for(state)
        states[key] = planned(state, plan)
        notes += [note for note in done if note not in notes]
    if not notes or reading.advice:
        return replace(reading, saved=reading.states)
    return replace(
        reading,
        kind="torch",
        states=states,
        objects=[],
        is_bare="" in states,
        layouts=notes,
        notes=[*reading.notes, *(f"not as torch saves a network: {note}" for note in notes)],
        saved=reading.states,
    )


def read_parts(path: Path) -> Reading:
    """Read weights that are spread over several files, from their index."""
    readings = [read_kind(part) for part in parts_of(path)]
    state = {name: x for one in readings for name, x in one.states.get("", {}).items()}
    return replace(readings[0], states={"": state}, what=f"in {len(readings)} files")


def read_kind(path: Path) -> Reading:
    """Read a file that may be a checkpoint, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            return read_zip(path, file)
        if head.startswith(b"PK\x05\x06"):
            raise refuse_archive(path, [])
        if is_safetensors(head):
            return read_safetensors(path, file)
        if is_pickle(head):
            return read_legacy(path, file)
    return read_onnx(path)


# ----------------------------------------------------------------------------------- zip archives


class Limited(io.RawIOBase):
    """A file of which only so many bytes are given out."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        super().__init__()
        self.file, self.left = file, limit

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that this can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position of the file."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, if there are so many.

        Raises:
            PickleError: that is more than the limit.
        """
        data = self.file.read(size if 0 <= size <= self.left else self.left + 1)
        return self._take(data)

    def readline(self, size: int | None = -1) -> bytes:
        """Return the bytes up to the next end of line."""
        return self._take(self.file.readline(self.left + 1))

    def _take(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise PickleError("a part of it is larger than checkpoints have")
        return data


class Archive:
    """A zip archive from whoever: its list of files and their sizes are limited.

    Names are relative to the archive's one folder, as torch has it.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        source = Limited(file, MAX_DIRECTORY)
        try:
            self.zip = zipfile.ZipFile(source)
        except ZIP_ERRORS as error:
            raise damaged(
                path, f"it begins as a zip archive and does not end as one ({error})"
            ) from error
        source.left = 2 * MAX_BYTES
        self.names = self.zip.namelist()
        if len(set(self.names)) < len(self.names):
            raise damaged(path, "a name is there twice")
        self.root = self.names[0].partition("/")[0] + "/" if self.names else ""

    def __contains__(self, name: str) -> bool:
        """Tell whether a file is in it."""
        return self.root + name in self.zip.NameToInfo

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file.

        Raises:
            RefusedFileError: it is damaged, or larger than the limit.
        """
        info = self.zip.getinfo(self.root + name)
        if info.file_size > limit:
            raise damaged(
                self.path, f"{name} has {info.file_size:,} bytes, too many for what it is"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise damaged(self.path, f"{name} is compressed in a way that torch does not use")
        try:
            with self.zip.open(info) as member:
                return member.read(limit)
        except ZIP_ERRORS as error:
            raise damaged(self.path, f"{name} cannot be unpacked ({error})") from error

    def read_json(self, name: str) -> Any:
        """Return what a JSON file holds."""
        return parse_json(self.path, self.read(name, MAX_JSON))


# What zipfile trips over in damaged bytes.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, IndexError, EOFError, RuntimeError,
    NotImplementedError, OverflowError, struct.error,
)  # fmt: skip


def parse_json(path: Path, data: bytes) -> Any:
    """Return what JSON holds."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its JSON cannot be read ({error})") from error


def read_zip(path: Path, file: BinaryIO) -> Reading:
    """Read what torch writes as a zip archive."""
    archive = Archive(path, file)
    if "archive_format" in archive:
        return read_exported(archive)
    if "constants.pkl" in archive and "data.pkl" in archive:
        return read_torchscript(archive)
    if "data.pkl" not in archive:
        raise refuse_archive(path, archive.names)
    machine = Machine()
    content = machine.run(io.BytesIO(archive.read("data.pkl", MAX_BYTES)))
    return read_content(path, "torch", content, machine)


# ---------------------------------------------------------------------------- files of torch.save


def is_pickle(head: bytes) -> bool:
    """Tell whether a file that begins so may be a pickle of protocol 2 or later."""
    return head[:1] == b"\x80" and 2 <= head[1] <= 5 if len(head) > 1 else False


MAGIC = 0x1950A86A20F9469CFC6C  # the first thing in a file of torch before 1.6
ITEM_SIZES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2,
              "int16": 2, "int8": 1, "uint8": 1, "bool": 1}  # fmt: skip


def read_legacy(path: Path, file: BinaryIO) -> Reading:
    """Read a series of pickles: a number, the version, the system, the content, the storages."""
    source: Any = Limited(file, MAX_BYTES)
    machine = Machine()
    number = machine.run(source)
    if type(number) is not int or number != MAGIC:
        raise RefusedFileError(
            f"{path} is a Python pickle that torch.save did not write; load it where it was made, "
            "and save the network's weights: torch.save(model.state_dict(), FILE)"
        )
    for _ in range(2):
        machine.run(source)
    machine = Machine()
    content = machine.run(source)
    keys = Machine().run(source)
    if not isinstance(keys, list):
        raise PickleError("the list of its tensors is no list")
    needed = sum(
        8 + storage.count * ITEM_SIZES.get(storage.dtype, 1)
        for storage in machine.storages.values()
    )
    if (there := path.stat().st_size - source.tell()) < needed:
        raise damaged(path, f"its tensors take {needed:,} bytes and {there:,} are there")
    return read_content(path, "torch_legacy", content, machine)


def read_content(path: Path, kind: str, content: Any, machine: Machine) -> Reading:
    """Find the state_dicts in what torch.save wrote."""
    refuse_endless(content)
    states = {place: tensors_of(state) for place, state in find_states(content).items()}
    notes: list[str] = []
    beside: list[str] = []
    if isinstance(content, dict) and "" in states:
        beside = [str(key) for key in content if key not in states[""]]
    if beside:
        notes.append(f"left out, being no tensors: {', '.join(beside)}")
    what = "a state_dict"
    if isinstance(content, Inert):
        what = f"a pickled {content.name}"
    elif "" not in states:
        what = "a training checkpoint"
        if isinstance(content, dict) and "pytorch-lightning_version" in content:
            what = "a PyTorch Lightning checkpoint"
    if not states:
        raise refuse_content(path, content)
    if len(states) > MAX_STATES:
        raise PickleError("it holds more state_dicts than a checkpoint does")
    if isinstance(content, dict):
        notes += said_of_itself(content)
    return Reading(
        kind=kind,
        states=states,
        what=what,
        objects=refused_by_torch(machine.names),
        unreadable=machine.unreadable,
        is_bare=isinstance(content, dict) and "" in states and not beside,
        modules={place: modules_of(root) for place, root in pickled_networks(content).items()},
        training=training_of(content),
        notes=notes,
        advice=advice_on(path, states, machine.names, content),
        class_names=find_names(content),
        must_answer=names_without_order(content),
    )


def names_without_order(content: Any) -> dict[str, str]:
    """Return the question that names of classes in a set leave open."""
    if not (place := without_order(content)):
        return {}
    why = "which has no order: bring them in that of the outputs, with --labels FILE"
    without = "without names: -d label_format=none"
    return {"label_format": f"under {place} of names in a set, {why}; {without}"}


def training_of(content: Any) -> Training:
    """Return what a checkpoint tells of its training, whatever its network turns out to be."""
    detector = settings_in(content) if isinstance(content, dict) else {}
    return replace(told_by(content), detector=detector)


def told_in_texts(texts: Mapping[str, Any]) -> Training:
    """Return what the metadata of a file tell: texts, some of which hold JSON."""
    read = {key: parsed(x) if isinstance(x, str) else None for key, x in texts.items()}
    return told_by({"metadata": {key: texts[key] if x is None else x for key, x in read.items()}})


def pickled_networks(content: Any, place: str = "") -> dict[str, Inert]:
    """Return the pickled networks by their place, as `find_states` has it."""
    if isinstance(content, Inert):
        return {place: content} if hasattr(content, "_modules") else {}
    found: dict[str, Inert] = {}
    if isinstance(content, dict) and place.count(".") < 3:
        for key, value in content.items():
            if isinstance(key, str) and "optim" not in key:
                found |= pickled_networks(value, f"{place}.{key}" if place else key)
    return found


def modules_of(module: Any, path: str = "") -> dict[str, Module]:
    """Return a pickled module and those in it by their paths."""
    state = {key: x for key, x in module.state.items() if isinstance(key, str)}
    found = {path: module_of(module.name, state)}
    for name, child in module._modules.items():
        if child is not None:
            found |= modules_of(child, f"{path}.{name}" if path else name)
    return found


def said_of_itself(content: dict[Any, Any]) -> Iterator[str]:
    """Yield what a training checkpoint says of its network, apart from weights."""
    for key, value in content.items():
        if key in ("arch", "architecture", "model_name") and isinstance(value, str):
            yield f"it calls its network {value[:60]} (under {key})"


def tensors_of(state: Mapping[Any, Any]) -> State:
    """Return the entries of a state_dict that are tensors under a name."""
    return {
        key: value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def refuse_endless(content: Any) -> None:
    """Raise PickleError for what `find_states` would take forever to go through, or never end.

    In a few bytes, a pickle can hold dicts in dicts, each many times, and modules that hold
    themselves.
    """
    nodes = MAX_NODES
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        inner: list[Any] = []
        if hasattr(value, "_modules"):
            check_module(value)
            nodes -= len(value._parameters or {}) + len(value._buffers or {})
            inner = [child for child in value._modules.values() if child is not None]
        elif isinstance(value, dict):
            nodes -= len(value)
            if depth <= DICTS:
                inner = [x for x in value.values() if isinstance(x, dict) or hasattr(x, "_modules")]
        nodes -= 1
        if nodes < 0 or depth > MAX_DEPTH:
            raise PickleError("it holds more, or deeper, than a checkpoint does")
        waiting += [(x, depth + 1) for x in inner]


def check_module(module: Inert) -> None:
    """Raise PickleError for what has the attributes of a module, and not what belongs there."""
    names = ("_parameters", "_buffers", "_modules")
    parts: list[Any] = [getattr(module, name, False) for name in names]
    left_out = getattr(module, "_non_persistent_buffers_set", [])
    if (
        not all(isinstance(part, dict | None) for part in parts)
        or not all(isinstance(name, str) for part in parts for name in part or ())
        or not isinstance(parts[-1], dict)
        or not all(x is None or hasattr(x, "_modules") for x in parts[-1].values())
        or not isinstance(left_out, list)
    ):
        raise PickleError(f"{module.name} is no module, though it looks like one")


def refuse_content(path: Path, content: Any) -> RefusedFileError:
    """Return the error for what torch.save wrote, and holds no state_dict."""
    if isinstance(content, Inert) and content.name.startswith("fastai."):
        return RefusedFileError(
            f"{path} is an exported fastai Learner. If you trust it, run where fastai is:",
            f"\n    {learner_command(path)}\n{SERVE}",
        )
    if isinstance(content, Inert):
        return RefusedFileError(
            f"{path} holds an object of {content.name}, and no network can be seen in it; where it "
            "was made, save the network's weights: torch.save(model.state_dict(), FILE)"
        )
    members = content if isinstance(content, list | tuple) else []
    states = [i for i, x in enumerate(members) if isinstance(x, dict) and find_states(x)]
    if states:
        of_network = f"torch.load({str(path)!r}, weights_only=True)[{states[0]}]"
        code = f"import torch; torch.save({of_network}, 'weights.pth')"
        return RefusedFileError(
            f"{path} is a list of {len(members)}, of which {len(states)} have weights of a "
            "network; a project serves one. Save the one that you serve, such as: "
            f"python -c {shlex.quote(code)}"
        )
    if not isinstance(content, dict):
        name = "tensor" if isinstance(content, Tensor) else type(content).__name__
        return RefusedFileError(
            f"{path} holds an object of type {name}, not the weights of a network"
        )
    keys = [str(key)[:40] for key in content if isinstance(key, str | int)]
    if any("_packed_params" in key for key in keys):
        return RefusedFileError(
            f"{path} is quantized to int8, which only the network that was quantized can load. "
            "Save that with torch.jit.trace(model.eval(), example).save(...), and serve it with "
            "weights=torchscript"
        )
    tensors = sum(isinstance(value, Tensor) for value in content.values())
    if tensors:
        others = [key for key in keys if not isinstance(content.get(key), Tensor)]
        return RefusedFileError(
            f"{path} holds {tensors} tensors next to what are none ({', '.join(others[:5])}); "
            "save the network's state_dict alone, or under a key of its own"
        )
    return RefusedFileError(
        f"{path} holds no state_dict; its entries are {', '.join(keys[:8]) or 'none'}. Was this "
        "saved by an optimizer?"
    )


# ------------------------------------------------------------------------------------ safetensors

SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def is_safetensors(head: bytes) -> bool:
    """Tell whether a file that begins so may be safetensors: a length, then JSON."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 2**40


def read_safetensors(path: Path, file: BinaryIO) -> Reading:
    """Read the header of a safetensors file."""
    length = int.from_bytes(file.read(8), "little")
    there = path.stat().st_size - 8
    if length > there:
        raise damaged(path, f"its header takes {length:,} bytes and {there:,} are there")
    if length > MAX_JSON:
        raise damaged(path, f"its header takes {length:,} bytes, too many for a network")
    header = parse_json(path, file.read(length))
    if not isinstance(header, dict):
        raise damaged(path, "its header lists no tensors")
    metadata = header.pop("__metadata__", None)
    state: State = {}
    end = 0
    for name, entry in header.items():
        match entry:
            case {
                "dtype": str() as dtype,
                "shape": list() as shape,
                "data_offsets": [_, int() as to],
            }:
                known = SAFETENSORS_DTYPES.get(dtype, dtype.lower()[:20])
                state[name] = Tensor(checked_shape(path, shape), known)
                end = max(end, to)
            case _:
                raise damaged(path, f"its header does not describe {name[:60]}")
    if 8 + length + end > path.stat().st_size:
        missing = 8 + length + end - path.stat().st_size
        raise damaged(path, f"{missing:,} bytes of its tensors are missing")
    if not state:
        raise RefusedFileError(f"{path} is a safetensors file without tensors")
    what = ""
    if isinstance(metadata, dict) and isinstance(metadata.get("format"), str):
        what = f"format {metadata['format'][:20]}"
    texts = metadata if isinstance(metadata, dict) else {}
    named = names_in_texts({str(key): x for key, x in texts.items() if isinstance(x, str)})
    states = {"": state}
    return Reading(
        "safetensors",
        states,
        what,
        is_bare=True,
        class_names=named,
        training=told_in_texts(texts),
        advice=advice_on(path, states, (), None),
    )


def checked_shape(path: Path, shape: list[Any]) -> tuple[int, ...]:
    """Return a shape, if a tensor can have it."""
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < MAX_SIZE for n in shape):
        raise damaged(path, "it lists a tensor with a shape that no tensor has")
    return tuple(shape)


# ------------------------------------------------------------------- TorchScript and torch.export


def read_torchscript(archive: Archive) -> Reading:
    """Read the attributes of a TorchScript network: tensors and modules by name."""
    root = Machine().run(io.BytesIO(archive.read("data.pkl", MAX_BYTES)))
    if not isinstance(root, Inert) or not root.name.startswith("__torch__."):
        raise PickleError("what it holds is no network in TorchScript")
    state: State = {}
    nodes = MAX_NODES
    waiting: list[tuple[Any, str, int]] = [(root, "", 0)]
    while waiting:
        module, prefix, depth = waiting.pop()
        attributes = module.state if isinstance(module, Inert) else None
        if not isinstance(attributes, dict):
            continue
        nodes -= len(attributes) + 1
        if nodes < 0 or depth > MAX_DEPTH:
            raise PickleError("it holds more, or deeper, than a network does")
        children = []
        for name, value in attributes.items():
            if isinstance(value, Tensor):
                state[f"{prefix}{name}"] = value
            elif isinstance(value, Inert):
                children.append((value, f"{prefix}{name}.", depth + 1))
        waiting += reversed(children)
    input_shape = None
    traced = "traced_inputs.pkl" in archive
    if traced:
        examples = Machine().run(io.BytesIO(archive.read("traced_inputs.pkl", MAX_BYTES)))
        match examples:
            case {"forward": [Tensor(shape=shape)]}:
                input_shape = shape
    notes = []
    texts = extra_texts(archive)
    constants: State = {}
    if not state:
        notes.append(
            "it is frozen: the weights are constants of its code, so that neither their names nor "
            "what they belong to can be told"
        )
        listed = Machine().run(io.BytesIO(archive.read("constants.pkl", MAX_BYTES)))
        tensors = [x for x in listed if isinstance(x, Tensor)] if isinstance(listed, tuple) else []
        constants = {f"constant {number}": x for number, x in enumerate(tensors)}
    likely, must_answer = preparation_in(texts, input_shape)
    return Reading(
        "torchscript",
        {"": state},
        what="traced" if traced else "scripted, or traced by an older torch",
        constants=constants,
        input_shape=input_shape,
        notes=notes,
        class_names=(*names_in_texts(texts), *find_names(root)),
        likely=likely,
        must_answer=must_answer,
        advice=advice_on_export(texts),
    )


def extra_texts(archive: Archive) -> dict[str, str]:
    """Return the texts that people add to an export, by the names of their files."""
    texts: dict[str, str] = {}
    for name in archive.names:
        inner = name.removeprefix(archive.root)
        if inner.startswith("extra/") and archive.zip.getinfo(name).file_size <= MAX_EXTRA:
            with contextlib.suppress(UnicodeDecodeError):
                texts[inner] = archive.read(inner, MAX_EXTRA).decode("utf-8-sig")
    return texts


# torch._export.serde.schema.ScalarType
EXPORTED_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
}  # fmt: skip


def read_exported(archive: Archive) -> Reading:
    """Read the lists of weights, inputs and outputs of a torch.export file."""
    path = archive.path
    models = [name for name in archive.names if name.startswith(f"{archive.root}models/")]
    if len(models) != 1:
        if not models:
            raise refuse_archive(path, archive.names)
        raise RefusedFileError(
            f"{path} holds {len(models)} networks; export the one to serve alone"
        )
    name = models[0].removeprefix(f"{archive.root}models/").removesuffix(".json")
    listing = f"data/weights/{name}_weights_config.json"
    if listing not in archive:
        raise damaged(path, f"{listing} is not in it")
    state: State = {}
    match archive.read_json(listing):
        case {"config": dict() as config}:
            for key, entry in config.items():
                match entry:
                    case {"tensor_meta": {"dtype": int() as dtype, "sizes": list() as sizes}}:
                        shape = [size.get("as_int") for size in sizes if isinstance(size, dict)]
                        known = EXPORTED_DTYPES.get(dtype, "unknown")
                        state[key] = Tensor(checked_shape(path, shape), known)
                    case _:
                        raise damaged(path, f"it does not describe {key[:60]}")
        case _:
            raise damaged(path, f"{listing} lists no tensors")
    shapes: tuple[Shape | None, Shape | None] = (None, None)
    if archive.zip.getinfo(models[0]).file_size <= MAX_JSON:
        shapes = exported_shapes(archive.read_json(f"models/{name}.json"))
    return Reading(
        "exported_program",
        {"": state},
        input_shape=shapes[0],
        output_shape=shapes[1],
        class_names=names_in_texts(extra_texts(archive)),
    )


def exported_shapes(model: Any) -> tuple[Shape | None, Shape | None]:
    """Return the shapes of the one input and the one output, None where that cannot be told."""
    try:
        graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
        values = graph["tensor_values"]
        inputs = [x["user_input"]["arg"] for x in signature["input_specs"] if "user_input" in x]
        outputs = [x["user_output"]["arg"] for x in signature["output_specs"] if "user_output" in x]
        return one_shape(inputs, values), one_shape(outputs, values)
    except (KeyError, TypeError, AttributeError):
        return None, None


def one_shape(arguments: list[Any], values: Any) -> Shape | None:
    """Return the shape of the only argument."""
    if len(arguments) != 1 or "as_tensor" not in arguments[0]:
        return None
    sizes = [size.get("as_int") for size in values[arguments[0]["as_tensor"]["name"]]["sizes"]]
    return tuple(size if type(size) is int else None for size in sizes)


# ------------------------------------------------------------------------------------------- ONNX


def read_onnx(path: Path) -> Reading:
    """Read the graph's weights, inputs and outputs of an ONNX file."""
    try:
        model = onnx.read(path)
    except onnx.OnnxError as error:
        raise damaged(
            path, f"it begins as an ONNX file and does not go on as one: {error}"
        ) from error
    if model is None:
        raise RefusedFileError(f"{path} is of no kind that is known here; {EXPECTED}")
    notes = []
    for name in model.data_files:
        beside = Path(name)
        if len(beside.parts) != 1 or not (path.parent / beside.name).is_file():
            raise RefusedFileError(
                f"{path} keeps its weights in another file, {name}, which is not beside it; copy "
                "both into one folder"
            )
        notes.append(f"its weights lie in {beside.name}: keep the two files together")
    input_shape = next(iter(model.inputs.values())) if len(model.inputs) == 1 else None
    likely, must_answer = preparation_in(model.metadata, input_shape)
    return Reading(
        "onnx",
        {"": model.weights},
        what=model.producer,
        input_shape=input_shape,
        output_shape=next(iter(model.outputs.values())) if len(model.outputs) == 1 else None,
        outputs=[*model.outputs],
        notes=notes,
        class_names=names_in_texts(model.metadata),
        training=Training() if likely else told_in_texts(model.metadata),
        likely=likely,
        must_answer=must_answer,
        advice=advice_on_export(model.metadata) or advice_on_inputs(list(model.inputs)),
    )


def advice_on_inputs(names: list[str]) -> str:
    """Return what to do with a graph that takes more than images; "" for one input."""
    if len(names) == 1:
        return ""
    advice = (
        f"it takes {len(names)} inputs ({', '.join(names[:MANY_INPUTS])}), and a project gives it "
        "one, the images"
    )
    if TOKENS in names:
        return (
            f"{advice}. A network for texts is served from the folder that it was exported from, "
            "with config.json, the weights and tokenizer.json of transformers"
        )
    return f"{advice}: export it anew with the images alone as its input"
