"""What a network may return: probabilities, tuples, dicts, NaN; and what labels may look like."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
import yaml
from PIL import Image

from conftest import Project, encode, labels_of, save_random_weights
from generator.hostile import random_image
from generator.matrix import imported_from

IMAGES = [encode(random_image(seed)) for seed in range(4)]


def build(project: Project) -> str:
    """Build the project's archive with seeded weights, in this process; return what is refused."""
    with imported_from(project.path):
        import archive
        import service
        from service import model
        from tools.project import WEIGHTS_DIR, ProjectError

        torch.manual_seed(0)
        network = model.build_model(getattr(service, "NUM_OUTPUTS", service.NUM_CLASSES))
        for parameter in network.parameters():
            parameter.data.mul_(2)  # so that the answers tell apart
        torch.save(network.state_dict(), WEIGHTS_DIR / "w.pth")
        try:
            archive.build(WEIGHTS_DIR / "w.pth")
        except ProjectError as error:
            return str(error)
    return ""


def refusal(project: Project, weights: str) -> str:
    """Build the archive of a file in weights/, in this process; return why it is refused."""
    with imported_from(project.path):
        import archive
        from tools.project import WEIGHTS_DIR, ProjectError

        try:
            archive.build(WEIGHTS_DIR / weights)
        except ProjectError as error:
            return str(error)
    return ""


def answers(project: Project, images: list[bytes] = IMAGES) -> list[Any]:
    """Return the archive's answers to a batch, status and body of each."""
    with imported_from(project.path):
        from tools import inprocess

        rows = [{"body": data} for data in images]
        with inprocess.open_archive(project.path / "model-store" / "image-classifier.mar") as local:
            return [(answer.status, answer.body) for answer in local.predict(rows)]


def change_model(project: Project, old: str, new: str) -> None:
    """Edit the project's own network."""
    path = project.path / "service" / "model.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def assert_alike(found: list[Any], expected: list[Any]) -> None:
    """Compare answers in the default format."""
    assert [status for status, _ in found] == [status for status, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert [x["index"] for x in one] == [x["index"] for x in other]
        for x, y in zip(one, other, strict=True):
            assert abs(x["probability"] - y["probability"]) < 1e-5


def test_networks_that_end_in_softmax_give_the_same_answers(
    copy_project: Callable[..., Project],
) -> None:
    found = {}
    for output in ("logits", "log_probabilities", "probabilities"):
        project = copy_project(output, architecture="custom", num_classes=6, model_output=output)
        assert not build(project)
        found[output] = answers(project)
    assert_alike(found["log_probabilities"], found["logits"])
    assert_alike(found["probabilities"], found["logits"])


@pytest.mark.parametrize(
    ("returned", "answered", "fix"),
    [
        ("probabilities", "logits", "-d model_output=probabilities"),
        ("logits", "probabilities", "-d model_output=logits"),
        ("logits", "log_probabilities", "-d model_output=logits"),
        ("log_probabilities", "probabilities", "-d model_output=logits"),
    ],
)
def test_another_output_than_answered_is_refused(
    copy_project: Callable[..., Project], returned: str, answered: str, fix: str
) -> None:
    project = copy_project(architecture="custom", num_classes=6, model_output=answered)
    other = copy_project("other", architecture="custom", num_classes=6, model_output=returned)
    (project.path / "service" / "model.py").write_text(
        (other.path / "service" / "model.py").read_text()
    )
    assert fix in build(project)


RETURN = "return self.classifier(self.features(images))"


@pytest.mark.parametrize(
    "returned",
    ["[scores, None]", '{"scores": scores}', '{"features": images, "logits": scores}'],
)
def test_the_scores_are_found_in_what_a_network_returns(
    copy_project: Callable[..., Project], returned: str
) -> None:
    plain = copy_project("plain", architecture="custom", num_classes=6)
    more = copy_project("more", architecture="custom", num_classes=6)
    scores = "scores = self.classifier(self.features(images))"
    change_model(more, RETURN, f"{scores}\n        return {returned}")
    for project in (plain, more):
        assert not build(project)
    assert_alike(answers(more), answers(plain))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("scores[:, :, None, None]", "(6, 1, 1) for an image, not 6; let it end in .flatten(1)"),
        ("scores[:, :4]", "-d num_classes=4"),
        ("scores / 0", "NaN or infinity"),
        ("scores.squeeze()", "it must keep the dimension of the batch"),
        ("9 * scores[:, :1] - 3", "-d num_classes=2 -d model_output=binary_logit"),
        ("scores[:, 0].sigmoid()", "-d num_classes=2 -d model_output=binary_probability"),
        ("scores.sigmoid()", "-d task=multi_label_classification -d model_output=probabilities"),
        ("(50 * scores).tanh()", "as if it ended in tanh"),
        ("scores * 0 + 1", "the same for images that have nothing in common"),
        ("torch.nn.functional.dropout(scores)", "something else for the same image each time"),
        ("scores + scores[:1]", "when another is in its batch"),  # the first may look right
        ("(images.mean((2, 3)), scores)", "0 (2, 1), 1 (2, 6). Name the one to serve, such as 1"),
        ("(images.mean((2, 3)), scores)", "-d output_key=1"),
        ('{"x": images, "out": scores, "aux": scores}', "-d output_key=out"),
        ("{}", "the network returns no tensor"),
        ("None", "the network returns no tensor"),
        ("self.classifer(scores)", "object has no attribute 'classifer'. If its code is right"),
    ],
)
def test_what_is_not_one_score_per_class_is_refused(
    copy_project: Callable[..., Project], returned: str, message: str
) -> None:
    project = copy_project(architecture="custom", num_classes=6)
    scores = "scores = self.classifier(self.features(images))"
    change_model(project, RETURN, f"{scores}\n        return {returned}")
    assert message in build(project)
    assert not list((project.path / "model-store").iterdir())


def test_a_network_that_fails_without_a_message_is_named(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=6)
    change_model(project, RETURN, f"assert images.shape[1] == 7\n{' ' * 8}{RETURN}")
    build(project)
    said = project.run("archive.py").stderr
    assert "service/model.py, line " in said
    assert ": AssertionError. If its code is right, check color_mode" in said
    assert "Traceback" not in said


def test_scripted_googlenet_returns_a_tuple(copy_project: Callable[..., Project]) -> None:
    project = copy_project(
        architecture="googlenet", num_classes=5, weights="torchscript", label_format="none"
    )
    network = torchvision.models.googlenet(num_classes=5, init_weights=False, aux_logits=False)
    save_random_weights(network, project.path.parent / "unused.pth")
    torch.jit.script(network.eval()).save(project.path / "weights" / "googlenet.pt")
    project.archive()
    assert [status for status, _ in answers(project)] == [200] * len(IMAGES)


def test_a_image_on_which_the_network_fails_is_one_error(
    copy_project: Callable[..., Project],
) -> None:
    project = copy_project(architecture="custom", num_classes=6)
    change_model(
        project,
        RETURN,
        "if (images.mean(dim=(1, 2, 3)) > 0.99).any():\n"
        '            raise ValueError("white")\n'
        "        scores = self.classifier(self.features(images))\n"
        "        grey = (images - 0.5).abs().amax(dim=(1, 2, 3)) < 0.01\n"
        '        return scores.masked_fill(grey[:, None], float("nan"))',
    )
    assert not build(project)
    white, grey = (encode(Image.new("L", (40, 40), value)) for value in (255, 128))
    alone = answers(project, IMAGES[:2])
    found = answers(project, [IMAGES[0], white, grey, IMAGES[1]])
    assert_alike([found[0], found[3]], alone)
    assert found[1] == (500, {"error": "the network fails on this image"})
    assert found[2] == (500, {"error": "the network returns NaN or infinity for this image"})


@pytest.mark.parametrize(
    ("key", "returned"),
    [("1", "(images, scores)"), ("out", '{"x": images, "out": scores, "aux": images}')],
)
def test_the_output_that_was_named_is_served(
    copy_project: Callable[..., Project], key: str, returned: str
) -> None:
    plain = copy_project("plain", architecture="custom", num_classes=6)
    named = copy_project("named", architecture="custom", num_classes=6, output_key=key)
    scores = "scores = self.classifier(self.features(images))"
    change_model(named, RETURN, f"{scores}\n        return {returned}")
    for project in (plain, named):
        assert not build(project)
    assert_alike(answers(named), answers(plain))
    change_model(named, returned, '{"y": scores}' if key == "out" else "(scores,)")
    assert f"nothing under {key}" in build(named)


def test_outputs_may_be_trusted_that_look_otherwise(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=6)
    change_model(project, RETURN, "return 0 * self.classifier(self.features(images))")
    assert "python archive.py --trust-outputs" in build(project)
    project.archive("--trust-outputs")


@pytest.mark.parametrize("returned", ["scores", "scores.flatten()", "scores.squeeze()"])
def test_one_number_tells_two_classes_apart(
    copy_project: Callable[..., Project], returned: str
) -> None:
    """The right answer is the sigmoid of the number, which is computed here by hand."""
    scores = "scores = 9 * self.classifier[:4](self.features(images)).flatten(1)"
    found = []
    for output, ending in (("binary_logit", ""), ("binary_probability", ".sigmoid()")):
        project = copy_project(output, architecture="custom", num_classes=2, model_output=output)
        change_model(project, RETURN, f"{scores}\n        return ({returned}){ending}")
        labels_of(project.path, ["no", "yes"])
        assert not build(project)
        found.append(answers(project))
        with imported_from(project.path):
            from tools.inprocess import open_archive

            with open_archive(project.path / "model-store" / "image-classifier.mar") as local:
                numbers = torch.cat(local.outputs(IMAGES))
        yes = numbers if ending else numbers.sigmoid()
        for (status, body), probability in zip(found[-1], yes.tolist(), strict=True):
            assert status == 200
            assert {x["label"]: x["probability"] for x in body} == pytest.approx(
                {"no": 1 - probability, "yes": probability}, abs=1e-6
            )
            assert body[0]["label"] == ("yes" if probability > 0.5 else "no")
    assert_alike(*found)


@pytest.mark.parametrize(
    ("returned", "answered", "fix"),
    [
        ("scores.sigmoid()", "binary_logit", "-d model_output=binary_probability"),
        ("9 * scores - 3", "binary_probability", "-d model_output=binary_logit"),
        ("scores.repeat(1, 5)", "binary_logit", "-d num_classes=5 -d model_output=logits"),
    ],
)
def test_another_output_than_one_number_is_refused(
    copy_project: Callable[..., Project], returned: str, answered: str, fix: str
) -> None:
    project = copy_project(architecture="custom", num_classes=2, model_output=answered)
    scores = "scores = self.classifier(self.features(images))"
    change_model(project, RETURN, f"{scores}\n        return {returned}")
    assert fix in build(project)


@pytest.mark.parametrize("architecture", ["resnet18", "timm/resnet10t"])
def test_weights_with_one_output_are_refused_with_the_right_answers(
    copy_project: Callable[..., Project], architecture: str
) -> None:
    project = copy_project(architecture=architecture, num_classes=2, label_format="none")
    with imported_from(project.path):
        from service import model

        save_random_weights(model.build_model(1), project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    fix = ["num_classes=2", "model_output=binary_logit"]
    assert " ".join(f"-d {x}" for x in fix) in refused.stderr
    answered = dict(x.split("=") for x in fix)
    right = copy_project("right", architecture=architecture, label_format="none", **answered)
    (project.path / "weights" / "w.pth").rename(right.path / "weights" / "w.pth")
    right.archive()
    assert {len(body) for _, body in answers(right)} == {2}


@pytest.mark.parametrize("task", ["image_classification", "semantic_segmentation"])
def test_one_class_is_none(copy_project: Callable[..., Project], task: str) -> None:
    with pytest.raises(ValueError, match="answer 2, and model_output=binary_logit"):
        copy_project(task=task, num_classes=1)


@pytest.mark.parametrize("response_format", ["predictions", "scores", "label"])
def test_labels_that_repeat_keep_their_classes_apart(
    copy_project: Callable[..., Project], response_format: str
) -> None:
    project = copy_project(
        architecture="custom", num_classes=3, response_format=response_format, top_k=3
    )
    labels_of(project.path, ["crane", "cat", "crane"])
    assert not build(project)
    for status, body in answers(project):
        assert status == 200
        match response_format:
            case "predictions":
                assert {(x["index"], x["label"]) for x in body} == {
                    (0, "crane"),
                    (1, "cat"),
                    (2, "crane"),
                }
            case "scores":
                assert set(body) == {"crane (0)", "cat", "crane (2)"}
            case "label":
                assert body["label"] == ["crane", "cat", "crane"][body["index"]]


def test_long_labels_and_missing_ones_are_refused(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=3, max_label_length=10)
    labels_of(project.path, ["a", "b" * 11, "c"])
    refused = build(project)
    assert "class 1, bbbbbbbbbbb..., has 11 characters" in refused
    assert "-d max_label_length=11" in refused
    labels_of(project.path, ["a", "b" * 10])
    assert "lacks 2" in build(project)


SEGMENTER = """
import torch
from torch import nn


class Red(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(8.0))

    def forward(self, images):
        score = self.factor * (images[:, :1] - images[:, 1:2] - 0.3)
        return RETURNED


def build_model(num_classes: int) -> nn.Module:
    return Red()
"""


def test_one_number_for_each_pixel_tells_a_class_from_the_background(
    copy_project: Callable[..., Project],
) -> None:
    image = Image.new("RGB", (60, 40))
    image.paste((230, 20, 20), (0, 0, 30, 40))
    image.paste((20, 230, 20), (30, 0, 60, 20))
    expected = [{"label": "red", "index": 1, "pixels": 1200, "share": 0.5}]

    def segmenter(name: str, returned: str, **more: Any) -> Project:
        project = copy_project(
            name,
            task="semantic_segmentation",
            architecture="custom",
            color_mode="RGB",
            response_format="areas",
            model_name="image-classifier",
            image_size=40,
            transforms="to_tensor",
            **more,
        )
        labels_of(project.path, ["background", "red"])
        model = SEGMENTER.replace("RETURNED", returned)
        (project.path / "service" / "model.py").write_text(model)
        return project

    logit, probability = "-d model_output=binary_logit", "-d model_output=binary_probability"
    for number, (returned, output, fix) in enumerate(
        [
            ("score", "binary_logit", ""),
            ("score.sigmoid()", "binary_probability", ""),
            ("[score.squeeze(1)]", "binary_logit", ""),
            ("score", "binary_probability", logit),
            ("score.sigmoid()", "binary_logit", probability),
            ("score", "logits", f"-d num_classes=2 {logit}"),
            ("score.sigmoid()", "logits", f"-d num_classes=2 {probability}"),
            ("score.repeat(1, 2, 1, 1)", "binary_logit", "-d num_classes=2 -d model_output=logits"),
            (
                "torch.cat([score, -score], 1).sigmoid() * 0.9",
                "logits",
                "a pixel could have several classes, or none",
            ),
        ]
    ):
        project = segmenter(f"{number}", returned, num_classes=2, model_output=output)
        refused = build(project)
        assert fix in refused and bool(fix) == bool(refused), (returned, output, refused)
        if not fix:
            ((status, body),) = answers(project, [encode(image)])
            assert status == 200
            assert {x["label"] for x in body} == {"background", "red"}
            assert [x for x in body if x["index"] == 1] == expected


class TwoHeads(torch.nn.Module):
    """Two tasks at once, as people export them; with dropout, which only training should have."""

    def __init__(self, names: bool = True) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 16))
        self.first, self.second = torch.nn.Linear(16, 4), torch.nn.Linear(16, 3)
        self.dropout, self.names = torch.nn.Dropout(0.5), names

    def forward(self, images: torch.Tensor) -> Any:
        """Return scores of one or both heads."""
        features = self.dropout(self.body(images))
        if not self.names:
            return self.second(features)
        return {"colour": self.first(features), "kind": self.second(features)}


@pytest.mark.parametrize("weights", ["onnx", "torchscript"])
def test_files_with_two_outputs_or_in_training_are_refused(
    copy_project: Callable[..., Project], weights: str
) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 28, 28)

    def save(network: torch.nn.Module, project: Project) -> None:
        path = project.path / "weights" / "model.onnx"
        if weights == "torchscript":
            torch.jit.trace(network, images, strict=False, check_trace=False).save(path)
            return
        names = ["colour", "kind"] if getattr(network, "names", False) else ["kind"]
        free = {"images": {0: "batch"}}
        torch.onnx.export(
            network,
            (images,),
            path,
            input_names=["images"],
            output_names=names,
            dynamic_axes=free,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )

    answered = {"architecture": "custom", "num_classes": 3, "weights": weights}
    project = copy_project("project", **answered, label_format="none")
    two = TwoHeads().eval()
    save(two, project)
    assert "such as kind: " in (refused := refusal(project, "model.onnx"))
    assert "-d output_key=kind" in refused
    named = copy_project("named", **answered, label_format="none", output_key="kind")
    save(two, named)
    assert not refusal(named, "model.onnx")
    one = TwoHeads(names=False).eval()
    one.load_state_dict(two.state_dict())
    save(one, project)
    assert not refusal(project, "model.onnx")
    assert_alike(answers(named), answers(project))
    save(one.train(), project)
    refused = refusal(project, "model.onnx")
    if weights == "onnx":  # ONNX Runtime leaves dropout out, whatever the file says
        assert not refused
        assert_alike(answers(project), answers(named))
    else:
        assert "something else for the same image each time" in refused


class Normalised(torch.nn.Module):
    """A network that normalises images itself, as files for other languages often do."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("mean", scale * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.layer, self.scale = torch.nn.Conv2d(3, 3, 5), scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (N, 3)."""
        return self.layer((images - self.mean) / self.scale / 0.2).amax((2, 3))


@pytest.mark.parametrize(
    ("weights", "scale"), [("onnx", 1), ("torchscript", 255), ("exported_program", 1)]
)
def test_images_are_not_normalised_twice(
    copy_project: Callable[..., Project], weights: str, scale: float
) -> None:
    answered = {"architecture": "custom", "num_classes": 3, "color_mode": "RGB", "weights": weights}
    answered["label_format"] = "none"
    project = copy_project(**answered, transforms="imagenet")
    path = project.path / "weights" / "model.onnx"
    torch.manual_seed(0)
    network, images = Normalised(scale).eval(), torch.rand(2, 3, 224, 224)
    if weights == "onnx":
        shapes = ({0: "batch"},)
        torch.onnx.export(
            network, (images,), path, dynamic_shapes=shapes, external_data=False, verbose=False
        )
    elif weights == "torchscript":
        torch.jit.trace(network, images).save(path)
    else:
        free = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(network, (images,), dynamic_shapes=free), path)
    refused = refusal(project, "model.onnx")
    assert f"holds the mean {scale * 0.485:g}" in refused
    words = shlex.split(refused.splitlines()[1 if scale == 255 else 0].rpartition("copier ")[2])
    answers = [words[place + 1] for place, word in enumerate(words) if word == "-d"]
    assert f"std=[{1 / scale}]" in answers
    fixed = dict(answer.split("=", 1) for answer in answers)
    right = copy_project("right", **answered, **{k: yaml.safe_load(x) for k, x in fixed.items()})
    path.rename(right.path / "weights" / "model.onnx")
    assert not refusal(right, "model.onnx")
    with imported_from(right.path):
        from tools.inprocess import open_archive

        with open_archive(right.path / "model-store" / "image-classifier.mar") as local:
            (found,) = local.outputs([encode(Image.new("RGB", (300, 300), (200, 90, 30)))])
    pixels = torch.tensor([200, 90, 30]).view(1, 3, 1, 1).expand(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(found, network(pixels * scale / 255)[0], rtol=1e-3, atol=1e-3)
