# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Describes what can be asked, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from tools.project import MODEL_NAME

Content = dict[str, Any]

TEXT: Content = {"type": "string"}
FILE: Content = {"type": "string", "format": "binary"}
INSTANCES: Content = {
    "type": "object",
    "required": ["instances"],
    "properties": {
        "instances": {
            "type": "array",
            "items": {"type": "object", "required": ["data"], "properties": {"data": TEXT}},
        }
    },
}
TENSOR: Content = {
    "type": "object",
    "required": ["name", "datatype", "shape", "data"],
    "properties": {
        "name": TEXT,
        "datatype": {"const": "BYTES"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": TEXT, "description": "the base64 of each image"},
    },
}
INFER: Content = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": TEXT,
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": TENSOR},
    },
}
IMAGES: Content = {
    "application/octet-stream": {"schema": FILE},
    "text/plain": {"schema": {**TEXT, "description": "base64, or a data URL"}},
    "multipart/form-data": {"schema": {"type": "object", "additionalProperties": FILE}},
    "application/json": {
        "schema": {"oneOf": [{"type": "object", "properties": {"data": TEXT}}, INSTANCES]}
    },
}
REFUSALS = {
    "400": "it cannot be read",
    "401": "a key is needed",
    "404": "there is no such model, or no such version",
    "408": "it came too slowly",
    "413": "it is too large",
    "415": "it is no image that is read",
    "422": "it is an image that is not decoded",
    "500": "the network fails on it",
    "503": "too many requests wait; again after Retry-After seconds",
}


def describe_api(version: str) -> Content:
    """Return the description for a version of the model; it refers to nothing elsewhere."""
    predict = f"/predictions/{MODEL_NAME}"
    v1, v2 = f"/v1/models/{MODEL_NAME}", f"/v2/models/{MODEL_NAME}"
    return {
        "openapi": "3.1.0",
        "info": {"title": MODEL_NAME, "version": version},
        "paths": {
            predict: {"post": prediction("predict", "TorchServe's form", IMAGES)},
            f"{predict}/{{version}}": {
                "parameters": [{"name": "version", "in": "path", "required": True, "schema": TEXT}],
                "post": prediction("predictVersion", "of one version of the model", IMAGES),
            },
            f"{v1}:predict": {
                "post": prediction(
                    "predictV1", "KServe's v1", {"application/json": {"schema": INSTANCES}}
                )
            },
            f"{v2}/infer": {
                "post": prediction(
                    "inferV2", "KServe's v2", {"application/json": {"schema": INFER}}
                )
            },
            v1: {"get": question("modelV1", "whether the model is ready")},
            v2: {"get": question("modelV2", "the model's tensors")},
            "/ping": {"get": question("ping", "whether the model is ready")},
            "/health/startup": {"get": question("startup", "whether it has started")},
            "/health/live": {"get": question("live", "whether it runs")},
            "/health/ready": {"get": question("ready", "whether it takes requests")},
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def prediction(name: str, summary: str, content: Content) -> Content:
    """Describe an operation that predicts."""
    refusals = {status: {"description": text} for status, text in REFUSALS.items()}
    return {
        "operationId": name,
        "summary": summary,
        "security": [{}, {"key": []}],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "the prediction"}, **refusals},
    }


def question(name: str, summary: str) -> Content:
    """Describe an operation that tells something."""
    responses = {"200": {"description": "yes"}, "503": {"description": "not now"}}
    return {"operationId": name, "summary": summary, "responses": responses}
