"""An embedding for each image: what a classifier's last layer would get."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generator import catalogue
from generator.errors import UserError
from generator.inspection.reading import GRAPHS
from generator.source import Source, called, calls_of
from generator.tasks import Evidence, Response, Task

if TYPE_CHECKING:
    from generator.inspection import Inspection

HEAD = ("head", "head_units", "head_place", "head_layers", "model_output")
# What exports call their output.
EMBEDDING = re.compile(r"((image|img|face)_?)?(embeddings?|embeds?|features?)", re.IGNORECASE)
NORMALIZE = "torch.nn.functional.normalize"


class FeatureExtraction(Task):
    """A network without its last layer."""

    meaning = "embeddings to compare images by, without the last layer"

    def evidence_in_weights(
        self,
        names: Collection[str],
        classes: int | None,
        head: str | None,
        end: str,
        settings: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Return that the file has no last layer, or that it calls its output an embedding."""
        if head == "none":
            return "the file has no last layer, which tells classes apart"
        named = next(filter(EMBEDDING.fullmatch, names), "")
        return f"it returns what it calls {named}" if named else ""

    def answers_on_weights(self, found: Inspection, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers without those on the last layer, whatever it is.

        Raises:
            UserError: The file brings its network, whose last layer cannot be taken off here.
        """
        is_whole = (found.architecture or found.timm) and found.head != "none"
        if found.kind in GRAPHS and is_whole and not found.evidence:
            raise UserError(
                f"{found.path} brings its network with the last layer, and returns scores of "
                "classes. Take that layer off where it was exported, as in model.fc = "
                "torch.nn.Identity(), and export it anew"
            )
        answers = {name: value for name, value in known.items() if name not in HEAD}
        if found.kind in GRAPHS and is_whole:  # its last layer makes the embedding
            return answers | {"architecture": "custom"}
        if found.differences or not (found.architecture or found.timm):
            return answers
        if answers.get("architecture") == "custom" and found.architecture:
            answers["architecture"] = found.architecture
        elif answers.get("architecture") == "custom" and len(found.timm) == 1:
            answers["architecture"] = f"timm/{found.timm[0]}"
        if len({place.prefix for place in found.places}) == 1 and "weights" in answers:
            # With a last layer beside the network, another answer was right.
            if answers["weights"] in ("state_dict", "wrapped"):
                answers["weights"] = "wrapped" if found.prefix else "state_dict"
            if answers["weights"] in ("wrapped", "checkpoint", "safetensors"):
                answers["state_dict_prefix"] = found.prefix
        source, _, name = str(answers.get("architecture")).partition("/")
        if source == "timm":
            answers.pop("num_classes", None)
            if name and (count := features_of(name)):
                answers["num_classes"] = count
        elif source not in catalogue.OTHERS:
            answers["num_classes"] = catalogue.load()[source].classifier_in
        return answers

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place where a handler takes off the last layer, or calls for features."""
        for node in nodes:
            match node:
                case ast.Assign(
                    targets=[ast.Attribute(attr="fc" | "classifier" | "head" | "heads")],
                    value=ast.Call() as call,
                ) if called(call) == "Identity":
                    return Evidence(source.at(node), "Identity in place of the last layer", True)
                case ast.Call() if called(node) == "forward_features":
                    return Evidence(source.at(node), "forward_features", sure=False)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return whether a handler gives embeddings length 1, and in what form they are sent."""
        form, where, answers = "", "", {}
        for call in calls_of(nodes):
            if source.full_name(call.func) == NORMALIZE:
                answers["l2_normalize"] = (True, source.at(call))
            elif called(call) == "b64encode":
                form, where = "base64", source.at(call)
            elif called(call) == "tolist" and not form:
                form, where = "list", source.at(call)
        return Response(form, where, answers=answers)


def features_of(name: str) -> int | None:
    """Return how many numbers timm's network returns without its last layer; None without timm."""
    if importlib.util.find_spec("timm") is None:
        return None
    import timm
    import torch

    with torch.device("meta"):
        network: Any = timm.create_model(name, num_classes=0)
    return int(getattr(network, "head_hidden_size", network.num_features))


TASK = FeatureExtraction
