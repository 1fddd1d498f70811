# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The network: the one of transformers that a config.json describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedModel


class Network(nn.Module):
    """Returns the scores alone, for texts in one tensor."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        # Others know no sentences of a pair, or use such numbers for something else.
        self.has_types = getattr(model.config, "type_vocab_size", 0) > 1
        self.padding = model.config.pad_token_id  # some find the end of a text by it

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Return scores (N, classes) for int64 texts (N, 3, length): see service/task.py."""
        tokens, mask, types = texts.unbind(dim=1)
        if self.padding:
            tokens = tokens.masked_fill(mask == 0, self.padding)
        inputs: dict[str, Any] = {"input_ids": tokens, "attention_mask": mask}
        if self.has_types:
            inputs["token_type_ids"] = types
        scores: torch.Tensor = self.model(**inputs).logits
        return scores


def read_network(config: Path) -> Network:
    """Return the network that a config.json describes, without trained weights, in float32.

    Nothing else than the file is read, and no code that it may name is run.
    """
    content: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    described = CONFIG_MAPPING[content["model_type"]].from_dict(content)
    model = AutoModelForSequenceClassification.from_config(described, dtype=torch.float32)
    return Network(model)
