"""What `/metrics` tells: Prometheus figures, summed over gunicorn's workers."""

import os

from flask import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

# Seconds, from a cached GPU answer to the default deadline.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)

requests = Counter("endpoint_requests", "Requests answered, by status.", ["status"])
stages = Histogram(
    "endpoint_stage_seconds",
    "Time an input spent decoding, queueing and in predict.",
    ["stage"],
    buckets=_BUCKETS,
)
batches = Histogram(
    "endpoint_batch_size",
    "Inputs in a call of predict.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
queued = Gauge(
    "endpoint_queued",
    "Inputs that decode or wait for the model.",
    multiprocess_mode="livesum",
)
dropped = Counter(
    "endpoint_dropped",
    "Inputs never run: past their deadline, client gone.",
    ["reason"],
)
splits = Counter("endpoint_splits", "Batches halved after a failure.", ["reason"])
ready = Gauge(
    "endpoint_ready", "Processes whose model can answer.", multiprocess_mode="livesum"
)


def response() -> Response:
    """Return the figures of all processes."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
