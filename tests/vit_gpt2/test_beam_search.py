"""The search against transformers' `generate`, token for token."""

import copy
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch.nn.functional import pad
from transformers import (
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from benchmarks import checkpoint
from demo.scenes import draw, sample
from endpoint import layers
from vit_gpt2.beam_search import Captioner, captioner_for, supports

BUNDLED = Path(__file__).parent.parent / "demo" / "model"
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
LENGTH = 16
START, END, PADDING = 3, 29, 5
load = VisionEncoderDecoderModel.from_pretrained


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Several only wait for each other in a network as narrow as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network():
    """Few words and wild weights, so that captions end early, late or never."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
    tokens = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PADDING}
    vit = ViTConfig(intermediate_size=64, initializer_range=0.5, **sizes)
    gpt2 = GPT2Config(
        vocab_size=61,
        n_positions=LENGTH,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.5,
        add_cross_attention=True,
        is_decoder=True,
        tie_word_embeddings=False,
        **tokens,
    )
    join = VisionEncoderDecoderConfig.from_encoder_decoder_configs
    config = join(vit, gpt2, decoder_start_token_id=START, **tokens)
    return VisionEncoderDecoderModel(config).eval()


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (33, 7, 7, 3), np.uint8)
    return pixels.repeat(32, 1).repeat(32, 2)  # (33, 224, 224, 3)


@pytest.fixture(scope="module")
def scenes():
    randoms = [Random(f"decoding {index}") for index in range(40)]
    return np.stack([np.asarray(draw(sample(random), random)) for random in randoms])


@pytest.fixture(scope="module")
def bundled():
    if not (BUNDLED / "config.json").is_file():
        pytest.skip("The bundled model is not there.")
    return load(BUNDLED, dtype=torch.float32).eval()


@torch.inference_mode()
def generate(network, images, beams=4):
    """Return transformers' tokens (images, LENGTH)."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    ones = torch.ones(len(images), 197, dtype=torch.long, device=network.device)
    tokens = network.generate(
        pixels.to(network.device, network.dtype),
        attention_mask=ones,
        decoder_attention_mask=ones[:, :1],
        max_length=LENGTH,
        num_beams=beams,
    ).cpu()
    padding = network.generation_config.pad_token_id
    return pad(tokens, (0, LENGTH - tokens.shape[1]), value=padding)


def in_batches(captioner, images, size):
    starts = range(0, len(images), size)
    return torch.cat([captioner(images[start : start + size]) for start in starts])


def lengths(tokens):
    """Return how many tokens the captions have up to their end, all different ones."""
    ends = tokens[:, 1:] == END
    return {int(row.int().argmax()) if row.any() else LENGTH for row in ends}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("beams", [1, 2, 4, 8])
def test_tokens_equal_generate_in_batches_of_any_size(network, images, beams, device):
    network = copy.deepcopy(network).to(device)
    captioner, theirs = Captioner(network, beams), generate(network, images, beams)
    assert len(lengths(theirs)) > 2
    for size in (1, 3, 8, 33):
        assert torch.equal(in_batches(captioner, images, size), theirs)


def test_tokens_depend_on_no_order_and_no_neighbour(network, images):
    order = torch.randperm(33)
    captioner = Captioner(network)
    assert torch.equal(captioner(images[order.numpy()]), captioner(images)[order])


@pytest.mark.parametrize("beams", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "settings",
    [
        {"length_penalty": 0.0},
        {"length_penalty": 2.0},
        {"length_penalty": -1.0},
        {"early_stopping": True},
        {"early_stopping": True, "length_penalty": 3.0},
        {"eos_token_id": 11, "decoder_start_token_id": 11},
    ],
    ids=str,
)
def test_settings_are_followed(network, images, beams, settings):
    network = copy.deepcopy(network)
    network.generation_config.update(**settings)
    theirs = generate(network, images, beams)
    assert torch.equal(Captioner(network, beams)(images), theirs)


def test_narrow_decoder_is_bridged(network, images):
    network = copy.deepcopy(network)
    network.enc_to_dec_proj = torch.nn.Linear(32, 32)
    captioner = Captioner(network)
    assert not torch.equal(captioner(images), generate(network, images))
    with torch.no_grad():
        network.enc_to_dec_proj.weight.copy_(torch.eye(32))
        network.enc_to_dec_proj.bias.zero_()
    assert torch.equal(captioner(images), generate(network, images))


@pytest.mark.parametrize("beams", [1, 4])
def test_layout_of_the_real_checkpoint(tmp_path, images, beams):
    checkpoint.write(tmp_path, **checkpoint.SMALL)
    network = load(tmp_path, dtype=torch.float32).eval()
    theirs = generate(network, images[:8], beams)
    assert torch.equal(Captioner(network, beams)(images[:8]), theirs)


@pytest.mark.parametrize("beams", [1, 2, 4, 8])
def test_bundled_model_says_the_same(bundled, scenes, beams):
    captioner, theirs = Captioner(bundled, beams), generate(bundled, scenes, beams)
    assert len({int((row != 0).sum()) for row in theirs}) > 3
    for size in (1, 8, 33):
        assert torch.equal(in_batches(captioner, scenes, size), theirs)


@pytest.mark.parametrize("device", DEVICES)
def test_bundled_model_says_the_same_in_bfloat16(bundled, scenes, device):
    network = copy.deepcopy(bundled).to(device, torch.bfloat16)
    ours, theirs = Captioner(network)(scenes), generate(bundled, scenes)
    assert (ours == theirs).all(1).sum() >= 39  # of 40


def test_search_asks_the_device_nothing(network):
    """Tensors on "meta" have shapes but no values: whoever asks for one fails."""
    captioner = Captioner(copy.deepcopy(network).to("meta"))
    images = torch.empty(3, 224, 224, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        assert captioner.search(images).shape == (3, LENGTH)


def test_steps_after_the_last_end_change_nothing(network, images):
    captioner = Captioner(network)
    steps, step = [], captioner.network.step
    captioner.network.step = lambda *state: steps.append(state) or step(*state)
    early = in_batches(captioner, images, 1)
    assert len(steps) < 33 * (LENGTH - 1)
    captioner.may_stop = False  # as on CUDA
    assert torch.equal(captioner(images), early)


def test_layers_need_no_onednn(network, images, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert torch.equal(Captioner(network)(images), generate(network, images))


class FakeGraph:
    """Recomputes on replay what a CUDA graph would."""

    def __init__(self, captioner, size):
        self.search, self.pixels = captioner.search, captioner.pixels[:size]
        self.tokens = torch.full((size, LENGTH), -1)

    def replay(self):
        self.tokens.copy_(self.search(self.pixels))


@pytest.mark.parametrize("count", [1, 3, 8, 33])
def test_graphs_are_filled_up_and_taken_in_turn(network, images, count):
    captioner = Captioner(network, most=8)
    captioner.pinned = torch.full((8, 224, 224, 3), 9, dtype=torch.uint8)
    captioner.pixels = captioner.pinned.clone()
    for size in (8, 4, 2, 1):
        graph = FakeGraph(captioner, size)
        captioner.graphs[size] = graph, graph.tokens
    assert torch.equal(captioner(images[:count]), generate(network, images[:count]))


@pytest.mark.parametrize(
    "settings",
    [
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.2},
        {"do_sample": True},
        {"max_new_tokens": 5},
        {"early_stopping": "never"},
        {"eos_token_id": [1, 2]},
    ],
    ids=str,
)
def test_settings_it_would_not_follow_are_refused(network, settings):
    network = copy.deepcopy(network)
    network.generation_config.update(**settings)
    assert not supports(network)
    with pytest.raises(ValueError, match="ViT with a GPT-2"):
        Captioner(network)


def test_what_it_refuses_is_left_to_generate(network, images):
    network = copy.deepcopy(network)
    network.generation_config.no_repeat_ngram_size = 1
    ours = captioner_for(network, beams=2)(images)
    theirs = generate(network, images, beams=2)
    assert torch.equal(ours, theirs[:, : ours.shape[1]])


def test_settings_of_old_configurations_are_no_obstacle(network):
    network = copy.deepcopy(network)
    network.generation_config.update(
        **{"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0},
        **{"no_repeat_ngram_size": 0, "min_length": 0, "repetition_penalty": 1.0},
        **{"num_return_sequences": 1, "early_stopping": False, "length_penalty": 1.0},
    )
    assert supports(network)


@pytest.mark.parametrize("name", ["activation_function", "model_type"])
def test_other_architectures_are_refused(network, name):
    network = copy.deepcopy(network)
    setattr(network.decoder.config, name, "another")
    assert not supports(network)
    assert not supports(network.decoder)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : avx512f avx512_bf16", torch.bfloat16),
        ("flags : amx_bf16 amx_tile", torch.bfloat16),
        ("flags : avx2 avx512f", torch.float32),
        (None, torch.float32),
    ],
)
def test_bfloat16_where_the_chip_has_it(monkeypatch, tmp_path, flags, dtype):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(layers, "CPU", file)
    if flags:
        file.write_text(flags)
    assert layers.fast_dtype("cpu") == dtype
