"""The archive on each engine: TorchServe, the one in Python, a real Ray, KServe's model server."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import contract
import pytest
import text_folders
import torch
import ways
import yaml

from conftest import Project, build_and_save, render, slow
from engines import (
    Clients,
    Cluster,
    Comparison,
    compare,
    config_for,
    mixed_requests,
    one_worker,
    ray_cluster,
    read_config,
    send,
    wait_for,
)
from generator import hostile
from generator.shared.ports import free_port
from generator.torture import serving

pytestmark = pytest.mark.serve

Sample = tuple[list[bytes], list[Any]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project for all engines, with its archive in two versions."""
    path = tmp_path_factory.mktemp("engines") / "project"
    answers = {"architecture": "custom", "color_mode": "RGB", "num_classes": 10}
    deploy = ["asgi", "ray_serve", "kserve", "monitoring"]
    render(path, {**answers, "max_request_mb": 1, "deploy": deploy})
    project = Project(path)
    build_and_save(project)
    project.archive()
    project.archive("--version", "1.1", "--output", "model-store/1.1")
    return project


@pytest.fixture(scope="module")
def torchserve(project: Project) -> Iterator[str]:
    """The URL of the model in TorchServe."""
    with serving(project.path) as (url, _, _):
        yield url


@pytest.fixture(scope="module")
def sample(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Images, and their predictions without a server."""
    files = [hostile.good_file(seed) for seed in range(5)]
    paths = [tmp_path_factory.mktemp("images") / str(number) for number in range(5)]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    return files, project.predict(*paths)


def test_torchserve_keeps_the_contract(torchserve: str, sample: Sample) -> None:
    files, predictions = sample
    assert not contract.check_torchserve(base_of(torchserve), files[0], predictions[0])


def test_asgi_keeps_the_contracts(project: Project, torchserve: str, sample: Sample) -> None:
    files, predictions = sample
    requests = mixed_requests(project.path, 250)
    with answering(project, "asgi") as base:
        assert not contract.check_torchserve(base, files[0], predictions[0])
        assert not contract.check_kserve(base, files, predictions)
        assert_same(compare(torchserve, base + contract.PREDICT, requests), len(requests))


# Ray Serve and KServe load the archive as asgi does: what differs is above, in every run.
IN_RAY_AND_KSERVE = slow(("ray_serve", "kserve"))


@pytest.mark.parametrize("engines", [("torchserve", "asgi"), IN_RAY_AND_KSERVE])
@pytest.mark.slow
@pytest.mark.parametrize("task", ["semantic_segmentation", "object_detection"])
def test_the_contract_is_the_same_for_other_tasks(
    copy_project: Callable[..., Project],
    sample: Sample,
    tmp_path: Path,
    task: str,
    engines: tuple[str, ...],
) -> None:
    answers: dict[str, Any] = {"architecture": "custom", "color_mode": "RGB", "num_classes": 4}
    answers |= {"task": task, "model_name": contract.MODEL, "label_format": "none"}
    project = copy_project(**answers, max_request_mb=1, deploy=["asgi", "ray_serve", "kserve"])
    build_and_save(project)
    if task == "object_detection":
        make_sure(project.path / "weights" / "w.pth")
    project.archive("--trust-outputs")
    files = sample[0]
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    predictions = project.predict(*paths)
    assert all(predictions)
    assert_contract(project, engines, files, predictions, ways.IMAGES)


@pytest.mark.parametrize("engines", [("torchserve", "asgi"), IN_RAY_AND_KSERVE])
@pytest.mark.parametrize(
    ("task", "of_task"),
    [
        ("text_classification", {"num_classes": 3}),
        slow("text_embedding", {"num_classes": 32}),
    ],
)
def test_the_contract_is_the_same_for_texts(
    copy_project: Callable[..., Project],
    tmp_path: Path,
    task: str,
    of_task: dict[str, Any],
    engines: tuple[str, ...],
) -> None:
    answers = {"task": task, "model_name": contract.MODEL, "max_tokens": 64, **of_task}
    project = copy_project(**answers, max_request_mb=1, deploy=["asgi", "ray_serve", "kserve"])
    network = text_folders.bert(tmp_path / "bert")
    if task == "text_embedding":
        network.bert.save_pretrained(tmp_path / "bert")
    project.archive("--weights", str(tmp_path / "bert"))
    texts = ["This is good, déjà vu 猫", "THE DOG and the cat!", "[x]", "who are you?", "a+b=c"]
    result = project.run("predict.py", "--json", *texts)
    predictions = json.loads(result.stdout)
    assert_contract(project, engines, [text.encode() for text in texts], predictions, ways.TEXTS)


def assert_contract(
    project: Project,
    engines: tuple[str, ...],
    items: list[bytes],
    predictions: Any,
    kind: ways.Kind,
) -> None:
    """Check what engines answer that serve the same archive."""
    one_worker(project.path)
    for engine in engines:
        with answering(project, engine) as base:
            if engine != "kserve":
                found = contract.check_torchserve(base, items[0], predictions[0], kind)
                assert not found, engine
            if engine in ("asgi", "kserve"):
                assert not contract.check_kserve(base, items, predictions, kind), engine


def make_sure(weights: Path) -> None:
    """Have a RetinaNet find objects, which with its first weights are all improbable."""
    state = torch.load(weights)
    state["head.classification_head.cls_logits.bias"].zero_()
    torch.save(state, weights)


@contextlib.contextmanager
def answering(project: Project, engine: str) -> Iterator[str]:
    """Run a project in an engine, and yield its address."""
    if engine == "ray_serve":
        with ray_cluster(project.path) as cluster:
            cluster.run(config_for(cluster))
            cluster.wait_until()
            yield cluster.base
    elif engine == "kserve":
        with in_kserve(project) as base:
            yield base
    else:
        with serving(project.path, "--engine", engine) as (url, _, _):
            yield base_of(url)


def assert_same(outcome: Comparison, count: int) -> None:
    """Check that two engines replied the same to so many requests, half of them bad."""
    assert not outcome.different, outcome.different[:3]
    assert outcome.equal.total() > 0.95 * count
    assert {200, 400, 413, 415} <= outcome.equal.keys()


def base_of(url: str) -> str:
    """Return a URL without its path."""
    return url.rpartition("/predictions/")[0]


@contextlib.contextmanager
def in_kserve(project: Project) -> Iterator[str]:
    """Run a project in KServe's model server, and yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "deploy.kserve.app"]
    command += ["--http_port", str(port), "--enable_grpc", "false"]
    with subprocess.Popen(
        command, cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(f"{url}/v2/models/image-classifier/ready", process)
            yield url
        finally:
            process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when a GET gives status 200."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            if send(url, b"", method="GET", timeout=5)[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"KServe's model server is not ready; it ended with {process.poll()}")


def test_kserve_keeps_the_contract(project: Project, sample: Sample) -> None:
    with in_kserve(project) as base:
        assert not contract.check_kserve(base, *sample)


@pytest.mark.parametrize("name", ["x" * 64, "A_model-", "digits"])
def test_the_manifests_are_valid(copy_project: Callable[..., Project], name: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    path = copy_project(model_name=name, deploy=["ray_serve", "kserve"]).path
    ray = yaml.safe_load((path / "deploy" / "ray_serve" / "rayservice.yaml").read_text())
    kserve = yaml.safe_load((path / "deploy" / "kserve" / "inferenceservice.yaml").read_text())
    local, cluster = read_config(path), yaml.safe_load(ray["spec"]["serveConfigV2"])
    for config in (local, cluster):
        ServeDeploySchema.model_validate(config)
        config.pop("http_options")
        autoscaling = config["applications"][0]["deployments"][0].pop("autoscaling_config")
        assert autoscaling["min_replicas"] <= autoscaling["max_replicas"]
    assert local == cluster
    groups = [ray["spec"]["rayClusterConfig"]["headGroupSpec"]]
    groups += ray["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in groups]
    pods.append({"containers": kserve["spec"]["predictor"]["containers"]})
    for manifest in (ray, kserve):
        validate_pod(manifest["metadata"]["name"], {"containers": pods[0]["containers"]})
    for spec in pods:
        validate_pod("pod", spec)


def validate_pod(name: str, spec: dict[str, Any]) -> None:
    """Check a pod strictly against Kubernetes' schema, and its name against DNS."""
    import kubernetes_validate

    assert name == name.lower().strip("-") and 0 < len(name) <= 50
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubernetes_validate.validate(pod, "1.31", strict=True)


@pytest.fixture(scope="module")
def cluster(project: Project) -> Iterator[Cluster]:
    """Ray on two nodes, for the two tests that follow."""
    with ray_cluster(project.path, nodes=2) as cluster:
        yield cluster


def version(cluster: Cluster) -> str:
    """Return the version of the model in use."""
    status, body = send(cluster.url.replace("predictions", "models"), b"", method="GET")
    assert status == 200, body
    return str(json.loads(body)[0]["modelVersion"])


def wait_for_version(cluster: Cluster, expected: str) -> None:
    """Return when every replica uses this version."""
    end = time.monotonic() + 60
    while {version(cluster) for _ in range(10)} != {expected}:
        assert time.monotonic() < end, f"no version {expected} after 60 s"
        time.sleep(0.5)


def wait_for_metrics(cluster: Cluster) -> None:
    """Return when Ray exports what the handler has recorded; it does so every 10 s."""
    ports = cluster.python("print(*[node['MetricsExportPort'] for node in ray.nodes()])")
    urls = [f"http://127.0.0.1:{port}/metrics" for port in ports.splitlines()[-1].split()]
    missing = [rf'ray_image_errors_total{{.*status="{status}"' for status in (400, 413, 415)]
    names = ("decode_seconds", "inference_seconds", "batch_size", "top1_confidence")
    missing += [rf"ray_image_{name}_bucket{{" for name in names]
    # Those of Ray's own that alerts and the dashboard take.
    own = ("deployment_replica_healthy", "num_http_requests_total")
    own += tuple(f"request_router_fulfillment_time_ms_{x}" for x in ("sum", "count"))
    missing += [rf'ray_serve_{name}{{.*application="image-classifier"' for name in own]
    end = time.monotonic() + 60
    while missing:
        assert time.monotonic() < end, missing
        time.sleep(1)
        with contextlib.suppress(OSError):  # it does not listen yet
            text = "\n".join(send(url, b"", method="GET")[1].decode() for url in urls)
            missing = [name for name in missing if not re.search(name, text)]


def test_ray_keeps_the_contract(
    project: Project, torchserve: str, sample: Sample, cluster: Cluster
) -> None:
    files, predictions = sample
    requests = mixed_requests(project.path, 250)
    cluster.run(config_for(cluster))
    cluster.wait_until()
    assert not contract.check_torchserve(cluster.base, files[0], predictions[0])
    assert_same(compare(torchserve, cluster.url, requests), len(requests))
    wait_for_metrics(cluster)
    assert version(cluster) == "1.0"
    ready = send(f"{cluster.base}/v1/models/image-classifier", b"", method="GET")
    assert json.loads(ready[1]) == {"name": "image-classifier", "ready": True}


@pytest.mark.slow
def test_nothing_is_lost_when_the_model_changes_or_a_machine_dies(
    project: Project, cluster: Cluster
) -> None:
    both = {"min_replicas": 2, "max_replicas": 2}
    cluster.run(config_for(cluster, **both))
    cluster.wait_until(replicas=2)
    assert version(cluster) == "1.0"

    clients = Clients(cluster.url, 6)
    (project.path / "model-store" / "broken.mar").write_bytes(b"PK\x03\x04 is all there is")
    for archive, expected in [
        ("1.1/image-classifier.mar", "1.1"),
        ("broken.mar", "1.1"),
        ("image-classifier.mar", "1.0"),
    ]:
        cluster.run(config_for(cluster, f"model-store/{archive}", **both))
        time.sleep(2)
        wait_for_version(cluster, expected)
    load = clients.stop()
    assert set(load.tries) == {200}
    assert load.done > 50

    # Clients that send again get every prediction, as the project's README says.
    # There are more than the replica beside the proxy takes: the others are on the other node.
    clients = Clients(cluster.url, 32, retries=5)
    wait_for(lambda: clients.load.done > 50)
    cluster.kill_node(1)
    time.sleep(5)
    load = clients.stop()
    assert load.lost == 0, load.tries
    assert load.done > 50
