"""Every way to save weights: what archive.py makes of it, and that nothing in a file is run."""

from __future__ import annotations

import argparse
import collections
import importlib.util
import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from conftest import Project, labels_of, noise, render, save_random_weights
from generator.inspection import inspect_file
from generator.inspection.answers import conversion
from test_archive import build_each, network_state, run_suggestion


def archived(project: Project, store: str = "model-store") -> dict[str, torch.Tensor]:
    """Return the state_dict in the project's archive."""
    with zipfile.ZipFile(project.path / store / "image-classifier.mar") as archive:
        content = io.BytesIO(archive.read("state_dict.pth"))
    state: dict[str, torch.Tensor] = torch.load(content, weights_only=True)
    return state


class Wrapper(nn.Module):
    """What people write around a network to train it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network
        self.loss_weight = nn.Parameter(torch.ones(3))


def containers(network: nn.Module) -> dict[str, object]:
    """Return what people save of one network, by a name for the test."""
    state = network.state_dict()
    optimizer = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        optimizer.state[parameter] = {"step": 1, "exp_avg": torch.ones_like(parameter)}
    return {
        "plain": state,
        "training dict": {"epoch": 3, "model": state, "optimizer": optimizer.state_dict()},
        "lightning": {
            "pytorch-lightning_version": "2.5.0",
            "hyper_parameters": argparse.Namespace(lr=0.1, path=Path("data")),
            "state_dict": {f"model.{key}": x for key, x in state.items()},
            "optimizer_states": [optimizer.state_dict()],
        },
        "data parallel": {"state_dict": nn.DataParallel(network).state_dict()},
        "compiled": {"net": {f"_orig_mod.{key}": x for key, x in state.items()}},
        "wrapper": Wrapper(network).state_dict(),
        "pickled network": network,
        "pickled in a dict": {"model": nn.DataParallel(network), "best": np.float64(0.9)},
        "two networks": {"critic": nn.Linear(3, 3).state_dict(), "classifier": state},
    }


def test_a_training_checkpoint_comes_down_to_the_weights(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4, weights="checkpoint")
    contents = containers(build_network(project))
    for name, content in contents.items():
        torch.save(content, project.path / "weights" / name)
    legacy = project.path / "weights" / "legacy"
    torch.save(contents["training dict"], legacy, _use_new_zipfile_serialization=False)
    names = [*contents, "legacy"]
    outcomes = build_each(project, project.path / "weights", names, output="stores")
    assert not any(outcomes.values()), outcomes
    for name in names:
        found = archived(project, f"stores/{name}")
        assert found.keys() == network_state().keys(), name
        assert all(torch.equal(found[key], x) for key, x in network_state().items()), name


class Settings(dict[str, object]):
    """What people make of a dict, to have its keys as attributes."""


def test_archive_py_reads_what_inspection_takes_and_both_convert_the_rest(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4, weights="checkpoint")
    network, weights = build_network(project), project.path / "weights"
    state = network.state_dict()
    losses = collections.defaultdict(int, {"train": 3})
    recent = collections.deque([0.1, 0.2], maxlen=2)
    of_old = {"_use_new_zipfile_serialization": False}
    files: dict[str, tuple[object, dict[str, Any], bool]] = {
        "argparse": ({"model": state, "args": argparse.Namespace(x=subprocess.run)}, of_old, True),
        "numpy": ({"model": state, "best": np.float64(0.9), "x": range(3)}, of_old, True),
        "containers": ({"model": state, "losses": losses, "recent": recent}, {}, True),
        "containers of old": ({"model": state, "losses": losses, "recent": recent}, of_old, True),
        "protocol 3": (state, {"pickle_protocol": 3}, True),
        "protocol 4": (state, {"pickle_protocol": 4}, False),
        "protocol 5": ({"model": state, "epoch": 1}, {"pickle_protocol": 5}, False),
        "protocol 4 of old": (state, {"pickle_protocol": 4, **of_old}, False),
        "bytes": ({"model": state, "key": b"x"}, {"pickle_protocol": 3}, False),
        "a dict's child": ({"net": {"ema": state}, "settings": Settings(lr=1)}, {}, False),
        "a pickled network of old": ({"model": network}, of_old, False),
    }
    for name, (content, how, _) in files.items():
        torch.save(content, weights / name, **how)
    found = {name: inspect_file(weights / name) for name in files}
    assert {name for name in files if not found[name].unreadable} == {
        name for name, (*_, is_read) in files.items() if is_read
    }
    outcomes = build_each(project, weights, [*files], output="stores")
    for name, (*_, is_read) in files.items():
        error = outcomes[name]
        if is_read:
            assert error is None, error
            continue
        assert error is not None, name
        assert "weights_only=False" in error and "weights" not in found[name].answers, name
        converted, lines = conversion(found[name])
        exec("\n".join(lines))
        assert not inspect_file(converted).unreadable
        assert torch.load(converted).keys() == state.keys()
        if name != "a dict's child":  # archive.py cannot tell its key, and says what to add
            (lines_there,) = re.findall(r"^    (import torch\n.*\n.*)$", error, re.MULTILINE)
            exec(re.sub("^ +", "", lines_there, flags=re.MULTILINE))
            assert not inspect_file(weights / name).unreadable, name


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        pytest.param(
            lambda state: {"model": state, "ema": {"module": state}},
            "checkpoint_key=ema.module",
            id="ema beside the model",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda state: {
                f"{who}.{key}": state[key] for who in ("teacher", "student") for key in state
            },
            "state_dict_prefix=student.",
            id="teacher and student in one",
        ),
    ],
)
def test_which_of_two_is_asked_and_the_answer_is_taken(
    copy_released: Callable[..., Project],
    content: Callable[[dict[str, torch.Tensor]], object],
    answer: str,
) -> None:
    project = copy_released(
        architecture="custom", num_classes=4, weights="checkpoint", label_format="none"
    )
    torch.save(content(network_state()), project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    assert refused.returncode == 1
    (line,) = (line for line in refused.stderr.splitlines() if line.endswith(answer))
    run_suggestion(project, line)
    project.archive()
    assert archived(project).keys() == network_state().keys()


@pytest.mark.parametrize(
    ("key", "value", "is_right"),
    [
        ("class_to_idx", {"d": 3, "a": 0, "c": 2, "b": 1}, True),
        ("class_to_idx", {"a": 0, "b": 1, "c": 3, "d": 2}, False),
        ("classes", ["a", "b", "d", "c"], False),
        ("idx_to_class", {0: "a", 1: "b", 2: "d", 3: "c"}, False),
        ("classes", ["cat", "dog", "emu", "fox"], True),  # folders may be called otherwise
        ("args.class_to_idx", {"a": 0, "b": 1, "c": 3, "d": 2}, False),
        ("meta.dataset_meta.classes", ("a", "b", "d", "c"), False),
    ],
)
def test_labels_in_another_order_than_in_the_checkpoint_are_refused(
    checkpoint_project: Project, tmp_path: Path, key: str, value: Any, is_right: bool
) -> None:
    first, *inner = key.split(".")
    for name in reversed(inner):
        value = argparse.Namespace(**{name: value}) if first == "args" else {name: value}
    torch.save({"state_dict": network_state(), first: value, "epoch": 3}, tmp_path / "w.pth")
    output = str(tmp_path / "store")
    result = checkpoint_project.run(
        "archive.py", "--weights", str(tmp_path / "w.pth"), "--output", output
    )
    assert (result.returncode == 0) == is_right, result.stderr
    if not is_right:
        assert (
            f"another order, under {key}: class 2 is 'd' there, 'c' by the labels. Put these into "
            "its order: a, b, d, c"
        ) in result.stderr


@pytest.mark.parametrize(
    ("key", "value"), [("class_to_idx", {"a": 0, "zebra": 2, "b": 1, "d": 3}), ("classes", "abzd")]
)
def test_other_names_in_the_checkpoint_are_told(
    checkpoint_project: Project, tmp_path: Path, key: str, value: Any
) -> None:
    names = value if isinstance(value, dict) else list(value)
    torch.save(
        {"state_dict": network_state(), key: names, "stages": list("wxyz")}, tmp_path / "w.pth"
    )
    output = str(tmp_path / "store")
    words = ("archive.py", "--weights", str(tmp_path / "w.pth"), "--output", output)
    result = checkpoint_project.run(*words)
    assert result.returncode == 0, result.stderr
    assert f"other names, under {key}: class 2 is 'z" in result.stdout
    assert "there, 'c' by the labels" in result.stdout
    assert "stages" not in result.stdout


def test_metadata_of_safetensors_are_compared(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    answers = {"architecture": "custom", "num_classes": 4, "weights": "safetensors"}
    project = copy_project(**answers, transforms="custom", image_size=28, mean=0.5, std=0.5)
    labels_of(project.path, list("abcd"))
    for metadata, said in (
        ({"classes": '["a", "b", "d", "c"]'}, "in another order, under classes: class 2 is 'd'"),
        ({"image_size": "32"}, "image_size gives image_size 32, not 28"),
        ({"format": "pt", "image_size": "28", "classes": '["a", "b", "c", "d"]'}, ""),
    ):
        save_file(network_state(), project.path / "weights" / "w.safetensors", metadata)
        result = project.run("archive.py")
        assert said in result.stderr
        assert result.returncode == bool(said), result.stderr


def test_the_order_of_a_checkpoint_can_be_served_in_place_of_that_of_folders(
    copy_released: Callable[..., Project], tmp_path: Path
) -> None:
    for name in "abcd":
        (tmp_path / "train" / name).mkdir(parents=True)
    project = copy_released(
        architecture="custom",
        num_classes=4,
        weights="checkpoint",
        label_format="folders",
        label_folder=str(tmp_path / "train"),
    )
    content = {"state_dict": network_state(), "class_to_idx": {"a": 0, "b": 1, "c": 3, "d": 2}}
    torch.save(content, project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    assert "class 2 is 'd' there, 'c' by the folders" in refused.stderr
    run_suggestion(project, refused.stderr)
    names = refused.stderr.rpartition("and write into labels.json: ")[2]
    assert json.loads(names) == ["a", "b", "d", "c"]
    (project.path / "labels.json").write_text(names)
    project.archive()


@pytest.fixture(scope="module")
def checkpoint_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project for training checkpoints, with four labels."""
    path = tmp_path_factory.mktemp("checkpoint") / "project"
    render(path, {"architecture": "custom", "num_classes": 4, "weights": "checkpoint"})
    labels_of(path, ["a", "b", "c", "d"])
    return Project(path)


def test_another_architecture_is_named_and_shown_side_by_side(
    copy_released: Callable[..., Project],
) -> None:
    project = copy_released(architecture="resnet18", num_classes=4, label_format="none")
    network = torchvision.models.resnet34(num_classes=4)
    save_random_weights(network, project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert "-d architecture=resnet34" in refused.stderr
    assert "the network" in refused.stderr and "the file" in refused.stderr
    assert "layer1.2.conv1.weight (64, 64, 3, 3)" in refused.stderr
    run_suggestion(project, refused.stderr)
    project.archive()


# ------------------------------------------------------------------------------ kinds of files


def export(network: nn.Module, path: Path, batch: int | None = None, size: int = 28) -> Path:
    """Export a grayscale network as ONNX or .pt2, for any number of images unless `batch`."""
    images = (torch.zeros(batch or 2, 1, size, size),)
    if path.suffix == ".onnx":
        shapes: Any = None if batch else ({0: "batch"},)
        torch.onnx.export(network, images, path, dynamic_shapes=shapes, verbose=False)
    else:
        shapes = None if batch else ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(network, images, dynamic_shapes=shapes), path)
    return path


def build_network(project: Project) -> nn.Module:
    """Return the project's own network with seeded weights."""
    spec = importlib.util.spec_from_file_location("trained", project.path / "service" / "model.py")
    assert spec and spec.loader
    module = sys.modules["trained"] = importlib.util.module_from_spec(spec)  # to be pickled
    spec.loader.exec_module(module)
    network: nn.Module = module.build_model(4)
    network.load_state_dict(network_state())
    return network.eval()


@pytest.mark.parametrize(("weights", "suffix"), [("exported_program", "pt2"), ("onnx", "onnx")])
def test_exported_networks_answer_like_the_network(
    copy_project: Callable[..., Project], weights: str, suffix: str
) -> None:
    plain = copy_project("plain", architecture="custom", num_classes=4)
    torch.save(network_state(), plain.path / "weights" / "w.pth")
    exported = copy_project("exported", architecture="custom", num_classes=4, weights=weights)
    network = build_network(plain)
    images = []
    for seed in range(3):
        images.append(plain.path / f"{seed}.png")
        noise(seed).save(images[-1])
    plain.archive()
    expected = plain.predict(*images)
    for batch in (None, 1):
        path = export(network, exported.path / "weights" / f"w.{suffix}", batch)
        exported.archive()
        found = exported.predict(*images)
        for one, other in zip(expected, found, strict=True):
            assert [x["index"] for x in one] == [x["index"] for x in other]
            assert all(
                abs(x["probability"] - y["probability"]) < 1e-5
                for x, y in zip(one, other, strict=True)
            )
        if batch is None:  # the project's own tests send batches through the real file
            result = exported.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
            assert result.returncode == 0, result.stdout
        path.unlink()
    path = export(network, exported.path / "weights" / f"w.{suffix}", 4)
    refused = exported.run("archive.py")
    assert "dynamic_shapes=" in refused.stderr
    path.unlink()
    export(network, exported.path / "weights" / f"w.{suffix}", size=40)
    assert exported.run("archive.py").returncode in (0, 1)


def test_an_onnx_file_may_keep_its_tensors_beside_it(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=4, weights="onnx")
    folder = project.path / "weights"
    export(build_network(project), folder / "w.onnx")
    model = onnx.load(folder / "w.onnx")
    for path in folder.glob("w.*"):
        path.unlink()
    onnx.save(model, folder / "w.onnx", save_as_external_data=True, location="w.onnx.data")
    assert (folder / "w.onnx.data").stat().st_size > 100_000
    project.archive()
    (folder / "w.onnx.data").unlink()
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert ".data file" in refused.stderr


def test_each_kind_of_file_is_told_from_the_others(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    torch.save(network_state(), files / "checkpoint")
    save_file(network_state(), files / "safetensors")
    project = copy_project(architecture="custom", num_classes=4)
    network = build_network(project)
    torch.jit.trace(network, torch.zeros(1, 1, 28, 28)).save(files / "torchscript")
    export(network, files / "w.pt2").rename(files / "exported_program")
    export(network, files / "w.onnx").rename(files / "onnx")
    kinds = sorted(path.name for path in files.iterdir() if "." not in path.name)
    assert len(kinds) == 5
    for weights in kinds:
        project = copy_project(weights, architecture="custom", num_classes=4, weights=weights)
        outcomes = build_each(project, files, [kind for kind in kinds if kind != weights])
        for kind, error in outcomes.items():
            assert f"-d weights={kind}" in (error or ""), (weights, kind, error)


def test_damaged_files_of_every_kind_are_refused_in_words(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    network = build_network(project)
    sources = {
        name: tmp_path / name for name in ("w.pth", "w.safetensors", "w.pt", "w.pt2", "w.onnx")
    }
    torch.save({"model": network_state()}, sources["w.pth"])
    save_file(network_state(), sources["w.safetensors"])
    torch.jit.trace(network, torch.zeros(1, 1, 28, 28)).save(sources["w.pt"])
    export(network, sources["w.pt2"])
    export(network, sources["w.onnx"])
    modes = ("checkpoint", "safetensors", "torchscript", "exported_program", "onnx")
    for weights, (name, source) in zip(modes, sources.items(), strict=True):
        folder = tmp_path / weights
        folder.mkdir()
        content = source.read_bytes()
        rng = np.random.default_rng(0)
        for number, end in enumerate([9, 100, *rng.integers(200, len(content) - 200, 4)]):
            (folder / f"{number}-{name}").write_bytes(content[:end])
        (folder / f"lfs-{name}").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        (folder / f"page-{name}").write_bytes(b"<!DOCTYPE html>")
        (folder / f"empty-{name}").write_bytes(b"")
        project = copy_project(weights, architecture="custom", num_classes=4, weights=weights)
        names = sorted(path.name for path in folder.iterdir())
        # An error of another class than ProjectError would end this with a traceback.
        outcomes = build_each(project, folder, names)
        assert all(outcomes.values()), outcomes
        assert "git lfs pull" in str(outcomes[f"lfs-{name}"])
        assert "web page" in str(outcomes[f"page-{name}"])
        assert "is empty" in str(outcomes[f"empty-{name}"])


def test_pretrained_weights_are_fetched_or_asked_for(
    copy_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9")  # where nobody listens
    project = copy_project(architecture="mobilenet_v3_small", weights="pretrained")
    offline = project.run("archive.py")
    assert offline.returncode == 1
    place = project.path / "weights" / "mobilenet_v3_small-047dcff4.pth"
    assert f"put it at {place}" in offline.stderr
    assert "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth" in offline.stderr
    assert [path.name for path in place.parent.iterdir()] == [".gitkeep"]
    save_random_weights(torchvision.models.mobilenet_v3_small(), place)
    project.archive()
    image = project.path / "image.png"
    noise(0).save(image)
    ((best, *_),) = project.predict(image)
    weights = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
    assert best["label"] == weights.meta["categories"][best["index"]]


# -------------------------------------------------------------------------------- hostile files


class Run:
    """Runs a command when it is unpickled, if anybody unpickles it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Change the members of a zip file; those for which None comes back are left out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def test_nothing_in_a_checkpoint_is_run(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w')"
    folder = tmp_path / "files"
    folder.mkdir()
    state = network_state()
    hostile = {
        "system": {"model": state, "x": Run(os.system, f"touch {canary}")},
        "eval": {"model": state, "x": Run(eval, touch)},
        "exec in the state": state | {"x": Run(exec, touch)},
        "import": {"model": state, "x": Run(__import__, "antigravity")},
        "popen": {"model": state, "x": Run(subprocess.Popen, ["touch", str(canary)])},
    }
    for name, content in hostile.items():
        torch.save(content, folder / name)
        torch.save(content, folder / f"{name}, legacy", _use_new_zipfile_serialization=False)
        (folder / f"{name}, bare").write_bytes(pickle.dumps(content["x"]))
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 15
    for weights in ("state_dict", "checkpoint"):
        project = copy_project(weights, architecture="custom", num_classes=4, weights=weights)
        outcomes = build_each(project, folder, names)
        assert not canary.exists()
        if weights == "state_dict":
            assert all(outcomes.values()), outcomes


def test_nothing_in_an_exported_program_is_run(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w')"
    folder = tmp_path / "files"
    folder.mkdir()
    project = copy_project(
        architecture="custom", num_classes=4, weights="exported_program", label_format="none"
    )
    network = build_network(project)
    export(network, folder / "good.pt2")
    pickled = io.BytesIO()
    torch.save(Run(eval, touch), pickled)

    def model(change: Callable[[dict[str, Any]], object]) -> Callable[[str, bytes], bytes]:
        def apply(name: str, content: bytes) -> bytes:
            if not name.endswith("models/model.json"):
                return content
            program = json.loads(content)
            change(program)
            return json.dumps(program).encode()

        return apply

    def first_target(program: dict[str, Any], target: str) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    def symbol(name: str, content: bytes) -> bytes:
        return content.replace(b"Symbol('", f"{touch} and Symbol('".encode())

    def weights(name: str, content: bytes) -> bytes:
        if name.endswith("weight_0"):
            return pickled.getvalue()
        return content.replace(b'"use_pickle": false', b'"use_pickle" :true', 1)

    changes: dict[str, Callable[[str, bytes], bytes | None]] = {
        "sample inputs": lambda name, x: pickled.getvalue() if "sample_inputs" in name else x,
        "pickled weight": weights,
        "opaque object": lambda _, x: x.replace(
            b'"path_name": "weight_0"', b'"path_name": "opaque_obj_0"'
        ),
        "guards": model(lambda program: program.update(guards_code=[f"{touch} is None"])),
        "size": symbol,
        "target": model(lambda program: first_target(program, "torch.os.system")),
        "hub": model(lambda program: first_target(program, "torch.hub.load")),
        "library": model(lambda program: first_target(program, "torch.ops.load_library")),
        "call": model(lambda program: first_target(program, "_operator.call")),
    }
    for name, change in changes.items():
        path = folder / f"{name}.pt2"
        path.write_bytes((folder / "good.pt2").read_bytes())
        rewrite(path, change)
        assert path.read_bytes() != (folder / "good.pt2").read_bytes()
    library = folder / "compiled.pt2"
    library.write_bytes((folder / "good.pt2").read_bytes())
    with zipfile.ZipFile(library, "a") as archive:
        archive.writestr("good/data/aotinductor/model/x.so", b"\x7fELF")
    outcomes = build_each(project, folder, sorted(path.name for path in folder.iterdir()))
    assert not canary.exists()
    assert outcomes.pop("good.pt2") is None
    assert len(outcomes) == len(changes) + 1
    assert all(outcomes.values()), outcomes


# ---------------------------------------------------------------------------------------- memory

# Libraries' code comes into memory as it is first run: how much of it came before varies.
MEASURE = """
import sys
from pathlib import Path
from tools.inprocess import open_archive

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def libraries():
    size, is_library = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *words = line.split()
        if "-" in name:  # the addresses of a mapping, and what is mapped
            is_library = ".so" in line
        elif name == "Rss:" and is_library:
            size += int(words[0]) * 1024
    return size

from service import handler, model  # and with them all that the service imports
before, code = resident("VmRSS"), libraries()
with open_archive(Path(sys.argv[1])) as service:
    print("ADDED", resident("VmHWM") - before - (libraries() - code))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_network_takes_little_more_memory_than_its_weights(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="resnet101", label_format="none", transforms="to_tensor")
    weights = project.path / "weights" / "w.pth"
    save_random_weights(torchvision.models.resnet101(), weights)
    project.archive("--format", "no-archive")
    result = project.run("-c", MEASURE, "model-store/image-classifier")
    assert "ADDED" in result.stdout, result.stderr
    added = int(result.stdout.partition("ADDED")[2])
    assert added <= 1.2 * weights.stat().st_size + 30e6  # for an image on its way through
