"""Imported by the process that `tests/forked.py` forks from: it has rendered some projects."""

import gc
import sys

import compiled

compiled.warm()
for name in list(sys.modules):  # a program brings its own
    if name.partition(".")[0] == "generator":
        del sys.modules[name]
gc.freeze()  # what is here stays, and need not be looked at in each of the processes
