"""Faults, and what people and clients see: a right prediction or a clear error, and soon."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conftest import Project, copy_of, spoil_archive
from engines import BOUND, IMAGES, Images, one_worker, ready, wait_for
from generator.shared.ports import free_port
from generator.torture import alike


@pytest.fixture
def project(with_archive: Project, tmp_path: Path) -> Project:
    """A project with an archive."""
    return copy_of(with_archive, tmp_path / "project")


# -------------------------------------------------------------------------------------- the server


@pytest.mark.serve
def test_killed_workers_are_an_error_for_their_batch_and_come_back(project: Project) -> None:
    with project.serve() as service:
        expected = [service.post(data).json for data in IMAGES]
        number = len(ready(service.model))
        load = Images(service.url, expected)
        load.more(50)
        first = ready(service.model)[0]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: first not in ready(service.model))
        wait_for(lambda: len(ready(service.model)) == number)
        load.more(50)
        for victim in ready(service.model):  # all at once
            os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(ready(service.model)) == number)
        load.more(50)
        counts = load.stop()
        assert set(counts) <= {"right", "500", "507"}, counts
        assert [service.post(data).json for data in IMAGES] == expected


@pytest.mark.serve
def test_a_server_whose_workers_do_not_come_back_ends(project: Project) -> None:
    with project.serve("--timeout", "20") as service:
        (java,) = psutil.Process(service.process.pid).children()
        # As a cleaner of temporary files does: new workers find nothing to load.
        shutil.rmtree(Path(java.environ()["TMPDIR"], "models"))
        for victim in ready(service.model):
            os.kill(victim, signal.SIGKILL)
        assert service.process.wait(20 + BOUND) == 1
        assert service.process.stdout is not None
        assert "no worker was ready for 20 s" in service.process.stdout.read()


@pytest.mark.serve
def test_a_restart_ends_connections_and_nothing_else(project: Project) -> None:
    ports = [str(free_port()) for _ in range(3)]
    options = ["--port", ports[0], "--management-port", ports[1], "--metrics-port", ports[2]]
    one_worker(project.path)
    with project.serve(*options) as service:
        expected = [service.post(data).json for data in IMAGES]
        load = Images(service.url, expected)
        load.more(50)
    with project.serve(*options):
        load.more(50)
        counts = load.stop()
    assert set(counts) <= {"right", "end", "500", "503"}, counts
    assert counts["end"]


@pytest.mark.serve
def test_an_archive_that_lacks_its_labels_is_named(project: Project) -> None:
    archive = project.path / "model-store" / "image-classifier.mar"
    spoil_archive(archive, "index_to_name.json")
    one_worker(project.path)
    result = project.run(
        "serve.py", *(x for name in ("", "management-", "metrics-") for x in (f"--{name}port", "0"))
    )
    assert result.returncode == 1
    assert "the model does not load" in result.stderr
    assert "index_to_name.json" in result.stderr
    (project.path / "image.png").write_bytes(IMAGES[0])
    result = project.run("predict.py", "image.png")
    assert result.returncode == 1
    assert "index_to_name.json" in result.stderr
    assert "Traceback" not in result.stderr
    project.archive()
    assert project.predict(project.path / "image.png")


def test_a_damaged_archive_is_named_at_once(project: Project) -> None:
    archive = project.path / "model-store" / "image-classifier.mar"
    (project.path / "image.png").write_bytes(IMAGES[0])
    whole = archive.read_bytes()
    middle = len(whole) // 2
    for content in (
        b"",
        b"no archive at all",
        whole[:middle],
        whole[middle:],
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    ):
        archive.write_bytes(content)
        for command in (["serve.py"], ["predict.py", "image.png"]):
            result = project.run(*command)
            assert result.returncode == 1, (len(content), command)
            assert "python archive.py" in result.stderr, result.stderr
            assert "Traceback" not in result.stderr
    project.archive()
    assert project.predict(project.path / "image.png")


# ---------------------------------------------------------------------------------------- the disk


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder; skip the test where that is not allowed."""
    result = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if result.returncode:
        pytest.skip(f"cannot mount: {result.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="needs mount")
@pytest.mark.parametrize("size", ["100k", "350k", "700k"])
def test_a_full_disk_is_an_error_and_leaves_what_was(project: Project, size: str) -> None:
    store = project.path / "model-store"
    before = (store / "image-classifier.mar").read_bytes()
    disk = project.path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        result = project.run("archive.py", "--output", "disk/store")
        assert result.returncode == 1
        assert re.search("cannot build in|No space left", result.stderr), result.stderr
        assert "Traceback" not in result.stderr
        assert not list((disk / "store").iterdir())
    assert (store / "image-classifier.mar").read_bytes() == before


def test_a_quota_is_an_error_and_leaves_what_was(project: Project) -> None:
    archive = project.path / "model-store" / "image-classifier.mar"
    before = archive.read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = subprocess.run(
        [sys.executable, "archive.py"],
        cwd=project.path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "cannot build in" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert archive.read_bytes() == before


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to a folder, root included."""
    if os.geteuid() == 0:
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            yield
    else:
        paths = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in paths:
            path.chmod(0o555)
        try:
            yield
        finally:
            for path in paths:
                path.chmod(0o755)


@pytest.mark.serve
def test_a_project_that_cannot_be_written_still_serves(project: Project, tmp_path: Path) -> None:
    (project.path / "image.png").write_bytes(IMAGES[0])
    one_worker(project.path)
    with read_only(project.path):
        expected = project.predict(project.path / "image.png")
        with project.serve() as service:
            assert alike(service.post(IMAGES[0]).json, expected[0])
        result = project.run("archive.py")
        assert result.returncode == 1
        assert "--output FOLDER" in result.stderr
        assert "Traceback" not in result.stderr
        project.archive("--output", str(tmp_path / "elsewhere"))
        refused = project.run("serve.py", "--tokens", "--port", "0", "--management-port", "0")
        assert refused.returncode == 1
        assert "key_file.json" in refused.stderr
        assert "Traceback" not in refused.stderr


# ------------------------------------------------------------------------------------------ Ctrl-C


def interrupt(
    project: Project,
    command: list[str],
    tmp_path: Path,
    when: Callable[[int, str], bool],
    again: int = 1,
) -> tuple[int, str]:
    """Run a script in a terminal's place and press Ctrl-C when told; return status and output.

    Args:
        project: Where to run it.
        command: The script and its arguments.
        tmp_path: For the script's temporary files, of which none may stay behind.
        when: Gets the process id and what was printed so far.
        again: How often to press it again, every 50 ms.
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=project.path,
            env={**os.environ, "TMPDIR": str(scratch)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, as in a terminal
        )
    family = [psutil.Process(process.pid)]
    while process.poll() is None and not when(process.pid, output.read_text()):
        time.sleep(0.01)
    with contextlib.suppress(psutil.NoSuchProcess):
        family += family[0].children(recursive=True)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        for _ in range(again):  # for good measure, as people do
            time.sleep(0.05)
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
    status = process.wait(BOUND)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    # What torch and the JVM leave for their own next start is not the project's.
    left = [path.name for path in scratch.iterdir() if path.name.startswith(("ts-", "image-"))]
    assert not left
    return status, output.read_text()


def imports_torch(pid: int, _output: str) -> bool:
    """Tell whether a process has begun to load torch."""
    with contextlib.suppress(OSError):
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    return False


def printed(word: str) -> Callable[[int, str], bool]:
    """Return a condition: the script has printed this."""
    return lambda _pid, output: word in output


def test_a_reader_that_has_enough_ends_a_command_quietly(project: Project, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(IMAGES[0])
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does
    result = subprocess.run(
        [sys.executable, "predict.py", str(image)],
        cwd=project.path,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_a_profile_without_time_has_one_request(project: Project) -> None:
    code = (
        "from tools.profiling import profile; "
        f"print(all(x > 0 for x in profile([{IMAGES[0]!r}], 0).values()))"
    )
    result = project.run("-c", code)
    assert result.stdout == "True\n", result.stderr


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("script", ["archive.py", "predict.py"])
def test_ctrl_c_while_torch_is_imported_is_quiet(
    project: Project, tmp_path: Path, script: str
) -> None:
    (project.path / "image.png").write_bytes(IMAGES[0])
    status, text = interrupt(
        project, [script, "image.png"][: 1 + (script == "predict.py")], tmp_path, imports_torch
    )
    assert status == -signal.SIGINT
    assert text == ""


@pytest.mark.parametrize(
    ("step", "archive_format"),
    [
        ("[1/4]", "zip-store"),
        ("[2/4]", "zip-store"),
        ("[3/4]", "zip-store"),
        ("[4/4]", "zip-store"),
        ("[4/4]", "no-archive"),
    ],
)
def test_ctrl_c_while_building_leaves_the_archive_before(
    project: Project, tmp_path: Path, step: str, archive_format: str
) -> None:
    command = ["archive.py", "--format", archive_format]
    if archive_format == "no-archive":
        project.archive(*command[1:])
    store = project.path / "model-store"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    status, text = interrupt(project, command, tmp_path, printed(step))
    assert status == -signal.SIGINT, text
    assert "Traceback" not in text
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def children(pid: int) -> list[str]:
    """Return the command lines of all processes below one."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found.append(" ".join(child.cmdline()))
    return found


@pytest.mark.serve
@pytest.mark.parametrize(
    "when",
    [
        printed("starting"),
        lambda pid, _: any("java" in line for line in children(pid)),
        lambda pid, _: any("model_service_worker" in line for line in children(pid)),
        printed("is ready"),
    ],
    ids=["at the start", "with Java", "with workers", "when ready"],
)
def test_ctrl_c_ends_the_server_with_all_its_processes(
    project: Project, tmp_path: Path, when: Callable[[int, str], bool]
) -> None:
    options = [
        x for name in ("", "management-", "metrics-") for x in (f"--{name}port", str(free_port()))
    ]
    status, text = interrupt(project, ["serve.py", *options], tmp_path, when, again=100)
    assert status == 0, text
    assert text.endswith("stopped\n")
    assert "Traceback" not in text
