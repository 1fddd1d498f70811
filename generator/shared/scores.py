"""Finds what a checkpoint tells of scores, and of what is made of them, under the usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# Where the results of a training stand. Elsewhere, a temperature is that of a loss, and a threshold
# that of a schedule or of pseudo-labels.
RESULTS = ("", "metadata", "model_info", "info", "meta", "data", "dataset")
CHOSEN = ("", "best_", "optimal_", "calibrated_", "calibration_", "learned_", "softmax_")
TEMPERATURE = (
    *(f"{how}temperature" for how in CHOSEN),
    *("temperature_scaling", "temperature_scale", "temp_scale", "calib_temp", "optimal_temp"),
)
CALIBRATION = (
    *(*TEMPERATURE, "calibration", "calibrator", "platt", "platt_scaling"),
    *("logit_adjustment", "logit_adjustments", "logit_adjust", "logit_bias"),
    *("class_prior", "class_priors", "log_prior", "log_priors"),
    *("class_order", "class_permutation"),  # of the outputs, as incremental learning has them
)
THRESHOLDS = tuple(  # probabilities from which on a class is predicted
    of + what
    for of in (
        *("", "class_", "best_", "optimal_", "decision_", "operating_", "op_", "unknown_"),
        *("classifier_", "classification_", "confidence_", "prediction_"),
    )
    for what in ("thresholds", "threshold", "thresh", "threshs", "thr", "thrs", "cutoff", "cutoffs")
)
LOSS = (
    *("loss", "loss_fn", "loss_func", "loss_function", "loss_name", "loss_type", "criterion"),
    *("criterion_name", "criterion_type"),
)
CLASS = ("_target_", "type", "name")  # of a loss, as hydra and OpenMMLab have it
VALUES = (int, float, list, tuple, dict)  # of a loss, or its arguments
# Losses by what they train; the first as small letters alone. timm's --bce-loss is no setting that
# is read: it trains classes that exclude one another, too.
EACH = re.compile(
    r"(bce|binarycrossentropy)(with)?(logits?)?(loss)?|asl|asymmetric(loss)?(optimized|multilabel)?"
    r"|multilabel.*|sigmoid"
)
REGRESSION = re.compile(
    r"((mse|rmse|l1|smooth_?l1|mae|huber|mean_squared_error|ordinal|coral|corn)(_?loss)?)"
    r"|(ordinal_?)?regression",
    re.IGNORECASE,
)
COMPARISON = re.compile(
    r"(triplet|contrastive|sup_?con|arc_?face|cos_?face|sphere_?face|nt_?xent|info_?nce|siamese"
    r"|proxy_?(nca|anchor)|multi_?similarity|n_?pairs?|circle_?loss|metric_?learning)\w*",
    re.IGNORECASE,
)


def told_calibration(entries: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return what scores go through behind the network, by its place.

    Args:
        entries: What a checkpoint holds, by its place, as in metadata.temperature.
    """
    found = {place: plain(value) for place, value in entries if is_result(place, CALIBRATION)}
    return {
        place: value
        for place, value in found.items()
        if value not in (None, 1, [1], {})
        and not isinstance(value, (str, bool))
        and not is_in_order(value)
    }


def told_thresholds(entries: Iterable[tuple[str, Any]]) -> dict[str, list[float]]:
    """Return from which probability on a class is predicted: one, or one a class, by its place.

    Of what is there and is none, such as an object, the numbers are [].

    Args:
        entries: As for `told_calibration`.
    """
    found = {}
    for place, value in entries:
        if not is_result(place, THRESHOLDS):
            continue
        value = plain(value)
        numbers = list(value.values()) if isinstance(value, dict) else value
        numbers = list(numbers) if isinstance(numbers, (list, tuple)) else [numbers]
        if numbers and all(type(number) is float and 0 < number < 1 for number in numbers):
            found[place] = numbers
        elif numbers and not (value is None or isinstance(value, (str, int, float))):
            found[place] = []
    return found


def told_losses(entries: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return the names of losses, by their place.

    Args:
        entries: As for `told_calibration`; a loss is a name, a class, or an object of one.
    """
    found = {}
    for place, value in entries:
        *above, key = place.lower().split(".")
        if key in CLASS and above:
            key = above[-1]
        is_value = value is None or isinstance(value, VALUES) or hasattr(value, "shape")
        if key in LOSS and not is_value:
            kind = value if isinstance(value, type) else type(value)
            name = value if isinstance(value, str) else kind.__name__
            found[place] = name.rpartition(".")[2]
    return found


def trained(loss: str) -> str:
    """Return what a loss trains other than one class of several, "" if that is not known."""
    if EACH.fullmatch(only_letters(loss)):
        return "each class by itself"
    if REGRESSION.fullmatch(loss):
        return "numbers or ranks"
    return "embeddings" if COMPARISON.fullmatch(loss) else ""


def is_in_order(value: Any) -> bool:
    """Tell whether these are numbers from 0 on, which change no order."""
    return isinstance(value, (list, tuple)) and [*value] == [*range(len(value))]


def differ(told: Sequence[float], known: Sequence[float]) -> bool:
    """Tell whether thresholds differ, up to what people round; one may stand for all classes."""
    if len(told) == 1:
        told = [*told] * len(known)
    if len(known) == 1:
        known = [*known] * len(told)
    is_like = bool(told) and len(told) == len(known)
    return not is_like or any(abs(x - y) > 0.001 for x, y in zip(told, known, strict=True))


def is_result(place: str, names: Sequence[str]) -> bool:
    """Tell whether a value stands under one of these names where results of a training do."""
    holder, _, key = place.lower().rpartition(".")
    return key in names and holder.partition(".")[0] in RESULTS


def plain(value: Any) -> Any:
    """Return the numbers of a tensor, and anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def only_letters(text: str) -> str:
    """Return the letters of a text, in small ones."""
    return "".join(filter(str.isalpha, text.lower()))
