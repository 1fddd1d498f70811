# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From a folder of transformers to the weights, and to the service's tokenizer."""

from __future__ import annotations

import inspect
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from service import NUM_CLASSES, task
from service.model import Network
from service.texts import MAX_TOKENS, ItemError, Text, payload_text, tokenize
from tools.project import ProjectError, change_answer
from tools.samples import sample_texts

BESIDE = ("config.json", "tokenizer.json")  # in the archive, beside the weights
SERVED_NAME = "state_dict.pth"  # in the archive
CLASS = "ForSequenceClassification"
PROBLEM_TYPE = "single_label_classification"
NEAR = 1e-3  # by which a score may differ from transformers' own, for a text beside a longer one


def prepare_weights(source: Path, target: Path) -> str:
    """Check that the folder `source` fits the project, and write its weights to `target`.

    Beside them go its config.json, and its tokenizer.json as the service needs it.

    Returns:
        What was found, for people.

    Raises:
        ProjectError: It does not fit; the message says what to do.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = read_config(source)
    name = refuse_unknown(source, config)
    model = load_folder(source, name)
    refuse_other_answers(source, model.config)
    own = load_tokenizer(source)
    tokenizer = plain_tokenizer(source, own)
    compare(source, model, own, tokenizer)
    torch.save(Network(model).state_dict(), target)
    shutil.copyfile(source / "config.json", target.with_name("config.json"))
    tokenizer.save(str(target.with_name("tokenizer.json")))
    count = sum(parameter.numel() for parameter in model.parameters())
    found = f"{name}, {count / 1e6:.1f} M parameters; {tokenizer.get_vocab_size()} tokens"
    if config.get("problem_type") is None:
        found += f"; config.json has no problem_type: {PROBLEM_TYPE} (assumed)"
    return found


def read_config(source: Path) -> dict[str, Any]:
    """Return what config.json holds.

    Raises:
        ProjectError: The folder is no whole model of transformers.
    """
    if (source / "adapter_config.json").is_file():
        merged = f"{source}-merged"
        raise ProjectError(
            f"{source} is an adapter (LoRA), whose weights are not all there. Merge it where it "
            "was trained, in Python:\n"
            "    from peft import AutoPeftModelForSequenceClassification as Model\n"
            f"    merged = Model.from_pretrained({str(source)!r}).merge_and_unload()\n"
            f"    merged.save_pretrained({merged!r})\n"
            f"and put the tokenizer's files there, too. Then: python archive.py --weights "
            f"{shlex.quote(merged)}"
        )
    path = source / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ProjectError(
            f"{path} cannot be read ({error}); expected a folder as save_pretrained writes it"
        ) from error
    if not isinstance(config, dict):
        raise ProjectError(f"{path} holds no mapping; is it the config.json of a model?")
    return config


def refuse_unknown(source: Path, config: dict[str, Any]) -> str:
    """Return the class of the network in transformers.

    Raises:
        ProjectError: It is none that classifies texts, or brings code of its own.
    """
    if "auto_map" in config:
        raise ProjectError(
            f"{source} brings code of its own (auto_map in config.json), which is never run here. "
            "If transformers has the network by now, save it from there"
        )
    names = config.get("architectures") or [""]
    name = str(names[0])
    if not name.endswith(CLASS):
        raise ProjectError(
            f"{source}: the class in config.json is {name or 'missing'}; expected one that ends in "
            f"{CLASS}. A network without such a head was not trained to classify texts"
        )
    is_known = config.get("model_type") in transformers.CONFIG_MAPPING
    if not is_known or not hasattr(transformers, name):
        raise ProjectError(
            f"{source}: transformers {transformers.__version__} has no {name} "
            f"(model_type {config.get('model_type')}); a newer one may: pip install -U transformers"
        )
    return name


def load_folder(source: Path, name: str) -> Any:
    """Return the network with its weights, in float32.

    Raises:
        ProjectError: The weights are damaged, or are not all there.
    """
    try:
        model, found = AutoModelForSequenceClassification.from_pretrained(
            source, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # each kind of damage has its own
        raise ProjectError(f"transformers does not load {source}: {first_line(error)}") from error
    lacking = sorted([*found["missing_keys"], *(str(x[0]) for x in found["mismatched_keys"])])
    if lacking:
        raise ProjectError(
            f"{source} lacks {len(lacking)} weights of {name}, such as {lacking[0]}: was it "
            "fine-tuned, or is it the network before that?"
        )
    if type(model).__name__ != name:
        raise ProjectError(
            f"{source}: config.json names {name}, and transformers builds "
            f"{type(model).__name__} for its model_type; which of them was trained?"
        )
    return model.eval()


def refuse_other_answers(source: Path, config: Any) -> None:
    """Raise ProjectError if the answers of the project are other ones than config.json has."""
    if config.problem_type == "regression" or config.num_labels == 1:
        raise ProjectError(
            f"{source} returns a number for each text: a regression (num_labels "
            f"{config.num_labels}, problem_type {config.problem_type}), which is not served"
        )
    if config.num_labels != NUM_CLASSES:
        raise ProjectError(
            f"{source} has {config.num_labels} classes, the project has {NUM_CLASSES}. "
            f"Run: {change_answer(num_classes=config.num_labels)}"
        )
    if config.problem_type not in (None, PROBLEM_TYPE):
        raise ProjectError(
            f"{source} was trained with problem_type {config.problem_type}, the project has "
            f"{PROBLEM_TYPE}. Run: {change_answer(problem_type=config.problem_type)}"
        )
    if (limit := positions(config)) and limit < MAX_TOKENS:
        raise ProjectError(
            f"{source} takes {limit} tokens at most, and the project up to {MAX_TOKENS}. "
            f"Run: {change_answer(max_tokens=limit)}"
        )


def positions(config: Any) -> int:
    """Return how many tokens a network has places for; 0 if any number."""
    limit: int = max(getattr(config, "max_position_embeddings", None) or 0, 0)  # XLNet's is -1
    # Those derived from RoBERTa begin to count after the number of the padding.
    embeddings = "roberta", "camembert", "longformer", "mpnet", "esm", "xmod", "data2vec-text"
    is_shifted = any(name in config.model_type for name in embeddings)
    return limit - (config.pad_token_id or 0) - 1 if limit and is_shifted else limit


def load_tokenizer(source: Path) -> Any:
    """Return the tokenizer as transformers reads it.

    Raises:
        ProjectError: There is no tokenizer.json, or transformers cannot read it.
    """
    place = shlex.quote(str(source))
    code = f"from transformers import AutoTokenizer as A; A.from_pretrained({str(source)!r})"
    if not (source / "tokenizer.json").is_file():
        raise ProjectError(
            f"there is no tokenizer.json in {source}, which the service reads texts with. If the "
            "folder has the older files, such as vocab.txt, this makes it of them: "
            f"python -c {shlex.quote(f'{code}.save_pretrained({str(source)!r})')}"
        )
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=True)
    except Exception as error:
        raise ProjectError(
            f"transformers does not read the tokenizer in {place}: {first_line(error)}"
        ) from error


def plain_tokenizer(source: Path, own: Any) -> Tokenizer:
    """Return the tokenizer of tokenizer.json, which fills nothing up and cuts at MAX_TOKENS."""
    try:
        tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    except Exception as error:  # the one kind that tokenizers raises
        raise ProjectError(f"{source / 'tokenizer.json'}: {first_line(error)}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS, direction=own.truncation_side)
    return tokenizer


@torch.inference_mode()
def compare(source: Path, model: Any, own: Any, tokenizer: Tokenizer) -> None:
    """Raise ProjectError unless the service will read and score texts as transformers does."""
    texts = [payload_text(body) for body in sample_texts().values()]
    items = [tokens_of(source, text, own, tokenizer) for text in texts]
    long = [Text("one good word " * MAX_TOKENS), Text("cat " * MAX_TOKENS, "dog " * MAX_TOKENS)]
    for text in long:
        tokens_of(source, text, own, tokenizer)
    try:
        count = len(model.get_input_embeddings().weight)
    except NotImplementedError as error:
        raise ProjectError(
            f"{source}: the network reads characters, not tokens (as CANINE does); expected one "
            "that has an embedding for each token of its tokenizer"
        ) from error
    if max(item[0].max() for item in items) >= count:
        raise ProjectError(f"{source}: its tokenizer has more tokens than the network knows")
    network = Network(model)
    are_told_apart = any(item[1].any() for item in items)
    if network.has_types and are_told_apart and "token_type_ids" not in own.model_input_names:
        raise ProjectError(
            f"{source}: the network tells the two texts of a pair apart, and its tokenizer does "
            "not say which is which. If it did in training, write into tokenizer_config.json: "
            '"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]'
        )
    longest = max(items, key=lambda item: item.shape[1])
    try:
        try:
            found = torch.cat([network(task.collate([item, longest]))[:1] for item in items])
        except (IndexError, ValueError, RuntimeError):  # BART takes no pair beside a text
            others = [longest_like(text, texts, items) for text in texts]
            batches = [task.collate(list(both)) for both in zip(items, others, strict=True)]
            found = torch.cat([network(batch)[:1] for batch in batches])
    except (IndexError, ValueError, RuntimeError) as error:
        if model.config.pad_token_id is not None:
            raise ProjectError(
                f"{source} does not take texts of two lengths together: {first_line(error)}"
            ) from error
        raise ProjectError(
            f"{source}: the network finds the end of a text by the token that shorter ones are "
            "filled up with, and config.json has no pad_token_id. Write there which it was in "
            "training; the tokenizer's pad_token, or its eos_token where it has none"
        ) from error
    takes = inspect.signature(model.forward).parameters
    expected = []
    for text in texts:
        inputs = own(text.first, text.second, return_tensors="pt")
        known = {name: x for name, x in inputs.items() if name in takes}
        expected.append(model(**known).logits[0])
    if not torch.allclose(found, torch.stack(expected), rtol=NEAR, atol=NEAR):
        raise ProjectError(
            f"{source} scores a text otherwise when it is filled up to the length of another than "
            "transformers does for it alone; such a network is not served"
        )


def longest_like(text: Text, texts: list[Text], items: list[torch.Tensor]) -> torch.Tensor:
    """Return the tokens of the longest of the texts that are pairs, or no pairs, as one is."""
    is_pair = text.second is not None
    alike = [
        x for x, other in zip(items, texts, strict=True) if (other.second is not None) == is_pair
    ]
    return max(alike, key=lambda item: item.shape[1])


def tokens_of(source: Path, text: Text, own: Any, tokenizer: Tokenizer) -> torch.Tensor:
    """Return the tokens of a text.

    Raises:
        ProjectError: transformers finds others, or there are too many or none.
    """
    try:
        item = tokenize(text, tokenizer)
    except ItemError as error:
        raise ProjectError(f"{source}, with the text {text.first[:20]!r}: {error}") from error
    inputs = own(text.first, text.second, truncation=True, max_length=MAX_TOKENS)
    if item[0].tolist() != inputs["input_ids"]:
        raise ProjectError(
            f"{source}: tokenizer.json and the {type(own).__name__} of transformers "
            f"{transformers.__version__} make other tokens of {text.first[:20]!r}. Save anew the "
            "tokenizer that the network was trained with: tokenizer.save_pretrained(FOLDER)"
        )
    return item


def first_line(error: BaseException) -> str:
    """Return the first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
