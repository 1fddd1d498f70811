"""What `ts-template tune` found: a table, a file with all figures, and a plot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from generator.tuning import Candidate, Result

WIDTH, HEIGHT, MARGIN = 720, 440, 70  # pixels of the plot
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = {"exact": "#1b7837", "allowed": "#2166ac", "": "#777777"}


def table(result: Result, clients: Sequence[int]) -> str:
    """Return the figures of all candidates, for people."""
    heads = ["", "alone/s"]
    for count in clients:
        heads += [f"{count} cl./s", "p50 ms", "p99 ms"]
    heads += ["start s", "MB", "agreement", "difference"]
    rows = [heads, *(list(cells(one, clients)) for one in result.candidates)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += [
        "",
        "alone/s: predictions a second of all workers, estimated from one without a server.",
        *(["cl./s: those of TorchServe, for so many clients."] if clients else []),
    ]
    if all(result.words):
        agreement, difference = result.words
        lines.append(f"agreement: ... {agreement}; difference: ... {difference}.")
    lines += [""] * any(one.why_not for one in result.candidates)
    lines += [f"{one.title}: {one.why_not}" for one in result.candidates if one.why_not]
    return "\n".join([*lines, *result.notes])


def cells(one: Candidate, clients: Sequence[int]) -> Iterator[str]:
    """Yield the cells of a candidate's row."""
    yield one.title
    yield number(one.estimate if one.is_measured else None, ".0f")
    for count in clients:
        yield number(one.served(count, "per_second"), ".1f")
        yield number(one.served(count, "p50_ms"), ".1f")
        yield number(one.served(count, "p99_ms"), ".1f")
    yield number(one.start, ".1f")
    yield number(one.memory_mb, ".0f")
    yield number(one.agreement, ".2%")
    yield number(one.difference, ".2g")


def number(value: float | None, form: str) -> str:
    """Return a figure; "" if there is none."""
    return "" if value is None else format(value, form)


def winners(result: Result) -> str:
    """Return which are the fastest, for people."""
    plain = result.candidates[0]

    def line(one: Candidate) -> str:
        measured = one.loads and plain.loads
        most = max((row["clients"] for row in plain.loads[0]), default=1) if measured else 1
        mine, its = (
            (x.served(most, "per_second") if measured else x.estimate) or 0 for x in (one, plain)
        )
        ratio = f", {mine / its:.2f} times {plain.title}" if its and one is not plain else ""
        return f"{one.title}{ratio}"

    lines = [f"The fastest that predicts the same: {line(result.exact)}"]
    if result.allowed is not result.exact:
        agreement = number(result.allowed.agreement, ".2%")
        lines.append(
            f"The fastest that agrees enough: {line(result.allowed)}; agreement {agreement}"
        )
    return "\n".join([*lines, *workers(result), f"({result.seconds:.0f} s)"])


def workers(result: Result) -> Iterator[str]:
    """Yield what workers and batches gave with the fastest that was asked for, the best first."""
    if result.workers:
        many = result.workers[0]["clients"]
        yield f"\n{result.wanted.title}, with workers and batches:"
        yield f"workers  batchSize  requests/s, {many} clients  p50 ms, 1 client"
    for row in result.workers:
        yield (
            f"{row['workers']:7}  {row['batch']:9}  {row['per_second']:22.1f}  "
            f"{row['alone_p50_ms']:16.1f}"
        )


def write(folder: Path, result: Result, clients: Sequence[int]) -> None:
    """Write tuning.json with all figures, and tuning.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "answers": one.answers,
            "why_not": one.why_not,
            "alone_per_second": one.estimate if one.is_measured else None,
            "rates": one.rates,
            "start": one.start,
            "memory_mb": one.memory_mb,
            "agreement": one.agreement,
            "difference": one.difference,
            "loads": one.loads,
        }
        for one in result.candidates
    ]
    content = {
        "exact": result.exact.answers,
        "allowed": result.allowed.answers,
        "workers": result.workers,
        "measure": result.words,
        "notes": result.notes,
        "seconds": result.seconds,
        "candidates": rows,
    }
    written = json.dumps(content, ensure_ascii=False, indent=2)
    (folder / "tuning.json").write_text(f"{written}\n", encoding="utf-8")
    (folder / "tuning.svg").write_text(plot(result, clients), encoding="utf-8")


def plot(result: Result, clients: Sequence[int]) -> str:
    """Return a plot of speed against agreement, as SVG: a dot for each that was measured.

    The speed is that without a server, which all were measured at; the labels have the server's.
    """
    dots = [(one, one.agreement) for one in result.candidates if one.rates]
    found = sorted(
        ((one, agreement) for one, agreement in dots if agreement is not None),
        key=lambda dot: dot[0].estimate,
    )
    low = min([0.99, *(agreement for _, agreement in found)])
    low -= 0.1 * (1 - low)
    top = max((one.estimate for one, _ in found), default=1.0)
    right, bottom = WIDTH - MARGIN, HEIGHT - MARGIN

    def across(agreement: float) -> float:
        return MARGIN + (agreement - low) / (1 - low) * (right - MARGIN)

    def up(per_second: float) -> float:
        return bottom - per_second / top * (bottom - MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(MARGIN, MARGIN / 2, "predictions a second of all workers, without a server", "start"),
        text(WIDTH / 2, HEIGHT - 20, f"agreement: ... {result.words[0]}", "middle"),
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = up(share * top)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(text(MARGIN - 6, y + 4, f"{share * top:.0f}", "end"))
        value = low + share * (1 - low)
        parts.append(text(across(value), bottom + 18, f"{value:.2%}", "middle"))
    lowest = float(bottom)
    for one, agreement in found:
        kind = "exact" if one is result.exact else "allowed" if one is result.allowed else ""
        x, y = across(agreement), up(one.estimate)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[kind]}"/>')
        served = one.served(max(clients, default=0), "per_second")
        label = one.title if served is None else f"{one.title} ({served:.0f}/s in TorchServe)"
        lowest = min(y + 4, lowest - 14)  # labels do not lie on each other
        is_right = x > WIDTH / 2
        place = (x - 9, "end") if is_right else (x + 9, "start")
        parts.append(text(place[0], lowest, label, place[1], COLOURS[kind]))
    return "\n".join([*parts, "</svg>\n"])


def text(x: float, y: float, content: str, anchor: str, colour: str = "black") -> str:
    """Return a text of a plot."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(content)}</text>"
    )
