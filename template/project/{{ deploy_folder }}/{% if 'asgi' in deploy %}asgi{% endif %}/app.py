# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What a worker answers: TorchServe's URLs, KServe's v1 and v2, health, and what is known of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from deploy.asgi.batches import Batches, Job
from deploy.asgi.keys import KINDS, Keys
from deploy.asgi.openapi import describe_api
from deploy.asgi.web import App, Refusal, Request
from tools.engine import MAX_REQUEST_SIZE, Archive
from tools.forms import read_row
from tools.inprocess import Reply
from tools.project import ARCHIVE, MODEL_NAME

MAX_HELD = max(256_000_000, 4 * MAX_REQUEST_SIZE)  # bytes of all bodies in a worker
MAX_VALUES = 10_000  # in JSON; in memory, each takes ten times its text and more
RETRY = (b"retry-after", b"1")

GET = ("GET", "HEAD")
POST = ("POST",)
ANY = ("GET", "POST", "PUT")  # as TorchServe takes images
MODEL = "(?P<model>[^/:]+)"
VERSION = "(?P<version>[^/]+)"

Work = Callable[[Request, Archive, bytes], Awaitable[Reply]]


class Service:
    """The applications of a worker.

    Args:
        batches: Predict.
        keys: Those that clients must show, if they must.
        workers: Returns what is known of each worker.
        record: Gets each request that got a prediction or a refusal, and its status.

    Attributes:
        inference, management: the applications, by the address that they are for.
    """

    def __init__(
        self,
        batches: Batches,
        keys: Keys | None,
        workers: Callable[[], list[dict[str, Any]]],
        record: Callable[[Job | None, int], None] = lambda _job, _status: None,
    ) -> None:
        self._batches, self._keys, self._workers, self._record = batches, keys, workers, record
        self._held = 0
        self.inference = App(
            (ANY, f"/predictions/{MODEL}(/{VERSION})?", self.predict),
            (POST, f"/v1/models/{MODEL}:predict", self.predict_v1),
            (POST, f"/v2/models/{MODEL}(/versions/{VERSION})?/infer", self.predict_v2),
            (GET, "/ping", self.ping),
            (GET, "/health/(startup|ready)", self.ready),
            (GET, "/health/live", self.live),
            (GET, "/v2/health/(?P<what>live|ready)", self.health_v2),
            (GET, f"/v1/models/{MODEL}", self.model_v1),
            (GET, "/v2", self.server_v2),
            (GET, f"/v2/models/{MODEL}(/versions/{VERSION})?/ready", self.ready_v2),
            (GET, f"/v2/models/{MODEL}(/versions/{VERSION})?", self.model_v2),
            (GET, "/openapi.json", self.openapi),
        )
        self.management = App(
            (GET, "/models", self.models),
            (GET, f"/models/{MODEL}(/{VERSION})?", self.model),
            (GET, "/token", self.token),
        )

    # ------------------------------------------------------------------------------- predictions

    async def predict(self, request: Request) -> Reply:
        """Answer as TorchServe does."""
        return await self._take(request, self._predict)

    async def predict_v1(self, request: Request) -> Reply:
        """Answer {"instances": [...]} as KServe does, and all else as TorchServe does."""
        return await self._take(request, self._predict_v1)

    async def predict_v2(self, request: Request) -> Reply:
        """Answer KServe's v2: one input of datatype BYTES, the base64 of each image."""
        return await self._take(request, self._predict_v2)

    async def _take(self, request: Request, work: Work) -> Reply:
        self._let_in(request, "inference")
        archive = self._archive(request)
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held += size
            if self._held > MAX_HELD:
                raise self._busy("too many long requests are under way")

        try:
            self._refuse_when_full()
            return await work(request, archive, await request.body(hold))
        finally:
            self._held -= held

    async def _predict(self, request: Request, _: Archive, body: bytes) -> Reply:
        return await self._answer(read_row(request.text(b"content-type"), body))

    async def _predict_v1(self, request: Request, archive: Archive, body: bytes) -> Reply:
        if b'"instances"' not in body:
            return await self._predict(request, archive, body)
        content = await asyncio.to_thread(read_json, body)
        if not isinstance(content.get("instances"), list):
            raise bad('expected {"instances": [{"data": "<base64>"}, ...]}')
        predictions = await self._predictions(content["instances"])
        return Reply(200, json.dumps({"predictions": predictions}, ensure_ascii=False))

    async def _predict_v2(self, request: Request, archive: Archive, body: bytes) -> Reply:
        if b"inference-header-content-length" in request.headers:
            raise bad("binary data are not taken; send the base64 of each image")
        content = await asyncio.to_thread(read_json, body)
        predictions = await self._predictions(images_in(content))
        texts = [json.dumps(prediction, ensure_ascii=False) for prediction in predictions]
        response = {
            "id": str(content.get("id") or uuid.uuid4()),
            "model_name": MODEL_NAME,
            "model_version": archive.version,
            # The names of the tensors are those of the first release: clients depend on them.
            "outputs": [
                {"name": "answers", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
            ],
        }
        return Reply(200, json.dumps(response, ensure_ascii=False))

    async def _predictions(self, images: list[Any]) -> list[Any]:
        reply = await self._answer({"body": {"instances": images}})
        if reply.status != HTTPStatus.OK:
            raise Refusal(reply.status, "BadRequestException", str(reply.body))
        predictions: list[Any] = json.loads(reply.body)
        return predictions

    async def _answer(self, row: dict[str, Any]) -> Reply:
        self._refuse_when_full()  # others have come while the body did
        job = await self._batches.answer(row)
        reply = job.reply.result()
        self._record(job, reply.status)
        return reply

    # ----------------------------------------------------------------------- what comes before

    def _let_in(self, request: Request, kind: str) -> None:
        if self._keys and not self._keys.allow(kind, request.text(b"authorization")):
            message = "Token Authorization failed. Token either incorrect, expired, or not provided"
            raise Refusal(401, "InvalidKeyException", message, (b"www-authenticate", b"Bearer"))

    def _archive(self, request: Request) -> Archive:
        self._check_name(request)
        archive = self._batches.archive
        if archive is None:
            raise self._busy("the model is being loaded")
        version = request.parts.get("version", "")
        if version and version != archive.version:
            message = f"Model version: {version} does not exist for model: {MODEL_NAME}"
            raise Refusal(404, "ModelVersionNotFoundException", message)
        return archive

    @staticmethod
    def _check_name(request: Request) -> None:
        if (model := request.parts["model"]) != MODEL_NAME:
            raise Refusal(404, "ModelNotFoundException", f"Model not found: {model}")

    def _refuse_when_full(self) -> None:
        if self._batches.is_full:
            raise self._busy("too many requests wait already")

    def _busy(self, message: str) -> Refusal:
        self._record(None, 503)
        return Refusal(503, "ServiceUnavailableException", message, RETRY)

    # ------------------------------------------------------------------------------------ health

    async def ping(self, _: Request) -> Reply:
        """Tell whether the archive is loaded, in TorchServe's words."""
        if self._batches.archive is None:
            return Reply(503, json.dumps({"status": "Unhealthy"}))
        return Reply(200, json.dumps({"status": "Healthy"}))

    async def ready(self, _: Request) -> Reply:
        """Tell whether a request would get a prediction: for startup and for readiness.

        A connection goes to a worker that has loaded the archive, if there is one.
        """
        if self._batches.archive is None or self._batches.is_full:
            raise Refusal(503, "ServiceUnavailableException", "not ready", RETRY)
        return Reply(200, json.dumps({"ready": True}))

    async def live(self, _: Request) -> Reply:
        """Tell that this process runs. One whose batch takes too long ends itself."""
        return Reply(200, json.dumps({"live": True}))

    async def health_v2(self, request: Request) -> Reply:
        """Tell the same in KServe's v2."""
        return await (self.ready if request.parts["what"] == "ready" else self.live)(request)

    async def model_v1(self, request: Request) -> Reply:
        """Tell whether the model is ready, as KServe's v1 has it."""
        self._archive(request)
        return Reply(200, json.dumps({"name": MODEL_NAME, "ready": True}))

    async def ready_v2(self, request: Request) -> Reply:
        """Tell whether the model is ready, as KServe's v2 has it."""
        return await self.model_v1(request)

    async def server_v2(self, _: Request) -> Reply:
        """Describe the server."""
        return Reply(200, json.dumps({"name": "asgi", "version": "2", "extensions": []}))

    async def model_v2(self, request: Request) -> Reply:
        """Describe the model's tensors."""
        archive = self._archive(request)
        content = {
            "name": MODEL_NAME,
            "versions": [archive.version],
            "platform": "",
            "inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "answers", "datatype": "BYTES", "shape": [-1]}],
        }
        return Reply(200, json.dumps(content))

    async def openapi(self, _: Request) -> Reply:
        """Describe what can be asked, as OpenAPI 3.1."""
        archive = self._batches.archive
        return Reply(200, json.dumps(describe_api(archive.version if archive else ""), indent=2))

    # ----------------------------------------------------------------------------- management

    async def models(self, request: Request) -> Reply:
        """List the model, as TorchServe's management does."""
        self._let_in(request, "management")
        models = [{"modelName": MODEL_NAME, "modelUrl": ARCHIVE.name}]
        return Reply(200, json.dumps({"models": models}, indent=2))

    async def model(self, request: Request) -> Reply:
        """Describe the model and its workers, as far as it is the same as in TorchServe."""
        self._let_in(request, "management")
        archive = self._archive(request)
        description = {
            "modelName": MODEL_NAME,
            "modelVersion": archive.version,
            "modelUrl": ARCHIVE.name,
            "batchSize": archive.config["batchSize"],
            "responseTimeout": archive.config["responseTimeout"],
            "workers": self._workers(),
        }
        return Reply(200, json.dumps([description], indent=2))

    async def token(self, request: Request) -> Reply:
        """Put a new key into the key file, for who shows the API key."""
        if self._keys is None:
            raise Refusal(404, "ResourceNotFoundException", "there are no keys")
        self._let_in(request, "API")
        (kind,) = parse_qs(request.scope["query_string"].decode("latin-1")).get("type", [""])
        if kind not in KINDS:
            raise bad(f"expected type={' or type='.join(KINDS)}")
        await asyncio.to_thread(self._keys.renew, kind)
        return Reply(200, json.dumps({"status": f"the key file has a new {kind} key"}))


def bad(message: str) -> Refusal:
    """Return the refusal of a request that is not of its protocol."""
    return Refusal(400, "BadRequestException", message)


def read_json(body: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Refusal: It is none, or holds absurdly many values.
    """
    if sum(map(body.count, (b"{", b"[", b","))) > MAX_VALUES:
        message = f"the JSON has more than {MAX_VALUES} values"
        raise Refusal(413, "BadRequestException", message)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad(f"the JSON cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise bad("expected a JSON object")
    return content


def images_in(content: dict[str, Any]) -> list[Any]:
    """Return the images in a request of KServe's v2.

    Raises:
        Refusal: There is something else than one input of BYTES.
    """
    match content.get("inputs"):
        case [{"datatype": "BYTES", "data": list(data)}]:
            images: list[Any] = []
            while data:  # a tensor of several dimensions may be lists of lists
                entry = data.pop()
                if isinstance(entry, list):
                    data += entry
                else:
                    images.append(entry)
            return images[::-1]
    raise bad("expected one input, of datatype BYTES: the images")
