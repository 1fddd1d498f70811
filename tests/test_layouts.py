"""Weights as other tools save them: served exactly, or refused with what exports them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune
from typer.testing import CliRunner

from conftest import Project, noise, save_random_weights, ts_template
from generator.cli import app
from generator.errors import UserError
from generator.inspection import inspect_file
from generator.shared.states import find_states
from test_archive import network_state

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """A network with seeded weights; do not change it."""
    network = torchvision.models.resnet18(num_classes=3)
    return save_random_weights(network, tmp_path_factory.mktemp("resnet") / "w.pth")


def convert(path: Path) -> tuple[dict[str, State], str]:
    """Run `ts-template convert`; return the state_dicts that it writes, and what it says."""
    target = path.with_name("plain.pth")
    result = CliRunner().invoke(app, ["convert", str(path), str(target)])
    assert result.exit_code == 0, result.exception
    states: Any = find_states(torch.load(target, weights_only=True))
    return states, result.output


def pruned(network: nn.Module) -> tuple[State, State]:
    """Return the weights of a pruned copy of a network, and those that pruning leaves."""
    network = copy.deepcopy(network)
    layers = [x for x in network.modules() if isinstance(x, nn.Conv2d | nn.Linear)]
    for layer in layers:
        prune.l1_unstructured(layer, "weight", 0.3)
    state = {key: x.clone() for key, x in network.state_dict().items()}
    for layer in layers:
        prune.remove(layer, "weight")
    return state, network.state_dict()


def compiled(network: nn.Module) -> State:
    """Return the weights of a network, of which two parts are compiled."""
    network = copy.deepcopy(network)
    network.layer1 = torch.compile(network.layer1)
    network.layer4 = torch.compile(network.layer4)
    return network.state_dict()


def of_mmpretrain(state: State) -> State:
    """Return the weights under the names that MMPretrain has for them."""
    return {
        f"{'head' if key.startswith('fc.') else 'backbone'}.{key}": x for key, x in state.items()
    }


def of_old_timm(state: State) -> State:
    """Return a Swin Transformer's weights as timm before 0.9 had them."""
    down = re.compile(r"layers\.(\d+)\.downsample")
    old = {
        down.sub(lambda match: f"layers.{int(match[1]) - 1}.downsample", key).replace(
            "head.fc.", "head."
        ): x
        for key, x in state.items()
    }
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    return old


def test_what_is_computed_from_other_tensors_is_computed_exactly(
    resnet: nn.Module, tmp_path: Path
) -> None:
    state, expected = pruned(resnet)
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    assert (found.architecture, found.classes, found.head) == ("resnet18", 3, "linear")
    assert found.answers["weights"] == "checkpoint"
    states, said = convert(tmp_path / "w.pth")
    assert "multiplied 21 pruned tensors" in said
    assert states["model"].keys() == expected.keys()
    assert all(torch.equal(states["model"][key], x) for key, x in expected.items())


@pytest.mark.parametrize(
    ("layout", "said"),
    [(compiled, "took the wrappers out of"), (None, "a ResNet of MMPretrain")],
)
def test_other_names_become_the_networks_own(
    layout: Callable[[nn.Module], State] | None, said: str, resnet: nn.Module, tmp_path: Path
) -> None:
    expected = resnet.state_dict()
    state = layout(resnet) if layout else of_mmpretrain(expected)
    content = state if layout else {"meta": {"epoch": 3}, "state_dict": state}
    torch.save(content, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    assert (found.architecture, found.classes, found.head) == ("resnet18", 3, "linear")
    states, output = convert(tmp_path / "w.pth")
    assert said in output
    (converted,) = states.values()
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[key], x) for key, x in expected.items())


def test_a_resnet_with_other_strides_is_not_served_as_torchvisions(
    resnet: nn.Module, tmp_path: Path
) -> None:
    config = "model = dict(backbone=dict(type='ResNet', depth=50, style='caffe'))"
    content = {"meta": {"cfg": config}, "state_dict": of_mmpretrain(resnet.state_dict())}
    torch.save(content, tmp_path / "w.pth")
    result = ts_template("new", "p", "--weights", "w.pth", "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert "style='caffe', whose strides are elsewhere" in result.stderr
    assert not (tmp_path / "p").exists()


# As configs/_base_/datasets/imagenet_bs32.py of MMPretrain has them.
PLAIN = (
    "neck=dict(type='GlobalAveragePooling'), mean=[123.675, 116.28, 103.53], "
    "std=[58.395, 57.12, 57.375], to_rgb=True, dict(type='RandomResizedCrop', scale=224), "
    "dict(type='ResizeEdge', scale=256, edge='short'), dict(type='CenterCrop', crop_size=224)"
)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("dict(type='Resize', scale=600), dict(type='CenterCrop', crop_size=448)", "crop_size=448"),
        ("data_preprocessor = dict(mean=[0, 0, 0], to_rgb=True)", "mean=[0, 0, 0]"),
        ("data_preprocessor = dict(mean=[...])", "mean=[...]"),
        # As configs/_base_/datasets/cifar10_bs16.py has them.
        ("mean=[125.307, 122.961, 113.8575], to_rgb=False", "to_rgb=False, mean=[125.307"),
        ("test_pipeline = [dict(type='Resize', scale=(224, 224))]", "Resize scale=(224, 224)"),
        ("data_preprocessor = dict(to_rgb=False)", "prepared with to_rgb=False"),
        ("neck=dict(type='GeneralizedMeanPooling')", "built with GeneralizedMeanPooling"),
        ("backbone=dict(dilations=(1, 1, 2, 4))", "built with dilations=(1, 1, 2, 4)"),
    ],
)
def test_what_a_configuration_of_mmpretrain_changes_is_refused(
    tmp_path: Path, config: str, message: str
) -> None:
    state = of_mmpretrain(torchvision.models.resnet18(num_classes=3).state_dict())
    torch.save({"meta": {"cfg": f"{PLAIN}, {config}"}, "state_dict": state}, tmp_path / "w.pth")
    words = ["--weights", str(tmp_path / "w.pth"), "--defaults"]
    result = ts_template("new", str(tmp_path / "made"), *words)
    assert result.returncode == 1
    assert message in result.stderr
    assert "w.pth tells under meta.cfg" in result.stderr


def test_several_labels_of_mmpretrain_are_known_by_their_head(tmp_path: Path) -> None:
    state = of_mmpretrain(torchvision.models.resnet18(num_classes=3).state_dict())
    head = "head=dict(type='MultiLabelLinearClsHead', thr=0.5)"
    torch.save({"meta": {"cfg": f"{PLAIN}, {head}"}, "state_dict": state}, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    assert found.likely["task"] == "multi_label_classification"
    assert "MultiLabelLinearClsHead" in found.evidence
    assert not found.training.of_images


def test_a_swin_transformer_of_old_is_that_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3)
    torch.save({"model": of_old_timm(network.state_dict())}, tmp_path / "w.pth")
    assert inspect_file(tmp_path / "w.pth").timm == ("swin_tiny_patch4_window7_224",)
    states, _ = convert(tmp_path / "w.pth")
    network.load_state_dict(states["model"])
    expected = timm.models.swin_transformer.checkpoint_filter_fn(
        of_old_timm(network.state_dict()), network
    )
    assert expected.keys() == states["model"].keys()


def test_weights_in_several_files(resnet: nn.Module, tmp_path: Path) -> None:
    state = {key: x.contiguous() for key, x in resnet.state_dict().items()}
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    places = {key: names[index % 2] for index, key in enumerate(state)}
    for name in names:
        save_file({key: state[key] for key in state if places[key] == name}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert inspect_file(index).architecture == "resnet18"
    states, _ = convert(index)
    assert all(torch.equal(states[""][key], x) for key, x in state.items())
    with pytest.raises(UserError, match=f"name their index: {index}"):
        inspect_file(tmp_path / names[0])
    with pytest.raises(UserError, match="name their index"):
        inspect_file(tmp_path)
    (tmp_path / names[1]).unlink()
    with pytest.raises(UserError, match=f"needs {names[1]}"):
        inspect_file(index)
    index.write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(UserError, match="no file beside it"):
        inspect_file(index)


def test_new_serves_such_a_checkpoint_with_its_names(resnet: nn.Module, tmp_path: Path) -> None:
    state, expected = pruned(resnet)
    torch.save({"state_dict": state, "meta": {"CLASSES": ("cat", "dog", "no")}}, tmp_path / "w.pth")
    noise(0).save(tmp_path / "image.png")
    words = ("new", "p", "--weights", "w.pth", "--defaults", "--picture", "image.png")
    result = ts_template(*words, "-d", "backend=eager", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "multiplied 21 pruned tensors with their masks" in result.stdout
    network = torchvision.models.resnet18(num_classes=3)
    network.load_state_dict(expected)
    transforms = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        scores = network.eval()(transforms(noise(0))[None]).softmax(dim=1)[0]
    (prediction,) = Project(tmp_path / "p").predict(tmp_path / "image.png")
    best = scores.argmax().item()
    assert prediction[0]["label"] == ("cat", "dog", "no")[best]
    assert abs(prediction[0]["probability"] - scores[best]) < 1e-3


class Evil:
    """Something that would run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return subprocess.run, (["touch", str(self.path)],)


def test_nothing_is_run_while_it_is_converted(resnet: nn.Module, tmp_path: Path) -> None:
    state, _ = pruned(resnet)
    torch.save({"model": state, "x": Evil(tmp_path / "run")}, tmp_path / "w.pth")
    convert(tmp_path / "w.pth")
    assert not (tmp_path / "run").exists()


def test_a_plain_checkpoint_needs_no_conversion(resnet: nn.Module, tmp_path: Path) -> None:
    for content in (
        resnet.state_dict(),
        torch.compile(resnet).state_dict(),
        {"state_dict": {f"model._orig_mod.{k}": x for k, x in resnet.state_dict().items()}},
    ):
        torch.save(content, tmp_path / "w.pth")
        result = CliRunner().invoke(app, ["convert", str(tmp_path / "w.pth"), str(tmp_path / "x")])
        assert isinstance(result.exception, UserError)
        assert "needs no conversion" in str(result.exception)
        assert not (tmp_path / "x").exists()


def test_what_people_put_among_the_weights_is_left_out(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=4, weights="checkpoint")
    path = project.path / "weights" / "w.pth"
    torch.save({**network_state(), "mask_values": [0, 1], "classes": [*"abcd"]}, path)
    found = inspect_file(path)
    assert found.answers["weights"] == "checkpoint"
    assert "left out, being no tensors: mask_values, classes" in found.notes
    assert found.class_names[0].names == (*"abcd",)
    project.archive()
    plain = copy_project("plain", architecture="custom", num_classes=4, weights="state_dict")
    refused = plain.run("archive.py", "--weights", str(path))
    assert "mask_values, classes" in refused.stderr
    assert "-d weights=checkpoint" in refused.stderr
    # What belongs to a module is no extra: it may change what that computes.
    torch.save({**network_state(), "1._extra_state": b"x"}, path)
    with pytest.raises(UserError, match="next to what are none"):
        inspect_file(path)


def fastai_state() -> State:
    """Return weights with the names that fastai gives them."""
    body, head = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Identity(), nn.Identity())
    head.extend([nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4, bias=False), nn.ReLU()])
    head.extend([nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3, bias=False)])
    return nn.Sequential(body, head).state_dict()


def normed() -> State:
    """Return a network's weights of which some are computed."""
    network = torchvision.models.squeezenet1_1(num_classes=3)
    parametrizations.spectral_norm(network.classifier[1])
    return network.state_dict()


def normed_by_hooks() -> State:
    """Return the same as torch did it before it had parametrizations."""
    network = torchvision.models.squeezenet1_1(num_classes=3)
    nn.utils.spectral_norm(network.classifier[1])
    return network.state_dict()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: {"model": fastai_state(), "opt": {}}, "torch.jit.trace(learn.model.eval()"),
        (normed, "parametrize.remove_parametrizations(module, name)"),
        (normed_by_hooks, "torch.nn.utils.remove_spectral_norm(module)"),
        (
            lambda: {"conv.weight": torch.zeros(3), "q.fake_quant_enabled": torch.ones(1)},
            "quantize_fx.convert_fx",
        ),
        (
            lambda: {
                "base.fc.weight": torch.zeros(3, 2),
                "base.fc.lora_A.default.weight": torch.zeros(1, 2),
            },
            "model.merge_and_unload()",
        ),
        (lambda: {"module": {"fc.weight": torch.zeros(0)}}, "python zero_to_fp32.py . OUTPUT"),
    ],
)
def test_weights_that_need_their_framework_are_refused_with_what_exports_them(
    content: Callable[[], Any], said: str, tmp_path: Path
) -> None:
    torch.save(content(), tmp_path / "w.pth")
    assert said in inspect_file(tmp_path / "w.pth").advice
    result = ts_template("new", "p", "--weights", "w.pth", "--defaults", cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (tmp_path / "p").exists()


def test_folders_of_distributed_training_are_named(tmp_path: Path) -> None:
    for name, file, said in (
        ("dcp", "__0_0.distcp", "format_utils dcp_to_torch"),
        ("deepspeed", "zero_to_fp32.py", "zero_to_fp32.py"),
    ):
        (tmp_path / name).mkdir()
        for file_ in (file, ".metadata"):
            (tmp_path / name / file_).touch()
        with pytest.raises(UserError, match=said):
            inspect_file(tmp_path / name)


def test_the_command_for_a_distributed_checkpoint_works(resnet: nn.Module, tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": resnet.state_dict()}, checkpoint_id=tmp_path / "step")
    with pytest.raises(UserError) as error:
        inspect_file(tmp_path / "step")
    command = str(error.value).partition("run: python ")[2].split()
    import sys

    subprocess.run([sys.executable, *command], check=True)
    assert inspect_file(tmp_path / "step.pth").architecture == "resnet18"
