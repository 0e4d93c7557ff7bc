"""What the check of a GPU says, and its kernels on the CPU in the place of a GPU."""

import pytest
import torch

from tests.support.gpu import NEEDS_GPU
from tools import gpu_check

KERNELS = gpu_check.KERNELS


@pytest.mark.parametrize(
    "message, sentence",
    [
        (
            "Found no NVIDIA driver on your system. Please check that you have",
            gpu_check.NO_DRIVER,
        ),
        ("No CUDA GPUs are available", gpu_check.NO_GPU),
        (
            "The NVIDIA driver on your system is too old (found version 12080). Please",
            "The driver is too old: it has CUDA 12.8, torch",
        ),
        (
            "Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
            "functions before? Error 802: system not yet initialized",
            "CUDA does not start: Error 802: system not yet initialized.",
        ),
        (
            "CUDA unknown error - this may be due to an incorrectly set up",
            "There is a driver, but CUDA does not start: CUDA unknown error.",
        ),
    ],
)
def test_driver_that_does_not_start_is_explained(message, sentence):
    assert sentence in gpu_check.explain_driver(message)


@pytest.mark.parametrize(
    "capability, is_supported",
    [((7, 0), False), ((7, 5), True), ((8, 9), True), ((9, 0), False), ((12, 1), True)],
)
def test_gpu_needs_kernels_of_its_first_digit(capability, is_supported):
    known = ["sm_75", "sm_80", "sm_86", "sm_120"]
    assert gpu_check.has_kernels(capability, known) == is_supported
    assert gpu_check.has_kernels(capability, [*known, "compute_70"])


def test_newer_gpu_compiles_kernels_that_older_ones_cannot():
    assert gpu_check.has_kernels((9, 0), ["sm_80", "compute_80"])
    assert not gpu_check.has_kernels((7, 5), ["sm_80", "compute_80"])
    assert not gpu_check.has_kernels((8, 0), ["sm_86"])


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_has_the_values_of_the_cpu(name, dtype):
    line = gpu_check.check_kernel(name, "cpu", dtype, seconds=0)
    assert line.startswith(f"{name}, ") and "1 calls" in line
    if dtype == torch.float32:
        assert "at most 0.00%" in line


@pytest.mark.parametrize(
    "fault", [lambda x: x * 1.1, lambda x: x * 0, lambda x: x.where(x < 1, torch.nan)]
)
def test_kernel_with_other_values_ends_the_check(monkeypatch, fault):
    def compute(inputs):
        found = inputs["weight"].float().cumsum(0)
        # The reference gets float32; the kernel under test gets bfloat16.
        return fault(found) if inputs["weight"].dtype == torch.bfloat16 else found

    monkeypatch.setitem(KERNELS, "sum", compute)
    with pytest.raises(SystemExit) as ended:
        gpu_check.check_kernel("sum", "cpu", torch.bfloat16, seconds=0)
    assert "Values differ from the CPU's: sum, bfloat16 by" in str(ended.value)


def test_kernel_that_fails_ends_the_check(monkeypatch):
    def fail(inputs):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with")

    monkeypatch.setitem(KERNELS, "top k", fail)
    with pytest.raises(SystemExit, match="fails: top k, float32: .* available$"):
        gpu_check.check_kernel("top k", "cpu", torch.float32, seconds=0)


MODEL = """
from itertools import count

from model_interface.files import Upload

answers = count() if {differs} else [0] * 9


class Model:
    name = "counting"
    max_batch = 3
    example = Upload(b"123")

    def __init__(self, device):
        self.answers = iter(answers)

    def decode(self, upload):
        return len(upload.data)

    def predict(self, lengths):
        assert set(lengths) == {{3}}
        return lengths

    def encode(self, length):
        return {{"length": length, "calls": next(self.answers)}}
"""


@pytest.mark.parametrize("differs", (False, True))
def test_model_is_timed_and_compared_with_the_cpu(model_file, monkeypatch, differs):
    module = model_file(MODEL.format(differs=differs)).stem
    monkeypatch.setenv("ENDPOINT_MODULE", module)
    monkeypatch.setenv("ENDPOINT_MODEL", "other")
    lines = list(gpu_check.check_model("cpu", seconds=0))
    assert lines[0].startswith("counting, 1 at once: ")
    assert lines[1].startswith("counting, 3 at once: ")
    shown = "The answers on the GPU and on the CPU differ: {'length': 3, 'calls': 0}"
    assert [line.startswith(shown) for line in lines[2:]] == [True] * differs


def test_other_caption_of_the_bundled_model_ends_the_check(model_file, monkeypatch):
    module = model_file(MODEL.format(differs=True)).stem
    monkeypatch.setenv("ENDPOINT_MODULE", module)
    monkeypatch.setenv("ENDPOINT_MODEL", "demo")
    with pytest.raises(SystemExit, match="^Values differ: .*'calls': 1}$"):
        list(gpu_check.check_model("cpu", seconds=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is a GPU.")
def test_machine_without_gpu_gets_one_sentence(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code in (gpu_check.NO_DRIVER, gpu_check.NO_GPU)


@NEEDS_GPU
def test_gpu_is_all_right(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu_check", "--seconds", "0.1"])
    gpu_check.main()
    assert capsys.readouterr().out.endswith("are all right.\n")
