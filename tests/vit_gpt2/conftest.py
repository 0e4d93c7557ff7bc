"""A small random network for the tests of the search, and how to run it exactly."""

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from tests.vit_gpt2.reference import END, MAX_LENGTH, PADDING, START


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run on one thread: in networks this narrow, threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def exact_float32():
    """Compute convolutions in float32: a GPU would round their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def network():
    """Return a network whose captions end early, late or not at all.

    It has few tokens and large random weights.
    """
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
    tokens = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PADDING}
    vit = ViTConfig(intermediate_size=64, initializer_range=0.5, **sizes)
    gpt2 = GPT2Config(
        vocab_size=61,
        n_positions=MAX_LENGTH,
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
    """Return 33 images of coloured squares, (33, 224, 224, 3)."""
    pixels = np.random.default_rng(0).integers(0, 256, (33, 7, 7, 3), np.uint8)
    return pixels.repeat(32, 1).repeat(32, 2)
