"""HTTP to a model and back: routes, limits, the key, what every answer carries."""

import importlib
import os
import re
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import click
from flask import Flask, Response, current_app, g, request
from flask.helpers import get_debug_flag
from werkzeug.exceptions import HTTPException, NotFound, ServiceUnavailable
from werkzeug.serving import is_running_from_reloader

from endpoint import (
    answers,
    cli,
    clients,
    device,
    inputs,
    logs,
    metrics,
    openapi,
    settings,
)
from endpoint.batcher import Entry, Worker

SERVED = {"revision": None, "accepts": "image/*", "fields": {}, "routes": ()}


class Model(Protocol):
    """What a model file defines under this name."""

    def __init__(self, device: str) -> None: ...
    def decode(self, upload: Upload) -> Any: ...
    def predict(self, inputs: list[Any]) -> list[Any]: ...
    def encode(self, output: Any) -> dict[str, Any]: ...


def create_app(module: str | None = None) -> Flask:
    """Return the app that serves the class Model of a module."""
    app = Flask("endpoint", static_folder=None)
    settings.configure(app)
    module = app.config["APP"] = module or app.config.get("APP", "endpoint.model")
    app.extensions["served"] = {"model": module, "device": None} | SERVED
    app.extensions["batcher"] = Worker(
        partial(load, app, module),
        app.config["QUEUE"],
        app.config["DEADLINE"],
        app.config["MAX_BATCH"],
        # While one debugs, the process stays and waits for the file to be mended.
        exit=bool if app.debug else os._exit,
    )
    add_routes(app)
    app.before_request(begin)
    app.after_request(logs.answered)
    app.after_request(finish)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    app.register_error_handler(Exception, answers.problem)
    if is_serving():
        app.extensions["batcher"].start()
    return app


def add_routes(app: Flask) -> None:
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/ping", view_func=ping)
    app.add_url_rule("/health", view_func=health)
    app.add_url_rule("/metrics", view_func=metrics.response)
    app.add_url_rule("/openapi.json", view_func=openapi.contract)
    for path in ("/", "/predict", "/predict/<route>"):
        app.add_url_rule(path, view_func=predict, methods=["POST", "PUT"])


def is_serving() -> bool:
    """Tell a server from other `flask` commands and from the reloader's parent."""
    command = click.get_current_context(silent=True)
    if command is None or is_running_from_reloader():
        return True
    reload = command.params.get("reload")
    reload = get_debug_flag() if reload is None else reload
    return command.info_name == "run" and not reload


def load(app: Flask, module: str) -> Model:
    """Make the module's Model; runs on the worker's thread."""
    where = device.find(app.config.get("DEVICE"))
    model = importlib.import_module(module).Model(where)
    served = app.extensions["served"]
    served |= {"model": getattr(model, "name", module), "device": where}
    served |= {name: getattr(model, name, SERVED[name]) for name in SERVED}
    revision = f"@{served['revision']}" if served["revision"] else ""
    app.logger.info("Serving %s%s on %s.", served["model"], revision, where)
    return model


def begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if re.fullmatch(r"[\w.-]{1,64}", given) else uuid.uuid4().hex
    g.seconds = dict.fromkeys(("decode", "queue", "predict"), 0.0)
    g.started, g.batch = time.monotonic(), 0


def finish(response: Response) -> Response:
    timings = (f"{stage};dur={1000 * g.seconds[stage]:.1f}" for stage in g.seconds)
    response.headers["Server-Timing"] = ", ".join(timings)
    response.headers["X-Request-Id"] = g.request_id
    response.vary.add("Accept")
    metrics.requests.labels(response.status_code).inc()
    return response


def predict(route: str = "") -> Response:
    """Answer for each file of the request."""
    clients.authorize()
    worker().check()  # A refusal should not wait for the body.
    served = current_app.extensions["served"]
    if route and route not in served["routes"]:
        raise NotFound
    uploads = inputs.uploads(request, served["accepts"], route)
    entries = [attempt(submit, upload, upload is uploads[0]) for upload in uploads]
    results = [attempt(result, entry) for entry in entries]
    if len(results) == 1 and isinstance(results[0], HTTPException):
        raise results[0]
    return answers.negotiate(results)


def attempt(step: Callable, *arguments: Any) -> Any:
    """Return the step's value or, in its place, what HTTP calls its error."""
    try:
        return step(*arguments)
    except Exception as error:
        return answers.as_http(error)


def submit(upload: Upload, first: bool) -> Entry:
    """Queue one file; those after a request's first wait for a place in the queue."""
    started = time.monotonic()
    try:
        gone = partial(clients.hung_up, request.environ.get("gunicorn.socket"))
        return worker().submit(upload, g.request_id, gone, wait=not first)
    finally:
        g.seconds["decode"] += time.monotonic() - started


def result(entry: Entry | HTTPException) -> answers.Answer:
    """Wait for an entry's output and encode it."""
    if isinstance(entry, HTTPException):
        raise entry
    try:
        return answers.encode(worker().model, entry.result())
    finally:
        g.batch = max(g.batch, entry.batch)
        for stage, seconds in entry.seconds.items():
            g.seconds[stage] = max(g.seconds[stage], seconds)
            metrics.stages.labels(stage).observe(seconds)


def index() -> dict[str, Any] | str:
    """Tell what is served: the page in a browser, else JSON."""
    if answers.wants_page():
        return answers.page()
    state, _ = worker().health()
    served = current_app.extensions["served"]
    return served | {"state": state, "use": inputs.how_to_send(served["accepts"])}


def ping() -> tuple[str, int]:
    """Answer a load balancer: 204 while loading, 200 ready, 503 sick."""
    state, reason = worker().health()
    if state == "failed":
        raise ServiceUnavailable(f"{reason}.")
    return "", 204 if state == "loading" else 200


def health() -> tuple[dict[str, Any], int]:
    """Tell the same in words; 503 as well while loading, for readiness probes."""
    state, reason = worker().health()
    body = {"state": state, "reason": reason} | current_app.extensions["served"]
    return body, 200 if state == "ready" else 503


def worker() -> Worker:
    return current_app.extensions["batcher"]
