# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Run the archive in TorchServe on this machine, or in another engine, until Ctrl-C.

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
import importlib
import ipaddress
import sys
from pathlib import Path
from types import ModuleType

import yaml

from tools.project import (
    ANSWERS_FILE,
    ARCHIVE,
    MODEL_NAME,
    ROOT,
    ProjectError,
    change_answer,
    run,
)
from tools.settings import PORTS, Settings, read_settings
from tools.torchserve import (
    KEY_FILE,
    Server,
    check_archive,
    has_ready_worker,
    torchserve,
    wait_until_ready,
    watch,
)

TORCHSERVE = "torchserve"
ENGINES = (TORCHSERVE, "asgi")


def main() -> int:
    """Start the engine, print when it is ready, and stop it when asked."""
    options = parse_options()
    settings = read_settings()
    for name in PORTS:
        move(settings, name, options)
    if options.ready:
        return report_readiness(settings["management_address"])
    check_archive()
    if options.tokens:
        settings["disable_token_authorization"] = "false"
    refuse_open_addresses(settings, options.open)
    if options.tune:
        from tools.tuning import tune

        tune(options.tune, options.timeout)
        return 0

    def announce() -> None:
        print(f"{MODEL_NAME} is ready. Try it:\n\n{example(settings)}\n", flush=True)
        print("Ctrl-C stops it.", flush=True)

    if options.engine != TORCHSERVE:
        engine = find_engine(options.engine)
        print(f"starting {options.engine} with {ARCHIVE.name} ...", flush=True)
        engine.serve(settings, options.timeout, options.logs, announce)
        print("stopped", flush=True)
        return 0
    with contextlib.suppress(KeyboardInterrupt), torchserve(settings, options.logs) as server:
        print(f"starting TorchServe with {ARCHIVE.name} ...", flush=True)
        wait_until_ready(server, options.timeout)
        if not options.open:
            refuse_unknown_listeners(settings, server)
        announce()
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
    parser.add_argument("--logs", action="store_true", help="show the server's log as it grows")
    parser.add_argument(
        "--engine",
        default=TORCHSERVE,
        choices=ENGINES,
        help="what serves; all but torchserve (default) belong to the answer deploy",
    )
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="SECONDS", help="until ready (default: 120)"
    )
    parser.add_argument(
        "--tune", nargs="+", type=Path, metavar="IMAGE", help="as python tune.py IMAGE ..."
    )
    return parser.parse_args()


def find_engine(name: str) -> ModuleType:
    """Return the module that serves with an engine of this project other than TorchServe.

    Raises:
        ProjectError: This project has no such engine.
    """
    if not (ROOT / "deploy" / name / "server.py").is_file():
        answers = yaml.safe_load((ROOT / ANSWERS_FILE).read_text(encoding="utf-8"))
        deploy = ", ".join([*answers.get("deploy", []), name])
        raise ProjectError(
            f"this project has no engine {name}; this adds it: "
            f"{change_answer(deploy=f'[{deploy}]')}"
        )
    try:
        return importlib.import_module(f"deploy.{name}.server")
    except ImportError as error:  # it needs what this system does not have
        raise ProjectError(f"--engine {name} does not run here: {error}") from error


def report_readiness(management: str) -> int:
    """Return 0 if the server at this address has a worker that is ready, else 1, with a message."""
    if has_ready_worker(management):
        return 0
    print(f"no worker of {MODEL_NAME} is ready at {management}", file=sys.stderr)
    return 1


def move(settings: Settings, name: str, options: argparse.Namespace) -> None:
    """Change where requests of a kind go to what the command line says."""
    key = f"{name}_address"
    for part in ("host", "port"):
        option = part if name == "inference" else f"{name}_{part}"
        if (value := getattr(options, option, None)) is not None:
            address = settings.address(name)._replace(**{part: value})
            place = f"{settings.place(key)}, --{option.replace('_', '-')}"
            settings.put(key, str(address), place)
    settings[key] = str(settings.address(name))


def refuse_open_addresses(settings: Settings, may_be_open: bool) -> None:
    """Raise ProjectError if other machines could come in without a key, unless they may.

    Management never may: whoever reaches it can change what is served.
    """
    ports = set()
    for name in PORTS:
        address = settings.address(name)
        if address.port in ports:
            raise settings.error(f"{name}_address", "each address needs a port of its own")
        ports.add(address.port)
        may_be = settings.has_tokens() or (may_be_open and name != "management")
        if not may_be and not is_local(address.host):
            raise settings.error(
                f"{name}_address",
                "this can be reached from other machines, and tokens are off: whoever finds it is "
                "let in. Add --tokens, or listen on 127.0.0.1",
            )


def refuse_unknown_listeners(settings: Settings, server: Server) -> None:
    """Raise ProjectError if Java lets others in elsewhere, by its options or a plugin perhaps."""
    known = {settings.address(name).port for name in PORTS}
    for host, port in server.listening():
        if port not in known and not is_local(host):
            raise ProjectError(
                f"Java listens at {host}:{port}, too, which other machines reach without a key. "
                "Without vmargs and plugins_path in config.properties, and without "
                "JAVA_TOOL_OPTIONS, it does not; --open lets it"
            )


def is_local(host: str) -> bool:
    """Tell whether an address is for this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def example(settings: Settings) -> str:
    """Return the commands that send an image, and with tokens, where the keys are."""
    command = f"    curl -T IMAGE {settings['inference_address']}/predictions/{MODEL_NAME}"
    if not settings.has_tokens():
        return command
    return (
        f'{command} -H "Authorization: Bearer KEY"\n\n'
        f"KEY is the inference key in {KEY_FILE.name}, which also says when it expires. A new one "
        "comes there with:\n\n"
        f'    curl "{settings["management_address"]}/token?type=inference" '
        '-H "Authorization: Bearer API_KEY"'
    )


if __name__ == "__main__":
    run(main)
