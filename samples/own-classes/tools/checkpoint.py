# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the checkpoint as it was saved to the state_dict that the service loads."""

from __future__ import annotations

import json
import pickle
import shlex
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from service import NUM_CLASSES
from service.model import build_model
from service.preprocessing import IMAGE_SIZE, MEAN, STD
from tools.file_start import NoCheckpointError, read_start
from tools.inert import StandIn, load_inert
from tools.mismatch import body_of, explain_mismatch, find_prefix, find_prefixes
from tools.preparation import told_otherwise
from tools.project import ProjectError, change_answer, in_project
from tools.scores import differ, told_calibration, told_losses, told_thresholds, trained
from tools.states import find_states, is_state

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
    network = build_model(NUM_CLASSES)
    own: Any = network.state_dict()
    names = body_of(own)
    saved = read_state_dict(source, names)
    notes: list[str] = []
    prefixes = find_prefixes(names, saved)
    if len(prefixes) > 1:
        commands = "".join(f"\n    {change_answer(state_dict_prefix=x)}" for x in prefixes if x)
        raise ProjectError(
            f"{source} holds the network {len(prefixes)} times, with {' and '.join(prefixes)} "
            f"before its names. Run one of:{commands}"
        )
    prefix = prefixes[0] if prefixes else ""
    state: Any = OrderedDict(
        (key.removeprefix(prefix), x) for key, x in saved.items() if key.startswith(prefix)
    )
    if prefix:
        notes.append(f"took off {prefix}")
    if outside := sorted(key for key in saved if not key.startswith(prefix)):
        notes.append(f"left out, being outside {prefix}: {', '.join(outside)}")
    # The layout versions of its modules, without which some (MNASNet) refuse to load.
    state._metadata = own._metadata
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
    torch.save(network.state_dict(), target)
    count = sum(parameter.numel() for parameter in network.parameters())
    return "; ".join([f"{len(state)} tensors, {count / 1e6:.1f} M parameters", *notes])


def read_state_dict(path: Path, names: Iterable[str]) -> State:
    """Return the tensors of the state_dict in a checkpoint. No code in the file is run.

    Args:
        path: The checkpoint.
        names: Those of the network: of several state_dicts the one that has them is meant.

    Raises:
        ProjectError: There is none, or no telling which is meant.
    """
    check_kind(path, "torch")
    states = find_states(read_content(path))
    names = list(names)
    fitting = [key for key, state in states.items() if find_prefix(names, state) is not None]
    if len(fitting) > 1:
        commands = "".join(f"\n    {change_answer(checkpoint_key=key)}" for key in fitting)
        raise ProjectError(
            f"{path} holds weights that fit under {' and '.join(fitting)}. Run one of:{commands}"
        )
    if not states:
        raise ProjectError(f"{path} holds no state_dict")
    return states[fitting[0]] if fitting else max(states.values(), key=len)


def compare_names(path: Path, labels: list[str]) -> list[str]:
    """Compare names of classes with those that a checkpoint has.

    Returns:
        Where it has others, for people.

    Raises:
        ProjectError: It has the same in another order.
    """
    notes = []
    for key, value in entries_in(path):
        names: list[Any] = list(value) if isinstance(value, (list, tuple, dict)) else []
        if isinstance(value, dict) and all(isinstance(index, int) for index in value.values()):
            names.sort(key=value.__getitem__)  # as class_to_idx of an ImageFolder
        elif isinstance(value, dict):
            by_index = all(str(index).isdecimal() for index in value)
            names = [value[index] for index in (sorted(value, key=int) if by_index else value)]
        if len(names) != len(labels) or not all(isinstance(name, str) for name in names):
            continue
        if plain(names) == plain(labels):
            continue
        index = next(i for i, name in enumerate(plain(names)) if name != plain(labels)[i])
        if sorted(plain(names)) == sorted(plain(labels)):
            raise ProjectError(
                f"{path} has the classes in another order, under {key}: class {index} is "
                f"{names[index]!r} there, {labels[index]!r} by the folders. To serve the "
                f"checkpoint's order, run: {change_answer(label_format='list')}\n"
                f"and write into labels.json: {json.dumps(names, ensure_ascii=False)}"
            )
        if any(word in key.lower() for word in ("class", "label", "categor")):
            notes.append(
                f"the checkpoint has other names, under {key}: class {index} is "
                f"{names[index]!r} there, {labels[index]!r} by the labels"
            )
    return notes


def plain(names: list[str]) -> list[str]:
    """Return names as they are compared: people change their case, and _ for blanks."""
    return [name.casefold().replace("_", " ") for name in names]


def compare_preprocessing(path: Path) -> None:
    """Raise ProjectError if a checkpoint tells that images were prepared otherwise than here."""
    here: dict[str, list[float]] = {
        "image_size": [IMAGE_SIZE],
        "mean": MEAN,
        "std": STD,
    }
    differences = []
    answers: dict[str, Any] = {}
    for name, told in told_otherwise(entries_in(path), here).items():
        place, numbers = next(iter(told.items()))
        answers[name], known = (x if len(x) > 1 else x[0] for x in (numbers, here[name]))
        differences.append(f"{place} gives {name} {answers[name]}, not {known}")
    if differences:
        size = answers.get("image_size", IMAGE_SIZE)
        interpolation = {"transforms": "custom", "interpolation": "bilinear"}
        answers = {**interpolation, **here, **answers, "image_size": size}
        answers["resize_size"] = size * 256 // 224
        raise ProjectError(
            f"{path} tells of other preprocessing: {'; '.join(differences)}. If the network was "
            f"trained so, run: {change_answer(**answers)}\n"
            f"If not, build it with: {in_project('python archive.py --trust-preprocessing')}"
        )


def compare_scoring(path: Path) -> None:
    """Raise ProjectError if a checkpoint tells of scores what the service does not make of them."""
    entries = list(entries_in(path))
    told = [
        f"scores go through its {place} behind the network, which the service does not do. Put it "
        "into the network (for a temperature, divide the weight and bias of the last layer by it)"
        for place in told_calibration(entries)
    ]
    losses = told_losses(entries)
    if losses and all(map(trained, losses.values())):
        place, loss = next(iter(losses.items()))
        told.append(
            f"its {place} is {loss}, which trains {trained(loss)}; the service takes the classes "
            "as such that exclude one another"
        )
    known = [0.5]
    for place, limits in told_thresholds(entries).items():
        if differ(limits, known):
            there = f"is {limits if len(limits) > 1 else limits[0]}" if limits else "cannot be read"
            told.append(f"its {place} {there}; the service predicts the most probable class")
    if told:
        command = in_project("python archive.py --trust-scores")
        raise ProjectError(
            "\n".join(f"{path} tells otherwise: {reason}" for reason in told)
            + f"\nTo serve scores as answered: {command}"
        )


def entries_in(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a checkpoint holds, and what mappings and objects in it do, by its place."""
    content = read_content(path)
    waiting, seen = [("", content)], {id(content)}
    for place, holder in waiting:
        if isinstance(holder, dict) and is_state(holder):
            continue  # the network itself computes with what is there
        entries = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
        for key, value in entries.items():
            yield f"{place}{key}", value
            if isinstance(value, (dict, StandIn)) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{place}{key}.", value))


def read_content(path: Path) -> Any:
    """Return what a checkpoint holds: tensors, plain data, and a StandIn for every other object.

    Raises:
        ProjectError: It is damaged, or torch cannot read it without running code in it.
    """
    try:
        return load_inert(path)
    except pickle.UnpicklingError as error:
        raise ProjectError(
            f"{path} cannot be read without running code in it ({first_line(error)}). "
            "If you trust it, convert it where it was trained:\n"
            "    import torch\n"
            f"    x = torch.load({str(path)!r}, weights_only=False)\n"
            f"    torch.save(x.state_dict() if hasattr(x, 'state_dict') else x, {str(path)!r})\n"
            "In a training checkpoint the weights alone are wanted: x = x['model'], for instance"
        ) from error
    except Exception as error:  # whatever damaged bytes make the reader trip over
        raise ProjectError(
            f"{path} cannot be read as a checkpoint ({first_line(error)}); was it copied in full?"
        ) from error


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
