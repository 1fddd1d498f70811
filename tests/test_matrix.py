"""Every combination of answers, and the tools that render and check them."""

from __future__ import annotations

import datetime
import itertools
import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

import forked
from conftest import slow, ts_template
from generator import catalogue, facts, fast, matrix
from generator.fast import FastRenderer
from generator.matrix import dealing, imports, smoke
from generator.rendering import plain_copy, template_root
from generator.speed import takes

TASKS = list(facts.tasks())
# Tasks by the kind of networks that they share.
TASKS_OF = {
    kind: [task for task in TASKS if facts.tasks()[task]["networks"] == kind]
    for kind in sorted({fact["networks"] for fact in facts.tasks().values()})
}


@cache
def a_part(kind: str) -> list[matrix.Answers]:
    """Return combinations of tasks with one kind of networks in which all pairs of values meet.

    The values are those of the axes, where architectures of one family count as one; and each
    architecture comes. Combinations that bring most new pairs come first, and those that the
    questions refuse last. `pytest -m slow` takes these, and `-m exhaustive` every combination.
    """
    every = [x for task in TASKS_OF[kind] for x in dealing.combinations_of(task)]
    candidates: dict[bool, list[tuple[matrix.Answers, set[tuple[str, ...]]]]] = {
        False: [],
        True: [],
    }
    for answers in itertools.chain.from_iterable(every[start::19] for start in range(19)):
        values = values_of_axes(answers)
        pairs: Iterable[tuple[str, str]] = itertools.combinations(values, 2)
        if answers["weights"] == "pretrained":  # which sets the classes
            pairs = (pair for pair in pairs if "weights" in pair)
        new: set[tuple[str, ...]] = {(x, values[x], y, values[y]) for x, y in pairs}
        new |= {("architecture", answers["architecture"])}
        candidates[matrix.is_forbidden(answers)].append((answers, new))
    part = []
    met: set[tuple[str, ...]] = set()
    for is_refused, fewest in itertools.product((False, True), range(15, 0, -1)):
        left = []
        for answers, pairs_of_it in candidates[is_refused]:
            new = pairs_of_it - met
            if len(new) >= fewest:
                met |= new
                part.append(answers)
            elif new:
                left.append((answers, new))
        candidates[is_refused] = left
    return part


def values_of_axes(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of the axes, with an architecture's family in its place."""
    values = {name: str(answers[name]) for name in matrix.AXES if name in answers}
    return values | {"architecture": catalogue.load()[answers["architecture"]].family}


def each_value(kind: str) -> list[matrix.Answers]:
    """Return combinations of tasks with one kind of networks that have each value of the axes.

    Those that bring most new values come first, and those that the questions refuse last.
    """
    every = [x for task in TASKS_OF[kind] for x in dealing.combinations_of(task)]
    mixed = [
        (answers, values_of_axes(answers).items())
        for answers in itertools.chain.from_iterable(every[start::19] for start in range(19))
    ]
    few = []
    met: set[tuple[str, str]] = set()
    for is_refused, fewest in itertools.product((False, True), (9, 5, 3, 2, 1)):
        for answers, values in mixed:
            new = values - met
            if len(new) >= fewest and matrix.is_forbidden(answers) == is_refused:
                met |= new
                few.append(answers)
    return few


EXTENTS = ("few", "part", "every")
IN_THREE = pytest.mark.parametrize(
    "extent",
    [
        EXTENTS[0],
        slow(EXTENTS[1]),
        pytest.param(EXTENTS[2], marks=pytest.mark.exhaustive),
    ],
)


@pytest.mark.matrix
@IN_THREE
def test_combinations_render_and_are_right(extent: str) -> None:
    if extent == "every":
        combinations = matrix.combinations()
    else:
        some = each_value if extent == "few" else a_part
        combinations = [answers for kind in TASKS_OF for answers in some(kind)]
    # One process does no step twice, and the tests have two as it is.
    outcome = matrix.run(combinations, processes=2 if extent == "every" else 1)
    assert not outcome.failures, "\n".join(outcome.failures[:10])
    forbidden = sum(map(matrix.is_forbidden, combinations))
    assert outcome.refused == forbidden > 0
    assert outcome.rendered == len(combinations) - forbidden
    assert outcome.checked > len(catalogue.load()) or extent == "few"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS_OF)
def test_a_part_meets_all_pairs_of_the_axes(kind: str) -> None:
    tasks = TASKS_OF[kind]
    axes = [name for name in matrix.AXES if name in matrix.questions(tasks[0])]
    values = {name: set().union(*(matrix.questions(x)[name] for x in tasks)) for name in axes}
    assert {x["architecture"] for x in a_part(kind)} == values["architecture"]
    families = {name: arch.family for name, arch in catalogue.load().items()}
    values["architecture"] = {families[name] for name in values["architecture"]}
    values["weights"] -= {"pretrained"}  # of its own classes
    part = [values_of_axes(x) for x in a_part(kind) if x["weights"] in values["weights"]]
    for one, other in itertools.combinations(axes, 2):
        met = {(answers[one], answers[other]) for answers in part}
        expected = set(itertools.product(map(str, values[one]), map(str, values[other])))
        if one == "task":  # which may take fewer values than another with the same networks
            known = {task: matrix.questions(task)[other] for task in tasks}
            if other == "architecture":
                known = {task: [families[x] for x in names] for task, names in known.items()}
            expected = {pair for pair in expected if pair[1] in map(str, known[pair[0]])}
        assert met >= expected, (one, other)


@pytest.mark.parametrize("task", TASKS)
def test_each_value_meets_each_value_of_the_axes(task: str) -> None:
    combinations = [*dealing.combinations_of(task)]
    sizes = [len(matrix.questions(task).get(axis, [None])) for axis in matrix.AXES]
    assert len(combinations) == math.prod(sizes) * dealing.rounds(task)
    met = matrix.covered(combinations)
    values = matrix.questions(task)
    if len(combinations) < 100:  # too few for pairs: each value comes
        for name in values.keys() - {*dealing.SPEED}:  # which not all go together
            assert {json.dumps(x[name]) for x in combinations} == set(map(json.dumps, values[name]))
        return
    fact = facts.tasks()[task]
    of_one_output: dict[Any, Any] = {x["value"]: x for x in fact["outputs"] if "outputs" in x}
    for axis in matrix.AXES:
        for name in values.keys() - set(matrix.AXES):
            for one in values[axis]:
                for other in values[name]:
                    if name == "model_output" and (output := of_one_output.get(other)):
                        if axis == "num_classes" or one == "pretrained":
                            continue  # it has two classes, and is nobody's but the user's
                        is_own = "own" in output and fact["torchvision_returns_dict"]
                        if axis == "architecture" and one != "custom" and is_own:
                            continue  # torchvision's return scores
                    is_size = axis == "architecture" and name == "image_size" and other
                    own_size = is_size and "preprocessing" in fact
                    if own_size and catalogue.load()[one].size_rule == "fixed":
                        continue
                    is_head = axis == "architecture" and name in ("head", "head_place")
                    archs = catalogue.load() if is_head else {}
                    if one in archs and name == "head" and archs[one].classifier_kind != "Linear":
                        continue
                    if one in archs and other == "whole" and not archs[one].whole_in:
                        continue
                    if one == "onnx" and other in ("cuda", "fp16", "gpu"):
                        continue  # it runs on the CPU
                    is_trained = name == "training" and other and axis == "weights"
                    if is_trained and "trains" not in facts.checkpoints()[one]:
                        continue  # it is no state_dict
                    is_run = (axis, name) == ("architecture", "backend")
                    if is_run and not takes(task, one, other, "fp32"):
                        continue  # nobody knows which parts it could run
                    pair = (axis, str(one), name, json.dumps(other))
                    assert pair in met, f"{axis}={one} never meets {name}={other}"


@pytest.mark.parametrize("task", TASKS)
def test_a_task_gets_its_own_values_and_questions(task: str) -> None:
    values = matrix.questions(task)
    assert values["task"] == [task]
    assert values["response_format"] == list(facts.responses(task))
    kind = facts.tasks()[task]["networks"]
    fitting = {name for name, arch in catalogue.load().items() if kind in arch.kinds}
    assert set(values["architecture"]) == fitting
    assert facts.questions_of_tasks() & values.keys() == set(facts.tasks()[task]["questions"])
    weights = values["weights"][0]
    item = facts.tasks()[task]["input"]
    for name, each in facts.backends().items():
        is_possible = item in each.get("inputs", ["image"])
        for accelerator in ("cpu", "cuda"):
            found = {x[2] for x in matrix.speeds(task, weights) if x[:2] == (accelerator, name)}
            expected = set(each["precisions"].get(accelerator, []) if is_possible else [])
            if "speeds" in facts.tasks()[task]:
                expected &= set(facts.tasks()[task]["speeds"].get(name, []))
            assert found == expected


def test_a_question_in_free_text_needs_values_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix.questions.cache_clear()
    monkeypatch.delitem(dealing.SAMPLES, "mean")
    with pytest.raises(LookupError, match="mean has no choices: add values to try to SAMPLES"):
        matrix.questions(TASKS[0])


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and mode of every file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def stock_render(template: Path, destination: Path, answers: dict[str, Any]) -> None:
    """Render through Copier's own interface."""
    copier.run_copy(
        str(template),
        destination,
        data=answers,
        defaults=True,
        quiet=True,
        settings=copier.Settings(),
    )


def test_the_fast_way_is_identical_to_copier(tmp_path: Path) -> None:
    deal = random.Random(0)
    template = plain_copy(tmp_path / "template")
    renderer = FastRenderer(template)
    for number, task in enumerate([*TASKS, TASKS[0]]):
        some = itertools.islice(dealing.combinations_of(task, seed=number), deal.randint(20, 2000))
        *neighbours, answers = [x for x in some if not matrix.is_forbidden(x)][-20:]
        for neighbour in neighbours:  # they go first, for the renderer remembers them
            renderer.project(tmp_path / "neighbour", neighbour)
        if number % 4 == 0:  # and whatever --defaults makes of fewer answers
            names = deal.sample([*answers], len(answers) // 2)
            names += ["task", *dealing.SPEED]  # they go together
            # What a network returns depends on answers that may be left out.
            names = [name for name in names if name != "model_output"]
            answers = {name: answers[name] for name in answers if name in names}
        fast, stock = tmp_path / f"fast{number}", tmp_path / f"stock{number}"
        renderer.render(fast, answers)
        stock_render(template, stock, answers)
        assert files(fast) == files(stock), matrix.command_line(answers)


# A template that reads variables in all the ways that Jinja knows.
CUNNING = {
    "copier.yml": """\
_subdirectory: project
_envops: {undefined: jinja2.StrictUndefined}
_exclude: ["{% if name == 'b' %}only_a.txt{% endif %}"]
any: {type: yaml, default: "{{ name if name is defined else '[1, 2]' }}"}
name:
  type: str
  default: a
  choices: "[a, b{% if any is number %}, number{% endif %}]"
  validator: "{% if name == 'b' and any is string %}b is not for {{ any | to_json }}{% endif %}"
asked: {type: yaml, when: "{{ any is iterable }}", default: "{{ any }}"}
secret: {type: str, secret: true, default: "{{ _folder_name }}"}
given: {type: str, when: false, default: "{{ 'yes' if unknown is defined else 'no' }}"}
""",
    "part.jinja": "{{ any }} {{ local | default('-') }} {{ item | default('-') }}\n",
    "macro.jinja": "{% macro plain(x) %}{{ x }} {{ any | default('unseen') }}{% endmacro %}"
    "{% macro seeing(x) %}{{ x }} {{ any }}{% endmacro %}",
    "nested.jinja": "{% include 'part.jinja' %}{% set local = name %}{% include 'part.jinja' %}",
    "base.jinja": "{% block one %}{{ name }}{% endblock %}{% block two %}{{ any }}{% endblock %}",
    "project/include.txt.jinja": "{% set local = name %}{% include 'part.jinja' %}"
    "{% for item in [given, name] %}{% include 'part.jinja' %}{% endfor %}",
    "project/nested.txt.jinja": "{% include name ignore missing %}{% include 'nested.jinja' %}",
    "project/if.txt.jinja": "{{ given }}{% if name == 'a' %}{% include 'part.jinja' %}{% endif %}",
    "project/alias.txt.jinja": "{{ {'x': asked, 'y': asked, 'z': any} | to_nice_yaml }}",
    "project/plain.txt.jinja": "{% from 'macro.jinja' import plain %}{{ plain(name) }}",
    "project/seeing.txt.jinja": "{% import 'macro.jinja' as m with context %}{{ m.seeing(name) }}",
    "project/block.txt.jinja": "{% extends 'base.jinja' %}"
    "{% block one %}{{ super() }}{{ asked | default('none') }}{% endblock %}",
    "project/hidden.txt.jinja": "{% with name = any %}{{ name }}{% endwith %}"
    "{% set any = 7 %}{{ any }}",
    "project/conf.txt.jinja": "{{ _copier_conf.dst_path }} {{ _copier_conf.answers_file }}",
    "project/data.txt.jinja": "{{ _copier_conf.data | to_json }}",
    "project/all.txt.jinja": "{{ _copier_conf | to_json }} {{ _copier_phase }}",
    "project/folder.txt.jinja": "{{ _folder_name }} {{ secret }}",
    "project/only_a.txt": "{{ not rendered }}",
    "project/{% yield item from [name, [given]] %}{{ item }}.each{% endyield %}.jinja": (
        "{{ item }} {% include 'part.jinja' %}{{ given }}"
    ),
    "project/{{ name }}/{% if any %}{{ given }}.txt{% endif %}.jinja": "{{ unknown | default(1) }}",
    "project/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml }}",
}
# Equal to Python, in part, and not the same to a template.
LOOKALIKES = (1, True, 1.0, "1", "1.0", 0, False, 0.0, -0.0, None, "", [], {}, [1], [True], [1.0])
LOOKALIKES += ("[1]", [[1]], {"a": 1}, {"a": True}, {1: 1}, datetime.date(2020, 1, 1), "é ' \" 猫")


def write_template(folder: Path, texts: dict[str, str]) -> Path:
    """Write a template, and return its folder."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_nothing_that_a_template_reads_is_taken_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = write_template(tmp_path / "template", CUNNING)
    combinations: list[dict[str, Any]] = [
        {},
        {"asked": [0.5], "any": [0.5]},
        *({"name": name, "unknown": 1} for name in ("a", "b", "number")),
        *({"name": name, "any": value} for name in ("a", "b", "number") for value in LOOKALIKES),
    ]

    def outcome(render: Callable[..., None], *arguments: Any) -> Any:
        """Return the files or the error, and clear the place for the next."""
        project = arguments[-2]
        try:
            render(*arguments)
            return files(project)
        except Exception as error:
            return type(error), str(error)
        finally:
            shutil.rmtree(project, ignore_errors=True)

    cases = []
    for number, answers in enumerate(combinations):
        project = tmp_path / f"project{number % 2}"
        cases.append((project, answers, outcome(stock_render, template, project, answers)))
    kinds = [type(expected) for *_, expected in cases]
    assert kinds.count(dict) > kinds.count(tuple) > 5
    deal = random.Random(0)
    for limit in (fast.Memo.LIMIT, 3):
        monkeypatch.setattr(fast.Memo, "LIMIT", limit)
        renderer = FastRenderer(template)
        same = [0.5]  # YAML says so if two answers are one object; the next render's are not
        renderer.project(tmp_path / "project", {"asked": same, "any": same})
        for project, answers, expected in deal.sample(cases * 3, 3 * len(cases)):
            assert outcome(renderer.render, project, answers) == expected, answers


def test_a_template_that_changes_an_answer_for_later_templates_is_refused(tmp_path: Path) -> None:
    texts = {"copier.yml": "any: {type: yaml}", "a.txt.jinja": "{% set _ = any.append(1) %}"}
    renderer = FastRenderer(write_template(tmp_path / "template", texts))
    with pytest.raises(RuntimeError, match="changes the answer any"):
        renderer.render(tmp_path / "project", {"any": [0]})
    assert not (tmp_path / "project").exists()


BREAKAGES: dict[str, tuple[str, str, str, str]] = {
    "unused import": ("project/serve.py.jinja", "import sys\n", "import sys\nimport cgi\n", "F401"),
    "badly formatted": ("inputs/image/samples.py", "SIZE = (80, 60)", "SIZE = (80,60)", "format"),
    "syntax error": (
        "tasks/image_classification/responses/label/response.py.jinja",
        "return [",
        "return [[",
        "service/response.py",
    ),
    "wrong shape": (
        "networks/torchvision/heads/mlp.py.jinja",
        ", num_classes)",
        ", 7)",
        "AssertionError",
    ),
    "wrong prediction": (
        "tasks/image_classification/task.py.jinja",
        "make_answers(scores.cpu(), labels)",
        "[{torch} for _ in items]",
        "not JSON serializable",
    ),
    "leftover": ("project/README.md.jinja", "## The files", "## {{ '{{ x }}' }}", "left over"),
    "bad import": ("project/service/handler.py.jinja", "import json\n", "import oz\n", "oz"),
    "too many files": ("project/extra.txt", "", "extra\n", "extra.txt"),
}


ANSWERS = {
    "architecture": "resnet18",
    "num_classes": 3,
    "weights": "state_dict",
    "label_format": "index_to_name",
    "transforms": "pretrained",
    "color_mode": "RGB",
    "head": "mlp",
    "head_units": 64,
    "response_format": "label",
    "top_k": 5,
}


@pytest.fixture(autouse=True, scope="module")
def processes() -> None:
    """Have the matrix fork its processes from one that has imported torch."""
    forked.start()


@pytest.fixture
def break_template(tmp_path: Path) -> Callable[..., Path]:
    """Return a template in which some text is another, or a file more."""

    def break_it(file: str, old: str, new: str) -> Path:
        root = plain_copy(tmp_path / "broken")
        path = root / "template" / file
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else new)
        return root

    return break_it


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_template_is_found(name: str, break_template: Callable[..., Path]) -> None:
    file, old, new, message = BREAKAGES[name]
    root = break_template(file, old, new)
    outcome = matrix.run([ANSWERS], processes=1, root=root)
    assert any(message in failure for failure in outcome.failures), outcome.failures
    assert all("copier copy" in failure for failure in outcome.failures)
    assert any("-d architecture=resnet18" in failure for failure in outcome.failures)


def test_what_imports_a_new_file_is_imported_anew(break_template: Callable[..., Path]) -> None:
    name = "def read_{{ 'items' if max_pictures > 1 else 'others' }}("
    root = break_template("inputs/image/images.py.jinja", "def read_items(", name)
    sound, broken = ANSWERS | {"max_pictures": 64}, ANSWERS | {"max_pictures": 1}
    assert not matrix.run([sound], processes=1, root=root).failures
    # handler.py, which imports the name, is the same in both.
    outcome = matrix.run([sound, broken], processes=1, root=root)
    assert any("cannot import name" in failure for failure in outcome.failures), outcome.failures


def test_what_a_module_depends_on_is_found(tmp_path: Path) -> None:
    files = {
        "service/__init__.py": "",
        "service/task.py": "from service import images\n",
        "service/images.py": "",
        "tools/__init__.py": "",
        "tools/labels.py": "def f():\n    from .files import (\n        entries,\n    )\n",
        "tools/files/__init__.py": "",
        "tools/files/entries.py": "PATH = 'labels.txt'\n",
        "labels.txt": "cat\n",
        "predict.py": "import tools.labels as labels\nfrom service.task import f\n",
    }
    write_template(tmp_path, files)
    depends = {
        "service/images.py": {"service/task.py", "predict.py"},
        "tools/files/entries.py": {"tools/labels.py", "predict.py"},
        "labels.txt": {"tools/files/entries.py", "tools/labels.py", "predict.py"},
        "service/__init__.py": {"service/task.py", "service/images.py", "predict.py"},
    }
    before = imports.dependencies(tmp_path)
    for changed, expected in depends.items():
        (tmp_path / changed).write_text(files[changed] + "# changed\n")
        after = imports.dependencies(tmp_path)
        different = {name for name in before if before[name] != after[name]}
        assert different - {changed} == expected, changed
        (tmp_path / changed).write_text(files[changed])


def typical(sample: list[matrix.Answers]) -> list[matrix.Answers]:
    """Return those of a sample that have each task and backend, small ones."""
    archs = catalogue.load()
    few = []
    met: set[tuple[str, str]] = set()
    for answers in sorted(sample, key=lambda x: archs[x["architecture"]].params or 0):
        values = {(name, answers[name]) for name in ("task", "backend")}
        if not values <= met:
            met |= values
            few.append(answers)
    return few


@pytest.mark.matrix
@IN_THREE
def test_the_smoke_tests_of_architectures_pass(tmp_path: Path, extent: str) -> None:
    sample = matrix.smoke_sample(every=extent == "every")
    archs = catalogue.load()
    for tasks in TASKS_OF.values():
        tried = {x["architecture"] for x in sample if x["task"] in tasks}
        known = set(matrix.questions(tasks[0])["architecture"])
        smallest = {}
        for name in sorted(known, key=lambda name: archs[name].params or 0):
            smallest.setdefault(archs[name].family, name)
        expected = set().union(*(smoke.traits(archs[name]) for name in smallest.values()))
        assert set().union(*(smoke.traits(archs[name]) for name in tried)) >= expected
        assert tried == known or extent != "every"
    for question in ("weights", "response_format", "model_output", "label_format", "head"):
        values = {value for task in TASKS for value in matrix.questions(task).get(question, [])}
        assert {x[question] for x in sample if question in x} == values
    assert {answers["task"] for answers in sample} == set(TASKS)
    assert {x["task"] for x in sample if x["accelerator"] == "cuda"} == set(TASKS)
    if extent == "few":
        sample = typical(sample)
    renderer = FastRenderer(plain_copy(tmp_path / "template"))
    failures = []
    with forked.CONTEXT.Pool(2, maxtasksperchild=1) as pool:  # a fresh process for each project
        jobs = []
        for number, answers in enumerate(sample):
            renderer.render(tmp_path / str(number), answers)
            jobs.append((tmp_path / str(number), answers))
        for (path, answers), (code, output) in zip(
            jobs, pool.imap(matrix.run_smoke_tests, [path for path, _ in jobs]), strict=True
        ):
            shutil.rmtree(path)
            if code:
                failures.append(f"{output}\n{matrix.command_line(answers)}")
    assert not failures, "\n\n".join(failures[:3])


@pytest.mark.slow
def test_the_matrix_command_reports_what_it_did() -> None:
    result = ts_template("matrix", "--sample", "4", "--seed", "3")
    assert result.returncode == 0, result.stderr
    assert "4 projects rendered" in result.stdout
    assert "ms a render" in result.stdout


def test_options_prints_every_question_and_value() -> None:
    result = ts_template("options")
    assert result.returncode == 0, result.stderr
    for task in TASKS:
        for name, values in matrix.questions(task).items():
            assert name in result.stdout
            if name in ("task", "weights", "label_format", "transforms", "response_format", "head"):
                listed = result.stdout
                if f"ts-template options {name}" in listed:  # they are many
                    listed = ts_template("options", name).stdout
                for value in values:
                    assert value in listed
    assert "vit_h_14" in ts_template("options", "architecture").stdout
    misspelt = ts_template("options", "weigths")
    assert misspelt.returncode == 1
    assert "did you mean weights?" in misspelt.stderr


def test_the_docs_say_what_the_questions_say() -> None:
    from generator import options

    command = "run: ts-template options --docs"
    assert options.markdown() in (template_root() / "docs" / "questions.md").read_text(), command
    page = template_root() / "docs" / "architectures.md"
    assert page.read_text() == options.architectures_markdown(), command


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("architecure: resnet18", "did you mean architecture?"),
        ("architecture: resnet81", "did you mean resnet"),
        ("weights: statedict", "did you mean state_dict?"),
        ("own_files: response.py", "expected a list, as in [preprocessing.py, response.py]"),
        ("own_files: [respnse.py]", "did you mean response.py?"),
        ("num_classes: many", "expected a whole number"),
        ("num_classes: 0", "write 2 or more"),
        ("architecture: custom\ntransforms: pretrained", "no torchvision weights"),
        ("architecture: squeezenet1_1\nhead: mlp", "ends in a convolution"),
        ("architecture: maxvit_t\ntransforms: to_tensor\nimage_size: 96", "write 0 or 224"),
        ("architecture: vit_b_16\ntransforms: to_tensor\nimage_size: 100", "write a multiple of"),
        ("transforms: custom\nstd: [0, 1, 1]\nmean: [9]", "std"),
        ("mean: [0.5]", "no effect with these answers; it is asked if transforms is custom"),
        ("arch: {}", "computed"),
        ("task: image_clasification", "did you mean image_classification?"),
        (
            "task: semantic_segmentation\nweights: pretrained\nnum_classes: 3",
            "set num_classes to 21",
        ),
        ("task: semantic_segmentation\ntop_k: 3", "no effect"),
        ("- a\n- b", "holds a list"),
        ("a: [", "not valid YAML"),
        ("transform_input: maybe\narchitecture: googlenet", "expected yes or no"),
    ],
)
def test_check_names_what_is_wrong_with_answers(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(content)
    result = ts_template("check", str(path))
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_check_accepts_what_copier_wrote(
    copy_project: Callable[..., Any],
) -> None:
    project = copy_project(architecture="vit_b_16", num_classes=3, color_mode="L")
    result = ts_template("check", str(project.path / ".copier-answers.yml"))
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load((project.path / ".copier-answers.yml").read_text())["num_classes"] == 3


def test_help_is_instant_because_it_imports_no_torch() -> None:
    code = (
        "import sys; from generator.cli import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "sys.exit('torch' in sys.modules or 'copier' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, cwd=template_root())
    assert result.returncode == 0
