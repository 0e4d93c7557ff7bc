"""Workers of the model that ships, whose weights disappear; and a reload."""

import json
import os
import shutil
import signal
import time

import pytest

from tests.stress.test_two_workers import ready_workers, workers
from tests.support.apps import wait_until
from tests.support.images import BULLDOG, CAPTION
from tests.support.server import ROOT, Server


@pytest.mark.attack(4)
def test_worker_whose_folder_is_away_comes_back(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "demo" / "model", model)
    with Server("gunicorn", "--workers", "2", ENDPOINT_MODEL=model) as server:
        wait_until(lambda: server.ping() and ready_workers(server) == 2, 180)
        time.sleep(1.5)
        model.rename(tmp_path / "away")
        os.kill(workers(server)[0], signal.SIGKILL)
        server.wait_for_log("The model will be loaded again in 10 s.")
        answers = {server.curl("-F", f"file=@{BULLDOG}", "/") for _ in range(20)}
        assert answers == {f"{CAPTION}\n"}  # from the other worker
        (tmp_path / "away").rename(model)
        wait_until(lambda: ready_workers(server) == 2, 180)
        assert server.process.poll() is None and "Traceback" not in server.log


@pytest.mark.attack(4)
def test_server_that_never_loaded_ends(tmp_path):
    missing = tmp_path / "missing"
    with Server("gunicorn", "--workers", "2", ENDPOINT_MODEL=missing) as server:
        assert server.process.wait(180) == 3


@pytest.mark.attack(17)
def test_reload_says_that_it_makes_the_server_unready():
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        [worker] = workers(server.wait_for(200))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("requests get a 503 until the model is loaded again")
        wait_until(lambda: worker not in workers(server))
        server.wait_for(200)
        time.sleep(1)
        assert json.loads(server.curl("/health"))["state"] == "ready"
