"""What config.properties, the environment and options make of a server, and who can reach it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import Project, Service, copy_of, encode, noise, spoil_archive
from generator.shared.ports import free_port
from generator.shared.properties import PropertiesError, read_properties, write_property

ADDRESS = "inference_address"
LOCAL = "http://127.0.0.1:"


@pytest.fixture(scope="module")
def project(with_archive: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with an archive; its settings are written anew for each start."""
    return copy_of(with_archive, tmp_path_factory.mktemp("settings") / "project")


@pytest.fixture(scope="module")
def rendered(project: Project) -> str:
    """The settings of the project as rendered."""
    return (project.path / "config.properties").read_text()


@contextlib.contextmanager
def started(
    folder: Path, *options: str, code: str = "", **environment: str
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start serve.py as a shell would; yield the process and the file with what it prints.

    Args:
        folder: The project.
        options: Of serve.py.
        code: What Python runs before serve.py.
        environment: Variables besides those of the tests.
    """
    output = folder / "output"
    run = f"import runpy, sys; sys.argv[0] = 'serve.py'; {code}\n"
    run += "runpy.run_path('serve.py', run_name='__main__')"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", run, *options],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        end = time.monotonic() + 240
        while b"is ready. Try it" not in output.read_bytes() and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.2)
        yield process, output
    finally:
        process.terminate()
        process.wait(90)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return all processes below one."""
    return psutil.Process(process.pid).children(recursive=True)


def doors(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Return each address and port where processes listen."""
    pids = {process.pid for process in processes}
    return {
        (connection.laddr[0].removeprefix("::ffff:"), connection.laddr[1])
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in pids
    }


@contextlib.contextmanager
def another_machine() -> Iterator[tuple[str, list[str]]]:
    """Make a network namespace with a cable to this one.

    Yields:
        This machine's address at the cable, and the command that runs others over there.
    """
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root, and ip")
    name = f"ts{os.getpid()}"
    here, there = "10.253.7.1", "10.253.7.2"
    commands = [
        f"netns add {name}",
        f"link add {name}a type veth peer name {name}b netns {name}",
        f"addr add {here}/24 dev {name}a",
        f"link set {name}a up",
        f"-n {name} addr add {there}/24 dev {name}b",
        f"-n {name} link set {name}b up",
    ]
    try:
        for command in commands:
            result = subprocess.run(["ip", *command.split()], capture_output=True, check=False)
            if result.returncode:
                pytest.skip(f"ip {command}: {result.stderr.decode()}")
        yield here, ["ip", "netns", "exec", name]
    finally:
        for command in (f"link del {name}a", f"netns del {name}"):
            subprocess.run(["ip", *command.split()], capture_output=True, check=False)


def reached(over_there: list[str], host: str, ports: list[int]) -> list[int]:
    """Return the ports of a host that another machine can connect to."""
    code = (
        "import socket, sys\n"
        "for port in map(int, sys.argv[2:]):\n"
        "    with socket.socket() as probe:\n"
        "        probe.settimeout(3)\n"
        "        if probe.connect_ex((sys.argv[1], port)) == 0:\n"
        "            print(port)\n"
    )
    command = [*over_there, sys.executable, "-c", code, host, *map(str, ports)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in result.stdout.split()]


# ------------------------------------------------------------------------------ as Java reads them


def test_settings_are_read_as_by_java() -> None:
    text = (
        b"# a comment \\\n"
        b"  ! another\n"
        b"a=1\r\n"
        b"b : 2\r"
        b"c\t3 # no comment\n"
        b"path=/srv/\\\n"
        b"    # no comment\\\n"
        b"\tmodels\n"
        b"\n"
        b"   key\\ with\\=signs = value \n"
        b"latin=K\xf6ln\n"
        b"unicode=\\u732b \\ud83d\\ude00 \\t\\q\n"
        b"empty\n"
        b"a=last\\"
    )
    found = list(read_properties(text))
    assert {key: value for _, key, value in found} == {
        "a": "last",
        "b": "2",
        "c": "3 # no comment",
        "path": "/srv/# no commentmodels",
        "key with=signs": "value ",
        "latin": "Köln",
        "unicode": "猫 😀 \tq",
        "empty": "",
    }
    assert [line for line, _, _ in found] == [3, 4, 5, 6, 10, 11, 12, 13, 14]
    with pytest.raises(PropertiesError) as error:
        list(read_properties(b"a=1\nb=\\u12x4"))
    assert error.value.line == 2


JAVA = r"""
import java.nio.file.*; import java.util.*;
public class Load {
  public static void main(String[] names) throws Exception {
    for (String name : names) {
      Properties read = new Properties();
      StringBuilder line = new StringBuilder();
      try (var file = Files.newInputStream(Path.of(name))) {
        read.load(file);
        for (String key : new TreeSet<>(read.stringPropertyNames()))
          for (String text : List.of(key, read.getProperty(key)))
            line.append(HexFormat.of().formatHex(text.getBytes("UTF-16BE"))).append(',');
      } catch (IllegalArgumentException error) {
        line.append("refused");
      }
      System.out.println(line);
    }
  }
}
"""


@pytest.mark.skipif(not shutil.which("javac"), reason="needs a compiler for Java")
def test_random_settings_are_read_and_written_as_java_does(tmp_path: Path) -> None:
    generator = random.Random(0)
    pieces = [b"\\", b"\\", b"\n", b"\r", b"\r\n", b" ", b"\t", b"\f", b"=", b":", b"#", b"!"]
    pieces += [b"a", b"b", b"key", b"\xf6", b"\\u00e9", b"\\u12", b"\\u732B", b"\\t", b"n"]
    cases = [b"".join(generator.choices(pieces, k=generator.randrange(1, 30))) for _ in range(1500)]
    ours = []
    for case in cases:
        try:
            found = {key: value for _, key, value in read_properties(case) if key}
            written = "".join(write_property(*pair) for pair in found.items()).encode("ascii")
            assert {key: value for _, key, value in read_properties(written)} == found
            ours.append(written)
        except PropertiesError:
            ours.append(b"=\\u")
    names = []
    for index, pair in enumerate(zip(cases, ours, strict=True)):
        for kind, content in zip(("case", "ours"), pair, strict=True):
            names.append(f"{kind}{index}")
            (tmp_path / names[-1]).write_bytes(content)
    (tmp_path / "Load.java").write_text(JAVA)
    command = ["java", "Load.java", *names]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [re.sub("^,[0-9a-f]*,", "", line) for line in printed.stdout.splitlines()]  # no key
    assert len(lines) == 2 * len(cases)
    for case, java, again in zip(cases, lines[::2], lines[1::2], strict=True):
        assert java == again, case


# ------------------------------------------------------------------------------ refused, and named


@pytest.mark.parametrize(
    ("added", "environment", "options", "message"),
    [
        # Doors that were open, each in another way.
        ("grpc_inference_address=0.0.0.0", "", "", ":30: grpc_inference_address=0.0.0.0: "),
        ("grpc_management_address = 0.0.0.0", "", "--open", "no gRPC"),
        ("grpc_inference_port: 7070", "", "--host 0.0.0.0 --tokens", "no gRPC"),
        ("enable_envvars_config=true", "TS_GRPC_INFERENCE_ADDRESS=0.0.0.0", "", "TS_GRPC_INFER"),
        ("enable_envvars_config=TRUE", f"TS_{ADDRESS.upper()}=http://0.0.0.0:8080", "", "TS_INFER"),
        ("enable_envvars_config true", "TS_METRICS_ADDRESS=http://0.0.0.0", "", "TS_METRICS_A"),
        ("enable_envvars_config=true", "TS_MANAGEMENT_ADDRESS=http://x:1", "--open", "TS_MANAGEM"),
        (
            "enable_envvars_config=true\ndisable_token_authorization=false",
            f"TS_DISABLE_TOKEN_AUTHORIZATION=true TS_{ADDRESS.upper()}=http://0.0.0.0:1",
            "",
            "tokens are off",
        ),
        (f"{ADDRESS}=http://$$HOST$$:8080", "HOST=0.0.0.0", "", ":30: inference_address=http://0"),
        (f"{ADDRESS}=\\\n   http://0.0.0.0:8080", "", "", ":30: inference_address=http://0.0.0.0:"),
        (f"{ADDRESS} http://0.0.0.0:8080", "", "", "tokens are off"),
        ("inference\\u005faddress=http://0.0.0.0:8080", "", "", "tokens are off"),
        (f"{ADDRESS}=HTTP://0.0.0.0", "", "", "inference_address=http://0.0.0.0:80:"),
        (f"{ADDRESS}=http://127.0.0.1@0.0.0.0:80", "", "", "tokens are off"),
        ("disable_token_authorization=true ", "", "--host 192.0.2.1", "nothing can listen"),
        # KServe's example has all of these.
        (f"{ADDRESS}=http://0.0.0.0:8085\nmanagement_address=http://0.0.0.0:8085", "", "", ":30: "),
        ("model_snapshot={}", "", "", ":30: model_snapshot={}: "),
        # What TorchServe would refuse, in words of its own and later.
        (
            f"{ADDRESS}=http://[::1]:8080",
            "",
            "",
            ":30: inference_address=http://[::1]:8080: wanted",
        ),
        (f"{ADDRESS}=http://127.0.0.1:8080/", "", "", "wanted is http://HOST:PORT"),
        (f"{ADDRESS}=127.0.0.1:8080", "", "", "wanted is http://HOST:PORT"),
        (f"{ADDRESS}=unix:/tmp/socket", "", "", "wanted is http://HOST:PORT"),
        (f"{ADDRESS}=http://127.0.0.1:65535", "", "", "a port lies between 1 and 65534"),
        ("", "", "--metrics-port 70000", "config.properties:11, --metrics-port: metrics_address="),
        ("", "", "--host ::1", "--host: inference_address=http://::1:8080: wanted"),
        (f"{ADDRESS}=http://127.0.0.1:8081", "", "", "a port of its own"),
        (f"{ADDRESS}=https://127.0.0.1:8443", "", "", "certificate_file"),
        ("certificate_file=none.pem", "", "", ":30: certificate_file=none.pem: there is no such"),
        ("max_request_size=20MB", "", "", ":30: max_request_size=20MB: "),
        ("job_queue_size=100 ", "", "", "'100 ' is no whole number"),
        ("model_store=$$NOWHERE$$/models", "", "", ":30: the environment has no variable NOWHERE"),
        ("a=\\u00g0", "", "", ":30: \\u must be followed"),
        (
            "certificate_file=/srv/schlüssel",
            "",
            "",
            ":30: TorchServe does not read this file as UTF-8",
        ),
        ("certificate_file=/srv/schlüssel", "", "", "certificate_file=/srv/schl\\u00fcssel"),
    ],
)
def test_settings_that_would_not_do_are_named(
    project: Project, rendered: str, added: str, environment: str, options: str, message: str
) -> None:
    assert len(rendered.splitlines()) == 29
    (project.path / "config.properties").write_text(f"{rendered}{added}\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "serve.py", *options.split()],
        cwd=project.path,
        env={**os.environ, **dict(pair.split("=", 1) for pair in environment.split())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("added", "variable", "address"),
    [
        ("", "http://127.0.0.1:9", "http://127.0.0.1:8081"),
        ("enable_envvars_config=True", "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("enable_envvars_config=true\t", "http://127.0.0.1:9", "http://127.0.0.1:8081"),  # to Java
        ("  management_address: http://localhost:9 ", "", "wanted is http://HOST:PORT"),
        ("  management_address: http://localhost:9", "", "http://localhost:9"),
        ("management_address=HTTP://127.0.0.1", "", "http://127.0.0.1:8081"),
        ("management_address=https://127.0.0.1\nkeystore=serve.py", "", "https://127.0.0.1:8444"),
    ],
)
def test_where_the_server_is_asked_follows_from_the_settings(
    project: Project, rendered: str, added: str, variable: str, address: str
) -> None:
    (project.path / "config.properties").write_text(f"{rendered}{added}\n")
    result = subprocess.run(
        [sys.executable, "serve.py", "--ready"],
        cwd=project.path,
        env={**os.environ, "TS_MANAGEMENT_ADDRESS": variable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert address in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_busy_port_is_named_with_who_has_it(project: Project, rendered: str) -> None:
    (project.path / "config.properties").write_text(rendered)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = project.run("serve.py", "--metrics-port", str(port))
    assert result.returncode == 1
    assert f"http://127.0.0.1:{port} is taken by process {os.getpid()} (" in result.stderr
    assert "--metrics-port" in result.stderr


def test_ports_are_not_given_out_twice() -> None:
    """Not even while nothing listens there yet."""
    ports = [free_port() for _ in range(1000)]
    assert len(set(ports)) == len(ports)
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


# ------------------------------------------------------------------------------------ what they do


@pytest.mark.serve
def test_a_server_of_odd_settings_in_odd_places_is_closed_and_dies_with_serve_py(
    project: Project, rendered: str, tmp_path: Path
) -> None:
    """Odd settings, letters that the locale has not, long paths, nohup, and kill -9 in the end."""
    folder = tmp_path / "Prüfung 日本" / "mein Dienst"
    copy_of(Project(project.path), folder)
    temporary = tmp_path / "/".join(["temporary"] * 12)
    temporary.mkdir(parents=True)
    ports = dict(zip(("inference", "management", "metrics"), iter(free_port, 0), strict=False))
    store = str(folder / "model-store")
    (folder / "config.properties").write_bytes(
        rendered.encode()
        + b"enable_envvars_config : true\n"
        + b"management_address \\\n   http://localhost\\:$$MANAGEMENT$$\n"
        + "".join(write_property(*pair) for pair in {"model_store": store}.items()).encode()
    )
    with started(
        folder,
        "--logs",
        code="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)",  # as nohup does
        TS_INFERENCE_ADDRESS=f"{LOCAL}{ports['inference']}",
        TS_METRICS_ADDRESS=f"{LOCAL}{ports['metrics']}",
        MANAGEMENT=str(ports["management"]),
        LC_ALL="C",
        PYTHONIOENCODING="ascii",
        TMPDIR=str(temporary),
    ) as (process, output):
        printed = output.read_text()
        assert f"{LOCAL}{ports['inference']}/predictions/image-classifier" in printed, printed
        process.send_signal(signal.SIGHUP)
        processes = family(process)
        launcher = ["-m", "tools.launcher"]
        (scratch,) = {Path(x.cmdline()[3]) for x in processes if x.cmdline()[1:3] == launcher}
        assert scratch.is_dir()
        listening = doors(processes)
        assert set(ports.values()) <= {port for _, port in listening}
        assert {host for host, _ in listening} == {"127.0.0.1"}
        assert not {7070, 7071} & {port for _, port in listening}
        url = f"{LOCAL}{ports['inference']}/predictions/image-classifier"
        assert Service(url, "", process).post(encode(noise(0)), "image/png").status == 200
        with another_machine() as (here, over_there):
            every = [port for _, port in listening]
            assert reached(over_there, here, every) == []
        process.kill()
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert not alive
    assert not scratch.exists()
    assert not list(temporary.iterdir())


@pytest.mark.serve
def test_other_machines_come_in_with_a_key_and_nowhere_else(
    project: Project, rendered: str
) -> None:
    """Over https, with a certificate of one's own; and without process groups, as on Windows."""
    key_options = "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    subprocess.run(
        ["openssl", *key_options.split(), *names], cwd=project.path, capture_output=True, check=True
    )
    settings = rendered.replace("http://127.0.0.1", "https://127.0.0.1")
    settings += "certificate_file cert.pem\nprivate_key_file=key.pem\n"
    (project.path / "config.properties").write_text(settings)
    ports = [str(port) for _, port in zip(range(3), iter(free_port, 0), strict=False)]
    options = ["--port", ports[0], "--management-port", ports[1], "--metrics-port", ports[2]]
    with started(
        project.path, *options, "--host", "0.0.0.0", "--tokens", code="import os; del os.killpg"
    ) as (process, output):
        assert f"https://0.0.0.0:{ports[0]}/predictions" in output.read_text(), output.read_text()
        processes = family(process)
        listening = doors(processes)
        assert {host for host, port in listening if port != int(ports[0])} == {"127.0.0.1"}
        certificate = ssl.create_default_context(cafile=str(project.path / "cert.pem"))
        request = urllib.request.Request(
            f"https://localhost:{ports[0]}/predictions/image-classifier",
            encode(noise(0)),
            {"Content-Type": "image/png"},
        )
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=60, context=certificate)
        ready = project.run("serve.py", "--ready", "--management-port", ports[1])
        assert ready.returncode == 0, ready.stderr
        with another_machine() as (here, over_there):
            every = [port for _, port in listening]
            assert reached(over_there, here, every) == [int(ports[0])]
    assert output.read_text().endswith("stopped\n")
    assert process.returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


@pytest.mark.serve
def test_what_java_opens_by_other_means_is_refused(project: Project, rendered: str) -> None:
    port = free_port()
    agent = f"-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:{port}"
    (project.path / "config.properties").write_text(f"{rendered}vmargs={agent}\n")
    result = project.run("serve.py", "--port", "0", "--management-port", "0", "--metrics-port", "0")
    assert result.returncode == 1
    assert f":{port}, too, which other machines reach without a key" in result.stderr
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.serve
def test_a_reason_is_found_however_long_the_trace(
    project: Project, rendered: str, tmp_path: Path
) -> None:
    """TorchServe throws the end of such a trace away, and logs each of serve.py's own polls."""
    broken = copy_of(project, tmp_path / "broken")
    (broken.path / "config.properties").write_text(rendered)
    spoil_archive(
        broken.path / "model-store" / "image-classifier.mar",
        "handler.py",
        b"import logging\n",
        b"import logging\n"
        b"logging.info('Traceback (most recent call last):')\n"
        b"logging.info('KeyError: this was dealt with')\n"
        b"def one(): two()\n"
        b"def two(): one()\n"
        b"one()\n",
    )
    result = broken.run("serve.py", "--port", "0", "--management-port", "0", "--metrics-port", "0")
    assert result.returncode == 1
    assert "RecursionError: maximum recursion depth exceeded" in result.stderr
    assert "this was dealt with" not in result.stderr
    assert "ACCESS_LOG" not in result.stderr
    assert len(result.stderr.splitlines()) < 100
