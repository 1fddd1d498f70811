"""The report of `ts-template bench`: ratios with their spread, as JSON, Markdown and a plot."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.bench.contenders import AS_IT_COMES, ONE_THREAD, OWN_HANDLER
from generator.errors import UserError
from generator.files import in_one_step
from generator.rendering import installing

JSON_NAME, MARKDOWN_NAME, PLOT_NAME = "report.json", "report.md", "report"
METRICS = {"per_second": "requests a second", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}
PACKAGES = (
    *("torch", "torchvision", "torchserve", "pillow", "numpy", "onnxruntime", "openvino", "captum"),
    *("litserve", "ray", "bentoml"),
)

BUSY = 0.1  # of the machine's CPU time, for other programs
MEDIANS = (
    "Medians of {} rounds, in each of which every contender was started anew, in another order. "
    "Ratios are of figures of the same round; in brackets, the least and the most."
)

Case = tuple[str, str]  # a model and the size of its images


@dataclass(frozen=True)
class Target:
    """What a project of this template should reach against others.

    Attributes:
        title: for people.
        against: the other contender; "limit" is that of the same backend.
        metric: a key of METRICS, or start.
        clients: at how many.
        bounds: for each case. Of a rate the least ratio, of a time the most.
        approximate: whether of the projects whose predictions are approximate.
    """

    title: str
    against: str
    metric: str
    clients: tuple[int, ...]
    bounds: dict[Case, float]
    approximate: bool = False


TARGET_CASES: tuple[Case, ...] = (
    ("resnet18", "640x480"),
    ("mobilenet_v3_small", "1920x1080"),
    ("digits", "28x28"),
)


def bounds(*values: float) -> dict[Case, float]:
    """Return the bounds for the first of TARGET_CASES."""
    return dict(zip(TARGET_CASES, values, strict=False))


FAIR = f"{OWN_HANDLER}, one thread a worker"
TARGETS = (
    Target(f"{FAIR}: throughput", ONE_THREAD, "per_second", (4, 16), bounds(1.7, 3.5, 2.2)),
    Target(f"{FAIR}: p99", ONE_THREAD, "p99_ms", (4, 16), bounds(0.5, 0.3, 0.5)),
    Target(
        f"{FAIR}: throughput with `bf16` or `int8`",
        *(ONE_THREAD, "per_second", (4, 16), bounds(4, 4)),
        approximate=True,
    ),
    Target(
        f"{OWN_HANDLER} as it comes: throughput",
        *(AS_IT_COMES, "per_second", (16,), bounds(10, 20, 10)),
    ),
    Target(
        f"{OWN_HANDLER} as it comes: p50 of one client",
        *(AS_IT_COMES, "p50_ms", (1,), bounds(0.7, 0.35, 0.25)),
    ),
    Target("the bare limit: throughput", "limit", "per_second", (16,), bounds(0.9, 0.8)),
    Target("LitServe: throughput", "litserve", "per_second", (4, 16), bounds(1, 1, 1)),
    Target("Ray Serve: throughput", "ray", "per_second", (4, 16), bounds(1, 1, 1)),
    Target("BentoML: throughput", "bentoml", "per_second", (4, 16), bounds(1, 1, 1)),
    Target(
        f"{OWN_HANDLER} as it comes: start to first right prediction",
        *(AS_IT_COMES, "start", (0,), bounds(0.6, 0.6, 0.5)),
    ),
)


# ---------------------------------------------------------------------------------------- the file


def empty() -> dict[str, Any]:
    """Return a report without rounds."""
    return {
        "machine": machine(),
        "versions": versions(),
        "commands": [],
        "titles": {},
        "notes": {},
        "left_out": {},
        "approximate": [],
        "rounds": [],
    }


def machine() -> dict[str, Any]:
    """Return what there is to know of this machine."""
    import psutil

    name = platform.processor() or platform.machine()
    flags = ""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            name = value.strip() if key.strip() == "model name" else name
            flags = value if key.strip() == "flags" else flags
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "features": [flag for flag in wanted if flag in flags.split()],
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of what is installed here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read(folder: Path) -> dict[str, Any] | None:
    """Return the report of a folder; None if there is none.

    Raises:
        UserError: It is of another machine.
    """
    path = folder / JSON_NAME
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if result["machine"] != machine():
        raise UserError(f"{path} is of another machine; name another folder")
    return result


def write_json(folder: Path, result: dict[str, Any]) -> None:
    """Write the report as JSON."""
    write(folder / JSON_NAME, json.dumps(result, indent=1).encode() + b"\n")


def write(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    with in_one_step(path) as temporary:
        temporary.write_bytes(content)


# ------------------------------------------------------------------------------------- the figures


class Figures:
    """Looks figures up in a report."""

    def __init__(self, result: dict[str, Any]) -> None:
        self._rows = {
            (number, row["model"], row["contender"]): row
            for number, rows in enumerate(result["rounds"])
            for row in rows
        }
        self.rounds = len(result["rounds"])
        self.titles: dict[str, str] = result["titles"]
        self._approximate = result["approximate"]

    def cases(self) -> list[Case]:
        """Return the cases that were measured, in order."""
        return list(
            dict.fromkeys(
                (model, load["image"])
                for (_, model, _), row in self._rows.items()
                for load in row.get("loads", ())
            )
        )

    def clients(self) -> list[int]:
        """Return the numbers of clients."""
        loads = (load for row in self._rows.values() for load in row.get("loads", ()))
        return sorted({load["clients"] for load in loads if "clients" in load})

    def contenders(self, model: str, limits: bool = False) -> list[str]:
        """Return the servers that were measured with a model; or the limits."""
        found = {name for _, of, name in self._rows if of == model}
        return [name for name in self.titles if name in found and is_limit(name) == limits]

    def value(
        self, number: int, case: Case, name: str, metric: str, clients: int = 0
    ) -> float | None:
        """Return a figure of one round; None if there is none."""
        row = self._rows.get((number, case[0], name), {})
        if metric in row:
            return float(row[metric])
        for load in row.get("loads", ()):
            if load["image"] == case[1] and load.get("clients", clients) == clients:
                found = load.get(metric)
                return None if found is None else float(found)
        return None

    def values(self, case: Case, name: str, metric: str, clients: int = 0) -> list[float]:
        """Return a figure of all rounds that have it."""
        each = (self.value(n, case, name, metric, clients) for n in range(self.rounds))
        return [value for value in each if value is not None]

    def ratios(
        self, case: Case, name: str, against: str, metric: str, clients: int = 0
    ) -> list[float]:
        """Return the ratio of a figure to that of another contender, in each round that has both.

        Against a limit it is the share of what that decodes and puts through the network: in turns
        with the load, or before reports had that, in the same round.
        """
        found = []
        for number in range(self.rounds):
            share = self.value(number, case, name, "of_limit", clients)
            if is_limit(against) and share is not None:
                found.append(share)
                continue
            one = self.value(number, case, name, metric, clients)
            other_metric = "both" if is_limit(against) else metric
            two = self.value(number, case, against, other_metric, clients)
            if one is not None and two:
                found.append(one / two)
        return found

    def best(self, case: Case, approximate: bool) -> str | None:
        """Return which of our projects takes the most requests a second, at the most clients."""
        clients = max(self.clients(), default=0)
        rates = {
            name: statistics.median(values)
            for name in self.contenders(case[0])
            if name.split("-")[0] == "ours" and (name in self._approximate) == approximate
            if (values := self.values(case, name, "per_second", clients))
        }
        return max(rates, key=rates.__getitem__, default=None)

    def reference(self, case: Case) -> str:
        """Return whom the tables compare with."""
        names = self.contenders(case[0])
        return next((x for x in (ONE_THREAD, AS_IT_COMES) if x in names), next(iter(names), ""))


def is_limit(name: str) -> bool:
    """Tell whether a contender is no server."""
    return name.split("-")[0] == "limit"


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return the median, and the range if there are several."""
    if not values:
        return ""
    text = f"{number(statistics.median(values))}{unit}"
    if len(values) > 1:
        text += f" ({number(min(values))}–{number(max(values))})"
    return text


def number(value: float) -> str:
    """Return a figure with what digits it deserves."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# ---------------------------------------------------------------------------------------- the text


def lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield what came of one contender in one round, for the terminal."""
    if "start" in row:
        yield f"first right prediction after {row['start']:.1f} s, {row['memory_mb']:.0f} MB"
    for load in row.get("loads", ()):
        if "clients" not in load:
            rates = (f"{what} {number(load[what])}" for what in ("decode", "forward", "both"))
            yield f"{load['image']}: a second, {', '.join(rates)}"
        elif load["requests"]:
            yield (
                f"{load['image']}, {load['clients']} clients: {number(load['per_second'])} a "
                f"second, p50 {number(load['p50_ms'])} ms, p99 {number(load['p99_ms'])} ms, "
                + (f"{load['of_limit']:.0%} of the bare limit, " if "of_limit" in load else "")
                + f"{load['wrong']} wrong, {load['lost']} lost; CPU {number(load['cpu_ms'])} ms a "
                f"request, load {load['load_cpu']:.0%} of a core, others {load['other_cpu']:.0%}"
            )
        else:
            yield f"{load['image']}, {load['clients']} clients: no reply in time"


def markdown(result: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    figures = Figures(result)
    about = result["machine"]
    features = f" ({', '.join(about['features'])})" if about["features"] else ""
    loads = [load for rows in result["rounds"] for row in rows for load in row.get("loads", ())]
    served = [load for load in loads if "clients" in load]
    text = [
        *(f"`{command}`" for command in result["commands"]),
        "",
        f"{about['cpu']}, {about['cores']} cores{features}, {about['memory_gb']} GB; "
        f"{about['system']}; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + ".",
        "",
        MEDIANS.format(figures.rounds),
    ]
    if served:
        text[-1] += (
            f" Sending the load took {statistics.median(x['load_cpu'] for x in served):.0%} of a "
            f"core (at most {max(x['load_cpu'] for x in served):.0%}), other programs "
            f"{statistics.median(x['other_cpu'] for x in served):.0%} of the machine (at most "
            f"{max(x['other_cpu'] for x in served):.0%})."
        )
        if statistics.median(x["other_cpu"] for x in served) > BUSY:
            text[-1] += " **The machine was busy with other things: read the ratios with care.**"
    for case in figures.cases():
        text += ["", f"## {case[0]}, {case[1].replace('x', ' × ')}", *case_tables(figures, case)]
    if set(figures.cases()) & set(TARGET_CASES):
        text += ["", "## Targets", "", *target_table(figures)]
    for title, entries in (("Notes", result["notes"]), ("Left out", result["left_out"])):
        if entries:
            text += ["", f"## {title}", ""]
            text += [f"- {name}: {entry.splitlines()[0]}" for name, entry in entries.items()]
    return "\n".join(text) + "\n"


def case_tables(figures: Figures, case: Case) -> Iterator[str]:
    """Yield the tables of a case."""
    against, clients = figures.reference(case), figures.clients()
    names = figures.contenders(case[0])
    titles = [figures.titles[name] for name in names]
    columns = [f"{count} client{'s' * (count > 1)}" for count in clients]
    for metric, title in METRICS.items():
        yield from ("", f"| {title} | {' | '.join(columns)} |", "|---" * (len(clients) + 1) + "|")
        for name, shown in zip(names, titles, strict=True):
            cells = [cell(figures, case, name, against, metric, count) for count in clients]
            yield f"| {shown} | {' | '.join(cells)} |"
    shares = {
        shown: [spread(figures.values(case, name, "of_limit", count)) for count in clients]
        for name, shown in zip(names, titles, strict=True)
    }
    if any(map(any, shares.values())):
        yield from (
            "",
            f"| of the bare limit | {' | '.join(columns)} |",
            "|---" * (len(clients) + 1) + "|",
        )
        for shown, each in shares.items():
            if any(each):
                yield f"| {shown} | {' | '.join(each)} |"
    most = max(clients, default=0)
    yield from (
        "",
        "| | start, s | memory, MB | CPU ms a request | wrong | lost |",
        "|---" * 6 + "|",
    )
    for name, shown in zip(names, titles, strict=True):
        cells = [cell(figures, case, name, against, metric) for metric in ("start", "memory_mb")]
        cells.append(spread(figures.values(case, name, "cpu_ms", most)))
        for metric in ("wrong", "lost"):
            total = sum(sum(figures.values(case, name, metric, count)) for count in clients)
            cells.append(f"{total:.0f}")
        yield f"| {shown} | {' | '.join(cells)} |"
    if limits := figures.contenders(case[0], limits=True):
        yield from ("", "| all cores, no server | decode | forward | both |", "|---" * 4 + "|")
        for name in limits:
            cells = [
                spread(figures.values(case, name, what)) for what in ("decode", "forward", "both")
            ]
            yield f"| {figures.titles[name]}, images a second | {' | '.join(cells)} |"


def cell(
    figures: Figures, case: Case, name: str, against: str, metric: str, clients: int = 0
) -> str:
    """Return a figure, and its ratio to the reference."""
    values = figures.values(case, name, metric, clients)
    if not values:
        return "none"
    shown = number(statistics.median(values))
    if name == against:
        return spread(values)
    ratio = spread(figures.ratios(case, name, against, metric, clients), "×")
    return f"{shown}; {ratio}" if ratio else shown


def target_table(figures: Figures) -> Iterator[str]:
    """Yield what was aimed at beside what was reached."""
    measured = [case for case in TARGET_CASES if case in figures.cases()]
    heads = [f"{model} {size.replace('x', ' × ')}" for model, size in measured]
    yield f"| against | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for target in TARGETS:
        cells = [target_cell(figures, target, case) for case in measured]
        yield f"| {target.title} | {' | '.join(cells)} |"


def target_cell(figures: Figures, target: Target, case: Case) -> str:
    """Return what was reached of a target, by the best of our projects."""
    name = figures.best(case, target.approximate)
    bound = target.bounds.get(case)
    if name is None or bound is None:
        return ""
    against = target.against
    if against == "limit":
        against = "-".join(["limit", *name.split("-")[1:]])
    rate = target.metric == "per_second"
    parts = []
    for clients in target.clients:
        ratios = figures.ratios(case, name, against, target.metric, clients)
        if not ratios:
            continue
        median = statistics.median(ratios)
        reached = median >= bound if rate else median <= bound
        at = f" at {clients}" if len(target.clients) > 1 else ""
        parts.append(f"{spread(ratios, '×')}{at}{'' if reached else ' **missed**'}")
    if not parts:
        return ""
    return f"{'≥' if rate else '≤'} {bound:g}×: {', '.join(parts)} ({figures.titles[name]})"


# ---------------------------------------------------------------------------------------- the plot


def refuse_without_matplotlib() -> None:
    """Raise UserError if there can be no plot, before anything is measured."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            f"the plot needs matplotlib: {installing(['matplotlib'])}, or add --plot none"
        )


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the throughput of each contender against the reference, with its range."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures = Figures(result)
    cases, clients = figures.cases(), figures.clients()
    longest = max((len(figures.contenders(model)) for model, _ in cases), default=1)
    height = 1 + 0.28 * longest * len(clients)
    drawing, panels = pyplot.subplots(
        1, len(cases), figsize=(6.5 * len(cases), height), squeeze=False, layout="constrained"
    )
    for axes, case in zip(panels[0], cases, strict=True):
        against = figures.reference(case)
        names = figures.contenders(case[0])[::-1]
        for offset, count in enumerate(clients):
            places, medians, errors = [], [], []
            for place, name in enumerate(names):
                ratios = figures.ratios(case, name, against, "per_second", count)
                if ratios:
                    median = statistics.median(ratios)
                    places.append(place - 0.4 + 0.8 * (offset + 0.5) / len(clients))
                    medians.append(median)
                    errors.append((median - min(ratios), max(ratios) - median))
            axes.barh(
                places,
                medians,
                height=0.8 / len(clients),
                xerr=list(zip(*errors, strict=True)) or None,
                label=f"{count} client{'s' * (count > 1)}",
            )
        axes.set_yticks(range(len(names)), [figures.titles[x].replace("`", "") for x in names])
        axes.set_xscale("log")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xlabel(f"throughput against\n{figures.titles[against].replace('`', '')}")
        axes.set_title(f"{case[0]}, {case[1].replace('x', ' × ')}")
    panels[0][0].legend()
    try:
        with in_one_step(path) as temporary:
            drawing.savefig(temporary)
    finally:
        pyplot.close(drawing)


def finish(folder: Path, result: dict[str, Any], kind: str) -> str:
    """Write the report in all its forms, and return the Markdown."""
    text = markdown(result)
    write_json(folder, result)
    write(folder / MARKDOWN_NAME, text.encode())
    if kind != "none" and Figures(result).cases():
        plot(result, folder / f"{PLOT_NAME}.{kind}")
    return text


def command_line() -> str:
    """Return the command that was given."""
    import shlex

    return shlex.join(["ts-template", *sys.argv[1:]])
