"""BentoML: a worker for each core; no batches, for which it would start one process more."""

import os
from pathlib import Path

import bentoml
from common import classify, load, read


@bentoml.service(
    workers=os.cpu_count(), traffic={"timeout": 60}, logging={"access": {"enabled": False}}
)
class Classifier:
    """Takes a form with a file."""

    def __init__(self):
        self.network = load()

    @bentoml.api(route="/predict")
    def predict(self, file: Path) -> dict:
        """Predict for a request."""
        return classify(self.network, [read(file.read_bytes())])[0]
