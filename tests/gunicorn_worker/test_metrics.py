"""Metrics in memory where possible, and workers that serve where there is no space."""

import os
import resource
import signal
import tempfile
from pathlib import Path

import pytest
from prometheus_client import Gauge

from endpoint import responses, telemetry
from endpoint.gpu import gpu_memory
from gunicorn_worker import metrics
from tests.stress.process import worker_pid
from tests.support.apps import FAKE_MODEL, wait_until
from tests.support.images import make_image
from tests.support.server import SCRIPTS, Server

METRICS = "PROMETHEUS_MULTIPROC_DIR"


def test_metrics_are_in_memory_where_that_is_writable(gunicorn):
    memory = Path("/dev/shm")
    is_writable = os.access(memory, os.W_OK)
    assert (Path(os.environ[METRICS]).parent == memory) == is_writable
    assert gunicorn["worker_tmp_dir"] == ("/dev/shm" if is_writable else None)


@pytest.fixture
def unwritable_memory(monkeypatch):
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != "/dev/shm" and access(path, mode)
    )


@pytest.mark.attack(17)
def test_metrics_are_on_disk_where_memory_is_not_writable(unwritable_memory, gunicorn):
    assert not os.environ[METRICS].startswith("/dev/shm")
    assert gunicorn["worker_tmp_dir"] is None


@pytest.mark.attack(8)
def test_files_of_a_process_are_reserved(gunicorn):
    files = sorted(Path(os.environ[METRICS]).iterdir())
    kinds = ("counter", "gauge_livesum", "gauge_mostrecent", "histogram")
    assert [file.name for file in files] == [f"{k}_{os.getpid()}.db" for k in kinds]
    declared = [each for each in vars(telemetry).values() if isinstance(each, Gauge)]
    modes = {each._multiprocess_mode for each in (*declared, gpu_memory)}
    assert {f"gauge_{mode}" for mode in modes} <= set(kinds)
    assert all(file.stat().st_blocks * 512 >= metrics.FILE_BYTES for file in files)


@pytest.mark.attack(8)
def test_folder_without_space_is_removed(tmp_path, monkeypatch):
    def fail():
        raise OSError("No space left on device")

    monkeypatch.setenv(METRICS, "")
    monkeypatch.setattr(metrics, "_reserve_space", fail)
    monkeypatch.setattr(metrics, "memory_folder", lambda: tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    metrics.make_folder()
    assert METRICS not in os.environ and list(tmp_path.iterdir()) == []


def test_folder_of_metrics_is_kept_by_a_reload(gunicorn):
    folder = os.environ[METRICS]
    metrics.make_folder()
    assert os.environ[METRICS] == folder


@pytest.mark.attack(8)
def test_worker_without_space_for_metrics_serves_without(tmp_path):
    with Server("gunicorn", ENDPOINT_MODULE=FAKE_MODEL) as server:
        first = worker_pid(server.wait_for(200))
        # The next worker inherits the limit, which stands for a full disk.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
        os.kill(first, signal.SIGKILL)
        server.wait_for_log("This worker serves without metrics: ")
        wait_until(lambda: worker_pid(server) not in (0, first))
        second = worker_pid(server.wait_for(200))
        image = tmp_path / "image.png"
        image.write_bytes(make_image(8, 9))
        for _ in range(20):
            assert server.curl("-T", image, "/predict") == "8 by 9\n"
            assert "endpoint_requests_total" in server.curl("/metrics")
        assert worker_pid(server) == second


@pytest.mark.attack(8)
def test_server_without_space_for_metrics_counts_in_memory(tmp_path):
    command = f"ulimit -f 1; exec '{SCRIPTS / 'gunicorn'}' 2>/dev/null"
    with Server("/bin/sh", "-c", command, ENDPOINT_MODULE=FAKE_MODEL) as server:
        server.wait_for(200)
        assert 'endpoint_requests_total{status="200"}' in server.curl("/metrics")


@pytest.mark.attack(8)
def test_lack_of_space_is_no_error_of_the_client(app, caplog):
    with app.test_request_context():
        response = responses.error_response(OSError(28, "No space left on device"))
    assert response.status_code == 500 and "No space left" in caplog.text
    assert b"space" not in response.data
