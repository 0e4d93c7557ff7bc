"""Metrics, and the log line of a request."""

import re

import pytest

from endpoint import telemetry

FIELDS = {
    "id": "id-1",
    "client": "127.0.0.1",
    "method": "PUT",
    "path": "/predict",
    "status": 200,
    "received": 1000,
    "sent": 7,
    "ms": 12.0,
    "decode_ms": 1.5,
    "queue_ms": 2.0,
    "predict_ms": 8.0,
    "batch": 3,
}
LINE = (
    '127.0.0.1 "PUT /predict" 200, 1000 bytes in, 7 out, 12.0 ms '
    "(decode 1.5, queue 2.0, predict 8.0, batch 3) id-1"
)


def sample(name: str, labels: str = "") -> float:
    """Return the value of a metric in the text that Prometheus reads."""
    line = rf"^{name}{re.escape(labels)} (\S+)$"
    return float(re.search(line, telemetry.metrics(), re.M)[1])


def test_metrics_have_their_names():
    telemetry.requests.labels(200).inc()
    telemetry.stage_seconds.labels("predict").observe(0.02)
    telemetry.batch_size.observe(3)
    telemetry.dropped.labels("deadline").inc()
    telemetry.batch_splits.labels("memory").inc()
    assert sample("endpoint_requests_total", '{status="200"}') >= 1
    buckets = '{le="0.025",stage="predict"}'
    assert sample("endpoint_stage_seconds_bucket", buckets) >= 1
    assert sample("endpoint_batch_size_bucket", '{le="4.0"}') >= 1
    assert sample("endpoint_dropped_total", '{reason="deadline"}') >= 1
    assert sample("endpoint_batch_splits_total", '{reason="memory"}') >= 1
    assert sample("endpoint_ready") in (0, 1)


def test_request_is_logged_in_one_line(caplog):
    caplog.set_level("INFO", "endpoint")
    before = telemetry.requests.labels(200)._value.get()
    telemetry.record_request(FIELDS)
    assert caplog.messages == [LINE]
    assert telemetry.requests.labels(200)._value.get() == before + 1


def test_path_with_line_breaks_stays_in_one_line(caplog):
    caplog.set_level("INFO", "endpoint")
    telemetry.record_request(FIELDS | {"path": "/predict\n{}"})
    assert r'"PUT /predict\n{}"' in caplog.text.strip()
    assert "\n" not in caplog.messages[0]


@pytest.mark.parametrize("path", telemetry.PROBES)
def test_probes_are_logged_only_when_they_fail(caplog, path):
    caplog.set_level("INFO", "endpoint")
    telemetry.record_request(FIELDS | {"path": path})
    assert not caplog.messages
    telemetry.record_request(FIELDS | {"path": path, "status": 503})
    assert len(caplog.messages) == 1
