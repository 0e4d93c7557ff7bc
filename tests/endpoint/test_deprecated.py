"""Old names of environment variables and metrics, which still work."""

import os
import re

import pytest

from endpoint import deprecated, telemetry
from endpoint.settings import read_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (*deprecated.VARIABLES, *deprecated.VARIABLES.values()):
        monkeypatch.setenv(name, "")  # so that both are restored after the test
        monkeypatch.delenv(name)


def sample(name: str, labels: str = "") -> float:
    """Return the value of a metric in the text that Prometheus reads."""
    line = rf"^{name}{re.escape(labels)} (\S+)$"
    return float(re.search(line, telemetry.metrics(), re.M)[1])


def test_old_variable_works_with_one_warning(monkeypatch, caplog):
    monkeypatch.setenv("ENDPOINT_APP", "tests.support.fake_model")
    for _ in range(3):
        assert read_settings().module == "tests.support.fake_model"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "ENDPOINT_APP is now ENDPOINT_MODULE" in record.getMessage()


def test_new_variable_is_used_before_the_old_one(monkeypatch, caplog):
    monkeypatch.setenv("ENDPOINT_APP", "old")
    monkeypatch.setenv("ENDPOINT_MODULE", "new")
    assert read_settings().module == "new" and not caplog.records


def test_environment_without_old_names_stays_as_it_is(monkeypatch, caplog):
    before = dict(os.environ)
    deprecated.rename_variables()
    assert os.environ == before and not caplog.records


def test_old_metrics_have_the_values_of_the_new_ones():
    telemetry.batch_splits.labels("error").inc()
    telemetry.queue_size.set(5)
    assert sample("endpoint_queued") == sample("endpoint_queue_size") == 5
    labels = '{reason="error"}'
    splits = sample("endpoint_batch_splits_total", labels)
    assert sample("endpoint_splits_total", labels) == splits >= 1
    telemetry.queue_size.set(0)


def test_old_metrics_have_their_help_and_type():
    for old in ("endpoint_queued", "endpoint_splits_total"):
        assert f"# HELP {old} " in telemetry.metrics()
        assert f"# TYPE {old} " in telemetry.metrics()


def test_metrics_with_old_names_are_a_format_that_prometheus_reads():
    from prometheus_client.parser import text_string_to_metric_families

    names = [each.name for each in text_string_to_metric_families(telemetry.metrics())]
    assert len(names) == len(set(names))
    assert {"endpoint_queue_size", "endpoint_queued", "endpoint_ready"} <= set(names)
