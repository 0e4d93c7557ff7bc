"""Which device a process takes, and how GPUs are counted."""

import ctypes
import shutil
import subprocess

import pytest

from endpoint import device

DRIVER = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
"""


@pytest.mark.parametrize(
    ("gpus", "worker", "found"),
    [(0, 0, "cpu"), (1, 0, "cuda"), (1, 1, "cuda"), (2, 1, "cuda:1"), (2, 2, "cuda:0")],
)
def test_each_worker_takes_the_next_gpu(monkeypatch, gpus, worker, found):
    monkeypatch.setattr(device, "count_gpus", lambda: gpus)
    monkeypatch.setenv("GUNICORN_WORKER", str(worker))
    assert device.find_device() == found


def test_first_gpu_is_taken_without_gunicorn(monkeypatch):
    monkeypatch.setattr(device, "count_gpus", lambda: 2)
    monkeypatch.delenv("GUNICORN_WORKER", raising=False)
    assert device.find_device() == "cuda:0"


@pytest.mark.parametrize("wanted", ["cpu", "mps"])
def test_gpus_are_not_counted_for_another_device(monkeypatch, wanted):
    monkeypatch.setattr(device, "count_gpus", None)
    assert device.find_device(wanted) == wanted


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:7"])
def test_wanted_gpu_is_taken(monkeypatch, wanted):
    monkeypatch.setattr(device, "count_gpus", lambda: 8)
    assert device.find_device(wanted) == wanted


@pytest.mark.parametrize("wanted, gpus", [("cuda", 0), ("cuda:1", 1), ("cuda:99", 8)])
def test_gpu_that_does_not_exist_is_a_sentence(monkeypatch, wanted, gpus):
    monkeypatch.setattr(device, "count_gpus", lambda: gpus)
    with pytest.raises(SystemExit, match=f"^ENDPOINT_DEVICE is {wanted}, but .*\\.$"):
        device.find_device(wanted)


def test_only_a_missing_gpu_is_warned_about(monkeypatch, caplog):
    monkeypatch.setattr(device, "count_gpus", lambda: 1)
    device.find_device()
    assert not caplog.records
    monkeypatch.setattr(device, "count_gpus", lambda: 0)
    device.find_device()
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "NO GPU FOUND" in record.getMessage()


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Return a function that installs a driver of NVIDIA's interface, made with C."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler here")
    load = ctypes.CDLL

    def install(init: int, count: int) -> None:
        source = tmp_path / f"driver_{init}_{count}.c"
        source.write_text(DRIVER)
        library = source.with_suffix(".so")
        macros = [f"-DINIT={init}", f"-DCOUNT={count}"]
        command = [compiler, "-shared", "-fPIC", *macros, source, "-o", library]
        subprocess.check_call(command)
        libraries = {"libcuda.so.1": library}
        monkeypatch.setattr(ctypes, "CDLL", lambda name: load(libraries[name]))

    return install


@pytest.mark.parametrize("count", [0, 1, 8])
def test_driver_is_asked_for_its_gpus(driver, count):
    driver(init=0, count=count)
    assert device.count_gpus() == count


def test_driver_that_fails_has_no_gpus(driver):
    driver(init=999, count=8)
    assert device.count_gpus() == 0


def test_machine_without_a_driver_has_no_gpus(monkeypatch):
    def fail(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert device.count_gpus() == 0
