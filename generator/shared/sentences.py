"""Reads what sentence-transformers makes of the outputs of a network: modules.json, and more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = "modules.json"
KNOWN = "a network (Transformer), Pooling and perhaps Normalize, in this order"
# Of the older form, in which each has a key of its own.
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
SERVED = ("mean", "cls", "max")
# In sentence_NAME_config.json, the first that there is tells how texts are read, as in
# sentence_transformers/models/Transformer.py.
NETWORKS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")


class SentenceError(ValueError):
    """A folder of sentence-transformers that cannot be served as it is; the message says why."""


@dataclass(frozen=True)
class Sentences:
    """What becomes of the outputs of a network.

    Attributes:
        pooling: one of SERVED.
        l2_normalize: whether embeddings get length 1.
        max_tokens: of a text, with those that the tokenizer adds; None if no file tells.
        prompts: what clients may have to put before their texts, by its name.
    """

    pooling: str
    l2_normalize: bool
    max_tokens: int | None
    prompts: Mapping[str, str]


def read_sentences(folder: Path) -> Sentences | None:
    """Return what a folder of sentence-transformers tells; None if it is none of these.

    Raises:
        SentenceError: It is, and does more than this service does.
    """
    path = folder / MODULES
    if not path.is_file():
        return None
    modules = read(path, list)
    kinds = [kind_of(module) for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise SentenceError(f"{path} names {', '.join(kinds) or 'nothing'}; served are {KNOWN}")
    places = [str(module.get("path", "")) for module in modules]
    if places[0]:
        raise SentenceError(
            f"{path}: the network lies in {places[0]}, as the first versions of "
            "sentence-transformers had it. Save the folder anew with a newer one, in Python: "
            f"SentenceTransformer({str(folder)!r}).save(FOLDER)"
        )
    if Path(places[1]).name != places[1]:
        raise SentenceError(f"{path}: {places[1]} is no folder beside it")
    pooling = read(folder / places[1] / "config.json", dict)
    mode = mode_of(pooling)
    if mode not in SERVED:
        raise SentenceError(
            f"{folder / places[1] / 'config.json'} pools by {mode}; served are {', '.join(SERVED)}"
        )
    return Sentences(
        pooling=mode,
        l2_normalize="Normalize" in kinds,
        max_tokens=read_network(folder),
        prompts=read_prompts(folder, is_pooled=pooling.get("include_prompt", True) is True),
    )


def kind_of(module: Any) -> str:
    """Return the class of a module of sentence-transformers; with all dots, if it is of others."""
    kind = module.get("type") if isinstance(module, dict) else None
    if isinstance(kind, str) and kind.startswith("sentence_transformers."):
        return kind.rpartition(".")[2]
    return str(kind)


def mode_of(pooling: Mapping[str, Any]) -> str:
    """Return how tokens become one embedding; several ways, whose results are joined, with +."""
    modes = pooling.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in MODES.items() if pooling.get(key)] or ["mean"]
    return "+".join(map(str, modes)) if isinstance(modes, list) else str(modes)


def read_network(folder: Path) -> int | None:
    """Return how many tokens of a text are read; None if no file tells.

    Raises:
        SentenceError: The outputs of the network are used otherwise, or texts are changed before.
    """
    paths = [folder / f"sentence_{name}_config.json" for name in NETWORKS]
    path = next(filter(Path.is_file, paths), paths[0])
    config = read(path, dict) if path.is_file() else {}
    text = config.get("modality_config", {"text": {}}).get("text")
    if text is None or text.get("method_output_name") not in (None, "last_hidden_state"):
        raise SentenceError(f"{path}: modality_config has no last_hidden_state for texts")
    if config.get("do_lower_case") and not is_lowering(folder / "tokenizer.json"):
        raise SentenceError(
            f"{path} has do_lower_case, and the tokenizer does not make small letters of capitals, "
            "so that a service would read other texts than the network was trained on"
        )
    length = config.get("max_seq_length")
    if length is None:
        path = folder / "tokenizer_config.json"
        length = read(path, dict).get("model_max_length") if path.is_file() else None
    # Where there is no limit, transformers writes a number with thirty digits.
    return length if isinstance(length, int) and 0 < length < 1_000_000 else None


def is_lowering(tokenizer: Path) -> bool:
    """Tell whether a tokenizer.json makes small letters of capitals by itself."""
    normalizer = read(tokenizer, dict).get("normalizer") if tokenizer.is_file() else None
    normalizer = normalizer or {}
    parts = normalizer.get("normalizers", [normalizer])
    return any(part.get("lowercase") or part.get("type") == "Lowercase" for part in parts)


def read_prompts(folder: Path, is_pooled: bool) -> dict[str, str]:
    """Return the prompts that are not empty.

    Args:
        folder: Of sentence-transformers.
        is_pooled: Whether the tokens of a prompt count like others.

    Raises:
        SentenceError: One is always put before texts, or its tokens do not count; or embeddings are
            cut off.
    """
    path = folder / "config_sentence_transformers.json"
    config = read(path, dict) if path.is_file() else {}
    if cut := config.get("truncate_dim"):
        raise SentenceError(
            f"{path}: of each embedding the first {cut} numbers are taken (truncate_dim), and a "
            "service returns all of them. Let its clients do so, and set truncate_dim to null there"
        )
    prompts = {name: x for name, x in (config.get("prompts") or {}).items() if x}
    usual = config.get("default_prompt_name")
    if prompts.get(usual):
        raise SentenceError(
            f"{path}: {prompts[usual]!r} comes before every text (default_prompt_name {usual}), "
            "which a service does not add. Let its clients do so, and set default_prompt_name to "
            "null there"
        )
    if prompts and not is_pooled:
        raise SentenceError(
            f"{path} has prompts whose tokens do not count in the pooling (include_prompt is "
            "false), which is not served"
        )
    return prompts


def read(path: Path, kind: type) -> Any:
    """Return what a JSON file holds.

    Raises:
        SentenceError: It is missing, damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SentenceError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, kind):
        raise SentenceError(f"{path} holds no {'list' if kind is list else 'mapping'}")
    return content
