"""train.py for texts: what is trained, archived and evaluated, through the command line."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import text_folders
import torch
import transformers
from test_train_tasks import run, said_of

from conftest import Project, slow

FILLERS = ("the", "this", "is", "movie", "and", "it")
WORDS = {"bad": ("bad", "boring"), "fine": ("cat", "dog"), "good": ("great", "love")}
TEXTS = {"task": "text_classification", "num_classes": 3, "max_tokens": 64}
TEXTS |= {"training": True, "evaluation": True}
# A small network tells words apart from the beginning with these.
LEARNS = {"initializer_range": 0.2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
QUICK = ("--workers", "0", "--batch-size", "8", "--lr", "0.003", "--from-scratch")


def some_text(seeded: random.Random, label: str = "") -> str:
    """Return a few words, with one of a class among them."""
    words = seeded.choices(FILLERS, k=seeded.randint(1, 6))
    if label:
        words.insert(seeded.randint(0, len(words)), seeded.choice(WORDS[label]))
    return " ".join(words)


def write_texts(path: Path, count: int, seed: int) -> Path:
    """Write texts of one class each, as CSV."""
    seeded = random.Random(seed)
    labels = [list(WORDS)[number % 3] for number in range(count)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(["text", "label"])
        csv.writer(file).writerows((some_text(seeded, label), label) for label in labels)
    return path


def write_pairs(path: Path, count: int, seed: int) -> Path:
    """Write pairs of texts, as JSONL: each of both may bring a class."""
    seeded = random.Random(seed)
    lines = []
    for number in range(count):
        first, second = ("", "bad")[number % 2], ("", "good")[number // 2 % 2]
        pair = {"text": some_text(seeded, first), "text_pair": some_text(seeded, second)}
        lines.append(json.dumps(pair | {"labels": [x for x in (first, second) if x]}))
    path.write_text("\n".join(lines))
    return path


def refused(project: Project, *arguments: str) -> str:
    """Run train.py, which must fail in words and begin nothing, and return what it says."""
    result = project.run("train.py", *arguments)
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    return result.stderr


def check_archive(project: Project, validation: Path, run_folder: str = "runs/1") -> dict[str, Any]:
    """Archive what was trained, and return its metrics, which must be those of the run."""
    project.archive()
    arguments = (str(validation), "--against", run_folder, "--tolerance", "1e-6")
    run(project, "evaluate.py", *arguments)
    found: dict[str, Any] = json.loads((project.path / "evaluation/metrics.json").read_text())
    said = json.loads((project.path / run_folder / "metrics.json").read_text())["metrics"]
    metrics: dict[str, float] = found["metrics"]
    assert {name: metrics[name] for name in said} == pytest.approx(said, abs=1e-6)
    return metrics


def config_of(project: Project) -> dict[str, Any]:
    """Return the config.json of what was trained."""
    path = project.path / "weights/text-classifier/config.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_one_class_for_each_text(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    project = copy_project(**TEXTS)
    text_folders.bert(project.path / "weights/bert", id2label={0: "x", 1: "y"}, **LEARNS)
    data = write_texts(tmp_path / "data.csv", 240, 0)
    validation = write_texts(tmp_path / "validation.csv", 60, 1)
    assert "--flip" not in run(project, "train.py", "--help")
    for name, text in (
        ("a.JSONL", '{"text": "a", "label": " x "}\n{"text": "b", "label": "x"}\n'),
        ("b.csv", "text,label\na,x\nb,\n"),
    ):
        (tmp_path / name).write_text(text)
    first, second = said_of(project, tmp_path / "a.JSONL", tmp_path / "b.csv")
    assert first == "read" and "line 3: there is no label" in second
    arguments = (str(data), "--validation", str(validation), "--epochs", "6")
    said = run(project, "train.py", *arguments, *QUICK)
    assert "240 texts to train on, 60 to validate with" in said
    assert "3 classes: bad, fine, good" in said
    assert "begins with random weights for the config.json of" in said
    assert f"archive.py --weights {project.path}/weights/text-classifier" in said
    config = config_of(project)
    assert config["id2label"] == {"0": "bad", "1": "fine", "2": "good"}
    assert config["label2id"] == {"bad": 0, "fine": 1, "good": 2}
    assert config["problem_type"] == "single_label_classification"

    # Two networks to choose from are none; the one that is left is trained on, as it is.
    assert "several folders" in refused(project, str(data))
    assert not (project.path / "runs/2").exists()
    shutil.rmtree(project.path / "weights/bert")
    assert check_archive(project, validation)["accuracy"] > 0.9
    (prediction,) = json.loads(run(project, "predict.py", "--json", "the dog"))
    assert prediction[0]["label"] == "fine"
    before = (project.path / "weights/text-classifier/model.safetensors").read_bytes()
    said = run(project, "train.py", *arguments[:3], "--epochs", "1", "--workers", "0")
    assert "text-classifier; all of them; learning rate 5e-05" in said
    replaced = project.path / "runs/2/replaced-text-classifier"
    assert str(replaced) in said
    assert (replaced / "model.safetensors").read_bytes() == before
    assert check_archive(project, validation, "runs/2")["accuracy"] > 0.9


@pytest.mark.slow
def test_any_classes_for_each_pair(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    multi = "multi_label_classification"
    project = copy_project(
        **TEXTS | {"problem_type": multi, "num_classes": 2, "label_format": "list"}
    )
    text_folders.bert(tmp_path / "bert", **LEARNS)
    data = write_pairs(tmp_path / "data.jsonl", 240, 0)
    validation = write_pairs(tmp_path / "validation.jsonl", 60, 1)
    arguments = (str(data), "--validation", str(validation), "--from", str(tmp_path / "bert"))
    said = run(project, "train.py", *arguments, "--epochs", "10", *QUICK)
    assert "240 texts to train on, 60 to validate with" in said
    assert config_of(project)["problem_type"] == multi
    assert json.loads((project.path / "labels.json").read_text()) == ["bad", "good"]
    assert check_archive(project, validation)["map"] > 0.9


def test_bart_learns_from_texts_or_from_pairs(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    """Its pairs have more ends than its texts, which it takes in no batch together."""
    project = copy_project(**TEXTS | {"num_classes": 2})
    text_folders.bart(tmp_path / "bart", id2label={0: "x", 1: "y"})
    arguments = ("--from", str(tmp_path / "bart"), "--epochs", "1", *QUICK)
    rows = [{"text": "the cat", "text_pair": "the dog", "label": "xy"[i % 2]} for i in range(20)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    run(project, "train.py", str(data), *arguments)
    del rows[-1]["text_pair"]
    data.write_text("\n".join(map(json.dumps, rows)))
    said = refused(project, str(data), *arguments)
    assert "line 20 one: BartForSequenceClassification takes no batch of both" in said
    assert not (project.path / "runs/2").exists()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("bad", "fine", "good", "great"), "the head begins anew (classifier.bias"),
        (("good", "fine", "bad"), "all of them"),  # of the names in another order, theirs is taken
        slow(("one", "two", "three"), "the head begins anew (classifier.weight"),
        slow((), "the head begins anew (classifier.bias"),  # none: the body alone
    ],
)
def test_a_network_with_another_head_is_begun_with(
    copy_project: Callable[..., Project], tmp_path: Path, names: tuple[str, ...], expected: str
) -> None:
    project = copy_project(**TEXTS)
    start = tmp_path / "start"
    network = text_folders.bert(start, id2label=dict(enumerate(names or "abc")))
    if not names:
        network.bert.save_pretrained(start)  # type: ignore[operator, union-attr]
    data = write_texts(tmp_path / "data.csv", 30, 0)
    command = ("train.py", str(data), "--from", str(start), "--epochs", "1", "--workers", "0")
    said = run(project, *command, "--lr", "1e-9")
    assert "24 texts to train on, 6 to validate with" in said
    assert f"{start}; {expected}" in said
    order = names if set(names) == set(WORDS) else sorted(WORDS)
    assert list(config_of(project)["id2label"].values()) == list(order)
    trained = transformers.AutoModel.from_pretrained(project.path / "weights/text-classifier")
    body = network.bert.state_dict()  # type: ignore[union-attr]
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, body[name], rtol=0, atol=1e-6)
    if not names:
        project.archive()


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(**TEXTS)
    text_folders.distilbert(tmp_path / "start")
    data = write_texts(tmp_path / "data.csv", 120, 0)
    arguments = [str(data), "--from", str(tmp_path / "start"), "--epochs", "4", *QUICK]
    killed = tmp_path / "killed"
    command = [sys.executable, "train.py", *arguments, "--run"]
    whole = [*command, str(tmp_path / "whole"), "--workers", "1"]
    subprocess.run(whole, cwd=project.path, stdout=subprocess.DEVNULL, check=True)
    command.append(str(killed))
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    while not (killed / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, 9)
    process.wait()
    assert len(torch.load(killed / "last.pt")["history"]) < 4
    shutil.rmtree(tmp_path / "start")  # all that is needed lies in the run
    run(project, "train.py", "--resume", "--run", str(killed))
    one, other = (torch.load(x / "last.pt") for x in (tmp_path / "whole", killed))
    assert one["history"] == other["history"]
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name])


def test_what_cannot_be_trained_is_refused(
    copy_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(**TEXTS)
    data = write_texts(tmp_path / "data.csv", 30, 0)
    assert "name what to begin with: --from FOLDER" in refused(project, str(data))
    start = tmp_path / "start"
    text_folders.bert(start)
    command = (str(data), "--from", str(start), "--workers", "0")

    # The data.
    lines = data.read_text().splitlines()
    long, other = tmp_path / "long.csv", tmp_path / "other.csv"
    long.write_text("\n".join([*lines, f"{'movie ' * 63},bad"]))
    said = refused(project, str(long), *command[1:], "--validation", str(data))
    assert "long.csv, line 32: the text has 65 tokens; at most 64 are read" in said
    shutil.rmtree(project.path / "runs")
    other.write_text("text,label\ngood,fine\nbad,awful\n")
    said = refused(project, *command, "--validation", str(other))
    assert "other.csv, line 3: 'awful' is no class of the network" in said
    said = refused(project, str(other), *command[1:])
    assert "other.csv has 2 classes (awful, fine), the project 3" in said
    assert "-d num_classes=2" in said

    # What is begun with.
    text_folders.change(start / "config.json", max_position_embeddings=32)
    assert "embeddings" in refused(project, *command)
    assert "32 tokens at most" in refused(project, *command, "--from-scratch")
    text_folders.bert(start)
    config = (start / "config.json").read_bytes()
    shutil.copytree(start, project.path / "weights", dirs_exist_ok=True)
    said = refused(project, str(data))
    assert "is the folder of a network itself" in said
    subprocess.run(said.partition("Run: ")[2].strip(), shell=True, check=True)
    assert (project.path / "weights/before/config.json").read_bytes() == config
    text_folders.distilbert(tmp_path / "distilbert")
    shutil.copy(tmp_path / "distilbert/model.safetensors", start)
    assert "weights of BertForSequenceClassification, such as bert." in refused(project, *command)
    for path in start.glob("tokenizer*"):
        path.unlink()
    assert f"there is no tokenizer in {start}" in refused(project, *command)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    said = refused(project, str(data), "--from", "bert-base-uncased")
    assert "there is no folder bert-base-uncased, and it cannot be fetched" in said
    assert "hf download bert-base-uncased" in said
    assert not (project.path / "runs").exists()
