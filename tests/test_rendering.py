"""What `copier copy` renders."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from conftest import Project, slow
from generator import facts, matrix
from generator.cli import app
from generator.rendering import plain_copy, render, sources, template_root

EVERYTHING = list(facts.targets())

# Each value of each question at least once.
PROJECTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "wrapped": {
        "architecture": "resnet34",
        "num_classes": 2,
        "weights": "wrapped",
        "state_dict_prefix": "model.backbone.",
        "label_format": "imagenet",
        "label_element": 0,
        "transforms": "imagenet",
        "response_format": "scores",
        "top_k": 1,
    },
    "torchscript": {
        "architecture": "densenet161",
        "num_classes": 2,
        "model_output": "binary_logit",
        "weights": "torchscript",
        "label_format": "none",
        "transforms": "to_tensor",
        "image_size": 96,
        "response_format": "label",
    },
    "custom": {"architecture": "custom", "num_classes": 10, "evaluation": True},
    "stretched": {
        "architecture": "resnet18",
        "num_classes": 4,
        "transforms": "custom",
        "image_size": 96,
        "resize_mode": "stretch",
    },
    "checkpoint": {"architecture": "resnet18", "num_classes": 4, "weights": "checkpoint"},
    "checkpoint's key": {
        "architecture": "densenet121",
        "num_classes": 4,
        "weights": "checkpoint",
        "checkpoint_key": "model_ema.state_dict",
        "state_dict_prefix": "module.",
    },
    "checkpoint of a custom network": {"architecture": "custom", "weights": "checkpoint"},
    "safetensors": {"architecture": "mobilenet_v3_small", "weights": "safetensors"},
    "safetensors with a prefix": {
        "architecture": "custom",
        "weights": "safetensors",
        "state_dict_prefix": "net.",
    },
    "exported program": {"architecture": "squeezenet1_1", "weights": "exported_program"},
    "onnx": {"architecture": "custom", "weights": "onnx", "num_classes": 4},
    "pretrained": {"architecture": "resnet18", "weights": "pretrained"},
    "custom transforms": {
        "architecture": "resnet18",
        "color_mode": "L",
        "label_format": "class_to_idx",
        "transforms": "custom",
        "image_size": 64,
        "resize_size": 72,
        "mean": 0.1307,
        "std": [0.3081],
        "interpolation": "bicubic",
    },
    "colour custom": {
        "architecture": "custom",
        "color_mode": "RGB",
        "label_format": "list",
        "transforms": "custom",
        "resize_mode": "stretch",
        "mean": [0.1, 0.2, 0.3],
        "interpolation": "nearest",
    },
    "timm": {"architecture": "timm/resnet18", "num_classes": 4, "label_format": "text"},
    "timm by name": {
        "architecture": "timm",
        "timm_name": "mobilenetv3_small_050.lamb_in1k",
        "num_classes": 4,
        "color_mode": "L",
        "label_format": "csv",
        "weights": "wrapped",
    },
    "head": {
        "architecture": "googlenet",
        "head": "mlp_dropout",
        "label_format": "huggingface",
        "num_classes": 3,
    },
    "layers": {
        "architecture": "mobilenet_v2",
        "head": "layers",
        "head_layers": ["dropout 0.2", "linear 64", "batchnorm 0.001", "leaky_relu 0.1", "linear"],
        "num_classes": 3,
    },
    "named layers": {
        "architecture": "vgg11",
        "head": "layers",
        "head_place": "last",
        "head_layers": {"fc1": "linear 64 bias=False", "act": "gelu", "fc2": "linear"},
        "num_classes": 3,
        "weights": "checkpoint",
    },
    "a layer alone": {
        "architecture": "vit_b_32",
        "head": "layers",
        "head_layers": "linear",
        "num_classes": 3,
    },
    "grayscale squeezenet": {
        "architecture": "squeezenet1_1",
        "color_mode": "L",
        "label_format": "folders",
        "label_folder": "/data/" + "Fotos und 猫/" * 8,
    },
    "limits": {
        "architecture": "custom",
        "num_classes": 3,
        "max_request_mb": 3,
        "max_megapixels": 4,
        "max_pictures": 1,
        "max_label_length": 30,
    },
    "probabilities": {
        "architecture": "custom",
        "num_classes": 3,
        "model_output": "probabilities",
    },
    "log-probabilities of a TorchScript network": {
        "architecture": "resnet18",
        "num_classes": 3,
        "weights": "torchscript",
        "model_output": "log_probabilities",
    },
    "everything to deploy": {"architecture": "custom", "deploy": EVERYTHING},
    "own files": {
        "architecture": "custom",
        "num_classes": 3,
        "own_files": ["preprocessing.py", "response.py", "README.md"],
    },
    "onnxruntime": {"architecture": "resnet18", "backend": "onnxruntime", "decode": "draft"},
    "openvino in int8": {
        "architecture": "custom",
        "num_classes": 3,
        "backend": "openvino",
        "precision": "int8",
        "label_format": "folders",
    },
    "compiled in bf16": {
        "architecture": "timm/resnet18",
        "num_classes": 3,
        "backend": "aot_inductor",
        "precision": "bf16",
    },
    "bf16": {"architecture": "custom", "num_classes": 3, "precision": "bf16"},
    "GPU": {"architecture": "resnet18", "accelerator": "cuda", "precision": "fp16"},
    "compiled for a GPU": {
        "architecture": "resnet18",
        "accelerator": "cuda",
        "backend": "aot_inductor",
        "decode": "gpu",
    },
    "TorchScript on a GPU": {
        "architecture": "custom",
        "num_classes": 3,
        "accelerator": "cuda",
        "weights": "torchscript",
    },
    "exported program on a GPU": {
        "architecture": "resnet18",
        "accelerator": "cuda",
        "weights": "exported_program",
    },
    "multi-label": {
        "task": "multi_label_classification",
        "num_classes": 3,
        "thresholds": [0.5, 0.25, 0.9],
        "deploy": ["monitoring"],
    },
    "multi-label of one's own": {
        "task": "multi_label_classification",
        "architecture": "custom",
        "num_classes": 4,
        "model_output": "probabilities",
        "response_format": "labels",
        "precision": "bf16",
        "evaluation": True,
    },
    "multi-label scores": {
        "task": "multi_label_classification",
        "architecture": "timm/resnet18",
        "num_classes": 4,
        "response_format": "scores",
        "backend": "onnxruntime",
    },
    "segmentation": {
        "task": "semantic_segmentation",
        "architecture": "lraspp_mobilenet_v3_large",
        "num_classes": 3,
        "deploy": ["monitoring"],
    },
    "segmentation as an image": {
        "task": "semantic_segmentation",
        "architecture": "custom",
        "num_classes": 3,
        "response_format": "png_body",
        "evaluation": True,
    },
    "segmentation as COCO has it": {
        "task": "semantic_segmentation",
        "architecture": "custom",
        "num_classes": 300,
        "transforms": "custom",
        "resize_mode": "stretch",
        "response_format": "rle",
        "backend": "openvino",
    },
    "segmentation's areas": {
        "task": "semantic_segmentation",
        "architecture": "fcn_resnet50",
        "num_classes": 21,
        "weights": "exported_program",
        "transforms": "to_tensor",
        "response_format": "areas",
    },
    "pretrained segmentation": {
        "task": "semantic_segmentation",
        "weights": "pretrained",
    },
    "objects to evaluate": {
        "task": "object_detection",
        "architecture": "custom",
        "num_classes": 3,
        "evaluation": True,
    },
    "masks to evaluate": {
        "task": "instance_segmentation",
        "architecture": "custom",
        "num_classes": 3,
        "evaluation": True,
    },
    "detector to train": {
        "task": "object_detection",
        "architecture": "ssdlite320_mobilenet_v3_large",
        "num_classes": 3,
        "backend": "onnxruntime",
        "training": True,
    },
    "own detector to train": {
        "task": "object_detection",
        "architecture": "custom",
        "num_classes": 3,
        "training": True,
        "evaluation": True,
    },
    "masks to train": {
        "task": "instance_segmentation",
        "num_classes": 3,
        "backend": "onnxruntime",
        "training": True,
        "weights": "wrapped",
    },
    "keypoints": {
        "task": "keypoint_detection",
        "num_classes": 2,
        "backend": "onnxruntime",
        "color_mode": "L",
    },
    "own masks to train": {
        "task": "instance_segmentation",
        "architecture": "custom",
        "num_classes": 3,
        "color_mode": "L",
        "training": True,
    },
    "texts to evaluate": {
        "task": "text_classification",
        "num_classes": 3,
        "problem_type": "multi_label_classification",
        "evaluation": True,
    },
    "texts to train on": {
        "task": "text_classification",
        "num_classes": 3,
        "model_name": "A" + "b-_9" * 15,
        "training": True,
    },
    "texts to train on and to evaluate": {
        "task": "text_classification",
        "problem_type": "multi_label_classification",
        "label_format": "csv",
        "long_texts": "truncate",
        "backend": "onnxruntime",
        "training": True,
        "evaluation": True,
    },
    "features": {
        "task": "feature_extraction",
        "architecture": "densenet121",
        "weights": "checkpoint",
        "deploy": ["monitoring"],
    },
    "features in base64": {
        "task": "feature_extraction",
        "architecture": "timm/resnet18",
        "weights": "wrapped",
        "l2_normalize": True,
        "response_format": "base64",
        "backend": "onnxruntime",
        "precision": "int8",
    },
    "features of a file": {
        "task": "feature_extraction",
        "architecture": "custom",
        "weights": "torchscript",
    },
    "features of weights that nothing brings": {
        "task": "feature_extraction",
        "architecture": "vit_b_16",
        "weights": "pretrained",
        "color_mode": "L",
    },
    "awkward names": {
        "project_name": 'Katzen & "Hunde" – it\'s 猫 🐱 \\n',
        "model_name": "A" + "b-_9" * 15,
    },
}


def files_of(project: Project) -> set[str]:
    """Return the files of a project, as paths with slashes."""
    return {
        path.relative_to(project.path).as_posix()
        for path in project.path.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "_cache" not in str(path)
    }


@pytest.fixture(params=PROJECTS, ids=lambda name: name.replace(" ", "-"))
def project(request: pytest.FixtureRequest, copy_project: Callable[..., Project]) -> Project:
    """A project for each set of answers."""
    return copy_project(**PROJECTS[request.param])


def complete(project: Project) -> dict[str, Any]:
    """Return the answers of a project, with those that were not asked for."""
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {"backend": "eager", "precision": "fp32", **answers}


@pytest.mark.parametrize("deploy", [*([way] for way in EVERYTHING), EVERYTHING], ids="+".join)
def test_each_target_brings_its_files_and_its_section(
    copy_project: Callable[..., Project], deploy: list[str]
) -> None:
    project = copy_project(label_format="none", deploy=deploy)
    assert files_of(project) == matrix.expected_files(complete(project))
    brought = set().union(*(facts.targets()[way]["files"] for way in deploy))
    assert brought <= files_of(project)
    # Each chosen one has its section in the README, the others have no word.
    readme = (project.path / "README.md").read_text()
    titles = {
        way: (template_root() / "template" / "deploy" / way / "readme.md.jinja")
        .read_text()
        .partition("\n")[0]
        for way in EVERYTHING
    }
    assert all(title.startswith("## ") for title in titles.values())
    assert {way for way, title in titles.items() if f"{title}\n" in readme} == set(deploy)


def test_nothing_but_the_folders_of_tasks_names_a_task() -> None:
    root = template_root()
    default = "  default: image_classification"  # of the question itself
    words = re.compile("|".join([*facts.tasks(), r"\btask == ['\"]"]))
    found = []
    for path in [root / "copier.yml", *root.glob("template/**/*"), *root.glob("generator/**/*")]:
        name = path.relative_to(root).as_posix()
        if path.is_dir() or path.suffix in (".gz", ".pyc") or re.match(r"\w+/tasks/", name):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{name}: {x}" for x in lines if words.search(x) and x != default]
    assert not found, "\n".join(found)


def test_a_copy_of_what_is_rendered_from_renders_the_same(tmp_path: Path) -> None:
    answers = PROJECTS["everything to deploy"]
    copy = plain_copy(tmp_path / "template")
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("template/")} == {
        name
        for source in sources(template_root())
        for name in found
        if name.startswith(source) and source != "template"
    }
    assert "generator/archs.json" in found
    assert not [name for name in found if "__pycache__" in name or "tests" in name.split("/")[:1]]
    render(tmp_path / "one", answers, copy)
    render(tmp_path / "other", answers)
    one, other = Project(tmp_path / "one"), Project(tmp_path / "other")
    assert files_of(one) == files_of(other)
    for name in files_of(one) - {".copier-answers.yml"}:
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_the_files_are_right_and_clean_as_rendered(project: Project) -> None:
    assert files_of(project) == matrix.expected_files(complete(project))
    for name in files_of(project):
        matrix.check_text(name, (project.path / name).read_text(encoding="utf-8"))
    assert_passes(project, "ruff", "check", "--no-cache", ".")
    assert_passes(project, "ruff", "format", "--diff", "--no-cache", ".")


def assert_passes(project: Project, *command: str) -> None:
    """Run a tool in a project; the test fails with what it printed if it finds something."""
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


# They have what most files are rendered with.
TYPED = (
    "custom",
    "checkpoint",
    "everything to deploy",
    "masks to train",
    "texts to train on and to evaluate",
)


def test_the_types_of_typical_projects_are_right(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    # One after the other, with a cache: else each process would read all of torch's types again.
    for name in TYPED:
        project = copy_project(name, **PROJECTS[name])
        assert_passes(project, "mypy", "--cache-dir", str(tmp_path), "--exclude", "tests", ".")


@pytest.mark.slow
@pytest.mark.parametrize("project", [x for x in PROJECTS if x not in TYPED], indirect=True)
def test_the_types_are_right(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = str(tmp_path_factory.getbasetemp() / "mypy")
    assert_passes(project, "mypy", "--cache-dir", cache, "--exclude", "tests", ".")


# Those of the others are run by the matrix's tests, for other answers: with each task, each way to
# save weights and each way to run a network, but not at the sizes that networks are trained with.
@pytest.mark.parametrize(
    "project",
    [
        "defaults",
        *map(slow, ("segmentation", "wrapped", "timm", "GPU", "awkward names")),
    ],
    indirect=True,
)
def test_every_module_imports_and_the_smoke_tests_pass(project: Project) -> None:
    result = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout
    modules = [
        ".".join(path.relative_to(project.path).with_suffix("").parts).removesuffix(".__init__")
        for path in project.path.rglob("*.py")
        if "tests" not in path.parts
    ]
    result = project.run("-c", "import " + ", ".join(modules))
    assert result.returncode == 0, result.stderr


def test_the_answers_are_remembered(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="resnet34", num_classes=3)
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    visible = {key for key in answers if not key.startswith("_")}
    assert visible == {
        "accelerator",
        "architecture",
        "backend",
        "color_mode",
        "decode",
        "demo",
        "deploy",
        "evaluation",
        "head",
        "label_format",
        "max_label_length",
        "max_megapixels",
        "max_pictures",
        "max_request_mb",
        "model_name",
        "num_classes",
        "own_files",
        "precision",
        "project_name",
        "response_format",
        "sixteen_bit_gray",
        "task",
        "top_k",
        "training",
        "transforms",
        "weights",
    }
    assert answers["architecture"] == "resnet34"


def test_a_family_leads_to_its_first_architecture(copy_project: Callable[..., Project]) -> None:
    project = copy_project(family="densenet")
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    assert answers["architecture"].startswith("densenet")
    assert "family" not in answers


def test_what_an_answer_does_not_need_is_not_there(copy_project: Callable[..., Project]) -> None:
    project = copy_project(weights="state_dict", transforms="to_tensor", response_format="label")
    python = "".join(path.read_text() for path in project.path.rglob("*.py"))
    for absent in ("torch.jit.load", "PREFIX", "MEAN", "TOP_K", "captum", "image_classifier"):
        assert absent not in python, absent


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"project_name": " "}, "for example: Cats and Dogs"),
        ({"project_name": "two\nlines"}, "one line"),
        ({"model_name": "My Model"}, "write my-model"),
        ({"model_name": "-x"}, "write x;"),
        ({"model_name": "x" * 65}, "at most 64"),
        ({"architecture": "resnet19"}, "resnet18"),
        ({"task": "classification"}, "semantic_segmentation"),
        ({"task": "semantic_segmentation", "architecture": "resnet18"}, "choose another task"),
        ({"task": "semantic_segmentation", "transforms": "imagenet"}, "choose pretrained or"),
        ({"task": "semantic_segmentation", "num_classes": 1}, "for one output answer 2"),
        ({"num_classes": 1}, "for one output answer 2, and model_output=binary_logit"),
        ({"num_classes": 2, "model_output": "probabilities"}, "resnet18 returns scores"),
        ({"num_classes": 3, "model_output": "binary_logit"}, "it is for 2 classes"),
        ({"architecture": "custom", "output_key": "a b"}, "for example: scores or 0"),
        ({"task": "semantic_segmentation", "response_format": "label"}, "png"),
        ({"task": "multi_label_classification", "thresholds": [0.5, 1.5]}, "a list of 20"),
        ({"task": "multi_label_classification", "thresholds": 1}, "between 0 and 1"),
        ({"task": "multi_label_classification", "weights": "pretrained"}, "choose how yours were"),
        ({"resize_mode": "shorter_side", "transforms": "custom"}, "choose crop or stretch"),
        ({"num_classes": 0}, "2 or more"),
        ({"num_classes": "many"}, "many"),
        ({"weights": "pickle"}, "state_dict"),
        ({"weights": "wrapped", "state_dict_prefix": "resnet18"}, "end in a dot"),
        ({"label_format": "xml"}, "imagenet"),
        ({"label_format": "imagenet", "label_element": -2}, "write -1 (the last)"),
        ({"label_format": "folders", "label_folder": " "}, "write a path"),
        ({"label_format": "folders", "label_folder": "C:\\data"}, "C:/data/train"),
        ({"label_format": "folders", "label_folder": "~/data"}, "without quotes or ~"),
        ({"color_mode": "CMYK"}, "RGB"),
        ({"architecture": "custom", "transforms": "pretrained"}, "choose imagenet or"),
        ({"architecture": "timm/../x"}, "such as resnet50.a1_in1k"),
        ({"architecture": "squeezenet1_0", "head": "mlp"}, "choose linear"),
        ({"head": "mlp", "head_units": 0}, "write 1 or more"),
        ({"head": "layers"}, "name the layers in order"),
        ({"head": "layers", "head_layers": ["linear 9", "?", "linear"]}, "where ? stands"),
        ({"head": "layers", "head_layers": ["linear 9", "swish", "linear"]}, "leaky_relu"),
        ({"head": "layers", "head_layers": ["linear", "softmax"]}, "the service computes it"),
        ({"head": "layers", "head_layers": ["linear 9", "relu", "linear 3"]}, "without a number"),
        ({"head": "layers", "head_layers": {"a-b": "linear"}}, "no name that Python takes"),
        (
            {"architecture": "convnext_tiny", "head": "layers", "head_layers": "linear"},
            "Begin head_layers with flatten",
        ),
        (
            {"architecture": "maxvit_t", "head": "layers", "head_place": "whole"},
            "choose last, or custom",
        ),
        ({"transforms": "to_tensor", "image_size": -1}, "write 0"),
        (
            {"architecture": "alexnet", "transforms": "to_tensor", "image_size": 20},
            "pixels or more",
        ),
        ({"transforms": "custom", "resize_size": 100}, "at least image_size"),
        ({"transforms": "custom", "resize_mode": "squeeze"}, "stretch"),
        ({"transforms": "custom", "mean": [0.1, 0.2]}, "1 or 3 numbers"),
        ({"transforms": "custom", "mean": [123.7]}, "divide by 255"),
        ({"transforms": "custom", "std": [0.0]}, "not be 0"),
        ({"transforms": "custom", "std": "wide"}, "1 or 3 numbers"),
        ({"transforms": "custom", "color_mode": "L", "mean": [0.1, 0.2, 0.3]}, "1 number"),
        ({"transforms": "custom", "interpolation": "magic"}, "bilinear"),
        ({"response_format": "xml"}, "predictions"),
        ({"top_k": 0}, "1 or more"),
        ({"architecture": "custom", "model_output": "scores"}, "logits"),
        ({"max_request_mb": 0}, "from 1 to 2000"),
        ({"max_megapixels": 2000}, "from 1 to 1000"),
        ({"max_pictures": 0}, "from 1 to 1000"),
        ({"max_label_length": 0}, "from 1 to 10000"),
        ({"deploy": ["ray"]}, "'ray' is not in"),
        ({"own_files": ["handler.py"]}, "'handler.py' is not in"),
        ({"arch": {}}, "computed"),
        ({"channels": 7}, "computed"),
        ({"preset": {}}, "computed"),
    ],
    ids=str,
)
def test_bad_answers_are_refused_in_words(
    copy_project: Callable[..., Project], answers: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words are compared below
        copy_project(**answers)
    text = re.sub(r"^(Validation error|Invalid choice) for.*?'\w+': ", "", str(error.value))
    # A prompt cuts its line off: what to do comes first. Copier's own words are what they are.
    assert message in (text if " is not in " in text else text[:70])
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("deploy", "message"),
    [("ray_serve", "expected a list, as in ["), ("[ray_serv]", "did you mean ray_serve?")],
)
def test_mistakes_in_a_list_of_answers_are_found(tmp_path: Path, deploy: str, message: str) -> None:
    answers = tmp_path / "answers.yml"
    answers.write_text(f"architecture: custom\ndeploy: {deploy}\n")
    result = CliRunner().invoke(app, ["check", str(answers)])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())


def test_the_command_line_needs_no_trust_and_asks_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref=HEAD"]
    result = subprocess.run(
        [*command, str(template_root()), str(tmp_path / "p")],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stderr
    assert "python archive.py" in result.stderr + result.stdout  # what to do next
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(facts.config())


def test_required_versions_are_those_that_are_tested(
    copy_project: Callable[..., Project],
) -> None:
    from importlib.metadata import version

    from packaging.requirements import Requirement

    project = copy_project(architecture="timm/resnet18")  # requires most
    for line in (project.path / "requirements.txt").read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-r "):
            requirement = Requirement(text)
            assert version(requirement.name) in requirement.specifier, text
