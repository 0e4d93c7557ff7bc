"""Which errors end the use of a GPU, and what is told of its memory."""

import sys
from types import SimpleNamespace

import pytest

from endpoint import gpu, telemetry


class CUDAError(RuntimeError):
    """Like torch.AcceleratorError, whose message has no words for some codes."""

    def __init__(self, code: int, message: str = "CUDA error") -> None:
        super().__init__(message)
        self.error_code = code


@pytest.mark.parametrize("code", [226, 700, 709, 717, 719, 721, 810, 911, 999])
def test_error_that_ends_the_use_of_a_gpu_is_known_by_its_code(code):
    assert gpu.is_fatal(CUDAError(code))


@pytest.mark.parametrize("code", [1, 2, 98, 209, 701])
def test_error_that_ends_one_call_is_not_fatal(code):
    # torch adds these words to every message.
    words = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    assert not gpu.is_fatal(CUDAError(code, words))


def test_error_of_another_library_is_known_by_its_words():
    message = "CUDA failure 700: an illegal memory access was encountered"
    assert gpu.is_fatal(RuntimeError(message))
    assert not gpu.is_fatal(RuntimeError("CUDA out of memory"))


def test_status_of_a_gpu_is_torchs(monkeypatch):
    torch = SimpleNamespace(
        cuda=SimpleNamespace(
            mem_get_info=lambda device: (30, 80), get_device_name=lambda device: "H100"
        )
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    expected = {"gpu": "H100", "gpu_memory_used": 50, "gpu_memory": 80}
    assert gpu.gpu_status("cuda:1") == expected
    assert gpu.gpu_status("cpu") == gpu.gpu_status(None) == {}

    def fail(device):
        raise RuntimeError("CUDA error: unspecified launch failure")

    torch.cuda.mem_get_info = fail
    assert gpu.gpu_status("cuda") == {"gpu": "does not answer"}
    monkeypatch.delitem(sys.modules, "torch")
    assert gpu.gpu_status("cuda") == {}


def test_memory_of_a_gpu_is_a_metric(monkeypatch):
    gpu.observe_gpu("cpu")
    assert "endpoint_gpu_memory_bytes{" not in telemetry.metrics()
    status = {"gpu": "H100", "gpu_memory_used": 50, "gpu_memory": 80}
    monkeypatch.setattr(gpu, "gpu_status", lambda device: status)
    gpu.observe_gpu("cuda:1")
    labels = 'device="cuda:1",gpu="H100"'
    for part, value in (("used", 50.0), ("total", 80.0)):
        line = f'endpoint_gpu_memory_bytes{{{labels},part="{part}"}} {value}'
        assert line in telemetry.metrics()
