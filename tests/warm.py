"""Imported by the process that `tests/forked.py` forks from: it has rendered some projects.

It has also imported what train.py and evaluate.py take seconds to import.
"""

import gc
import sys

import lightning_fabric  # noqa: F401
import matplotlib.figure  # noqa: F401
import sklearn.datasets  # noqa: F401
import torchmetrics.detection  # noqa: F401

import compiled
from forked import OWN

compiled.warm()
for name in list(sys.modules):
    if name.partition(".")[0] in OWN:
        del sys.modules[name]
gc.freeze()  # what is here stays, and need not be looked at in each of the processes
