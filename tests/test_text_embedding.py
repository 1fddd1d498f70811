"""Text embedding: folders of transformers and of sentence-transformers, and their pooling."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_folders
import torch
import transformers

from conftest import Project, render, ts_template

ANSWERS = {"task": "text_embedding", "num_classes": 32, "max_tokens": 64}
TEXTS = [
    "This is good",
    "THE DOG and the cat!",
    "déjà vu 猫 🐱",
    "one good word after another " * 3,
]
KIND = "sentence_transformers.models."


def encoder(make: Callable[[Path], Any], folder: Path) -> Path:
    """Write a folder with a network without its last layer, and return it."""
    network = make(folder)
    getattr(network, network.base_model_prefix).save_pretrained(folder)
    return folder


def sentences(folder: Path, *more: str, **pooling: Any) -> Path:
    """Add the files of sentence-transformers, as its older versions write them."""
    kinds = ["Transformer", "Pooling", *more]
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds) if number)]
    modules = [{"path": x, "type": KIND + kind} for x, kind in zip(places, kinds, strict=True)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 40}')
    return folder


MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without files of sentence-transformers."""
    return encoder(text_folders.bert, tmp_path_factory.mktemp("folders") / "bert")


def pooled(folder: Path, text: str, pooling: str) -> torch.Tensor:
    """Return the embedding of one text, by transformers alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**inputs).last_hidden_state[0]
    return {"mean": outputs.mean(0), "cls": outputs[0], "max": outputs.amax(0)}[pooling]


def embeddings(project: Project, *texts: str) -> torch.Tensor:
    """Return the embeddings (N, features) of texts that are sent in one request."""
    code = (
        "import json, sys; from tools.inprocess import open_archive; "
        "from tools.project import ARCHIVE\n"
        "with open_archive(ARCHIVE) as service:\n"
        "    row = {'body': {'instances': sys.argv[1:]}}\n"
        "    body = service.predict([row])[0].body\n"
        "print('\\n' + json.dumps([x['embedding'] for x in body]))"
    )
    result = project.run("-c", code, *texts)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    if isinstance(found[0], str):
        found = [np.frombuffer(base64.b64decode(x), "<f4").tolist() for x in found]
    return torch.tensor(found)


def test_embeddings_are_those_of_transformers_in_onnx_runtime(tmp_path: Path) -> None:
    render(tmp_path / "project", {**ANSWERS, "pooling": "max", "backend": "onnxruntime"})
    project = Project(tmp_path / "project")
    folder = encoder(text_folders.roberta, project.path / "weights" / "run")
    project.archive()
    expected = torch.stack([pooled(folder, text, "max") for text in TEXTS])
    torch.testing.assert_close(embeddings(project, *TEXTS), expected, rtol=0, atol=1e-5)


def test_new_reads_a_folder_of_sentence_transformers(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(bert, folder)
    sentences(folder, "Normalize", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    # Such as all-mpnet-base-v2: saved from a network for another purpose, without the pooler.
    text_folders.change(folder / "config.json", architectures=["BertForMaskedLM"])
    # One of the names that older versions gave that file, by the kind of network.
    older = folder / "sentence_xlm-roberta_config.json"
    (folder / "sentence_bert_config.json").rename(older)
    prompts = {"query": "query: ", "document": ""}
    settings = {"prompts": prompts, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    made = tmp_path / "made"
    result = ts_template("new", str(made), "--weights", str(folder), "--defaults")
    assert result.returncode == 0, result.stdout + result.stderr
    for line in ("pooling: cls", "l2_normalize: True", "max_tokens: 40", "num_classes: 32"):
        assert f"   {line}\n" in result.stdout
    assert "(query: 'query: ')" in result.stdout
    assert "pooling: cls (assumed" not in result.stdout
    assert "backend: onnxruntime, which predicts as eager does" in result.stdout
    project = Project(made)
    expected = torch.nn.functional.normalize(pooled(folder, TEXTS[0], "cls"), dim=0)
    torch.testing.assert_close(embeddings(project, *TEXTS)[0], expected, rtol=0, atol=1e-5)
    result = project.run("predict.py", TEXTS[0], TEXTS[1], " ")
    (similarity,) = [line for line in result.stdout.splitlines() if TEXTS[0] in line[7:]]
    assert -1 <= float(similarity[:7]) < 1


def test_what_no_file_tells_is_assumed_aloud(bert: Path, tmp_path: Path) -> None:
    found = json.loads(ts_template("inspect", str(bert), "--json").stdout)
    assert found["answers"] == {
        "task": "text_embedding",
        "architecture": "huggingface",
        "weights": "huggingface",
        "num_classes": 32,
        "max_tokens": 64,
    }
    assert list(found["open_questions"]) == ["long_texts", "pooling", "l2_normalize"]
    answer = ("-d", "response_format=base64", "-d", "backend=eager")
    made = tmp_path / "made"
    result = ts_template("new", str(made), "--weights", str(bert), "--defaults", *answer)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pooling: mean (assumed; another: -d pooling=cls)" in result.stdout
    assert "l2_normalize: false (assumed; another: -d l2_normalize=true)" in result.stdout
    expected = torch.stack([pooled(bert, text, "mean") for text in TEXTS])
    torch.testing.assert_close(embeddings(Project(made), *TEXTS), expected, rtol=0, atol=1e-5)


def with_dense(folder: Path) -> None:
    sentences(folder, "Dense", "Normalize", **MEAN)


def with_two_poolings(folder: Path) -> None:
    sentences(folder, pooling_mode=["mean", "cls"])


def with_last_token(folder: Path) -> None:
    sentences(folder, pooling_mode="lasttoken")


def with_prompt(folder: Path) -> None:
    sentences(folder, **MEAN)
    settings = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))


def with_truncation(folder: Path) -> None:
    sentences(folder, **MEAN)
    settings = {"prompts": {}, "truncate_dim": 8}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))


def with_lower_case(folder: Path) -> None:
    sentences(folder, **MEAN)
    text_folders.change(folder / "sentence_bert_config.json", do_lower_case=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def in_a_folder_of_its_own(folder: Path) -> None:
    sentences(folder, **MEAN)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))


def with_code(folder: Path) -> None:
    text_folders.change(folder / "config.json", auto_map={"AutoModel": "modeling.Mine"})


def with_decoder(folder: Path) -> None:
    text_folders.change(folder / "config.json", is_encoder_decoder=True)


def with_first_token(folder: Path) -> None:
    sentences(folder, pooling_mode="cls")


def with_normalize(folder: Path) -> None:
    sentences(folder, "Normalize", **MEAN)


def with_fewer_tokens(folder: Path) -> None:
    sentences(folder, **MEAN)
    text_folders.change(folder / "sentence_bert_config.json", max_seq_length=32)


REFUSED: dict[Callable[[Path], None], str] = {
    with_dense: "Transformer, Pooling, Dense, Normalize; served are",
    with_two_poolings: "pools by mean+cls; served are mean, cls, max",
    with_last_token: "pools by lasttoken",
    with_prompt: "default_prompt_name",
    with_truncation: "truncate_dim",
    with_lower_case: "do_lower_case",
    in_a_folder_of_its_own: "0_Transformer",
    with_code: "never run",
    with_decoder: "more than an encoder",
}
# By a project with other answers alone.
OTHER_ANSWERS: dict[Callable[[Path], None], str] = {
    with_first_token: "pooling=cls",
    with_normalize: "l2_normalize=true",
    with_fewer_tokens: "max_tokens=32",
}
# Tries to archive folders, and prints each error.
TRY = """
import json, sys
from pathlib import Path
import archive
from tools.project import ProjectError
errors = {}
for folder in map(Path, sys.argv[1:]):
    try:
        archive.build(folder, output=Path("stores"))
    except ProjectError as error:
        errors[folder.name] = str(error)
print("\\n" + json.dumps(errors))
"""


def test_a_folder_of_setfit_is_not_taken_for_an_embedding(bert: Path, tmp_path: Path) -> None:
    folder = sentences(Path(shutil.copytree(bert, tmp_path / "setfit")), **MEAN)
    (folder / "config_setfit.json").write_text('{"normalize_embeddings": false, "labels": null}')
    (folder / "model_head.pkl").write_bytes(b"\x80\x04N.")
    words = ("new", "made", "--weights", "setfit", "--defaults", "-d", "backend=eager")
    refused = ts_template(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "setfit tells that it is SetFit's, which classifies texts" in refused.stderr
    assert "without the classes: -d task=text_embedding" in refused.stderr
    assert not (tmp_path / "made").exists()
    found = json.loads(ts_template("inspect", "setfit", "--json", cwd=tmp_path).stdout)
    assert "task" not in found["answers"]
    assert "SetFit" in found["open_questions"]["task"]
    made = ts_template(*words, "-d", "task=text_embedding", cwd=tmp_path)
    assert made.returncode == 0, made.stderr


@pytest.mark.slow
def test_types_of_tokens_matter_where_the_tokenizer_has_them(bert: Path, tmp_path: Path) -> None:
    """As multilingual-e5-small has it: a BERT of two types, and a tokenizer that knows none."""
    folder = sentences(Path(shutil.copytree(bert, tmp_path / "run")), **MEAN)
    names = ["input_ids", "attention_mask"]
    text_folders.change(folder / "tokenizer_config.json", model_input_names=names)
    words = ("new", "made", "--weights", "run", "--defaults", "-d", "backend=eager")
    refused = ts_template(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "tells the two texts of a pair apart" in refused.stderr
    shutil.rmtree(tmp_path / "made")
    content = (folder / "tokenizer.json").read_text()
    assert '"type_id": 1' in content
    (folder / "tokenizer.json").write_text(content.replace('"type_id": 1', '"type_id": 0'))
    made = ts_template(*words, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    expected = torch.stack([pooled(folder, text, "mean") for text in TEXTS])
    found = embeddings(Project(tmp_path / "made"), *TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_what_is_more_than_pooling_is_refused_in_words(bert: Path, tmp_path: Path) -> None:
    render(tmp_path / "project", {**ANSWERS, "max_tokens": 40})
    folders = {edit: tmp_path / "folders" / edit.__name__ for edit in (*REFUSED, *OTHER_ANSWERS)}
    for edit, folder in folders.items():
        shutil.copytree(bert, folder)
        edit(folder)
    result = Project(tmp_path / "project").run("-c", TRY, *map(str, folders.values()))
    assert result.returncode == 0, result.stderr
    errors = json.loads(result.stdout.splitlines()[-1])
    for edit, folder in folders.items():
        message = {**REFUSED, **OTHER_ANSWERS}[edit]
        assert message in errors.get(folder.name, ""), edit
        if edit in OTHER_ANSWERS:
            continue
        inspected = ts_template("inspect", str(folder))
        assert inspected.returncode, edit
        assert message in " ".join((inspected.stdout + inspected.stderr).split()), edit
