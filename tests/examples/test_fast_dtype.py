"""The number type of the examples that generate text, and their answers in it."""

import importlib

import pytest
import torch

from endpoint.model_info import ModelInfo
from examples.fast_dtype import fast_dtype
from tests.examples import tiny_checkpoints


@pytest.mark.parametrize("name", ("caption_blip", "vision_language", "florence2"))
def test_example_answers_in_bfloat16(name, tmp_path, monkeypatch):
    module = importlib.import_module(f"examples.{name}")
    getattr(tiny_checkpoints, name)(tmp_path)
    monkeypatch.setattr(module, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setenv("ENDPOINT_MODEL", str(tmp_path))
    model = module.Model("cpu")
    assert model.network.dtype == torch.bfloat16
    example = ModelInfo.of(model, name, "cpu").example[0]  # with checked fields
    [output] = model.predict([model.decode(example)])
    assert all(isinstance(value, str) for value in model.encode(output).values())


@pytest.mark.parametrize(
    "capability, dtype",
    [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((12, 0), torch.bfloat16)],
)
def test_gpu_gets_what_it_multiplies_fast(monkeypatch, capability, dtype):
    asked = []
    monkeypatch.setattr(
        torch.cuda,
        "get_device_capability",
        lambda device: asked.append(device) or capability,
    )
    assert fast_dtype("cuda:1") == dtype
    assert asked == ["cuda:1"]  # Another GPU of the machine may be newer.


@pytest.mark.parametrize("device", ("cpu", "mps"))
def test_other_devices_get_float32(device):
    assert fast_dtype(device) == torch.float32
