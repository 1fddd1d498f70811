# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Measure the service with your own images: requests a second, and how long each takes.

Examples:
    python benchmark.py cat.jpg dog.jpg
    python benchmark.py --url http://127.0.0.1:8080/predictions/NAME --clients 1,64 cat.jpg
    python benchmark.py --profile cat.jpg dog.jpg
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from tools.load import Load, send_load
from tools.project import MODEL_STORE, ProjectError, run
from tools.torchserve import check_archive, serving


def main() -> int:
    """Start TorchServe unless --url names a service, and measure it; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="sent in turns")
    parser.add_argument("--url", help="of a running service (default: TorchServe is started)")
    parser.add_argument(
        "--clients", default="1,4,16", help="how many send at once, in turns (default: 1,4,16)"
    )
    parser.add_argument("--seconds", type=float, default=5, help="for each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--profile", action="store_true", help="show where the time of a request goes, by stages"
    )
    options = parser.parse_args()
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", options.clients):
        parser.error(f"--clients is {options.clients}; expected numbers, as in 1,4,16")
    if not (options.url or "http://").startswith("http://"):
        parser.error(f"--url is {options.url}; expected http://HOST:PORT/predictions/NAME")
    if options.seconds <= 0:
        parser.error("--seconds must be more than 0")
    if options.profile and options.url:
        parser.error("--profile measures the archive of this project; leave out --url")
    images = [path.read_bytes() for path in options.images]
    if not options.url:
        check_archive()
    if options.profile:
        show_profile(images, options.seconds, options.json)
        return 0
    rows = []
    with contextlib.nullcontext(options.url) if options.url else serving(MODEL_STORE) as url:
        if not options.json:
            print(f"{url}\n\nclients  requests/s   p50 ms   p99 ms  errors", flush=True)
        for clients in map(int, options.clients.split(",")):
            try:
                load = asyncio.run(send_load(url, images, clients, options.seconds))
            except OSError as error:
                raise ProjectError(f"{url}: nothing answers there ({error})") from error
            if not load.latencies:
                raise ProjectError(f"{url} gave no reply within {options.seconds:g} s")
            rows.append(figures(clients, load))
            if not options.json:
                line = "{clients:7} {per_second:11.1f} {p50_ms:8.1f} {p99_ms:8.1f} {errors:7}"
                print(line.format(**rows[-1]), *rows[-1]["first_error"], flush=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    return int(any(row["errors"] for row in rows))


def figures(clients: int, load: Load) -> dict[str, Any]:
    """Return the figures of a load; an error is a status other than 200, or no reply."""
    refused = {key: count for key, count in load.replies.items() if key[1] != 200}
    return {
        "clients": clients,
        "per_second": load.per_second,
        "p50_ms": 1000 * load.percentile(50),
        "p99_ms": 1000 * load.percentile(99),
        "errors": sum(refused.values()) + load.lost,
        "first_error": [f"{key[1]} {key[2].decode(errors='replace')}" for key in refused][:1],
    }


def show_profile(images: list[bytes], seconds: float, as_json: bool) -> None:
    """Print the milliseconds of each stage of a request, and of the server around them."""
    # As the servers have it: threads that spin would make the stages beside them longer.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from tools.profiling import operators, profile  # imports torch

    stages = profile(images, seconds)
    with serving(MODEL_STORE) as url:
        load = asyncio.run(send_load(url, images, 1, seconds))
    if not load.latencies:
        raise ProjectError(f"{url} gave no reply within {seconds:g} s")
    whole = 1000 * sum(load.latencies) / len(load.latencies)
    stages["front end"] = whole - sum(stages.values())
    if as_json:
        print(json.dumps(stages, indent=2))
        return
    for stage, milliseconds in stages.items():
        print(f"{stage:12} {milliseconds:8.2f} ms  {milliseconds / whole:4.0%}")
    print(f"{'':12} {whole:8.2f} ms  for a request of one client, on average")
    print(f"\nIn the forward pass:\n{operators(images[0])}")


if __name__ == "__main__":
    run(main)
