"""Feature extraction: embeddings, which a classifier's last layer would get."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
import yaml
from torch import nn

from conftest import Project, encode, noise, save_random_weights, slow, ts_template
from engines import one_worker


def expected_embedding(network: nn.Module, seed: int) -> torch.Tensor:
    """Return what comes before the last layer, for noise that torchvision itself prepares."""
    transforms = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        return network(transforms(noise(seed))[None])[0]


@pytest.mark.serve
def test_an_embedding_is_what_the_last_layer_would_get(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    network = torchvision.models.resnet18(num_classes=7)
    project = copy_project(task="feature_extraction", architecture="resnet18")
    save_random_weights(network, project.path / "weights" / "w.pth")
    assert "left out the last layer: fc.weight, fc.bias" in project.run("archive.py").stdout
    network.fc = nn.Identity()  # type: ignore[assignment]
    expected = expected_embedding(network, 0)
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        noise(seed).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("one", "same", "other")]
    printed = project.run("predict.py", *paths).stdout.splitlines()
    similarities = {line[9:]: float(line[:9]) for line in printed[-3:]}
    assert similarities[f"{paths[0]}  {paths[1]}"] == 1
    assert similarities[f"{paths[0]}  {paths[2]}"] < 0.9999
    one_worker(project.path)
    with project.serve() as service:
        good, bad = service.post(encode(noise(0))), service.post(b"none")
    assert bad.status == 400
    embedding = torch.tensor(good.json["embedding"])
    # The pixels are right within one grey level.
    torch.testing.assert_close(embedding, expected, rtol=0.01, atol=0.01 * expected.max().item())


@pytest.mark.parametrize("backend", [slow("eager"), "onnxruntime"])
def test_embeddings_of_length_one_in_base64(
    copy_project: Callable[..., Project], tmp_path: Path, backend: str
) -> None:
    project = copy_project(
        task="feature_extraction",
        architecture="timm/resnet18",
        backend=backend,
        l2_normalize=True,
        response_format="base64",
    )
    network = timm.create_model("resnet18", num_classes=3)
    save_random_weights(network, project.path / "weights" / "w.pth")
    assert "left out the last layer: fc.weight, fc.bias" in project.run("archive.py").stdout
    noise(0).save(tmp_path / "image.png")
    (prediction,) = project.predict(tmp_path / "image.png")
    embedding = np.frombuffer(base64.b64decode(prediction["embedding"]), "<f4")
    assert embedding.shape == (512,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_another_number_of_features_is_refused(copy_project: Callable[..., Project]) -> None:
    project = copy_project(task="feature_extraction", architecture="custom", num_classes=8)
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(16).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    model = project.path / "service" / "model.py"
    model.write_text(model.read_text().replace("SmallCNN(num_classes)", "SmallCNN(16)"))
    result = project.run("archive.py")
    assert "returns 16 numbers for an image, the project expects 8" in result.stderr
    assert "-d num_classes=16" in result.stderr


def headless() -> dict[str, torch.Tensor]:
    """Return weights of a network that was saved without its last layer."""
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()  # type: ignore[assignment]
    return dict(network.state_dict())


def own_head() -> dict[str, torch.Tensor]:
    """Return weights of a network with layers of one's own, which no shape tells all of."""
    network = torchvision.models.mobilenet_v2()
    network.classifier = nn.Sequential(nn.Linear(1280, 8), nn.GELU(), nn.Linear(8, 5))
    return dict(network.state_dict())


def by_timm() -> dict[str, torch.Tensor]:
    """Return weights of timm's."""
    return dict(timm.create_model("mobilenetv3_small_050", num_classes=5).state_dict())


@pytest.mark.parametrize(
    ("make", "architecture", "numbers", "options"),
    [
        (headless, "resnet18", 512, []),
        (own_head, "mobilenet_v2", 1280, ["-d", "task=feature_extraction"]),
        (by_timm, "timm/mobilenetv3_small_050", 1024, ["-d", "task=feature_extraction"]),
    ],
)
def test_new_serves_checkpoints_with_and_without_a_head(
    tmp_path: Path,
    make: Callable[[], dict[str, torch.Tensor]],
    architecture: str,
    numbers: int,
    options: list[str],
) -> None:
    torch.manual_seed(0)
    torch.save(make(), tmp_path / "best.pth")
    words = ("new", "found", "--weights", "best.pth", "--defaults", "-d", "backend=eager", *options)
    result = ts_template(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"{numbers} numbers: " in result.stdout
    answers = yaml.safe_load((tmp_path / "found" / ".copier-answers.yml").read_text("utf-8"))
    assert answers["task"] == "feature_extraction"
    assert answers["architecture"] == architecture
    assert "label_format" not in answers


def test_weights_of_training_without_labels_are_served_as_features(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=128)
    state = {f"module.encoder_q.{name}": x for name, x in network.state_dict().items()}
    state |= {f"module.encoder_k.{name}": x for name, x in network.state_dict().items()}
    torch.save({"state_dict": {**state, "module.queue": torch.ones(128, 4)}}, tmp_path / "moco.pth")
    words = ("new", "found", "--weights", "moco.pth", "--defaults")
    refused = ts_template(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "-d task=feature_extraction" in refused.stderr
    options = ("-d", "task=feature_extraction", "-d", "state_dict_prefix=module.encoder_q.")
    result = ts_template(*words, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "512 numbers: " in result.stdout
    assert "backend: onnxruntime, which predicts as eager does" in result.stdout


def test_an_export_that_calls_its_output_an_embedding_is_served_whole(tmp_path: Path) -> None:
    """As networks for faces are exported: the last layer makes the embedding."""
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=16).eval()
    images = torch.rand(1, 3, 64, 64)
    torch.onnx.export(
        network, (images,), tmp_path / "x.onnx", output_names=["embedding"], dynamo=False
    )
    result = ts_template("new", "made", "--weights", "x.onnx", "--defaults", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "task: feature_extraction (assumed; another: -d task=" in result.stdout
    answers = yaml.safe_load((tmp_path / "made" / ".copier-answers.yml").read_text())
    assert (answers["task"], answers["num_classes"]) == ("feature_extraction", 16)


def test_weights_of_two_networks_that_teach_one_another_are_no_classifier(tmp_path: Path) -> None:
    state = torchvision.models.resnet50().state_dict()
    body = {f"module.backbone.{name}": x for name, x in state.items() if "fc." not in name}
    head = {"module.head.mlp.0.weight": torch.ones(8, 2048)}
    head |= {f"module.head.last_layer.weight_{x}": torch.ones(16, 8) for x in "gv"}
    torch.save({"student": {**body, **head}, "teacher": {**body, **head}}, tmp_path / "dino.pth")
    refused = ts_template("new", "found", "--weights", "dino.pth", "--defaults", cwd=tmp_path)
    assert refused.returncode == 1
    assert "it was trained without labels" in refused.stderr


def test_what_gives_no_embedding_is_refused(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3).eval()
    torch.jit.trace(network, torch.zeros(1, 3, 64, 64)).save(str(tmp_path / "net.pt"))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    words = ("--defaults", "-d", "task=feature_extraction")
    graph = ts_template("new", "found", "--weights", "net.pt", *words, cwd=tmp_path)
    assert "Take that layer off where it was exported" in graph.stderr
    labels = ("--labels", "names.txt")
    named = ts_template("new", "found", "--weights", "net.pt", *labels, *words, cwd=tmp_path)
    assert "names no classes: leave out --labels" in named.stderr
    assert not (tmp_path / "found").exists()
