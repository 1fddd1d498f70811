# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Predict for images with the archive in this process: the service's own path, but no server.

Examples:
    python predict.py cat.jpg dog.png
    python predict.py --json cat.jpg
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from tools import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from tools.inprocess import open_archive
from tools.project import ARCHIVE, ProjectError


def main() -> int:
    """Predict for the images that the command line names; 1 if one of them cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help=f"default: {ARCHIVE.name}")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    options = parser.parse_args()
    for path in options.images:
        if not path.is_file():
            raise ProjectError(f"there is no image {path}")
    with open_archive(options.archive) as service:
        predictions = [service.predict([{"body": path.read_bytes()}])[0] for path in options.images]
    if options.json:
        print(json.dumps([x.body for x in predictions], ensure_ascii=False, indent=2))
    else:
        for path, prediction in zip(options.images, predictions, strict=True):
            body = prediction.body
            lines = table(body) if prediction.status == 200 else [body["error"]]
            print(path, *lines, sep="\n    ")
        pairs = zip(options.images, predictions, strict=True)
        found = {str(path): embedding_of(x.body) for path, x in pairs if x.status == 200}
        for line in similarities(found):
            print(line)
    return int(any(prediction.status != 200 for prediction in predictions))


def table(prediction: dict[str, Any]) -> list[str]:
    """Return how many numbers an embedding has, and the first of them."""
    embedding = embedding_of(prediction)
    first = ", ".join(f"{x:.4f}" for x in embedding[:4])
    return [f"{len(embedding)} numbers: {first}, ..."]


def embedding_of(prediction: dict[str, Any]) -> list[float]:
    """Return the numbers of a prediction."""
    data = base64.b64decode(prediction["embedding"])
    return [number for (number,) in struct.iter_unpack("<f", data)]


def similarities(embeddings: Mapping[str, Sequence[float]]) -> list[str]:
    """Return a line for each pair of images: their cosine similarity, from -1 to 1."""
    lines = []
    for (one, first), (other, second) in combinations(embeddings.items(), 2):
        product = sum(a * b for a, b in zip(first, second, strict=True))
        length = math.hypot(*first) * math.hypot(*second)
        lines.append(f"{product / length if length else 0:7.4f}  {one}  {other}")
    return lines


if __name__ == "__main__":
    project.run(main)
