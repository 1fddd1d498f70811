"""What `ts-template tune` found: a table, a file with all figures, and a plot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from generator.tuning import Candidate, Result

WIDTH, HEIGHT, MARGIN = 720, 440, 70  # pixels of the plot
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
        lines.append(f"agreement {agreement}; difference {difference}.")
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
    return "\n".join([*lines, f"({result.seconds:.0f} s)"])


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
        "measure": result.words,
        "notes": result.notes,
        "seconds": result.seconds,
        "candidates": rows,
    }
    text = json.dumps(content, ensure_ascii=False, indent=2)
    (folder / "tuning.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "tuning.svg").write_text(plot(result, clients), encoding="utf-8")


def plot(result: Result, clients: Sequence[int]) -> str:
    """Return a plot of speed against agreement, as SVG: a dot for each that was measured."""
    dots = [one for one in result.candidates if one.is_measured and one.agreement is not None]
    most = max(clients, default=0)
    speeds = [one.served(most, "per_second") or one.estimate for one in dots]
    agreements = [one.agreement or 0.0 for one in dots]
    low = min(*agreements, 0.99) if agreements else 0.0
    low -= 0.1 * (1 - low)
    top = 1.1 * max(speeds, default=1.0)

    def place(agreement: float, per_second: float) -> tuple[float, float]:
        right = MARGIN + (agreement - low) / (1 - low) * (WIDTH - 3 * MARGIN)
        return right, HEIGHT - MARGIN - per_second / top * (HEIGHT - 2 * MARGIN)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    left, bottom = place(low, 0)
    right = WIDTH - MARGIN
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = share * top / 1.1
        _, y = place(1, value)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.0f}</text>')
    for share in (0, 0.5, 1):
        value = low + share * (1 - low)
        x, _ = place(value, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{value:.2%}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 20}" text-anchor="middle">'
        f"agreement {escape(result.words[0])}</text>"
    )
    parts.append(
        f'<text x="{left}" y="{MARGIN / 2}">predictions a second, estimated without a server'
        f"{f', or (filled) of TorchServe for {most} clients' * bool(most)}</text>"
    )
    taken: list[float] = []  # heights of labels
    for one, agreement, per_second in sorted(
        zip(dots, agreements, speeds, strict=True), key=lambda x: x[2]
    ):
        x, y = place(agreement, per_second)
        kind = "exact" if one is result.exact else "allowed" if one is result.allowed else ""
        fill = COLOURS[kind] if one.loads else "white"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{COLOURS[kind]}"/>'
        )
        label = min([y + 4, *(other - 14 for other in taken[-1:])])  # none on another
        taken.append(label)
        parts.append(
            f'<text x="{x + 9:.1f}" y="{label:.1f}" fill="{COLOURS[kind]}">'
            f"{escape(one.title)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])
