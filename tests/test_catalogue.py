"""The stored catalogue says what the installed torchvision says, and what it promises is true."""

from __future__ import annotations

import copy
import importlib
import json
import random
import subprocess
import sys
import threading
import warnings
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torchvision import models

from generator import catalogue
from generator.catalogue import CUSTOM, TRIAL_BATCH, TRIAL_CLASSES, Arch, CatalogueError

ARCHS = catalogue.load()
NAMES = [name for name in ARCHS if name not in catalogue.OTHERS]
SEGMENTERS = [name for name in NAMES if ARCHS[name].kinds == ("segmenter",)]
DETECTORS = [name for name in NAMES if "detector" in ARCHS[name].kinds]
# Those whose layers get images of a size that the service makes.
BY_RULE = {
    rule: [name for name in NAMES if ARCHS[name].size_rule == rule and name not in DETECTORS]
    for rule in ("free", "argument", "fixed")
}

# One of each family: `setdefault` keeps the first variant, which has the fewest parameters.
_first: dict[str, str] = {}
SMALLEST_FREE = [n for n in BY_RULE["free"] if _first.setdefault(ARCHS[n].family, n) == n]


def first_of_families(names: list[str]) -> list[Any]:
    """Return values of a parameter; but for the first of each family they are exhaustive."""
    first: dict[str, str] = {}
    return [
        name
        if first.setdefault(ARCHS[name].family, name) == name
        else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in names
    ]


@cache
def trial(name: str, **kwargs: Any) -> nn.Module:
    """Build the serving network with TRIAL_CLASSES classes on meta; it is shared."""
    return catalogue.meta_model(name, TRIAL_CLASSES, **ARCHS[name].kwargs, **kwargs)


def real(name: str, **kwargs: Any) -> nn.Module:
    """Build the same network with random weights, seeded."""
    torch.manual_seed(0)
    kwargs |= ARCHS[name].kwargs
    model: nn.Module = models.get_model(name, num_classes=TRIAL_CLASSES, **kwargs)
    return model.eval()


def zeros(name: str) -> nn.Module:
    """Build the same network with zeros for weights: quicker, and enough for shapes."""
    model = copy.deepcopy(trial(name)).to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.zero_()
    return model


pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------- the file


def test_reading_imports_no_torch() -> None:
    code = (
        "import sys; from generator import catalogue; archs = catalogue.load();"
        "assert archs['resnet18'].input_size == 224;"
        "assert not {'torch', 'torchvision', 'numpy'} & set(sys.modules)"
    )
    root = Path(catalogue.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_file_is_canonical_with_one_line_per_architecture() -> None:
    text = catalogue.ARCHS_PATH.read_text(encoding="utf-8")
    assert text == catalogue.dumps(ARCHS)
    assert len(text.splitlines()) == len(ARCHS) + 2


def test_file_reads_the_same_as_yaml() -> None:
    text = catalogue.ARCHS_PATH.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == json.loads(text)


def test_every_torchvision_network_of_the_kinds_is_there_in_menu_order() -> None:
    assert sorted(NAMES) == sorted(catalogue.names())
    assert [*catalogue.menu_order({n: ARCHS[n] for n in NAMES}), *catalogue.OTHERS] == list(ARCHS)
    assert ARCHS["custom"] == CUSTOM


def test_every_network_has_its_kinds() -> None:
    assert set(SEGMENTERS) == set(models.list_models(module=models.segmentation))
    assert set(DETECTORS) == set(models.list_models(module=models.detection))
    others = set(NAMES) - set(SEGMENTERS) - set(DETECTORS)
    assert others == set(models.list_models(module=models))
    for name, arch in ARCHS.items():
        if name in NAMES:
            assert arch.module == catalogue.KINDS[arch.kinds[-1]].module
            assert hasattr(importlib.import_module(arch.module), name)
            assert (arch.acc1 is not None) == (name in others)
            assert (arch.miou is not None) == (name in SEGMENTERS)
            assert (arch.box_map is not None) == (name in DETECTORS)
            assert (arch.detection is not None) == (name in DETECTORS)
    assert ARCHS["timm"].kinds == ("classifier",)
    assert ARCHS["huggingface"].kinds == ("text classifier", "text encoder")
    assert set(ARCHS["custom"].kinds) == set(catalogue.KINDS) - {*ARCHS["huggingface"].kinds}


def test_families_stand_together_and_grow() -> None:
    families = [arch.family for arch in ARCHS.values()]
    runs = [family for i, family in enumerate(families) if i == 0 or families[i - 1] != family]
    assert len(runs) == len(set(runs))
    assert set(catalogue.FAMILY_ORDER) == set(runs) - catalogue.OTHERS.keys()
    for family in catalogue.FAMILY_ORDER:
        params = [arch.params for arch in ARCHS.values() if arch.family == family]
        assert params == sorted(params, key=lambda p: p or 0)


def test_unknown_family_comes_after_the_known_ones() -> None:
    archs = {
        "zoo": replace(CUSTOM, family="zoo", params=1),
        "alexnet": ARCHS["alexnet"],
        "bee": replace(CUSTOM, family="bee", params=2),
    }
    assert catalogue.menu_order(archs) == ["alexnet", "bee", "zoo"]


# ------------------------------------------------------------------------ against torchvision, all


# Variants of a family differ in depth and width, and the sizes that they accept take long to find.
@pytest.mark.parametrize("name", first_of_families(NAMES))
def test_entry_is_what_torchvision_says(name: str) -> None:
    assert asdict(catalogue.build_one(name)) == asdict(ARCHS[name])


@pytest.mark.parametrize("name", NAMES)
def test_entry_has_what_the_weights_state(name: str) -> None:
    stated = catalogue.preset(name)
    entry = asdict(ARCHS[name])
    assert stated == {field: entry[field] for field in stated}


@pytest.mark.parametrize("name", NAMES)
def test_parameter_count_is_the_published_one(name: str) -> None:
    published = models.get_model_weights(name).DEFAULT.meta["num_params"]
    params = ARCHS[name].params
    assert params is not None
    if name in SEGMENTERS and ARCHS[name].aux:  # which is counted in what is published
        network = catalogue.meta_model(name, 21, **ARCHS[name].kwargs, aux_loss=True)
        params += sum(x.numel() for x in network.get_submodule(ARCHS[name].aux[0]).parameters())
    if name in DETECTORS and params != published:  # whose normalisations are frozen there
        modules = trial(name).modules()
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        params -= sum(x.numel() for module in norms for x in module.parameters())
    # What is published for inception_v3 counts its auxiliary head, for googlenet it does not.
    assert params < published if name == "inception_v3" else params == published


@pytest.mark.parametrize("name", NAMES)
def test_only_the_first_convolution_sees_the_image(name: str) -> None:
    arch = ARCHS[name]
    convolutions = {k: m for k, m in trial(name).named_modules() if type(m) is nn.Conv2d}
    assert next(iter(convolutions)) == arch.first_conv
    assert [k for k, m in convolutions.items() if m.in_channels == 3] == [arch.first_conv]


# The trials of `build_one` skip normalisations; these do not.
@pytest.mark.parametrize("name", SMALLEST_FREE)
def test_free_sizes_start_at_min_size(name: str) -> None:
    model = trial(name)
    smallest = ARCHS[name].min_size
    assert ARCHS[name].size_step == 1
    assert catalogue.accepts(model, smallest)
    assert smallest == 1 or not catalogue.accepts(model, smallest - 1)


@pytest.mark.parametrize("name", BY_RULE["argument"])
def test_sizes_by_argument_are_multiples_and_exact(name: str) -> None:
    arch = ARCHS[name]
    assert arch.input_size % arch.size_step == 0
    model = trial(name, image_size=arch.min_size)
    assert catalogue.accepts(model, arch.min_size)
    assert not catalogue.accepts(model, arch.min_size + arch.size_step)
    assert catalogue.accepts(trial(name, image_size=arch.input_size), arch.input_size)
    with pytest.raises(AssertionError):
        trial(name, image_size=arch.min_size + 1)


@pytest.mark.parametrize("name", BY_RULE["fixed"])
def test_fixed_size_is_the_only_one_promised(name: str) -> None:
    arch = ARCHS[name]
    model = trial(name)
    assert arch.min_size == arch.input_size
    assert catalogue.accepts(model, arch.input_size)
    for other in (32, 128, 192, 225, 256, 448):
        assert not catalogue.accepts(model, other)


def test_what_a_detector_is_built_with_is_known() -> None:
    for name in DETECTORS:
        network: Any = trial(name)
        known = ARCHS[name].detection
        assert known is not None
        assert ARCHS[name].input_size == network.transform.min_size[-1]
        for head in known["heads"]:
            assert isinstance(network.get_submodule(head), nn.Module)
        arguments = dict(zip(known["arguments"], (0.125, 0.25, 7), strict=True))
        other: Any = trial(name, **arguments)
        holder = getattr(other, "roi_heads", other)
        assert [getattr(holder, key) for key in catalogue.LIMITS] == [0.125, 0.25, 7]
    with_eps = {name for name in DETECTORS if (ARCHS[name].detection or {})["coco_eps"]}
    assert with_eps == {
        f"{family}_resnet50_fpn"
        for family in ("fasterrcnn", "keypointrcnn", "maskrcnn", "retinanet")
    }


# --------------------------------------------------------------------- the meta device and reality


@pytest.mark.parametrize(
    "name",
    ["alexnet", "convnext_tiny", "densenet121", "googlenet", "squeezenet1_1", "swin_t", "vgg11"],
)
def test_real_networks_accept_what_meta_networks_accept(name: str) -> None:
    smallest = ARCHS[name].min_size
    model = zeros(name)
    assert not catalogue.accepts(model, smallest - 1)
    assert catalogue.accepts(model, smallest)
    assert catalogue.accepts(model, smallest + 7)


@pytest.mark.parametrize("name", ["resnet18", "mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf"])
def test_one_pixel_is_enough_in_reality_where_the_catalogue_says_so(name: str) -> None:
    assert ARCHS[name].min_size == 1
    logits = real(name)(torch.rand(TRIAL_BATCH, 3, 1, 1))
    assert logits.shape == (TRIAL_BATCH, TRIAL_CLASSES)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["resnet18", "swin_v2_t", "regnet_x_400mf"])
def test_meta_model_takes_real_weights_and_computes_the_same(name: str) -> None:
    source = real(name)
    target = copy.deepcopy(trial(name))
    target.load_state_dict(source.state_dict(), assign=True)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(target(images), source(images))


# ----------------------------------------------------------------------------- the meta builder


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf", "swin_v2_t", "vit_b_32"])
def test_meta_model_is_all_meta_and_like_the_real_one(name: str) -> None:
    expected = {k: (v.shape, v.dtype) for k, v in real(name).state_dict().items()}
    model = trial(name)
    state = model.state_dict()
    assert {k: (v.shape, v.dtype) for k, v in state.items()} == expected
    assert {v.device.type for v in state.values()} == {"meta"}
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())


def test_meta_model_leaves_nothing_behind_even_when_it_fails() -> None:
    with pytest.raises(AssertionError):
        catalogue.meta_model("vit_b_32", 2, image_size=33)
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_meta_model_leaves_other_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def other_thread() -> None:
        devices.extend(t.device.type for t in nn.BatchNorm2d(2).state_dict().values())

    def get_model(name: str, **kwargs: Any) -> nn.Module:
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        return nn.Linear(1, kwargs["num_classes"])

    monkeypatch.setattr(models, "get_model", get_model)
    assert catalogue.meta_model("any", 3).weight.device.type == "meta"
    assert set(devices) == {"cpu"}


# ------------------------------------------------------------------------------ serving networks


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_serving_networks_have_no_auxiliary_heads_and_no_surprises(name: str) -> None:
    arch = ARCHS[name]
    assert arch.aux
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = catalogue.meta_model(name, TRIAL_CLASSES, **arch.kwargs)
        training = catalogue.meta_model(name, TRIAL_CLASSES, init_weights=False)
    assert vars(model)["transform_input"] is False
    left = {key.split(".")[0] for key in set(training.state_dict()) - set(model.state_dict())}
    assert left == set(arch.aux)
    assert set(model.state_dict()) < set(training.state_dict())


def test_only_classifiers_with_auxiliary_heads_need_arguments() -> None:
    found = {n for n in ARCHS if ARCHS[n].kwargs or ARCHS[n].aux}
    assert found - set(SEGMENTERS) - set(DETECTORS) == {"googlenet", "inception_v3"}


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_download_nothing_and_have_no_auxiliary_head(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    arch = ARCHS[name]
    options = {"aux_loss": True} if arch.aux else {}
    training = catalogue.meta_model(name, TRIAL_CLASSES, **arch.kwargs, **options)
    left = {key.split(".")[0] for key in set(training.state_dict()) - set(trial(name).state_dict())}
    assert left == set(arch.aux) == ({"aux_classifier"} if not name.startswith("lraspp") else set())
    layer = trial(name).get_submodule(arch.classifier)
    assert isinstance(layer, nn.Conv2d)
    assert (layer.in_channels, layer.kernel_size) == (arch.classifier_in, (1, 1))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_give_logits_for_each_pixel(name: str) -> None:
    images = torch.zeros(2, 3, 96, 64, device="meta")
    logits = trial(name)(images)["out"]
    assert logits.shape == (2, TRIAL_CLASSES, 96, 64)
    assert logits.ndim == catalogue.KINDS["segmenter"].dimensions


# -------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet50", "resnet"),
        ("wide_resnet50_2", "wide_resnet"),
        ("resnext101_64x4d", "resnext"),
        ("regnet_x_1_6gf", "regnet"),
        ("efficientnet_b0", "efficientnet"),
        ("efficientnet_v2_s", "efficientnet_v2"),
        ("mobilenet_v2", "mobilenet_v2"),
        ("mobilenet_v3_large", "mobilenet_v3"),
        ("shufflenet_v2_x0_5", "shufflenet_v2"),
        ("swin_t", "swin"),
        ("swin_v2_t", "swin_v2"),
        ("inception_v3", "inception"),
        ("vgg11_bn", "vgg"),
        ("vit_l_32", "vit"),
        ("deeplabv3_mobilenet_v3_large", "deeplabv3"),
        ("fcn_resnet50", "fcn"),
        ("lraspp_mobilenet_v3_large", "lraspp"),
        ("ssd300_vgg16", "ssd"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn"),
    ],
)
def test_family(name: str, family: str) -> None:
    assert catalogue.family_of(name) == family


def test_smallest_accepted_finds_every_threshold() -> None:
    rng = random.Random(3)
    for limit in (1, 2, 3, 28, 224, 299):
        for threshold in {1, limit, *(rng.randint(1, limit) for _ in range(20))}:
            assert catalogue.smallest_accepted(threshold.__le__, limit) == threshold


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ({*range(32), 448}, "not every greater size"),
        ({*range(32), 33}, "not every greater size"),
        ({*range(225)}, "refuses the size of its own preset"),
    ],
)
def test_sizes_without_order_are_refused(
    monkeypatch: pytest.MonkeyPatch, refused: set[int], message: str
) -> None:
    monkeypatch.setattr(catalogue, "accepts", lambda model, size: size not in refused)
    with pytest.raises(CatalogueError, match=message):
        catalogue.sizes("alexnet", 224)


# -------------------------------------------------------------------------------------- writing


def test_write_replaces_only_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archs: dict[str, Arch] = {"resnet18": ARCHS["resnet18"], "custom": CUSTOM}
    monkeypatch.setattr(catalogue, "build", lambda: archs)
    path = tmp_path / "archs.json"
    assert catalogue.write(path)
    assert catalogue.load(path) == archs
    assert not catalogue.write(path)
    archs["resnet18"] = replace(archs["resnet18"], input_size=64)
    assert catalogue.write(path)
    assert catalogue.load(path)["resnet18"].input_size == 64
    assert [p.name for p in tmp_path.iterdir()] == ["archs.json"]


def test_write_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archs.json"
    path.write_text("old")

    def broken(self: Path, target: Path) -> Path:
        raise OSError("no space")

    monkeypatch.setattr(catalogue, "build", lambda: {"custom": CUSTOM})
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        catalogue.write(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["archs.json"]


def test_load_refuses_unknown_fields(tmp_path: Path) -> None:
    path = tmp_path / "archs.json"
    path.write_text(json.dumps({"custom": {**asdict(CUSTOM), "colour": 1}}))
    with pytest.raises(TypeError, match="colour"):
        catalogue.load(path)
