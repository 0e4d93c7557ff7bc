"""The cores that a process may use, by the files of cgroups and in a real cgroup."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_worker.cores import count_cores, limit_threads
from tests.support.server import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")
CPU = Path("/sys/fs/cgroup/cpu")


@pytest.fixture
def affinity(monkeypatch):
    """Let the process run on any of 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


@pytest.mark.parametrize(
    "files, cores",
    [
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "12800000 100000\n"}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_quota_of_a_cgroup_is_counted(affinity, tmp_path, files, cores):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert count_cores(tmp_path) == cores


def test_affinity_is_counted(tmp_path):
    script = "from gunicorn_worker.cores import *; print(count_cores(Path('none')))"
    first = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "--cpu-list", first, sys.executable, "-c", script]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "1\n"


def test_threads_are_set_where_there_are_fewer_cores(affinity, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    limit_threads(64)
    assert "PYTHON_CPU_COUNT" not in os.environ
    with monkeypatch.context() as environment:
        environment.setattr(os, "environ", dict(os.environ))
        limit_threads(4)
        assert os.environ["PYTHON_CPU_COUNT"] == "4"
        assert os.environ["OMP_NUM_THREADS"] == "3"  # a user's own


@pytest.fixture
def quota():
    """Return a command that starts another with a quota of one core."""
    folder = CPU / f"test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("needs root and version 1 of cgroups")
    (folder / "cpu.cfs_quota_us").write_text("100000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    # As in a container, the process finds its own cgroup at the root of all.
    enter = f'echo $$ > {folder}/tasks; mount --bind {folder} {CPU}; exec "$@"'
    yield ["unshare", "--mount", "sh", "-c", enter, "sh"]
    folder.rmdir()


def test_process_with_a_quota_starts_as_many_threads(quota):
    script = (
        "import runpy; settings = runpy.run_path('gunicorn.conf.py')\n"
        "from model_helpers.slots import CORES; import torch\n"
        "print(CORES, torch.get_num_threads()); settings['on_exit'](None)"
    )
    command = [*quota, sys.executable, "-c", script]
    variables = {"PYTHON_CPU_COUNT", "OMP_NUM_THREADS"}
    environment = {k: v for k, v in os.environ.items() if k not in variables}
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    assert output == "1 1\n"
