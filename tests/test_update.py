"""`copier update`: from each release to the present, with what people changed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from copier import Settings, run_copy, run_recopy, run_update
from packaging.version import Version

import forked
from conftest import REPOSITORY, Project, build_and_save, labels_of, noise, slow, ts_template
from generator import facts, options
from generator.rendering import plain_copy
from test_archive import network_state

# What each release was: copier.yml and what it includes. `ts-template release` adds to them.
RELEASES = {
    path.name.removesuffix(".tar.xz"): path
    for path in sorted(
        Path(__file__).with_name("releases").glob("*.tar.xz"),
        key=lambda path: Version(path.name.removesuffix(".tar.xz")),
    )
}
OLDEST, *BETWEEN, NEWEST = RELEASES
PRESENT = "9999.0"
# The present with another first line in each file, and in each piece that a user fills.
FUTURE = "9999.1"
FIRST_LINE = "# Of the future.\n"

PROJECTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "custom": {"architecture": "custom", "num_classes": 4},
    "wrapped": {
        "architecture": "densenet121",
        "num_classes": 3,
        "weights": "wrapped",
        "label_format": "imagenet",
        "response_format": "scores",
    },
    "torchscript": {"architecture": "vit_b_16", "weights": "torchscript", "label_format": "none"},
    "timm": {"architecture": "timm/resnet18", "num_classes": 5, "response_format": "label"},
}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    command = ["git", *identity, "-c", "core.autocrlf=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template's repository: a commit and a tag for each release, and for the present."""
    repository = tmp_path_factory.mktemp("history") / "ts-template"
    repository.mkdir()
    git(repository, "init", "-q")
    for version in (*RELEASES, PRESENT, FUTURE):
        for path in repository.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if version in (PRESENT, FUTURE):
            plain_copy(repository)
        else:
            with tarfile.open(RELEASES[version]) as archive:
                archive.extractall(repository, filter="data")
        if version == FUTURE:
            for path in (repository / "template" / "project").rglob("*"):
                if path.is_file():
                    path.write_text(FIRST_LINE + path.read_text(encoding="utf-8"), "utf-8")
        git(repository, "add", "-A")
        git(repository, "commit", "--allow-empty", "-qm", version)
        git(repository, "tag", version)
    git(repository, "gc", "--quiet")  # each update clones it five times
    return repository


@pytest.fixture
def copy_at(history: Path, tmp_path: Path) -> Callable[..., Project]:
    """Render a project at a release, and commit it."""

    def copy(version: str, name: str = "project", **answers: Any) -> Project:
        run_copy(
            str(history),
            tmp_path / name,
            data=answers,
            vcs_ref=version,
            defaults=True,
            quiet=True,
            settings=Settings(),
        )
        git(tmp_path / name, "init", "-q")
        commit(Project(tmp_path / name))
        return Project(tmp_path / name)

    return copy


def commit(project: Project) -> None:
    """Commit all that a project holds and git does not ignore."""
    git(project.path, "add", "-A")
    git(project.path, "commit", "-qm", "change", "--allow-empty")


def update(project: Project, version: str = PRESENT, **answers: Any) -> None:
    """Update a project to a release, perhaps with other answers."""
    run_update(
        project.path,
        data=answers,
        vcs_ref=version,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=Settings(),
    )


def content(project: Project, without: Iterable[str] = ()) -> dict[str, str]:
    """Return the texts of a project by path."""
    names = git(project.path, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    paths = {name: project.path / name for name in names if name not in without}
    return {
        name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()
    }


# Every project from the first release, where most has changed since, and two from each other.
UPDATES = [
    (version, name)
    if version == OLDEST or (version, name) == (NEWEST, "defaults")
    else slow(version, name)
    for version in RELEASES
    for name in PROJECTS
    if version == OLDEST or name in ("defaults", "custom")
]


@pytest.mark.parametrize(("version", "name"), UPDATES)
def test_an_unedited_project_becomes_what_a_fresh_copy_is(
    copy_at: Callable[..., Project], version: str, name: str
) -> None:
    answers = PROJECTS[name]
    project = copy_at(version, **answers)
    update(project)
    # The network is the user's own, and stays what it was, where it was.
    own = answers.get("architecture") == "custom"
    place = place_at(version, "service/model.py")
    owned = {place, "service/model.py"} if own else set()
    assert (project.path / "model.py").exists() == (own and place == "model.py")
    assert content(project, owned) == content(copy_at(PRESENT, "fresh", **answers), owned)


@pytest.mark.parametrize(
    "answers", [PROJECTS["timm"], {"own_files": ["response.py"]}], ids=["timm", "own-files"]
)
def test_an_update_to_the_same_release_changes_nothing(
    copy_at: Callable[..., Project], answers: Mapping[str, Any]
) -> None:
    project = copy_at(PRESENT, **answers)
    before = content(project)
    update(project)
    assert content(project) == before
    run_recopy(
        project.path,
        vcs_ref=PRESENT,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=Settings(),
    )
    assert content(project) == before


# A change of answers, from the first to the second.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "architecture": ({}, {"architecture": "vit_b_16"}),
    "classes": ({}, {"num_classes": 7}),
    "weights": ({}, {"weights": "onnx"}),
    "label format": ({}, {"label_format": "csv"}),
    "no labels": ({}, {"label_format": "none"}),
    "size": ({}, {"transforms": "custom", "image_size": 96, "mean": [0.1, 0.2, 0.3]}),
    "response": ({}, {"response_format": "label"}),
    "own files": ({}, {"own_files": ["preprocessing.py", "response.py", "README.md"]}),
    "backend": ({}, {"backend": "onnxruntime"}),
    "no backend": (
        {"backend": "openvino", "precision": "int8"},
        {"backend": "eager", "precision": "fp32"},
    ),
    "no own files": (
        {"own_files": ["preprocessing.py", "response.py", "README.md"]},
        {"own_files": []},
    ),
}
# These change what others change as well.
MORE = ("classes", "label format", "size", "response", "no backend", "no own files")


@pytest.mark.parametrize(
    ("before", "after"),
    [slow(*CHANGES[name]) if name in MORE else CHANGES[name] for name in CHANGES],
    ids=[name.replace(" ", "-") for name in CHANGES],
)
def test_another_answer_gives_what_a_fresh_copy_with_it_is(
    copy_at: Callable[..., Project], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    answers = {"architecture": "resnet18", "num_classes": 5, **before}
    project = copy_at(PRESENT, **answers)
    update(project, **after)
    fresh = copy_at(PRESENT, "fresh", **{**answers, **after})
    # The names of the classes are the user's, whatever the answers, and so are own files.
    owned = {"index_to_name.json", "labels.csv", *map(place, after.get("own_files", ()))}
    assert content(project, owned) == content(fresh, owned)
    assert (project.path / "index_to_name.json").is_file()


# ---------------------------------------------------------------------------- whose a file is


def place(name: str) -> str:
    """Return where a file of `own_files` is."""
    return f"service/{name}" if name.endswith(".py") else name


THEIRS = {
    "NOTES.md": "# Ours\n",
    "README.md": "# Ours\n",
    "index_to_name.json": '{"0": "ours"}\n',
    "requirements-own.txt": "ours\n",
    "service/model.py": "# Ours.\n",
    "service/preprocessing.py": "# Ours.\n",
    "service/response.py": "# Ours.\n",
    "tests/test_ours.py": "# Ours.\n",
}


def test_an_update_rewrites_the_files_that_say_so_and_no_others(
    copy_at: Callable[..., Project],
) -> None:
    asked = ["README.md", "preprocessing.py", "response.py"]
    everywhere = list(options.questions()["deploy"].values)
    answers = {"architecture": "custom", "num_classes": 4, "deploy": everywhere}
    project = copy_at(PRESENT, **answers, own_files=asked)
    before = content(project)
    (line,) = {text.partition("\n")[0] for text in before.values() if "copier update rew" in text}
    says = {name for name, text in before.items() if line in text}
    for name, text in THEIRS.items():
        (project.path / name).write_text(text)
    (project.path / "weights" / "net.pth").write_bytes(b"ours")
    commit(project)

    update(project, FUTURE, top_k=2)

    after = content(project)
    rewritten = {name for name, text in after.items() if text.startswith(FIRST_LINE)}
    silent = {".copier-answers.yml", "deploy/monitoring/dashboard.json"}  # JSON has no comments
    assert rewritten == (says - set(map(place, asked))) | silent
    assert {name: after[name] for name in THEIRS} == THEIRS
    assert (project.path / "weights" / "net.pth").read_bytes() == b"ours"
    # The README, as it was made, names what is the user's.
    for name in THEIRS.keys() - {"tests/test_ours.py"}:
        assert name in before["README.md"].partition("## What is yours")[2], name
    assert "README.md" in before.keys() - says


def test_a_file_that_was_the_users_is_not_deleted(copy_at: Callable[..., Project]) -> None:
    project = copy_at(PRESENT, architecture="custom", num_classes=4)
    labels_of(project.path, ["a", "b", "c", "d"])
    model = project.path / "service" / "model.py"
    model.write_text(model.read_text().replace("SmallCNN", "OurOwn"))
    commit(project)
    update(project, architecture="resnet18", label_format="none")
    assert "class OurOwn" in model.read_text()
    assert '"d"' in (project.path / "index_to_name.json").read_text()


@pytest.mark.parametrize("version", [PRESENT, FUTURE])
def test_a_file_that_the_user_deleted_stays_so(
    copy_at: Callable[..., Project], version: str
) -> None:
    own = {"own_files": ["preprocessing.py"]}
    project = copy_at(PRESENT, architecture="custom", num_classes=4, **own)
    labels_of(project.path, ["a", "b", "c", "d"])
    labels = (project.path / "index_to_name.json").read_text()
    for name in ("model.py", "preprocessing.py"):
        path = project.path / "service" / name
        path.write_text(path.read_text() + "\n\nOUR = 1\n")
    (project.path / "benchmark.py").unlink()
    commit(project)
    update(project, version, top_k=2)
    assert not (project.path / "benchmark.py").exists()
    assert (project.path / "index_to_name.json").read_text() == labels
    for name in ("model.py", "preprocessing.py"):
        text = (project.path / "service" / name).read_text()
        assert text.count("OUR = 1") == 1 and "<<<<" not in text
    assert "top_k: 2" in (project.path / ".copier-answers.yml").read_text()
    if version == FUTURE:
        assert (project.path / "predict.py").read_text().startswith(FIRST_LINE)


# What people change most, as docs/updating.md lists it: file, before, after; "" is a whole file.
EDITS = {
    "names of the classes": [
        ("index_to_name.json", "", '{"0": "猫", "1": "a", "2": "b", "3": "c"}\n')
    ],
    "network": [("service/model.py", "nn.ReLU()", "nn.LeakyReLU(0.2)")],
    "preprocessing": [
        (
            "service/preprocessing.py",
            "from PIL import Image\n",
            "from PIL import Image, ImageOps\n",
        ),
        (
            "service/preprocessing.py",
            ', IMAGE_SIZE, IMAGE_SIZE)."""\n',
            ', IMAGE_SIZE, IMAGE_SIZE)."""\n    image = ImageOps.autocontrast(image)\n',
        ),
    ],
    "prediction": [
        (
            "service/response.py",
            '"probability": probability',
            '"probability": round(probability, 3)',
        )
    ],
    "packages": [("requirements.txt", "pytest>=8\n", "pytest>=8\nscikit-image>=0.22\n")],
    "page": [
        ("README.md", "## The files\n", "## Who to ask\n\nThe vision team.\n\n## The files\n")
    ],
    "tests": [("tests/test_ours.py", "", "def test_ours() -> None:\n    assert True\n")],
    "batches and workers": [
        ("model-config.yaml", "batchSize: 8\n", "batchSize: 16\n"),
        (
            "model-config.yaml",
            "# minWorkers: 1\n# maxWorkers: 1\n",
            "minWorkers: 2\nmaxWorkers: 2\n",
        ),
    ],
    "addresses": [
        ("config.properties", "http://127.0.0.1:8080\n", "http://127.0.0.1:9080\n"),
        ("config.properties", "http://127.0.0.1:8082\n", "http://127.0.0.1:9082\n"),
    ],
    "tools": [
        ("pyproject.toml", "line-length = 100\n", "line-length = 120\n"),
        (".gitignore", "!weights/.gitkeep\n", "!weights/.gitkeep\n/data/\n"),
    ],
}
OWN_PLACES = {
    "requirements-own.txt": "einops>=0.8\n",
    "NOTES.md": "# Notes\n\nAsk the vision team.\n",
}
MOVED = "0.3.0"  # the release that moved the modules into service/ and tools/


def place_at(version: str, name: str) -> str:
    """Return where a file of `service/` was in a release."""
    is_old = version in RELEASES and Version(version) < Version(MOVED)
    return name.removeprefix("service/") if is_old else name


def move_as_told(project: Project) -> list[str]:
    """Run the commands that archive.py names until it names none; return the files that moved.

    In a file that moved, imports are written as the message has it.
    """
    moved = []
    while match := re.search(r"run: (mv (\S+) (\S+))", project.run("archive.py").stderr):
        subprocess.run(match[1], shell=True, cwd=project.path, check=True)
        path = project.path / match[3]
        path.write_text(
            path.read_text().replace("from pixels import", "from service.pixels import")
        )
        moved.append(match[3])
    return moved


def bring_back_as_told(project: Project) -> None:
    """Bring back the edited files that the update has removed, by the command that pytest names."""
    result = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "left_an_edit")
    names = re.findall(r"'([\w./]+\.py)': \['", result.stdout)
    assert names == [] or "`git checkout HEAD -- FILE`" in result.stdout
    for name in set(names):
        git(project.path, "checkout", "HEAD", "--", name)


@pytest.mark.parametrize(
    ("version", "to"),
    [(OLDEST, PRESENT), *(slow(x, PRESENT) for x in (*BETWEEN, NEWEST)), (PRESENT, FUTURE)],
)
def test_the_ten_edits_that_people_make_most_are_kept(
    copy_at: Callable[..., Project], version: str, to: str
) -> None:
    project = copy_at(version, architecture="custom", num_classes=4)
    edits = [edit for some in EDITS.values() for edit in some]
    if version == PRESENT:
        edits += [(name, "", text) for name, text in OWN_PLACES.items()]
    for name, before, after in edits:
        path = project.path / place_at(version, name)
        text = path.read_text() if before else ""
        assert before in text, name
        path.write_text(text.replace(before, after) if before else after)
    torch.save(network_state(), project.path / "weights" / "run7.pth")
    image = project.path.with_suffix(".png")
    noise(0).save(image)
    predictions = []
    if version != PRESENT:  # whose code another release changes
        project.archive()
        predictions = project.predict(image)
    commit(project)

    # What has moved since is the user's by name.
    own_files = [] if version == PRESENT else ["preprocessing.py", "response.py"]
    update(project, to, max_pictures=3, own_files=own_files)

    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    if place_at(version, "service/model.py") == "model.py":
        assert "is not used: the service takes service/model.py" in project.run(*tests).stdout
        bring_back_as_told(project)
        assert set(move_as_told(project)) == {
            "service/model.py",
            "service/preprocessing.py",
            "service/response.py",
        }
    assert not [name for name, text in content(project).items() if "<<<<<<< " in text]
    for name, before, after in edits:
        text = (project.path / name).read_text()
        assert after in text if before else after == text, name
    assert "MAX_IMAGES = 3 " in (project.path / "service" / "images.py").read_text()
    commit(project)
    result = project.run(*tests)
    assert result.returncode == 0, result.stdout
    if predictions:
        project.archive()
        assert project.predict(image) == predictions


@pytest.mark.parametrize("version", [OLDEST, *map(slow, BETWEEN), NEWEST])
def test_an_edit_to_a_file_that_moved_is_not_lost_in_silence(
    copy_at: Callable[..., Project], version: str
) -> None:
    project = copy_at(version, architecture="resnet18", label_format="none")
    for name in ("handler.py", "response.py"):
        path = project.path / place_at(version, f"service/{name}")
        path.write_text(path.read_text() + "# Ours.\n")
    commit(project)
    update(project)
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "edit")
    result = project.run(*tests)
    if place_at(version, "service/handler.py") == "service/handler.py":
        assert result.returncode == 0, result.stdout
    else:
        assert result.returncode == 1
        for name in ("handler.py", "response.py"):
            assert f"'{name}': ['" in result.stdout
    commit(project)
    assert project.run(*tests).returncode == 0


def test_the_docs_list_the_ten_edits() -> None:
    page = (REPOSITORY / "docs" / "updating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| (.+?) \| (.+?) \|", page, re.MULTILINE)
    assert len(rows) == len(EDITS) == 10
    for (what, places), edits in zip(rows, EDITS.values(), strict=True):
        for name, _, _ in edits:
            assert f"`{name}`" in places or name.startswith("tests/"), what


OWN_PREPROCESSING = """
import torch
from PIL import Image

IMAGE_SIZE = 224


def preprocess(image: Image.Image) -> torch.Tensor:
    pixels = image.resize((IMAGE_SIZE, IMAGE_SIZE)).tobytes()
    flat = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
    return flat.reshape(IMAGE_SIZE, IMAGE_SIZE, -1).permute(2, 0, 1)


def normalize(batch: torch.Tensor) -> torch.Tensor:
    return 1 - batch / 255
"""
OWN_RESPONSE = """
def make_answers(probabilities, labels):
    return [{"sure": bool(row.max() > 0.5), "all": row.tolist()} for row in probabilities]
"""


@pytest.mark.parametrize("version", [OLDEST, *map(slow, (*BETWEEN, NEWEST)), PRESENT])
def test_own_preprocessing_and_answers_of_any_release_serve(
    copy_at: Callable[..., Project], version: str
) -> None:
    own = {"preprocessing.py": OWN_PREPROCESSING, "response.py": OWN_RESPONSE}
    # Of the first release, the question is new with the update.
    asked = {} if version == next(iter(RELEASES)) else {"own_files": list(own)}
    project = copy_at(version, architecture="custom", num_classes=4, **asked)
    for name, text in own.items():
        (project.path / place_at(version, f"service/{name}")).write_text(text)
    commit(project)
    update(project, own_files=list(own))
    if not asked:
        bring_back_as_told(project)
    build_and_save(project)
    move_as_told(project)
    assert {name: (project.path / "service" / name).read_text() for name in own} == own
    (project.path / "weights" / "w.pth").unlink()
    commit(project)
    result = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout


def test_own_preprocessing_may_stay_as_it_was_rendered(copy_at: Callable[..., Project]) -> None:
    project = copy_at(PRESENT, architecture="resnet18", transforms="imagenet")
    update(project, own_files=["preprocessing.py"])
    commit(project)
    update(project, transforms="to_tensor")  # whose own preprocessing.py needs less
    result = project.run(
        "-c", "from service import preprocessing; print(preprocessing.RESIZE_SIZE)"
    )
    assert result.stdout == "256\n", result.stderr


# ------------------------------------------------------------------------------- conflicts


def test_a_conflict_is_named_and_refused(copy_at: Callable[..., Project]) -> None:
    version = next(iter(RELEASES))
    project = copy_at(version, architecture="custom", num_classes=4)
    settings = project.path / "config.properties"
    ours = "allowed_urls=https://models.example.com/.*\n"
    settings.write_text(settings.read_text().replace("allowed_urls=file://.*\n", ours))
    commit(project)
    command = [sys.executable, "-m", "copier", "update", "--defaults", f"--vcs-ref={PRESENT}"]
    result = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    shown = re.search(r"^ *(git grep .*?) *#", result.stderr, re.MULTILINE)
    assert shown, result.stderr
    found = subprocess.run(shown[1], shell=True, cwd=project.path, capture_output=True, text=True)
    assert found.stdout.startswith("config.properties:")
    commit(project)  # in spite of it
    tests = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_smoke.py",
        "-k",
        "conflict",
    )
    refused = project.run(*tests)
    assert refused.returncode == 1
    assert "config.properties:" in refused.stdout
    settings.write_text(
        re.sub(r"<{7}.*\n(?s:.*?)={7}\n(?s:.*?)>{7}.*\n", ours, settings.read_text())
    )
    assert project.run(*tests).returncode == 0


def test_copier_finds_newer_releases_and_so_does_renovate(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{history}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/org/ts-template.git")
    project = Project(tmp_path / "project")

    def copier(*words: str, folder: Path = project.path) -> subprocess.CompletedProcess[str]:
        return forked.run(["-m", "copier", *words], folder)

    source = ("gh:org/ts-template", str(project.path))  # as in the README
    result = copier("copy", "--defaults", f"--vcs-ref={PRESENT}", *source, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    git(project.path, "init", "-q")
    commit(project)
    assert copier("check-update", "--quiet").returncode == 2
    result = copier("check-update", "--output-format", "json")
    assert json.loads(result.stdout) == {
        "update_available": True,
        "current_version": PRESENT,
        "latest_version": FUTURE,
    }
    # As Renovate calls it; what it reads are these two entries, and it does not know gh: in them.
    result = copier(
        *("update", "--skip-answered", "--defaults", "--answers-file", ".copier-answers.yml"),
        *("--vcs-ref", FUTURE),
    )
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    assert answers["_commit"] == FUTURE
    assert answers["_src_path"] == "https://github.com/org/ts-template"
    assert copier("check-update", "--quiet").returncode == 0


# ------------------------------------------------------------------------------- the interface


def interface(
    config: Mapping[str, Any], architectures: Mapping[str, Mapping[str, Any]]
) -> dict[str, set[str]]:
    """Return the values of each question that people answer; none for a free text."""
    values: dict[str, set[str]] = {}
    for name, question in config.items():
        if name.startswith("_") or question.get("when") is False:
            continue
        choices = question.get("choices")
        values[name] = set(architectures) if name == "architecture" else set()
        if name == "family":
            values[name] = {architecture["family"] for architecture in architectures.values()}
        if isinstance(choices, dict):
            values[name] = {x["value"] if isinstance(x, dict) else x for x in choices.values()}
    return values


@pytest.mark.parametrize("version", [OLDEST, *map(slow, BETWEEN), NEWEST])
def test_no_question_and_no_value_of_a_release_is_gone(version: str, tmp_path: Path) -> None:
    with tarfile.open(RELEASES[version]) as archive:
        archive.extractall(tmp_path, filter="data")
    config = facts.merged(tmp_path / "copier.yml", tmp_path)
    archs = json.loads((tmp_path / "generator" / "archs.json").read_text("utf-8"))
    present = {name: set(question.values) for name, question in options.questions().items()}
    for name, values in interface(config, archs).items():
        assert name in present, f"{name} was a question of {version}; keep its answer alive"
        assert values <= present[name], f"{name} had more values in {version}: {values}"


# ------------------------------------------------------------------------------------ releasing


def test_a_release_is_a_changelog_entry_a_tag_and_what_the_tests_keep(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(REPOSITORY), str(clone))
    git(clone, "config", "user.name", "Test")
    git(clone, "config", "user.email", "test@example.com")
    changelog = clone / "CHANGELOG.md"
    text = changelog.read_text()
    heading = "## [Unreleased]\n"
    before, _, after = text.partition(heading)
    changelog.write_text(f"{before}{heading}\n### Added\n\n- Something.\n{after}")

    def release(version: str) -> subprocess.CompletedProcess[str]:
        return ts_template("release", version, cwd=clone, root=clone)

    assert "not committed" in release("99.0").stderr
    commit(Project(clone))
    for version, said in {"1.x": "PEP 440", "99.0-rc1": "99.0rc1", "0.0.1": "not above"}.items():
        assert said in release(version).stderr
    assert git(clone, "status", "--porcelain") == ""
    result = release("99.0")
    assert result.returncode == 0, result.stderr
    assert re.search(r"## \[Unreleased\]\n\n## \[99\.0\] - \d{4}-", changelog.read_text())
    assert '\nversion = "99.0"\n' in (clone / "pyproject.toml").read_text()
    assert "- Something." in git(clone, "tag", "--list", "-n99", "99.0")
    with tarfile.open(clone / "tests" / "releases" / "99.0.tar.xz") as archive:
        assert {"copier.yml", "generator/archs.json"} <= set(archive.getnames())
    assert "nothing under" in release("99.1").stderr
