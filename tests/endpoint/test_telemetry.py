"""Metrics, their old names, and the log line of a request."""

import json
import logging
import re
import sys

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


def test_old_names_are_exported_with_the_same_values():
    telemetry.batch_splits.labels("error").inc()
    telemetry.queue_size.set(5)
    assert sample("endpoint_queued") == sample("endpoint_queue_size") == 5
    labels = '{reason="error"}'
    splits = sample("endpoint_batch_splits_total", labels)
    assert sample("endpoint_splits_total", labels) == splits >= 1
    telemetry.queue_size.set(0)


def test_old_names_have_their_help_and_type():
    for old in ("endpoint_queued", "endpoint_splits_total"):
        assert f"# HELP {old} " in telemetry.metrics()
        assert f"# TYPE {old} " in telemetry.metrics()


def test_metrics_are_a_format_that_prometheus_reads():
    from prometheus_client.parser import text_string_to_metric_families

    names = [each.name for each in text_string_to_metric_families(telemetry.metrics())]
    assert len(names) == len(set(names))
    assert {"endpoint_queue_size", "endpoint_queued", "endpoint_ready"} <= set(names)


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


def test_text_format_is_that_of_gunicorn():
    line = telemetry.formatter().format(make_record("hello"))
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d [\d:]+ [+-]\d{4}\] \[\d+\] \[INFO\] hello", line
    )


def test_json_format_has_an_object_a_line():
    line = telemetry.JSONFormatter().format(make_record("one\ntwo"))
    entry = json.loads(line)
    assert "\n" not in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
    assert (entry["level"], entry["message"]) == ("INFO", "one\ntwo")


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


@pytest.mark.parametrize("value, name", [("text", ""), ("json", "JSON")])
def test_setting_chooses_the_format(monkeypatch, value, name):
    monkeypatch.setenv("ENDPOINT_LOG", value)
    assert type(telemetry.formatter()).__name__ == f"{name}Formatter"
