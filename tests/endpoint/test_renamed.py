"""Old names of variables and metrics, which work for one more release."""

import pytest

from endpoint import telemetry
from endpoint.settings import read_settings
from tests.endpoint.test_telemetry import sample


@pytest.fixture(autouse=True)
def without_module(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODULE", "")  # restored after the test
    monkeypatch.delenv("ENDPOINT_MODULE")


def test_old_name_works_with_one_warning(monkeypatch, caplog):
    monkeypatch.setenv("ENDPOINT_APP", "tests.support.fake_model")
    for _ in range(3):
        assert read_settings().module == "tests.support.fake_model"
    (record,) = caplog.records
    assert "ENDPOINT_APP is now ENDPOINT_MODULE" in record.getMessage()


def test_new_name_is_used_before_the_old_one(monkeypatch, caplog):
    monkeypatch.setenv("ENDPOINT_APP", "old")
    monkeypatch.setenv("ENDPOINT_MODULE", "new")
    assert read_settings().module == "new" and not caplog.records


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
