"""A folder to a network, sentences for broken weights, and the fastest number type."""

from pathlib import Path

import pytest

from model_helpers import pretrained as module
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import ModelUnavailable

torch = pytest.importorskip("torch")


@pytest.fixture
def network(tmp_path):
    """Return a small BERT whose weights are in tmp_path."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
    config = transformers.BertConfig(hidden_size=4, intermediate_size=4, **sizes)
    network = transformers.BertModel(config)
    network.save_pretrained(tmp_path)
    return network


def change_weights(folder: Path, **changes) -> None:
    """Replace tensors of a saved network; None removes one."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = {**load_file(file), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, file, {"format": "pt"})


def load_refusal(network, folder: Path) -> str:
    with pytest.raises(ModelUnavailable) as refused:
        load_network(type(network), folder, "cpu")
    return str(refused.value)


def test_network_is_loaded_for_inference_without_a_message(network, tmp_path, capfd):
    loaded = load_network(type(network), tmp_path, "cpu")
    assert not loaded.training and loaded.device.type == "cpu"
    for name, weight in network.state_dict().items():
        assert weight.equal(loaded.state_dict()[name])
    assert capfd.readouterr() == ("", "")


@pytest.mark.attack(6)
def test_missing_weights_are_refused_by_name(network, tmp_path):
    change_weights(tmp_path, **{"pooler.dense.weight": None})
    assert load_refusal(network, tmp_path) == (
        f"The model in {tmp_path} has no weights for pooler.dense.weight."
    )


def test_names_of_many_missing_weights_are_shortened(network, tmp_path):
    names = [name for name, _ in network.named_parameters()]
    change_weights(tmp_path, **dict.fromkeys(names[:5]))
    sentence = load_refusal(network, tmp_path)
    assert sum(name in sentence for name in names) == 3 and "and 2 more" in sentence


@pytest.mark.attack(6)
def test_weights_of_another_shape_are_refused(network, tmp_path):
    change_weights(tmp_path, **{"pooler.dense.bias": torch.ones(5)})
    sentence = "has weights of another shape for pooler.dense.bias."
    assert sentence in load_refusal(network, tmp_path)


@pytest.mark.attack(6)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_refused(network, tmp_path, value):
    change_weights(tmp_path, **{"pooler.dense.bias": torch.full((4,), float(value))})
    sentence = "has weights that are not finite for pooler.dense.bias."
    assert sentence in load_refusal(network, tmp_path)


def test_verbosity_of_transformers_is_restored(network, tmp_path):
    from transformers.utils import logging

    before = logging.get_verbosity()
    load_network(type(network), tmp_path, "cpu")
    assert logging.get_verbosity() == before


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
    monkeypatch.setattr(module, "CPUINFO", file)
    if flags:
        file.write_text(flags)
    assert fast_dtype("cpu") == dtype
