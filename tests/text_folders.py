"""Small folders of transformers that classify texts, each with a seeded network and a tokenizer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

NAMES = ("bad", "fine", "good", "great")
SENTENCES = [
    "this is good, as always!",
    "a bad movie, boring and awful",
    "the cat and the dog",
    "one good word after another",
    "i love this, it is great",
    "who are you?",
]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def word_pieces() -> tuple[Tokenizer, dict[str, Any]]:
    """Return a tokenizer as BERT has it: in lower case, of words and their letters.

    Its tokens are not trained: trainers of `tokenizers` number them differently each time.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted(set("".join(SENTENCES)) - {" "})
    words = sorted({word for text in SENTENCES for word in re.findall(r"\w\w+", text)})
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return tokenizer, dict(zip(names, special, strict=True))


def byte_pairs(special: list[str]) -> Tokenizer:
    """Return a tokenizer as GPT-2 has it: of bytes, in upper and lower case."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=letters)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def bert(folder: Path, **config: Any) -> nn.Module:
    """Write a BERT."""
    tokenizer, special = word_pieces()
    size = tokenizer.get_vocab_size()
    settings = transformers.BertConfig(vocab_size=size, **SMALL, **named(config))
    network = transformers.BertForSequenceClassification(settings)
    return saved(folder, network, tokenizer, "BertTokenizer", **special)


def distilbert(folder: Path, **config: Any) -> nn.Module:
    """Write a DistilBERT, which does not take the sentence of a token."""
    tokenizer, special = word_pieces()
    settings = transformers.DistilBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=64,
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        **named(config),
    )
    network = transformers.DistilBertForSequenceClassification(settings)
    return saved(folder, network, tokenizer, "DistilBertTokenizer", **special)


def roberta(folder: Path, **config: Any) -> nn.Module:
    """Write a RoBERTa, which counts its positions after the padding."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_pairs(special)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    settings = transformers.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **{**SMALL, "max_position_embeddings": 66},
        **named(config),
    )
    network = transformers.RobertaForSequenceClassification(settings)
    names = ("bos_token", "pad_token", "eos_token", "unk_token")
    tokens = dict(zip(names, special, strict=True))
    return saved(folder, network, tokenizer, "", cls_token="<s>", sep_token="</s>", **tokens)


def bart(folder: Path, **config: Any) -> nn.Module:
    """Write a BART, which takes no pair of texts beside a text: a pair has more ends."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_pairs(special)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    sizes = {
        f"{part}_{name}": size
        for part in ("encoder", "decoder")
        for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))
    }
    settings = transformers.BartConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=32,
        max_position_embeddings=64,
        **sizes,
        **named(config),
    )
    network = transformers.BartForSequenceClassification(settings)
    names = ("bos_token", "pad_token", "eos_token", "unk_token")
    tokens = dict(zip(names, special, strict=True))
    return saved(folder, network, tokenizer, "", cls_token="<s>", sep_token="</s>", **tokens)


def gpt2(folder: Path, **config: Any) -> nn.Module:
    """Write a GPT-2, which finds the end of a text by its padding; it has none by itself."""
    end = "<|endoftext|>"
    tokenizer = byte_pairs([end])
    settings = transformers.GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        **named(config),
    )
    network = transformers.GPT2ForSequenceClassification(settings)
    return saved(folder, network, tokenizer, "", bos_token=end, eos_token=end, unk_token=end)


def named(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a network whose classes have names, unless it says otherwise."""
    return {"id2label": dict(enumerate(NAMES[:3])), **config}


def saved(
    folder: Path, network: nn.Module, tokenizer: Tokenizer, kind: str, **special: str
) -> nn.Module:
    """Save a network, with such weights that texts matter, and its tokenizer."""
    inputs = (
        {} if kind == "BertTokenizer" else {"model_input_names": ["input_ids", "attention_mask"]}
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, **inputs
    ).save_pretrained(folder)
    if kind:
        change(folder / "tokenizer_config.json", tokenizer_class=kind)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    network.eval().save_pretrained(folder)
    return network


def change(path: Path, **entries: Any) -> None:
    """Change entries of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | entries
    content = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(content))
