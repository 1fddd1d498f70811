# copier update rewrites this file, unless "What is yours" in README.md names it.
"""TorchServe's settings: what config.properties and the environment make of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from tools.ports import free_port
from tools.project import ARCHIVE, MODEL_STORE, ROOT, ProjectError
from tools.properties import PropertiesError, escape, read_properties

CONFIG = ROOT / "config.properties"
# The ports of addresses that have none: with http, and with https.
PORTS = {"inference": (80, 443), "management": (8081, 8444), "metrics": (8082, 8445)}
DEFAULTS = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "model_store": str(MODEL_STORE),
    "load_models": ARCHIVE.name,
}
GRPC = (
    *("grpc_inference_address", "grpc_inference_port"),
    *("grpc_management_address", "grpc_management_port"),
)
# Who comes in, and what is served. With enable_envvars_config=true, TorchServe takes TS_MODEL_STORE
# before model_store, and so on.
GUARDED = (*DEFAULTS, *GRPC, "disable_token_authorization")
NUMBERS = (
    *("default_workers_per_model", "default_response_timeout", "default_startup_timeout"),
    *("job_queue_size", "max_request_size", "max_response_size", "netty_client_threads"),
    *("number_of_gpu", "number_of_netty_threads", "unregister_model_timeout"),
)
MAX_INT = 2**31 - 1  # Java's
FILES = ("keystore", "certificate_file", "private_key_file", "metrics_config")


class Address(NamedTuple):
    """Where TorchServe listens."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Settings(dict[str, str]):
    """TorchServe's settings, which remember where each was found."""

    def __init__(self) -> None:
        super().__init__(DEFAULTS)
        self._places: dict[str, str] = {}

    def put(self, key: str, value: str, place: str) -> None:
        """Set one that was found at a place, such as "config.properties:7"."""
        self[key] = value
        self._places[key] = place

    def place(self, key: str) -> str:
        """Return where a setting was found, for people."""
        return self._places.get(key, "default")

    def error(self, key: str, problem: str) -> ProjectError:
        """Return an error that names a setting, and where it was found."""
        return ProjectError(f"{self.place(key)}: {key}={self[key]}: {problem}")

    def address(self, name: str) -> Address:
        """Return where requests of a kind go: "inference", "management" or "metrics".

        Raises:
            ProjectError: TorchServe cannot listen there, or serve.py could not ask it.
        """
        key = f"{name}_address"
        found = re.fullmatch(r"(https?)://([^:/^\s]+)(?::(\d+))?", self[key], re.IGNORECASE)
        if found is None:
            raise self.error(key, "wanted is http://HOST:PORT; TorchServe takes no IPv6 address")
        scheme, host, port = found[1].lower(), found[2], found[3]
        number = int(port or PORTS[name][scheme == "https"])
        if number > 65534:
            raise self.error(key, "a port lies between 1 and 65534; 0 is any that is free")
        if scheme == "https" and not (
            "keystore" in self or {"certificate_file", "private_key_file"} <= self.keys()
        ):
            raise self.error(key, "https needs a certificate_file and a private_key_file")
        return Address(scheme, host, number or free_port())

    def has_tokens(self) -> bool:
        """Tell whether TorchServe asks for keys; it does by default."""
        return not self.is_true("disable_token_authorization")

    def is_true(self, key: str) -> bool:
        """Tell whether Java takes a setting for true."""
        return self.get(key, "").lower() == "true"


def read_settings() -> Settings:
    """Return the settings that TorchServe would have.

    Raises:
        ProjectError: It would not start with them, would misread them, or would offer gRPC.
    """
    settings = Settings()
    for key, value, place in read_config():
        settings.put(key, value, place)
    if settings.is_true("enable_envvars_config"):
        for key in GUARDED:
            variable = f"TS_{key.upper()}"
            if variable in os.environ:
                settings.put(key, os.environ[variable], variable)
    for key in GRPC:
        if key in settings:
            raise settings.error(key, "serve.py offers no gRPC; see README.md, and remove this")
    if "model_snapshot" in settings:
        raise settings.error("model_snapshot", "TorchServe would then not load load_models")
    for key in NUMBERS:
        if key in settings and not is_int(settings[key]):
            raise settings.error(key, f"{settings[key]!r} is no whole number up to {MAX_INT}")
    for key in FILES:
        if key in settings and not (ROOT / settings[key]).is_file():
            raise settings.error(key, f"there is no such file as seen from {ROOT}")
    for name in PORTS:
        settings[f"{name}_address"] = str(settings.address(name))
    return settings


def is_int(text: str) -> bool:
    """Tell whether Java reads this as a whole number."""
    return bool(re.fullmatch(r"[+-]?[0-9]{1,20}", text)) and abs(int(text)) <= MAX_INT


def read_config() -> Iterator[tuple[str, str, str]]:
    """Yield what is in config.properties: key, value and place.

    Raises:
        ProjectError: TorchServe would refuse the file, or misread it.
    """
    content = CONFIG.read_bytes()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.isascii() and not line.lstrip().startswith((b"#", b"!")):
            with contextlib.suppress(UnicodeDecodeError):
                text = escape(line.decode().removeprefix("\ufeff")).replace(r"\\", "\\")
                raise ProjectError(
                    f"{CONFIG.name}:{number}: TorchServe does not read this file as UTF-8; "
                    f"write the line so: {text}"
                )
    try:
        for number, key, value in read_properties(content):
            place = f"{CONFIG.name}:{number}"
            yield key, expand(value, place), place
    except PropertiesError as error:
        raise ProjectError(f"{CONFIG.name}:{error.line}: {error}") from error


def expand(value: str, place: str) -> str:
    """Return a value with the environment's variables in place of $$NAME$$."""

    def variable(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise ProjectError(f"{place}: the environment has no variable {found[1]}")
        return os.environ[found[1]]

    return re.sub(r"\$\$([^$]+[^$])\$\$", variable, value)
