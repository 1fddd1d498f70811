# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the checkpoint as it was saved to the state_dict that the service loads."""

from __future__ import annotations

import pickle
import shlex
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from service import NUM_CLASSES, task
from service.loading import Output, OutputKeyError
from service.model import build_model
from tools.file_start import NoCheckpointError, read_start
from tools.mismatch import explain_mismatch
from tools.outputs import check_outputs
from tools.project import ProjectError, change_answer, error_in_model

State = Mapping[str, torch.Tensor]
SERVED_NAME = "state_dict.pth"  # in the archive


def prepare_weights(source: Path, target: Path) -> str:
    """Check that `source` fits the network exactly, and write the state_dict to serve.

    What is written has the network's own names and precision and nothing else.

    Returns:
        What was found, for people.

    Raises:
        ProjectError: It does not fit; the message names the answer that would fix it.
    """
    network = own_network()
    own: Any = network.state_dict()
    saved = read_state_dict(source)
    state: Any = OrderedDict(saved)
    # The layout versions of its modules, without which some (MNASNet) refuse to load.
    state._metadata = getattr(saved, "_metadata", own._metadata)
    for key in own:
        if key.endswith("num_batches_tracked"):  # which torch before 0.4.1 did not save
            state.setdefault(key, own[key])
    try:
        network.load_state_dict(state)
    except RuntimeError:
        reason = explain_mismatch(own, saved)
        if "Run: " not in reason:
            command = shlex.join(["ts-template", "inspect", str(source.resolve())])
            reason += (
                "\nWhat the file is, and whether it can be converted, tells, in a clone of the "
                f"template: {command}"
            )
        raise ProjectError(f"{source} does not fit the network.\n{reason}") from None
    check_network(source, Output(network).eval())
    torch.save(network.state_dict(), target)
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{len(state)} tensors, {count / 1e6:.1f} M parameters"


def own_network() -> nn.Module:
    """Return what `build_model` in service/model.py makes, which is yours.

    Raises:
        ProjectError: It makes no network that has weights.
    """
    call = f"build_model({NUM_CLASSES}) in service/model.py"
    try:
        network: object = build_model(NUM_CLASSES)
    except Exception as error:
        reason = error_in_model(error) or f"{type(error).__name__}: {error}"
        raise ProjectError(f"{call} fails: {reason}") from error
    if isinstance(network, type):
        raise ProjectError(f"{call} returns the class {network.__name__}; return an object of it")
    if not isinstance(network, nn.Module):
        raise ProjectError(f"{call} returns {network!r:.60}; expected a torch.nn.Module")
    if not network.state_dict():
        raise ProjectError(
            f"{call} returns a {type(network).__name__} without weights; layers in a plain list or "
            "dict do not count: keep them in nn.ModuleList or nn.ModuleDict"
        )
    return network


def read_state_dict(path: Path) -> State:
    """Return the tensors of a checkpoint file by name. No code in the file is run.

    Raises:
        ProjectError: The file is no state_dict; the message says what it is.
    """
    check_kind(path, "torch")
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        raise ProjectError(
            f"{path} holds Python objects, not just tensors ({first_line(error)}). "
            f"Run: {change_answer(weights='checkpoint')}"
        ) from error
    except Exception as error:  # whatever damaged bytes make the reader trip over
        raise ProjectError(
            f"{path} cannot be read as a checkpoint ({first_line(error)}); was it copied in full?"
        ) from error
    is_dict = isinstance(content, Mapping)
    if is_dict and content and all(isinstance(x, torch.Tensor) for x in content.values()):
        return content
    if is_dict and any("_packed_params" in str(key) for key in content):
        raise ProjectError(
            f"{path} is quantized to int8, which only the network that was quantized can load. "
            "Save that with torch.jit.trace(model.eval(), example).save(...), and run: "
            + change_answer(weights="torchscript")
        )
    if is_dict and any(isinstance(x, Mapping) for x in content.values()):
        answer = change_answer(weights="checkpoint")
        raise ProjectError(
            f"{path} is a training checkpoint ({', '.join(map(str, content))}), the state_dict is "
            f"inside it. Run: {answer}"
        )
    if is_dict and any(isinstance(x, torch.Tensor) for x in content.values()):
        others = [str(key) for key, x in content.items() if not isinstance(x, torch.Tensor)]
        raise ProjectError(
            f"{path} has more than tensors: {', '.join(others[:5])}. "
            f"Run: {change_answer(weights='checkpoint')}"
        )
    raise ProjectError(f"{path} holds {type(content).__name__}, not a state_dict")


def check_network(source: Path, network: nn.Module) -> None:
    """Raise ProjectError unless the network takes two images, and one, and fits the task."""
    shape = task.collate([task.example()] * 2).shape
    noise = torch.randint(256, shape, generator=torch.Generator().manual_seed(0))
    images = task.normalize(noise.to(torch.uint8))
    try:
        with torch.inference_mode():
            outputs, first = network(images), network(images[:1])
    except OutputKeyError as error:
        raise ProjectError(f"{source}: {which_output(error)}") from error
    except Exception as error:
        reason = error_in_model(error) or str(error).strip() or type(error).__name__
        raise ProjectError(
            f"the network cannot take two images of shape {tuple(images.shape[1:])}: "
            f"{reason.splitlines()[0].rstrip('.')}. If its code is right, check color_mode, "
            "transforms and image_size."
        ) from error
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


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without the advice that torch puts around it."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].partition(" Please use `")[0]
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


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
