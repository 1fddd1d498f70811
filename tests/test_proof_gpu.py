"""The proof of what runs on a GPU: without one, its parts run on the CPU, as such projects do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from conftest import REPOSITORY


def proof(*words: str) -> dict[str, Any]:
    """Run the proof, and return what it prints."""
    command = [sys.executable, "tests/proof_gpu.py", "--short", "--limit", "1000", *words]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-3000:]
    report: dict[str, Any] = json.loads(result.stdout)
    return report


@pytest.mark.slow
@pytest.mark.serve
def test_what_a_gpu_decodes_is_answered_without_one_too() -> None:
    report = proof("--part", "decode")["decode"]
    assert {row["status"] for row in report["files"].values()} == {200, 400}
    assert "16" in report["load"]


@pytest.mark.exhaustive
@pytest.mark.serve
def test_all_parts_run_on_the_cpu() -> None:
    report = proof()
    rows = report["services"]
    assert rows["mobilenet_v3_small, eager, fp16"]["load"]
    assert "skipped" in rows["mobilenet_v3_small, aot_inductor, fp16"]
