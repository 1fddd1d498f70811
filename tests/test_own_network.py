"""A service/model.py that is the user's: whatever it holds, archive.py says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import torch

from conftest import Project

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.fc = nn.Linear(3, n)
    def forward(self, x):
        return self.fc(x.mean(dim=(2, 3)))
"""
BUILD = "def build_model(num_classes):\n    return "

# What service/model.py holds, and what archive.py says of it.
WRONG: dict[str, tuple[str, str]] = {
    "missing": (NETWORK, "model.py does not define build_model(num_classes)"),
    "no Python": ("class Net(:\n", "model.py, line 1: SyntaxError"),
    "a package that is not there": (
        f"\nimport no_such_package\n{BUILD}no_such_package.Net()\n",
        "model.py, line 2: ModuleNotFoundError: No module named 'no_such_package'; a package goes",
    ),
    "no parameter": (
        f"{NETWORK}\ndef build_model():\n    return Net(4)\n",
        "build_model(4) in service/model.py fails: TypeError: build_model() takes 0 positional",
    ),
    "it raises": (f"{NETWORK}\n{BUILD}Net(num_classes, 3)\n", "model.py, line 13: TypeError: "),
    "None": (f"{BUILD}None\n", "service/model.py returns None; expected a torch.nn.Module"),
    "the class": (f"{NETWORK}\n{BUILD}Net\n", "returns the class Net; return an object of it"),
    "a state_dict": (f"{NETWORK}\n{BUILD}Net(4).state_dict()\n", "returns OrderedDict("),
    "no weights": (
        f"{NETWORK}\n{BUILD}nn.Sequential(nn.Flatten(), nn.ReLU())\n",
        "returns a Sequential without weights; layers in a plain list or dict do not count",
    ),
    "lazy layers": (
        f"{NETWORK}\n{BUILD}nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n",
        "let build_model() call the network once",
    ),
    # Its bias is one number in the file: of its classes, that says nothing.
    "other shapes": (f"{NETWORK}\n{BUILD}Net(num_classes)\n", "fc.bias (4,)"),
}


FEW = ("missing", "no weights", "other shapes")

# Runs archive.py once for each file, each in a process of its own.
EACH = """
import json, os, runpy, sys
for name, text in json.loads(sys.argv[1]).items():
    with open("service/model.py", "w") as file:
        file.write(text)
    print(f"\\0{name}\\0", end="", file=sys.stderr, flush=True)
    if not os.fork():
        sys.dont_write_bytecode, sys.argv = True, ["archive.py"]
        try:
            runpy.run_path("archive.py", run_name="__main__")
        except Exception:
            sys.excepthook(*sys.exc_info())  # as Python does with what nobody catches
            sys.exit(1)
        sys.exit("archive.py has built an archive")
    os.wait()
"""


@pytest.mark.parametrize("kind", ["state_dict", "checkpoint"])
def test_what_is_wrong_with_the_network_is_said(
    copy_project: Callable[..., Project], kind: str
) -> None:
    other = {"precision": "bf16"} if kind == "checkpoint" else {}
    project = copy_project(
        architecture="custom", color_mode="RGB", num_classes=4, weights=kind, **other
    )
    state = {"fc.weight": torch.zeros(4, 3), "fc.bias": torch.zeros(())}
    saved = {"state_dict": state, "epoch": 3} if kind == "checkpoint" else state
    torch.save(saved, project.path / "weights" / "w.pth")
    wrong = {name: WRONG[name] for name in (WRONG if kind == "state_dict" else FEW)}
    texts = {name: text for name, (text, _) in wrong.items()}
    result = project.run("-c", EACH, json.dumps(texts))
    assert result.returncode == 0, result.stderr
    found = dict(batched(result.stderr.split("\0")[1:]))
    assert found.keys() == wrong.keys()
    for name, (_, said) in wrong.items():
        assert "Traceback" not in found[name], found[name]
        assert found[name].startswith("error: "), (name, found[name])
        assert said in found[name], (name, found[name])


def batched(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield words in pairs."""
    return zip(words[::2], words[1::2], strict=True)
