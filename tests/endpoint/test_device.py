"""Which device a process takes."""

from types import SimpleNamespace

import pytest

from endpoint import device


@pytest.mark.parametrize(
    ("gpus", "worker", "found"),
    [(0, 0, "cpu"), (1, 0, "cuda"), (1, 1, "cuda"), (2, 1, "cuda:1"), (2, 2, "cuda:0")],
)
def test_each_worker_takes_the_next_gpu(monkeypatch, gpus, worker, found):
    monkeypatch.setattr(device, "_gpus", lambda: gpus)
    monkeypatch.setenv("GUNICORN_WORKER", str(worker))
    assert device.find() == found


def test_wanted_device_is_taken_as_it_is():
    assert device.find("cuda:7") == "cuda:7"


def test_successor_of_a_worker_takes_its_number(gunicorn):
    workers = [SimpleNamespace() for _ in range(4)]
    server = SimpleNamespace(WORKERS={})
    for pid, worker in enumerate(workers[:3]):
        gunicorn["pre_fork"](server, worker)
        server.WORKERS[pid] = worker
    del server.WORKERS[1]
    gunicorn["pre_fork"](server, workers[3])
    assert [worker.number for worker in workers] == [0, 1, 2, 1]
