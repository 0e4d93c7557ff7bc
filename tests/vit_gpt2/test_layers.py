"""The layers run with oneDNN and without it, in the fastest dtype of the hardware."""

from types import SimpleNamespace

import pytest
import torch

from tests.vit_gpt2.reference import generate
from vit_gpt2 import layers
from vit_gpt2.beam_search import Captioner


@pytest.mark.parametrize("missing", ["onednn", "operators"])
def test_layers_need_no_onednn(network, images, monkeypatch, missing):
    if missing == "onednn":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    else:
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    captioner = Captioner(network)
    assert not captioner.network.lm_head.is_packed
    assert torch.equal(captioner(images), generate(network, images))


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : avx512f avx512_bf16", torch.bfloat16),
        ("flags : amx_bf16 amx_tile", torch.bfloat16),
        ("flags : avx2 avx512f", torch.float32),
        (None, torch.float32),
    ],
)
def test_bfloat16_is_used_where_the_cpu_has_it(monkeypatch, tmp_path, flags, dtype):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(layers, "CPUINFO", file)
    if flags:
        file.write_text(flags)
    assert layers.fast_dtype("cpu") == dtype
