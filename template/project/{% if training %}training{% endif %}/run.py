# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The folder of a run: what it was asked, how it went, and where it goes on after a stop."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import torch

matplotlib.use("svg")  # needs no screen

from matplotlib import pyplot

CONFIG = "config.json"
METRICS = "metrics.json"
LAST, BEST = "last.pt", "best.pt"
Row = dict[str, float]


class Run:
    """Reads and writes the files of a run, each in one step: none is ever half written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write what people read."""
        text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        self.write(name, text.encode())

    def read_config(self) -> dict[str, Any]:
        """Return what the run was asked."""
        content: dict[str, Any] = json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))
        return content

    def write_state(self, name: str, state: Mapping[str, Any]) -> None:
        """Write tensors, and plain data beside them."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.write(name, buffer.getvalue())

    def read_state(self, name: str) -> dict[str, Any] | None:
        """Return what `write_state` wrote; None if it never did."""
        path = self.folder / name
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def write_history(self, rows: list[Row], metric: str) -> None:
        """Write the metrics of each epoch, as a table and as curves."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write("metrics.csv", table.getvalue().encode())
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
        epochs = [row["epoch"] for row in rows]
        for name in [x for x in ("train_loss", "loss") if x in rows[0]]:
            left.plot(epochs, [row[name] for row in rows], marker=".", label=name)
        right.plot(epochs, [row[metric] for row in rows], marker=".", label=metric)
        for axes in (left, right):
            axes.set_xlabel("epoch")
            axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg")
        pyplot.close(figure)
        self.write("curves.svg", buffer.getvalue())

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside its place, and move it there."""
        temporary = self.folder / f".{name}"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / name)
