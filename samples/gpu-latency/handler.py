# copier update rewrites this file, unless "What is yours" in README.md names it.
"""TorchServe's entry into the service: a batch of requests in, one answer per request out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from ts.context import Context

from cores import share_cores
from images import (
    MAX_REQUEST_PIXELS,
    PictureError,
    damage_named,
    decode_image,
    open_image,
    payload_bytes,
    read_request,
)
from loading import load_model
from preprocessing import IMAGE_SIZE, normalize, preprocess
from response import make_answers

logger = logging.getLogger(__name__)

MAX_BATCH = 32  # pictures in a forward pass; requests may carry many


class ImageClassifierHandler:
    """Classifies the pictures of a batch in one forward pass.

    A picture that cannot be answered gets a status and a message of its own; the other requests of
    its batch are answered as if it had not been there.
    """

    labels: list[str]

    def initialize(self, context: Context) -> None:
        """Load the network and the labels, once per worker."""
        properties = context.system_properties
        model_dir = Path(properties["model_dir"])
        quiet_log()
        gpu = f"cuda:{properties.get('gpu_id') or 0}"
        self.device = torch.device(gpu if torch.cuda.is_available() else "cpu")
        threads = share_cores(context.model_yaml_config.get("maxWorkers"))
        # Each reads pictures on its own; more threads for one picture would be in their way.
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        self.map = pool.map if threads > 1 else map
        names: dict[str, str] = json.loads(
            (model_dir / "index_to_name.json").read_text(encoding="utf-8")
        )
        self.labels = [names[str(index)] for index in range(len(names))]
        weights = model_dir / context.manifest["model"]["serializedFile"]
        self.model = load_model(weights, self.device)
        # The first forward pass is slow (memory, kernels): pay for it before the first request.
        blank = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        self.inference(blank)

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[str]:
        """Answer every request of a batch with JSON text.

        Args:
            data: One dict per request: {"body": ...} or {<multipart field>: ...}.
            context: Takes the status and the content type of each answer.
        """
        rows = list(self.map(self.read_row, data))
        results = iter(self.classify([picture for pictures, _ in rows for picture in pictures]))
        answers = []
        for index, (pictures, is_list) in enumerate(rows):
            items = [next(results) for _ in pictures]
            context.set_response_content_type(index, "application/json")
            if not is_list and isinstance(items[0], PictureError):
                status = HTTPStatus(items[0].status)
                context.set_response_status(status.value, status.phrase, index)
            contents = [{"error": str(x)} if isinstance(x, PictureError) else x for x in items]
            # ensure_ascii would turn labels such as 猫 into \u escapes.
            answers.append(json.dumps(contents if is_list else contents[0], ensure_ascii=False))
        return answers

    def read_row(self, row: dict[str, Any]) -> tuple[list[torch.Tensor | PictureError], bool]:
        """Return the pictures of a request as `read_pictures` does, and whether they are a list."""
        request = read_request(row)
        return self.read_pictures(request.items), request.is_list

    def read_pictures(self, items: Iterable[Any]) -> list[torch.Tensor | PictureError]:
        """Return each picture of a request, or what is wrong with it.

        Returns:
            uint8 (3, IMAGE_SIZE, IMAGE_SIZE) or a PictureError, for each item.
        """
        pictures: list[torch.Tensor | PictureError] = []
        left = MAX_REQUEST_PIXELS
        for item in items:
            try:
                image = open_image(payload_bytes(item))
                left -= image.width * image.height
                if left < 0:
                    message = f"the pictures have more than {MAX_REQUEST_PIXELS} pixels together"
                    raise PictureError(message, 413)
                with damage_named():
                    pictures.append(preprocess(decode_image(image)))
            except PictureError as error:
                pictures.append(error)
        return pictures

    def classify(self, pictures: list[torch.Tensor | PictureError]) -> list[Any]:
        """Return an answer for each picture, in order; a PictureError stays what it is."""
        batch = [picture for picture in pictures if isinstance(picture, torch.Tensor)]
        parts = torch.stack(batch).split(MAX_BATCH) if batch else []
        answers = iter([answer for part in parts for answer in self.answer(part)])
        return [x if isinstance(x, PictureError) else next(answers) for x in pictures]

    def answer(self, batch: torch.Tensor) -> list[Any]:
        """Return an answer or a PictureError for each picture of a uint8 batch (N, 3, H, W)."""
        try:
            return self.postprocess(self.inference(batch))
        except Exception:
            if len(batch) == 1:
                logger.exception("the network fails on a picture")
                return [PictureError("the network fails on this picture", 500)]
        return [answer for picture in batch.split(1) for answer in self.answer(picture)]

    @torch.inference_mode()
    def inference(self, data: torch.Tensor) -> torch.Tensor:
        """Return probabilities (N, classes) for a uint8 batch (N, 3, H, W)."""
        return self.outputs(data).softmax(dim=1)

    def outputs(self, data: torch.Tensor) -> torch.Tensor:
        """Return what the network returns, as float32 (N, classes), for such a batch."""
        if self.device.type == "cuda":  # from pinned memory the copy does not wait for the GPU
            data = data.pin_memory().to(self.device, non_blocking=True)
        return self.model(normalize(data)).float()

    def postprocess(self, data: torch.Tensor) -> list[Any]:
        """Return an answer or a PictureError for each row of the probabilities (N, classes)."""
        finite = data.isfinite().all(dim=1).tolist()
        nothing = PictureError("the network returns NaN or infinity for this picture", 500)
        answers = make_answers(data.cpu(), self.labels)
        return [answer if ok else nothing for answer, ok in zip(answers, finite, strict=True)]


def quiet_log() -> None:
    """Log no more than warnings: TorchServe writes, and reads again, lines about every batch."""
    logging.getLogger().addFilter(lambda record: record.levelno > logging.INFO)
    logging.getLogger("ts").setLevel(logging.WARNING)
