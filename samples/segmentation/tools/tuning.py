# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Finds out which settings are fastest on this machine; for tune.py and serve.py --tune."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cores import available_cores
from tools.load import send_load
from tools.project import ARCHIVE, MODEL_STORE, ROOT, ProjectError, uninterrupted
from tools.torchserve import serving

CONFIG = ROOT / "model-config.yaml"
CLIENTS = 16  # that send at once; the setting with the most requests a second is the best
NEAR = 0.97  # share of its requests that another may have, and be better by its latency alone
SECONDS = 3  # of load, for one client and for many


@dataclass(frozen=True)
class Setting:
    """Keys of model-config.yaml."""

    workers: int
    batch: int

    def values(self) -> dict[str, int]:
        """Return them as they are called there."""
        return {"batchSize": self.batch, "minWorkers": self.workers, "maxWorkers": self.workers}


@dataclass(frozen=True)
class Result:
    """What a setting gave: requests a second of many clients, seconds for a request of one."""

    setting: Setting
    per_second: float
    latency: float

    def figures(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {
            "workers": self.setting.workers,
            "batch": self.setting.batch,
            "clients": CLIENTS,
            "per_second": self.per_second,
            "alone_p50_ms": 1000 * self.latency,
        }


def settings() -> list[Setting]:
    """Return what to try."""
    cores = available_cores()
    workers = [cores // threads for threads in (1, 2, 4, 8) if cores % threads == 0]
    return [Setting(*pair) for pair in itertools.product(workers, (1, 8))]


def tune(
    images: Sequence[Path], timeout: float, seconds: float = SECONDS, *, as_json: bool = False
) -> None:
    """Try settings with images, print what each gave, and give the best to the service.

    Args:
        images: Files such as clients will send.
        timeout: Seconds until a server must be ready.
        seconds: Of load, for one client and for many.
        as_json: Whether to print JSON, at the end: the best first.

    Raises:
        ProjectError: The service refuses an image.
    """
    bodies = [path.read_bytes() for path in images]
    results = []
    if not as_json:
        print(f"workers  batchSize  requests/s, {CLIENTS} clients  p50 ms, 1 client", flush=True)
    for setting in settings():
        with tempfile.TemporaryDirectory(prefix="tune-") as folder:
            write_archive(Path(folder, ARCHIVE.name), new_config(setting))
            with serving(Path(folder), timeout) as url:
                many = asyncio.run(send_load(url, bodies, CLIENTS, seconds))
                one = asyncio.run(send_load(url, bodies, 1, seconds))
        refused = [body for _, status, body in many.replies | one.replies if status != 200]
        if refused or not (many.latencies and one.latencies):
            reply = refused[0].decode(errors="replace") if refused else "no reply in time"
            raise ProjectError(f"an image of {', '.join(map(str, images))} gets: {reply}")
        results.append(Result(setting, many.per_second, one.percentile(50)))
        if not as_json:
            print(
                f"{setting.workers:7}  {setting.batch:9}  {many.per_second:22.1f}  "
                f"{1000 * one.percentile(50):16.1f}",
                flush=True,
            )
    enough = NEAR * max(result.per_second for result in results)
    best = min((x for x in results if x.per_second >= enough), key=lambda x: x.latency)
    given = give(best.setting)
    if as_json:
        results.sort(key=lambda x: x is not best)
        print(json.dumps([x.figures() for x in results], indent=2))
    else:
        print(f"\n{given}")


def give(setting: Setting) -> str:
    """Write a setting into model-config.yaml and the archive; return what they have, for people."""
    text = new_config(setting)
    with uninterrupted(), tempfile.TemporaryDirectory(prefix=".tuning-", dir=MODEL_STORE) as folder:
        built = Path(folder, ARCHIVE.name)
        write_archive(built, text)
        os.replace(built, ARCHIVE)
        (built.parent / CONFIG.name).write_text(text, encoding="utf-8")
        os.replace(built.parent / CONFIG.name, CONFIG)
    values = ", ".join(f"{key}: {value}" for key, value in setting.values().items())
    return f"{CONFIG.name} and {ARCHIVE.name} now have {values}"


def new_config(setting: Setting) -> str:
    """Return the text of model-config.yaml with other values, its comments kept."""
    text = CONFIG.read_text(encoding="utf-8")
    for key, value in setting.values().items():
        line = f"{key}: {value}"
        text, count = re.subn(rf"^(# ?)?{key}:.*", line, text, count=1, flags=re.MULTILINE)
        text += "" if count else f"{line}\n"
    return text


def write_archive(target: Path, config: str) -> None:
    """Write a copy of the archive with another model-config.yaml."""
    with zipfile.ZipFile(ARCHIVE) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            content = config.encode() if member.filename == CONFIG.name else old.read(member)
            new.writestr(member, content)
