"""The answers in bfloat16 of the examples that generate text."""

import importlib

import pytest
import torch

from model_interface.model_info import ModelInfo
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
