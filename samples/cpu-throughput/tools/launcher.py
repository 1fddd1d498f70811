# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Runs TorchServe as long as its standard input is open; tools/torchserve.py starts it.

Anything written there before it ends asks for an orderly stop. When the program that holds the
other end ends, even by `kill -9`, the system closes it: so TorchServe never goes on alone.

    python -m tools.launcher FOLDER [option of torchserve ...]

FOLDER has the server's temporary files; it is removed in the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time

import psutil
from ts.model_server import start

PATIENCE = 60  # seconds for Java to end. It cuts off the requests that it has at once


def main() -> None:
    """Start TorchServe, and stop it when standard input ends."""
    folder = sys.argv.pop(1)
    start()
    for java in psutil.Process().children():
        family = [java]
        threading.Thread(target=exit_after, args=(java, family, folder), daemon=True).start()
        is_asked = bool(sys.stdin.buffer.read())
        family += java.children(recursive=True)
        if is_asked:
            java.terminate()
            time.sleep(PATIENCE)
        java.kill()  # at once, if nobody reads its log any more: it could wait for ever
        time.sleep(PATIENCE)


def exit_after(java: psutil.Process, family: list[psutil.Process], folder: str) -> None:
    """Wait until Java has ended; then end what is left, and this process."""
    java.wait()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(os, "killpg"):  # Windows has no process groups
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
