"""Weights that only their own framework can compute with: how they are exported there.

Nothing here is run. The lines are for where the network was trained, by who trusts the file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from generator.inspection.class_names import parsed
from generator.inspection.pickles import Tensor
from generator.inspection.training import openmmlab_config
from generator.source import IMAGENET_MEAN, IMAGENET_STD
from generator.tasks import tasks

# What fastai puts in place of a network's last layers: a pooling, a normalisation, ..., a matrix.
FASTAI = {"0.0.weight", "1.2.running_mean", "1.8.weight"}
# Of a learner, the names with it: --labels is not needed then.
TRACE = (
    "m = torch.jit.trace({0}.model.eval().cpu(), torch.zeros(1, 3, 224, 224)); "
    "torch.jit.save(m, 'model.pt', _extra_files={{'labels.json': "
    "json.dumps([str(x) for x in {0}.dls.vocab])}})"
)
SERVE = "and serve what that writes: --weights model.pt"
NORMS = re.compile(r"(^|\.)(weight_[gv]|parametrizations\..+)")
OBSERVER = re.compile(r"(^|\.)(fake_quant_enabled|observer_enabled)")
# Training without labels, as MoCo's, BYOL's and DINO's: two networks that learn from each other.
UNLABELLED = re.compile(
    r"(^|\.)((encoder_[qk]|(base|momentum)_encoder|(online|target)_encoder)\."
    r"|head\.last_layer\.(weight_[gv]|parametrizations))"
)
# The version of Ultralytics since which its classifiers get bytes over 255 (its #1368).
SCALED_ALONE = (8, 0, 53)
ADAPTER = re.compile(r"(^|\.)lora_[AB]\.")
# In OpenMMLab's configurations: strides are elsewhere than in torchvision's ResNets.
CAFFE = re.compile(r"""\bstyle['"]?\s*[=:]\s*['"]caffe['"]""")


def advice_on(
    path: Path, states: Mapping[str, Mapping[str, Tensor]], objects: Collection[str], content: Any
) -> str:
    """Return how to export weights of a framework, "" if they are of none that is known here.

    Args:
        path: The file.
        states: The state_dicts in it, by their place.
        objects: The names of the classes and functions that it needs.
        content: All that is in it.
    """
    names = {name for state in states.values() for name in state}
    if any(name.startswith("ultralytics.") for name in objects):
        command = f"yolo export model={shlex.quote(str(path))} format=torchscript"
        target = path.with_suffix(".torchscript")
        return (
            f"it is of Ultralytics. If you trust it, run where ultralytics is installed:\n"
            f"    {command}\nand serve what that writes: --weights {shlex.quote(str(target))} "
            "-d model_output=probabilities"
        )
    if any(state.keys() >= FASTAI for state in states.values()):
        return (
            "it is of a fastai Learner. Where that was trained, run:\n    import json, torch\n    "
            + TRACE.format("learn").replace("; ", "\n    ")
            + f"\n{SERVE}"
        )
    if any(map(UNLABELLED.search, names)):
        return without_labels()
    if any(map(OBSERVER.search, names)):
        return (
            "it was trained for quantisation, and its weights by themselves compute something "
            "else. Where it was trained, run:\n"
            "    import torch\n"
            "    from torch.ao.quantization import convert, quantize_fx\n"
            "    is_graph = isinstance(model, torch.fx.GraphModule)\n"
            "    model = (quantize_fx.convert_fx if is_graph else convert)(model.eval().cpu())\n"
            f"    torch.jit.trace(model, torch.zeros(1, 3, 224, 224)).save('model.pt')\n{SERVE}"
        )
    if any(map(ADAPTER.search, names)):
        return (
            "it holds a LoRA adapter beside or without the weights that it changes. Where it was "
            "trained, run:\n    import torch\n"
            f"    torch.save(model.merge_and_unload().state_dict(), 'model.pt')\n{SERVE}"
        )
    if any(map(NORMS.search, names)):
        return (
            "it has weights that are computed from others (weight_norm, spectral_norm). Where it "
            "was trained, run:\n    import torch\n    from torch.nn.utils import parametrize\n"
            "    for module in model.modules():\n"
            "        if parametrize.is_parametrized(module):\n"
            "            for name in [*module.parametrizations]:\n"
            "                parametrize.remove_parametrizations(module, name)\n"
            "        elif hasattr(module, 'weight_g'):\n"
            "            torch.nn.utils.remove_weight_norm(module)\n"
            "        elif hasattr(module, 'weight_orig') and hasattr(module, 'weight_u'):\n"
            "            torch.nn.utils.remove_spectral_norm(module)\n"
            f"    torch.save(model.state_dict(), 'model.pt')\n{SERVE}"
        )
    if "backbone.conv1.weight" in names and CAFFE.search(openmmlab_config(content)):
        return (
            "it is a ResNet of OpenMMLab with style='caffe', whose strides are elsewhere than in "
            "torchvision's. Where it was trained, run:\n    import torch\n"
            "    torch.jit.trace(model.eval().cpu(), torch.zeros(1, 3, 224, 224)).save('model.pt')"
            f"\n{SERVE}"
        )
    if any(state and all(x.shape == (0,) for x in state.values()) for state in states.values()):
        return (
            "its tensors are empty, as those of DeepSpeed's stage 3, which has the weights in "
            "other files. Run in its folder: python zero_to_fp32.py . OUTPUT"
        )
    return ""


def learner_command(path: Path) -> str:
    """Return the command that exports what fastai's learn.export wrote."""
    code = (
        "import json, torch; from fastai.vision.all import load_learner; "
        f"learn = load_learner({str(path)!r}); {TRACE.format('learn')}"
    )
    is_plain = re.fullmatch(r"[\w./+-]+", str(path)) is not None
    return f'python -c "{code}"' if is_plain else f"python -c {shlex.quote(code)}"


def advice_on_export(texts: Mapping[str, str]) -> str:
    """Return what to do with an export of Ultralytics that is no classifier; "" for any other.

    Args:
        texts: as for `preparation_in`.
    """
    about = said_in(texts)
    kind = str(about.get("task", "classify"))
    if kind == "classify" or not str(about.get("description", "")).startswith("Ultralytics "):
        return ""
    return (
        f"it is an export of Ultralytics for the task {kind}, and what makes boxes, masks or "
        "points of its outputs lies outside of it. No task of this template serves it; of a "
        "classifier (a -cls.pt), the export is served"
    )


def said_in(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what an export of Ultralytics says of itself, by name."""
    about = {name: parsed(text) if text[:1] in "{[" else text for name, text in texts.items()}
    config = about.pop("extra/config.txt", None)
    return about | (config if isinstance(config, dict) else {})


def preparation_in(
    texts: Mapping[str, str], shape: Sequence[int | None] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return how Ultralytics prepares images for an export of its classifiers; else nothing.

    Up to 8.0.52, and in YOLOv5, it normalised them as for ImageNet. Versions before 8.0.35 wrote no
    more than YOLOv5 does: strides and names.

    Args:
        texts: what the export says of itself: the files added to TorchScript, ONNX's metadata.
        shape: of the batch of images that it was exported with.

    Returns:
        Answers; and questions that people have to answer, as `Inspection.must_answer`.
    """
    about = said_in(texts)
    is_named = str(about.get("description", "")).startswith("Ultralytics ")
    is_old = about.keys() >= {"stride", "names"} and "description" not in about
    sides = about.get("imgsz", [*(shape or ())][2:])
    if (
        not (is_named or is_old)
        or about.get("task", "classify") != "classify"
        or not isinstance(sides, list)
        or len(sides) != 2
        or type(sides[0]) is not int
        or sides[0] != sides[1]
    ):
        return {}, {}
    answers: dict[str, Any] = {"model_output": "probabilities"} if is_named else {}
    answers |= {
        "transforms": "custom",
        "image_size": sides[0],
        "resize_size": sides[0],
        "interpolation": "bilinear",
    }
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", str(about.get("version", "0.0.0" * is_old)))
    if version is None:
        return answers, {
            "mean": "that it is of Ultralytics, and not of which version: those before 8.0.53 "
            f"normalise images as for ImageNet (-d mean='{[*IMAGENET_MEAN]}' "
            f"-d std='{[*IMAGENET_STD]}'), later ones not (-d mean='[0, 0, 0]' -d std='[1, 1, 1]')"
        }
    is_scaled = tuple(map(int, version.groups())) >= SCALED_ALONE
    mean, std = ((0.0,) * 3, (1.0,) * 3) if is_scaled else (IMAGENET_MEAN, IMAGENET_STD)
    return answers | {"mean": [*mean], "std": [*std]}, {}


def without_labels() -> str:
    """Return the advice for weights of MoCo, BYOL, DINO and the like."""
    headless = "|".join(task.value for task in tasks().values() if task.facts["is_headless"])
    return (
        "it was trained without labels (as by MoCo, BYOL or DINO), and its last layer gives "
        "features to compare, not classes. Train a classifier on it, and serve the checkpoint of "
        "that; or "
        f"serve what comes before that layer: -d task={headless}"
    )
