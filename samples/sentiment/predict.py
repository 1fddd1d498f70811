# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Predict for texts with the archive in this process: the service's own path, but no server.

Examples:
    python predict.py "It was better than the last one."
    python predict.py --json "good" "bad"
    python predict.py '{"text": "A cat sits.", "text_pair": "An animal sits."}'
    python predict.py --files good.txt bad.txt
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import Any

from tools import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from tools.inprocess import open_archive
from tools.project import ARCHIVE, ProjectError


def main() -> int:
    """Predict for the texts that the command line names; 1 if one of them cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--files", action="store_true", help="each TEXT is a file that holds one")
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help=f"default: {ARCHIVE.name}")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    options = parser.parse_args()
    read = read_file if options.files else read_text
    bodies = [read(text) for text in options.texts]
    with open_archive(options.archive) as service:
        predictions = [service.predict([{"body": body}])[0] for body in bodies]
    if options.json:
        print(json.dumps([x.body for x in predictions], ensure_ascii=False, indent=2))
    else:
        for text, prediction in zip(options.texts, predictions, strict=True):
            body = prediction.body
            lines = table(body) if prediction.status == 200 else [body["error"]]
            print(text, *lines, sep="\n    ")
    return int(any(prediction.status != 200 for prediction in predictions))


def read_file(name: str) -> bytes:
    """Return what a file holds."""
    if not Path(name).is_file():
        raise ProjectError(f"there is no file {name}")
    return Path(name).read_bytes()


def read_text(text: str) -> bytes:
    """Return a text of the command line, unless it is the name of a file."""
    if os.path.isfile(text):
        raise ProjectError(
            f"{text} is a file; for what it holds: python predict.py --files {shlex.quote(text)}"
        )
    return os.fsencode(text)


def table(prediction: list[dict[str, Any]]) -> list[str]:
    """Return a line for each class of a prediction."""
    return [f"{x['probability']:7.2%}  {x['label']} ({x['index']})" for x in prediction]


if __name__ == "__main__":
    project.run(main)
