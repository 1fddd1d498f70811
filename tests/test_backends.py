"""What runs the network: made by archive.py, compared with the network as it was trained."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Project, build_and_save, encode, noise
from engines import one_worker

NETWORK: dict[str, Any] = {"architecture": "custom", "num_classes": 4, "color_mode": "RGB"}


def with_images(project: Project, count: int = 24) -> Project:
    """Give a project weights, and images of the kind that it will get."""
    build_and_save(project)
    folder = project.path / "pictures" / "more"
    folder.mkdir(parents=True)
    for seed in range(count):
        (folder / f"{seed}.png").write_bytes(encode(noise(seed)))
    return project


def refused(result: subprocess.CompletedProcess[str], *message: str) -> None:
    assert result.returncode == 1
    for words in message:
        assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"backend": "onnxruntime", "precision": "bf16"}, "fp32 or int8"),
        ({"backend": "eager", "precision": "int8"}, "onnxruntime or openvino"),
        ({"precision": "fp16"}, "bf16 for a CPU"),
        ({"accelerator": "cuda", "backend": "openvino"}, "aot_inductor for a GPU"),
        ({"accelerator": "cuda", "weights": "onnx"}, "runs on the CPU"),
        ({"decode": "gpu"}, "no GPU to decode on"),
    ],
)
def test_answers_that_do_not_go_together_are_refused(
    copy_project: Callable[..., Project], answers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        copy_project(**answers)


def test_int8_wants_images(copy_project: Callable[..., Project]) -> None:
    project = copy_project(backend="onnxruntime", precision="int8", **NETWORK)
    with_images(project, 3)
    refused(project.run("archive.py"), "3 were found", "--pictures FOLDER")
    assert not list((project.path / "model-store").iterdir())


def test_labels_are_read_before_the_conversion_which_takes_longest(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(**NETWORK, backend="onnxruntime", label_format="list")
    build_and_save(project)
    (project.path / "labels.json").unlink()
    result = project.run("archive.py")
    refused(result, "labels.json")
    assert "labels" in result.stdout and "conversion" not in result.stdout


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_damaged_image_is_named(copy_project: Callable[..., Project], precision: str) -> None:
    project = copy_project(backend="onnxruntime", precision=precision, **NETWORK)
    with_images(project)
    (project.path / "pictures" / "bad.jpg").write_bytes(encode(noise(0), "JPEG")[:-200])
    refused(project.run("archive.py"), "bad.jpg: ", "damaged", "take it away")
    assert not list((project.path / "model-store").iterdir())


def test_answers_that_differ_too_much_are_refused(copy_project: Callable[..., Project]) -> None:
    project = with_images(copy_project(precision="bf16", **NETWORK))
    result = project.run("archive.py", "--max-difference", "0")
    refused(result, "24 images", "-d backend=eager -d precision=fp32")
    assert not list((project.path / "model-store").iterdir())
    result = project.run("archive.py")
    assert result.returncode == 0, result.stderr
    assert "24 images" in result.stdout


@pytest.mark.serve
def test_the_service_answers_in_onnx_runtime_as_in_pytorch(
    copy_project: Callable[..., Project],
) -> None:
    eager = with_images(copy_project("eager", **NETWORK))
    fast = copy_project("fast", backend="onnxruntime", **NETWORK)
    weights = next((eager.path / "weights").glob("*.pth"))
    (fast.path / "weights" / weights.name).write_bytes(weights.read_bytes())
    images = sorted((eager.path / "pictures" / "more").iterdir())[:8]
    eager.archive()
    fast.archive()
    expected = eager.predict(*images)
    one_worker(fast.path)
    with fast.serve() as service:
        for path, answer in zip(images, expected, strict=True):
            found = {x["index"]: x["probability"] for x in service.post(path.read_bytes()).json}
            assert found == pytest.approx({x["index"]: x["probability"] for x in answer}, abs=1e-5)
    members = zipfile.ZipFile(fast.path / "model-store" / "image-classifier.mar").namelist()
    assert "model.onnx" in members
    assert "service/model.py" in members  # as all of service/


# A worker of an archive that is unpacked. It is told in lines what to do, and answers in lines.
WORKER = """
import sys
from pathlib import Path
from service.cores import available_cores
from tools.inprocess import open_archive

class Session:
    def __init__(self, threads, session):
        self.threads, self.session = threads, session

    def run(self, *arguments):
        print(self.threads, end=" ")
        return self.session.run(*arguments)

with open_archive(Path(sys.argv[1])) as service:
    handler = service.handler
    model = handler.model
    model.sessions = {key: Session(key, value) for key, value in model.sessions.items()}
    print(available_cores(), flush=True)
    for line in sys.stdin:
        if line == "predict\\n":
            print(service.predict([{"body": Path(sys.argv[2]).read_bytes()}]), flush=True)
        else:
            with handler.cores.at_work():
                print("begun", flush=True)
                sys.stdin.readline()
            print("done", flush=True)
"""


@contextlib.contextmanager
def worker(project: Project, *words: str) -> Iterator[Callable[[str], str]]:
    """Run WORKER in a project; yield what tells it something, and returns what it answers."""
    command = [sys.executable, "-c", WORKER, *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=project.path, stdin=pipe, stdout=pipe, text=True)
    with process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def tell(line: str) -> str:
            if line == "die":
                process.kill()
                process.wait()
                return ""
            stdin.write(f"{line}\n")
            stdin.flush()
            return stdout.readline().strip()

        try:
            if stdout.readline() == "1\n":
                pytest.skip("one core is nobody's idle one")
            yield tell
        finally:
            process.kill()


def test_a_worker_takes_the_cores_of_those_that_have_no_work(
    copy_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    network = NETWORK | {"architecture": "squeezenet1_1"}  # a smaller one gains nothing
    project = with_images(copy_project(backend="onnxruntime", **network))
    project.archive()
    archive = tmp_path / "archive"
    zipfile.ZipFile(project.path / "model-store" / "image-classifier.mar").extractall(archive)
    words = [str(archive), str(next((project.path / "pictures" / "more").iterdir()))]
    with worker(project, *words) as first, worker(project, *words) as second:
        threads, _, expected = first("predict").partition(" ")
        assert int(threads) > 1
        assert second("predict") == f"{threads} {expected}"
        assert second("work") == "begun"
        assert first("predict") == f"1 {expected}"  # the same to the last bit
        assert second("rest") == "done"
        time.sleep(1.1)  # for a second it expects the other's next request
        assert first("predict") == f"{threads} {expected}"
        assert second("work") == "begun"
        assert first("predict") == f"1 {expected}"
        second("die")
        time.sleep(1.1)
        assert first("predict") == f"{threads} {expected}"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with worker(project, *words) as lone:
        assert lone("predict") == f"1 {expected}"


@pytest.mark.slow
@pytest.mark.serve
def test_tune_sets_what_is_fastest(copy_project: Callable[..., Project], tmp_path: Path) -> None:
    project = with_images(copy_project(**NETWORK))
    image = next((project.path / "pictures" / "more").iterdir())
    project.archive()
    before = (project.path / "model-config.yaml").read_text("utf-8")
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    refused(project.run("serve.py", "--tune", str(text)), "text.jpg", "neither an image")
    assert (project.path / "model-config.yaml").read_text("utf-8") == before

    on_one_core = (  # on which there is less to try
        "import os, runpy; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "runpy.run_path('tune.py', run_name='__main__')"
    )
    result = project.run("-c", on_one_core, "--seconds", "0.2", "--json", str(image))
    assert result.returncode == 0, result.stderr
    best, *others = json.loads(result.stdout)
    assert all(x["per_second"] > 0 and x["alone_p50_ms"] > 0 for x in (best, *others))
    assert sorted((x["workers"], x["batch"]) for x in (best, *others)) == [(1, 1), (1, 8)]

    def values() -> dict[str, int]:
        config = yaml.safe_load((project.path / "model-config.yaml").read_text("utf-8"))
        return {name: config[name] for name in ("batchSize", "minWorkers", "maxWorkers")}

    workers, batch = best["workers"], best["batch"]
    assert values() == {"batchSize": batch, "minWorkers": workers, "maxWorkers": workers}
    result = project.run("tune.py", "--set", "3", "5")
    assert "now have batchSize: 5, minWorkers: 3, maxWorkers: 3" in result.stdout, result.stderr
    assert values() == {"batchSize": 5, "minWorkers": 3, "maxWorkers": 3}
    for words in (("--set", "3", "0"), ("--set", "3", "5", str(image)), ()):
        assert project.run("tune.py", *words).returncode == 2
    text = (project.path / "model-config.yaml").read_text("utf-8")
    with zipfile.ZipFile(project.path / "model-store" / "image-classifier.mar") as archive:
        assert archive.read("model-config.yaml").decode() == text
        assert archive.testzip() is None
    assert [path.name for path in (project.path / "model-store").iterdir()] == [
        "image-classifier.mar"
    ]
    assert project.predict(image)


def test_a_project_for_gpus_shares_the_cores_where_there_is_none(
    copy_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(architecture="custom", num_classes=4, accelerator="cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = project.run("-c", "from service.cores import share_cores; print(share_cores(None))")
    assert result.stdout == "1\n", result.stderr
