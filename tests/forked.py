"""Runs Python programs in fresh processes that have imported torch already.

A program of a project takes seconds to import torch, and hardly one to do its work. These processes
are forked from one that has imported it, and has compiled what Copier renders; they differ in
nothing else from `python PROGRAM`.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Mapping
from functools import cache, partial
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

import pytest
from plumbum import local

TESTS = Path(__file__).resolve().parent
# A program brings its own generator, and the variables that huggingface_hub reads when imported.
OWN = {"generator", "huggingface_hub", "transformers"}
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torchvision",
        "ts.context",
        "ts.model_loader",
        "ts.service",
        "pytest",
        "copier",
        "typer",
        "warm",
    ]
)


@cache
def start() -> None:
    """Start the process that the others are forked from."""
    with pytest.MonkeyPatch.context() as patch:  # what it imports it finds by its environment alone
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))
        forkserver.ensure_running()


def run(
    words: list[str], cwd: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS...` in a folder, without a terminal, and return what it printed.

    Args:
        words: [script, ...], ["-m", module, ...] or ["-c", code].
        cwd: The folder.
        environment: All variables.
    """
    start()
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        arguments = (words, str(cwd), dict(environment), [*map(str, outputs)])
        process = CONTEXT.Process(target=run_here, args=arguments)
        process.start()
        process.join()
        # A program that starts another may end in the middle of its letter.
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in outputs]
    return subprocess.CompletedProcess(words, process.exitcode or 0, *texts)


def run_here(words: list[str], cwd: str, environment: dict[str, str], outputs: list[str]) -> None:
    """Become `python WORDS...`; never return."""
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    # As Python would have it: without the folders of these tests.
    INSTALLED[:] = [path for path in sys.path if Path(path).resolve() not in (TESTS, TESTS.parent)]
    # It computes nothing before that itself: threads of OpenMP would not be there after the fork.
    if words[:3] == ["-m", "generator.cli", "new"] and "--tune" not in words:
        subprocess.Popen = Forking  # type: ignore[misc]
    become(words, environment)


INSTALLED: list[str] = []
# What these read from their environment, start or measure is as a fresh process has it.
FRESH = {"serve.py", "benchmark.py", "tune.py", "demo.py", "train.py"}


class Forking(subprocess.Popen):  # type: ignore[type-arg]
    """Starts Python programs by a fork, too, for a program that was forked itself."""

    def __init__(self, args: Any, *more: Any, **options: Any) -> None:
        environment = options.get("env")
        environment = dict(os.environ if environment is None else environment)
        if (
            isinstance(args, list)
            and args[0] == sys.executable
            and (args[1] == "-c" or (args[1].endswith(".py") and args[1] not in FRESH))
            # Which torch reads when it is imported.
            and environment.get("OMP_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS")
        ):
            options["preexec_fn"] = partial(fork_here, [*map(str, args[1:])], environment)
        super().__init__(args, *more, **options)


def fork_here(words: list[str], environment: dict[str, str]) -> None:
    """Become `python WORDS...` in a process that was just forked from a program; never return."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # What the program was to do at its end is not this one's.
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    for name in list(sys.modules):
        if name.partition(".")[0] in OWN:
            del sys.modules[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    subprocess.Popen = Forking.__base__  # type: ignore[misc]
    become(words, environment)


def become(words: list[str], environment: dict[str, str]) -> None:
    """Run `python WORDS...` in this process, and end it."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # which the process before may have asked for, with another TMPDIR
    # By plumbum Copier runs git, with what both were at its import.
    local.env.clear()
    local.env.update(environment)
    local.cwd.chdir(Path.cwd())
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [str(Path.cwd()), *filter(None, paths), *INSTALLED]
    code = 0
    try:
        if words[0] == "-c":
            sys.argv = words[:1] + words[2:]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        elif words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
