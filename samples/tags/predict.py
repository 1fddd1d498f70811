# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Predict for images with the archive in this process: the service's own path, but no server.

Examples:
    python predict.py cat.jpg dog.png
    python predict.py --json cat.jpg
"""

from __future__ import annotations

import argparse
import json
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
    return int(any(prediction.status != 200 for prediction in predictions))


def table(prediction: list[dict[str, Any]]) -> list[str]:
    """Return a line for each class of a prediction."""
    return [f"{x['probability']:7.2%}  {x['label']} ({x['index']})" for x in prediction]


if __name__ == "__main__":
    project.run(main)
