"""Two workers, one of which cannot load its model for a while."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.apps import wait_until
from tests.support.images import BULLDOG
from tests.support.server import Server


def workers(server: Server) -> list[int]:
    """Return the process ids of gunicorn's workers."""
    master = server.process.pid
    text = Path(f"/proc/{master}/task/{master}/children").read_text()
    return [int(child) for child in text.split()]


def ready_workers(server: Server) -> float:
    lines = server.curl("/metrics").splitlines()
    return float(next(x for x in lines if x.startswith("endpoint_ready ")).split()[1])


MODEL = """
from pathlib import Path
from tests.support.fake_model import Model as FakeModel

class Model(FakeModel):
    def __init__(self, device):
        super().__init__(device)
        exec(Path(__file__).with_suffix(".txt").read_text())
"""
# What happens while a model is loaded, and what the log then says.
FAULTS = {
    "the file has an error": ("nonsense", "name 'nonsense' is not defined"),
    "the weights are missing": ("raise SystemExit('No weights.')", "No weights."),
    "the GPU is full": (
        "raise RuntimeError('CUDA error: out of memory')",
        "CUDA error: out of memory",
    ),
    "memory is full": ("raise MemoryError", ": MemoryError: no message"),
    "the process is killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
}
# gunicorn.conf.py, with less time between two attempts.
CONFIGURATION = """
import runpy
globals().update(runpy.run_path("gunicorn.conf.py"))
import gunicorn_worker.worker
gunicorn_worker.worker.RETRY_SECONDS = 1
"""


@pytest.mark.attack(4)
@pytest.mark.parametrize("name", FAULTS)
def test_worker_that_cannot_load_comes_back_and_the_other_serves(tmp_path, name):
    fault, message = FAULTS[name]
    configuration = tmp_path / "conf.py"
    configuration.write_text(CONFIGURATION)
    (tmp_path / "faulty.py").write_text(MODEL)
    (tmp_path / "faulty.txt").write_text("")
    where = {"ENDPOINT_MODULE": "faulty", "PYTHONPATH": tmp_path}
    command = ("gunicorn", "--workers", "2", "--config", configuration)
    with Server(*command, **where) as server:
        wait_until(lambda: server.ping() and ready_workers(server) == 2, 60)
        time.sleep(1.5)  # Each tells the other within a second.
        (tmp_path / "faulty.txt").write_text(fault)
        os.kill(workers(server)[0], signal.SIGKILL)
        server.wait_for_log(message)
        end = time.monotonic() + 3  # at least two attempts
        while time.monotonic() < end:
            assert server.curl("-F", f"file=@{BULLDOG}", "/") == "640 by 427\n"
        (tmp_path / "faulty.txt").write_text("")
        wait_until(lambda: ready_workers(server) == 2, 60)
        assert server.process.poll() is None
