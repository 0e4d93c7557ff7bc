"""The contract of what is served, as `/openapi.json` tells it: OpenAPI 3.1."""

from typing import Any

from flask import current_app
from PIL import Image

from endpoint.responses import HTML, JSON, PNG, TEXT
from endpoint.batcher import NotReady, Worker

ERRORS = {
    400: "Nothing was sent, or something malformed.",
    401: "The key is missing or wrong.",
    413: "Too many bytes or files, or one that is too large once decoded.",
    415: "Not what the model accepts.",
    422: "It breaks while it is decoded.",
    500: "The model failed on this input.",
    503: "The queue is full, or the model not ready.",
    504: "The deadline passed.",
}
PIXEL = "R0lGODdhAQABAIAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="  # a picture of one
STRING, NUMBER, OBJECT = ({"type": kind} for kind in ("string", "integer", "object"))
NULLABLE, BINARY = {"type": ["string", "null"]}, STRING | {"format": "binary"}
PROBLEM = OBJECT | {"properties": {"title": STRING, "status": NUMBER, "detail": STRING}}
STATE = OBJECT | {
    "properties": {"model": STRING, "revision": NULLABLE, "device": NULLABLE}
    | {"state": {"enum": ["loading", "ready", "failed"]}, "accepts": STRING}
    | {"fields": OBJECT, "routes": {"type": "array", "items": STRING}},
    "required": ["model", "state"],
}
SEVERAL = "For several files `predictions` holds, in their order, an object or an error"
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def contract() -> dict[str, Any]:
    """Return it; until the model is loaded nobody knows what it takes."""
    served, worker = current_app.extensions["served"], current_app.extensions["batcher"]
    state, reason = worker.health()
    if state != "ready":
        raise NotReady(reason)
    refused, sick = _error(503), _says("Loading, or sick.", {JSON: STATE})
    got = {
        "/": {200: _says("What is served.", {JSON: STATE, HTML: STRING})},
        "/ping": {200: _says("Ready."), 204: _says("Loading."), 503: refused},
        "/health": {200: _says("Ready.", {JSON: STATE}), 503: sick},
        "/metrics": {200: _says("Figures for Prometheus.", {TEXT: STRING})},
        "/openapi.json": {200: _says("This contract.", {JSON: OBJECT}), 503: refused},
    }
    paths = {path: {"get": {"responses": got[path]}} for path in got}
    for path in ("/", "/predict", *(f"/predict/{route}" for route in served["routes"])):
        predict = _predict(served, worker)
        paths.setdefault(path, {}).update(post=predict, put=predict)
    return {
        "openapi": "3.1.0",
        "info": {"title": served["model"], "version": served["revision"] or "unpinned"},
        "components": {"securitySchemes": KEYS},
        "paths": paths,
    }


def _predict(served: dict[str, Any], worker: Worker) -> dict[str, Any]:
    """Describe one way in, with the model's own fields and its own example."""
    bodies, fields = _bodies(served), served["fields"]
    example = worker.model.encode(worker.example) if worker.example is not None else {}
    drawn = isinstance(example, Image.Image) or hasattr(worker.model, "draw")
    answer = OBJECT | {"minProperties": 1, "description": SEVERAL}
    if isinstance(example, dict) and example:
        answer |= {"examples": [example]}
    answers = {TEXT: STRING, JSON: answer, HTML: STRING}
    answers |= {PNG: BINARY} if drawn else {}
    locked = current_app.config.get("API_KEY") is not None
    errors = [status for status in ERRORS if locked or status != 401]
    responses = {200: _says("Answered.", answers)}
    return {
        "parameters": [
            {"in": "query", "name": name, "description": fields[name], "schema": STRING}
            for name in fields
        ],
        "requestBody": {"required": True, "content": _typed(bodies)},
        "responses": responses | {status: _error(status) for status in errors},
        "security": [{name: []} for name in KEYS if locked],
    }


def _bodies(served: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of what may be sent, by media type."""
    kind = served["accepts"].partition("/")[0]
    fields = {name: {"description": told} for name, told in served["fields"].items()}
    file = {"file": {"type": "array", "items": BINARY, "minItems": 1}}
    value = {"image": {"contentEncoding": "base64", "examples": [PIXEL]}}
    form = {"text": STRING} if kind == "text" else file
    json = {kind: STRING | {"minLength": 1} | value.get(kind, {})}
    return {
        name: OBJECT | {"properties": own | fields, "required": list(own)}
        for name, own in (("multipart/form-data", form), (JSON, json))
    } | {served["accepts"]: BINARY}


def _error(status: int) -> dict[str, Any]:
    said = _says(ERRORS[status], {"application/problem+json": PROBLEM, HTML: STRING})
    if status == 503:
        said["headers"] |= {"Retry-After": {"schema": NUMBER}}
    return said


def _says(what: str, kinds: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {name: {"schema": STRING} for name in ("X-Request-Id", "Server-Timing")}
    content = {"content": _typed(kinds)} if kinds else {}
    return {"description": what, "headers": headers} | content


def _typed(schemas: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}
