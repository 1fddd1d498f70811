# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Classify pictures with the archive in this process: the service's own path, but no server.

Examples:
    python predict.py cat.jpg dog.png
    python predict.py --json cat.jpg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from inprocess import open_archive
from project import ARCHIVE, ProjectError


def main() -> int:
    """Classify the pictures that the command line names; 1 if one of them cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help=f"default: {ARCHIVE.name}")
    parser.add_argument("--json", action="store_true", help="print the answers as a JSON list")
    options = parser.parse_args()
    for path in options.pictures:
        if not path.is_file():
            raise ProjectError(f"there is no picture {path}")
    with open_archive(options.archive) as service:
        answers = [service.predict([{"body": path.read_bytes()}])[0] for path in options.pictures]
    if options.json:
        bodies = [answer.body for answer in answers]
        print(json.dumps(bodies, ensure_ascii=False, indent=2))
    else:
        for path, answer in zip(options.pictures, answers, strict=True):
            lines = table(answer.body) if answer.status == 200 else [answer.body["error"]]
            print(path, *lines, sep="\n    ")
    return int(any(answer.status != 200 for answer in answers))


def table(answer: list[dict[str, Any]]) -> list[str]:
    """Return a line for each class of an answer."""
    return [f"{x['probability']:7.2%}  {x['label']} ({x['index']})" for x in answer]


if __name__ == "__main__":
    project.run(main)
