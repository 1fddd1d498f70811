"""Text classification: folders of transformers are served as transformers itself predicts."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import text_folders
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

from conftest import Project, render, ts_template
from engines import one_worker

ANSWERS = {"task": "text_classification", "num_classes": 3, "max_tokens": 64}
TEXTS: list[Any] = [
    "This is good",
    "THE DOG and the cat!",
    "déjà vu 猫 🐱",
    "one good word after another, who are you? " * 3,
    {"text": "a cat", "text_pair": "bad dog"},
    "x",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project for text classification, without an archive."""
    path = tmp_path_factory.mktemp("text") / "project"
    render(path, ANSWERS)
    return Project(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder of transformers for each kind of network."""
    path = tmp_path_factory.mktemp("folders")
    for make in (
        text_folders.bert,
        text_folders.distilbert,
        text_folders.roberta,
        text_folders.bart,
    ):
        make(path / make.__name__)
    text_folders.gpt2(path / "gpt2", pad_token_id=0)
    text_folders.gpt2(path / "gpt2-eos", pad_token_id=1)  # the end of a text, as many take it
    return path


# Archives folders, and prints the greatest difference to the pipeline of transformers for each.
COMPARE = """
import json, sys
from pathlib import Path
import archive
from tools.inprocess import open_archive
from transformers import pipeline
worst = {}
for folder in map(Path, sys.argv[2:]):
    built = archive.build(folder, output=Path("stores", folder.name))
    with open_archive(built) as service:
        body = service.predict([{"body": {"instances": json.loads(sys.argv[1])}}])[0].body
    pipe = pipeline("text-classification", model=str(folder), top_k=None)
    worst[folder.name] = 0
    for text, found in zip(json.loads(sys.argv[1]), body, strict=True):
        expected = pipe(text if isinstance(text, dict) else [text])
        expected = expected if isinstance(text, dict) else expected[0]
        expected = {x["label"]: x["score"] for x in expected}
        differences = [abs(expected[x["label"]] - x["probability"]) for x in found]
        worst[folder.name] = max(worst[folder.name], *differences)
print("\\n" + json.dumps(worst))
"""


def test_predictions_are_those_of_transformers(project: Project, folders: Path) -> None:
    paths = sorted(map(str, folders.iterdir()))
    result = project.run("-c", COMPARE, json.dumps(TEXTS), *paths)
    assert result.returncode == 0, result.stderr
    worst = json.loads(result.stdout.splitlines()[-1])
    assert worst.keys() == {"bart", "bert", "distilbert", "roberta", "gpt2", "gpt2-eos"}
    assert all(difference < 1e-5 for difference in worst.values()), worst


def test_int8_in_onnx_runtime_is_compared_with_what_was_trained(
    folders: Path, tmp_path: Path
) -> None:
    render(
        tmp_path / "project",
        {**ANSWERS, "backend": "onnxruntime", "precision": "int8", "long_texts": "truncate"},
    )
    project = Project(tmp_path / "project")
    result = project.run("archive.py", "--weights", str(folders / "bert"))
    assert result.returncode == 0, result.stderr
    assert "onnxruntime, int8" in result.stdout
    assert "100.0% of the texts keep their best class" in result.stdout
    # Of a long text, only the first tokens are read: 31 times two, and two of the tokenizer's.
    result = project.run("predict.py", "--json", "good dog " * 200, "good dog " * 31)
    whole, part = json.loads(result.stdout)
    assert probabilities(whole) == pytest.approx(probabilities(part), abs=1e-4)
    # Whoever names a file means what it holds.
    (project.path / "good.txt").write_text("good dog")
    result = project.run("predict.py", "good.txt")
    assert result.returncode == 1
    assert "python predict.py --files good.txt" in result.stderr
    assert project.run("predict.py", "--files", "good.txt").returncode == 0


# ------------------------------------------------------------------------------------- refusals


class Exploit:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("run"), "code of the file was run")


def no_change(folder: Path) -> None:
    """Leave the folder as it is."""


def as_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def with_code(folder: Path) -> None:
    text_folders.change(folder / "config.json", auto_map={"AutoModel": "modeling.Mine"})


def of_another_class(folder: Path) -> None:
    text_folders.change(folder / "config.json", architectures=["BertForMaskedLM"])


def of_no_known_class(folder: Path) -> None:
    text_folders.change(
        folder / "config.json", architectures=["NewForSequenceClassification"], model_type="new"
    )


def as_regression(folder: Path) -> None:
    text_folders.change(folder / "config.json", problem_type="regression")


def as_multi_label(folder: Path) -> None:
    text_folders.change(folder / "config.json", problem_type="multi_label_classification")


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def without_padding(folder: Path) -> None:
    shutil.rmtree(folder)
    text_folders.gpt2(folder)


def with_fewer_places(folder: Path) -> None:
    text_folders.change(folder / "config.json", max_position_embeddings=40)
    state = load_file(folder / "model.safetensors")
    name = "bert.embeddings.position_embeddings.weight"
    state[name] = state[name][:40].clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def of_four_classes(folder: Path) -> None:
    shutil.rmtree(folder)
    text_folders.bert(folder, id2label=dict(enumerate(text_folders.NAMES)))


def of_characters(folder: Path) -> None:
    settings = transformers.CanineConfig(
        **text_folders.SMALL,
        **text_folders.named({}),
        num_hash_buckets=64,
        downsampling_rate=2,
        upsampling_kernel_size=2,
    )
    network = transformers.CanineForSequenceClassification(settings)
    network.save_pretrained(folder)


def before_fine_tuning(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    kept = {name: x for name, x in state.items() if not name.startswith("classifier.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def of_another_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["zebra"] = 5000
    tokenizer["model"]["vocab"]["good"], tokenizer["model"]["vocab"]["zebra"] = 5000, 1
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def with_damaged_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def with_pickled_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"classifier.weight": Exploit()}, file)


def with_nameless_class(folder: Path) -> None:
    text_folders.change(folder / "config.json", id2label={"0": "bad", "1": "", "2": "good"})


REFUSED: dict[Callable[[Path], object], str] = {
    as_adapter: "merge_and_unload",
    with_code: "never run",
    of_another_class: "BertForMaskedLM; expected one that ends in ForSequenceClassification",
    of_no_known_class: "pip install -U transformers",
    as_regression: "a regression",
    as_multi_label: "problem_type=multi_label_classification",
    without_tokenizer: "save_pretrained",
    without_padding: "pad_token_id",
    with_fewer_places: "max_tokens=40",
    of_four_classes: "num_classes=4",
    of_characters: "reads characters",
    before_fine_tuning: "lacks 2 weights of BertForSequenceClassification",
    of_another_tokenizer: "more tokens than the network",
    with_damaged_weights: "does not load",
    with_pickled_code: "does not load",
    with_nameless_class: "a name for each class",
}

# Archives folders, and prints what each error is, or what was found.
TRY = """
import json, sys
from pathlib import Path
import archive
from tools.project import ProjectError
errors = {}
for folder in map(Path, sys.argv[1:]):
    try:
        archive.build(folder, output=Path("stores", folder.name))
        errors[folder.name] = ""
    except ProjectError as error:
        errors[folder.name] = str(error)
print("\\n" + json.dumps(errors))
"""


def in_half_precision(folder: Path) -> None:
    network = text_folders.bert(folder)
    network.half().save_pretrained(folder)


def in_shards(folder: Path) -> None:
    network = text_folders.bert(folder)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="40kB")
    assert (folder / "model.safetensors.index.json").is_file()


def as_pytorch_model(folder: Path) -> None:
    network = text_folders.bert(folder)
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")


SERVED = (no_change, in_half_precision, in_shards, as_pytorch_model)


@pytest.fixture(scope="module")
def errors(
    project: Project, folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What archive.py says to each changed folder, by the change; "" if it is served."""
    base = tmp_path_factory.mktemp("changed")
    for edit in (*REFUSED, *SERVED):
        shutil.copytree(folders / "bert", base / edit.__name__)
        edit(base / edit.__name__)
    result = project.run("-c", TRY, *sorted(map(str, base.iterdir())))
    assert result.returncode == 0, result.stderr
    assert not (project.path / "run").exists()
    found: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("edit", REFUSED, ids=lambda edit: edit.__name__)
def test_what_would_not_be_right_is_refused_in_words(
    errors: dict[str, str], edit: Callable[[Path], object]
) -> None:
    assert REFUSED[edit] in errors[edit.__name__]


def test_weights_are_taken_in_every_form(errors: dict[str, str]) -> None:
    assert {edit.__name__: errors[edit.__name__] for edit in SERVED} == {
        edit.__name__: "" for edit in SERVED
    }


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"backend": "openvino"}, "choose eager or onnxruntime"),
        ({"backend": "aot_inductor"}, "choose eager or onnxruntime"),
        ({"num_classes": 1}, "regression"),
        ({"architecture": "resnet18"}, "text classifier"),
        ({"max_tokens": 2}, "max_tokens"),
    ],
)
def test_answers_that_do_not_fit_texts_are_refused(
    tmp_path: Path, answers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        render(tmp_path / "project", {**ANSWERS, **answers})


# ---------------------------------------------------------------------------------- the project


def test_a_bug_in_the_service_is_no_fault_of_the_text(project: Project) -> None:
    code = """
from service.texts import read_items
def prepare(text):
    raise AttributeError("bug of mine")
print([(x.status, str(x)) for x in read_items([b"good", b" "], prepare)])
"""
    result = project.run("-c", code)
    expected = "[(500, 'the service fails on this text'), (400, 'the text is empty')]"
    assert result.stdout.strip() == expected, result.stderr
    assert result.stderr.count("AttributeError: bug of mine") == 1


def test_a_project_for_texts_has_nothing_of_images(project: Project) -> None:
    answers = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    assert not answers.keys() & {"color_mode", "transforms", "image_size", "decode", "max_pictures"}
    requirements = (project.path / "requirements.txt").read_text()
    assert not re.search("torchvision|pillow|simplejpeg", requirements)
    for path in sorted(project.path.rglob("*")):
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".properties") and path.is_file():
            text = path.read_text()
            assert not re.search(r"\b[Ii]mages?\b|\bPIL\b|[Pp]icture", text), path


def test_inspect_and_new_read_a_folder(folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(folders / "distilbert", folder)
    as_multi_label(folder)
    (folder / "optimizer.pt").write_bytes(b"large")
    found = json.loads(ts_template("inspect", str(folder), "--json").stdout)
    assert found["answers"] == {
        "task": "text_classification",
        "architecture": "huggingface",
        "weights": "huggingface",
        "num_classes": 3,
        "max_tokens": 64,
        "problem_type": "multi_label_classification",
    }
    assert list(found["open_questions"]) == ["long_texts"]
    made = tmp_path / "made"
    result = ts_template("new", str(made), "--weights", str(folder), "--defaults")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "long_texts: refuse (assumed" in result.stdout
    assert "backend: onnxruntime, which predicts as eager does" in result.stdout
    assert not (made / "weights" / "run" / "optimizer.pt").exists()
    result = Project(made).run("predict.py", "--json", "a good cat", " ")
    good, bad = json.loads(result.stdout)
    assert result.returncode == 1
    assert sum(x["probability"] for x in good) != pytest.approx(1, abs=0.001)
    assert bad == {"error": "the text is empty"}


SIGMOID = "torch.nn.modules.activation.Sigmoid"


@pytest.mark.parametrize(
    ("file", "entries", "expected"),
    [
        # As CrossEncoder writes them, now and before its version 4.
        ("config.json", {"sentence_transformers": {"activation_fn": SIGMOID}}, "multi_label"),
        ("config.json", {"sbert_ce_default_activation_function": SIGMOID}, "multi_label"),
        (
            "config.json",
            {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
            None,
        ),
        (
            "config.json",
            {
                "sbert_ce_default_activation_function": SIGMOID,
                "problem_type": "single_label_classification",
            },
            "refused",
        ),
        # Which the pipeline of transformers does not read for several classes.
        ("config.json", {"function_to_apply": "sigmoid"}, "refused"),
        ("config.json", {"function_to_apply": "softmax"}, None),
        ("tokenizer_config.json", {"model_max_length": 16}, 16),
    ],
)
def test_what_the_files_tell_of_scores_and_tokens_is_taken(
    file: str, entries: dict[str, Any], expected: Any, folders: Path, tmp_path: Path
) -> None:
    shutil.copytree(folders / "bert", tmp_path / "bert")
    text_folders.change(tmp_path / "bert" / file, **entries)
    answers = json.loads(ts_template("inspect", "bert", "--json", cwd=tmp_path).stdout)["answers"]
    assert answers["max_tokens"] == (16 if expected == 16 else 64)
    if expected == "refused":
        result = ts_template("new", "made", "--weights", "bert", "--defaults", cwd=tmp_path)
        assert result.returncode == 1
        assert "its scores go through Sigmoid: -d problem_type=" in result.stderr
        assert not (tmp_path / "made").exists()
    else:
        assert str(answers.get("problem_type")).startswith(
            "multi_label" if expected == "multi_label" else "None"
        )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (as_adapter, "merge_and_unload"),
        (with_code, "never run"),
        (as_regression, "regression"),
        (without_tokenizer, "save_pretrained"),
    ],
)
def test_inspect_refuses_what_archive_would(
    folders: Path, tmp_path: Path, edit: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(folders / "bert", tmp_path / "run")
    edit(tmp_path / "run")
    result = ts_template("inspect", str(tmp_path / "run"))
    assert result.returncode
    assert message in result.stdout + result.stderr


# As tutorials write it: pads every text to one length, and answers the name alone.
HANDLER = """
import json
import os
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from ts.torch_handler.base_handler import BaseHandler


class SeqClassifierHandler(BaseHandler):
    def initialize(self, ctx):
        model_dir = ctx.system_properties.get("model_dir")
        self.model = AutoModelForSequenceClassification.from_pretrained(model_dir)
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir, do_lower_case=True)
        with open(os.path.join(model_dir, "setup_config.json")) as file:
            self.setup_config = json.load(file)

    def preprocess(self, requests):
        text = requests[0].get("body").decode("utf-8")
        length = self.setup_config["max_length"]
        return self.tokenizer.encode_plus(text, max_length=length, pad_to_max_length=True)

    def inference(self, inputs):
        return self.model(torch.tensor([inputs["input_ids"]]))[0].argmax(1).tolist()
"""
BUILT_IN = """
from ts.torch_handler.text_classifier import TextClassifier


class Handler(TextClassifier):
    def preprocess(self, data):
        return super().preprocess(data)
"""


@pytest.mark.parametrize(
    ("code", "messages"),
    [
        (HANDLER, ["run", "-d max_tokens=48", "-d long_texts=truncate"]),
        (HANDLER.replace('self.setup_config["max_length"]', "32"), ["-d max_tokens=32"]),
        (BUILT_IN, ["torchtext", "ts-template new PROJECT --weights"]),
    ],
    ids=["settings", "number", "built in"],
)
def test_adopt_names_what_replaces_a_service_for_texts(
    folders: Path, tmp_path: Path, code: str, messages: list[str]
) -> None:
    shutil.copytree(folders / "bert", tmp_path / "service" / "run")
    (tmp_path / "service" / "handler.py").write_text(code)
    (tmp_path / "service" / "setup_config.json").write_text('{"max_length": "48"}')
    result = ts_template("adopt", str(tmp_path / "service"), "--defaults")
    assert result.returncode
    for message in messages:
        assert message in result.stdout + result.stderr
    assert len(list((tmp_path / "service").iterdir())) == 3


@pytest.mark.serve
def test_a_bad_text_costs_no_other_its_prediction(project: Project, folders: Path) -> None:
    project.archive("--weights", str(folders / "bert"))
    bodies = [
        b"This is good",
        b"\xff\xfe",
        "déjà vu 猫 🐱".encode(),
        b"x" * 200_000,
        b'{"text": "a cat", "text_pair": "bad dog"}',
        b"good " * 100,
        b'{"text": "\\ud800"}',
        b"good " * 20,
    ]
    one_worker(project.path)
    with project.serve() as service, ThreadPoolExecutor(len(bodies)) as clients:
        alone = [service.post(body, "text/plain") for body in bodies]
        together = list(clients.map(lambda body: service.post(body, "text/plain"), bodies * 4))
        listed = service.post(
            json.dumps({"instances": ["This is good", "", 5]}).encode(), "application/json"
        )
        form = (
            b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nThis is good\r\n--x--\r\n'
        )
        by_form = service.post(form, "multipart/form-data; boundary=x")
        misread = service.post(b"This is good", "application/x-www-form-urlencoded")
    assert [x.status for x in alone] == [200, 400, 200, 413, 200, 413, 400, 200]
    assert [x.status for x in together] == [x.status for x in alone] * 4
    for found, expected in zip(together, alone * 4, strict=True):
        if expected.status == 200:
            assert probabilities(found.json) == pytest.approx(
                probabilities(expected.json), abs=1e-5
            )
    assert "tokens" in alone[5].json["error"]
    assert listed.status == 200
    assert listed.json[0] == by_form.json == alone[0].json
    assert [*listed.json[1]] == [*listed.json[2]] == ["error"]
    assert misread.status == 400
    assert "text/plain" in misread.json["error"]


def probabilities(prediction: Any) -> dict[str, float]:
    """Return the probabilities in a prediction by their classes."""
    return {x["label"]: x["probability"] for x in prediction}


def test_labels_in_another_order_than_in_config_json_are_refused(
    folders: Path, tmp_path: Path
) -> None:
    render(tmp_path / "project", {**ANSWERS, "label_format": "list"})
    project = Project(tmp_path / "project")
    names = text_folders.NAMES[:3]
    labels = project.path / "labels.json"
    labels.write_text(json.dumps([names[0], names[2], names[1]]))
    result = project.run("archive.py", "--weights", str(folders / "bert"))
    assert f"class 1 is {names[1]!r} there, {names[2]!r} by the labels" in result.stderr
    labels.write_text(json.dumps(names))
    result = project.run("archive.py", "--weights", str(folders / "bert"))
    assert result.returncode == 0, result.stderr
    assert "no problem_type: single_label_classification (assumed)" in result.stdout
