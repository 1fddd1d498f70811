"""The JSON Schema of files of answers, held against what Copier takes and refuses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import jsonschema
import pytest
import yaml

from conftest import REPOSITORY, slow, ts_template
from generator import catalogue, facts, options, schema
from generator.fast import FastRenderer
from generator.origin import EDITORS, SCHEMA, SCHEMA_ADDRESS
from generator.rendering import plain_copy

BY_COPIER = 12  # of the files, which Copier itself is asked about
CONDITIONS = 40  # of the files, for which it is checked what has no effect
STORED = REPOSITORY / SCHEMA
TYPICAL = 0.85  # how often an answer is one that goes with the task
GIVEN = 0.15  # how often there is an answer

# Right and wrong answers to the questions that have neither choices nor limits of their own.
TEXTS: dict[str, list[Any]] = {
    "project_name": ["Cats", "猫 & dogs", "", " "],
    "model_name": ["cats", "a_b-C9", "", "-a", "a b", "a" * 64, "a" * 65],
    "timm_name": ["resnet18.a1_in1k", "no/name", ""],
    "checkpoint_key": ["", "ema.model"],
    "state_dict_prefix": ["module.", "module", ""],
    "head_layers": [["linear 8", "relu", "linear"], {"fc": "linear"}, "linear", [], ["cosine"]],
    "output_key": ["", "scores", "a b"],
    "label_folder": ["data/train", "~/data", ""],
    "image_size": [0, 224, 7, -1, 28, 518],
    "resize_size": [0, 256, 100, -1],
    "max_size": [0, 1333, 10, -1],
    "mean": [0.5, [0.5], [0.1, 0.2, 0.3], 2, [0.1, 0.2], [128], []],
    "std": [0.5, [0.5], [0.1, 0.2, 0.3], 0, [0.1, 0.2], -1],
    "keypoint_names": [17, 0, ["nose", "tail"], ["a", "a"], []],
    "thresholds": [[0.5], 0.5, [0.1, 0.2], 1, [0.5] * 10, []],
}
NUMBERS = {
    name: entry["default"]
    for name, entry in facts.questions().items()
    if entry.get("type") in ("int", "float") and not isinstance(entry["default"], str)
}
# For each question of which the schema leaves something to Copier: answers that show it.
LEFT_TO_COPIER: dict[str, dict[str, Any]] = {
    "family": {"family": "fcn"},
    "project_name": {"project_name": "Cats\x1b[2J"},
    "timm_name": {"architecture": "timm", "timm_name": "no/name"},
    "state_dict_prefix": {"weights": "wrapped", "state_dict_prefix": "module"},
    "head_layers": {"head": "layers", "head_layers": ["relu"]},
    "output_key": {"architecture": "custom", "output_key": "a b"},
    "label_folder": {"label_format": "folders", "label_folder": "~/data"},
    "image_size": {"architecture": "vit_b_16", "transforms": "custom", "image_size": 225},
    "resize_size": {"transforms": "custom", "image_size": 224, "resize_size": 100},
    "mean": {"transforms": "custom", "color_mode": "L", "mean": [0.1, 0.2, 0.3]},
    "std": {"transforms": "custom", "color_mode": "L", "std": [0.1, 0.2, 0.3]},
    "max_size": {"task": "object_detection", "transforms": "custom", "max_size": 10},
    "keypoint_names": {"task": "keypoint_detection", "keypoint_names": ["a", "a"]},
    "thresholds": {"task": "multi_label_classification", "thresholds": [0.1, 0.2]},
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(STORED.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_copy(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def renderer(template: Path) -> FastRenderer:
    return FastRenderer(template)


def drawn(draw: random.Random, domains: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Return random answers to some of the questions, most of which go together."""
    task = draw.choice([*facts.tasks()])
    answers: dict[str, Any] = {"task": task}
    of_other_tasks = facts.questions_of_tasks() - set(facts.tasks()[task].get("questions", []))
    for name, question in options.questions().items():
        seldom = name in of_other_tasks or name in TEXTS
        if name == "task" or name in facts.ways() or draw.random() > GIVEN / (1 + 3 * seldom):
            continue
        values = [*domains[name]] or TEXTS.get(name, [])
        is_typical = draw.random() < TYPICAL
        if question.several:
            answers[name] = draw.sample([*question.values], draw.randrange(3))
            continue
        if is_typical and name == "architecture":
            kind = facts.tasks()[task]["networks"]
            values = [x for x in values if kind in catalogue.load()[x.split("/")[0]].kinds]
        elif is_typical and question.values:
            values = [*facts.menu(name, task)] or values
        elif is_typical and name in NUMBERS:
            values = [NUMBERS[name]]
        answers[name] = draw.choice(values)
    return answers


def refusal(ask: Callable[[], object]) -> str:
    """Return the question that Copier names in a refusal; empty if it takes the answers."""
    try:
        ask()
    except ValueError as error:
        found = re.search(r"question '(\w+)'|choice for '(\w+)'", str(error))
        return next(filter(None, found.groups())) if found else str(error)
    return ""


def copier_refuses(template: Path, project: Path, answers: dict[str, Any]) -> str:
    """Return the question whose answer Copier itself refuses, or nothing."""
    return refusal(
        lambda: copier.run_copy(
            str(template), project, data=answers, defaults=True, quiet=True, pretend=True
        )
    )


def test_the_stored_schema_is_what_the_questions_make_of_it() -> None:
    fresh = schema.text()
    assert STORED.read_text(encoding="utf-8") == fresh, "Run: ts-template options --docs"
    jsonschema.Draft202012Validator.check_schema(json.loads(fresh))
    assert ts_template("options", "--schema").stdout == fresh


@pytest.mark.parametrize("count", [300, slow(2000)])  # files of random answers
def test_the_schema_takes_and_refuses_what_copier_does(
    count: int,
    validator: jsonschema.Draft202012Validator,
    renderer: FastRenderer,
    template: Path,
    tmp_path: Path,
) -> None:
    draw, domains = random.Random(0), schema.Questions().domains
    taken = refused = 0
    for number in range(count):
        answers = drawn(draw, domains)
        problem = next(validator.iter_errors(answers), None)
        named = refusal(lambda answers=answers: renderer.complete(answers))
        if number < BY_COPIER:
            assert copier_refuses(template, tmp_path / "project", answers) == named
        if named:
            refused += 1
            assert problem is not None or named in schema.left_out(), answers
        else:
            taken += 1
            assert problem is None, answers
            if taken <= CONDITIONS:
                has_effect = {*renderer.complete(answers)}
                assert not unaffected(validator, answers) & has_effect
                assert answers.keys() - has_effect <= unaffected(validator, answers)
    assert min(taken, refused) > count / 3


def unaffected(validator: jsonschema.Draft202012Validator, answers: dict[str, Any]) -> set[str]:
    """Return the questions of which the schema says that they have no effect with some answers."""
    found = set()
    for rule in validator.schema["allOf"]:
        for name, about in rule.get("then", {}).get("properties", {}).items():
            if about.get("deprecated") and validator.evolve(schema=rule["if"]).is_valid(answers):
                found.add(name)
    return found


@pytest.mark.parametrize("name", LEFT_TO_COPIER)
def test_what_the_schema_leaves_to_copier_is_named(
    name: str, validator: jsonschema.Draft202012Validator, renderer: FastRenderer
) -> None:
    assert LEFT_TO_COPIER.keys() == schema.left_out().keys()
    assert validator.is_valid(LEFT_TO_COPIER[name])
    assert refusal(lambda: renderer.complete(LEFT_TO_COPIER[name])) == name
    named = "; ".join(f"{each} ({what})" for each, what in schema.left_out().items())
    assert validator.schema["description"].endswith(f"express: {named}.")  # and nothing else


@pytest.mark.parametrize("reader", ["training", "evaluation"])
def test_data_of_a_task_may_name_fewer_classes_than_a_network(
    reader: str, validator: jsonschema.Draft202012Validator, renderer: FastRenderer
) -> None:
    most = {name: x["most_classes"] for name, x in facts.tasks().items() if "most_classes" in x}
    assert most
    for task, count in most.items():
        answers = {"task": task, "num_classes": count, reader: True}
        assert validator.is_valid(answers)
        assert refusal(lambda answers=answers: renderer.complete(answers)) == ""
        answers["num_classes"] += 1
        assert not validator.is_valid(answers)
        assert refusal(lambda answers=answers: renderer.complete(answers)) == reader


def test_what_only_seems_to_be_an_answer_is_refused_as_by_check(
    validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    answers = {"num_clases": 3, "num_classes": "3", "demo": "yes", "deploy": "docker", "top_k": 2.5}
    assert not [x for x in answers.items() if validator.is_valid(dict([x]))]
    path = tmp_path / "answers.yml"
    path.write_text(yaml.safe_dump(answers), encoding="utf-8")
    assert len(list(options.check(path))) == len(answers)


@pytest.mark.parametrize(
    "path",
    [
        *sorted((REPOSITORY / "presets").glob("*.yml")),
        *sorted((REPOSITORY / "samples").glob("*/.copier-answers.yml")),
    ],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_presets_and_answers_of_projects_pass_and_name_the_schema(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    text = path.read_text(encoding="utf-8")
    answers = yaml.safe_load(text)
    assert validator.is_valid(answers)
    assert not unaffected(validator, answers) & answers.keys()
    named = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.MULTILINE)
    assert named in ([SCHEMA_ADDRESS], ["answers.schema.json"])
    if named != [SCHEMA_ADDRESS]:
        assert (path.parent / named[0]).samefile(STORED)


def test_each_question_is_described(validator: jsonschema.Draft202012Validator) -> None:
    properties = validator.schema["properties"]
    assert properties.keys() == options.questions().keys()
    for name, question in options.questions().items():
        about = properties[name]
        assert question.help in about["description"]
        assert about["title"] == name
        values = about.get("items", next(iter(about.get("anyOf", [])), about))
        assert values.get("enum", about.get("enum", [])) == [*question.values]
    assert EDITORS.endswith(validator.schema["$id"])
