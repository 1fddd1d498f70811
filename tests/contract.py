"""What every engine answers: requests and their outcomes, once for all of them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ways import IMAGES, Kind

from conftest import announce
from engines import send
from generator import hostile
from generator.torture import alike

MODEL = "image-classifier"
PREDICT = f"/predictions/{MODEL}"


@dataclass(frozen=True)
class Case:
    """A request and its outcome.

    Attributes:
        name: for people.
        path, method, body, content_type: of the request.
        status: of the response.
        content: what its JSON must be, or the prediction; None if it is not looked at.
        words: what its body must hold.
    """

    name: str
    path: str
    method: str
    body: bytes
    content_type: str
    status: int
    content: Any = None
    words: str = ""


def torchserve_cases(item: bytes, prediction: Any, kind: Kind) -> Iterator[Case]:
    """Yield what an engine answers that has TorchServe's URLs; the item's prediction is given."""
    for name, (body, content_type) in kind.right(item).items():
        yield Case(name, PREDICT, "POST", body, content_type, 200, prediction)
    for name, (body, content_type, status, words) in kind.wrong(item).items():
        yield Case(name, PREDICT, "POST", body, content_type, status, words=words)
    instances = [kind.in_json(item), kind.no_item[0]] * 2
    many = json.dumps({"instances": instances}).encode()
    healthy = {"status": "Healthy"}
    for path, method, body, status, content in [
        ("/ping", "GET", b"", 200, healthy),
        (PREDICT, "PUT", item, 200, prediction),
        (PREDICT, "GET", b"", 400, None),
        (f"{PREDICT}/1.0", "POST", item, 200, prediction),
        (f"{PREDICT}/7", "POST", item, 404, None),
        ("/predictions/nobody", "POST", item, 404, None),
        ("/v1/models/nobody:predict", "POST", item, 404, None),
        (f"/v1/models/{MODEL}:predict", "POST", item, 200, prediction),
        ("/nowhere", "GET", b"", 404, None),
        (PREDICT, "POST", b"", 400, None),
        *((PREDICT, "POST", body, status, None) for body, status in kind.bad),
        (PREDICT, "POST", many, 200, None),
    ]:
        yield Case(f"{method} {path}", path, method, body, hostile.BINARY, status, content)


def check(base: str, case: Case) -> str:
    """Return what is wrong with an engine's outcome of a case; "" if nothing is."""
    status, body = send(base + case.path, case.body, case.content_type, case.method)
    if status != case.status:
        return f"{case.name}: {status}, where {case.status} is right: {body[:200]!r}"
    if case.words and case.words not in body.decode():
        return f"{case.name}: {body[:200]!r} does not hold {case.words}"
    if case.content is not None and not alike(json.loads(body), case.content):
        return f"{case.name}: {body[:200]!r}, where {case.content} is right"
    return ""


def check_torchserve(base: str, item: bytes, prediction: Any, kind: Kind = IMAGES) -> list[str]:
    """Return what an engine with TorchServe's URLs answers wrongly, one request after another."""
    found = [check(base, case) for case in torchserve_cases(item, prediction, kind)]
    batches = check_batches(base, item, prediction, kind)
    return [*filter(None, found), *batches, *check_length(base)]


def check_batches(base: str, item: bytes, prediction: Any, kind: Kind) -> list[str]:
    """Return what is wrong where bad requests come among good ones, 16 at once."""
    good = Case("good", PREDICT, "POST", item, hostile.BINARY, 200, prediction)
    body, status = kind.bad[0]
    bad = Case("bad", PREDICT, "POST", body, hostile.BINARY, status)
    with ThreadPoolExecutor(16) as pool:
        return [*filter(None, pool.map(lambda case: check(base, case), [good, bad] * 24))]


def check_length(base: str) -> list[str]:
    """Return what is wrong where a request has more than 1 MB, announced or in chunks."""
    found = []
    outcome = announce(base + PREDICT, 1_000_001)
    if outcome[0] == 100:  # it looks at the length only when the body has come
        outcome = send(base + PREDICT, b"x" * 1_000_001)
    if outcome != (413, b""):
        found.append(f"1 MB and a byte: {outcome}")
    connection = http.client.HTTPConnection(str(urlsplit(base).netloc), timeout=60)
    try:
        connection.request("POST", PREDICT, (b"x" * 100_000 for _ in range(11)))
        status: int | str = connection.getresponse().status
    except OSError:  # the server does not wait for the rest of what it refuses
        status = "end"
    finally:
        connection.close()
    if status not in (413, "end"):
        found.append(f"1.1 MB in chunks: {status}")
    return found


def check_kserve(
    base: str, items: list[bytes], predictions: list[Any], kind: Kind = IMAGES
) -> list[str]:
    """Return what an engine with KServe's v1 and v2 answers wrongly."""
    found = []
    no_item, reason = kind.no_item
    instances = [kind.in_json(item) for item in items]
    instances.insert(2, no_item)
    texts = [kind.in_tensor(item) for item in items]
    texts.insert(2, no_item)

    def post(path: str, body: Any) -> tuple[int, Any]:
        status, text = send(base + path, json.dumps(body).encode(), hostile.JSON)
        return status, json.loads(text)

    def are_right(answers: list[Any]) -> bool:
        refused = answers.pop(2)
        right = zip(answers, predictions, strict=True)
        return reason in refused["error"] and all(alike(one, two) for one, two in right)

    v1, v2 = f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"
    status, content = post(v1, {"instances": instances})
    if status != 200 or not are_right(content["predictions"]):
        found.append(f"v1: {status} {content}")
    tensor = {"name": "items", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    status, content = post(v2, {"id": "seven", "inputs": [tensor]})
    (output,) = content["outputs"]
    shape = (output["name"], output["datatype"], output["shape"])
    if (
        (status, content["id"], content["model_version"]) != (200, "seven", "1.0")
        or shape != ("answers", "BYTES", [len(texts)])
        or not are_right([json.loads(text) for text in output["data"]])
    ):
        found.append(f"v2: {status} {content}")

    named = kind.forms(items[0])
    status, content = post(v1, {"instances": [*named.values()]})
    for name, prediction in zip(named, content["predictions"], strict=True):
        if not alike(prediction, predictions[0]):
            found.append(f"v1, {name}: {prediction}")

    numbers = {**tensor, "datatype": "FP32", "data": [0.5] * 6}
    for path, body, expected in [
        (v1, {"images": []}, 400),
        (v1, {"instances": [instances[0]] * 65}, 413),
        (v2, {"inputs": [numbers]}, 400),
        ("/v1/models/nobody:predict", {"instances": []}, 404),
    ]:
        status, content = post(path, body)
        if status != expected:
            found.append(f"{path} {str(body)[:60]}: {status}, where {expected} is right")
        if status == 413 and any('{"' in str(value) for value in content.values()):
            found.append(f"{path}: {content}, where a sentence says why")
    status, text = send(f"{base}/v2/models/{MODEL}", b"", method="GET")
    if [tensor["datatype"] for tensor in json.loads(text)["inputs"]] != ["BYTES"]:
        found.append(f"/v2/models/{MODEL}: {status} {text!r}")
    paths = (f"/v1/models/{MODEL}", f"/v2/models/{MODEL}/ready", "/v2/health/live")
    ready = [check(base, Case(x, x, "GET", b"", hostile.BINARY, 200)) for x in paths]
    return [*found, *filter(None, ready)]
