"""Which device a process takes, and how GPUs are counted."""

import ctypes
import shutil
import subprocess

import pytest

from endpoint import device

DRIVER = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuGetErrorString(int error, const char **text) {
    if (error != 802) return 1;
    *text = "system not yet initialized";
    return 0;
}
"""


@pytest.mark.parametrize(
    ("gpus", "worker", "found"),
    [(0, 0, "cpu"), (1, 0, "cuda"), (1, 1, "cuda"), (2, 1, "cuda:1"), (2, 2, "cuda:0")],
)
def test_each_worker_takes_the_next_gpu(monkeypatch, gpus, worker, found):
    monkeypatch.setattr(device, "count_gpus", lambda: (gpus, ""))
    monkeypatch.setenv("GUNICORN_WORKER", str(worker))
    assert device.find_device() == found


def test_first_gpu_is_taken_without_gunicorn(monkeypatch):
    monkeypatch.setattr(device, "count_gpus", lambda: (2, ""))
    monkeypatch.delenv("GUNICORN_WORKER", raising=False)
    assert device.find_device() == "cuda:0"


@pytest.mark.parametrize("wanted", ["cpu", "mps"])
def test_gpus_are_not_counted_for_another_device(monkeypatch, wanted):
    monkeypatch.setattr(device, "count_gpus", None)
    assert device.find_device(wanted) == wanted


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:7"])
def test_wanted_gpu_is_taken(monkeypatch, wanted):
    monkeypatch.setattr(device, "count_gpus", lambda: (8, ""))
    assert device.find_device(wanted) == wanted


@pytest.mark.parametrize("wanted, gpus", [("cuda", 0), ("cuda:1", 1), ("cuda:99", 8)])
def test_gpu_that_does_not_exist_is_a_sentence(monkeypatch, wanted, gpus):
    monkeypatch.setattr(device, "count_gpus", lambda: (gpus, ""))
    with pytest.raises(SystemExit, match=f"^ENDPOINT_DEVICE is {wanted}, but .*\\.$"):
        device.find_device(wanted)


def test_only_a_missing_gpu_is_warned_about(monkeypatch, caplog):
    monkeypatch.setattr(device, "count_gpus", lambda: (1, ""))
    device.find_device()
    assert not caplog.records
    monkeypatch.setattr(device, "count_gpus", lambda: (0, "no driver"))
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
    assert device.count_gpus() == (count, "")


@pytest.mark.parametrize(
    ("code", "text"), [(802, "system not yet initialized"), (999, "unknown")]
)
def test_problem_of_the_driver_has_its_code_and_text(driver, code, text):
    driver(init=code, count=8)
    problem = f"NVIDIA's driver cannot use it: error {code}, {text}"
    assert device.count_gpus() == (0, problem)


def test_machine_without_a_driver_has_no_gpus(monkeypatch):
    def fail(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    count, problem = device.count_gpus()
    assert count == 0 and "libcuda.so.1: cannot open" in problem


@pytest.fixture
def gpu_file(tmp_path, monkeypatch):
    """Return the file that exists where a GPU is connected, which it is not yet."""
    monkeypatch.setattr(device, "GPU_FILES", ("/dev/missing", tmp_path / "nvidiactl"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "nvidiactl"


def test_gpu_that_its_driver_cannot_use_is_never_replaced_by_the_cpu(driver, gpu_file):
    driver(init=802, count=1)
    assert device.find_device() == "cpu"
    gpu_file.touch()
    with pytest.raises(SystemExit) as error:
        device.find_device()
    assert str(error.value) == (
        "There is a GPU, but NVIDIA's driver cannot use it: error 802, "
        "system not yet initialized; ENDPOINT_DEVICE=cpu serves without it."
    )
    assert device.find_device("cpu") == "cpu"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpu_means_the_cpu(driver, gpu_file, monkeypatch, hidden):
    gpu_file.touch()
    driver(init=100, count=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert device.find_device() == "cpu"


def test_wanted_gpu_that_the_driver_cannot_use_is_a_sentence_with_the_code(driver):
    driver(init=802, count=1)
    with pytest.raises(SystemExit) as error:
        device.find_device("cuda")
    assert str(error.value) == (
        "ENDPOINT_DEVICE is cuda, but NVIDIA's driver cannot use it: error 802, "
        "system not yet initialized."
    )
