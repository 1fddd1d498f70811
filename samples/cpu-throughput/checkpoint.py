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

from loading import load_model
from preprocessing import IMAGE_SIZE
from project import NUM_CLASSES, ProjectError, change_answer

SERVED_NAME = "model.onnx"  # in the archive


def prepare_weights(source: Path, target: Path) -> str:
    """Check that `source` is an ONNX network that fits this project, and write it as one file.

    Returns:
        What was found, for people.

    Raises:
        ProjectError: It is not, or has another number of classes.
    """
    check_kind(source, "onnx")
    try:
        onnx.save(onnx.load(source), target)  # with the tensors that lie in a file beside it
        network = load_model(target)
    except (DecodeError, ValidationError, OSError, RuntimeError, ValueError) as error:
        raise ProjectError(
            f"{source} cannot be read as ONNX ({str(error).strip().splitlines()[0]}); was it "
            "copied in full, with the .data file that may belong to it?"
        ) from error
    check_network(source, network)
    return f"ONNX, {target.stat().st_size / 1e6:.1f} MB"


def check_network(source: Path, network: nn.Module) -> None:
    """Raise ProjectError unless the network takes two pictures and scores every class of each."""
    shape = (3, IMAGE_SIZE, IMAGE_SIZE)
    try:
        with torch.inference_mode():
            scores = network(torch.zeros(2, *shape))
    except Exception as error:  # each way to run a network has its own
        raise ProjectError(
            f"{source} cannot take two pictures of shape {shape}: "
            f"{str(error).strip().splitlines()[-1]}. Check color_mode, transforms and image_size"
            "; a fixed number of pictures is served if it is one, else export it with "
            "dynamic_shapes=({0: 'batch'},)."
        ) from error
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
        raise ProjectError(f"{source} does not return scores of shape (N, {NUM_CLASSES})")
    if scores.shape[1] != NUM_CLASSES:
        raise ProjectError(
            f"{source} has {scores.shape[1]} classes, the project has {NUM_CLASSES}. Run: "
            f"{change_answer(num_classes=scores.shape[1])}"
        )


def kind_of(path: Path) -> str:
    """Tell from the first bytes what a file is: "torch" or an answer to the question `weights`.

    Raises:
        ProjectError: It is no checkpoint at all, whatever its name says.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise ProjectError(f"{path} is empty; copy the checkpoint again")
    if head.startswith(b"version https://git-lfs"):
        raise ProjectError(f"{path} is a Git LFS pointer, not the weights; run: git lfs pull")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ProjectError(f"{path} is a web page, saved in place of the file; download it again")
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


def check_kind(path: Path, expected: str) -> None:
    """Raise the ProjectError that names the right answer if a file is of another kind."""
    kind = kind_of(path)
    if kind != expected:
        answer = change_answer(weights="checkpoint" if kind == "torch" else kind)
        raise ProjectError(f"{path} is a {kind} file, not {expected}. Run: {answer}")
