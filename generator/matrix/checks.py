"""What must hold of each file of a project, and of the set of them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from generator import catalogue, facts

# What every project has. The rest is listed with the thing that brings it.
FILES = frozenset(
    {
        ".copier-answers.yml",
        ".gitignore",
        "NOTES.md",
        "README.md",
        "archive.py",
        "benchmark.py",
        "config.properties",
        "model-config.yaml",
        "predict.py",
        "pyproject.toml",
        "requirements-own.txt",
        "requirements.txt",
        "serve.py",
        "service/__init__.py",
        "service/cores.py",
        "service/handler.py",
        "service/loading.py",
        "service/model.py",
        "service/response.py",
        "service/task.py",
        "tests/test_smoke.py",
        "tools/__init__.py",
        "tools/checkpoint.py",
        "tools/inprocess.py",
        "tools/launcher.py",
        "tools/load.py",
        "tools/outputs.py",
        "tools/ports.py",
        "tools/profiling.py",
        "tools/project.py",
        "tools/properties.py",
        "tools/samples.py",
        "tools/server_log.py",
        "tools/settings.py",
        "tools/torchserve.py",
        "tools/trial.py",
        "tools/tuning.py",
        "tune.py",
        "weights/.gitkeep",
    }
)

# Where archive.py makes something else of the weights, and compares it with them.
DEMO = {
    "demo.py",
    *(
        f"demo/{name}"
        for name in ("index.html", "input.js", "page.js", "prediction.js", "style.css")
    ),
}
EVALUATION = {"evaluate.py", "tools/dataset.py", "tools/evaluation.py", "tools/report.py"}
TRAINING = {
    "tools/dataset.py",
    "train.py",
    *(
        f"training/{name}.py"
        for name in ("__init__", "data", "labels", "loop", "run", "start", "task")
    ),
}
CONVERTED = frozenset(
    f"tools/{name}.py" for name in ("comparison", "conversion", "examples", "trained")
)


def compares_preprocessing(answers: Mapping[str, Any]) -> bool:
    """Tell whether a service brings images to one size itself, by code that the project has."""
    task = facts.tasks()[answers["task"]]
    if "preprocessing" in task or "preprocessing.py" in answers["own_files"]:
        return False
    mode = answers["resize_mode"] if answers["transforms"] == "custom" else task["resize_modes"][0]
    return bool(answers["transforms"] == "to_tensor" or mode != "shorter_side")


def compares_scoring(answers: Mapping[str, Any]) -> bool:
    """Tell whether a service makes predictions of scores itself, by code that is not the user's."""
    task = facts.tasks()[answers["task"]]
    return bool(task["has_labels"]) and "response.py" not in answers["own_files"]


def expected_files(answers: Mapping[str, Any]) -> frozenset[str]:
    """Return the exact files of a project, as paths with slashes."""
    task = facts.tasks()[answers["task"]]
    item = facts.inputs()[task["input"]]
    label = facts.labels()[answers.get("label_format", "none")]
    checkpoint = facts.checkpoints()[answers["weights"]]
    targets = [facts.targets()[name] for name in answers["deploy"]]
    source = answers["architecture"].partition("/")[0]  # as in timm/resnet18
    files = set(FILES) | set(item["brings"])
    if label["file"]:
        files.add(label["file"])
    if label["modules"]:
        files |= {f"tools/label_files/{name}.py" for name in ("__init__", *label["modules"])}
    if task["has_labels"]:
        files.add("tools/labels.py")
    if "is_folder" not in checkpoint:
        files.add("tools/file_start.py")
    if checkpoint["loader"] == "state_dict" and "is_folder" not in checkpoint:  # else no names
        files.add("tools/mismatch.py")
        has_kinds = task["has_heads"] and answers.get("head") != "layers"
        if has_kinds and source not in catalogue.OTHERS:
            files.add("tools/heads.py")
    if checkpoint["reading"] == "checkpoint":
        files |= {"tools/inert.py", "tools/states.py"}
    if checkpoint["reading"] in ("checkpoint", "safetensors") and compares_preprocessing(answers):
        files.add("tools/preparation.py")
    if checkpoint["reading"] in ("checkpoint", "safetensors") and compares_scoring(answers):
        files.add("tools/scores.py")
    if is_converted(answers):
        files |= CONVERTED
    if answers.get("demo"):
        files |= DEMO
    if answers.get("evaluation"):
        files |= EVALUATION
    if answers.get("training"):
        files |= TRAINING
    has_dataset = answers.get("evaluation") or answers.get("training")
    if label["is_folder"] or (has_dataset and "has_class_folders" in task):
        files.add("tools/data_folders.py")
    if has_dataset:
        if "rows" in task:
            files.add("tools/yolo.py")
        if "keypoint" in task:
            files |= {"tools/keypoints.py", "tools/yolo_keypoints.py"}
    if "transforms" in answers and (source, answers["transforms"]) != ("timm", "pretrained"):
        files.add("service/pixels.py")  # else timm prepares the images
    for fact in (task, label, checkpoint, *targets):
        files |= set(fact.get("files", ()))
    for fact in targets:
        for other, added in fact.get("files_with", {}).items():
            files |= set(added) if other in answers["deploy"] else set()
    return frozenset(files)


def is_converted(answers: Mapping[str, Any]) -> bool:
    """Tell whether archive.py makes something else of the weights, and compares it with them."""
    has_weights = facts.checkpoints()[answers["weights"]]["loader"] == "state_dict"
    return has_weights and (answers["backend"], answers["precision"]) != ("eager", "fp32")


LEFTOVERS = ("{%", "{#", "{{ ", " }}", "TODO")
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if it was built


def check_text(name: str, text: str) -> None:
    """Parse a file by its suffix; raise ValueError or SyntaxError for what is wrong with it."""
    for mark in LEFTOVERS:
        if mark in text:
            raise ValueError(f"left over from the template: {mark}")
    if re.search(r"[ \t]$", text, re.MULTILINE):
        raise ValueError("white space at the end of a line")
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        raise ValueError("does not end in exactly one newline")
    if re.search(r'[<>:"\\|?*]|[ .]$', name):
        raise ValueError("Windows refuses this name")
    match Path(name).suffix:
        case ".py":
            ast.parse(text)
        case ".json":
            json.loads(text)
        case ".yaml" | ".yml":
            yaml.load(text, Loader=YAML_LOADER)
        case ".toml":
            tomllib.loads(text)
        case ".properties":
            for line in text.splitlines():
                if line and not re.fullmatch(r"#.*|[a-z_]+=\S+", line):
                    raise ValueError(f"no setting: {line}")


def lint(listed: Path, files: Sequence[str]) -> dict[str, str]:
    """Run ruff over files, each with the settings of its project.

    Args:
        listed: Where to write their list.
        files: Their paths.

    Returns:
        What is wrong, by path.
    """
    if not files:
        return {}
    listed.write_text("\n".join(files), encoding="utf-8")
    return run_ruff(listed, ["format", "--check"], unformatted) | run_ruff(
        listed, ["check", "--output-format=json"], violations
    )


def run_ruff(
    listed: Path, words: Iterable[str], read: Callable[[str], dict[str, str]]
) -> dict[str, str]:
    """Run one command of ruff, and read what it prints if it finds something."""
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "--no-cache", f"@{listed}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not result.returncode:
        return {}
    return read(result.stdout) or {str(listed): result.stderr}


def violations(printed: str) -> dict[str, str]:
    """Return what `ruff check --output-format=json` has found, by path."""
    return {x["filename"]: f"{x['code']}: {x['message']}" for x in json.loads(printed)}


def unformatted(printed: str) -> dict[str, str]:
    """Return the files that `ruff format --check` has named."""
    named = re.findall(r"(?:Would reformat: |--> )([^:\n]+)", printed)
    return {str(Path(name).resolve()): "ruff format would change it" for name in named}
