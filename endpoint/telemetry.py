"""Prometheus metrics, and one log line a request, as text or as JSON."""

import json
import logging
import os
from datetime import UTC, datetime
from functools import partial
from typing import Any

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from endpoint.renamed import with_old_metrics

log = logging.getLogger(__name__)

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)
LiveSum = partial(Gauge, multiprocess_mode="livesum")  # over the running workers

requests = Counter("endpoint_requests", "Requests answered, by status.", ["status"])
dropped = Counter("endpoint_dropped", "Inputs that were not run.", ["reason"])
cache = Counter("endpoint_cache", "Inputs found in the cache or not.", ["result"])
batch_splits = Counter("endpoint_batch_splits", "Batches split in half.", ["reason"])
queue_size = LiveSum("endpoint_queue_size", "Inputs that are decoded or wait.")
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


class JSONFormatter(logging.Formatter):
    """One JSON object a line; a record's `fields` are among its values."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        line = {
            "time": f"{time.isoformat(timespec='milliseconds')}Z",
            "level": record.levelname,
            "process": record.process,
        }
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter() -> logging.Formatter:
    """Return the format of ENDPOINT_LOG: JSON, or text in gunicorn's own format."""
    if os.environ.get("ENDPOINT_LOG", "").strip() == "json":
        return JSONFormatter()
    text = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
    return logging.Formatter(text, "%Y-%m-%d %H:%M:%S %z")


def configure_logging() -> None:
    """Log to stderr, unless the root logger has a handler already."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("endpoint").setLevel("INFO")
    # The development server logs each request too, in less detail.
    logging.getLogger("werkzeug").addFilter(
        lambda record: not str(record.msg).endswith('"%s" %s %s')
    )


def log_request(fields: dict[str, Any]) -> None:
    """Log an answered request in one line; load balancers' probes only on failure."""
    is_probe = fields["path"] in ("/ping", "/metrics") and fields["status"] < 300
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
