"""What `/metrics` tells: Prometheus figures, summed over gunicorn's workers."""

import os

import prometheus_client as prometheus
from flask import Response
from prometheus_client.multiprocess import MultiProcessCollector

requests = prometheus.Counter(
    "endpoint_requests", "Requests answered, by status.", ["status"]
)
stages = prometheus.Histogram(
    "endpoint_stage_seconds",
    "Time an input spent decoding, in the queue and in predict.",
    ["stage"],
    # From an answer of a GPU to the default deadline.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)
batches = prometheus.Histogram(
    "endpoint_batch_size",
    "Inputs in a call of predict.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
queued = prometheus.Gauge(
    "endpoint_queued",
    "Inputs that decode or wait for the model.",
    multiprocess_mode="livesum",
)
dropped = prometheus.Counter(
    "endpoint_dropped",
    "Inputs never run: past their deadline, client gone.",
    ["reason"],
)
splits = prometheus.Counter(
    "endpoint_splits", "Batches halved after a failure.", ["reason"]
)
ready = prometheus.Gauge(
    "endpoint_ready", "Processes whose model can answer.", multiprocess_mode="livesum"
)


def response() -> Response:
    """Return the figures of all processes."""
    registry = prometheus.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = prometheus.CollectorRegistry()
        MultiProcessCollector(registry)
    figures = prometheus.generate_latest(registry)
    return Response(figures, content_type=prometheus.CONTENT_TYPE_LATEST)
