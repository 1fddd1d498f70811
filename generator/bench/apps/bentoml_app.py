"""BentoML: a worker for each core, batches of 8 as the rendered projects have them."""

import os
from pathlib import Path

import bentoml
from common import classify, load, read


@bentoml.service(workers=os.cpu_count(), traffic={"timeout": 60})
class Classifier:
    """Takes the picture as a file."""

    def __init__(self):
        self.network = load()

    @bentoml.api(route="/predict")
    def predict(self, picture: Path) -> dict:
        """Answer a request."""
        return classify(self.network, [read(picture.read_bytes())])[0]
