# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Run the archive in TorchServe on this machine, until Ctrl-C.

Examples:
    python serve.py
    python serve.py --port 9000 --logs
    python serve.py --host 0.0.0.0 --tokens
    python serve.py --ready
    python serve.py --tune cat.jpg dog.jpg
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tools.project import ARCHIVE, MODEL_NAME, ProjectError, run
from tools.torchserve import (
    ADDRESSES,
    KEY_FILE,
    check_archive,
    has_ready_worker,
    has_tokens,
    read_config,
    torchserve,
    wait_until_ready,
    watch,
)


def main() -> int:
    """Start TorchServe, print when it is ready, and stop it when asked."""
    options = parse_options()
    config = read_config()
    hosts = {"inference": options.host, "metrics": options.metrics_host}
    for name in ADDRESSES:
        address = urlsplit(config[f"{name}_address"])
        host = hosts.get(name) or address.hostname
        port = getattr(options, "port" if name == "inference" else f"{name}_port")
        port = address.port if port is None else port
        config[f"{name}_address"] = f"{address.scheme}://{host}:{port}"
    if options.ready:
        return report_readiness(config["management_address"])
    check_archive()
    if options.tokens:
        config["disable_token_authorization"] = "false"
    refuse_open_doors(config, options.open)
    if options.tune:
        from tools.tuning import tune

        tune(options.tune, options.timeout)
        return 0
    with contextlib.suppress(KeyboardInterrupt), torchserve(config, options.logs) as server:
        print(f"starting TorchServe with {ARCHIVE.name} ...", flush=True)
        wait_until_ready(server, options.timeout)
        print(f"{MODEL_NAME} is ready. Try it:\n\n{example(config)}\n", flush=True)
        print("Ctrl-C stops it.", flush=True)
        watch(server, options.timeout)
    print("stopped", flush=True)
    return 0


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--host", help="the address for requests: 0.0.0.0 is every network (default: this machine)"
    )
    parser.add_argument("--port", type=int, help="where requests go (default: config.properties)")
    parser.add_argument("--management-port", type=int, help="default: config.properties")
    parser.add_argument("--metrics-port", type=int, help="default: config.properties")
    parser.add_argument(
        "--metrics-host", help="the address for metrics, which need no key (default: this machine)"
    )
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--tokens", action="store_true", help="serve only clients that show a key")
    access.add_argument(
        "--open",
        action="store_true",
        help="serve without keys, where the network decides who may ask",
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="start nothing; exit with 0 if the running server has a worker that is ready",
    )
    parser.add_argument("--logs", action="store_true", help="show TorchServe's log as it grows")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="SECONDS", help="until ready (default: 120)"
    )
    parser.add_argument(
        "--tune", nargs="+", type=Path, metavar="IMAGE", help="as python tune.py IMAGE ..."
    )
    return parser.parse_args()


def report_readiness(management: str) -> int:
    """Return 0 if the server at this address has a worker that is ready, else 1, with a message."""
    if has_ready_worker(management):
        return 0
    print(f"no worker of {MODEL_NAME} is ready at {management}", file=sys.stderr)
    return 1


def refuse_open_doors(config: dict[str, str], may_be_open: bool) -> None:
    """Raise ProjectError if other machines could come in without a key, unless they may.

    Management never may: whoever reaches it can change what is served.
    """
    for name in ADDRESSES:
        address = config[f"{name}_address"]
        host = urlsplit(address).hostname or ""
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_loopback:
                continue
        if host == "localhost" or has_tokens(config) or (may_be_open and name != "management"):
            continue
        raise ProjectError(
            f"{address} can be reached from other machines, and tokens are off: whoever finds "
            "it is let in. Add --tokens, or listen on 127.0.0.1"
        )


def example(config: dict[str, str]) -> str:
    """Return the commands that send an image, and with tokens, where the keys are."""
    command = f"    curl -T IMAGE {config['inference_address']}/predictions/{MODEL_NAME}"
    if not has_tokens(config):
        return command
    return (
        f'{command} -H "Authorization: Bearer KEY"\n\n'
        f"KEY is the inference key in {KEY_FILE.name}, which also says when it expires. A new one "
        "comes there with:\n\n"
        f'    curl "{config["management_address"]}/token?type=inference" '
        '-H "Authorization: Bearer API_KEY"'
    )


if __name__ == "__main__":
    run(main)
