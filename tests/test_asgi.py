"""The engine in Python: what it promises besides the contract of all engines."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from conftest import REPOSITORY, Project, Service, build_and_save, copy_of, render, spoil_archive
from engines import BOUND, IMAGES, PATH, Images, certificate, ready, send, wait_for
from generator import edge, hostile
from generator.errors import UserError
from generator.shared.ports import free_port
from generator.torture import serving
from generator.workers import ready_workers

pytestmark = pytest.mark.serve


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with its archive, and another beside it."""
    path = tmp_path_factory.mktemp("asgi") / "project"
    answers = {"architecture": "custom", "color_mode": "RGB", "num_classes": 10}
    render(path, {**answers, "max_request_mb": 1, "deploy": ["asgi", "monitoring"]})
    project = Project(path)
    build_and_save(project)
    config = path / "model-config.yaml"
    config.write_text(f"{config.read_text()}\njobQueueSize: 4\n")
    project.archive("--version", "1.1", "--output", "model-store/1.1")
    config.write_text(config.read_text().replace("jobQueueSize: 4", "jobQueueSize: 100"))
    project.archive()
    return project


@pytest.fixture(scope="module")
def service(project: Project) -> Iterator[Service]:
    """The project, served without Java."""
    with served(project) as service:
        yield service


def served(project: Project, *options: str) -> Any:
    """Run the project's serve.py with this engine."""
    return project.serve("--engine", "asgi", *options)


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Return status, header and body."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=BOUND)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    reply = connection.getresponse()
    return reply.status, reply.headers, reply.read()


def test_no_java_runs(service: Service) -> None:
    family = psutil.Process(service.process.pid).children(recursive=True)
    assert not [process for process in family if "java" in process.name()]
    wait_for(lambda: len(ready(service.model)) == (os.cpu_count() or 1))


@pytest.mark.skipif(sys.platform != "linux", reason="only there does psutil tell the files in use")
def test_torch_is_imported_once(service: Service) -> None:
    def has_torch(process: psutil.Process) -> bool:
        return any("libtorch" in mapped.path for mapped in process.memory_maps())

    server = psutil.Process(service.process.pid)
    assert not has_torch(server)  # to start would take twice as long
    assert any(map(has_torch, server.children(recursive=True)))


def test_requests_on_the_wire_have_one_outcome(service: Service) -> None:
    forms = list(edge.forms(hostile.good_file(0), PATH))
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda form: edge.exchange(service.url, form), forms))
    found = {form.name: outcome for form, outcome in zip(forms, outcomes, strict=True)}
    assert found == {form.name: (form.statuses, form.ends) for form in forms}
    assert service.post(IMAGES[0]).status == 200


def test_senders_that_are_too_slow_are_ended(service: Service) -> None:
    address = service.url.split("/")[2].split(":")
    starts = [b"", b"\r\n", b"POST / HT", edge.post(PATH, b"Content-Length: 9", body=b"x")]
    sockets = [socket.create_connection((address[0], int(address[1]))) for _ in starts]
    for connection, start in zip(sockets, starts, strict=True):
        connection.sendall(start)
        connection.settimeout(BOUND)
    for connection in sockets:
        with connection:
            assert b" 408 " in connection.recv(1000)
            while connection.recv(1000):
                pass


def test_idle_connections_keep_nobody_out_and_are_kept(service: Service) -> None:
    address = service.url.split("/")[2].split(":")
    # More at once than a worker can be handed before it takes them.
    idle = [socket.create_connection((address[0], int(address[1]))) for _ in range(700)]
    assert service.post(IMAGES[0]).status == 200
    for connection in idle:
        connection.setblocking(False)
        with connection, pytest.raises(BlockingIOError):
            connection.recv(1)


def test_requests_have_ids_and_health_has_three_paths(service: Service) -> None:
    for path in ("/health/startup", "/health/live", "/health/ready", "/v2/health/ready"):
        assert ask(service.url, path)[0] == 200
    for given, kept in (("abc-1", True), ("x" * 129, False), ("a b", False)):
        _, headers, _ = ask(service.url, "/ping", X_Request_ID=given)
        assert (headers["x-request-id"] == given) is kept
        assert len(headers["x-request-id"]) in (len(given), 36)
    status, headers, _ = ask(service.url, "/predictions/image-classifier", "DELETE")
    assert (status, headers["allow"]) == (405, "GET, POST, PUT")


def test_a_full_queue_is_not_ready_and_has_started(project: Project) -> None:
    code = """
import asyncio, types
from deploy.asgi.app import Service
from deploy.asgi.web import Refusal
def status(path, **batches):
    service = Service(types.SimpleNamespace(**batches), None, {}, list, print)
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    sent = []
    async def send(message):
        sent.append(message)
    asyncio.run(service.inference(scope, None, send))
    return sent[0]["status"]
for path in ("startup", "ready", "live"):
    loading = status(f"/health/{path}", archive=None, is_full=False)
    print(path, loading, status(f"/health/{path}", archive=1, is_full=True))
"""
    result = project.run("-c", code)
    assert result.stdout.split("\n") == ["startup 503 200", "ready 503 503", "live 200 200", ""]


def test_the_description_is_whole(project: Project, service: Service) -> None:
    status, _, body = ask(service.url, "/openapi.json")
    content = json.loads(body)
    assert (status, content["openapi"], content["info"]["version"]) == (200, "3.1.0", "1.0")
    own = [{k: x for k, x in y.items() if k != "servers"} for y in content["paths"].values()]
    assert "http" not in json.dumps(own)  # it refers to nothing elsewhere
    described: dict[str, set[str]] = {}
    for path, item in content["paths"].items():
        (url,) = [server["url"] for server in item.get("servers", [])] or [service.url]
        assert url.startswith("http://127.0.0.1:"), url
        for method in {"get", "post", "put"} & item.keys():
            found, _, _ = ask(url, path.replace("{version}", "1.0"), method.upper())
            assert str(found) in item[method]["responses"], (method, path, found)
            assert found not in (404, 405) or path == "/token", (method, path)  # without keys
        if "{version}" in path:
            method = "get" if "get" in item else "post"
            assert ask(url, path.replace("{version}", "7"), method.upper())[0] == 404
        described.setdefault(url.split("/")[2], set()).add(path)

    # And all that is served is described.
    code = (
        "from deploy.asgi.app import Service; s = Service(None, None, {}, list, print)\n"
        "for app in (s.inference, s.management): print(*(x[1].pattern for x in app._routes))"
    )
    result = project.run("-c", code)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for address, line in zip([*described][: len(lines)], lines, strict=True):
        for pattern in line.split():
            assert any(re.fullmatch(pattern, path) for path in described[address]), pattern
    assert "/metrics" in list(described.values())[-1]


def test_the_description_is_a_page_that_loads_nothing(service: Service) -> None:
    _, _, body = ask(service.url, "/openapi.json")
    status, headers, page = ask(service.url, "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = page.decode()
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import", text)
    for path in json.loads(body)["paths"]:
        assert f"{path}</code>" in text, path


def test_metrics_have_the_names_of_torchserve(service: Service) -> None:
    assert service.post(IMAGES[0]).status == 200
    assert service.post(b"%PDF-1.7").status == 415
    port = service.process.args[service.process.args.index("--metrics-port") + 1]  # type: ignore[union-attr, arg-type]
    _, _, body = ask(f"http://127.0.0.1:{port}", "/metrics")
    labels = r'\{model_name="image-classifier",model_version="1.0"'
    for name in (
        *(rf"image_{x}_count{labels}" for x in ("decode_seconds", "inference_seconds")),
        *(rf"image_{x}_count{labels}" for x in ("batch_size", "top1_confidence")),
        rf'image_errors_total{labels},status="415"',
        *("ts_inference_requests_total", "ts_inference_latency_microseconds"),
        *("ts_queue_latency_microseconds", "Requests2XX", "Requests4XX", "Requests5XX"),
    ):
        assert re.search(rf"(?m)^{name}[ ,{{}}]", body.decode()), name

    def counted() -> list[int]:
        """Return how many responses there were with 2xx, 4xx and 5xx, of all workers."""
        _, _, body = ask(f"http://127.0.0.1:{port}", "/metrics")
        return [
            int(sum(map(float, re.findall(rf"(?m)^Requests{kind}XX{{.*}} (.*)$", body.decode()))))
            for kind in (2, 4, 5)
        ]

    before = counted()
    refused = [
        ask(service.url, PATH, "POST", Content_Length="1000001")[0],
        send(service.url + "/9.9", IMAGES[0])[0],
        send(service.url, b"", method="DELETE")[0],
        ask(service.url, PATH, "POST", Content_Encoding="gzip")[0],
        ask(service.management, "/models/other")[0],
    ]
    assert refused == [413, 404, 405, 415, 404]
    assert edge.exchange(service.url, edge.Form("", b"no HTTP\r\n\r\n")) == ((400,), True)
    # The scrape before is in it.
    assert counted() == [before[0] + 1, before[1] + len(refused) + 1, before[2]]


@contextlib.contextmanager
def collector() -> Iterator[tuple[str, list[ResourceSpans]]]:
    """Listen as a collector of traces does; yield its address, and what has come."""
    came: list[ResourceSpans] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            came.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", came
        finally:
            server.shutdown()


def test_traces_go_where_the_environment_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with collector() as (endpoint, came):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with served(project) as service:
            status, _, _ = ask(service.url, "/ping", traceparent=f"00-{trace}-{parent}-01")
            assert status == 200
            for body, expected in ((IMAGES[0], 200), (b"%PDF-1.7", 415)):
                connection = http.client.HTTPConnection(service.url.split("/")[2], timeout=BOUND)
                headers = {"traceparent": f"00-{trace}-{parent}-01"}
                connection.request("POST", PATH, body, headers)
                assert connection.getresponse().status == expected
        # The server has ended: all has come.
    spans = [span for found in came for scope in found.scope_spans for span in scope.spans]
    names = {x.key: x.value.string_value for found in came for x in found.resource.attributes}
    assert names["service.name"] == "image-classifier"
    assert {span.trace_id.hex() for span in spans} == {trace}
    requests = {span.span_id: span for span in spans if span.parent_span_id.hex() == parent}
    assert [span.name for span in requests.values()] == [f"POST {PATH}"] * 2
    statuses = [x.value.int_value for span in requests.values() for x in span.attributes]
    assert {200, 415} <= set(statuses)
    for own, request in requests.items():
        inner = sorted((x for x in spans if x.parent_span_id == own), key=lambda x: x.name)
        batch, wait = inner
        assert (batch.name, wait.name) == ("batch", "wait")
        assert wait.end_time_unix_nano == batch.start_time_unix_nano
        assert request.start_time_unix_nano - 1e6 < wait.start_time_unix_nano  # of two clocks
        assert batch.end_time_unix_nano < request.end_time_unix_nano + 1e6
        assert wait.start_time_unix_nano <= wait.end_time_unix_nano < batch.end_time_unix_nano


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "traces go by http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "traces go by otlp alone"),
        ("PYTHONPATH", "hidden", "pip install -r deploy/asgi/requirements-traces.txt"),
    ],
)
def test_traces_that_cannot_be_sent_are_refused(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    message: str,
) -> None:
    if name == "PYTHONPATH":  # where OpenTelemetry seems to be, and nothing else of it
        value = str(tmp_path)
        (tmp_path / "opentelemetry").mkdir()
        (tmp_path / "opentelemetry" / "__init__.py").touch()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message), served(project):
        pass


def test_keys_and_tls(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path / "project")
    certificate(other.path, "cert.pem", "key.pem")
    config = other.path / "config.properties"
    text = config.read_text().replace("inference_address=http:", "inference_address=https:")
    config.write_text(f"{text}\ncertificate_file=cert.pem\nprivate_key_file=key.pem\n")
    with served(other, "--tokens") as service:
        file = other.path / "key_file.json"
        assert file.stat().st_mode & 0o777 == 0o600
        keys = json.loads(file.read_text())
        context = ssl.create_default_context(cafile=str(other.path / "cert.pem"))
        place = service.url.split("/")[2].replace("127.0.0.1", "localhost")

        def predict(key: str) -> int:
            connection = http.client.HTTPSConnection(place, context=context, timeout=BOUND)
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request("POST", PATH, IMAGES[0], headers)
            return connection.getresponse().status

        inference, management = keys["inference"]["key"], keys["management"]["key"]
        assert [predict(key) for key in ("", "wrong", management)] == [401] * 3
        assert predict(inference) == 200

        def manage(path: str, key: str) -> int:
            return ask(service.management, path, Authorization=f"Bearer {key}")[0]

        assert manage("/models", inference) == 401
        assert manage("/models", management) == 200
        assert manage("/token?type=inference", management) == 401
        assert manage("/token?type=inference", keys["API"]["key"]) == 200
        assert manage("/token?type=inference&type=API", keys["API"]["key"]) == 400
        changed = json.loads(file.read_text())["inference"]["key"]
        assert [predict(key) for key in (inference, changed)] == [401, 200]
        # A second server that finds the port taken leaves the keys of the first.
        ports = [x.split("/")[2].partition(":")[2] for x in (service.url, service.management)]
        taken = ("--port", ports[0], "--management-port", ports[1], "--metrics-port", "0")
        again = other.run("serve.py", "--engine", "asgi", "--tokens", *taken)
        assert again.returncode == 1
        assert "is taken" in again.stderr
        assert json.loads(file.read_text())["inference"]["key"] == changed
        # Whoever speaks no TLS gets nothing, and costs nobody anything.
        assert edge.exchange(service.url, edge.Form("", edge.post(PATH), (), ends=True)) == (
            (),
            True,
        )
        assert predict(changed) == 200
    assert not file.exists()


def workers(service: Service) -> list[int]:
    """Return the process ids of the workers that are ready; who is asked may be one that dies."""
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ready(service.model)
        time.sleep(0.05)


def test_workers_die_archives_change_and_nothing_is_lost(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path / "project")
    store = other.path / "model-store"
    with served(other) as service:
        expected = [service.post(data).json for data in IMAGES]
        number = len(ready_workers(service.model, BOUND))  # not the first alone
        load = Images(service.url, expected)

        def replace(archive: Path) -> None:
            shutil.copy(archive, store / "next")
            (store / "next").replace(store / "image-classifier.mar")

        def version() -> str:
            _, _, body = ask(service.management, "/models/image-classifier")
            return str(json.loads(body)[0]["modelVersion"])

        # An archive that does not load changes nothing; one that does loses no request.
        first = tmp_path / "first.mar"
        shutil.copy(store / "image-classifier.mar", first)
        (store / "broken.mar").write_bytes(b"PK\x03\x04 is all there is")
        before = workers(service)
        replace(store / "broken.mar")
        time.sleep(4)
        assert set(workers(service)) == set(before)
        replace(store / "1.1" / "image-classifier.mar")
        wait_for(lambda: not set(workers(service)) & set(before))
        wait_for(lambda: len(workers(service)) == number and version() == "1.1")
        load.more(50)
        assert load.counts.keys() <= {"right", "503"}, load.counts

        # The dead end their connections at once, and come back.
        replace(first)
        wait_for(lambda: version() == "1.0" and len(workers(service)) == number)
        load.more(50)
        victim = workers(service)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in workers(service))
        wait_for(lambda: len(workers(service)) == number)
        load.more(50)
        counts = load.stop()
        assert set(counts) <= {"right", "end", "503"}, counts
        assert [service.post(data).json for data in IMAGES] == expected


def test_a_worker_that_is_stopped_is_replaced(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path / "project")
    change_archive(other, "model-config.yaml", "responseTimeout: 120", "responseTimeout: 3")
    with served(other) as service:
        number = len(ready_workers(service.model, BOUND))
        before = set(workers(service))
        victim = min(before)
        os.kill(victim, signal.SIGSTOP)
        with ThreadPoolExecutor(16) as pool:  # some of them go to it
            replies = list(pool.map(lambda _: ended(service), range(16)))
        assert set(replies) <= {200, None}
        assert None in replies
        wait_for(lambda: victim not in workers(service) and len(workers(service)) == number)
        assert len(before & set(workers(service))) == number - 1
        assert [service.post(data).status for data in IMAGES] == [200] * len(IMAGES)


def ended(service: Service) -> int | None:
    """Send a request on a connection of its own; return its status, None if that ended first."""
    try:
        return send(service.url, IMAGES[0], timeout=BOUND)[0]
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError):
        return None


def change_archive(project: Project, name: str, old: str, new: str) -> None:
    """Change a file in the archive of a project."""
    archive = project.path / "model-store" / "image-classifier.mar"
    with zipfile.ZipFile(archive) as before:
        content = {name: before.read(name) for name in before.namelist()}
    assert old in content[name].decode()
    content[name] = content[name].decode().replace(old, new).encode()
    with zipfile.ZipFile(archive, "w") as after:
        for each, data in content.items():
            after.writestr(each, data)


def test_workers_live_on_however_short_a_batch_may_be(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path / "project")
    change_archive(other, "model-config.yaml", "responseTimeout: 120", "responseTimeout: 1")
    with served(other) as service:
        ready_workers(service.model, BOUND)
        before = workers(service)
        for _ in range(20):
            assert send(service.url, IMAGES[0])[0] == 200
            time.sleep(0.3)
        assert workers(service) == before


def test_a_stop_answers_all_that_was_accepted(project: Project) -> None:
    with served(project) as service:
        address = service.url.split("/")[2].split(":")
        body = many(40)
        request = edge.post(PATH, b"Content-Length: %d" % len(body), body=body)
        sockets = [socket.create_connection((address[0], int(address[1]))) for _ in range(12)]
        for connection in sockets:
            connection.sendall(request)
        service.process.send_signal(signal.SIGTERM)
        for connection in sockets:
            connection.settimeout(BOUND)
            received = b""
            while part := connection.recv(65536):
                received += part
            assert received.startswith(b"HTTP/1.1 200 "), received[:300]
            assert b"connection: close" in received
        while service.process.poll() is None:  # people press Ctrl-C twice
            service.process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert service.process.returncode == 0


def many(count: int) -> bytes:
    """Return a request for so many images."""
    data = base64.b64encode(IMAGES[0]).decode()
    return json.dumps({"instances": [{"data": data}] * count}).encode()


def test_when_too_many_wait_others_are_told_to_come_again(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path / "project")
    store = other.path / "model-store"
    (store / "1.1" / "image-classifier.mar").replace(store / "image-classifier.mar")
    with served(other) as service, ThreadPoolExecutor(60) as pool:
        statuses = list(pool.map(lambda _: refused(service, many(60)), range(120)))
        # A client that keeps its connection would ask the same worker again, and others be idle.
        assert set(statuses) == {(200, None, None), (503, "1", "close")}
        assert service.post(IMAGES[0]).status == 200


def refused(service: Service, body: bytes) -> tuple[int, str | None, str | None]:
    """Send a request; return status, Retry-After and Connection."""
    connection = http.client.HTTPConnection(service.url.split("/")[2], timeout=BOUND)
    connection.request("POST", PATH, body)
    reply = connection.getresponse()
    reply.read()
    return reply.status, reply.headers["retry-after"], reply.headers["connection"]


def test_a_server_that_is_killed_takes_its_workers_with_it(project: Project) -> None:
    with served(project) as service:
        family = psutil.Process(service.process.pid).children(recursive=True)
        service.process.kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive


def test_what_keeps_it_from_starting_is_named(
    copy_project: Callable[..., Project], project: Project
) -> None:
    plain = copy_project("plain", architecture="custom", deploy=["docker"])
    build_and_save(plain)
    plain.archive()
    result = plain.run("serve.py", "--engine", "asgi")
    assert result.returncode == 1
    assert "'deploy=[docker, asgi]'" in result.stderr

    alone = copy_project("alone", architecture="custom", deploy=["asgi"])
    shutil.copytree(plain.path / "model-store", alone.path / "model-store", dirs_exist_ok=True)
    words = ["--engine", "asgi", "--metrics-port", str(free_port()), "--timeout", "0.01"]
    result = alone.run("serve.py", *words, "--port", "0", "--management-port", "0")
    assert "--metrics-port has no effect here" in result.stderr
    assert "'deploy=[asgi, monitoring]'" in result.stderr

    assert "pip install -r deploy/asgi/requirements.txt" in run(
        project, "sys.modules['uvicorn'] = None"
    )

    archive = project.path / "model-store" / "image-classifier.mar"
    sound = archive.read_bytes()
    spoil_archive(archive, "index_to_name.json")
    try:
        printed = run(project)
    finally:
        archive.write_bytes(sound)
    assert "the model does not load" in printed
    assert "index_to_name.json" in printed
    with serving(project.path, "--engine", "asgi", "--port", str(free_port())) as (url, _, _):
        assert send(url, IMAGES[0])[0] == 200


IMPORTING = """
import itertools, sys, threading
from pathlib import Path
from tools.inprocess import modules_from

def import_much():
    for number in itertools.count():
        if number % 2:
            del sys.modules["made_up"]
        else:
            sys.modules["made_up"] = sys

sys.setswitchinterval(1e-6)
threading.Thread(target=import_much, daemon=True).start()
for _ in range(200):
    with modules_from(Path("model-store")):
        pass
"""


def test_an_archive_loads_while_another_thread_imports(project: Project) -> None:
    result = project.run("-c", IMPORTING)
    assert result.returncode == 0, result.stderr


def run(project: Project, before: str = "pass") -> str:
    """Run the project's serve.py, which must end with 1, and return what it prints."""
    words = ["serve.py", "--engine", "asgi"]
    words += [x for name in ("", "management-", "metrics-") for x in (f"--{name}port", "0")]
    code = f"import sys, runpy; {before}; sys.argv = {words}; "
    code += "runpy.run_path('serve.py', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stdout
    return result.stderr


def test_the_table_of_what_comes_on_the_wire_is_true() -> None:
    text = (REPOSITORY / "docs" / "production.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.+) \|$", text, re.MULTILINE))
    for form in edge.forms(b"", PATH):
        ours, theirs = rows[form.name].split(" | ")
        other = form.in_engine(edge.TORCHSERVE)
        assert ours == written(form), form.name
        if theirs == "the same":
            assert other == form, form.name
        elif other.statuses or other.ends:  # else TorchServe says nothing, as the row tells
            assert theirs.partition(" (")[0] == written(other), form.name


def written(form: edge.Form) -> str:
    """Return an outcome as the table has it."""
    return ", ".join([*map(str, form.statuses), *["end"] * form.ends])
