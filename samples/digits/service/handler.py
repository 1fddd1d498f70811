# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The engine's entry into the service: a batch of requests in, one response per request out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from ts.context import Context

from service import task
from service.cores import share_cores
from service.images import ItemError, read_items, read_request
from service.loading import load_model
from service.task import Item

logger = logging.getLogger(__name__)


class Handler:
    """Predicts for all requests of a batch together.

    An item that gets no prediction gets a status and a message of its own; the others in its batch
    are answered as if it had not been there.
    """

    def initialize(self, context: Context) -> None:
        """Load the network and the labels, once per worker."""
        properties = context.system_properties
        model_dir = Path(properties["model_dir"])
        log_warnings_only()
        self.device = torch.device("cpu")
        threads = share_cores(context.model_yaml_config.get("maxWorkers"))
        # Each reads images on its own; more threads for one image would be in their way.
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        self.map = pool.map if threads > 1 else map
        names: dict[str, str] = json.loads(
            (model_dir / "index_to_name.json").read_text(encoding="utf-8")
        )
        self.labels = [names[str(index)] for index in range(len(names))]
        weights = model_dir / context.manifest["model"]["serializedFile"]
        self.model = load_model(weights, self.device)
        # The first forward pass is slow (memory, kernels): pay for it before the first request.
        self.scores([task.example()])

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[str | bytes]:
        """Return the body of every response of a batch.

        Args:
            data: One dict per request: {"body": ...} or {<multipart field>: ...}.
            context: Takes the status and the content type of each response.
        """
        rows, predicted = self.predict_rows(data)
        results = iter(predicted)
        bodies: list[str | bytes] = []
        for index, (items, is_list) in enumerate(rows):
            predictions = [next(results) for _ in items]
            if not is_list and isinstance(predictions[0], ItemError):
                status = HTTPStatus(predictions[0].status)
                context.set_response_status(status.value, status.phrase, index)
            contents = [{"error": str(x)} if isinstance(x, ItemError) else x for x in predictions]
            body, content_type = task.encode(contents if is_list else contents[0])
            context.set_response_content_type(index, content_type)
            bodies.append(body)
        return bodies

    def predict_rows(
        self, data: Sequence[dict[str, Any]]
    ) -> tuple[list[tuple[list[Item | ItemError], bool]], list[Any]]:
        """Return what `read_row` does for each request, and `predict` for all of their items."""
        rows = list(self.map(self.read_row, data))
        return rows, self.predict([item for items, _ in rows for item in items])

    def read_row(self, row: dict[str, Any]) -> tuple[list[Item | ItemError], bool]:
        """Return the items of a request as `read_items` does, and whether they are a list."""
        request = read_request(row)
        return self.read_items(request.items), request.is_list

    def read_items(self, payloads: Iterable[Any]) -> list[Item | ItemError]:
        """Return each item of a request as the task prepares it, or what is wrong with it."""
        return read_items(payloads, task.prepare)

    def predict(self, items: Sequence[Item | ItemError]) -> list[Any]:
        """Return a prediction or an ItemError for each item, in order."""
        results: list[Any] = list(items)
        ready = {i: item for i, item in enumerate(items) if not isinstance(item, ItemError)}
        for places in task.batches(ready):
            predictions = self.predict_batch([ready[place] for place in places])
            for place, prediction in zip(places, predictions, strict=True):
                results[place] = prediction
        return results

    def predict_batch(self, items: list[Item]) -> list[Any]:
        """Return a prediction or an ItemError for each item of one forward pass."""
        try:
            return task.predictions(self.scores(items), items, self.labels)
        except Exception:
            if len(items) == 1:
                logger.exception("the network fails on an image")
                return [ItemError("the network fails on this image", 500)]
        return [prediction for item in items for prediction in self.predict_batch([item])]

    @torch.inference_mode()
    def scores(self, items: list[Item]) -> torch.Tensor:
        """Return the scores of each item (N, ...), as the task makes them of the outputs."""
        return task.scores(self.outputs(items))

    @torch.inference_mode()
    def outputs(self, items: list[Item]) -> torch.Tensor:
        """Return what the network returns for items that fit into one batch: float32 (N, ...)."""
        batch = task.collate(items)
        return self.model(task.normalize(batch)).float()


def log_warnings_only() -> None:
    """Log no more than warnings: TorchServe writes, and reads again, lines about every batch."""
    logging.getLogger().addFilter(lambda record: record.levelno > logging.INFO)
    logging.getLogger("ts").setLevel(logging.WARNING)
