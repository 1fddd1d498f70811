"""Label files of other tools: what is read, and what the projects that refuse them print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_labels import read
from typer.testing import CliRunner

from conftest import Project
from generator.cli import app
from generator.errors import UserError
from generator.fast import FastRenderer
from generator.labels import LabelError, inspect_labels
from generator.rendering import plain_copy

NAMES = ["cat", "no", "dög"]
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}],
    "categories": [
        {"supercategory": "animal", "id": 1, "name": "cat"},
        {"supercategory": "animal", "id": 4, "name": "no"},
        {"supercategory": "animal", "id": 90, "name": "dög"},
    ],
}
LABEL_MAP = """# classes
item {
  id: 2
  name: 'no'
}
item: { name: "d\\303\\266g" id: 3 }
item {
  name: "cat"  # the first
  id: 1
}
"""
# By what they are: the file's name, its content, and what it is called.
FILES: dict[str, tuple[str, str, str]] = {
    "COCO": ("instances.json", json.dumps(COCO), "coco"),
    "objects": (
        "labels.json",
        json.dumps([{"id": index, "name": NAMES[index], "color": "#fff"} for index in (2, 0, 1)]),
        "objects",
    ),
    "objects in order": (
        "labels.json",
        json.dumps([{"label": name} for name in NAMES]),
        "objects",
    ),
    "nested": (
        "meta.json",
        json.dumps({"date": "x", "data": {"class_to_idx": {"no": 1, "cat": 0, "dög": 2}}}),
        "nested",
    ),
    "names in JSON": ("meta.json", json.dumps({"nc": 3, "names": NAMES}), "nested"),
    "a data set's features": (
        "dataset_infos.json",
        json.dumps({"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}),
        "nested",
    ),
    "Ultralytics": (
        "data.yaml",
        "path: ../x\ntrain: a\nnc: 3\nnames:\n  0: cat\n  1: no\n  2: dög  # the last\n",
        "yaml_file",
    ),
    "a list in YAML": ("names.yml", "- cat\n- no\n- dög\n", "yaml_file"),
    "YAML of another name": ("names.txt", "- cat\n- no\n- dög\n", "yaml_file"),
    "a mapping in YAML": ("names.yaml", "cat: 0\ndög: 2\nno: 1\n", "yaml_file"),
    "JSON lines": (
        "labels.jsonl",
        "".join(json.dumps({"id": i, "name": x}) + "\n" for i, x in enumerate(NAMES)),
        "json_lines",
    ),
    "texts in lines": ("labels.txt", '"cat"\n"no"\n"dög"\n', "json_lines"),
    "TensorFlow": ("label_map.pbtxt", LABEL_MAP, "label_map"),
    "TensorFlow, with commas": (
        "label_map.pbtxt",
        "".join(
            f'item {{\n  name: "{x}",\n  id: {i},\n  display_name: "{x}"\n}}\n'
            for i, x in enumerate(NAMES, 1)
        ),
        "label_map",
    ),
    "TensorFlow, for people": (
        "label_map.pbtxt",
        "".join(
            f'item {{ name: "/m/0{i}" id: {i} display_name: "{x}" }}\n'
            for i, x in enumerate(NAMES, 1)
        ),
        "label_map",
    ),
}


def write(folder: Path, name: str, content: str) -> Path:
    """Write a file and return it."""
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("what", FILES)
def test_names_are_read_as_texts_in_the_order_of_the_outputs(what: str, tmp_path: Path) -> None:
    name, content, kind = FILES[what]
    found = inspect_labels(write(tmp_path, name, content), 3)
    assert (found.names, found.format, found.fits) == (NAMES, kind, True)
    assert found.answers == {"label_format": "index_to_name"}
    assert found.is_written


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """A function that gives the project for a label format, of three classes."""
    folder = tmp_path_factory.mktemp("projects")
    renderer = FastRenderer(plain_copy(folder / "template"))

    def project(label_format: str) -> Project:
        path = folder / label_format
        if not path.exists():
            answers = {"architecture": "custom", "num_classes": 3, "label_format": label_format}
            renderer.render(path, answers)
        return Project(path)

    return project


def run_commands(refusal: str, *, which: int = 0) -> None:
    """Run a command that a project prints, as it stands."""
    commands = [line.strip() for line in refusal.splitlines() if "ts-template labels " in line]
    words = shlex.split(commands[which])
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("label_format", "whats"),
    [
        (
            "index_to_name",
            [x for x in FILES if FILES[x][2] in ("coco", "objects", "nested")] + ["JSON lines"],
        ),
        (
            "text",
            [x for x in FILES if FILES[x][2] in ("yaml_file", "label_map")] + ["texts in lines"],
        ),
        ("csv", ["Ultralytics"]),
        ("imagenet", ["COCO"]),
        ("list", ["objects", "nested"]),
        ("class_to_idx", ["nested"]),
        ("huggingface", ["names in JSON"]),
    ],
)
def test_what_a_project_refuses_is_converted_by_the_command_that_it_prints(
    label_format: str, whats: list[str], projects: Callable[[str], Project], tmp_path: Path
) -> None:
    project = projects(label_format)
    paths = []
    for number, what in enumerate(whats):
        (tmp_path / str(number)).mkdir()
        paths.append(write(tmp_path / str(number), *FILES[what][:2]))
    own = next(project.path / x for x in FILE_NAMES[label_format])
    refusals = read(project, [(path, 3) for path in paths])
    for what, refusal in zip(whats, refusals, strict=True):
        assert isinstance(refusal, str), (what, refusal)
        own.unlink(missing_ok=True)
        run_commands(refusal)
        assert own.is_file(), what
    assert read(project, [(own, 3)]) == [[NAMES, []]]


FILE_NAMES = {
    "index_to_name": ["index_to_name.json"],
    "text": ["labels.txt"],
    "csv": ["labels.csv"],
    "imagenet": ["index_to_name.json"],
    "list": ["labels.json"],
    "class_to_idx": ["class_to_idx.json"],
    "huggingface": ["config.json"],
}


def test_numbers_that_may_be_folders_are_asked(
    tmp_path: Path, projects: Callable[[str], Project]
) -> None:
    content = json.dumps({n: f"flower {n}" for n in range(1, 13)})
    path = write(tmp_path, "cat_to_name.json", content)
    (refusal,) = read(projects("index_to_name"), [(path, 12)])
    folders, outputs = (
        next(line for line in refusal.splitlines() if line.endswith(order))
        for order in ("--label-order folders", "--label-order outputs")
    )
    project = tmp_path / "project"
    project.mkdir()
    for command, order in ((folders, sorted(map(str, range(1, 13)))), (outputs, range(1, 13))):
        (project / ".copier-answers.yml").write_text("label_format: list\nnum_classes: 12\n")
        words = [project if "/projects" in x else x for x in shlex.split(command)[1:]]
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == 0, result.output
        expected = [f"flower {key}" for key in order]
        assert json.loads((project / "labels.json").read_text()) == expected


def test_a_project_without_a_label_file_is_named(
    tmp_path: Path, projects: Callable[[str], Project]
) -> None:
    path = write(tmp_path, *FILES["COCO"][:2])
    for target, said in (
        (projects("folders").path, "-d label_format=index_to_name"),
        (tmp_path, "name the folder of a project"),
    ):
        result = CliRunner().invoke(app, ["labels", str(path), str(target)])
        assert isinstance(result.exception, UserError)
        assert said in str(result.exception)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.yaml", "0: 1\n1: 0\n2: 2\n", "in 0: 1, which is the name"),
        ("a.yaml", "0: a\n0: b\n", "more than once: 0"),
        ("a.yaml", "names: [a, b\n", "not valid YAML"),
        ("a.yaml", "lr: 0.1\n", "no names of classes"),
        ("a.yaml", "names: [a, b]\nclasses: [c, d]\n", "several lists of names"),
        ("a.json", '[{"id": 0, "title_de": "a"}, {"id": 1, "title_de": "b"}]', "has no name"),
        ("a.json", '[{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]', "both have index 0"),
        ("a.json", '[{"id": "x", "name": "a"}]', "is no index"),
        (
            "a.json",
            '{"categories": [{"id": 5, "name": "a"}, {"id": 2, "name": "b"}]}',
            "have gaps, and are not in order",
        ),
        (
            "a.jsonl",
            '{"image": "1.jpg", "label": "a"}\n{"image": "2.jpg", "label": "b"}\n',
            "images",
        ),
        ("a.pbtxt", "item {\n  name: 'a'\n}\n", "lacks ids"),
        ("a.pbtxt", "item {\n  id: 1\n  name: 'a'\n", "cut short"),
    ],
)
def test_broken_files_are_refused_in_words(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match=said):
        inspect_labels(write(tmp_path, name, content), 2)


def test_nothing_in_yaml_is_run(tmp_path: Path) -> None:
    target = tmp_path / "run"
    content = f'names:\n- !!python/object/apply:os.system ["touch {target}"]\n- b\n'
    with pytest.raises(LabelError):
        inspect_labels(write(tmp_path, "a.yaml", content), 2)
    assert not target.exists()


def test_another_encoding_is_named_with_how_it_would_read(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("cat\nMäuse\n".encode("windows-1252"))
    with pytest.raises(LabelError, match="'Mäuse' in windows-1252") as error:
        inspect_labels(path, 2)
    assert f"iconv -f WINDOWS-1252 -t UTF-8 {path}" in str(error.value)
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        path.write_bytes("cat\ndog\n".encode(encoding))
        with pytest.raises(LabelError, match=f"iconv -f {encoding.upper().replace('-', '.?')}"):
            inspect_labels(path, 2)


@pytest.mark.parametrize("label_format", FILE_NAMES)
def test_names_are_written_so_that_a_project_reads_them(label_format: str, tmp_path: Path) -> None:
    from generator.label_formats import reader_of
    from generator.labels import write_labels

    names: list[Any] = ["tench, Tinca", "1 dollar", "猫", "n02119789"]
    path = tmp_path / FILE_NAMES[label_format][0]
    write_labels(path, names, label_format)
    labels, _ = reader_of(label_format, -1)(path)
    assert [name for _, name in sorted(labels)] == names
