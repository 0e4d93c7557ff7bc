"""The search and the attention maps run on CUDA tensors, without a GPU.

Under FakeTensorMode a tensor has a device, a dtype and a shape, but no values. Code
that needs a value fails: on a real GPU it would wait for the value, which a CUDA graph
cannot do. `Inspector` also refuses operators that mix devices.
"""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from tests.vit_gpt2.reference import MAX_LENGTH
from vit_gpt2 import attention_maps, beam_search
from vit_gpt2.beam_search import Captioner

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
COPIES = ("aten::_to_copy", "aten::lift_fresh")


class Inspector(TorchDispatchMode):
    """Refuse operators that a CUDA graph cannot hold, and count the others."""

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.allowed = allowed  # operators that may use the CPU
        self.calls: Counter[tuple[str, ...]] = Counter()  # of a name and its devices

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        output = operator(*args, **(kwargs or {}))
        name = operator.name()
        if name == "prim::device":  # reads the attribute of a fake tensor
            return output
        values = tree_iter((args, kwargs, output))
        devices = {x.device.type for x in values if isinstance(x, torch.Tensor)}
        assert devices == {"cuda"} or name in self.allowed, f"{name} uses {devices}"
        # An attention draws random numbers only for dropout, which is off.
        is_random = torch.Tag.nondeterministic_seeded in operator.tags
        assert not is_random or "_scaled_dot_product_" in name, name
        self.calls[name, *sorted(devices)] += 1
        return output


def fake_captioner(network, mode, dtype, *options) -> Captioner:
    """Return a captioner whose weights are fake tensors on "cuda"."""
    network = copy.deepcopy(network).to("meta", dtype)
    with mode, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captioner, "capture", lambda *_: None)
        network._apply(lambda x: torch.empty(x.shape, dtype=x.dtype, device="cuda"))
        return Captioner(network, *options)


# In inference_mode, composite operators would reach Inspector as a whole.
@torch.no_grad()
def search(network, dtype=torch.bfloat16, num_beams=4, size=2, steps=5, early=False):
    """Search with fake tensors; return the number of operators on the GPU."""
    mode = FakeTensorMode()
    captioner = fake_captioner(network, mode, dtype, num_beams, steps + 1)
    assert not captioner.can_exit_early
    captioner.can_exit_early = early
    with mode, Inspector() as inspector:
        images = torch.empty(size, 224, 224, 3, dtype=torch.uint8, device="cuda")
        tokens = captioner.search(images)
    assert (tokens.shape, tokens.dtype) == ((size, steps + 1), torch.int64)
    assert tokens.device.type == "cuda"
    return sum(inspector.calls.values())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_beams", [1, 2, 4, 8])
def test_search_stays_on_the_gpu_and_reads_no_value(network, dtype, num_beams):
    for size in (1, 3, 32):
        assert search(network, dtype, num_beams, size) > 300


def test_search_of_full_length_stays_on_the_gpu_and_reads_no_value(network):
    assert search(network, size=32, steps=MAX_LENGTH - 1) > 1000


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@torch.no_grad()
def test_attention_maps_cross_to_the_gpu_and_back_once(network, dtype):
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    captioner = fake_captioner(network, mode, dtype)
    images = [np.zeros((224, 224, 3), np.uint8)] * 3
    token_ids = torch.zeros(3, MAX_LENGTH - 1, dtype=torch.int64)
    with mode, Inspector(COPIES) as inspector:
        compute = attention_maps.attention_maps.__wrapped__
        maps = compute(captioner.network, images, token_ids)
    assert (maps.shape, maps.device.type) == ((3, MAX_LENGTH - 1, 196), "cpu")
    assert inspector.calls["aten::_to_copy", "cpu", "cuda"] == 3  # images, tokens, maps


def read_a_value(tensor, indices):
    return tensor[:, : indices.max().item()]


def index_from_the_cpu(tensor, indices):
    return tensor[:, torch.arange(indices.shape[1], device="cpu")]


def make_a_shape_of_data(tensor, indices):
    return tensor[:, indices[0] > 0]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (read_a_value, DataDependentOutputException, "_local_scalar_dense"),
        (index_from_the_cpu, AssertionError, "uses .*cpu"),
        (make_a_shape_of_data, DynamicOutputShapeException, "nonzero"),
    ],
)
def test_planted_fault_is_found(network, monkeypatch, fault, error, message):
    monkeypatch.setattr(beam_search, "gather_beams", fault)
    with pytest.raises(error, match=message):
        search(network)


def test_early_exit_would_read_a_value(network):
    with pytest.raises(DataDependentOutputException):
        search(network, early=True)
