"""Runs a project on Ray Serve, and sends two servers the same; for the tests and the proof."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from generator import hostile, torture
from generator.shared.ports import free_port
from generator.torture import alike
from generator.workers import workers_of

STARTUP_SECONDS = 180
PATH = "/predictions/image-classifier"
BOUND = 60  # seconds within which a client must get something
IMAGES = [hostile.encode(hostile.random_image(seed), "PNG") for seed in range(8)]
BIN = Path(sys.executable).parent


def one_worker(project: Path) -> None:
    """Let TorchServe start one worker of a project, and not one per core: each imports torch."""
    with (project / "config.properties").open("a") as file:
        file.write("default_workers_per_model=1\n")


@dataclass
class Cluster:
    """Ray on this machine: a head, and nodes that are processes of their own.

    Attributes:
        project: the project that it serves.
        address: where the head listens.
        url: that of the model.
        nodes: the processes of the nodes; the head is the first.
    """

    project: Path
    address: str
    url: str
    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The URL without its path."""
        return "http://" + urlsplit(self.url).netloc

    @property
    def environment(self) -> dict[str, str]:
        """The variables for Ray's commands: those of a machine that has the project."""
        return {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(self.project), os.environ.get("PYTHONPATH")))
            ),
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers are to be this very Python
            "RAY_AUTH_MODE": "token",  # whoever else reaches Ray's ports could run code
            "RAY_AUTH_TOKEN": self.token,
            # A proxy that is slow because other tests take the cores is not to be replaced.
            "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
        }

    def start_node(self, cpus: int = 1) -> None:
        """Start a node: the head, if there is none yet."""
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            f"--num-cpus={cpus}",
        ]
        command += [f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
        if self.nodes:
            command += [f"--address={self.address}"]
        else:
            port = urlsplit(f"//{self.address}").port
            command += ["--head", f"--port={port}", "--include-dashboard=false"]
            command += ["--node-ip-address=127.0.0.1", f"--ray-client-server-port={free_port()}"]
        with Path(self.folder, f"node{len(self.nodes)}.log").open("wb") as log:
            self.nodes.append(
                subprocess.Popen(
                    command,
                    cwd=self.project,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def kill_node(self, number: int) -> None:
        """End a node as a power cut would."""
        processes = children(self.nodes[number].pid)
        for pid in (self.nodes[number].pid, *processes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[number].wait()

    def run(self, config: dict[str, Any]) -> None:
        """Have Ray Serve do what a config says, as `serve run` does."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "ray.serve.scripts", "run", "--non-blocking"]
        command += [f"--address={self.address}"]
        for _ in range(20):  # the head may not be there yet
            result = subprocess.run(
                [*command, str(path)],
                cwd=self.project,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode == 0:
                return
            time.sleep(1)
        raise RuntimeError(f"serve run failed:\n{result.stdout}{result.stderr}")

    def python(self, code: str) -> str:
        """Run Python code with `serve` connected to the cluster, and return what it prints."""
        start = (
            f"import ray; from ray import serve; ray.init('{self.address}', log_to_driver=False)"
        )
        result = subprocess.run(
            [sys.executable, "-c", f"{start}\n{code}"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout.strip()

    def replicas(self) -> int:
        """Return how many replicas are running."""
        output = self.python(
            "for app in serve.status().applications.values():\n"
            "    print(app.deployments['Service'].replica_states.get('RUNNING', 0))"
        )
        return int(output or 0)

    def wait_until(self, replicas: int = 1, seconds: float = STARTUP_SECONDS) -> None:
        """Return when the service is ready and so many replicas run."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _ = send(f"{self.base}/ping", b"", method="GET", timeout=5)
                if status == 200 and (replicas <= 1 or self.replicas() == replicas):
                    return
            time.sleep(0.5)
        logs = sorted(self.folder.glob("ray/session_latest/logs/serve/*.log"))
        ends = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
        raise RuntimeError(f"not ready after {seconds:.0f} s:\n{ends}")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


@contextlib.contextmanager
def ray_cluster(project: Path, nodes: int = 1, cpus: int = 1) -> Iterator[Cluster]:
    """Start a Ray cluster without an application; stop it by its process ids."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets need a short path
    cluster = Cluster(project, f"127.0.0.1:{free_port()}", "", folder)
    try:
        for _ in range(nodes):
            cluster.start_node(cpus)
        config = read_config(project)
        port = free_port()
        cluster.url = f"http://127.0.0.1:{port}/predictions/{config['applications'][0]['name']}"
        yield cluster
    finally:
        for number in range(len(cluster.nodes) - 1, -1, -1):
            cluster.kill_node(number)
        shutil.rmtree(folder, ignore_errors=True)


def read_config(project: Path) -> dict[str, Any]:
    """Return the project's Serve config."""
    text = (project / "deploy" / "ray_serve" / "config.yaml").read_text()
    config: dict[str, Any] = yaml.safe_load(text)
    return config


def config_for(cluster: Cluster, archive: str = "", **autoscaling: float) -> dict[str, Any]:
    """Return the project's Serve config, at the cluster's port; perhaps with another archive.

    Nodes on one machine cannot each have a proxy at the same port: there is one, on the head.
    """
    config = read_config(cluster.project)
    config["proxy_location"] = "HeadOnly"
    config["http_options"]["port"] = urlsplit(cluster.url).port
    deployment = config["applications"][0]["deployments"][0]
    deployment["autoscaling_config"] |= autoscaling
    if archive:
        deployment["user_config"]["archive"] = archive
    return config


# -------------------------------------------------------------------------------------- requests

Reply = tuple[int, bytes]


def send(
    url: str,
    body: bytes,
    content_type: str = hostile.BINARY,
    method: str = "POST",
    timeout: float = 120,
) -> Reply:
    """Send one request and return status and body."""
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def mixed_requests(project: Path, count: int, seed: int = 0) -> list[torture.Request]:
    """Return requests, half of them bad, all of which are HTTP that a server can read."""
    files, predictions = torture.distinct_predictions(project, seed, 40)
    planned = torture.planned(files, predictions, 2 * count, count, seed, "/predictions/x")
    return [request for request in planned if not request.raw][:count]


@dataclass
class Comparison:
    """What two servers replied to the same requests.

    Attributes:
        equal: how often which status came from both, with the same body.
        unread_forms: broken forms that TorchServe cannot read, and refuses with 500.
        different: all else.
    """

    equal: Counter[int] = field(default_factory=Counter)
    unread_forms: int = 0
    different: list[str] = field(default_factory=list)


def compare(torchserve: str, other: str, requests: list[torture.Request]) -> Comparison:
    """Send the requests to both, 16 at once, and compare."""
    with ThreadPoolExecutor(16) as pool:
        ours = list(pool.map(lambda x: send(other, x.body, x.content_type), requests))
        theirs = list(pool.map(lambda x: send(torchserve, x.body, x.content_type), requests))
    outcome = Comparison()
    for request, one, two in zip(requests, theirs, ours, strict=True):
        is_form = "form" in request.content_type
        if one[0] == two[0] and same_body(one[1], two[1]):
            outcome.equal[one[0]] += 1
        elif is_form and (one[0] == 500 or "urlencoded" in request.content_type):
            outcome.unread_forms += 1
        else:
            outcome.different.append(f"{request.kind}: {one} from TorchServe, {two}")
    return outcome


def same_body(one: bytes, two: bytes) -> bool:
    """Tell whether two bodies are the same, but for rounding."""
    if one == two:
        return True
    try:
        first, second = json.loads(one), json.loads(two)
    except ValueError:
        return False
    return torture.alike(first, second)


# ------------------------------------------------------------------------------------------ load


@dataclass
class Load:
    """What clients met that sent one request after another.

    Attributes:
        tries: how often each status came; "end" is a connection that ended.
        done, lost: requests, after all their tries.
        seconds: those of each request that is done.
    """

    tries: Counter[Any] = field(default_factory=Counter)
    done: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)
    duration: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.done / self.duration

    def percentile(self, share: float) -> float:
        """Return milliseconds within which this share of the requests was done."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Clients:
    """Clients in threads, each with a connection, that send images until they are stopped.

    Args:
        url: Where to.
        count: How many there are.
        retries: How often a request is sent again that got no reply, 500 or 503.
        size: Of the images, width and height.
    """

    def __init__(
        self, url: str, count: int, retries: int = 0, size: tuple[int, int] = (48, 36)
    ) -> None:
        self.url, self.retries = urlsplit(url), retries
        self.bodies = [
            hostile.encode(hostile.random_image(seed, size), "JPEG", quality=90)
            for seed in range(20)
        ]
        self.load, self.lock, self.done = Load(), threading.Lock(), threading.Event()
        self.began = time.monotonic()
        self.threads = [
            threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> Load:
        """Stop the clients, each after its reply, and return what they met."""
        self.done.set()
        self.load.duration = time.monotonic() - self.began
        for thread in self.threads:
            thread.join()
        return self.load

    def _client(self, number: int) -> None:
        rng, connection = random.Random(number), None
        while not self.done.is_set():
            began = time.monotonic()
            for attempt in range(self.retries + 1):
                connection, status = self._send(connection, rng.choice(self.bodies))
                with self.lock:
                    self.load.tries[status] += 1
                if status == 200:
                    break
                if attempt < self.retries:  # longer each time, and not all clients at once
                    time.sleep(0.1 * 2**attempt * rng.uniform(0.5, 1))
            with self.lock:
                if status == 200:
                    self.load.done += 1
                    self.load.seconds.append(time.monotonic() - began)
                else:
                    self.load.lost += 1

    def _send(
        self, connection: http.client.HTTPConnection | None, body: bytes
    ) -> tuple[http.client.HTTPConnection | None, int | str]:
        host, port = str(self.url.hostname), self.url.port
        connection = connection or http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request("POST", self.url.path, body, {"Content-Type": hostile.BINARY})
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None, "end"
        return connection, reply.status


class Images:
    """Clients that send images one after another, and count what comes back.

    "right" is a right prediction, "wrong" another one; else the status, "end" or "hang".
    """

    def __init__(self, url: str, expected: list[Any], clients: int = 8) -> None:
        self.counts: Counter[str] = Counter()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(url, expected, number), daemon=True)
            for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str, expected: list[Any], number: int) -> None:
        client = torture.Client(url)
        while not self._done.is_set():
            number = (number + 1) % len(IMAGES)
            status, body, _ = client.send(torture.Request("", IMAGES[number], "image/png"))
            if status == "200":
                status = "right" if alike(json.loads(body), expected[number]) else "wrong"
            with self._lock:
                self.counts[status] += 1
            if status == "end":
                time.sleep(0.05)  # nobody listens

    def more(self, count: int) -> None:
        """Wait until so many more predictions were right."""
        with self._lock:
            goal = self.counts["right"] + count
        end = time.monotonic() + BOUND
        while self.counts["right"] < goal:
            assert time.monotonic() < end, self.counts
            time.sleep(0.01)

    def stop(self) -> Counter[str]:
        """End the clients and return what they saw."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        return self.counts


def ready(model: str) -> list[int]:
    """Return the process ids of the workers that are ready; `model` is as for `workers_of`."""
    return [x["pid"] for x in workers_of(model) if x["status"] == "READY"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def certificate(folder: Path, name: str, key: str) -> None:
    """Write a certificate for localhost, and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", key, "-out", name, "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
