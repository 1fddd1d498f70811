# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Find the fastest workers and batches for images like yours, and set them.

Examples:
    python tune.py cat.jpg dog.jpg
    python tune.py --set 2 8
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools import project  # first: it keeps Ctrl-C quiet while the others import torch

# isort: split

from tools.torchserve import check_archive
from tools.tuning import SECONDS, Setting, give, tune


def main() -> int:
    """Tune with the images that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="such as will come")
    parser.add_argument(
        "--timeout",
        type=float,
        default=120,
        metavar="SECONDS",
        help="until a server is ready (default: 120)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="of load, for one client and for many (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--set",
        nargs=2,
        type=int,
        metavar=("WORKERS", "BATCH"),
        help="set these, and try none",
    )
    options = parser.parse_args()
    if options.seconds <= 0 or min(options.set or [1]) < 1:
        parser.error("--seconds, WORKERS and BATCH must be more than 0")
    if bool(options.set) == bool(options.images):
        parser.error("name images to try settings with, or --set WORKERS BATCH")
    check_archive()
    if options.set:
        print(give(Setting(*options.set)))
    else:
        tune(options.images, options.timeout, options.seconds, as_json=options.json)
    return 0


if __name__ == "__main__":
    project.run(main)
