# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the network as it was saved to the file that the service loads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError
from torch import nn

from service import NUM_CLASSES, task
from service.loading import OutputKeyError, load_model
from tools.file_start import NoCheckpointError, read_start
from tools.outputs import check_outputs
from tools.project import ProjectError, change_answer

SERVED_NAME = "model.onnx"  # in the archive


def prepare_weights(source: Path, target: Path) -> str:
    """Check that `source` is an ONNX network that fits this project, and write it as one file.

    Returns:
        What was found, for people.

    Raises:
        ProjectError: It is not; the message says what to do.
    """
    check_kind(source, "onnx")
    try:
        model = onnx.load(source)
        check_inputs(source, model)
        onnx.save(model, target)  # with the tensors that lie in a file beside it
        network = load_model(target, torch.device("cpu"))
    except OutputKeyError as error:
        raise ProjectError(f"{source}: {which_output(error)}") from error
    except (DecodeError, ValidationError, OSError, RuntimeError, ValueError) as error:
        raise ProjectError(
            f"{source} cannot be read as ONNX ({str(error).strip().splitlines()[0]}); was it "
            "copied in full, with the .data file that may belong to it?"
        ) from error
    check_network(source, network)
    return f"ONNX, {target.stat().st_size / 1e6:.1f} MB"


def check_inputs(source: Path, model: onnx.ModelProto) -> None:
    """Raise ProjectError unless the network takes one tensor, the images."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [x.name for x in model.graph.input if x.name not in weights]
    if len(names) != 1:
        raise ProjectError(
            f"{source} takes {len(names)} inputs ({', '.join(names)}), and the service gives it "
            "one, the images. Export the network anew with the images alone as its input"
        )


def check_network(source: Path, network: nn.Module) -> None:
    """Raise ProjectError unless the network takes two images, and one, and fits the task."""
    shape = task.collate([task.example()] * 2).shape
    noise = torch.randint(256, shape, generator=torch.Generator().manual_seed(0))
    images = task.normalize(noise.to(torch.uint8))
    try:
        with torch.inference_mode():
            outputs, first = network(images), network(images[:1])
    except Exception as error:  # each way to run a network has its own
        raise ProjectError(
            f"{source} cannot take two images of shape {tuple(images.shape[1:])}: "
            f"{(str(error).strip() or type(error).__name__).splitlines()[-1]}. "
            "Check color_mode, transforms and image_size"
            "; a fixed number of images is served if it is one, else export it with "
            "dynamic_shapes=({0: 'batch'},), see README.md."
        ) from error
    if not isinstance(outputs, torch.Tensor):
        raise ProjectError(f"{source} returns no tensor")
    try:
        check_outputs(outputs)
    except ProjectError as error:
        raise ProjectError(f"{source}: {error}") from error
    if first.shape != (1, *outputs.shape[1:]):
        raise ProjectError(
            f"{source} returns numbers of shape {tuple(outputs.shape)} for two images, and of "
            f"{tuple(first.shape)} for one: it must keep the dimension of the batch"
        )


def which_output(error: OutputKeyError) -> str:
    """Return what the network returns, and the command that says which of that is its output."""
    if not error.shapes:
        return str(error)
    fitting = [key for key, shape in error.shapes.items() if shape[1:2] == (NUM_CLASSES,)]
    key = next(iter(fitting or error.shapes))
    return f"{error}. Name the one to serve, such as {key}: {change_answer(output_key=key)}"


def check_kind(path: Path, expected: str) -> None:
    """Raise the ProjectError that names the right answer if a file is of another kind."""
    kind = kind_of(path)
    if kind != expected:
        answer = change_answer(weights="checkpoint" if kind == "torch" else kind)
        raise ProjectError(f"{path} is a {kind} file, not {expected}. Run: {answer}")


def kind_of(path: Path) -> str:
    """Tell from its content what a file is: "torch" or an answer to the question `weights`.

    Raises:
        ProjectError: It is no checkpoint at all.
    """
    try:
        head = read_start(path)
    except NoCheckpointError as error:
        raise ProjectError(str(error)) from error
    if head[8:9] == b"{":  # after the length of this header
        return "safetensors"
    if head[0] == 8:  # the tag of ir_version, an ONNX model's first field
        return "onnx"
    if not zipfile.is_zipfile(path):
        return "torch"
    names = zipfile.ZipFile(path).namelist()
    if any(name.endswith("/archive_format") for name in names):
        return "exported_program"
    return "torchscript" if any("/code/" in name for name in names) else "torch"
