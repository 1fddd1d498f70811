"""The clients in a project's README: run as they stand there, beside a real service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import Project, build_and_save, encode, noise

NODE = shutil.which("node")
PYTHON_CALL = "\nimport sys, json\nprint(json.dumps(predict(open(sys.argv[1], 'rb').read())))\n"
JS_CALL = (
    "\nimport { readFileSync } from 'node:fs';\nconsole.log(JSON.stringify("
    "await predict(readFileSync(process.argv[2]), { key: process.env.KEY ?? '' })));\n"
)
LANGUAGES = [
    "python",
    pytest.param("js", marks=pytest.mark.skipif(NODE is None, reason="Node is not installed")),
]


def client(project: Path, language: str, url: str, folder: Path) -> list[str]:
    """Write a client of the README into a file, for another address; return what runs it."""
    readme = (project / "README.md").read_text("utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    code, count = re.subn(r"http://127\.0\.0\.1:8080/predictions/[\w-]+", url, code)
    assert count == 1
    file = folder / ("client.py" if language == "python" else "client.mjs")
    file.write_text(code + (PYTHON_CALL if language == "python" else JS_CALL), "utf-8")
    return [sys.executable if language == "python" else str(NODE), str(file)]


def called(words: list[str], file: Path, key: str = "") -> subprocess.CompletedProcess[str]:
    """Run a client for a file."""
    environment = {**os.environ, "KEY": key, "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [*words, str(file)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.serve
def test_clients_get_what_the_service_predicts(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(architecture="custom", num_classes=4, deploy=["asgi"])
    build_and_save(project)
    project.archive()
    image, bad = tmp_path / "image.png", tmp_path / "bad.png"
    image.write_bytes(encode(noise(0)))
    bad.write_bytes(b"no image")
    with project.serve("--engine", "asgi") as service:
        expected = service.post(image.read_bytes()).json
        for language in ["python", *(["js"] if NODE else [])]:
            words = client(project.path, language, service.url, tmp_path)
            result = called(words, image)
            assert result.returncode == 0, result.stderr
            assert json.loads(result.stdout) == expected
            refused = called(words, bad)
            assert refused.returncode and "400: {" in refused.stderr


class Busy(BaseHTTPRequestHandler):
    """Says that it is busy, drops a connection, and answers the third request with its key."""

    count = 0

    def do_POST(self) -> None:
        """Answer."""
        type(self).count += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.count == 2:
            self.close_connection = True
            return
        self.send_response(503 if self.count == 1 else 200)
        body = json.dumps({"key": self.headers["Authorization"]}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_clients_ask_again(
    copy_project: Callable[..., Project], tmp_path: Path, language: str
) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    handler = type("Once", (Busy,), {"count": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/predictions/x"
        file = tmp_path / "image.png"
        file.write_bytes(b"image")
        result = called(client(project.path, language, url, tmp_path), file, "secret")
        server.shutdown()
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"key": "Bearer secret"}
    assert handler.count == 3
