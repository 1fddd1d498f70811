"""Reads what lies beside weights from the Hugging Face Hub: config.json, preprocessor_config.json.

A folder that `save_pretrained` wrote says what network it has, which classes, and how images are
prepared. A network of transformers is built by transformers itself, from the numbers in
config.json; of timm's, config.json has the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generator.inspection.class_names import ClassNames, find_names
from generator.inspection.refusals import RefusedFileError
from generator.inspection.settings import BESIDE, arguments, numbers, size_of, text
from generator.inspection.signatures import timm_transforms
from generator.inspection.training import Training, timm_network, unlike_images
from generator.inspection.unread import unread_in

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
PROCESSORS = "processor_config.json"  # of several kinds of input; transformers 5 writes it
CHECKPOINT = re.compile(r"checkpoint-\d+")  # folders of Trainer, whose own has the processor
# Settings of a preprocessor that are shown, each up to so many characters.
SHOWN = re.compile(r"do_|size$|crop_size$|image_(mean|std)$|resample$")
MAX_SHOWN = 60
MAX_BYTES = 2_000_000  # of a config; a thousand classes take 60 KB

CLASSIFIER = re.compile(r"(?!TimmWrapper)(\w+)ForImageClassification(WithTeacher)?")
# Of config.json, what does not describe the network.
OTHER_KEYS = re.compile(
    r"_.*|architectures|auto_map|id2label|label2id|num_labels|(torch_)?dtype|transformers_version"
    r"|model_type|problem_type|output_(attentions|hidden_states)|return_dict|use_cache"
    r"|stage_names|out_features|out_indices"
    r"|finetuning_task|chunk_size_feed_forward|.*_token_id"
)
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # of Pillow
# What prepares images by nothing but its settings: scale, cut out, normalise. Others do more,
# whatever their settings say: MobileViT's turns colours around, Levit's scales by 256/224.
KIND = re.compile(r"(.*?)(ImageProcessor(Fast|Pil)?|FeatureExtractor)")
KINDS = frozenset(
    ("", "ViT", "DeiT", "Beit", "ConvNext", "ConvNeXT", "Bit", "Pvt", "MobileNetV1", "MobileNetV2")
) | {"CLIP", "Siglip"}
# Those for which one number as size is the shorter side; for others it is both.
SHORTER = frozenset(("Bit", "CLIP", "MobileNetV1", "MobileNetV2"))
# Those whose missing settings are taken here as ViT's are; others have others, by their release.
DEFAULTS = frozenset(("", "ViT"))
CROPS = SHORTER | {"Beit", "DeiT"}  # that may cut out, whether they say so or not
SETTINGS = re.compile(  # that are read here, or change no number
    r"size|crop_size|do_(resize|center_crop|rescale|normalize)|image_(mean|std)|resample"
    r"|rescale_factor|(image_processor|feature_extractor)_type|processor_class|_.*|do_convert_rgb"
    r"|(do_)?reduce_labels|data_format|input_data_format|return_tensors|device|default_to_square"
)
SQUARE_FROM = 384  # pixels, from which on ConvNext's preparation cuts nothing off


@dataclass(frozen=True)
class Hub:
    """What lies beside the weights of a classifier of transformers.

    Attributes:
        network: its class in transformers.
        answers: that follow, the transforms among them if the folder has them.
        model: the text of service/model.py.
        labels: config.json, if it names the classes.
        problem: why the images cannot be prepared as the folder has it, "" if they can.
    """

    network: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    labels: Path | None = None
    problem: str = ""


def weights_of(folder: Path) -> Path | None:
    """Return the weights in a folder of the Hub's form; None if it is none.

    Raises:
        RefusedFileError: They are there in several files.
    """
    if not (folder / CONFIG).is_file():
        return None
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
        if (folder / f"{name}.index.json").is_file():
            raise RefusedFileError(
                f'{folder} has its weights in several files; join them: python -c "from '
                "transformers import AutoModelForImageClassification as A; A.from_pretrained("
                f"'{folder}').save_pretrained('{folder}-whole', max_shard_size='99GB')\""
            )
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, {} if it is missing, too large, or holds no mapping."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def timm_training(weights: Path) -> Training:
    """Return what the config.json of timm beside weights tells; nothing if there is none.

    Raises:
        RefusedFileError: It is a regression.
    """
    config = read_json(weights.with_name(CONFIG)) if weights.name in WEIGHTS else {}
    name, preset = text(config.get("architecture")), config.get("pretrained_cfg")
    if not name or not isinstance(preset, dict):
        return Training()
    if config.get("problem_type") == "regression":
        raise RefusedFileError(f"{weights.parent} is a regression, which no task serves")
    tagged = f"{name}.{preset.get('tag')}"
    mean, std = numbers(preset.get("mean")), numbers(preset.get("std"))
    crop = preset.get("crop_pct")
    before = weights.with_name("preprocess.json")  # of animetimm, with transforms of its own
    return Training(
        where=CONFIG,
        script="timm",
        network=tagged if tagged in timm_transforms() else name,
        image_size=size_of(preset.get("input_size")) or None,
        crop_pct=float(crop) if isinstance(crop, int | float) else None,
        mean=mean if std else (),
        std=std if mean else (),
        interpolation=text(preset.get("interpolation")),
        of_network=timm_network(config),
        of_images=", ".join([*unlike_images(preset), *(x.name for x in [before] if x.is_file())]),
        unread=tuple(unread_in(preset)),
        labels=tuple(
            (f"{CONFIG}.{key}", text(config[key]))
            for key in ("problem_type", "model_type")
            if key in config
        ),
    )


def settings_beside(weights: Path) -> dict[str, Any]:
    """Return what the files of settings beside weights hold, by their names.

    So doctr and the mixins of huggingface_hub keep what a network was built and trained with, timm
    its arguments and Lightning its hyperparameters. A config.json of transformers or timm is read
    elsewhere.
    """
    found = {}
    for name in BESIDE:
        path = weights.with_name(name)
        content = read_json(path) if path.suffix == ".json" else read_yaml(path)
        if content and not {"model_type", "architectures", "pretrained_cfg"} & content.keys():
            found[name] = content
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds, {} if it is missing, too large, or holds no mapping."""
    try:
        is_small = path.is_file() and path.stat().st_size <= MAX_BYTES
        return arguments(path.read_text(encoding="utf-8")) if is_small else {}
    except (OSError, ValueError):
        return {}


def names_beside(weights: Path) -> tuple[ClassNames, ...]:
    """Return the names of the classes in the config.json of timm beside weights."""
    found = find_names(read_json(weights.with_name(CONFIG)))
    return tuple(
        replace(one, place=f"{CONFIG}.{one.place}")
        for one in found
        if one.names != tuple(f"LABEL_{number}" for number in range(len(one.names)))
    )


def processor_of(weights: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return what prepares images for weights of transformers, and its file; None without one."""
    folder = weights.parent
    folders = [folder, folder.parent] if CHECKPOINT.fullmatch(folder.resolve().name) else [folder]
    for place in folders if weights.name in WEIGHTS else ():
        if (path := place / PROCESSOR).is_file():
            return path, read_json(path)
        several = read_json(place / PROCESSORS).get("image_processor")
        if isinstance(several, dict):
            return place / PROCESSORS, several
    return None


def images_of(weights: Path) -> str:
    """Return how images are prepared, as the file beside weights has it, for people; "" without."""
    _, found = processor_of(weights) or ("", {})
    shown = {name: x for name, x in found.items() if SHOWN.match(name) and x is not None}
    return ", ".join(f"{name}={json.dumps(x)}"[:MAX_SHOWN] for name, x in sorted(shown.items()))


def hub_of(weights: Path) -> Hub | None:
    """Return what lies beside weights of a classifier of transformers; None for any other.

    Raises:
        RefusedFileError: It is a regression.
    """
    config = read_json(weights.with_name(CONFIG)) if weights.name in WEIGHTS else {}
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        return None
    network = names[0]
    match = CLASSIFIER.fullmatch(network)
    if match is None or "auto_map" in config:  # the latter brings code of its own
        return None
    classes = config.get("id2label")
    count = len(classes) if isinstance(classes, dict) else config.get("num_labels", 2)
    are_names = isinstance(classes, dict) and classes != {
        str(number): f"LABEL_{number}" for number in range(len(classes))
    }
    channels = config.get("num_channels", 3)
    answers: dict[str, Any] = {
        "architecture": "custom",
        "num_classes": count,
        "color_mode": "L" if channels == 1 else "RGB",
        "weights": "safetensors",
        "model_output": "logits",
    }
    problem_type = config.get("problem_type")
    if problem_type == "regression" or (count == 1 and problem_type is None):
        raise RefusedFileError(
            f"{weights.parent} is a regression (num_labels {count}, problem_type {problem_type}), "
            "which no task of this template serves"
        )
    if isinstance(problem_type, str):
        answers["task"] = problem_type
    if (found := processor_of(weights)) is None:
        problem = f"{weights.parent} has no {PROCESSOR}, which tells how images are prepared"
    elif unlike := refused_setting(found[1]):
        problem = f"{found[0]} prepares images in a way that answers do not have ({unlike})"
    else:
        problem = ""
        answers |= transforms_of(found[1])
    if problem:
        problem += (
            "; name one that is the same: -d transforms=custom -d image_size=224 "
            "-d resize_mode=stretch -d mean='[0.5]' -d std='[0.5]'"
        )
    return Hub(
        network=network,
        answers=answers,
        model=model_file(network, match[1], config),
        labels=weights.with_name(CONFIG) if are_names else None,
        problem=problem,
    )


def model_file(network: str, family: str, config: Mapping[str, Any]) -> str:
    """Return the text of a service/model.py that has transformers build the network."""
    shown = {key: x for key, x in config.items() if not OTHER_KEYS.fullmatch(key)}
    lines = [f"    {json.dumps(key)}: {python(value)}," for key, value in sorted(shown.items())]
    imports = ", ".join(sorted({f"{family}Config", network}, key=str.lower))
    return "\n".join(
        [
            f'"""The network: {network} of transformers."""',
            "",
            "from typing import Any",
            "",
            "from torch import Tensor, nn",
            f"from transformers import {imports}",
            "",
            "CONFIG: dict[str, Any] = {",
            *lines,
            "}",
            "",
            "",
            f"class Network({network}):",
            '    """Returns the scores alone."""',
            "",
            "    def forward(self, images: Tensor) -> Tensor:",
            '        """Return scores (N, classes) of images (N, C, H, W)."""',
            "        scores: Tensor = super().forward(images).logits",
            "        return scores",
            "",
            "",
            "def build_model(num_classes: int) -> nn.Module:",
            '    """Return the untrained network."""',
            f"    return Network({family}Config(num_labels=num_classes, **CONFIG))",
            "",
        ]
    )


def python(value: Any) -> str:
    """Return a value of JSON as Python has it, in double quotes."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(python, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {python(x)}" for k, x in value.items()) + "}"
    return repr(value)


# ------------------------------------------------------------------------------------ the images


def refused_setting(found: Mapping[str, Any]) -> str:
    """Return the setting of a preprocessor_config.json that no answers have, "" without one."""
    kind, factor = kind_of(found), found.get("rescale_factor", 1 / 255)
    if kind not in KINDS:
        return f"image_processor_type {found.get('image_processor_type') or kind}"
    for name, value in found.items():
        is_share = name == "crop_pct" and is_convnext(kind)
        if value and not (SETTINGS.fullmatch(name) or is_share):
            return f"{name} {json.dumps(value)}"
    for name in ("do_resize", "do_rescale"):
        if not found.get(name, True):
            return f"{name} false"
    if not isinstance(factor, int | float) or abs(factor * 255 - 1) > 1e-3:
        return f"rescale_factor {factor}"
    if found.get("resample", 2) not in RESAMPLE:
        return f"resample {found['resample']}"
    needed = set() if kind in DEFAULTS else {"resample"}
    needed |= {"do_center_crop"} if kind in CROPS else set()
    if kind not in DEFAULTS and found.get("do_normalize", True):
        needed |= {"image_mean", "image_std"}
    if missing := sorted(needed - found.keys()):
        return f"no {missing[0]}"
    if "crop_size" in found and "do_center_crop" not in found:
        return "crop_size without do_center_crop"
    if found.get("do_normalize", True) and not (normal(found, "mean") and normal(found, "std")):
        return f"image_mean {found.get('image_mean')}, image_std {found.get('image_std')}"
    mode, resize, image = sides(found)
    if not (mode and image and resize >= image):
        crop = f", crop_size {json.dumps(found['crop_size'])}" if found.get("crop_size") else ""
        return f"size {json.dumps(found.get('size'))}{crop}"
    return ""


def transforms_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers that a preprocessor_config.json without refused settings comes down to."""
    mode, resize, image = sides(found)
    is_plain = not found.get("do_normalize", True)
    return {
        "transforms": "custom",
        "image_size": image,
        "resize_mode": mode,
        "resize_size": resize,
        "mean": [0.0] if is_plain else list(normal(found, "mean")),
        "std": [1.0] if is_plain else list(normal(found, "std")),
        "interpolation": RESAMPLE[found.get("resample", 2)],
    }


def kind_of(found: Mapping[str, Any]) -> str:
    """Return what prepares images, without the end of its name."""
    kind = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    match = KIND.fullmatch(kind)
    return match[1] if match else kind


def is_convnext(kind: str) -> bool:
    """Tell whether images are prepared as ConvNext's are, by a share that is cut out."""
    return kind.lower() == "convnext"


def normal(found: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Return the mean or std of each channel, () if they are no numbers."""
    return numbers(found.get(f"image_{name}", [0.5] * 3))


def sides(found: Mapping[str, Any]) -> tuple[str, int, int]:
    """Return resize_mode, resize_size and image_size; zeros if the sizes are none of those."""
    size, crop = found.get("size"), found.get("crop_size")
    shorter = side_of(size, "shortest_edge")
    square, number = side_of(size, "height", "width"), size if type(size) is int else 0
    kind = kind_of(found)
    if kind in SHORTER or found.get("default_to_square") is False:
        shorter = shorter or number
    else:
        square = square or number
    if is_convnext(kind):
        image = shorter or square
        share = found.get("crop_pct") or 224 / 256
        return (
            ("stretch", image, image)
            if image >= SQUARE_FROM
            else ("crop", int(image / share), image)
        )
    if found.get("do_center_crop") and crop:
        image = side_of(crop, "height", "width") or (crop if type(crop) is int else 0)
        return ("stretch", square, image) if square else ("crop", shorter, image)
    return ("stretch", square, square) if square else ("", 0, 0)


def side_of(size: Any, *names: str) -> int:
    """Return the side that a mapping gives under these names, 0 if they do not agree on one."""
    sides = {size.get(name) for name in names} if isinstance(size, dict) else set()
    side = sides.pop() if len(sides) == 1 else 0
    return side if type(side) is int else 0
