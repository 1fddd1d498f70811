"""TorchServe behind the proxy that a project brings: a real nginx, and nothing smuggled."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Project, Service, build_and_save, render
from engines import BOUND, IMAGES, PATH, certificate, one_worker, send
from generator import edge, hostile
from generator.shared.ports import free_port
from generator.torture import alike

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

pytestmark = [
    pytest.mark.serve,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt install nginx-light"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with its archive."""
    path = tmp_path_factory.mktemp("proxy") / "project"
    answers = {"architecture": "custom", "color_mode": "RGB", "num_classes": 10}
    render(path, {**answers, "max_request_mb": 1, "deploy": ["docker"]})
    project = Project(path)
    build_and_save(project)
    project.archive()
    return project


@pytest.fixture(scope="module")
def service(project: Project) -> Iterator[Service]:
    """The project in TorchServe."""
    one_worker(project.path)
    with project.serve() as service:
        yield service


@pytest.fixture(scope="module")
def proxy(project: Project, service: Service) -> Iterator[tuple[str, int]]:
    """The address of nginx without TLS, and its port with TLS."""
    certificate(project.path, "tls.crt", "tls.key")
    with nginx(project, service.url.rpartition("/predictions/")[0]) as address:
        yield address


@contextlib.contextmanager
def nginx(project: Project, upstream: str, **changes: str) -> Iterator[tuple[str, int]]:
    """Run nginx before a server, with settings of the project's configuration changed."""
    plain, secure = free_port(), free_port()
    text = (project.path / "deploy" / "docker" / "nginx.conf").read_text()
    for old, new in {
        "listen 8443 ssl": f"listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl",
        "/etc/nginx/tls": str(project.path),
        "/tmp/nginx": f"{project.path}/nginx",
        "access_log off": f"access_log {project.path}/nginx-access.log",
        "http://image-classifier:8080": upstream,
        **{f"{name} 130s": f"{name} {value}" for name, value in changes.items()},
    }.items():
        assert old in text
        text = text.replace(old, new)
    if os.geteuid() == 0:  # nginx would become another user, whom pytest keeps out
        text = f"user root;\n{text}"
    config = project.path / f"nginx-{plain}.conf"
    config.write_text(text)
    assert NGINX is not None
    with subprocess.Popen([NGINX, "-e", "stderr", "-c", str(config)]) as process:
        try:
            end = time.monotonic() + BOUND
            while time.monotonic() < end and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", secure), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{plain}", secure
        finally:
            process.terminate()


def is_predicted(form: edge.Form) -> bool:
    """Tell whether all that a form asks for are predictions, and nginx asks for them.

    It takes a client who sends no more for one who has left.
    """
    return set(form.statuses) == {200} and not form.half


def test_nothing_is_smuggled(project: Project, service: Service, proxy: tuple[str, int]) -> None:
    base, _ = proxy
    prediction = service.post(IMAGES[0]).json
    status, body = send(base + PATH, IMAGES[0])
    assert status == 200 and alike(json.loads(body), prediction)

    forms = [replace(form, ends=False) for form in edge.forms(hostile.good_file(0), PATH)]
    with ThreadPoolExecutor(16) as pool:
        # Where a prediction must come it is waited for; what else nginx says comes at once.
        patience = [60 if is_predicted(form) else 5 for form in forms]
        outcomes = list(pool.map(edge.exchange, [base] * len(forms), forms, patience))
    for form, (statuses, _) in zip(forms, outcomes, strict=True):
        if is_predicted(form):
            assert statuses == form.statuses, form.name
    # What nginx itself takes for two requests gets two responses. TorchServe never sees the second.
    logs = "".join(path.read_text() for path in (project.path / "logs").glob("access_log*"))
    assert PATH in logs
    assert "smuggled" not in logs
    status, body = send(base + PATH, IMAGES[0])
    assert status == 200 and alike(json.loads(body), prediction)


# What nginx 1.22 takes for two requests, as TorchServe does. Each has its own connection behind it.
TWO = {"chunk with bare LF", "line end in a quoted chunk extension"}


def test_what_reaches_torchserve_is_a_request_for_nginx_too(
    project: Project, proxy: tuple[str, int]
) -> None:
    second = b"GET /v1/models/second HTTP/1.1\r\nHost: x\r\n\r\n"  # which nginx lets through
    forms = [x for x in edge.forms(b"", PATH, second) if second in x.data]
    assert {form.name for form in forms} > TWO
    for form in forms:
        statuses, _ = edge.exchange(proxy[0], replace(form, ends=False), 5)
        assert len(statuses) == 1 or form.name in TWO, form.name

    def count(pattern: str) -> int:
        return sum(x.read_text().count("/v1/models/second") for x in project.path.glob(pattern))

    end = time.monotonic() + BOUND
    while count("logs/access_log*") < count("nginx-access.log") and time.monotonic() < end:
        time.sleep(0.1)
    assert PATH in (project.path / "nginx-access.log").read_text()  # it counts all requests
    assert count("logs/access_log*") == count("nginx-access.log") <= len(TWO)


def test_what_is_not_for_clients_stays_inside(proxy: tuple[str, int]) -> None:
    base, secure = proxy
    for path in ("/models", "/metrics", "/api-description", "/ping/", "/smuggled"):
        assert send(base + path, b"", method="GET")[0] == 404, path
    assert send(base + PATH, b"x" * 1_000_001)[0] == 413
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", secure), BOUND) as connection,
        context.wrap_socket(connection) as secured,
    ):
        length = b"Content-Length: %d" % len(IMAGES[0])
        secured.sendall(edge.post(PATH, length, b"X-Request-ID: mine", body=IMAGES[0]))
        assert secured.recv(13) == b"HTTP/1.1 200 "


def test_slow_senders_are_ended(proxy: tuple[str, int]) -> None:
    base, _ = proxy
    host, port = base.removeprefix("http://").split(":")
    starts = [b"", b"POST / HT", edge.post(PATH, b"Content-Length: 9", body=b"x")]
    sockets = [socket.create_connection((host, int(port)), BOUND) for _ in starts]
    for connection, start in zip(sockets, starts, strict=True):
        connection.sendall(start)
    for connection in sockets:
        with connection:
            while connection.recv(1000):
                pass


def test_a_request_that_gets_no_response_gets_one_here(
    project: Project, proxy: tuple[str, int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes requests, and that is all
        upstream = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with nginx(project, upstream, proxy_read_timeout="1s") as (base, _):
            assert send(base + PATH, IMAGES[0])[0] == 504
    assert send(proxy[0] + PATH, IMAGES[0])[0] == 200


def test_the_proxy_in_compose_is_the_only_way_in(project: Project) -> None:
    if not (command := shutil.which("docker-compose")):
        pytest.skip("docker-compose is not installed")
    files = ["--file", "compose.yaml", "--file", "deploy/docker/compose.proxy.yaml"]
    result = subprocess.run(
        [command, *files, "config", "--format", "json"],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    services = json.loads(result.stdout)["services"]
    for name, service in services.items():
        for port in service["ports"]:
            assert (name == "proxy") is ("host_ip" not in port), port
    assert Path(services["proxy"]["volumes"][0]["source"]).is_file()
