"""Reads what an ONNX file says of its weights, inputs and outputs, without reading the weights.

An ONNX file is a Protocol Buffers message. The `onnx` package would read all of it into memory, and
much of a mapped file would stay there; here what is not needed is stepped over. Numbers of fields
are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from generator.inspection.pickles import MAX_DIMENSIONS, MAX_SIZE, Tensor

MAX_FIELDS = 500_000
MAX_INPUT = 2**31  # of what a network takes or gives, in one dimension
MAX_TEXT = 4096  # bytes of a name
MAX_METADATA = 1_000_000  # bytes of what a program has added
MAX_ENTRIES = 100  # of those
WINDOW = 16_384  # bytes that are read at once
MAX_VARINT = 10  # bytes of a number
UNNAMED = "onnx::"  # begins the names of weights that an export changed

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# onnx.TensorProto.DataType
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 16: "bfloat16",
}  # fmt: skip


class OnnxError(ValueError):
    """The file is damaged, or made to do harm."""


@dataclass
class OnnxModel:
    """What is needed of an ONNX file.

    Attributes:
        producer: the program that wrote it.
        weights: shape and dtype of each initializer, by name; of a convolution, by the name that it
            had in the network.
        inputs: shapes of what the network takes by name; None for a size that is free.
        outputs: likewise of what it gives.
        data_files: other files that hold weights.
        metadata: what the program that wrote it has added, by name.
    """

    producer: str = ""
    weights: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    data_files: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """One field of a message: a number, or the place of its bytes."""

    number: int
    value: int
    start: int = 0
    end: int = 0


class Scanner:
    """Steps through the messages in a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, MAX_FIELDS
        self.window, self.begin = b"", 0  # what was read last, and where it begins

    def bytes_at(self, start: int, end: int) -> bytes:
        """Return the bytes between two positions."""
        if not self.begin <= start <= end <= self.begin + len(self.window):
            self.file.seek(start)
            self.window, self.begin = self.file.read(max(WINDOW, end - start)), start
        return self.window[start - self.begin : end - self.begin]

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message that lies between two positions."""
        position = start
        while position < end:
            self.left -= 1
            if self.left < 0:
                raise OnnxError("it has more parts than a network has")
            tag, position = self.varint(position, end)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise OnnxError("a part has no number")
            value = begin = 0
            if wire == VARINT:
                value, position = self.varint(position, end)
            elif wire == BYTES:
                length, begin = self.varint(position, end)
                position = begin + length
            elif wire in (FIXED64, FIXED32):
                position += 8 if wire == FIXED64 else 4
            else:
                raise OnnxError("a part is of no known form")
            if position > end:
                raise OnnxError("it ends in the middle of a part")
            yield Field(number, value, begin, position)

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """Return a number and the position after it."""
        value = 0
        for count, byte in enumerate(self.bytes_at(position, min(position + MAX_VARINT, end)), 1):
            value |= (byte & 0x7F) << 7 * (count - 1)
            if byte < 0x80:
                return value, position + count
        if end - position < MAX_VARINT:
            raise OnnxError("it ends in the middle of a part")
        raise OnnxError("a number in it is too long")

    def text(self, part: Field, limit: int = MAX_TEXT) -> str:
        """Return a name, or another text."""
        if part.end - part.start > limit:
            raise OnnxError("a name in it is too long")
        return self.bytes_at(part.start, part.end).decode(errors="replace")


def read(path: Path) -> OnnxModel | None:
    """Read an ONNX file; return None if it is something else.

    Raises:
        OnnxError: It begins as an ONNX file and does not go on as one.
    """
    with path.open("rb") as file:
        return read_model(Scanner(file), os.fstat(file.fileno()).st_size)


def read_model(scanner: Scanner, size: int) -> OnnxModel | None:
    """Read a ModelProto."""
    model = OnnxModel()
    graph: Field | None = None
    has_opset = has_version = False
    try:
        for part in scanner.fields(0, size):
            match part.number:
                case 1:
                    has_version = part.start == 0 and 1 <= part.value <= 100
                case 2 if part.start:
                    model.producer = scanner.text(part)
                case 3 if part.start:
                    model.producer += f" {scanner.text(part)}"
                case 7 if part.start:
                    graph = part
                case 8 if part.start:
                    has_opset = True
                case 14 if part.start and part.end - part.start < MAX_METADATA:
                    entry = {
                        x.number: scanner.text(x, MAX_METADATA)
                        for x in scanner.fields(part.start, part.end)
                        if len(model.metadata) < MAX_ENTRIES
                    }
                    model.metadata[entry.get(1, "")] = entry.get(2, "")
    except OnnxError:
        if has_version and model.producer.isprintable() and len(model.producer) > 1:
            raise
        return None
    if graph is None or not has_opset or not has_version:
        return None
    read_graph(scanner, graph, model)
    return model


def read_graph(scanner: Scanner, graph: Field, model: OnnxModel) -> None:
    """Read a GraphProto into `model`."""
    inputs: dict[str, tuple[int | None, ...]] = {}
    convolutions: list[tuple[str, list[str]]] = []
    for part in scanner.fields(graph.start, graph.end):
        match part.number:
            case 1:
                convolutions += read_convolution(scanner, part)
            case 5:
                name, tensor = read_tensor(scanner, part, model)
                model.weights[name] = tensor
            case 11:
                name, shape = read_value(scanner, part)
                inputs[name] = shape
            case 12:
                name, shape = read_value(scanner, part)
                model.outputs[name] = shape
    # Before IR version 4, weights had to be listed among the inputs.
    model.inputs = {name: shape for name, shape in inputs.items() if name not in model.weights}
    restore_names(model.weights, convolutions)


def read_convolution(scanner: Scanner, message: Field) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of a NodeProto and what it takes, if it is a convolution with a path."""
    name = kind = ""
    inputs = []
    for part in scanner.fields(message.start, message.end):
        match part.number:
            case 1:
                inputs.append(part)
            case 3:
                name = scanner.text(part)
            case 4:
                kind = scanner.text(part)
    if kind == "Conv" and name.startswith("/"):
        yield name, [scanner.text(part) for part in inputs]


def restore_names(weights: dict[str, Tensor], convolutions: list[tuple[str, list[str]]]) -> None:
    """Give convolutions' weights the names back that an export took from them.

    The exporter before torch 2.9 calls a convolution's weights onnx::Conv_196 once it has folded a
    normalisation into them, and the convolution /layer1/layer1.0/conv1/Conv.
    """
    restored = set()
    for node, inputs in convolutions:
        for name, last in zip(inputs[1:], ("weight", "bias"), strict=False):
            if name.startswith(UNNAMED) and name in weights:
                weights.setdefault(f"{module_of(node)}.{last}", weights[name])
                restored.add(name)
    for name in restored:
        del weights[name]


def module_of(node: str) -> str:
    """Return the module that a node's name tells: layer1.0.conv1 of /layer1/layer1.0/conv1/Conv."""
    parts: list[str] = []
    for part in node.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):  # in a Sequential
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def read_tensor(scanner: Scanner, message: Field, model: OnnxModel) -> tuple[str, Tensor]:
    """Read a TensorProto's name, shape and dtype; note the file that holds its data."""
    name, dtype = "", "unknown"
    dims: list[int] = []
    for part in scanner.fields(message.start, message.end):
        match part.number:
            case 1 if part.start:
                position = part.start
                while position < part.end and len(dims) <= MAX_DIMENSIONS:
                    size, position = scanner.varint(position, part.end)
                    dims.append(size)
            case 1:
                dims.append(part.value)
            case 2:
                dtype = DTYPES.get(part.value, "unknown")
            case 8:
                name = scanner.text(part)
            case 13:
                entry = {x.number: scanner.text(x) for x in scanner.fields(part.start, part.end)}
                if entry.get(1) == "location" and entry.get(2, "") not in model.data_files:
                    model.data_files.append(entry.get(2, ""))
    if len(dims) > MAX_DIMENSIONS or any(size >= MAX_SIZE for size in dims):
        raise OnnxError("it lists a tensor with a shape that no tensor has")
    return name, Tensor(tuple(dims), dtype)


def read_value(scanner: Scanner, message: Field) -> tuple[str, tuple[int | None, ...]]:
    """Read a ValueInfoProto: a name and a shape."""
    name = ""
    shape: list[int | None] = []
    for part in scanner.fields(message.start, message.end):
        if part.number == 1:
            name = scanner.text(part)
        if part.number != 2:
            continue
        for dimension in descend(scanner, part, 1, 2, 1):  # tensor_type, shape, dim
            fields = scanner.fields(dimension.start, dimension.end)
            size = next((x.value for x in fields if x.number == 1), 0)
            shape.append(size if 0 < size < MAX_INPUT else None)
    return name, tuple(shape)


def descend(scanner: Scanner, message: Field, *numbers: int) -> Iterator[Field]:
    """Yield the messages that are reached through fields with these numbers."""
    for part in scanner.fields(message.start, message.end):
        if part.number == numbers[0] and part.start:
            if len(numbers) == 1:
                yield part
            else:
                yield from descend(scanner, part, *numbers[1:])
