"""`ts-template torture`: what a project's service does under load and hostile input.

Every prediction is compared with that of the archive in a process of its own, without a server.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import math
import multiprocessing
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from generator import edge, hostile
from generator.errors import UserError
from generator.files import in_one_step
from generator.shared.ports import free_port
from generator.workers import model_address, ready_workers, workers_of

TOLERANCE = 1e-3  # of a number: batches of another size compute in another order
PIXELS = 0.01  # share of an image's pixels that may differ, for the same reason
HANG = 60  # seconds without a reply
SLOW = 20  # seconds to read one image in-process
STARTUP = 180  # seconds
HELD = 200  # connections that send nothing more, while the others are served
# The statuses for hostile input; what can be read after all gets a prediction.
REFUSALS = {400, 413, 415, 422}
ERROR = object()  # stands for {"error": ...}, whatever the text

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """One request and what must come back.

    Attributes:
        kind: For the report.
        body: The body; the whole request if `raw`.
        content_type: As the client declares it.
        raw: Whether it is no valid HTTP.
        expected: The prediction; a list has ERROR where an error must be. None for hostile ones.
    """

    kind: str
    body: bytes
    content_type: str
    raw: bool = False
    expected: Any = None


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        statuses: how often each status came, by kind of request; "end" is a connection that ended.
        wrong: predictions that were not right.
        lost: good requests without a reply.
        hung: requests without a reply for HANG seconds.
        unexpected: statuses that the service should not have given.
        forms: forms of HTTP that were sent, each of which has one outcome.
        held: connections that were held open meanwhile.
        deaths: workers that died.
        peak_mb: the most memory that a worker had, in MB; 0 where that cannot be told.
        seconds: on the clock.
        slowest: seconds that the slowest request took.
        distinct: images whose predictions differ.
        first: the first of each fault, for people.
    """

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    hung: int = 0
    unexpected: int = 0
    forms: int = 0
    held: int = 0
    deaths: int = 0
    peak_mb: int = 0
    seconds: float = 0
    slowest: float = 0
    distinct: int = 0
    first: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return sum(self.statuses.values())

    @property
    def failed(self) -> bool:
        """Tell whether anything was not as it must be."""
        return bool(self.wrong or self.lost or self.hung or self.unexpected or self.deaths)


def torture(
    project: Path,
    requests: int = 2000,
    hostile_requests: int = 200,
    clients: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    engine: str = "",
) -> Outcome:
    """Start a project's server, drive it, and check each reply.

    Args:
        project: The project's folder, with an archive.
        requests: How many requests in all.
        hostile_requests: How many of them are hostile.
        clients: How many send at once.
        seed: Decides what is sent, and in which order.
        progress: Called with (done, of how many).
        engine: What serves it, as serve.py names it; empty is TorchServe.

    Raises:
        UserError: The project has no archive, or its service does not start.
    """
    if not (project / "serve.py").is_file():
        raise UserError(f"{project} is no project of this template: it has no serve.py")
    outcome = Outcome()
    files, predictions = distinct_predictions(project, seed)
    outcome.distinct = len(files)
    with serving(project, *(["--engine", engine] if engine else [])) as (url, management, _):
        path = urlsplit(url).path
        watch = Watch(model_address(url, management))
        plan = planned(files, predictions, requests, hostile_requests, seed, path)
        start = time.perf_counter()
        if hostile_requests:
            send_misread_forms(url, files[0], engine or edge.TORCHSERVE, outcome)
            outcome.held = HELD
        with edge.held_connections(url, outcome.held) as refused:
            if refused:
                outcome.unexpected += 1
                outcome.first.setdefault(
                    "unexpected", f"{refused} of {HELD} idle connections ended"
                )
            drive(url, plan, requests, clients, outcome, progress)
        outcome.seconds = time.perf_counter() - start
        outcome.deaths, outcome.peak_mb = watch.stop()
        # After all that, the service must predict as if nothing had happened.
        again = [
            Request("good: afterwards", data, hostile.BINARY, expected=prediction)
            for data, prediction in zip(files, predictions, strict=True)
        ]
        drive(url, iter(again), len(again), 1, outcome, None)
    return outcome


# ------------------------------------------------------------------------------------ what is sent


def distinct_predictions(
    project: Path, seed: int, count: int = 60
) -> tuple[list[bytes], list[Any]]:
    """Return images whose predictions differ, and those predictions from predict.py."""
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        paths = []
        for number in range(3 * count):
            paths.append(Path(folder, f"{number:04}"))
            paths[-1].write_bytes(hostile.good_file(1000 * seed + number))
        result = subprocess.run(
            [sys.executable, "predict.py", "--json", *map(str, paths)],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise UserError(f"{project}: predict.py failed:\n{result.stderr.strip()}")
        files: list[bytes] = []
        predictions: list[Any] = []
        for path, prediction in zip(paths, json.loads(result.stdout), strict=True):
            if not any(alike(prediction, other, 10 * TOLERANCE) for other in predictions):
                files.append(path.read_bytes())
                predictions.append(prediction)
    return files[:count], predictions[:count]


def alike(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Tell whether two predictions, decoded from JSON, are the same but for rounding.

    Rounding may change the order of entries with a score each. An entry that only one of them has
    must have no higher score than the last of the other.
    """
    scores, other_scores = scores_by_name(one), scores_by_name(other)
    if scores and other_scores:
        last, other_last = min(scores.values()), min(other_scores.values())
        return len(scores) == len(other_scores) and all(
            abs(scores.get(name, last) - other_scores.get(name, other_last)) <= tolerance
            for name in scores.keys() | other_scores.keys()
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            alike(x, y, tolerance) for x, y in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            alike(one[key], other[key], tolerance) for key in one
        )
    return bool(one == other) or same_pixels(one, other)


def scores_by_name(prediction: Any) -> dict[str, float]:
    """Return the only number of each named entry, by the rest of the entry; {} if it has no such.

    Such are {"cat": 0.93, ...}, and [{"label": "cat", "index": 0, "probability": 0.93}, ...].
    """
    if isinstance(prediction, dict) and all(isinstance(x, float) for x in prediction.values()):
        return prediction
    if not isinstance(prediction, list):
        return {}
    scores: dict[str, float] = {}
    for entry in prediction:
        if not isinstance(entry, dict):
            return {}
        numbers = [value for value in entry.values() if isinstance(value, float)]
        names = {key: value for key, value in entry.items() if isinstance(value, str | int)}
        if len(numbers) != 1 or len(names) != len(entry) - 1:
            return {}
        scores[json.dumps(names, sort_keys=True)] = numbers[0]
    return scores if len(scores) == len(prediction) else {}


def same_pixels(one: Any, other: Any) -> bool:
    """Tell whether two texts are the base64 of images that are the same in nearly all pixels."""
    import numpy as np
    from PIL import Image

    try:
        pixels, other_pixels = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(text, validate=True))))
            for text in (one, other)
        )
    except (OSError, TypeError, ValueError):
        return False
    return pixels.shape == other_pixels.shape and (pixels != other_pixels).mean() <= PIXELS


def planned(
    files: list[bytes], predictions: list[Any], total: int, bad: int, seed: int, path: str
) -> Iterator[Request]:
    """Yield the requests of a run, hostile ones among good ones in random order."""
    rng = random.Random(seed)
    hostile_requests = hostile.requests(seed, path)
    for left in range(total, 0, -1):
        if rng.random() < bad / left:
            bad -= 1
            request = next(hostile_requests)
            yield Request(request.kind, request.body, request.content_type, request.raw)
        else:
            yield good_request(files, predictions, rng)


def good_request(files: list[bytes], predictions: list[Any], rng: random.Random) -> Request:
    """Return a request that must get a prediction, in any of the ways to send images."""
    number = rng.randrange(len(files))
    data, prediction = files[number], predictions[number]
    match rng.randrange(10):
        case 0:
            text = hostile.text_of(data).encode()
            return Request("good: base64", text, "text/plain", expected=prediction)
        case 1:
            body = json.dumps({"data": hostile.text_of(data)}).encode()
            return Request("good: JSON", body, hostile.JSON, expected=prediction)
        case 2:
            body = hostile.form(("data", data))
            return Request("good: form", body, hostile.FORM, expected=prediction)
        case 3:
            picked = [rng.randrange(len(files)) for _ in range(rng.randint(1, 5))]
            instances = [{"data": hostile.text_of(files[index])} for index in picked]
            expected = [predictions[index] for index in picked]
            at = rng.randrange(len(picked) + 1)
            instances.insert(at, {"data": hostile.text_of(b"\x89PNG is all there is")})
            expected.insert(at, ERROR)
            body = json.dumps({"instances": instances}).encode()
            return Request("good: instances", body, hostile.JSON, expected=expected)
    return Request("good: file", data, hostile.BINARY, expected=prediction)


# -------------------------------------------------------------------------------------- the server


@contextlib.contextmanager
def serving(project: Path, *arguments: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """Run a project's serve.py on free ports.

    Yields:
        The model's URL, the management address, and the process.

    Raises:
        UserError: It ends before it is ready.
    """
    ports = [str(free_port()) for _ in range(3)]
    command = [sys.executable, "serve.py", "--timeout", str(STARTUP), "--port", ports[0]]
    command += ["--management-port", ports[1], "--metrics-port", ports[2], *arguments]
    process = subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if found := re.search(r"curl -T \S+ (\S+)", line):
                break
        else:
            raise UserError(f"{project}: serve.py ended with {process.wait()}:\n{printed.strip()}")
        yield found[1], f"http://127.0.0.1:{ports[1]}", process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()


class Watch:
    """Counts a model's workers that die, and looks at their memory."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._seen: set[int] = set()
        self._peaks: dict[int, int] = {}
        self._done = threading.Event()
        self._first = {worker["pid"] for worker in ready_workers(model, STARTUP)}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(1):
            with contextlib.suppress(OSError, ValueError, LookupError):
                self._look()

    def _look(self) -> None:
        for worker in workers_of(self._model):
            self._seen.add(worker["pid"])
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{worker['pid']}/status").read_text()
                if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                    self._peaks[worker["pid"]] = int(peak[1]) // 1024

    def stop(self) -> tuple[int, int]:
        """Return how many workers died, and the most memory that one had, in MB."""
        self._done.set()
        self._thread.join()
        self._look()
        return len(self._seen - self._first), max(self._peaks.values(), default=0)


def drive(
    url: str,
    plan: Iterator[Request],
    total: int,
    clients: int,
    outcome: Outcome,
    progress: Progress | None,
) -> None:
    """Send the requests from several clients at once, and judge what comes back."""
    todo: queue.Queue[Request | None] = queue.Queue(maxsize=4 * clients)
    lock = threading.Lock()
    done = 0

    def work() -> None:
        nonlocal done
        client = Client(url)
        while (request := todo.get()) is not None:
            start = time.perf_counter()
            reply = client.send_raw(request.body) if request.raw else client.send(request)
            seconds = time.perf_counter() - start
            with lock:
                judge(request, reply, seconds, outcome)
                done += 1
                if progress:
                    progress(done, total)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for request in plan:
        todo.put(request)
    for _ in threads:
        todo.put(None)
    for thread in threads:
        thread.join()


def send_misread_forms(url: str, image: bytes, engine: str, outcome: Outcome) -> None:
    """Send all forms of HTTP that servers are known to misread, and judge what comes back."""
    forms = [form.in_engine(engine) for form in edge.forms(image, urlsplit(url).path)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda form: edge.settled(url, form), forms))
    outcome.forms = len(forms)
    for form, (statuses, ended) in zip(forms, found, strict=True):
        if (statuses, ended) != (form.statuses, form.ends):
            outcome.unexpected += 1
            right = f"{form.statuses}, ended: {form.ends}"
            text = f"{form.name}: {statuses}, ended: {ended}, where {right} is expected"
            outcome.first.setdefault("unexpected", text)


class Reply(NamedTuple):
    """What came back: `status` is "end" for a connection that ended, "hang" for nothing at all."""

    status: str
    body: bytes
    content_type: str = hostile.JSON


class Client:
    """One client with a connection that it keeps while the server does."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port, self._path = place.hostname or "", place.port or 80, place.path
        self._connection: http.client.HTTPConnection | None = None

    def send(self, request: Request) -> Reply:
        """Send a request and return the reply."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=HANG)
        try:
            headers = {"Content-Type": request.content_type}
            self._connection.request("POST", self._path, request.body, headers)
            response = self._connection.getresponse()
            content_type = response.getheader("Content-Type", "")
            reply = Reply(str(response.status), response.read(), content_type)
            if not response.will_close:
                return reply
        except TimeoutError:
            reply = Reply("hang", b"")
        except (OSError, http.client.HTTPException) as error:
            reply = Reply("end", repr(error).encode())
        self._connection.close()
        self._connection = None
        return reply

    def send_raw(self, data: bytes) -> Reply:
        """Send bytes on a connection of their own; return the first status, or how it ended."""
        head = b""
        try:
            with socket.create_connection((self._host, self._port), timeout=HANG) as connection:
                connection.sendall(data)
                # Of what is only begun, the server waits for the rest; so should nobody here.
                connection.shutdown(socket.SHUT_WR)
                while b"\r\n" not in head and (part := connection.recv(65536)):
                    head += part
        except TimeoutError:
            return Reply("hang", b"")
        except OSError:
            pass
        status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        return Reply(status[1].decode() if status else "end", b"")


def judge(request: Request, reply: Reply, seconds: float, outcome: Outcome) -> None:
    """Count a reply, and what is wrong with it."""
    status = reply.status
    outcome.statuses[request.kind, status] += 1
    outcome.slowest = max(outcome.slowest, seconds)
    fault = ""
    if status == "hang":
        fault = "hung"
    elif request.raw:
        fault = "unexpected" if status.startswith("5") else ""
    elif status == "end":
        fault = "lost"
    elif request.expected is not None:
        if status != "200":
            fault = "unexpected"
        elif not is_right(reply, request.expected):
            fault = "wrong"
    elif status == "200":
        fault = "" if is_readable(reply) else "wrong"
    elif int(status) in REFUSALS:
        fault = "" if is_readable(reply) else "unexpected"
    elif not (status == "500" and is_form_error(request.content_type, reply.body)):
        fault = "unexpected"
    if fault:
        setattr(outcome, fault, getattr(outcome, fault) + 1)
        outcome.first.setdefault(fault, f"{request.kind}: {status} {reply.body[:300]!r}")


def decoded(reply: Reply) -> Any:
    """Return the body of a reply as predict.py --json prints it.

    Raises:
        ValueError: It is no strict JSON, and declared to be.
    """
    if not reply.content_type.startswith(hostile.JSON):
        return base64.b64encode(reply.body).decode()
    return json.loads(reply.body, parse_constant=lambda name: float(f"no {name}"))


def is_readable(reply: Reply) -> bool:
    """Tell whether a body is what its content type declares."""
    try:
        decoded(reply)
    except ValueError:
        return False
    return True


def is_form_error(content_type: str, body: bytes) -> bool:
    """Tell whether TorchServe itself could not read a form; whatever the reason, it returns 500.

    "InternalServerException" is what it names the failure of a worker.
    """
    is_form = content_type.startswith(("multipart/", "application/x-www-form-urlencoded"))
    return is_form and b"Exception" in body and b"InternalServerException" not in body


def is_right(reply: Reply, expected: Any) -> bool:
    """Tell whether a prediction is the expected one."""
    if not is_readable(reply):
        return False
    found = decoded(reply)
    if not isinstance(expected, list) or ERROR not in expected:
        return alike(found, expected)
    return (
        isinstance(found, list)
        and len(found) == len(expected)
        and all(
            (isinstance(one, dict) and set(one) == {"error"})
            if other is ERROR
            else alike(one, other)
            for one, other in zip(found, expected, strict=True)
        )
    )


# ------------------------------------------------------------------------------------ the decoders


@dataclass
class Decoded:
    """What came of reading hostile input in-process.

    Attributes:
        results: how often each result came: "read", "refused with 400", ...
        failures: what else came out, with the number of the input.
        slowest: seconds that the slowest input took.
        seconds: on the clock.
    """

    results: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0
    seconds: float = 0


def decode(project: Path, count: int, seed: int = 0, progress: Progress | None = None) -> Decoded:
    """Read hostile input with the code of a project, in a process of its own.

    Whatever comes, each input must soon be read, or be refused with an ItemError.

    Args:
        project: The project's folder.
        count: How many inputs.
        seed: Decides which.
        progress: Called with (done, of how many).
    """
    context = multiprocessing.get_context("spawn")
    outcome = Decoded()
    begin = time.perf_counter()
    start = 0
    while start < count:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=decode_in_process, args=(project.resolve(), start, count, seed, sender)
        )
        process.start()
        sender.close()
        with contextlib.suppress(EOFError):
            while start < count:
                result, seconds = receiver.recv()
                outcome.results[result.partition(":")[0]] += 1
                outcome.slowest = max(outcome.slowest, seconds)
                if result.startswith("failed"):
                    outcome.failures.append(f"input {start} of seed {seed}: {result}")
                start += 1
                if progress and start % 100 == 0:
                    progress(start, count)
        process.join()
        if process.exitcode:  # it crashed on this one: go on with the next
            outcome.results["failed"] += 1
            outcome.failures.append(f"input {start} of seed {seed}: exit {process.exitcode}")
            start += 1
    outcome.seconds = time.perf_counter() - begin
    return outcome


def decode_in_process(project: Path, start: int, count: int, seed: int, sender: Any) -> None:
    """Send a result and how many seconds it took, for each input from `start` on."""
    import importlib
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Pillow has one for each kind of damage
    sys.path.insert(0, str(project))
    os.chdir(project)
    images = importlib.import_module("service.images")
    handler = importlib.import_module("service.handler").Handler()

    def too_slow(_signal: int, _frame: Any) -> None:
        raise SystemExit(f"slower than {SLOW} s")

    signal.signal(signal.SIGALRM, too_slow)
    inputs = (request for request in hostile.requests(seed) if not request.raw)
    for number, request in enumerate(inputs):
        if number == count:
            return
        if number < start:
            continue
        begin = time.perf_counter()
        signal.alarm(SLOW)
        try:
            result = "read"
            for item in handler.read_items(images.read_request({"body": request.body}).items):
                if isinstance(item, images.ItemError):
                    result = f"refused with {item.status}"
                    if item.status == 500:
                        result = f"failed: {request.kind}: {item}"
        except BaseException as error:
            result = f"failed: {request.kind}: {type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        sender.send((result, time.perf_counter() - begin))


# -------------------------------------------------------------------------------------- the report


def report(outcome: Outcome, command: str) -> str:
    """Return the figures of a run as Markdown."""
    good = sum(n for (kind, _), n in outcome.statuses.items() if kind.startswith("good"))
    summary = (
        f"`{command}`: {outcome.requests:,} requests in {outcome.seconds:.0f} s, of them "
        f"{outcome.requests - good:,} hostile; {outcome.distinct} images with predictions that "
        "differ."
    )
    lines = [
        summary,
        "",
        "| | |",
        "|---|---|",
        f"| wrong predictions | {outcome.wrong} |",
        f"| lost | {outcome.lost} |",
        f"| hung (no reply for {HANG} s) | {outcome.hung} |",
        f"| other statuses than expected | {outcome.unexpected} |",
        f"| workers that died | {outcome.deaths} |",
        f"| forms of HTTP that servers are known to misread, sent once each | {outcome.forms} |",
        f"| connections held open, with nothing or half a request | {outcome.held} |",
        f"| slowest request | {outcome.slowest:.1f} s |",
        f"| most memory of a worker | {outcome.peak_mb or '?'} MB |",
        "",
        "| request | statuses |",
        "|---|---|",
    ]
    for kind in sorted({kind for kind, _ in outcome.statuses}):
        counts = sorted((s, n) for (name, s), n in outcome.statuses.items() if name == kind)
        lines.append(f"| {kind} | {', '.join(f'{status}: {n:,}' for status, n in counts)} |")
    lines += ["", *(f"First {name}: `{text}`" for name, text in outcome.first.items())]
    return "\n".join(lines).rstrip() + "\n"


def decode_report(outcome: Decoded, command: str) -> str:
    """Return the figures of reading in-process as Markdown."""
    total = sum(outcome.results.values())
    seconds = f"{outcome.seconds:.0f} s, the slowest in {outcome.slowest:.1f} s"
    lines = [
        f"`{command}`: {total:,} inputs read in-process in {seconds}.",
        "",
        "| result | inputs |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(outcome.results.items())),
        "",
        *outcome.failures[:10],
    ]
    return "\n".join(lines).rstrip() + "\n"


def write(path: Path, text: str) -> None:
    """Write a file in one step."""
    with in_one_step(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
