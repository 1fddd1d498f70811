"""Measures contenders in turns: each round starts every one of them anew."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from generator.bench import cases, limit, report
from generator.bench.bare import IMPORTABLE, Bare
from generator.bench.cases import Model
from generator.bench.contenders import (
    FIRST_PREDICTION,
    Contender,
    Launch,
    Limit,
    Ours,
    contender,
    cpu_seconds,
    image_sizes,
    memory_mb,
    running,
)
from generator.bench.load import is_right
from generator.errors import UserError
from generator.shared.load import Load
from generator.shared.ports import free_port
from generator.workers import ready_workers

POLL = 0.02  # seconds between two tries to get the first prediction
HOPELESS = (200, 400, 413, 415, 422)  # another try would end in the same
# Seconds of load before each measurement, not counted: Java compiles its own code meanwhile.
WARMUP = 2.0
# Of a load in turns with the bare limit: seconds of a turn, and half as long the limit is measured
# before and after; and what is not counted of all but the first. A machine that others use, too, is
# another one a minute later.
TURN, SETTLING = 2.0, 0.5

Log = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        cases: each model with the sizes of its images.
        contenders: names, as `contender` takes them.
        clients: how many send at once, in turns.
        rounds: how often everything is repeated.
        seconds: of each load.
        broken: which of the images that are sent is broken: every one of so many; 0 is none.
        output: the folder of the report.
        add: whether to add the rounds to those that are there.
        peers_python: the interpreter that has the other servers.
        data: further answers for our projects.
    """

    cases: Mapping[str, Sequence[str]]
    contenders: Sequence[str]
    clients: Sequence[int]
    rounds: int
    seconds: float
    broken: int
    output: Path
    add: bool
    peers_python: Path
    data: Mapping[str, Any]


def bench(settings: Settings, log: Log) -> dict[str, Any]:
    """Measure, writing the figures down after each contender.

    Args:
        settings: What to measure.
        log: Gets a line for what happens.

    Returns:
        The report, as report.json has it.

    Raises:
        UserError: None of the contenders can be measured, or the folder is taken.
    """
    output = settings.output
    result = report.read(output) if settings.add else None
    if result is None:
        if output.exists() and any(output.iterdir()):
            raise UserError(f"{output} exists; add rounds to it with --add, or name another folder")
        result = report.empty()
    output.mkdir(parents=True, exist_ok=True)
    work = output / "work"
    wanted = [contender(name, settings.peers_python, settings.data) for name in settings.contenders]
    models = {}
    ready: dict[str, list[tuple[Contender, Path]]] = {}
    for name, sizes in settings.cases.items():
        log(f"{name}: weights, images and right predictions")
        models[name] = cases.open_model(name, sizes, work / "models" / name)
        ready[name] = list(prepared(wanted, models[name], work, result, log))
    if not any(ready.values()):
        raise UserError("there is nothing to measure")
    rng = random.Random(len(result["rounds"]))
    for number in range(settings.rounds):
        rows: list[dict[str, Any]] = []
        result["rounds"].append(rows)
        for name, model in models.items():
            for one, folder in rng.sample(ready[name], len(ready[name])):
                log(f"round {number + 1} of {settings.rounds}, {name}: {one.title}")
                row = {"model": name, "contender": one.name}
                try:
                    limit_of = next((at for x, at in ready[name] if is_limit_of(x, one)), None)
                    row |= measure(one, model, folder, settings, limit_of)
                except UserError as error:
                    log(f"   failed: {error}")
                    row["failed"] = str(error)
                rows.append(row)
                report.write_json(output, result)
                for line in report.lines(row):
                    log(f"   {line}")
    return result


def prepared(
    wanted: Sequence[Contender], model: Model, work: Path, result: dict[str, Any], log: Log
) -> Iterator[tuple[Contender, Path]]:
    """Prepare each contender for a model; yield those that can be measured, and their folders."""
    for one in wanted:
        whose = one.of if isinstance(one, Limit) else one
        folder = work / "contenders" / model.name / whose.name
        if not folder.exists():
            log(f"{model.name}: preparing {whose.title}")
            try:
                folder.mkdir(parents=True)
                whose.prepare(model, folder)
            except BaseException as error:
                shutil.rmtree(folder, ignore_errors=True)
                if not isinstance(error, UserError):
                    raise
                log(f"{model.name}: {one.title} is left out: {error}")
                result["left_out"][f"{model.name}, {one.title}"] = str(error)
                continue
        result["titles"][one.name] = one.title
        if whose.note:
            result["notes"][f"{model.name}, {one.title}"] = whose.note
        if isinstance(one, Ours) and not one.is_exact and one.name not in result["approximate"]:
            result["approximate"].append(one.name)
        yield one, folder


def is_limit_of(limit: Contender, one: Contender) -> bool:
    """Tell whether a contender is the bare limit of what another serves."""
    is_ours = isinstance(one, Ours) and isinstance(limit, Limit)
    return is_ours and limit.name.split("-")[1:] == one.name.split("-")[1:]


def measure(
    one: Contender, model: Model, folder: Path, settings: Settings, limit_of: Path | None
) -> dict[str, Any]:
    """Start a contender, put load on it, and stop it.

    Args:
        one: The contender.
        model: What it serves.
        folder: What it was prepared in.
        settings: What to measure.
        limit_of: The project whose code, with no server, is measured in turns with the load.

    Returns:
        start (seconds to the first right prediction), memory_mb, and loads, a list with the figures
        of `generator.bench.load.drive` for each size and number of clients, besides cpu_ms, the CPU
        time that the servers took for a request, and other_cpu, the share of the machine's CPU
        time that neither they nor the load took; and of_limit, the share of the bare limit, if that
        is measured: the median of all turns, each compared with the limit before and after it. For
        a limit, loads has images a second by phase.

    Raises:
        UserError: It does not start, or gives no right prediction.
    """
    if isinstance(one, Limit):
        return {
            "loads": [
                {"image": size, **limits(model, size, folder, settings.seconds)}
                for size in image_sizes(model)
            ]
        }
    launch = one.launch(model, folder, [free_port() for _ in range(5)])
    sizes = image_sizes(model)
    begin = time.perf_counter()
    with running(launch, folder / "server.log") as process:
        first_prediction(launch, model, sizes[0], process)
        start = time.perf_counter() - begin
        if launch.management:
            ready_workers(launch.management, FIRST_PREDICTION - start)
        loads = []
        for size in sizes:
            with Bare(model, size, limit_of) if limit_of else contextlib.nullcontext() as bare:
                loads += [
                    load(launch, model, size, clients, settings, process.pid, bare)
                    for clients in settings.clients
                ]
        return {"start": start, "memory_mb": memory_mb(process.pid), "loads": loads}


def first_prediction(
    launch: Launch, model: Model, size: str, process: subprocess.Popen[bytes]
) -> None:
    """Return as soon as the server has given a right prediction."""
    from generator.bench.load import form

    place = urlsplit(launch.url)
    body, expected = model.images[size][0].read_bytes(), model.expected[size][0]
    if launch.content_type.startswith("multipart/"):
        body = form(body)
    end = time.monotonic() + FIRST_PREDICTION
    got = "nothing"
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            headers = {"Content-Type": launch.content_type}
            connection.request("POST", place.path or "/", body, headers)
            reply = connection.getresponse()
            text = reply.read()
            if is_right(reply.status, text, expected, model.kind):
                return
            got = f"{reply.status} {text[:200]!r}, where {str(expected)[:200]} is right"
            if reply.status in HOPELESS:
                break
        time.sleep(POLL)
    end_of_log = (launch.folder / "server.log").read_text(errors="replace")[-2000:]
    raise UserError(f"no right prediction but {got}; its log ends with:\n{end_of_log}")


def load(
    launch: Launch,
    model: Model,
    size: str,
    clients: int,
    settings: Settings,
    pid: int,
    bare: Bare | None,
) -> dict[str, Any]:
    """Put a load on a server that runs, in turns with the bare limit if that is measured."""
    phase = bare.fastest(TURN / 2) if bare else ""
    count = max(1, round(settings.seconds / TURN)) if bare else 1
    turns: list[dict[str, Any]] = []
    before = bare.rate(phase, TURN / 2) if bare else 0.0
    for number in range(count):
        seconds, warmup = settings.seconds / count, SETTLING if number else WARMUP
        turn = one_load(launch, model, size, clients, settings, pid, seconds, warmup)
        turns.append(turn)
        if bare is not None:
            after = bare.rate(phase, TURN / 2)
            turn["limit"] = (before + after) / 2
            before = after
    latencies = itertools.chain.from_iterable(turn.pop("latencies") for turn in turns)
    whole = Load(settings.seconds, list(latencies))
    requests = sum(turn["served"] for turn in turns)
    figures = {
        "image": size,
        "clients": clients,
        "per_second": whole.per_second,
        "p50_ms": 1000 * whole.percentile(50) if whole.latencies else None,
        "p99_ms": 1000 * whole.percentile(99) if whole.latencies else None,
        "requests": sum(turn["requests"] for turn in turns),
        "wrong": sum(turn["wrong"] for turn in turns),
        "lost": sum(turn["lost"] for turn in turns),
        "first_error": next((x["first_error"] for x in turns if x["first_error"]), ""),
        "load_cpu": statistics.fmean(turn["load_cpu"] for turn in turns),
        "cpu_ms": 1000 * sum(x["taken"] for x in turns) / requests if requests else None,
        "other_cpu": statistics.fmean(turn["other_cpu"] for turn in turns),
    }
    if bare is not None:
        figures["of_limit"] = statistics.median(x["per_second"] / x["limit"] for x in turns)
    return figures


def one_load(
    launch: Launch,
    model: Model,
    size: str,
    clients: int,
    settings: Settings,
    pid: int,
    seconds: float,
    warmup: float,
) -> dict[str, Any]:
    """Put a load on a server once, from a process of its own.

    Returns:
        The figures of `generator.bench.load.drive`; served, how many replies came with those that
        are not counted; taken, the CPU seconds of the servers; and other_cpu, as in `measure`.

    Raises:
        UserError: The load has failed.
    """
    import psutil

    images, expected = model.images[size], model.expected[size]
    if settings.broken:
        images, expected = with_a_broken_one(images, expected, settings.broken, model.folder)
    job = {
        "url": launch.url,
        "content_type": launch.content_type,
        "images": [str(path) for path in images],
        "expected": expected,
        "kind": model.kind,
        "clients": clients,
        "seconds": seconds,
        "warmup": warmup,
    }
    cpu, machine, begin = cpu_seconds(pid), psutil.cpu_times(), time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "generator.bench.load"],
        input=json.dumps(job),
        env={**os.environ, **IMPORTABLE},
        capture_output=True,
        text=True,
        check=False,
    )
    taken, elapsed = cpu_seconds(pid) - cpu, time.perf_counter() - begin
    if result.returncode:
        raise UserError(f"{launch.url} under load: {result.stderr.strip().splitlines()[-1]}")
    figures = json.loads(result.stdout)
    idle = psutil.cpu_times().idle - machine.idle
    whole = elapsed * (os.cpu_count() or 1)
    others = whole - idle - taken - figures["load_cpu"] * elapsed
    return {
        **figures,
        "served": figures["per_second"] * (warmup + seconds),
        "taken": taken,
        "other_cpu": max(0.0, others / whole),
    }


def with_a_broken_one(
    images: Sequence[Path], expected: Sequence[Any], count: int, folder: Path
) -> tuple[list[Path], list[Any]]:
    """Return so many images to send in turns, one of which breaks off, and what is right."""
    broken = folder / "broken"
    content = images[0].read_bytes()
    broken.write_bytes(content[: len(content) // 4])
    turns = [(images[x % len(images)], expected[x % len(images)]) for x in range(count)]
    turns[count // 2] = broken, None
    return [path for path, _ in turns], [right for _, right in turns]


def limits(model: Model, size: str, folder: Path, seconds: float) -> dict[str, float]:
    """Return how many images a second all cores decode, put through the network, and both."""
    with Bare(model, size, folder) as bare:
        figures: dict[str, float] = {"wrong": bare.wrong}
        for phase in limit.PHASES:
            figures[phase] = bare.rate(phase, max(1, seconds / 2))
    for what in ("forward", "both"):
        figures[what] = max(figures[f"{what} {batch}"] for batch in limit.BATCHES)
    return figures
