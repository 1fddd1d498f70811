"""TorchServe's entry into the service: a batch of requests in, one answer per request out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from ts.context import Context
from ts.torch_handler.base_handler import BaseHandler

from images import InputError, decode_image, payload_bytes, read_request
from loading import load_model
from preprocessing import IMAGE_SIZE, normalize, preprocess
from response import make_answers

MAX_BATCH = 32  # pictures in a forward pass; requests may carry many


class ImageClassifierHandler(BaseHandler):
    """Classifies the pictures of a batch in one forward pass.

    A picture that cannot be read gets status 400 and a message of its own; the other requests of
    its batch are answered as if it had not been there.
    """

    labels: list[str]

    def initialize(self, context: Context) -> None:
        """Load the network and the labels, once per worker."""
        properties = context.system_properties
        model_dir = Path(properties["model_dir"])
        share_cores(context.model_yaml_config.get("maxWorkers"))
        gpu_id = properties.get("gpu_id")
        on_gpu = torch.cuda.is_available() and gpu_id is not None
        self.device = torch.device(f"cuda:{gpu_id}" if on_gpu else "cpu")
        self.manifest = context.manifest
        names: dict[str, str] = json.loads(
            (model_dir / "index_to_name.json").read_text(encoding="utf-8")
        )
        self.labels = [names[str(index)] for index in range(len(names))]
        weights = model_dir / self.manifest["model"]["serializedFile"]
        self.model = load_model(weights, len(names), self.device)
        # The first forward pass is slow (memory, kernels): pay for it before the first request.
        blank = torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        self.inference(blank)
        self.context = context
        self.initialized = True

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[str]:
        """Answer every request of a batch with JSON text.

        Args:
            data: One dict per request: {"body": ...} or {<multipart field>: ...}.
            context: Takes the status and the content type of each answer.
        """
        requests = [read_request(row) for row in data]
        pictures = [self.read_picture(item) for request in requests for item in request.items]
        results = iter(self.classify(pictures))
        answers = []
        for index, request in enumerate(requests):
            items = [next(results) for _ in request.items]
            context.set_response_content_type(index, "application/json")
            if not request.is_list and isinstance(items[0], InputError):
                context.set_response_status(400, "Bad Request", index)
            contents = [{"error": str(x)} if isinstance(x, InputError) else x for x in items]
            # ensure_ascii would turn labels such as 猫 into \u escapes.
            answers.append(
                json.dumps(contents if request.is_list else contents[0], ensure_ascii=False)
            )
        return answers

    def read_picture(self, item: Any) -> torch.Tensor | InputError:
        """Return a picture as uint8 (1, IMAGE_SIZE, IMAGE_SIZE), or what is wrong with it."""
        try:
            return preprocess(decode_image(payload_bytes(item)))
        except InputError as error:
            return error

    def classify(self, pictures: list[torch.Tensor | InputError]) -> list[Any]:
        """Return an answer for each picture, in order; an InputError stays what it is."""
        batch = [picture for picture in pictures if isinstance(picture, torch.Tensor)]
        parts = torch.stack(batch).split(MAX_BATCH) if batch else []
        answers = iter([x for part in parts for x in self.postprocess(self.inference(part))])
        return [x if isinstance(x, InputError) else next(answers) for x in pictures]

    @torch.inference_mode()
    def inference(self, data: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return probabilities (N, classes) for a uint8 batch (N, 1, H, W)."""
        logits = self.model(normalize(data.to(self.device)))
        return logits.float().softmax(dim=1)

    def postprocess(self, data: torch.Tensor) -> list[Any]:
        """Return one answer per row of the probabilities (N, classes)."""
        return make_answers(data.cpu(), self.labels)


def share_cores(workers: int | None) -> None:
    """Give this worker its share of the cores.

    TorchServe starts a worker per core unless model-config.yaml says maxWorkers, and torch would
    use every core in each of them: the threads then fight, at a tenth of the throughput.
    """
    cores = os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // (workers or cores)))
