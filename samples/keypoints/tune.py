# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Find the fastest workers and batches for images like yours, and set them.

Examples:
    python tune.py cat.jpg dog.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from tools.torchserve import check_archive
from tools.tuning import tune


def main() -> int:
    """Tune with the images that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="such as will come")
    parser.add_argument(
        "--timeout",
        type=float,
        default=120,
        metavar="SECONDS",
        help="until a server is ready (default: 120)",
    )
    options = parser.parse_args()
    check_archive()
    tune(options.images, options.timeout)
    return 0


if __name__ == "__main__":
    project.run(main)
