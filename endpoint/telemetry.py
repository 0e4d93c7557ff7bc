"""Prometheus metrics, and the log line of a request."""

import json
import logging
import os
from functools import partial
from typing import Any

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from endpoint.deprecated import with_old_metrics

log = logging.getLogger(__name__)

PROBES = ("/ping", "/health", "/metrics")
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)
LiveSum = partial(Gauge, multiprocess_mode="livesum")  # over the running workers

requests = Counter("endpoint_requests", "Requests answered, by status.", ["status"])
dropped = Counter("endpoint_dropped", "Inputs that were not run.", ["reason"])
cache = Counter("endpoint_cache", "Inputs found in the cache or not.", ["result"])
batch_splits = Counter("endpoint_batch_splits", "Batches split in half.", ["reason"])
queue_size = LiveSum("endpoint_queue_size", "Inputs being decoded or waiting.")
ready = LiveSum("endpoint_ready", "Processes whose model is ready.")
model_info = LiveSum("endpoint_model_info", "Processes.", ["name", "revision"])
batch_size = Histogram("endpoint_batch_size", "Inputs a batch.", buckets=BATCH_SIZES)
stage_seconds = Histogram(
    "endpoint_stage_seconds", "Seconds in a stage.", ["stage"], buckets=SECONDS
)


def metrics() -> str:
    """Return the metrics of all worker processes, in the Prometheus text format."""
    registry = prometheus.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = prometheus.CollectorRegistry()
        MultiProcessCollector(registry)
    return with_old_metrics(prometheus.generate_latest(registry).decode())


def record_request(fields: dict[str, Any]) -> None:
    """Count an answered request and log it in one line; a probe only on failure."""
    requests.labels(fields["status"]).inc()
    is_probe = fields["path"] in PROBES and fields["status"] < 300
    # Quoted as in JSON, because a path may hold line breaks.
    quoted = json.dumps(f"{fields['method']} {fields['path']}")
    log.log(
        logging.DEBUG if is_probe else logging.INFO,
        "%(client)s %(quoted)s %(status)d, %(received)d bytes in, %(sent)d out, "
        "%(ms).1f ms (decode %(decode_ms).1f, queue %(queue_ms).1f, "
        "predict %(predict_ms).1f, batch %(batch)d) %(id)s",
        fields | {"quoted": quoted},
        extra={"fields": fields},
    )
