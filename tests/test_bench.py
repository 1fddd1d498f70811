"""ts-template bench: what it measures, what it finds wrong, and what it reports."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, ts_template
from engines import one_worker
from generator.bench import contenders, load, report
from generator.bench.networks import classifier, detector
from generator.errors import UserError


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template bench`."""
    return ts_template("bench", *options)


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            "x.py:3: FutureWarning: soon\n  load(x)\nerror: 4 names for 10 classes\n",
            "4 names for 10",
        ),
        (
            "x: UserWarning: y\nTraceback (most recent call last):\n  x\nValueError: no\n",
            "ValueError",
        ),
        ("WARNING - jdk is old\nx.py:3: UserWarning: soon\n  load(x)\nno archive\n", "no archive"),
    ],
    ids=["error", "traceback", "text"],
)
def test_what_is_left_out_comes_with_its_error(printed: str, reason: str, tmp_path: Path) -> None:
    code = f"import sys; sys.stderr.write({printed!r}); sys.exit(1)"
    with pytest.raises(UserError) as error:
        contenders.run([sys.executable, "-c", code], tmp_path, {})
    assert str(error.value).startswith(reason)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a report, and what was printed."""
    folder = tmp_path_factory.mktemp("bench")
    output = folder / "report"
    options = ["--models", "digits", "--contenders", "ours,limit,litserve", "--clients", "1,3"]
    options += ["--seconds", "0.3", "--rounds", "1", "--plot", "none", "--output", "report"]
    result = ts_template("bench", *options, "--peers-python", "/bin/false", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return output, result.stdout


@pytest.mark.slow
@pytest.mark.serve
def test_a_project_is_measured(measured: tuple[Path, str]) -> None:
    output, printed = measured
    content = json.loads((output / "report.json").read_text())
    rows = {row["contender"]: row for row in content["rounds"][0]}
    assert rows.keys() == {"ours", "limit"}
    assert rows["ours"]["start"] > 0
    assert rows["ours"]["memory_mb"] > 100
    for figures in rows["ours"]["loads"]:
        assert figures["requests"] > 0
        assert figures["wrong"] == figures["lost"] == 0
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert 0 < figures["of_limit"] < 1.2
    assert "| of the bare limit | 1 client | 3 clients |" in printed
    assert rows["limit"]["loads"][0]["both"] > 0
    assert (output / "report.md").read_text().strip() == printed.strip()
    assert "| ours | " in printed
    assert "- digits, LitServe: /bin/false has no litserve" in printed
    again = bench("--models", "digits", "--plot", "none", "--output", str(output))
    assert again.returncode == 1
    assert "--add" in again.stderr


@pytest.mark.slow
@pytest.mark.serve
def test_a_project_measures_itself(measured: tuple[Path, str]) -> None:
    work = measured[0] / "work"
    project = Project(work / "contenders" / "digits" / "ours")
    images = [str(path) for path in (work / "models" / "digits" / "28x28").iterdir()]
    options = ["--clients", "1,2", "--seconds", "0.5"]
    one_worker(project.path)
    with project.serve() as service:
        options += ["--url", service.url]
        result = project.run("benchmark.py", *options, "--json", *images)
        assert result.returncode == 0, result.stderr
        rows = json.loads(result.stdout)
        assert [row["clients"] for row in rows] == [1, 2]
        for row in rows:
            assert row["per_second"] > 0
            assert 0 < row["p50_ms"] <= row["p99_ms"]
            assert row["errors"] == 0
        result = project.run("benchmark.py", *options, str(project.path / "serve.py"))
        assert result.returncode == 1
        assert "400" in result.stdout
    result = project.run("benchmark.py", "--clients", "2", "--seconds", "0.5", *images)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].split()[0] == "2"
    assert "expected http://" in project.run("benchmark.py", "--url", "ftp://x", "y.jpg").stderr


class Server(BaseHTTPRequestHandler):
    """Predicts class 3 for every image, unless the image is a status."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Respond."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"end":
            self.close_connection = True
            return
        prediction = b'{"3": 0.9, "1": 0.1}' if body == b"200" else b'{"error": "no"}'
        self.send_response(int(body))
        self.send_header("Content-Length", str(len(prediction)))
        self.end_headers()
        self.wfile.write(prediction)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of such a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/predict"
        running.shutdown()


def test_wrong_predictions_and_lost_requests_are_counted(server: str, tmp_path: Path) -> None:
    def drive(bodies: list[str], expected: list[str | None]) -> dict[str, Any]:
        paths = [tmp_path / str(number) for number in range(len(bodies))]
        for path, body in zip(paths, bodies, strict=True):
            path.write_text(body)
        job = {"url": server, "content_type": "image/jpeg", "images": [str(x) for x in paths]}
        job |= {"expected": expected, "kind": "classifier"}
        return load.drive(job | {"clients": 2, "seconds": 0.3, "warmup": 0})

    right = drive(["200"], ["3"])
    assert right["requests"] > 0
    assert right["wrong"] == right["lost"] == 0
    half = drive(["200", "200"], ["3", "1"])
    assert half["wrong"] == pytest.approx(half["requests"] / 2, abs=2)
    refused = drive(["500"], ["3"])
    assert refused["wrong"] == refused["requests"] > 0
    assert refused["first_error"].startswith("500 ")
    assert drive(["200", "end"], ["3", "3"])["lost"] > 0
    broken = drive(["200", "400", "200"], ["3", None, "3"])
    assert broken["requests"] > 0
    assert broken["wrong"] == broken["lost"] == 0
    assert drive(["200"], [None])["wrong"] > 0  # a broken image must not get a prediction


@pytest.mark.parametrize(
    "prediction",
    [
        [{"label": "cat", "index": 7, "probability": 0.9}, {"label": "dog", "index": 3}],
        {"label": "cat", "index": 7},
        {"1": 0.1, "7": 0.8, "3": 0.1},
        7,
    ],
)
def test_the_best_class_is_read_from_every_form_of_prediction(prediction: Any) -> None:
    assert classifier.best(prediction) == "7"


def test_objects_are_compared_by_class_and_box() -> None:
    expected = [{"7": [10.0, 10.0, 110.0, 60.0], "score": 0.9}]
    expected += [{"3": [5.0 * x, 80.0, 5.0 * x + 50, 99.0], "score": 0.6} for x in range(9)]
    assert detector.is_right([*reversed(expected)], expected)
    assert detector.is_right(expected[1:], expected)  # one of ten may lie at the threshold
    assert not detector.is_right(expected[2:], expected)
    other_class = [{"8": [10.0, 10.0, 110.0, 60.0], "score": 0.9}]
    moved = [{"7": [20.0, 10.0, 120.0, 60.0], "score": 0.9}]
    assert not detector.is_right(other_class, expected[:1])
    assert not detector.is_right(moved, expected[:1])
    assert detector.is_right([], [])


def test_ratios_are_of_figures_of_the_same_round(tmp_path: Path) -> None:
    result = report.empty()
    result["titles"] = {"handler-one-thread": "one thread", "ours": "ours"}
    result["commands"] = ["ts-template bench"]
    for slow, fast in ((10, 20), (100, 300), (1, 4)):
        rows = []
        for name, rate in (("ours", fast), ("handler-one-thread", slow)):
            figures = {"per_second": rate, "p50_ms": 1, "p99_ms": 1 / rate, "requests": 9}
            figures |= {"wrong": 0, "lost": 0, "cpu_ms": 1, "load_cpu": 0.1, "other_cpu": 0}
            loads = [{"image": "640x480", "clients": count, **figures} for count in (4, 16)]
            row = {"model": "resnet18", "contender": name, "start": 1, "memory_mb": 9}
            rows.append({**row, "loads": loads})
        result["rounds"].append(rows)
    text = report.finish(tmp_path, result, "svg")
    assert "| ours | 20.0; 3.00× (2.00–4.00) | " in text
    assert "≥ 1.7×: 3.00× (2.00–4.00) at 4, 3.00× (2.00–4.00) at 16 (ours)" in text
    assert "≤ 0.5×: 0.33× (0.25–0.50) at 4" in text
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.svg"}
    assert b"<svg" in (tmp_path / "report.svg").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "resnet9"], "resnet9 is none of resnet18"),
        (["--models", "digits", "--pictures", "640x480"], "is for digits"),
        (["--contenders", "theirs"], "there is no contender theirs"),
        (["--clients", "0"], "--clients is 0"),
        (["--broken", "1"], "--broken 0, 2 or more"),
        (["--plot", "gif"], "expected svg, png or none"),
    ],
)
def test_mistakes_on_the_command_line_are_named(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = bench("--plot", "none", "--output", str(tmp_path / "report"), *options)
    assert result.returncode == 1
    assert message in result.stderr
