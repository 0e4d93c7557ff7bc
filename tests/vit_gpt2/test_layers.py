"""The layers run with oneDNN and without it."""

from types import SimpleNamespace

import pytest
import torch

from tests.vit_gpt2.reference import generate
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
