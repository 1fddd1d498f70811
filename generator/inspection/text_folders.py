"""Reads folders of transformers whose network classifies or embeds texts: config.json, and more.

Nothing in the folder is run, and no tensor is read. What would not be served is refused here in the
words of a project's archive.py, which checks the rest.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator.inspection.hub import CONFIG, WEIGHTS, read_json
from generator.inspection.refusals import RefusedFileError
from generator.shared.sentences import MODULES, SentenceError, Sentences, read_sentences
from generator.tasks import serving

CLASS = re.compile(r"\w+ForSequenceClassification")
ENCODER = re.compile(r"\w+Model")
PREPROCESSOR = "preprocessor_config.json"  # of images or sounds
SHARDS = tuple(f"{name}.index.json" for name in WEIGHTS)
TOKENIZER = "tokenizer.json"
ADAPTER = "adapter_config.json"
HEAD = "model_head.pkl"  # of SetFit, beside the files of sentence-transformers
SIZES = ("hidden_size", "dim", "d_model", "n_embd")  # names of how many numbers it returns
OPEN = "no file tells what becomes of texts with more tokens"
# What a CrossEncoder may end in: with either, the order of its classes is the same.
PLAIN = ("", "Identity", "Softmax")
# And by the name that the pipeline of transformers has for it, which config.json may tell.
FUNCTIONS = {"sigmoid": "Sigmoid", "softmax": "Softmax", "none": "Identity"}
USUAL = 512  # tokens, where a network takes more or does not say
# What a project needs of a folder; checkpoints of training hold much else.
NEEDED = re.compile(
    r"(?!trainer_state|all_results|(train|eval)_results).*\.(json|txt|model|jinja)"
    r"|model(-\d+-of-\d+)?\.safetensors|pytorch_model(-\d+-of-\d+)?\.bin"
)


@dataclass(frozen=True)
class TextFolder:
    """A folder with a network that classifies or embeds texts.

    Attributes:
        path: the folder.
        kind: of network, as `catalogue.KINDS` has it.
        network: its class in transformers.
        answers: that follow.
        notes: what else people should know.
        open_questions: the questions that it cannot answer, each with why.
        must_answer: as `Inspection` has it.
    """

    path: Path
    kind: str
    network: str
    answers: Mapping[str, Any]
    notes: tuple[str, ...]
    open_questions: Mapping[str, str]
    must_answer: Mapping[str, str] = field(default_factory=dict)


def text_folder(path: Path) -> TextFolder | None:
    """Return what a folder, or the weights in one, tell; None if it holds no such network.

    Raises:
        RefusedFileError: It does, and cannot be served as it is.
    """
    is_weights = path.name in WEIGHTS and path.is_file()
    folder = path.parent if is_weights else path
    if read_json(folder / ADAPTER).get("task_type") == "SEQ_CLS":
        refuse_adapter(folder)
    config = read_json(folder / CONFIG)
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if CLASS.fullmatch(name):
        read = classifier
    elif is_encoder(folder, name):
        read = encoder
    else:
        return None
    if (folder / ADAPTER).is_file():
        refuse_adapter(folder)
    if "auto_map" in config:
        raise RefusedFileError(
            f"{folder} brings code of its own (auto_map in config.json), which is never run here. "
            "If transformers has the network by now, save it from there"
        )
    found = read(folder, name, config)
    if not (folder / TOKENIZER).is_file():
        code = f"from transformers import AutoTokenizer as A; A.from_pretrained({str(folder)!r})"
        raise RefusedFileError(
            f"there is no {TOKENIZER} in {folder}, which a service reads texts with. If the folder "
            "has the older files, such as vocab.txt, this makes it of them: "
            f"python -c {shlex.quote(f'{code}.save_pretrained({str(folder)!r})')}"
        )
    return found


def is_encoder(folder: Path, name: str) -> bool:
    """Tell whether a folder has an encoder of texts, by its class and the files beside it."""
    if (folder / MODULES).is_file():
        return True
    if ENCODER.fullmatch(name) is None or (folder / PREPROCESSOR).is_file():
        return False
    return any(folder.glob("tokenizer*.json"))


def classifier(folder: Path, name: str, config: Mapping[str, Any]) -> TextFolder:
    """Return what a folder with a classifier tells.

    Raises:
        RefusedFileError: It is a regression.
    """
    classes = config.get("id2label")
    count = len(classes) if isinstance(classes, dict) else config.get("num_labels", 2)
    problem_type = config.get("problem_type")
    if problem_type == "regression" or count == 1:
        raise RefusedFileError(
            f"{folder} returns a number for each text: a regression (num_labels {count}, "
            f"problem_type {problem_type}), which no task of this template serves"
        )
    answers = {
        "architecture": "huggingface",
        "weights": "huggingface",
        "num_classes": count,
        "max_tokens": min(USUAL, positions(config) or USUAL, tokens_of(folder) or USUAL),
    }
    open_questions = {"long_texts": OPEN}
    if isinstance(problem_type, str):
        answers["problem_type"] = problem_type
    else:
        open_questions["problem_type"] = (
            "config.json does not tell; transformers then takes classes that exclude one another"
        )
    notes = [f"config.json tells that it is transformers' {name}", *note_on_tokens(config)]
    if not isinstance(classes, dict) or classes == {str(i): f"LABEL_{i}" for i in range(count)}:
        notes.append("its id2label names no classes: a label file does, with --labels")
    must_answer: dict[str, str] = {}
    several = serving("text classifier")[0].decisive["problem_type"]
    end = activation_of(config)
    # Where transformers does not know problem_type, its pipeline takes softmax all the same.
    is_doubted = problem_type is None and "function_to_apply" in config
    if end == "Sigmoid" and problem_type in (None, several) and not is_doubted:
        answers["problem_type"] = several
        open_questions.pop("problem_type", None)
    elif end not in PLAIN:
        must_answer["problem_type"] = (
            f"in {CONFIG} of problem_type={problem_type}, and that its scores go through {end}: "
            "-d problem_type=single_label_classification (classes exclude one another) or "
            f"-d problem_type={several} (each has a sigmoid of its own)"
        )
    return TextFolder(
        folder, "text classifier", name, answers, tuple(notes), open_questions, must_answer
    )


def activation_of(config: Mapping[str, Any]) -> str:
    """Return the function that scores go through; "" if the file tells none.

    It is that of a CrossEncoder of sentence-transformers, or of a pipeline of transformers.
    """
    newer = config.get("sentence_transformers")
    name = newer.get("activation_fn") if isinstance(newer, dict) else None
    name = name or config.get("sbert_ce_default_activation_function")
    if name is None and (function := config.get("function_to_apply")):
        return FUNCTIONS.get(str(function), str(function))
    return str(name or "").rpartition(".")[2]


def tokens_of(folder: Path) -> int | None:
    """Return after how many tokens the tokenizer of a folder cuts texts off, if it tells."""
    length = read_json(folder / "tokenizer_config.json").get("model_max_length")
    # Where there is no limit, transformers writes a number with thirty digits.
    return length if type(length) is int and 0 < length < 1_000_000 else None


def encoder(folder: Path, name: str, config: Mapping[str, Any]) -> TextFolder:
    """Return what a folder with an encoder tells, perhaps one of sentence-transformers.

    Raises:
        RefusedFileError: It does more than a service does.
    """
    try:
        sentences = read_sentences(folder)
    except SentenceError as error:
        raise RefusedFileError(str(error)) from error
    if config.get("is_encoder_decoder") or "vision_config" in config:
        raise RefusedFileError(
            f"{folder}: {name} is more than an encoder of texts, which no task of this template "
            "serves"
        )
    answers: dict[str, Any] = {"architecture": "huggingface", "weights": "huggingface"}
    sizes = (config.get(key) for key in SIZES)
    if size := next((x for x in sizes if type(x) is int and x > 0), None):
        answers["num_classes"] = size
    limit = min(USUAL, positions(config) or USUAL, tokens_of(folder) or USUAL)
    open_questions = {"long_texts": OPEN}
    notes = [f"config.json tells that it is transformers' {name}", *note_on_tokens(config)]
    if sentences is None:
        open_questions["pooling"] = f"there is no {MODULES}, as sentence-transformers writes it"
        open_questions["l2_normalize"] = open_questions["pooling"]
    else:
        limit = sentences.max_tokens or limit
        answers |= {"pooling": sentences.pooling, "l2_normalize": sentences.l2_normalize}
        notes += notes_on(sentences)
    answers["max_tokens"] = min(limit, positions(config) or limit)
    return TextFolder(
        folder, "text encoder", name, answers, tuple(notes), open_questions, doubts_on(folder)
    )


def doubts_on(folder: Path) -> dict[str, str]:
    """Return that what a folder is for is more than embeddings, if it is."""
    (task,) = serving("text encoder")
    if not (folder / HEAD).is_file():
        return {}
    return {
        "task": f"that it is SetFit's, which classifies texts: {HEAD} makes classes of embeddings, "
        "and is a pickle of scikit-learn or of a module, which is not read, as that would run code "
        "in it. No task of this template serves it. For the embeddings without the classes: "
        f"-d task={task.value}; for the classes, train a classifier of transformers "
        "(AutoModelForSequenceClassification)"
    }


def notes_on(sentences: Sentences) -> Iterator[str]:
    """Yield what people should know of a folder of sentence-transformers."""
    normalized = ", then normalised" if sentences.l2_normalize else ""
    yield f"{MODULES} tells of sentence-transformers: pooling {sentences.pooling}{normalized}"
    if sentences.max_tokens:
        yield f"sentence-transformers cuts texts off after {sentences.max_tokens} tokens"
    if sentences.prompts:
        named = ", ".join(f"{name}: {prompt!r}" for name, prompt in sentences.prompts.items())
        yield f"it was trained with prompts, which clients put before their texts ({named})"


def note_on_tokens(config: Mapping[str, Any]) -> list[str]:
    """Return that a network takes more tokens than proposed, if it does."""
    if (limit := positions(config)) > USUAL:
        return [f"it takes up to {limit} tokens: -d max_tokens=N for more"]
    return []


def refuse_adapter(folder: Path) -> None:
    """Raise RefusedFileError with the lines that merge an adapter into its network."""
    kinds = {"FEATURE_EXTRACTION": "FeatureExtraction"}
    kind = kinds.get(str(read_json(folder / ADAPTER).get("task_type")), "SequenceClassification")
    adapted = f"AutoPeftModelFor{kind}"
    merged = str(folder.with_name(f"{folder.name}-merged"))
    raise RefusedFileError(
        f"{folder} is an adapter (LoRA), whose weights are not all there. Merge it where it was "
        "trained, in Python:\n"
        f"    from peft import {adapted} as Model\n"
        f"    merged = Model.from_pretrained({str(folder)!r}).merge_and_unload()\n"
        f"    merged.save_pretrained({merged!r})\n"
        f"and put the tokenizer's files there, too. Then: --weights {shlex.quote(merged)}"
    )


def positions(config: Mapping[str, Any]) -> int:
    """Return how many tokens a network has places for, as config.json tells; 0 if it does not."""
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    if type(limit) is not int or limit < 1:
        return 0
    # Those derived from RoBERTa begin to count after the number of the padding.
    shifted = "roberta", "camembert", "longformer", "mpnet", "esm", "xmod", "data2vec-text"
    padding = config.get("pad_token_id")
    is_shifted = any(name in str(config.get("model_type")) for name in shifted)
    return limit - (padding if type(padding) is int else 1) - 1 if is_shifted else limit


def weights_in(folder: Path) -> Path:
    """Return the weights in a folder; the first part, if they are in several files.

    Raises:
        RefusedFileError: There are none.
    """
    for name, shards in zip(WEIGHTS, SHARDS, strict=True):
        if (folder / name).is_file():
            return folder / name
        parts = read_json(folder / shards).get("weight_map")
        if isinstance(parts, dict) and parts:
            first = str(min(map(str, parts.values())))
            if Path(first).name == first and (folder / first).is_file():
                return folder / first
    raise RefusedFileError(f"{folder} has a config.json, but no {' or '.join(WEIGHTS)}")


def needed(folder: Path) -> list[Path]:
    """Return the files of a folder that a project needs, some in folders that lie in it."""
    found = sorted(x for x in folder.iterdir() if x.is_file() and NEEDED.fullmatch(x.name))
    has_safetensors = any(path.suffix == ".safetensors" for path in found)
    found = [path for path in found if path.suffix != ".bin" or not has_safetensors]
    if (folder / MODULES).is_file():  # such as 1_Pooling
        found += sorted(folder.glob(f"*_*/{CONFIG}"))
    return found
