"""Workers that know whether they and the others are ready."""

import signal
from types import SimpleNamespace

import pytest
from gunicorn.workers.gthread import ThreadWorker

from gunicorn_worker import worker as module
from gunicorn_worker.worker import EndpointWorker
from tests.support.server import Server


@pytest.fixture(autouse=True)
def flags(monkeypatch):
    monkeypatch.setattr(module, "ready", bytearray(4))
    monkeypatch.setattr(module, "was_ready", bytearray(1))
    monkeypatch.setattr(module, "ends_server", bytearray(1))


@pytest.fixture
def worker(monkeypatch):
    """Return a worker 0 that accepts; its loop does not run."""
    worker = EndpointWorker.__new__(EndpointWorker)
    worker.alive, worker._accepting = True, True
    worker.nr_conns, worker.worker_connections = 0, 1
    worker.batcher = SimpleNamespace(state="loading")
    monkeypatch.setattr(EndpointWorker.__base__, "murder_pending", lambda self: None)
    monkeypatch.setattr(
        ThreadWorker,
        "set_accept_enabled",
        lambda self, enabled: setattr(self, "_accepting", enabled),
    )
    return worker


@pytest.mark.parametrize(
    "state, other, accepts",
    [("loading", 0, True), ("failed", 0, True), ("ready", 0, True)]
    + [("loading", 1, False), ("failed", 1, False), ("ready", 1, True)],
)
def test_worker_accepts_unless_only_others_are_ready(worker, state, other, accepts):
    worker.batcher.state, module.ready[1] = state, other
    worker.murder_pending()
    worker.set_accept_enabled(True)  # as gunicorn does in every turn of its loop
    assert worker._accepting is accepts
    assert module.ready[0] == module.was_ready[0] == (state == "ready")


def test_worker_accepts_again_once_the_other_has_ended(worker):
    module.ready[1] = 1
    worker.murder_pending()
    assert worker._accepting is False
    module.ready[1] = 0
    worker.set_accept_enabled(True)
    assert worker._accepting is True


def test_worker_that_ends_is_not_ready_for_the_others(worker):
    worker.batcher.state = "ready"
    worker.murder_pending()
    worker.alive = False
    worker.murder_pending()
    assert module.ready[0] == 0 and module.was_ready[0] == 1


def test_worker_that_ends_accepts_no_more(worker):
    worker.batcher.state = "ready"
    worker.murder_pending()
    worker.alive = False
    worker.set_accept_enabled(False)  # as gunicorn does at SIGTERM
    worker.murder_pending()
    assert worker._accepting is False


def test_flag_of_a_worker_that_was_killed_is_cleared(gunicorn):
    gunicorn["ready"][3] = 1
    stopping = SimpleNamespace(LISTENERS=[])
    gunicorn["child_exit"](stopping, SimpleNamespace(number=3, pid=1))
    assert gunicorn["ready"][3] == 0


@pytest.mark.attack(4)
@pytest.mark.parametrize("loaded, slept, status", [(0, [], 3), (1, [10.0], 1)])
def test_worker_is_retried_only_if_the_model_was_loaded_before(
    monkeypatch, caplog, loaded, slept, status
):
    statuses, pauses = [], []
    module.was_ready[0] = loaded
    monkeypatch.setattr(module, "_exit", statuses.append)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    module.end_process(3)
    assert (pauses, statuses) == (slept, [status])
    assert ("The model will be loaded again in 10 s." in caplog.messages) == loaded


def test_only_one_worker_ends_the_server(monkeypatch):
    statuses = []
    monkeypatch.setattr(module, "_exit", statuses.append)
    for _ in range(3):
        module.end_process(3)
    assert statuses == [3, 1, 1]


DYING = """
    import os

    class Model:
        decode = predict = encode = print

        def __init__(self, device):
            {}
"""
DEATHS = ("os._exit(0)", "os._exit(1)", "os.kill(os.getpid(), 11)")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("death", DEATHS)
def test_model_whose_process_dies_ends_the_server(model_file, tmp_path, death, workers):
    name = model_file(DYING.format(death)).stem
    command = ("gunicorn", "--workers", workers)
    with Server(*command, ENDPOINT_MODULE=name, PYTHONPATH=tmp_path) as server:
        assert server.process.wait(60) == 3
        assert "The model cannot be loaded: its process has died." in server.log


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_server_that_is_still_loading_can_be_stopped(model_file, tmp_path, signal_name):
    name = model_file(DYING.format("__import__('time').sleep(30)")).stem
    with Server("gunicorn", ENDPOINT_MODULE=name, PYTHONPATH=tmp_path) as server:
        server.wait_for(204)
        server.process.send_signal(getattr(signal, signal_name))
        if signal_name == "SIGHUP":
            server.wait_for_log("Reloading: ")
            server.wait_for_log("Worker exiting")
            server.wait_for(204)
            server.process.terminate()
        assert server.process.wait(60) == 0
        assert "has died" not in server.log
