# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The last layers that may replace those of torchvision's classifiers."""

from __future__ import annotations

# The answers to the question `head`, by the weights of the layer as a state_dict names them below
# the layer's own name.
HEADS: dict[tuple[str, ...], str] = {
    ("weight",): "linear",
    ("1.weight",): "dropout",
    ("0.weight", "2.weight"): "mlp",
    ("0.weight", "3.weight"): "mlp_dropout",
}
