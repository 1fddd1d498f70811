# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The archive in KServe's model server, with the v1 and v2 protocols. For containers; no Java.

Run it in the project's folder.

Examples:
    python -m deploy.kserve.app
    python -m deploy.kserve.app --http_port 9000 --enable_grpc false
"""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput

from tools.engine import Archive
from tools.project import ARCHIVE, MODEL_NAME


class Predictor(Model):
    """Predicts for the images of a request together; a bad one gets an error in its place."""

    def __init__(self) -> None:
        super().__init__(MODEL_NAME)
        self.archive = Archive(ARCHIVE)
        self.version = self.archive.version
        self.idle = asyncio.Lock()
        self.ready = True

    # The names of the tensors are those of the first release: clients depend on them.
    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe what the v2 protocol sends: the base64 of images; over gRPC, the files."""
        return [{"name": "pictures", "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe what it gets: a prediction for each image, as JSON text."""
        return [{"name": "answers", "datatype": "BYTES", "shape": [-1]}]

    async def predict(
        self,
        payload: dict[str, Any] | InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Return the response to one request.

        Args:
            payload: {"instances": [{"data": "<base64>"}, ...]} in v1; in v2 one input of BYTES.
            headers: Not used.
            response_headers: Not used.

        Raises:
            InvalidInput: It is none of these.
            HTTPException: The request as a whole is refused.
        """
        if isinstance(payload, dict):
            if not isinstance(payload.get("instances"), list):
                raise InvalidInput('expected {"instances": [{"data": "<base64>"}, ...]}')
            return {"predictions": await self.predictions(payload["instances"])}
        if [tensor.datatype for tensor in payload.inputs] != ["BYTES"]:
            raise InvalidInput("expected one input, of datatype BYTES: the images")
        images = payload.inputs[0].as_numpy().ravel().tolist()
        texts = [json.dumps(x, ensure_ascii=False) for x in await self.predictions(images)]
        return InferResponse(
            payload.id or str(uuid.uuid4()),
            MODEL_NAME,
            [InferOutput("answers", [len(texts)], "BYTES", texts)],
            self.version,
        )

    async def predictions(self, images: list[Any]) -> list[Any]:
        """Return a prediction or an error for each image, in order."""
        async with self.idle:  # one forward pass at a time; others are received meanwhile
            rows = [{"body": {"instances": images}}]
            (reply,) = await asyncio.to_thread(self.archive.reply, rows)
        if reply.status != HTTPStatus.OK:
            raise HTTPException(reply.status, reply.body)
        predictions: list[Any] = json.loads(reply.body)
        return predictions


if __name__ == "__main__":
    ModelServer().start([Predictor()])
