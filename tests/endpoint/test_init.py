"""create_app and serve: what is put together, when, and what is never imported."""

from types import SimpleNamespace

import pytest

import endpoint
from endpoint import create_app
from tests.support.apps import FAKE_MODEL, wait_until
from tests.support.server import ROOT, Server


def test_settings_are_in_the_configuration(monkeypatch):
    monkeypatch.setenv("ENDPOINT_QUEUE", "5")
    monkeypatch.setenv("ENDPOINT_DEADLINE", "2.5")
    monkeypatch.setenv("ENDPOINT_MAX_UPLOAD_MB", "0.5")
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    config = create_app(FAKE_MODEL).config
    assert (config["QUEUE"], config["DEADLINE"], config["API_KEY"]) == (5, 2.5, "12345")
    assert (config["MAX_CONTENT_LENGTH"], config["MODULE"]) == (500_000, FAKE_MODEL)


def test_create_app_loads_no_model():
    batcher = create_app(FAKE_MODEL).extensions["batcher"]
    assert batcher.model is None and batcher.health()[0] == "loading"


def test_serve_loads_the_model_that_the_setting_names(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODULE", FAKE_MODEL)
    batcher = endpoint.serve().extensions["batcher"]
    wait_until(lambda: batcher.health()[0] == "ready")
    assert batcher.info.name == "fake"


def test_model_is_loaded_on_the_device_that_is_found(monkeypatch):
    monkeypatch.setenv("ENDPOINT_DEVICE", "cpu")
    monkeypatch.setattr(
        "endpoint.batcher.find_device", lambda wanted: f"found for {wanted}"
    )
    batcher = create_app(FAKE_MODEL).extensions["batcher"]
    batcher.start()
    wait_until(lambda: batcher.health()[0] == "ready")
    assert batcher.info.device == "found for cpu"


LIST_MODULES = """
    import sys

    class Model:
        max_batch = 1

        def __init__(self, device):
            pass

        def decode(self, upload):
            return None

        def predict(self, inputs):
            return [" ".join(sorted(sys.modules))]

        def encode(self, output):
            return {"modules": output}
"""


@pytest.mark.parametrize("command", [["gunicorn"], ["flask", "run"]])
def test_server_imports_only_what_it_needs(model_file, tmp_path, command):
    module = model_file(LIST_MODULES).stem
    with Server(*command, ENDPOINT_MODULE=module, PYTHONPATH=tmp_path) as server:
        modules = server.wait_for(200).curl("-d", "anything", "/").split()
    assert "endpoint.app" in modules
    kept = {"endpoint", "gunicorn_worker", "model_interface"}
    own = {path.name for path in ROOT.iterdir()} - kept
    assert "model_helpers" in own
    assert own.isdisjoint(name.partition(".")[0] for name in modules)
    assert "torch" not in modules and "transformers" not in modules


@pytest.mark.attack(11)
def test_gunicorn_serves_with_enough_threads(gunicorn, monkeypatch):
    assert gunicorn["wsgi_app"] == "endpoint:serve()"
    assert gunicorn["workers"] == 1 and gunicorn["preload_app"] is False
    # An input that waits holds a thread, and probes need some as well.
    assert gunicorn["threads"] >= gunicorn["settings"].queue + 32 + 200


def test_gunicorn_waits_for_accepted_requests(gunicorn):
    assert gunicorn["graceful_timeout"] > gunicorn["settings"].deadline
    assert gunicorn["keepalive"] > 60  # Proxies keep connections for 60 s.


def test_replacement_of_a_worker_takes_its_number(gunicorn):
    workers = [SimpleNamespace() for _ in range(4)]
    server = SimpleNamespace(WORKERS={})
    for pid, worker in enumerate(workers[:3]):
        gunicorn["pre_fork"](server, worker)
        server.WORKERS[pid] = worker
    del server.WORKERS[1]
    gunicorn["pre_fork"](server, workers[3])
    assert [worker.number for worker in workers] == [0, 1, 2, 1]


def test_worker_passes_its_number_to_the_device(gunicorn, monkeypatch):
    monkeypatch.setenv("GUNICORN_WORKER", "")
    gunicorn["post_fork"](None, SimpleNamespace(number=2))
    monkeypatch.setattr("endpoint.device.count_gpus", lambda: (4, ""))
    assert endpoint.device.find_device() == "cuda:2"
