"""Two workers, one of which cannot load its model for a while; and a reload."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

from tests.support.apps import wait_until
from tests.support.images import BULLDOG, CAPTION
from tests.support.server import ROOT, Server


def workers(server: Server) -> list[int]:
    """Return the process ids of gunicorn's workers."""
    master = server.process.pid
    text = Path(f"/proc/{master}/task/{master}/children").read_text()
    return [int(child) for child in text.split()]


def ready_workers(server: Server) -> float:
    lines = server.curl("/metrics").splitlines()
    return float(next(x for x in lines if x.startswith("endpoint_ready ")).split()[1])


def test_worker_that_cannot_load_comes_back_and_the_other_serves(tmp_path):
    model, kept = tmp_path / "model", tmp_path / "kept"
    for folder in (model, kept):
        shutil.copytree(ROOT / "demo" / "model", folder)
    with Server("gunicorn", "--workers", "2", ENDPOINT_MODEL=model) as server:
        server.wait_for(200)
        wait_until(lambda: ready_workers(server) == 2, 60)
        model.rename(tmp_path / "away")
        os.kill(workers(server)[0], signal.SIGKILL)
        server.wait_for_log("The model will be loaded again in 10 s.")
        answers = [server.curl("-F", f"file=@{BULLDOG}", "/") for _ in range(20)]
        assert f"{CAPTION}\n" in answers  # from the other worker
        refused = {text for text in answers if text != f"{CAPTION}\n"}
        assert all("The model cannot be loaded" in text for text in refused)
        kept.rename(model)
        wait_until(lambda: ready_workers(server) == 2, 60)
        assert server.process.poll() is None and "Traceback" not in server.log


def test_server_that_never_loaded_ends(tmp_path):
    missing = tmp_path / "missing"
    with Server("gunicorn", "--workers", "2", ENDPOINT_MODEL=missing) as server:
        assert server.process.wait(60) == 3


def test_reload_says_that_it_makes_the_server_unready():
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        [worker] = workers(server.wait_for(200))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("requests get a 503 until the model is loaded again")
        wait_until(lambda: worker not in workers(server))
        server.wait_for(200)
        time.sleep(1)
        assert json.loads(server.curl("/health"))["state"] == "ready"
