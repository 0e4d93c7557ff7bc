"""HTTP: the routes, and what every response carries."""

import re
import time
import uuid
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException, NotFound

from endpoint import responses, telemetry
from endpoint.authorize import authorize
from endpoint.batcher import Batcher, State
from endpoint.gpu import gpu_status, observe_gpu
from endpoint.job_queue import Job, NotReady, QueueFull
from endpoint.openapi import render_openapi
from endpoint.uploads import parse_uploads
from model_interface.files import Upload

routes = Blueprint("endpoint", __name__)
STAGES = ("decode", "queue", "predict")  # of a job


def batcher() -> Batcher:
    return current_app.extensions["batcher"]


@routes.before_app_request
def start_timing() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if re.fullmatch(r"[\w.-]{1,64}", given) else uuid.uuid4().hex
    g.timings = dict.fromkeys(STAGES, 0.0)  # seconds; for several files the longest
    g.started, g.batch_size, g.is_cache_hit = time.monotonic(), 0, False


@routes.route("/", methods=["POST", "PUT"])
@routes.route("/predict", methods=["POST", "PUT"])
@routes.route("/predict/<route>", methods=["POST", "PUT"])
def predict(route: str = "") -> Response:
    """Answer every upload of the request, in order."""
    authorize()
    if refusal := batcher().refusal():  # before the body is read
        raise refusal
    if not request.environ.get("endpoint.has_memory", True):
        raise QueueFull("Too many large uploads are in memory")
    info = batcher().info
    if route and route not in info.routes:
        raise NotFound
    uploads = parse_uploads(request, info.accepts, info.fields_of(route), route)
    # Later files of a request wait for a free slot of the queue.
    jobs = [submit(upload, wait=upload is not uploads[0]) for upload in uploads]
    answers = [collect(*each) for each in jobs]
    if len(answers) == 1 and isinstance(answers[0], HTTPException):
        return responses.error_response(answers[0])
    return responses.respond(answers)


def submit(upload: Upload, wait: bool) -> tuple[Job, bool]:
    """Return the upload's job, and whether it is that of an equal upload before."""
    deadline = g.started + current_app.config["DEADLINE"]
    is_disconnected = request.environ.get("endpoint.is_disconnected", lambda: False)
    own = Job(deadline, g.request_id, is_disconnected)
    job = batcher().submit(upload, own, wait)
    return job, job is not own


def collect(job: Job, is_hit: bool) -> responses.Answer:
    """Wait for a job's output and encode it; an error takes the place of the answer."""
    try:
        return responses.encode(batcher().model, batcher().info, job.result())
    except (Exception, SystemExit) as error:
        return responses.to_http_error(error)
    finally:
        g.is_cache_hit |= is_hit
        g.batch_size = max(g.batch_size, job.batch_size)
        if not is_hit:
            for stage in STAGES:
                g.timings[stage] = max(g.timings[stage], job.timings[stage])
                telemetry.stage_seconds.labels(stage).observe(job.timings[stage])


@routes.get("/")
def index() -> dict[str, Any] | str:
    """Describe what is served: the page in a browser, else JSON."""
    if responses.wants_page():
        return responses.render_page()
    info = batcher().info
    return info.to_json() | {"state": batcher().state, "use": info.usage}


@routes.get("/ping")
def ping() -> tuple[str, int]:
    """Answer a load balancer: 204 while loading, 200 when ready, 503 when failed."""
    state, reason = batcher().health()
    if state == State.FAILED:
        raise NotReady(reason)
    return "", 204 if state == State.LOADING else 200


@routes.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """Return the state with its reason; 503 unless ready, for readiness probes."""
    state, reason = batcher().health()
    info = batcher().info
    body = {"state": state, "reason": reason} | info.to_json() | gpu_status(info.device)
    return body, 200 if state == State.READY else 503


@routes.get("/metrics")
def metrics() -> Response:
    observe_gpu(batcher().info.device)
    return Response(telemetry.metrics(), content_type=CONTENT_TYPE_LATEST)


@routes.get("/openapi.json")
def openapi() -> Response:
    state, reason = batcher().health()
    if state != State.READY:  # Until it is loaded, the model's inputs are unknown.
        raise NotReady(reason)
    return Response(render_openapi(batcher()), mimetype="application/json")


@routes.after_app_request
def add_headers_and_log(response: Response) -> Response:
    ms = {stage: 1000 * seconds for stage, seconds in g.timings.items()}
    timings = [f"{stage};dur={ms[stage]:.1f}" for stage in ms]
    timings += ["cache;desc=hit"] if g.is_cache_hit else []
    response.headers["Server-Timing"] = ", ".join(timings)
    response.headers["X-Request-Id"] = g.request_id
    response.headers["X-Model"] = quote(batcher().info.version, safe="/@:.-_ ")
    response.headers["Content-Security-Policy"] = responses.CONTENT_SECURITY_POLICY
    response.vary.add("Accept")
    telemetry.record_request(
        {
            "id": g.request_id,
            # At a unix socket only the proxy knows the client's address.
            "client": request.remote_addr or request.headers.get("X-Real-IP", "-"),
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "received": request.content_length or 0,
            "sent": response.content_length or 0,
            "ms": round(1000 * (time.monotonic() - g.started), 1),
            **{f"{stage}_ms": round(ms[stage], 1) for stage in ms},
            "batch": g.batch_size,
        }
    )
    return response
