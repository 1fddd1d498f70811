"""Fixtures: rendered projects, trained weights, real servers."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Idle threads of OpenMP keep their cores busy for a while, in case more work comes, and the tests
# run several programs on each core. torch reads this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch
from copier import Settings, run_copy
from PIL import Image
from torch import nn

import compiled  # noqa: F401 - it stays in force
import forked
from generator import rendering
from generator.fast import FastRenderer
from generator.rendering import plain_copy
from generator.torture import serving
from generator.workers import model_address

# A run in the background of a shell ignores Ctrl-C, and so would what the tests start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As in an environment that is activated: its programs are found first.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# The tests make and remove so many files that a disk takes most of their time. Memory is chosen
# where there is plenty, and programs may be run from it, unless TMPDIR says what to take.
MEMORY = Path("/dev/shm")
if (
    "TMPDIR" not in os.environ
    and MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > 16 * 2**30
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # it is looked for anew

# What torch compiles it keeps for the next time, which would be gigabytes of that memory.
if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
    compiled_networks = tempfile.mkdtemp(prefix="torchinductor-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled_networks
    atexit.register(shutil.rmtree, compiled_networks, ignore_errors=True)

REPOSITORY = Path(__file__).resolve().parent.parent


def slow(*values: Any) -> Any:
    """Return values of parameters with which a test runs each night, and not in every run."""
    return pytest.param(*values, marks=pytest.mark.slow)


@dataclass(frozen=True)
class Project:
    """A rendered project."""

    path: Path

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts as a user would."""
        return forked.run([script, *arguments], self.path)

    def archive(self, *arguments: str) -> None:
        """Build the archive; the test fails with archive.py's own words if that fails."""
        result = self.run("archive.py", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr

    def predict(self, *images: Path) -> list[Any]:
        """Return what predict.py predicts."""
        result = self.run("predict.py", "--json", *map(str, images))
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout)

    @contextlib.contextmanager
    def serve(self, *arguments: str) -> Iterator[Service]:
        """Run the project's serve.py on free ports; stop it by its process id, with Ctrl-C."""
        with serving(self.path, *arguments) as (url, management, process):
            yield Service(url, management, process)
            process.send_signal(signal.SIGINT)
            process.wait(60)


@dataclass(frozen=True)
class Service:
    """A running TorchServe: the URL of its model, and its management address."""

    url: str
    management: str
    process: subprocess.Popen[str]

    @property
    def model(self) -> str:
        """The model's address among those of management."""
        return model_address(self.url, self.management)

    def post(self, body: bytes, content_type: str = "application/octet-stream") -> Reply:
        """Send one request and return the reply, whatever its status."""
        request = urllib.request.Request(self.url, body, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return Reply(reply.status, reply.headers.get("Content-Type"), reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers.get("Content-Type"), error.read())


@dataclass(frozen=True)
class Reply:
    """Status, content type and body of an HTTP reply."""

    status: int
    content_type: str | None
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@cache
def plain_template() -> Path:
    """Return a copy of the template that is no repository."""
    folder = Path(tempfile.mkdtemp(prefix="template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return plain_copy(folder / "ts-template")


@cache
def renderer() -> FastRenderer:
    """Return what renders the template as Copier does, in a tenth of the time.

    It takes each step of Copier's once for the answers that the step reads, and test_matrix.py
    compares what comes of that. Git, which `test_origin` tests, takes no part.
    """
    return FastRenderer(plain_template())


def render(destination: Path, answers: Mapping[str, Any]) -> None:
    """Render a project; what is in its folder already stays."""
    if destination.exists():
        rendering.render(destination, answers, plain_template())
    else:
        renderer().render(destination, answers)


def announce(url: str, length: int) -> tuple[int, bytes]:
    """Announce a request of so many bytes, as curl does; return the server's status and body.

    Status 100 asks for the request. Who sends it unasked may find the connection ended before the
    reply that refuses it.
    """
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(
            f"POST {place.path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        status = int(stream.readline().split()[1])
        headers = http.client.parse_headers(stream)
        return status, stream.read(int(headers.get("Content-Length", 0)))


def ts_template(
    *words: str, cwd: Path | None = None, root: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """Run the command line of a checkout, without a terminal; what it prints is wide and plain."""
    environment = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(root)}
    return forked.run(["-m", "generator.cli", *words], cwd or Path.cwd(), environment)


def in_shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user does who has git's identity set, and copier on the PATH."""
    identity = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", "Test"), ("EMAIL", "test@example.com"))
    }
    return subprocess.run(
        command,
        shell=True,
        cwd=cwd,
        env={**os.environ, **identity},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def save_random_weights(network: nn.Module, path: Path, prefix: str = "") -> nn.Module:
    """Give the network seeded weights whose outputs differ from image to image; save them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:  # He initialisation, which keeps the signal through the depth
                scale = (2 / parameter[0].numel()) ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save(state, path)
    return network.eval()


def build_and_save(project: Project) -> None:
    """Save seeded weights for the project's own network, so large that predictions differ."""
    code = (
        "import torch; from service import NUM_CLASSES; from service.model import build_model; "
        "torch.manual_seed(0); network = build_model(NUM_CLASSES); "
        "[parameter.data.mul_(2) for parameter in network.parameters()]; "
        "torch.save(network.state_dict(), 'weights/w.pth')"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def with_archive(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with an archive, of 50 classes; to be copied, see `copy_of`."""
    path = tmp_path_factory.mktemp("with-archive") / "project"
    render(path, {"architecture": "custom", "num_classes": 50, "top_k": 3})
    project = Project(path)
    build_and_save(project)
    project.archive()
    return project


def copy_of(project: Project, path: Path) -> Project:
    """Copy a project to a path that does not exist yet."""
    shutil.copytree(project.path, path)
    return Project(path)


def spoil_archive(path: Path, member: str, old: bytes = b"", new: bytes | None = None) -> None:
    """Replace bytes in a member of an archive; leave the member out if `new` is None."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if new is None:
        del members[member]
    else:
        assert old in members[member]
        members[member] = members[member].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def encode(image: Image.Image, file_format: str = "PNG") -> bytes:
    """Return the image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def chelsea() -> Image.Image:
    """A photograph of a cat, 451 x 300 pixels."""
    from skimage import data

    return Image.fromarray(data.chelsea())


@pytest.fixture(scope="session")
def photographs(chelsea: Image.Image) -> list[Image.Image]:
    """Three photographs that differ."""
    from skimage import data

    return [chelsea, Image.fromarray(data.coffee()), Image.fromarray(data.astronaut())]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread computes. Where tensors are small, more would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def copy_project(tmp_path: Path) -> Callable[..., Project]:
    """Render projects with the given answers, the rest at their defaults."""

    def copy(name: str = "project", **answers: Any) -> Project:
        render(tmp_path / name, answers)
        return Project(tmp_path / name)

    return copy


@pytest.fixture(autouse=True)
def no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what commands print free of terminal escapes."""
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")


def labels_of(folder: Path, names: list[str]) -> None:
    """Write names as index_to_name.json."""
    content = {str(index): name for index, name in enumerate(names)}
    (folder / "index_to_name.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def noise(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return an image of seeded noise; `size` is width and height."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def released_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the template as it is now, committed and tagged."""
    folder = plain_copy(tmp_path_factory.mktemp("released") / "ts-template")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "1.0.0"], ["tag", "1.0.0"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def copy_released(tmp_path: Path, released_template: Path) -> Callable[..., Project]:
    """Render projects from the tagged repository, as a user of a release would."""

    def copy(**answers: Any) -> Project:
        run_copy(
            str(released_template),
            tmp_path / "released-project",
            data=answers,
            defaults=True,
            quiet=True,
            settings=Settings(),
        )
        return Project(tmp_path / "released-project")

    return copy
