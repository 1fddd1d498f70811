"""What may tell how images were prepared is asked, whatever it is called; what does not is not.

The layouts are those of public training scripts, with other numbers.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from test_training_settings import STATE, save

from conftest import slow
from generator.inspection import inspect_file
from inspected import hollow
from test_new import new

PAIR = {"mean": [0.2, 0.3, 0.4], "std": [0.1, 0.1, 0.1]}


ASKED: dict[str, Any] = {
    "a group of its own": {"transform_params": {"img_size": 96, **PAIR}},
    "of a colour order": {"config": {"input_format": "BGR"}},
    "a switch of the order": {"config": {"use_bgr": True}},
    "other colours": {"config": {"input": {"color_space": "HSV"}}},
    "OpenMMLab's, as a dict": {
        "config": {"data_preprocessor": {"mean": [103.5, 116.3, 123.7], "bgr_to_rgb": False}}
    },
    "of steps": {
        "config": {
            "augmentations": {
                "train": [{"name": "HorizontalFlip"}],
                "valid": [{"name": "Resize", "height": 96, "width": 96}],
            }
        }
    },
    "of a range": {"config": {"value_range": [-1, 1]}},
    "of each image": {"config": {"per_image_standardization": True}},
    "a factor": {"config": {"rescale_factor": 1 / 127.5}},
    "no division": {"config": {"div255": False}},
    "both in one": {"config": {"stats": ([0.2, 0.3, 0.4], [0.1, 0.1, 0.1])}},
    "a size of another name": {"config": {"resize_shape": [96, 96]}},
    "in a text of YAML": {"cfg": yaml.dump({"INPUT": {"FORMAT": "BGR"}, "TEST": {"SIZE": 9}})},
    "averages of crops": {"config": {"use_tta": True}},
}


@pytest.mark.parametrize("name", ASKED)
def test_what_may_tell_of_images_is_not_passed_over(name: str, tmp_path: Path) -> None:
    (group,) = ASKED[name]
    unread = inspect_file(save(tmp_path, **ASKED[name])).training.unread
    assert unread and all(one.name.startswith(f"{group}.") for one in unread)


def test_it_is_asked(tmp_path: Path) -> None:
    save(tmp_path, config={"input": {"format": "BGR"}})
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert "settings that may tell how images are prepared" in refused.stderr
    assert "\n    config.input.format: 'BGR'\nAnswer color_mode yourself" in refused.stderr
    assert not (tmp_path / "made").exists()


def test_a_size_that_the_weights_tell_is_not_asked(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = hollow(torchvision.models.vit_b_32(image_size=96, num_classes=3)).state_dict()
    for size, count in ((96, 0), (128, 1)):
        content = {"state_dict": state, "config": {"model": {"image_size": size}}}
        torch.save(content, tmp_path / "x.pth")
        assert len(inspect_file(tmp_path / "x.pth").training.unread) == count


READ: dict[str, tuple[Any, dict[str, Any]]] = {
    "target_size": ({"target_size": (96, 96)}, {"image_size": 96}),
    "of the data set": ({"dataset_mean": PAIR["mean"], "dataset_std": PAIR["std"]}, PAIR),
    "im_size": ({"config": {"im_size": 96}}, {"image_size": 96}),
    "a height and a width": ({"config": {"IMG_H": 96, "IMG_W": 96}}, {"image_size": 96}),
    "a Namespace as a text": (
        {"args": str(argparse.Namespace(img_size=96, **PAIR))},
        {"image_size": 96, **PAIR},
    ),
    "JSON": ({"args": json.dumps({"img_size": 96, **PAIR})}, {"image_size": 96, **PAIR}),
    "pycls": (
        {"cfg": "TEST:\n  IM_SIZE: 96\nDATA:\n  MEAN: [0.2, 0.3, 0.4]\n"},
        {"image_size": 96},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_written_otherwise_is_read(name: str, tmp_path: Path) -> None:
    content, answers = READ[name]
    training = inspect_file(save(tmp_path, **content)).training
    found = {key: getattr(training, key) for key in answers}
    assert {key: list(x) if isinstance(x, tuple) else x for key, x in found.items()} == answers


NO_ALARM: dict[str, Any] = {
    "sizes of other things": {
        "config": {"patch_size": 16, "batch_size": 64, "eval_batch_size": 256, "hidden_size": 512},
        "params": {"window_size": [7, 7], "val_size": 0.2, "input_dim": 784, "crop_ratio": [1, 2]},
    },
    "of a network": {"hparams": {"net": {"input_size": 784, "mean_pool": True}}},
    "of ImageNet": {
        "config": {"stats": [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], "bgr_to_rgb": True}
    },
    "of training": {
        "optimizer": {"param_groups": [{"lr": 0.1}]},
        "config": {"train_transforms": [{"name": "RandomCrop"}], "loss": {"means": [1, 2, 3]}},
        "history": {"val_size": [64, 64]},
    },
    "of what is told": {"config": {"img_size": 96}, "extra": {"input_res": 96}},
    "as usual": {
        "config": {"rescale": 1 / 255, "div255": True, "value_range": [0, 1], "resample": 2}
    },
    "a text": {"config": "configs/resnet18.yaml", "notes": "trained:\nfor a week & more"},
}


@pytest.mark.parametrize("name", NO_ALARM)
def test_what_is_of_something_else_is_not_asked(name: str, tmp_path: Path) -> None:
    assert inspect_file(save(tmp_path, **NO_ALARM[name])).training.unread == ()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", json.dumps({"img_size": 96, **PAIR})),
        ("args.yaml", yaml.dump({"img_size": 96, **PAIR})),
        slow("hparams.yaml", yaml.dump({"data": {"img_size": 96, **PAIR}})),
    ],
)
def test_a_file_of_settings_beside_the_weights_is_read(
    file: str, text: str, tmp_path: Path
) -> None:
    torch.save(STATE, tmp_path / "x.pth")
    (tmp_path / file).write_text(text)
    training = inspect_file(tmp_path / "x.pth").training
    assert (training.image_size, [*training.mean], [*training.std]) == (96, *PAIR.values())
    assert training.where.startswith(file)


def test_averages_without_names_are_not_passed_over(tmp_path: Path) -> None:
    averages = [torch.zeros(2), torch.zeros(3)]
    save(tmp_path, ema={"decay": 0.999, "shadow_params": averages, "collected_params": None})
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert "tells under ema.shadow_params of averaged weights" in refused.stderr
    assert "-d checkpoint_key=state_dict" in refused.stderr
    words = ("--defaults", "-d", "checkpoint_key=state_dict", "-d", "backend=eager")
    assert new(tmp_path, "made", "--weights", "x.pth", *words).returncode == 0


def test_the_line_for_one_of_a_list_of_weights_writes_it(tmp_path: Path) -> None:
    torch.save([{"epoch": 3}, STATE, STATE], tmp_path / "folds.pth")
    refused = new(tmp_path, "made", "--weights", "folds.pth", "--defaults")
    assert refused.returncode == 1
    assert "folds.pth is a list of 3, of which 2 have weights of a network" in refused.stderr
    code = refused.stderr.partition("python -c ")[2].strip()
    subprocess.run([sys.executable, "-c", *shlex.split(code)], cwd=tmp_path, check=True)
    assert torch.load(tmp_path / "weights.pth").keys() == STATE.keys()


def test_names_in_a_set_have_no_order(tmp_path: Path) -> None:
    save(tmp_path, classes={"zebra", "ant", "cow"})
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1
    assert "tells under classes of names in a set, which has no order" in refused.stderr
    (tmp_path / "labels.txt").write_text("ant\ncow\nzebra\n")
    words = ("--labels", "labels.txt", "--defaults", "-d", "backend=eager")
    assert new(tmp_path, "made", "--weights", "x.pth", *words).returncode == 0


def test_numbers_of_classes_are_their_names(tmp_path: Path) -> None:
    (found,) = inspect_file(save(tmp_path, classes=[3, 7, 12])).class_names
    assert found.names == ("3", "7", "12")
    assert inspect_file(save(tmp_path, classes=[0, 1, 2])).class_names == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"optimal_temperature": 2.5}, "scores go through optimal_temperature=2.5"),
        slow({"logit_adjustment": [1.5, -0.5, 0.1]}, "scores go through logit_adjustment="),
        slow({"class_order": [2, 1, 0]}, "scores go through class_order=[2, 1, 0]"),
        ({"decision_threshold": 0.05}, "a threshold of 0.05"),
        slow({"metadata": {"classifier_threshold": 0.83}}, "a threshold of 0.83"),
        slow({"confidence_threshold": 0.7}, "a threshold of 0.7"),
        ({"emb_dim": 3, "classes": ["a", "b"]}, "under emb_dim of embeddings of 3 numbers"),
    ],
)
def test_what_is_done_to_scores_is_asked(
    content: dict[str, Any], said: str, tmp_path: Path
) -> None:
    save(tmp_path, **content)
    refused = new(tmp_path, "made", "--weights", "x.pth", "--defaults")
    assert refused.returncode == 1, refused.stdout
    assert said in refused.stderr


def test_an_order_that_changes_nothing_is_not_asked(tmp_path: Path) -> None:
    save(tmp_path, class_order=[0, 1, 2])
    assert inspect_file(tmp_path / "x.pth").must_answer == {}


DEEP: list[Any] = []
DEEP.append(DEEP)
HARMFUL: dict[str, Any] = {
    "a text that nests": {"cfg": "a:\n" + "[\n" * 40_000},
    "a call that nests": {"args": "Namespace(a=" + "(" * 40_000},
    "an operation": {"args": "Namespace(img_size=96) + 1"},
    "a key that is a list": {"args": "Namespace(a={[]: 1})"},
    "a time that is none": {"cfg": "a: !!timestamp x\nimg_size: 96\n"},
    "a switch that is none": {"cfg": "a: !!bool x\nimg_size: 96\n"},
    "a number that is none": {"cfg": "a: !!int ''\nimg_size: 96\n"},
    "a list in itself": {"config": {"stats": DEEP, "norm_stats": [DEEP, DEEP]}},
    "numbers without an end": {
        "config": {"stats": [10**5000] * 3, "img_scale": 10**5000, "rescale": float("nan")}
    },
    "objects in a text": {"cfg": "a: !!python/object/apply:os.abort []\nimg_size: 96\n"},
}


@pytest.mark.parametrize("name", HARMFUL)
def test_settings_that_are_made_to_do_harm_do_none(name: str, tmp_path: Path) -> None:
    assert inspect_file(save(tmp_path, **HARMFUL[name])).architecture == "resnet18"
