"""The whole proof of `ts-template inspect`: every network in every way to save it. Takes an hour.

    python tests/proof_inspect.py                    # all parts
    python tests/proof_inspect.py --part ONNX        # one of them
    python tests/proof_inspect.py --docs             # and write the counts into the docs

An outcome is right if architecture, classes, prefix, channels and head are; unknown if inspect says
that it does not know the architecture; wrong otherwise. The tests run a part of all this.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from generator import catalogue
from generator.inspection import inspect_file, signatures
from generator.inspection.matching import recognise
from generator.inspection.pickles import Tensor
from inspected import (
    ARCHS,
    CLASSES,
    CONTAINERS,
    HEADS,
    NETWORKS,
    SEGMENTERS,
    Wrapper,
    build,
    can_have,
    example,
    head_title,
    hollow,
    save_exported,
    save_onnx,
    save_safetensors,
    save_scripted,
    save_state,
    save_traced,
    trained,
)

DOCS = Path(__file__).resolve().parents[1] / "docs" / "inspection.md"
BEGIN, END = "<!-- proof: begin -->\n", "<!-- proof: end -->"
LARGE = 100e6  # parameters; greater networks are left out where a file holds real numbers

Outcomes = Iterator[tuple[str, str]]  # what was tried, and how it came out


def outcome(path: Path, name: str, prefix: str = "", channels: int = 3, head: str = "") -> str:
    """Inspect a file of a network of torchvision."""
    found = inspect_file(path)
    if found.architecture is None and not found.timm:
        return "unknown"
    facts = (found.architecture, found.classes, found.prefix, found.channels)
    is_right = facts == (name, CLASSES, prefix, channels) and head in ("", found.head)
    return "right" if is_right else f"wrong: {facts}, {found.head}"


def small(name: str) -> dict[str, Any]:
    """Return the arguments for a network that takes the smallest image."""
    arch = ARCHS[name]
    return {"image_size": arch.min_size} if arch.size_rule == "argument" else {}


def images(name: str) -> torch.Tensor:
    """Return the smallest images that the network takes."""
    options = small(name)
    if options:
        return torch.zeros(2, 3, options["image_size"], options["image_size"])
    return example(ARCHS[name])


def containers(folder: Path) -> Outcomes:
    """Try every head in every container, with colour and grey images in turns."""
    for number, (name, arch) in enumerate(ARCHS.items()):
        for turn, head in enumerate(HEADS):
            if not can_have(arch, head):
                continue
            channels = 3 if (number + turn) % 2 else 1
            network = build(name, head, channels)
            for title, container in CONTAINERS.items():
                container.save(network, folder / "x.pth")
                prefix = container.prefix + ("backbone." if head == "outside" else "")
                yield (
                    f"{name}, {head}, {channels} channels, {title}",
                    outcome(folder / "x.pth", name, prefix, channels, head_title(arch, head)),
                )


def safetensors(folder: Path) -> Outcomes:
    """Try safetensors, bare and wrapped."""
    for name, arch in ARCHS.items():
        if (arch.params or 0) > LARGE:
            continue
        save_safetensors(build(name), folder / "x.safetensors")
        yield name, outcome(folder / "x.safetensors", name)
        save_safetensors(Wrapper(build(name, "linear", 1)), folder / "x.safetensors")
        yield f"{name}, wrapped", outcome(folder / "x.safetensors", name, "backbone.", 1)


def traced(folder: Path) -> Outcomes:
    """Try TorchScript from torch.jit.trace."""
    for name, arch in ARCHS.items():
        for head in ("linear", "mlp"):
            if can_have(arch, head):
                network = build(name, head, **small(name))
                save_traced(network, folder / "x.pt", images(name))
                yield f"{name}, {head}", outcome(folder / "x.pt", name, head=head)


def scripted(folder: Path) -> Outcomes:
    """Try TorchScript from torch.jit.script."""
    for name, arch in ARCHS.items():
        for head in ("linear", "mlp"):
            if can_have(arch, head):
                save_scripted(build(name, head), folder / "x.pt")
                yield f"{name}, {head}", outcome(folder / "x.pt", name, head=head)


def exported(folder: Path) -> Outcomes:
    """Try torch.export."""
    for name, arch in ARCHS.items():
        if (arch.params or 0) <= LARGE:
            save_exported(build(name, **small(name)), folder / "x.pt2", images(name))
            yield name, outcome(folder / "x.pt2", name, head="linear")


def onnx(folder: Path) -> Outcomes:
    """Try ONNX."""
    yield from onnx_files(folder, dynamo=True)


def old_onnx(folder: Path) -> Outcomes:
    """Try ONNX as the exporter before torch 2.9 wrote it."""
    yield from onnx_files(folder, dynamo=False)


def onnx_files(folder: Path, dynamo: bool) -> Outcomes:
    """Try ONNX files of one exporter."""
    for name, arch in ARCHS.items():
        if (arch.params or 0) <= LARGE:
            options = {**arch.kwargs, **small(name)}
            network = trained(models.get_model(name, num_classes=CLASSES, **options))
            batch = images(name)[:1]
            if not dynamo and not small(name):  # it pools to no fraction of what is there
                batch = torch.zeros(1, 3, arch.input_size, arch.input_size)
            save_onnx(network, folder / "x.onnx", batch, dynamo=dynamo)
            yield name, outcome(folder / "x.onnx", name)
            (folder / "x.onnx.data").unlink(missing_ok=True)


def timm(folder: Path) -> Outcomes:
    """Try all of timm's networks: none is taken for one of torchvision's, unless they share."""
    for name, shapes, _, _ in signatures.timm_networks():
        matches = recognise({key: Tensor(shape, "float32") for key, shape in shapes.items()})
        if not matches:
            yield name, "unknown"
        elif len(matches) == 1 and name in matches[0].timm:
            yield name, "right"
        else:
            yield name, f"wrong: {matches[0].name} {matches[0].timm}"


def segmenters(folder: Path) -> Outcomes:
    """Try every segmenter in every container, with and without its auxiliary head."""
    for number, (name, arch) in enumerate(SEGMENTERS.items()):
        for turn, (title, container) in enumerate(CONTAINERS.items()):
            channels = 3 if (number + turn) % 2 else 1
            for options in ({}, {"aux_loss": True}) if arch.aux else ({},):
                network = catalogue.meta_model(name, CLASSES, **arch.kwargs, **options)
                first = eval(f"dict(out_channels={arch.first_conv_args})")  # the catalogue's own
                network.set_submodule(arch.first_conv, nn.Conv2d(channels, **first, device="meta"))
                container.save(hollow(network).eval(), folder / "x.pth")
                yield (
                    f"{name}, {channels} channels, {title}, {options}",
                    outcome(folder / "x.pth", name, container.prefix, channels, "linear"),
                )


def segmenter_graphs(folder: Path) -> Outcomes:
    """Try every segmenter with its graph: TorchScript, torch.export and both ONNX exporters."""
    batch = torch.zeros(2, 3, 64, 64)
    for name, arch in SEGMENTERS.items():
        network = hollow(catalogue.meta_model(name, CLASSES, **arch.kwargs)).eval()
        save_scripted(network, folder / "x.pt")
        yield f"{name}, scripted", outcome(folder / "x.pt", name)
        save_exported(network, folder / "x.pt2", batch)
        yield f"{name}, exported", outcome(folder / "x.pt2", name)
        real = trained(models.get_model(name, num_classes=CLASSES, **arch.kwargs))
        for dynamo in (True, False):
            save_onnx(real, folder / "x.onnx", batch, dynamo=dynamo)
            yield f"{name}, ONNX, dynamo={dynamo}", outcome(folder / "x.onnx", name)
            (folder / "x.onnx.data").unlink(missing_ok=True)


def others(folder: Path) -> Outcomes:
    """Try torchvision's networks that are no classifiers or segmenters: they must not be known.

    Those for quantization are, as the network that they were made from: it is the same in float.
    """
    options: dict[str, Any] = {"weights": None}
    for name in models.list_models():
        if name in NETWORKS:
            continue
        kind = models.get_model_builder(name).__module__.split(".")[2]
        if kind == "detection":
            options = {"weights": None, "weights_backbone": None}
        else:
            options = {"weights": None}
        try:
            with catalogue.on_meta(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network: nn.Module = models.get_model(name, **options)
        except NotImplementedError:  # it initialises what cannot be on the meta device
            network = models.get_model(name, **options)
        save_state(hollow(network), folder / "x.pth")
        found = inspect_file(folder / "x.pth").architecture
        expected = name.removeprefix("quantized_") if kind == "quantization" else None
        verdict = "right" if found else "unknown"
        yield name, verdict if found == expected else f"wrong: {found}"


PARTS: dict[str, Callable[[Path], Outcomes]] = {
    "torch.save: 9 containers, 8 heads, 3 or 1 channels": containers,
    "safetensors, bare and wrapped": safetensors,
    "TorchScript, traced": traced,
    "TorchScript, scripted": scripted,
    "torch.export": exported,
    "ONNX": onnx,
    "ONNX, dynamo=False": old_onnx,
    "timm's networks": timm,
    "segmenters: 9 containers, with and without auxiliary head": segmenters,
    "segmenters: TorchScript, torch.export, ONNX": segmenter_graphs,
    "torchvision's detection, video, flow, quantization": others,
}


def prove(title: str) -> Counter[str]:
    """Run a part; print what is not right, and the counts."""
    counts: Counter[str] = Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for what, verdict in PARTS[title](Path(folder)):
            counts[verdict.partition(":")[0]] += 1
            if verdict != "right":
                print(f"  {what}: {verdict}", flush=True)
            if counts.total() % 100 == 0:
                print(f"  {what}: {dict(counts)}", flush=True)
                gc.collect()  # networks hold themselves
    print(f"{title}: {dict(counts)} in {time.monotonic() - start:.0f} s", flush=True)
    return counts


def write_docs(title: str, counts: Counter[str]) -> None:
    """Put the counts of a part into the table of the docs."""
    text = DOCS.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = dict.fromkeys(PARTS, "")
    for line in table.splitlines()[2:]:
        rows[line.strip("| ").partition(" | ")[0]] = line
    numbers = [str(counts[x]) for x in ("right", "unknown", "wrong")]
    rows[title] = f"| {title} | {counts.total()} | {' | '.join(numbers)} |"
    lines = ["| what | files | right | unknown | wrong |", "|---|---|---|---|---|"]
    lines += [rows[name] for name in PARTS if rows[name]]
    DOCS.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, "utf-8")


def main() -> int:
    """Run the parts that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--docs", action="store_true", help="write docs/inspection.md")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # timm's and torch's, of networks without weights
    torch.set_num_threads(1)
    wrong = 0
    for title in options.part or PARTS:
        counts = prove(title)
        wrong += counts["wrong"]
        if options.docs:
            write_docs(title, counts)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
