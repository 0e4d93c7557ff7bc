"""Log lines as text and as JSON."""

import json
import logging
import os
import re
import sys
from datetime import datetime, timedelta

import pytest

from endpoint.log_format import JSONFormatter, formatter
from tests.endpoint.test_telemetry import FIELDS, LINE


def make_record(message: str = "", **fields) -> logging.LogRecord:
    record = logging.LogRecord("name", logging.INFO, "", 1, message, None, None)
    record.__dict__.update(fields)
    return record


def test_text_format_is_the_one_of_gunicorn(monkeypatch):
    monkeypatch.setenv("ENDPOINT_LOG", "text")
    line = formatter().format(make_record("hello"))
    time = r"\[\d{4}-\d\d-\d\d [\d:]+ [+-]\d{4}\]"
    assert re.fullmatch(rf"{time} \[\d+\] \[INFO\] hello", line)


def test_json_format_has_an_object_a_line():
    line = JSONFormatter().format(make_record("one\ntwo"))
    entry = json.loads(line)
    assert "\n" not in line
    assert datetime.fromisoformat(entry["time"]).utcoffset() == timedelta(0)
    assert (entry["level"], entry["message"]) == ("INFO", "one\ntwo")
    assert entry["process"] == os.getpid()


def test_json_format_has_the_fields_of_a_request():
    line = JSONFormatter().format(make_record(LINE, fields=FIELDS))
    entry = json.loads(line)
    assert FIELDS.items() <= entry.items() and "message" not in entry


def test_json_format_has_the_whole_traceback():
    try:
        raise ValueError("secret")
    except ValueError:
        record = make_record("failed", exc_info=sys.exc_info())
    entry = json.loads(JSONFormatter().format(record))
    assert "secret" in entry["traceback"] and __file__ in entry["traceback"]


@pytest.mark.parametrize("value, is_json", [("text", False), ("json", True)])
def test_setting_chooses_the_format(monkeypatch, value, is_json):
    monkeypatch.setenv("ENDPOINT_LOG", value)
    assert isinstance(formatter(), JSONFormatter) == is_json
