"""Files to inspect, saved from real networks in the ways that people save them.

A network's weights are views of a single zero here, which have all the shapes and take no memory;
files of the largest networks are then small and quick to write.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from generator import catalogue
from generator.catalogue import Arch

NETWORKS = {name: arch for name, arch in catalogue.load().items() if name not in catalogue.OTHERS}
ARCHS = {name: arch for name, arch in NETWORKS.items() if arch.kinds == ("classifier",)}
SEGMENTERS = {name: arch for name, arch in NETWORKS.items() if arch.kinds == ("segmenter",)}
CLASSES = 11
UNITS = 24


class Wrapper(nn.Module):
    """A network as an attribute of another module, with a head of its own or without."""

    def __init__(self, network: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = network
        if head is not None:
            self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.backbone(images)
        return self.head(scores) if hasattr(self, "head") else scores


def hollow(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Make all floating weights views of one zero, in place."""
    for module in network.modules():
        for own in (module._parameters, module._buffers):
            for name, tensor in own.items():
                if tensor is None:
                    continue
                kind = dtype if tensor.is_floating_point() else tensor.dtype
                view = torch.zeros((), dtype=kind).expand(tensor.shape)
                is_parameter = own is module._parameters
                own[name] = nn.Parameter(view, requires_grad=False) if is_parameter else view
    return network


def light_copy(network: nn.Module) -> nn.Module:
    """Copy a hollow network; its own deep copy would fill the weights."""
    shared = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def trained(network: nn.Module) -> nn.Module:
    """Give a real network weights as trained ones: no two alike, as an export merges those."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return network.eval()


# ------------------------------------------------------------------------------------- the heads

# What a head is called by inspect, by how it is put on.
HEADS = {
    "linear": "linear",
    "dropout": "dropout",
    "mlp": "mlp",
    "mlp_dropout": "mlp_dropout",
    "deeper": "layers",
    "normalised": "layers",
    "whole": "layers",
    "outside": "outside",
}


def head_title(arch: Arch, head: str) -> str:
    """Return what inspect calls a head of an architecture."""
    fits = arch.classifier_kind == "Linear" and arch.whole_in[:1] == (arch.classifier_in,)
    return "other" if head == "whole" and not fits else HEADS[head]


def can_have(arch: Arch, head: str) -> bool:
    """Tell whether an architecture can be given such a head."""
    if head == "whole":
        return "." in arch.classifier  # else it is the same as dropout
    return head in ("linear", "outside") or arch.classifier_kind == "Linear"


def build(name: str, head: str = "linear", channels: int = 3, **kwargs: Any) -> nn.Module:
    """Return a hollow network with CLASSES classes and such a head."""
    arch = ARCHS[name]
    network = catalogue.meta_model(name, CLASSES, **arch.kwargs, **kwargs)
    with torch.device("meta"):
        if channels != 3:
            conv: Any = network.get_submodule(arch.first_conv)
            arguments = eval(f"dict(out_channels={arch.first_conv_args})")  # the catalogue's own
            network.set_submodule(arch.first_conv, nn.Conv2d(channels, **arguments))
            assert network.get_submodule(arch.first_conv).kernel_size == conv.kernel_size
        network = put_head(network, arch, head)
    return hollow(network).eval()


def put_head(network: nn.Module, arch: Arch, head: str) -> nn.Module:
    """Replace the last layers."""
    units = arch.classifier_in
    region = arch.classifier.partition(".")[0]
    last = nn.Linear(UNITS, CLASSES)
    match head:
        case "dropout":
            new: nn.Module = nn.Sequential(nn.Dropout(), nn.Linear(units, CLASSES))
        case "mlp":
            new = nn.Sequential(nn.Linear(units, UNITS), nn.ReLU(), last)
        case "mlp_dropout":
            new = nn.Sequential(nn.Linear(units, UNITS), nn.ReLU(), nn.Dropout(), last)
        case "deeper":
            middle = nn.Linear(UNITS, UNITS)
            new = nn.Sequential(nn.Linear(units, UNITS), nn.ReLU(), middle, nn.ReLU(), last)
        case "normalised":
            new = nn.Sequential(nn.Linear(units, UNITS), nn.BatchNorm1d(UNITS), nn.ReLU(), last)
        case "whole" if arch.classifier_kind == "Conv2d":
            new = nn.Sequential(nn.Conv2d(units, UNITS, 1), nn.ReLU(), nn.Conv2d(UNITS, CLASSES, 1))
            network.set_submodule(region, new)
            return network
        case "whole":
            # Two matrices of its own, whatever stood there.
            first = nn.Linear(units, UNITS)
            network.set_submodule(region, nn.Sequential(nn.Flatten(), first, nn.ReLU(), last))
            return network
        case "outside":
            network.set_submodule(region, nn.Identity())
            return Wrapper(network, nn.Linear(units, CLASSES))
        case _:
            return network
    network.set_submodule(arch.classifier, new)
    return network


# -------------------------------------------------------------------------------- the containers


@dataclass(frozen=True)
class Container:
    """A way to save a network.

    Attributes:
        save: writes a file.
        prefix: what it puts before the network's names.
        weights: the answer to `weights` that follows.
        kind: what inspect calls the file.
    """

    save: Callable[[nn.Module, Path], None]
    prefix: str = ""
    weights: str = "state_dict"
    kind: str = "torch"


def save_state(network: nn.Module, path: Path) -> None:
    torch.save(network.state_dict(), path)


def save_legacy(network: nn.Module, path: Path) -> None:
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)


def save_half(network: nn.Module, path: Path) -> None:
    torch.save(hollow(light_copy(network), torch.float16).state_dict(), path)


def save_data_parallel(network: nn.Module, path: Path) -> None:
    torch.save(nn.DataParallel(network).state_dict(), path)


def save_compiled(network: nn.Module, path: Path) -> None:
    torch.save(torch.compile(network).state_dict(), path)


def save_wrapped(network: nn.Module, path: Path) -> None:
    torch.save(Wrapper(network).state_dict(), path)


def save_lightning(network: nn.Module, path: Path) -> None:
    state = {f"model.{key}": x for key, x in network.state_dict().items()}
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {**state, "criterion.weight": torch.ones(CLASSES)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
        "hyper_parameters": {"learning_rate": 0.1},
    }
    torch.save(content, path)


def save_checkpoint(network: nn.Module, path: Path) -> None:
    average = torch.optim.swa_utils.AveragedModel(nn.Identity())
    average.module = light_copy(network)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    content = {
        "ema": average.state_dict(),
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
    }
    torch.save(content, path)


def save_pickled(network: nn.Module, path: Path) -> None:
    torch.save(network, path)


def save_safetensors(network: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({key: x.contiguous() for key, x in network.state_dict().items()}, path)


CONTAINERS = {
    "state_dict": Container(save_state),
    "legacy": Container(save_legacy, kind="torch_legacy"),
    "half": Container(save_half),
    "DataParallel": Container(save_data_parallel, "module.", "wrapped"),
    "compile": Container(save_compiled, "_orig_mod.", "wrapped"),
    "wrapper": Container(save_wrapped, "backbone.", "wrapped"),
    "Lightning": Container(save_lightning, "model.", "checkpoint"),
    "EMA": Container(save_checkpoint, "", "checkpoint"),
    "pickled": Container(save_pickled, "", "checkpoint"),
}


def example(arch: Arch, channels: int = 3) -> torch.Tensor:
    """Return the smallest batch of images that an architecture takes, of two."""
    size = arch.input_size if arch.size_rule == "fixed" else max(arch.min_size, 64)
    if arch.size_rule == "argument":
        size = arch.input_size
    return torch.zeros(2, channels, size, size)


def save_traced(network: nn.Module, path: Path, images: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, images, check_trace=False).save(path)


def save_scripted(network: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(path)


def save_onnx(network: nn.Module, path: Path, images: torch.Tensor, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), path, verbose=False, **options)


def save_exported(network: nn.Module, path: Path, images: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (images,)), path)
