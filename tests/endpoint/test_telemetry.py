"""Metrics, and the log line of a request as text and as JSON."""

import json
import logging
import os
import re
import sys
from datetime import datetime, timedelta

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


def make_record(message: str = "", **fields) -> logging.LogRecord:
    record = logging.LogRecord("name", logging.INFO, "", 1, message, None, None)
    record.__dict__.update(fields)
    return record


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
    telemetry.log_request(FIELDS)
    assert caplog.messages == [LINE]


def test_path_with_line_breaks_stays_in_one_line(caplog):
    caplog.set_level("INFO", "endpoint")
    telemetry.log_request(FIELDS | {"path": "/predict\n{}"})
    assert r'"PUT /predict\n{}"' in caplog.text.strip()
    assert "\n" not in caplog.messages[0]


@pytest.mark.parametrize("path", ["/ping", "/metrics"])
def test_probes_are_logged_only_when_they_fail(caplog, path):
    caplog.set_level("INFO", "endpoint")
    telemetry.log_request(FIELDS | {"path": path})
    assert not caplog.messages
    telemetry.log_request(FIELDS | {"path": path, "status": 503})
    assert len(caplog.messages) == 1


def test_text_format_is_the_one_of_gunicorn(monkeypatch):
    monkeypatch.setenv("ENDPOINT_LOG", "text")
    line = telemetry.formatter().format(make_record("hello"))
    time = r"\[\d{4}-\d\d-\d\d [\d:]+ [+-]\d{4}\]"
    assert re.fullmatch(rf"{time} \[\d+\] \[INFO\] hello", line)


def test_json_format_has_an_object_a_line():
    line = telemetry.JSONFormatter().format(make_record("one\ntwo"))
    entry = json.loads(line)
    assert "\n" not in line
    assert datetime.fromisoformat(entry["time"]).utcoffset() == timedelta(0)
    assert (entry["level"], entry["message"]) == ("INFO", "one\ntwo")
    assert entry["process"] == os.getpid()


def test_json_format_has_the_fields_of_a_request():
    line = telemetry.JSONFormatter().format(make_record(LINE, fields=FIELDS))
    entry = json.loads(line)
    assert FIELDS.items() <= entry.items() and "message" not in entry


def test_json_format_has_the_whole_traceback():
    try:
        raise ValueError("secret")
    except ValueError:
        record = make_record("failed", exc_info=sys.exc_info())
    entry = json.loads(telemetry.JSONFormatter().format(record))
    assert "secret" in entry["traceback"] and __file__ in entry["traceback"]


@pytest.mark.parametrize("value, is_json", [("text", False), ("json", True)])
def test_setting_chooses_the_format(monkeypatch, value, is_json):
    monkeypatch.setenv("ENDPOINT_LOG", value)
    assert isinstance(telemetry.formatter(), telemetry.JSONFormatter) == is_json
