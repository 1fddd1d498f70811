# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The service, tried through TorchServe's own loader.

With a checkpoint in weights/ it is the real one, else one with random weights of the right shape.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import archive
from service import NUM_CLASSES
from service.texts import MAX_BYTES, MAX_TEXTS, MAX_TOKENS
from tools.inprocess import LocalService, Prediction, open_archive
from tools.project import ANSWERS_FILE, ROOT, WEIGHTS_DIR, ProjectError
from tools.samples import NOT_A_TEXT, sample_texts

TEXTS = sample_texts()
TEXT = "This is good, as always!"


def random_weights(folder: Path) -> Path:
    """Save an untrained network as the project expects it, and return the folder."""
    torch.manual_seed(0)
    path = folder / "untrained"
    words = ("[PAD]", "[UNK]", "this", "is", "not", "good", "bad", "always", "a", "cat", "dog")
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_TOKENS,
        id2label={index: f"class {index}" for index in range(NUM_CLASSES)},
        problem_type="single_label_classification",
    )
    BertForSequenceClassification(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """The service, loaded from an archive that is made for these tests."""
    folder = tmp_path_factory.mktemp("archive")
    has_weights = any(not path.name.startswith(".") for path in WEIGHTS_DIR.iterdir())
    weights = archive.find_weights() if has_weights else random_weights(folder)
    # An untrained network may return about anything.
    built = archive.build(weights, output=folder, trust_outputs=not has_weights)
    with open_archive(built) as loaded:
        yield loaded


def labels_of(prediction: Prediction) -> list[str]:
    """Return the labels that a prediction names, after checking its form."""
    assert prediction.status == 200, prediction.body
    assert len(prediction.body) == 2
    probabilities = [entry["probability"] for entry in prediction.body]
    assert probabilities == sorted(probabilities, reverse=True)
    return [entry["label"] for entry in prediction.body]


@pytest.fixture(scope="session")
def expected(service: LocalService) -> Prediction:
    """What the service predicts for TEXT."""
    return service.predict([{"body": TEXT.encode()}])[0]


@pytest.mark.parametrize("kind", TEXTS)
def test_every_kind_of_text_is_answered(service: LocalService, kind: str) -> None:
    (prediction,) = service.predict([{"body": TEXTS[kind]}])
    labels_of(prediction)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"body": TEXT}, id="text"),
        pytest.param({"body": bytearray(TEXT.encode())}, id="bytearray"),
        pytest.param({"body": b"\xef\xbb\xbf" + TEXT.encode()}, id="byte order mark"),
        pytest.param({"body": json.dumps({"text": TEXT}).encode()}, id="JSON"),
        pytest.param({"body": {"inputs": TEXT}}, id="JSON as the Hub's clients send it"),
        pytest.param({"text": TEXT.encode()}, id="form field text"),
        pytest.param({"data": TEXT.encode()}, id="form field data"),
    ],
)
def test_every_way_to_send_a_text_gives_the_same_prediction(
    service: LocalService, expected: Prediction, row: dict[str, object]
) -> None:
    assert service.predict([row]) == [expected]


def test_a_pair_is_sent_as_json_or_as_a_form(service: LocalService) -> None:
    by_form, by_json = service.predict(
        [{"text": b"a cat", "text_pair": b"a dog"}, {"body": TEXTS["pair of texts"]}]
    )
    assert labels_of(by_form) == labels_of(by_json)


@pytest.mark.parametrize("name", ["instances", "inputs"])
def test_a_list_gives_a_list_of_predictions(
    service: LocalService, expected: Prediction, name: str
) -> None:
    (prediction,) = service.predict([{"body": {name: [TEXT, {"text": 5}]}}])
    assert prediction.status == 200
    assert labels_of(Prediction(200, prediction.body[0])) == labels_of(expected)
    assert "int" in prediction.body[1]["error"]


def test_a_bad_text_leaves_the_rest_of_its_batch_alone(service: LocalService) -> None:
    texts = list(TEXTS.values())[:3]
    alone = [service.predict([{"body": text}])[0] for text in texts]
    batch: list[dict[str, object]] = [{"body": text} for text in texts]
    batch[1:1] = [{"body": NOT_A_TEXT}, {"body": b" "}, {"body": {"title": TEXT}}]
    predictions = service.predict(batch)
    assert [prediction.status for prediction in predictions] == [200, 400, 400, 400, 200, 200]
    assert all(prediction.body["error"] for prediction in predictions[1:4])
    good = [predictions[0], *predictions[4:]]
    assert [*map(labels_of, good)] == [*map(labels_of, alone)]


@pytest.mark.parametrize(
    ("bad", "status", "message"),
    [
        pytest.param({"body": b""}, 400, "empty", id="nothing"),
        pytest.param({"body": b'{"text":'}, 400, "JSON", id="half of a JSON object"),
        pytest.param({"body": {"text": "a", "pair": "b"}}, 400, "text_pair", id="unknown name"),
        pytest.param({"body": "Größe".encode("latin-1")}, 400, "UTF-8", id="Latin-1"),
        pytest.param({"body": b'{"text": "\\ud83d"}'}, 400, "surrogate", id="half a pair"),
        pytest.param({"This is good": b""}, 400, "form", id="text read as a form"),
        pytest.param({"body": b"a " * MAX_BYTES}, 413, str(MAX_BYTES), id="long"),
    ],
)
def test_what_is_no_usable_text_is_refused_in_words(
    service: LocalService, bad: dict[str, object], status: int, message: str
) -> None:
    refused, prediction = service.predict([bad, {"body": TEXT}])
    assert refused.status == status
    assert message in refused.body["error"]
    labels_of(prediction)


def test_of_a_long_text_no_more_than_the_network_takes_is_read(service: LocalService) -> None:
    (item,) = service.handler.read_items([b"a " * (MAX_TOKENS + 1)])
    assert item.shape == (2, MAX_TOKENS)


def test_a_request_may_not_hold_any_number_of_texts(service: LocalService) -> None:
    (prediction,) = service.predict([{"body": {"instances": [TEXT] * (MAX_TEXTS + 1)}}])
    assert prediction.status == 413
    assert str(MAX_TEXTS) in prediction.body["error"]


def test_a_text_gets_the_same_prediction_beside_a_longer_one(service: LocalService) -> None:
    short, long = (TEXTS[name] for name in ("number", "sentence"))
    beside, _ = service.predict([{"body": short}, {"body": long}])
    (alone,) = service.predict([{"body": short}])
    assert labels_of(beside) == labels_of(alone)


def test_the_probabilities_add_up_to_one(service: LocalService) -> None:
    sums = torch.stack(service.scores(list(TEXTS.values()))).sum(dim=1)
    assert sums.shape == (len(TEXTS),)
    torch.testing.assert_close(sums, torch.ones(len(TEXTS)))


def test_predictions_are_plain_json_text(service: LocalService) -> None:
    (reply,) = service.reply([{"body": TEXT}])
    assert reply.status == 200
    json.loads(reply.body, parse_constant=pytest.fail)  # no NaN or Infinity, which JSON lacks


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"config\.json"):
        archive.build(tmp_path, output=tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def names_of(requirements: Iterable[str]) -> set[str]:
    """Return the normalized names of the packages that requirements name."""
    found = (re.match(r"(\w[\w.-]*) *($|[\[<>=!~;@#])", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match}


def test_pip_and_uv_install_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")).get("project", {})
    by_uv = names_of(project.get("dependencies", ()))
    files = [ROOT / name for name in ("requirements.txt", "requirements-own.txt")]
    by_pip = names_of(line for file in files for line in file.read_text("utf-8").splitlines())
    message = "in pyproject.toml alone; pip takes them from requirements-own.txt"
    assert by_uv <= by_pip, message
    message = "removed by uv sync; run: uv add -r requirements-own.txt"
    assert by_pip <= by_uv or not (ROOT / "uv.lock").is_file(), message


def git(*words: str) -> list[str]:
    """Return the lines that git prints for this project; skip the test where git cannot tell."""
    command = ["git", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode > 1:  # 1 means that nothing was found
        pytest.skip(result.stderr.strip())
    return result.stdout.splitlines()


@pytest.mark.skipif(shutil.which("git") is None, reason="git finds the lines")
def test_no_update_has_left_a_conflict() -> None:
    lines = git("grep", "--line-number", "-E", "^(<<<<<<<|>>>>>>>) ")
    assert not lines, "lines that you and the template changed"


@pytest.mark.skipif(shutil.which("git") is None, reason="git knows the edits")
def test_no_update_has_left_an_edit_behind() -> None:
    rendered = git("log", "--format=%h", "--", ANSWERS_FILE)
    edits = {
        name: commits
        for name in git("diff", "HEAD", "--name-only", "--diff-filter=D", "--relative")
        if (commits := [x for x in git("log", "--format=%h", "--", name) if x not in rendered])
    }
    message = "an update moved or removed these files, which you had changed in these commits"
    assert not edits, f"{message}; `git checkout HEAD -- FILE` brings one back"
